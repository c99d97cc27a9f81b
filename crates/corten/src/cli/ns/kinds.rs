//! The flags that choose namespaces: those of nsenter(1) and unshare(1).

use clap::Args;
use engine::look::spaces::{KINDS, Kind};

/// One flag a kind; none of them means all kinds.
#[derive(Debug, Args)]
pub struct KindArgs {
    /// Mounts
    #[arg(short, long)]
    mount: bool,
    /// Host and domain name
    #[arg(short, long)]
    uts: bool,
    /// System V IPC and message queues
    #[arg(short, long)]
    ipc: bool,
    /// Links, addresses, ports
    #[arg(short, long)]
    net: bool,
    /// Processes
    #[arg(short, long)]
    pid: bool,
    /// Users and capabilities
    #[arg(short = 'U', long)]
    user: bool,
    /// The root of the control groups
    #[arg(short = 'C', long)]
    cgroup: bool,
    /// Clocks since boot
    #[arg(short = 'T', long)]
    time: bool,
}

impl KindArgs {
    /// What was chosen, in the order of [`KINDS`].
    pub fn chosen(&self) -> Vec<Kind> {
        let flags = [self.cgroup, self.ipc, self.mount, self.net, self.pid, self.time, self.user, self.uts];
        let any = flags.contains(&true);
        KINDS.into_iter().zip(flags).filter(|(_, flag)| *flag || !any).map(|(kind, _)| kind).collect()
    }
}

/// The flag of a kind for nsenter(1) and unshare(1).
pub fn flag(kind: &Kind) -> String {
    format!("--{}", if kind.name == "mnt" { "mount" } else { kind.name })
}
