//! The flags that choose namespaces: those of nsenter(1) and unshare(1).

use clap::Args;
use engine::look::spaces::{KINDS, Kind};

/// One flag a kind, where none of them means all kinds; and what to run.
#[derive(Debug, Args)]
pub struct SpaceArgs {
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
    /// Print the command of util-linux that does the same, and do nothing
    #[arg(long)]
    pub explain: bool,
    #[arg(trailing_var_arg = true)]
    pub words: Vec<String>,
}

impl SpaceArgs {
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
