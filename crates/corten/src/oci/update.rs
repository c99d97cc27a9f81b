//! `corten oci update`

use super::{Context, parse};
use crate::cli::{Failure, Outcome, args::Shape};
use crate::resolve::parse_size;
use clap::Args;
use runtime::Resources;
use runtime::oci::{self, Status, resources::Document};
use std::io::Read;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] ID",
    about: "Set other limits for a container, by flags or by a file like linux.resources of config.json",
    words: (1, 1),
};

/// Numbers are read here, not by the parser: a flag that is given as an empty word is not given.
#[derive(Debug, Args)]
struct UpdateArgs {
    /// A file with what is to change, or -; all other flags are ignored then
    #[arg(short, long, value_name = "FILE")]
    resources: Option<String>,
    /// Weight of its I/O: 10 to 1000
    #[arg(long, value_name = "N")]
    blkio_weight: Option<String>,
    /// Microseconds of a period
    #[arg(long, value_name = "N")]
    cpu_period: Option<String>,
    /// Microseconds of each period that it may run
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    cpu_quota: Option<String>,
    /// Microseconds that may be saved up
    #[arg(long, value_name = "N")]
    cpu_burst: Option<String>,
    /// Share of processor time against other containers'
    #[arg(long, value_name = "N")]
    cpu_share: Option<String>,
    /// Microseconds of a real-time period
    #[arg(long, value_name = "N")]
    cpu_rt_period: Option<String>,
    /// Microseconds of each real-time period
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    cpu_rt_runtime: Option<String>,
    /// 1: only what nobody else wants
    #[arg(long, value_name = "N")]
    cpu_idle: Option<String>,
    /// Processors, such as 0-2,5
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Memory, in bytes or with a unit
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory: Option<String>,
    /// What it is held to when memory is scarce
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_reservation: Option<String>,
    /// Memory and swap together; -1: as much swap as there is
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Taken for runc's sake
    #[arg(long, hide = true, allow_hyphen_values = true)]
    kernel_memory: Option<String>,
    /// Taken for runc's sake
    #[arg(long, hide = true, allow_hyphen_values = true)]
    kernel_memory_tcp: Option<String>,
    /// Number of processes
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pids_limit: Option<String>,
    /// Intel RDT: cache
    #[arg(long, value_name = "SCHEMA")]
    l3_cache_schema: Option<String>,
    /// Intel RDT: memory bandwidth
    #[arg(long, value_name = "SCHEMA")]
    mem_bw_schema: Option<String>,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: UpdateArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let record = context.containers.load(&args.words[0])?;
    let limits = match args.resources.as_deref() {
        Some(path) if !path.is_empty() => by_file(path)?,
        _ => by_flags(&args)?,
    };
    if limits.memory_kernel.is_some() || limits.memory_kernel_tcp.is_some() {
        context.warn("limits of kernel memory are obsolete, and set only where the kernel still has them");
    }
    if matches!(context.containers.status(&record), Status::Creating | Status::Stopped) {
        return Err(Failure::new("container not running"));
    }
    for (given, what) in [(&args.l3_cache_schema, "l3-cache-schema"), (&args.mem_bw_schema, "mem-bw-schema")]
    {
        if given.as_deref().is_some_and(|schema| !schema.is_empty()) {
            return Err(Failure::new(format!("--{what}: the container has no Intel RDT configuration")));
        }
    }
    runtime::group::update(&record.groups, record.unit.as_ref(), &limits)?;
    Ok(0)
}

fn by_file(path: &str) -> Result<Resources, Failure> {
    let mut text = String::new();
    let read = match path {
        "-" => std::io::stdin().read_to_string(&mut text),
        path => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
    };
    read.map_err(|e| Failure::new(format!("cannot read {path}: {e}")))?;
    let document: Document = serde_json::from_str(&text).map_err(|e| Failure::new(format!("{path}: {e}")))?;
    oci::limits(&document).map_err(|e| Failure::new(format!("{path}: {}: {}", e.field, e.why)))
}

fn by_flags(args: &UpdateArgs) -> Result<Resources, Failure> {
    let given = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
    let bytes = |flag: &str, value: &Option<String>| match given(value).as_deref() {
        None => Ok(None),
        Some("-1") => Ok(Some(-1)),
        Some(text) => parse_size(text, 1024)
            .ok()
            .and_then(|n| i64::try_from(n).ok())
            // 0 says nothing.
            .map(|n| Some(n).filter(|n| *n != 0))
            .ok_or_else(|| invalid(flag, text)),
    };
    let weight = number::<u16>("blkio-weight", &args.blkio_weight)?;
    if let Some(weight) = weight.filter(|w| *w != 0 && !(10..=1000).contains(w)) {
        return Err(Failure::new(format!("invalid value for blkio-weight: {weight} is not in 10-1000")));
    }
    let idle = number::<i64>("cpu-idle", &args.cpu_idle)?;
    if let Some(idle) = idle.filter(|idle| !matches!(idle, 0 | 1)) {
        return Err(Failure::new(format!("invalid value for cpu-idle: {idle} is neither 0 nor 1")));
    }
    Ok(Resources {
        strict: true,
        memory: bytes("memory", &args.memory)?,
        memory_swap: bytes("memory-swap", &args.memory_swap)?,
        memory_reservation: bytes("memory-reservation", &args.memory_reservation)?,
        memory_kernel: bytes("kernel-memory", &args.kernel_memory)?,
        memory_kernel_tcp: bytes("kernel-memory-tcp", &args.kernel_memory_tcp)?,
        cpu_shares: number("cpu-share", &args.cpu_share)?.filter(|n| *n != 0),
        cpu_quota: number("cpu-quota", &args.cpu_quota)?.filter(|n| *n != 0),
        cpu_period: number("cpu-period", &args.cpu_period)?.filter(|n| *n != 0),
        cpu_burst: number("cpu-burst", &args.cpu_burst)?,
        cpu_realtime_runtime: number("cpu-rt-runtime", &args.cpu_rt_runtime)?.filter(|n| *n != 0),
        cpu_realtime_period: number("cpu-rt-period", &args.cpu_rt_period)?.filter(|n| *n != 0),
        cpu_idle: idle,
        cpuset_cpus: given(&args.cpuset_cpus).unwrap_or_default(),
        cpuset_mems: given(&args.cpuset_mems).unwrap_or_default(),
        pids: number("pids-limit", &args.pids_limit)?,
        blkio_weight: weight.filter(|w| *w != 0),
        ..Resources::default()
    })
}

fn number<T: std::str::FromStr>(flag: &str, value: &Option<String>) -> Result<Option<T>, Failure> {
    let text = value.as_deref().filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(|_| invalid(flag, text))).transpose()
}

fn invalid(flag: &str, text: &str) -> Failure {
    Failure::new(format!("invalid value for {flag}: {text:?}"))
}
