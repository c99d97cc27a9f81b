//! `corten why`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print, seal_for};
use crate::why::{Answer, denied as refusals, exited, port, slow};
use clap::Args;
use engine::ExecSettings;

#[derive(Debug, Args)]
struct WhyArgs {
    words: Vec<String>,
}

const PORT: Shape = Shape {
    usage: "PORT[/PROTOCOL]",
    about: "Tell who answers on a port of this machine, which rule decides, and from where it can be reached",
    words: (1, 1),
};

pub fn port(context: &Context, words: Vec<String>) -> Outcome {
    say(context, &PORT, words, port::why)
}

const EXITED: Shape =
    Shape { usage: "CONTAINER", about: "Tell how a container came to its end", words: (1, 1) };

pub fn exited(context: &Context, words: Vec<String>) -> Outcome {
    say(context, &EXITED, words, |engine, name| Ok(vec![exited::why(engine, name)?]))
}

const SLOW: Shape =
    Shape { usage: "CONTAINER", about: "Tell what a running container waits for", words: (1, 1) };

pub fn slow(context: &Context, words: Vec<String>) -> Outcome {
    say(context, &SLOW, words, slow::why)
}

const DENIED: Shape = Shape {
    usage: "[OPTIONS] CONTAINER [-- COMMAND [ARG...]]",
    about: "Tell what a container may not do; with a command, run it in the container, and tell which of its system calls are refused, by which rule, and which flag would allow them",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
struct DeniedArgs {
    /// The command's user, and group (name or number, user:group)
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    #[arg(trailing_var_arg = true)]
    words: Vec<String>,
}

pub fn denied(context: &Context, words: Vec<String>) -> Outcome {
    let args: DeniedArgs = match parse(context, &DENIED, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let Some((name, argv)) = args.words.split_first() else { return Ok(1) };
    let argv = argv.strip_prefix(&["--".to_owned()]).unwrap_or(argv);
    let engine = context.engine()?;
    let running = engine.find_running(name)?;
    let failed = |e: std::io::Error| Failure::new(format!("cannot look at container {name}: {e}"));
    if argv.is_empty() {
        print(&refusals::bounds(&running, &engine.bounds(&running).map_err(failed)?).text())?;
        return Ok(0);
    }
    seal_for(&engine, std::slice::from_ref(name))?;
    let settings =
        ExecSettings { argv: argv.to_vec(), user: args.user.unwrap_or_default(), ..ExecSettings::default() };
    let run = || {
        engine.exec(&running.container, &settings).unwrap_or_else(|error| {
            super::say(&format!("corten: {error}"));
            error.exit_code()
        })
    };
    let (code, refused) = engine.watch(&running, run).map_err(failed)?;
    let mut text: Vec<String> =
        refused.iter().map(|refused| refusals::refused(&running, refused).text()).collect();
    if text.is_empty() {
        let command = argv.join(" ");
        let mut nothing =
            Answer::new(format!("nothing was refused: '{command}' ended with exit code {code}"));
        nothing.add("no system call of it, or of what it started, came back with EPERM, EACCES or EROFS");
        text.push(nothing.text());
    }
    print(&format!("\n{}", text.join("\n")))?;
    Ok(0)
}

fn say(
    context: &Context,
    shape: &Shape,
    words: Vec<String>,
    why: fn(&engine::Engine, &str) -> Result<Vec<Answer>, Failure>,
) -> Outcome {
    let args: WhyArgs = match parse(context, shape, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let Some(word) = args.words.first() else { return Ok(1) };
    let answers = why(&context.engine()?, word)?;
    print(&answers.iter().map(Answer::text).collect::<Vec<_>>().join("\n"))?;
    Ok(0)
}
