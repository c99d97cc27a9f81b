//! `corten explain`: what a command would do, and whether that is true.

use super::args::Shape;
use super::run::{self, RunArgs, engine_failed, settings};
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::table;
use crate::verify::{Verdict, verify};
use clap::Args;
use serde_json::json;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] COMMAND [ARG...]\n        corten explain [OPTIONS] CONTAINER",
    about: "Print what a command would do, as its --explain does; or what would make a container like one that runs.\nWith --verify, a container is made in two sandboxes, by the engine and by the printed script, and what the kernel tells of both is compared.",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
struct ExplainArgs {
    /// Perform and replay a run or create in two sandboxes, and compare; the exit status is 1 where they differ
    #[arg(long)]
    verify: bool,
    /// With --verify: show what is equal, too
    #[arg(short, long)]
    all: bool,
    /// text, sh (a script) or json
    #[arg(long, value_name = "FORM")]
    format: Option<String>,
    #[arg(trailing_var_arg = true)]
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: ExplainArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let skip = usize::from(args.words[0] == "container" && args.words.len() > 1);
    let (command, rest) = (args.words[skip].as_str(), args.words[skip + 1..].to_vec());
    if args.verify {
        return verified(context, command, rest, &args);
    }
    let engine = context.engine()?;
    if !super::is_command(command)
        && let Ok(container) = engine.find(command)
    {
        let form =
            crate::explain::Form::parse(args.format.as_deref().unwrap_or("text")).map_err(Failure::flag)?;
        print(&crate::explain::show(&engine.plan_like(&container)?, form))?;
        return Ok(0);
    }
    let mut context = context.clone();
    let explain = format!("--explain={}", args.format.as_deref().unwrap_or("text"));
    let rest = std::iter::once(explain).chain(rest).collect();
    super::find_and_run(&mut context, command.to_owned(), rest)
}

fn verified(context: &Context, command: &str, words: Vec<String>, args: &ExplainArgs) -> Outcome {
    if !matches!(command, "run" | "create") {
        return Err(Failure::flag(format!("--verify is for run and create, not for '{command}'")));
    }
    let context = Context { command: format!("explain {command}"), ..context.clone() };
    let mut typed: RunArgs = match parse(&context, &run::SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine().map_err(engine_failed)?;
    let (settings, notes) = settings(&context, &engine, &mut typed.container, false)?;
    if engine.has_host_ids(&settings).map_err(engine_failed)? {
        engine::seal().map_err(engine_failed)?;
    }
    notes.iter().for_each(|note| super::say(note));
    let verdict = verify(&engine, settings, typed.container.name.as_deref())?;
    let text = match args.format.as_deref() {
        None | Some("text") => as_text(&verdict, args.all),
        Some("json") => as_json(&verdict, args.all),
        Some(other) => return Err(Failure::flag(format!("unknown format '{other}': use text or json"))),
    };
    print(&text)?;
    Ok(i32::from(verdict.equal() < verdict.pairs.len()))
}

fn as_text(verdict: &Verdict, all: bool) -> String {
    let mut out = String::new();
    let none = |value: &str| if value.is_empty() { "-".to_owned() } else { value.to_owned() };
    let different: Vec<_> = verdict.pairs.iter().filter(|pair| !pair.is_equal()).collect();
    for pair in &different {
        out.push_str(&format!("different: {} {}\n", pair.fact.group, pair.fact.name));
        out.push_str(&format!("  performed: {}\n  by hand:   {}\n", none(&pair.left), none(&pair.right)));
        out.push_str(&format!("  see:       {}\n", pair.fact.by_hand));
    }
    if all {
        let mut rows = vec![["EQUAL", "FACT", "VALUE"].map(str::to_owned).to_vec()];
        let equal = verdict.pairs.iter().filter(|pair| pair.is_equal());
        rows.extend(
            equal.map(|pair| vec![pair.fact.group.to_owned(), pair.fact.name.clone(), none(&pair.left)]),
        );
        out.push_str(&table::columns(&rows));
    }
    for (fact, why) in &verdict.left_out {
        out.push_str(&format!("not compared: {fact}: {why}\n"));
    }
    out.push_str(&format!("equal in {} of {} facts\n", verdict.equal(), verdict.pairs.len()));
    out
}

fn as_json(verdict: &Verdict, all: bool) -> String {
    let shown = verdict.pairs.iter().filter(|pair| all || !pair.is_equal());
    let facts: Vec<_> = shown
        .map(|pair| {
            json!({
                "Group": pair.fact.group,
                "Fact": pair.fact.name,
                "Performed": pair.left,
                "ByScript": pair.right,
                "ByHand": pair.fact.by_hand,
            })
        })
        .collect();
    let left_out: Vec<_> =
        verdict.left_out.iter().map(|(fact, why)| json!({ "Fact": fact, "Why": why })).collect();
    let (equal, all) = (verdict.equal(), verdict.pairs.len());
    format!("{:#}\n", json!({ "Equal": equal, "Facts": all, "NotCompared": left_out, "Shown": facts }))
}
