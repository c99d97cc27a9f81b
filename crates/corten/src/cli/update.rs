//! `corten update`

use super::args::Shape;
use super::{ContainerArgs, Context, Failure, Outcome, for_each, line, parse, say};
use crate::resolve;
use clap::Args;
use engine::{Changes, Container, Edits, Resources};
use network::PortSpec;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Change limits, restart policy, ports, mounts, environment and labels of containers, while they run or not",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
struct UpdateArgs {
    /// Block IO weight, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// Length of the CPU scheduler's period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<i64>,
    /// CPU time in each period, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_quota: Option<i64>,
    /// Share of the CPU where it is contended (1024 is the usual one)
    #[arg(short, long, value_name = "SHARES")]
    cpu_shares: Option<i64>,
    /// How many CPUs' time it may use (0.5, 2)
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<String>,
    /// On which CPUs it may run (0-3, 0,1)
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// From which memory nodes it may take (0-3, 0,1)
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Most memory (512m, 2g)
    #[arg(short, long, value_name = "BYTES")]
    memory: Option<String>,
    /// Memory that it keeps when memory runs short
    #[arg(long, value_name = "BYTES")]
    memory_reservation: Option<String>,
    /// Most memory and swap together; -1 is unlimited swap
    #[arg(long, value_name = "BYTES")]
    memory_swap: Option<String>,
    /// Most processes; -1 is unlimited
    #[arg(long, value_name = "NUMBER")]
    pids_limit: Option<i64>,
    /// What happens when it ends: no, on-failure[:TIMES], always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Publish a port ([[ip:]host:]container[/udp])
    #[arg(short, long, value_name = "PORT")]
    publish: Vec<String>,
    /// Publish it no longer ([[ip:]host:]container[/udp])
    #[arg(long, value_name = "PORT")]
    unpublish: Vec<String>,
    /// Set an environment variable, from the next start on (NAME=value)
    #[arg(short, long, visible_alias = "env-add", value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Take an environment variable away
    #[arg(long, value_name = "NAME")]
    env_rm: Vec<String>,
    /// Give it a label (key=value)
    #[arg(short, long, visible_alias = "label-add", value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Take a label away
    #[arg(long, value_name = "KEY")]
    label_rm: Vec<String>,
    /// Mount something more, at once where it runs (as -v or --mount of run)
    #[arg(long, value_name = "MOUNT")]
    mount_add: Vec<String>,
    /// Mount it no longer (the place in the container)
    #[arg(long, value_name = "DIR")]
    mount_rm: Vec<String>,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let typed = words.clone();
    let args: UpdateArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let ports = |words: &[String]| -> Result<Vec<PortSpec>, Failure> {
        let parsed = words.iter().map(|word| network::ports::parse(word));
        let parsed = parsed.collect::<Result<Vec<_>, _>>().map_err(|e| Failure::flag(e.to_string()))?;
        Ok(parsed.into_iter().flatten().collect())
    };
    let (come, gone) = (ports(&args.publish)?, ports(&args.unpublish)?);
    let restart = args.restart.as_deref().map(resolve::restart_policy).transpose().map_err(Failure::new)?;
    let limits = changes(&args, None)?.resources != Resources::default();
    let edits = edits(&args).map_err(Failure::new)?;
    let edited = edits.is_some();
    if come.is_empty() && gone.is_empty() && restart.is_none() && !limits && !edited {
        return Err(Failure::flag("you must provide one or more flags when using this command"));
    }
    let engine = context.engine()?;
    let acts = |name: &str| {
        let container = engine.find(name)?;
        let mut all = Vec::new();
        if limits || restart.is_some() {
            let changes = Changes { restart, ..changes(&args, Some(&container))? };
            all.extend(engine.update_by_hand(&container, &changes)?);
        }
        if !come.is_empty() || !gone.is_empty() {
            all.push(engine.ports_by_hand(&container, &come, &gone)?);
        }
        if let Some(edits) = &edits {
            all.extend(engine.edit_by_hand(&container, edits)?);
        }
        Ok(all)
    };
    if let Some(outcome) = args.explain.instead_of_each(&context.command, &args.words, acts) {
        return outcome;
    }
    if edited {
        super::seal_for(&engine, &args.words)?;
    }
    for_each(&args.words, |name| {
        let container = engine.find(name)?;
        if limits || restart.is_some() {
            let changes = Changes { restart, ..changes(&args, Some(&container))? };
            engine.update(&container, &changes)?;
        }
        if !come.is_empty() || !gone.is_empty() {
            engine.update_ports(&container, &come, &gone)?;
        }
        let edits = Edits {
            command_line: Some(line::updated(&container.settings.command_line, &typed)),
            ..edits.clone().unwrap_or_default()
        };
        for note in engine.edit(&container, &edits)? {
            say(&note);
        }
        Ok(())
    })
}

/// Variables, labels and mounts that change; none does where no such flag is given.
fn edits(args: &UpdateArgs) -> resolve::Result<Option<Edits>> {
    let lists = [&args.env, &args.env_rm, &args.label, &args.label_rm, &args.mount_add, &args.mount_rm];
    if lists.iter().all(|list| list.is_empty()) {
        return Ok(None);
    }
    let pair = |word: &String| match word.split_once('=').unwrap_or((word, "")) {
        ("", _) => Err(format!("invalid label '{word}': empty name")),
        (key, value) => Ok((key.to_owned(), value.to_owned())),
    };
    Ok(Some(Edits {
        env: resolve::exec_environment(&[], &args.env)?,
        env_gone: args.env_rm.clone(),
        labels: args.label.iter().map(pair).collect::<resolve::Result<_>>()?,
        labels_gone: args.label_rm.clone(),
        mounts: args.mount_add.iter().map(|spec| resolve::mount_of(spec)).collect::<resolve::Result<_>>()?,
        mounts_gone: args.mount_rm.iter().map(|path| engine::clean_path(path)).collect(),
        command_line: None,
    }))
}

/// The limits, checked as those of `run` are, together with the memory that the container has.
fn changes(args: &UpdateArgs, container: Option<&Container>) -> Result<Changes, Failure> {
    let has = container.and_then(|c| c.settings.resources.memory).map(|bytes| bytes.to_string());
    // Before a container is known any memory will do.
    let has = has.or_else(|| (container.is_none() && args.memory_swap.is_some()).then(|| "6m".to_owned()));
    let given = ContainerArgs {
        blkio_weight: args.blkio_weight,
        cpu_period: args.cpu_period,
        cpu_quota: args.cpu_quota,
        cpu_shares: args.cpu_shares,
        cpus: args.cpus.clone(),
        cpuset_cpus: args.cpuset_cpus.clone(),
        cpuset_mems: args.cpuset_mems.clone(),
        memory: args.memory.clone().or(has),
        memory_reservation: args.memory_reservation.clone(),
        memory_swap: args.memory_swap.clone(),
        pids_limit: args.pids_limit,
        ..ContainerArgs::default()
    };
    let resources = resolve::resources(&given).map_err(Failure::new)?;
    Ok(Changes { resources, restart: None })
}
