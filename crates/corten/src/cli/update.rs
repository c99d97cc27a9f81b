//! `corten update`

use super::args::Shape;
use super::{ContainerArgs, Context, Failure, Outcome, for_each, parse};
use crate::resolve;
use clap::Args;
use engine::{Changes, Container, Resources};
use network::PortSpec;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Change limits, ports and restart policy of containers, while they run or not",
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
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
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
    if come.is_empty() && gone.is_empty() && restart.is_none() && !limits {
        return Err(Failure::flag("you must provide one or more flags when using this command"));
    }
    let engine = context.engine()?;
    for_each(&args.words, |name| {
        let container = engine.find(name)?;
        if limits || restart.is_some() {
            let changes = Changes { restart, ..changes(&args, Some(&container))? };
            engine.update(&container, &changes)?;
        }
        if !come.is_empty() || !gone.is_empty() {
            engine.update_ports(&container, &come, &gone)?;
        }
        Ok(())
    })
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
