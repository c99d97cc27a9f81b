//! `corten system`, `corten info`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::template::{Template, from_json};
use clap::Args;
use engine::State;
use serde_json::{Value, json};
use std::fmt::Write;

const DOWN: Shape = Shape {
    usage: "[OPTIONS]",
    about: "Remove the bridge, the firewall table and the cgroup that containers share, when no container is left",
    words: (0, 0),
};
const INFO: Shape = Shape { usage: "[OPTIONS]", about: "Show what the engine uses and holds", words: (0, 0) };

#[derive(Debug, Args)]
struct DownArgs {
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

#[derive(Debug, Args)]
struct InfoArgs {
    /// Print by a template, or as json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    words: Vec<String>,
}

pub fn down(context: &Context, words: Vec<String>) -> Outcome {
    let args: DownArgs = match parse(context, &DOWN, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    if let Some(outcome) = args.explain.instead("corten system down", || Ok(engine.down_by_hand()?)) {
        return outcome;
    }
    engine.down()?;
    Ok(0)
}

pub fn info(context: &Context, words: Vec<String>) -> Outcome {
    let args: InfoArgs = match parse(context, &INFO, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let facts = facts(context)?;
    let text = match args.format.as_deref() {
        Some("json") => format!("{facts}\n"),
        Some(format) => {
            let text = Template::parse(format).and_then(|t| t.execute(&from_json(&facts)));
            format!("{}\n", text.map_err(|message| Failure { code: 64, ..Failure::new(message) })?)
        }
        None => lines(&facts),
    };
    print(&text)?;
    Ok(0)
}

/// What is told, in Docker's names and order.
fn facts(context: &Context) -> Result<Value, Failure> {
    let engine = context.engine()?;
    let containers = engine.list()?;
    let count = |wanted: fn(&State) -> bool| containers.iter().filter(|(_, state)| wanted(state)).count();
    let uname = rustix::system::uname();
    let text = |word: &std::ffi::CStr| word.to_string_lossy().into_owned();
    let cgroups = match runtime::Host::read().cgroups {
        runtime::Cgroups::V2 { .. } => "2",
        _ => "1",
    };
    let field = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        value.trim_matches(|c| c == '"' || c == ' ').to_owned()
    };
    let memory = field("/proc/meminfo", "MemTotal:");
    let memory = memory.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024;
    let networks: Vec<String> = ["bridge", "host", "macvlan", "none"].map(str::to_owned).into();
    let mut security = vec!["name=seccomp,profile=builtin", "name=cgroupns"];
    if context.config.userns.as_deref() != Some("host") {
        security.push("name=userns");
    }
    if context.config.no_new_privileges {
        security.push("name=no-new-privileges");
    }
    Ok(json!({
        "Containers": containers.len(),
        "ContainersRunning": count(|s| matches!(s, State::Running { paused: false, .. } | State::Restarting { .. })),
        "ContainersPaused": count(|s| matches!(s, State::Running { paused: true, .. })),
        "ContainersStopped": count(|s| matches!(s, State::Created | State::Exited { .. })),
        "Images": engine.images().ids()?.len(),
        "Volumes": engine.volumes()?.len(),
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Driver": "overlay2",
        "Plugins": { "Volume": ["local"], "Network": networks, "Log": ["journald", "json-file", "local", "none"] },
        "LoggingDriver": context.config.log_driver.as_deref().unwrap_or("json-file"),
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": cgroups,
        "Runtimes": { "corten": { "path": "corten" } },
        "DefaultRuntime": "corten",
        "SecurityOptions": security,
        // What scripts ask before they go on.
        "Swarm": { "NodeID": "", "LocalNodeState": "inactive", "ControlAvailable": false },
        "KernelVersion": text(uname.release()),
        "OperatingSystem": field("/etc/os-release", "PRETTY_NAME="),
        "OSType": "linux",
        "Architecture": text(uname.machine()),
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": memory,
        "Name": text(uname.nodename()),
        "DockerRootDir": context.root.display().to_string(),
        "StateDir": context.state.display().to_string(),
    }))
}

fn lines(facts: &Value) -> String {
    let value = |key: &str| match &facts[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let options = facts["SecurityOptions"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let names =
        options.map(|option| option.trim_start_matches("name=").split(',').next().unwrap_or_default());
    let security = names.collect::<Vec<_>>().join(" ");
    let memory = crate::fmt::words::memory(facts["MemTotal"].as_u64().unwrap_or(0));
    let rows = [
        ("Containers", value("Containers")),
        (" Running", value("ContainersRunning")),
        (" Paused", value("ContainersPaused")),
        (" Stopped", value("ContainersStopped")),
        ("Images", value("Images")),
        ("Volumes", value("Volumes")),
        ("Server Version", value("ServerVersion")),
        ("Storage Driver", value("Driver")),
        ("Logging Driver", value("LoggingDriver")),
        ("Cgroup Driver", value("CgroupDriver")),
        ("Cgroup Version", value("CgroupVersion")),
        ("Default Runtime", value("DefaultRuntime")),
        ("Security Options", security),
        ("Kernel Version", value("KernelVersion")),
        ("Operating System", value("OperatingSystem")),
        ("OSType", value("OSType")),
        ("Architecture", value("Architecture")),
        ("CPUs", value("NCPU")),
        ("Total Memory", memory),
        ("Name", value("Name")),
        ("Docker Root Dir", value("DockerRootDir")),
        ("State Dir", value("StateDir")),
    ];
    rows.iter().fold(String::new(), |mut text, (key, value)| {
        let _ = writeln!(text, "{key}: {value}");
        text
    })
}
