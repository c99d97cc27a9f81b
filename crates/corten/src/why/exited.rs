//! `why exited NAME`: how a container came to its end.

use super::Answer;
use crate::cli::Failure;
use crate::fmt::words;
use engine::logs::LogQuery;
use engine::{Container, Engine, State};

pub fn why(engine: &Engine, name: &str) -> Result<Answer, Failure> {
    let container = engine.find(name)?;
    let name = container.name.clone();
    let mut answer = match engine.state(&container)? {
        state @ State::Running { .. } => {
            Answer::new(format!("{name} has not exited: it runs since {}", words::duration(state.up())))
        }
        State::Created => Answer::new(format!("{name} has not exited: it was never started")),
        State::Exited { error, started: None, .. } => {
            Answer::new(format!("{name} could not be started: {}", error.trim_end()))
        }
        State::Restarting { code, ran, oom_killed, restarts, .. }
        | State::Exited { code, ran, oom_killed, restarts, .. } => {
            let mut answer = ended(&container, code, oom_killed);
            answer.add(match ran {
                Some(ran) => format!("it had run for {}", words::duration(ran).to_lowercase()),
                None => "nobody has noted for how long it had run".to_owned(),
            });
            if restarts > 0 {
                let times = if restarts == 1 { "once".to_owned() } else { format!("{restarts} times") };
                let policy = container.settings.restart.word();
                answer.add(format!("its restart policy, {policy}, had started it again {times}"));
            }
            last_words(engine, &container, &mut answer);
            answer
        }
    };
    answer.by_hand(format!("corten inspect -f '{{{{json .State}}}}' {name}"));
    Ok(answer)
}

/// The sentence, by the exit code. See signal(7) and the shell's convention of 128 and more.
fn ended(container: &Container, code: i32, oom_killed: bool) -> Answer {
    let name = &container.name;
    let limit = container.settings.resources.memory.filter(|limit| *limit > 0);
    if oom_killed {
        let limit = limit.map_or("all that there was".to_owned(), |l| words::size(l.unsigned_abs()));
        let mut answer =
            Answer::new(format!("the kernel killed {name}: it needed more memory than its limit, {limit}"));
        answer.by_hand("dmesg | grep -i 'killed process'");
        answer.hint("run it with a greater --memory");
        return answer;
    }
    match code {
        0 => Answer::new(format!("the program of {name} ended by itself, and well: exit code 0")),
        126 => Answer::new(format!("the program of {name} is there, but cannot be run: exit code 126")),
        127 => Answer::new(format!("a program that {name} called is not there: exit code 127")),
        129..=192 => signalled(container, code - 128),
        code => Answer::new(format!(
            "the program of {name} ended by itself with exit code {code}: its own words say why"
        )),
    }
}

fn signalled(container: &Container, signal: i32) -> Answer {
    let name = &container.name;
    let what = engine::signal::name(signal).map_or(format!("signal {signal}"), |name| format!("SIG{name}"));
    let mut answer = Answer::new(format!("{name} was ended by {what} (exit code {})", 128 + signal));
    match signal {
        9 => {
            answer.add("nothing can refuse it: it comes from kill, rm -f, or stop when the program did not end in time");
            let seconds = container.settings.stop_timeout.unwrap_or(10);
            answer.hint(format!(
                "a stop waits {seconds} s; a program that is process 1 ignores SIGTERM unless it handles it: --init, or --stop-signal"
            ));
        }
        15 | 2 => answer.add("somebody asked it to end: stop, kill, or a terminal"),
        11 | 7 | 8 | 4 => {
            answer.add("the program itself made a mistake that the processor or the kernel does not allow")
        }
        6 => answer.add("the program gave itself up (abort)"),
        31 => {
            answer.add("it made a system call that its seccomp profile does not allow");
            answer.by_hand("dmesg | grep seccomp");
            answer.hint("--security-opt seccomp=PROFILE with that call in it");
        }
        _ => {}
    }
    answer
}

/// The end of its log.
fn last_words(engine: &Engine, container: &Container, answer: &mut Answer) {
    let query = LogQuery { tail: Some(3), stdout: true, stderr: true, ..LogQuery::default() };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    if engine.logs(container, &query, &mut out, &mut err).is_err() {
        return;
    }
    for (stream, text) in [("stdout", out), ("stderr", err)] {
        for line in String::from_utf8_lossy(&text).lines() {
            answer.add(format!("{stream}: {line}"));
        }
    }
}
