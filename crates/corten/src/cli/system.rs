//! `corten system`, `corten info`

use super::args::Shape;
use super::{Context, Outcome, parse, print};
use clap::Args;
use engine::State;
use std::fmt::Write;

const DOWN: Shape = Shape {
    usage: "",
    about: "Remove the bridge, the firewall table and the cgroup that containers share, when no container is left",
    words: (0, 0),
};
const INFO: Shape = Shape { usage: "", about: "Show what the engine uses and holds", words: (0, 0) };

#[derive(Debug, Args)]
struct NoArgs {
    words: Vec<String>,
}

pub fn down(context: &Context, words: Vec<String>) -> Outcome {
    let _args: NoArgs = match parse(context, &DOWN, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    context.engine()?.down()?;
    Ok(0)
}

pub fn info(context: &Context, words: Vec<String>) -> Outcome {
    let _args: NoArgs = match parse(context, &INFO, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let containers = engine.list()?;
    let running = containers.iter().filter(|(_, state)| matches!(state, State::Running { .. })).count();
    let uname = rustix::system::uname();
    let host = runtime::Host::read();
    let cgroups = match host.cgroups {
        runtime::Cgroups::V2 { .. } => "2",
        _ => "1",
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = String::new();
    let lines = [
        ("Containers", containers.len().to_string()),
        (" Running", running.to_string()),
        (" Stopped", (containers.len() - running).to_string()),
        ("Images", engine.images().ids()?.len().to_string()),
        ("Server Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("Storage Driver", "overlay".to_owned()),
        ("Logging Driver", "json-file".to_owned()),
        ("Cgroup Driver", "cgroupfs".to_owned()),
        ("Cgroup Version", cgroups.to_owned()),
        ("Kernel Version", uname.release().to_string_lossy().into_owned()),
        ("OSType", "linux".to_owned()),
        ("Architecture", uname.machine().to_string_lossy().into_owned()),
        ("CPUs", cpus.to_string()),
        ("Name", uname.nodename().to_string_lossy().into_owned()),
        ("Root Dir", context.root.display().to_string()),
        ("State Dir", context.state.display().to_string()),
    ];
    for (key, value) in lines {
        let _ = writeln!(text, "{key}: {value}");
    }
    print(&text)?;
    Ok(0)
}
