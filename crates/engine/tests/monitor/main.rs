//! Monitors and their clients, with a shell in place of a container. One thread: every monitor is a fork of this
//! process. `cargo test -p engine --test monitor -- flood` runs what has `flood` in its name.

mod support;

use engine::attach::{AttachOptions, Connection, pump_pipes, pump_terminal};
use engine::monitor::protocol::{CHUNK, PACKET, ToMonitor};
use engine::monitor::{self, ContainerIo};
use kernel::{process, pty};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::net::SendFlags;
use rustix::process::Signal;
use std::io::Write;
use std::time::{Duration, Instant};
use support::*;

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("output_and_code", output_and_code),
    ("input_until_its_end", input_until_its_end),
    ("much_input_comes_through", much_input_comes_through),
    ("unread_input_does_not_block_signals", unread_input_does_not_block_signals),
    ("a_detached_start_keeps_its_input_open", a_detached_start_keeps_its_input_open),
    ("terminal_with_size", terminal_with_size),
    ("several_clients_and_a_waiter", several_clients_and_a_waiter),
    ("a_slow_attacher_is_dropped", a_slow_attacher_is_dropped),
    ("the_creator_loses_nothing", the_creator_loses_nothing),
    ("the_creators_death_hurts_nobody", the_creators_death_hurts_nobody),
    ("garbage_is_refused", garbage_is_refused),
    ("deaf_to_signals", deaf_to_signals),
    ("a_stranger_with_the_pipe_is_not_waited_for", a_stranger_with_the_pipe_is_not_waited_for),
    ("run_shows_types_and_signals", run_shows_types_and_signals),
    ("run_detaches_and_restores_the_terminal", run_detaches_and_restores_the_terminal),
    ("three_interrupts_end_the_client", three_interrupts_end_the_client),
    ("exec_with_terminal_and_pipes", exec_with_terminal_and_pipes),
    ("twenty_idle_monitors_are_small", twenty_idle_monitors_are_small),
    ("flood", flood),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, test) in TESTS {
        if wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str())) {
            let start = Instant::now();
            // A test that hangs ends the run, and says which.
            print!("test {name} ... ");
            let _ = std::io::stdout().flush();
            test();
            println!("ok ({:?})", start.elapsed());
        }
    }
}

const ATTACHED: How = How { tty: false, stdin: false, attached: true, log: true };

fn output_and_code() {
    let mut c = start("output", "echo out; echo err >&2; exit 7", ATTACHED);
    let heard = c.creator(false).hear();
    assert_eq!((heard.stdout, heard.stderr, heard.code), (b"out\n".into(), b"err\n".into(), Some(7)));
    assert_eq!(c.log(), "out\n");
    c.over();
    let mut c = start("killed", "kill -9 $$", ATTACHED);
    assert_eq!(c.creator(false).hear().code, Some(137));
    c.over();
}

fn input_until_its_end() {
    let mut c = start("input", "cat; exit 3", How { stdin: true, ..ATTACHED });
    let peer = c.creator(true);
    let mut heard = Heard::default();
    peer.say(ToMonitor::Stdin(b"hello\n"));
    peer.hear_until(&mut heard, |h| h.taken == 1 && !h.stdout.is_empty());
    peer.say(ToMonitor::StdinEnd);
    peer.hear_until(&mut heard, |h| h.code.is_some());
    assert_eq!((heard.stdout, heard.code), (b"hello\n".into(), Some(3)));
    c.over();
}

fn much_input_comes_through() {
    let mut c = start("much", "sleep 0.1; cksum", How { stdin: true, ..ATTACHED });
    let peer = c.creator(true);
    let mut heard = Heard::default();
    for i in 0..40 {
        peer.say(ToMonitor::Stdin(&[i as u8; CHUNK]));
        peer.hear_until(&mut heard, |h| h.taken == i + 1);
    }
    peer.say(ToMonitor::StdinEnd);
    peer.hear_until(&mut heard, |h| h.code.is_some());
    assert!(String::from_utf8(heard.stdout).unwrap().ends_with(&format!(" {}\n", 40 * CHUNK)));
    c.over();
}

fn unread_input_does_not_block_signals() {
    let mut c = start(
        "unread",
        "trap 'exit 9' INT; echo ready; for i in $(seq 500); do sleep 0.02; done",
        How { stdin: true, ..ATTACHED },
    );
    let peer = c.creator(true);
    let mut heard = Heard::default();
    peer.hear_until(&mut heard, |h| !h.stdout.is_empty());
    // 64 KiB fit in the pipe; the third is not taken.
    for i in 0..2 {
        peer.say(ToMonitor::Stdin(&[0; CHUNK]));
        peer.hear_until(&mut heard, |h| h.taken == i + 1);
    }
    peer.say(ToMonitor::Stdin(&[0; CHUNK]));
    peer.say(ToMonitor::Signal(2));
    peer.hear_until(&mut heard, |h| h.code.is_some());
    assert_eq!((heard.taken, heard.code), (2, Some(9)));
    c.over();
}

fn a_detached_start_keeps_its_input_open() {
    let c = start("detached", "read a; read b; exit 5", How { stdin: true, log: true, ..How::default() });
    let first = c.connect(true, true);
    first.say(ToMonitor::Stdin(b"one\n"));
    first.say(ToMonitor::StdinEnd);
    first.say(ToMonitor::DetachMe);
    let second = c.connect(true, true);
    second.say(ToMonitor::Stdin(b"two\n"));
    assert_eq!(second.hear().code, Some(5));
    c.over();
}

fn terminal_with_size() {
    let script = "stty size; read line; echo got $line; stty size; exec >/dev/null 2>&1 </dev/null; sleep 0.1; \
                  echo again >/dev/tty; exit 4";
    let mut c = start("terminal", script, How { tty: true, stdin: true, ..ATTACHED });
    let peer = c.creator(true);
    let mut heard = Heard::default();
    peer.hear_until(&mut heard, |h| h.stdout.ends_with(b"0 0\r\n"));
    peer.say(ToMonitor::Resize { rows: 33, columns: 99 });
    peer.say(ToMonitor::Stdin(b"word\r"));
    peer.hear_until(&mut heard, |h| h.code.is_some());
    let text = String::from_utf8(heard.stdout).unwrap();
    assert_eq!(text, "0 0\r\nword\r\ngot word\r\n33 99\r\nagain\r\n");
    assert_eq!(heard.code, Some(4));
    c.over();
}

fn several_clients_and_a_waiter() {
    let mut c = start("several", "read go; seq 1 5000; exit 2", How { stdin: true, ..ATTACHED });
    let creator = c.creator(true);
    let (one, two, waiter) = (c.connect(true, false), c.connect(true, false), c.connect(false, false));
    // They are let in, in order, before the input is read.
    std::thread::sleep(Duration::from_millis(50));
    creator.say(ToMonitor::Stdin(b"go\n"));
    let expected: String = (1..=5000).map(|i| format!("{i}\n")).collect();
    for peer in [&creator, &one, &two] {
        let heard = peer.hear();
        assert_eq!((String::from_utf8(heard.stdout).unwrap(), heard.code), (expected.clone(), Some(2)));
    }
    let heard = waiter.hear();
    assert_eq!((heard.stdout, heard.code), (Vec::new(), Some(2)));
    assert_eq!(c.log(), expected);
    c.over();
}

const FLOOD: &str = "head -c 20000000 /dev/zero | tr '\\0' x; exit 0";

fn a_slow_attacher_is_dropped() {
    let mut c = start("slow", &format!("read go; {FLOOD}"), How { stdin: true, ..ATTACHED });
    let slow = c.connect(true, false);
    let creator = c.creator(true);
    std::thread::sleep(Duration::from_millis(50));
    creator.say(ToMonitor::Stdin(b"go\n"));
    let heard = creator.hear();
    assert_eq!((heard.stdout.len(), heard.code), (20_000_000, Some(0)));
    let heard = slow.hear();
    assert!(heard.stdout.len() >= 500_000, "{}", heard.stdout.len());
    assert_eq!(heard.code, None);
    assert!(heard.refused.unwrap().starts_with("too slow"));
    c.over();
}

fn the_creator_loses_nothing() {
    let script = format!("{FLOOD}; echo done >/proc/self/fd/2");
    let mut c = start("lossless", &script.replace("; exit 0", ""), How { log: false, ..ATTACHED });
    let creator = c.creator(false);
    std::thread::sleep(Duration::from_millis(300));
    // The container is held up meanwhile.
    assert!(!readable_now(&c.monitor));
    let heard = creator.hear();
    assert_eq!((heard.stdout.len(), heard.stderr, heard.code), (20_000_000, b"done\n".into(), Some(0)));
    c.over();
    // What is left in the pipes when it ends comes too.
    let mut c = start("rest", "head -c 1300000 /dev/zero", ATTACHED);
    let creator = c.creator(false);
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(creator.hear().stdout.len(), 1_300_000);
    c.over();
}

fn readable_now(fd: &OwnedFd) -> bool {
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
}

fn the_creators_death_hurts_nobody() {
    let mut c =
        start("death", "cat; echo still; head -c 3000000 /dev/zero; exit 6", How { stdin: true, ..ATTACHED });
    let waiter = c.connect(false, false);
    // Its input ends with it, as with Docker.
    drop(c.creator(true));
    assert_eq!(waiter.hear().code, Some(6));
    assert!(c.log().starts_with("still\n"));
    c.over();
}

fn garbage_is_refused() {
    let c = start("garbage", "sleep 0.5; exit 1", How { stdin: true, ..How::default() });
    for garbage in [&b"\xff\xff"[..], b"x", &[1, 9, 9], &[1; 300], &[1, 1, 65], &vec![1; PACKET + 100]] {
        let peer = Peer { socket: monitor::connect(&c.dir.join("attach.sock")).unwrap() };
        rustix::net::send(&peer.socket, garbage, SendFlags::NOSIGNAL).unwrap();
        let heard = peer.hear();
        assert!(heard.refused.is_some() && heard.code.is_none(), "{garbage:?} {heard:?}");
    }
    // Two at once: the second is out of turn.
    let peer = c.connect(false, true);
    peer.say(ToMonitor::Stdin(&[0; CHUNK]));
    peer.say(ToMonitor::Hello { wants_output: true, wants_stdin: true });
    assert_eq!(peer.hear().refused.as_deref(), Some("message out of turn"));
    assert_eq!(c.connect(false, false).hear().code, Some(1));
    c.over();
}

fn deaf_to_signals() {
    let c = start("deaf", "sleep 0.4; echo fine; exit 8", How { log: true, ..How::default() });
    let waiter = c.connect(false, false);
    std::thread::sleep(Duration::from_millis(100));
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::PIPE, Signal::QUIT, Signal::USR1] {
        process::send_signal(&c.monitor, signal.as_raw()).unwrap();
    }
    assert_eq!(waiter.hear().code, Some(8));
    assert_eq!(c.log(), "fine\n");
    c.over();
}

fn a_stranger_with_the_pipe_is_not_waited_for() {
    let c = start("stranger", "sleep 3 & echo $!; exit 1", How { log: true, ..How::default() });
    let begin = Instant::now();
    assert_eq!(c.connect(false, false).hear().code, Some(1));
    assert!(begin.elapsed() < Duration::from_secs(2));
    let stranger: i32 = c.log().trim().parse().unwrap();
    let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(stranger).unwrap(), Signal::KILL);
    c.over();
}

fn options(tty: bool) -> AttachOptions<'static> {
    AttachOptions { tty, interactive: true, sig_proxy: true, ..AttachOptions::default() }
}

fn run_shows_types_and_signals() {
    let script = "trap 'echo trapped; exit 12' USR1; echo ready; cat; echo end; for i in $(seq 500); do sleep 0.02; done";
    let mut c = start("run", script, How { stdin: true, ..ATTACHED });
    let creator = c.creator.take().unwrap();
    let client = client(false, || Connection::from_fd(creator).run(&options(false)));
    let mut text = String::new();
    client.read_until(&mut text, "ready\n");
    client.type_in("hello\n");
    client.read_until(&mut text, "hello\n");
    let Client { pidfd, input, output } = client;
    drop(input);
    let client = Client { pidfd, input: output.try_clone().unwrap(), output };
    client.read_until(&mut text, "end\n");
    process::send_signal(&client.pidfd, Signal::USR1.as_raw()).unwrap();
    client.read_until(&mut text, "trapped\n");
    assert_eq!(wait(&client.pidfd), 12);
    c.over();
}

fn run_detaches_and_restores_the_terminal() {
    let script = "trap 'exit 3' INT; for i in $(seq 500); do stty size; sleep 0.02; done";
    let c = start("detach", script, How { tty: true, stdin: true, log: true, ..How::default() });
    let path = c.dir.join("attach.sock");
    let first = client(true, || Connection::connect(&path)?.run(&options(true)));
    let mut text = String::new();
    first.read_until(&mut text, "44 88");
    let modes = || rustix::termios::tcgetattr(&first.input).unwrap().local_modes;
    assert!(!modes().contains(rustix::termios::LocalModes::ICANON), "not raw");
    pty::set_size(&first.input, 50, 90).unwrap();
    process::send_signal(&first.pidfd, Signal::WINCH.as_raw()).unwrap();
    first.type_in("\x10x\r");
    first.read_until(&mut text, "50 90");
    first.type_in("\x10");
    first.type_in("\x11");
    first.read_until(&mut text, "read escape sequence");
    assert_eq!(wait(&first.pidfd), DETACHED);
    assert!(modes().contains(rustix::termios::LocalModes::ICANON), "still raw");
    let second = client(true, || Connection::connect(&path)?.run(&options(true)));
    second.read_until(&mut String::new(), "44 88");
    second.type_in("\x03");
    assert_eq!(wait(&second.pidfd), 3);
    c.over();
}

fn three_interrupts_end_the_client() {
    let script = "trap '' INT TERM; echo ready; sleep 1; exit 0";
    let mut c = start("three", script, ATTACHED);
    let creator = c.creator.take().unwrap();
    let client = client(false, || Connection::from_fd(creator).run(&options(false)));
    let mut text = String::new();
    client.read_until(&mut text, "ready\n");
    for _ in 0..3 {
        process::send_signal(&client.pidfd, Signal::INT.as_raw()).unwrap();
        std::thread::sleep(Duration::from_millis(30));
    }
    assert_eq!(wait(&client.pidfd), INTERRUPTED);
    client.read_until(&mut text, "got 3 SIGTERM/SIGINTs");
    assert_eq!(c.connect(false, false).hear().code, Some(0));
    c.over();
}

fn exec_with_terminal_and_pipes() {
    let piped = client(false, || {
        let (pidfd, _, io) = shell("cat; echo end; exit 5", false, true);
        let ContainerIo::Pipes { stdin, stdout, stderr } = io else { panic!() };
        pump_pipes(stdin, stdout, stderr, pidfd, &options(false))
    });
    let mut text = String::new();
    piped.type_in("hello\n");
    piped.read_until(&mut text, "hello\n");
    let Client { pidfd, input, output } = piped;
    drop(input);
    let piped = Client { pidfd, input: output.try_clone().unwrap(), output };
    piped.read_until(&mut text, "end\n");
    assert_eq!(wait(&piped.pidfd), 5);

    let terminal = client(true, || {
        let (pidfd, _, io) = shell("sleep 0.1; stty size; read l; echo got $l; exit 6", true, true);
        let ContainerIo::Terminal { master } = io else { panic!() };
        pump_terminal(master, pidfd, &options(true))
    });
    let mut text = String::new();
    terminal.read_until(&mut text, "44 88");
    terminal.type_in("word\r");
    terminal.read_until(&mut text, "got word");
    assert_eq!(wait(&terminal.pidfd), 6);
}

/// Proportional set size in KiB.
fn pss(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find(|l| l.starts_with("Pss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn twenty_idle_monitors_are_small() {
    let how = How { tty: true, stdin: true, log: true, attached: false };
    let all: Vec<Running> =
        (0..20).map(|i| start(&format!("idle{i}"), "echo hello; sleep 1; exit 0", how)).collect();
    std::thread::sleep(Duration::from_millis(500));
    let sizes: Vec<u64> = all.iter().map(|c| pss(c.pid)).collect();
    print!("(PSS {} to {} KiB) ", sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
    assert!(sizes.iter().all(|size| *size <= 400), "{sizes:?}");
    all.into_iter().for_each(Running::over);
}

/// Not a limit but a figure: output through log, monitor and client.
fn flood() {
    // Megabytes; in an unoptimised build only to see that it works.
    let size = if cfg!(debug_assertions) { 10 } else { 500 };
    let line = "head -c 100 /dev/zero | tr '\\0' x";
    let scripts = [
        ("one line", "tr '\\0' x </dev/zero".to_owned(), size),
        ("long lines", format!("yes $({line})"), size),
        ("short lines", "yes".to_owned(), size / 5),
    ];
    for (name, script, megabytes) in scripts {
        let script = format!("{script} | head -c {megabytes}000000");
        for log in [false, true] {
            let mut c = start("flood", &script, How { log, ..ATTACHED });
            let creator = c.creator.take().unwrap();
            let null = std::fs::File::options().write(true).open("/dev/null").unwrap();
            let begin = Instant::now();
            let client = client(false, || {
                let _ = rustix::stdio::dup2_stdout(&null);
                Connection::from_fd(creator).run(&AttachOptions::default())
            });
            let deadline = Instant::now() + Duration::from_secs(120);
            while !readable(&client.pidfd) && Instant::now() < deadline {}
            let rate = f64::from(megabytes) / begin.elapsed().as_secs_f64();
            print!("{name}{}: {rate:.0} MB/s; ", if log { " logged" } else { "" });
            assert_eq!(wait(&client.pidfd), 0);
            c.over();
        }
    }
}
