//! The flags that `run` and `create` share, as they were typed: nothing is understood here.

use super::args::go_bool;
use super::options_docker::MoreArgs;
use clap::Args;

/// One field a flag; a list where it may be given several times.
#[derive(Debug, Default, Args)]
pub struct ContainerArgs {
    /// Add a line to the container's /etc/hosts (host:ip, the ip may be host-gateway)
    #[arg(long, value_name = "HOST:IP")]
    pub add_host: Vec<String>,
    /// Attach to STDIN, STDOUT or STDERR
    #[arg(short, long, value_name = "STREAM")]
    pub attach: Vec<String>,
    /// Block IO weight, 10 to 1000; 0 is none
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,
    /// Add capabilities (capabilities(7)); ALL is all
    #[arg(long, value_name = "CAP")]
    pub cap_add: Vec<String>,
    /// Drop capabilities
    #[arg(long, value_name = "CAP")]
    pub cap_drop: Vec<String>,
    /// Cgroup namespace: private or host
    #[arg(long, value_name = "MODE")]
    pub cgroupns: Option<String>,
    /// Write the container's id to this file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<String>,
    /// Length of the CPU scheduler's period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_period: Option<i64>,
    /// CPU time in each period, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_quota: Option<i64>,
    /// Share of the CPU where it is contended (1024 is the usual one)
    #[arg(short, long, value_name = "SHARES")]
    pub cpu_shares: Option<i64>,
    /// How many CPUs' time it may use (0.5, 2)
    #[arg(long, value_name = "NUMBER")]
    pub cpus: Option<String>,
    /// On which CPUs it may run (0-3, 0,1)
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// From which memory nodes it may take (0-3, 0,1)
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Give it a device of the host (/dev/fuse, /dev/sda:/dev/xvda:r), or one of CDI (vendor.com/class=name)
    #[arg(long, value_name = "DEVICE")]
    pub device: Vec<String>,
    /// Name servers
    #[arg(long, value_name = "IP")]
    pub dns: Vec<String>,
    /// Options of resolv.conf
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    pub dns_option: Vec<String>,
    /// Domains in which names are searched
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// NIS domain name
    #[arg(long, value_name = "NAME")]
    pub domainname: Option<String>,
    /// The program, in place of the image's; an empty word takes it away
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// Set an environment variable (NAME=value; NAME alone copies yours)
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Of the configuration: what an image or a flag says goes before.
    #[arg(skip)]
    pub usual_env: Vec<String>,
    /// Read environment variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<String>,
    /// Name a port that the program listens on (80, 80/udp, 8000-8010)
    #[arg(long, value_name = "PORT")]
    pub expose: Vec<String>,
    /// Give it graphics processors (all, 2, device=0), as CDI describes them
    #[arg(long, value_name = "GPUS")]
    pub gpus: Option<String>,
    /// More groups for the program's user
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,
    /// The command of a shell that tells whether it is healthy
    #[arg(long, value_name = "COMMAND")]
    pub health_cmd: Option<String>,
    /// Time between two checks (30s, 1m30s) [30s]
    #[arg(long, value_name = "TIME")]
    pub health_interval: Option<String>,
    /// How many failures in a row make it unhealthy [3]
    #[arg(long, value_name = "NUMBER")]
    pub health_retries: Option<i64>,
    /// Time between two checks in the start period [5s]
    #[arg(long, value_name = "TIME")]
    pub health_start_interval: Option<String>,
    /// Time after the start in which failures do not count [0s]
    #[arg(long, value_name = "TIME")]
    pub health_start_period: Option<String>,
    /// The longest time that one check may take [30s]
    #[arg(long, value_name = "TIME")]
    pub health_timeout: Option<String>,
    /// Host name of the container
    #[arg(short = 'h', long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Run an init that forwards signals and reaps processes
    #[arg(long)]
    pub init: bool,
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// IPv4 address in its first network
    #[arg(long, value_name = "IP")]
    pub ip: Option<String>,
    /// IPv6 address in its first network
    #[arg(long, value_name = "IP")]
    pub ip6: Option<String>,
    /// IPC namespace: private, host or container:NAME
    #[arg(long, value_name = "MODE")]
    pub ipc: Option<String>,
    /// Refused: there are no isolation technologies but the default one
    #[arg(long, value_name = "KIND", hide = true)]
    pub isolation: Option<String>,
    /// Give it a label (key=value)
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// Read labels from a file, one a line
    #[arg(long, value_name = "FILE")]
    pub label_file: Vec<String>,
    /// Give another container a name here (container:name)
    #[arg(long, value_name = "CONTAINER:NAME")]
    pub link: Vec<String>,
    /// Where its output goes: json-file, local, journald or none
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,
    /// Options of the log: max-size=10m, max-file=3, compress=true, mode=non-blocking, tag=, labels=, env=
    #[arg(long, value_name = "NAME=VALUE")]
    pub log_opt: Vec<String>,
    /// Hardware address in its first network (02:42:ac:11:00:02)
    #[arg(long, value_name = "ADDRESS")]
    pub mac_address: Option<String>,
    /// Most memory (512m, 2g)
    #[arg(short, long, value_name = "BYTES")]
    pub memory: Option<String>,
    /// Memory that it keeps when memory runs short
    #[arg(long, value_name = "BYTES")]
    pub memory_reservation: Option<String>,
    /// Most memory and swap together; -1 is unlimited swap
    #[arg(long, value_name = "BYTES")]
    pub memory_swap: Option<String>,
    /// How gladly its memory is swapped, 0 to 100
    #[arg(long, value_name = "PERCENT")]
    pub memory_swappiness: Option<i64>,
    /// Mount something (type=bind|volume|tmpfs|image,source=,target=,readonly)
    #[arg(long, value_name = "MOUNT")]
    pub mount: Vec<String>,
    /// Its name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// A network (NAME, NAME:ip=,alias=,mac=), or none, host, container:NAME
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    pub network: Vec<String>,
    /// Another name in its first network
    #[arg(long, visible_alias = "net-alias", value_name = "NAME")]
    pub network_alias: Vec<String>,
    /// Run no health check, not even the image's
    #[arg(long)]
    pub no_healthcheck: bool,
    /// What is done when it becomes unhealthy: none, restart, stop or kill
    #[arg(long, alias = "health-on-failure", value_name = "ACTION")]
    pub on_unhealthy: Option<String>,
    /// Let it hang rather than be killed when its memory is full
    #[arg(long)]
    pub oom_kill_disable: bool,
    /// How gladly the kernel kills it when memory runs out, -1000 to 1000
    #[arg(long, value_name = "SCORE")]
    pub oom_score_adj: Option<i32>,
    /// PID namespace: host or container:NAME
    #[arg(long, value_name = "MODE")]
    pub pid: Option<String>,
    /// Most processes; -1 is unlimited
    #[arg(long, value_name = "NUMBER")]
    pub pids_limit: Option<i64>,
    /// The platform that the image must be for (linux/amd64)
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// Take down the walls: all capabilities, devices and paths of the host
    #[arg(long)]
    pub privileged: bool,
    /// Publish a port ([[ip:]host:]container[/udp])
    #[arg(short, long, value_name = "PORT")]
    pub publish: Vec<String>,
    /// Publish every exposed port on a free one
    #[arg(short = 'P', long)]
    pub publish_all: bool,
    /// When to pull the image: missing, never or always
    #[arg(long, value_name = "WHEN")]
    pub pull: Option<String>,
    /// Don't say which image is missing
    #[arg(short, long)]
    pub quiet: bool,
    /// The root file system can't be written
    #[arg(long)]
    pub read_only: bool,
    /// What happens when it ends: no, on-failure[:TIMES], always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<String>,
    /// Remove it when it ends
    #[arg(long)]
    pub rm: bool,
    /// Use a directory of the host in place of an image
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub rootfs: Option<String>,
    /// Refused: the runtime can't be chosen
    #[arg(long, value_name = "NAME", hide = true)]
    pub runtime: Option<String>,
    /// no-new-privileges, seccomp=FILE|unconfined, apparmor=PROFILE, systempaths=unconfined
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
    /// Size of /dev/shm [64m]
    #[arg(long, value_name = "BYTES")]
    pub shm_size: Option<String>,
    /// The signal that asks it to end
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL; -1 waits for ever
    #[arg(long, value_name = "SECONDS")]
    pub stop_timeout: Option<i64>,
    /// How much it may write into its own files (size=10g), where the file system keeps project quotas
    #[arg(long, value_name = "NAME=VALUE")]
    pub storage_opt: Vec<String>,
    /// Set a kernel parameter of its namespaces (net.ipv4.ip_unprivileged_port_start=0)
    #[arg(long, value_name = "NAME=VALUE")]
    pub sysctl: Vec<String>,
    /// Mount memory at a directory (/run:size=64m,mode=755)
    #[arg(long, value_name = "DIR")]
    pub tmpfs: Vec<String>,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Limit a resource (nofile=1024:2048)
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<String>,
    /// The program's user, and group (name or number, user:group)
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// User namespace: private or host
    #[arg(long, value_name = "MODE")]
    pub userns: Option<String>,
    /// UTS namespace: host
    #[arg(long, value_name = "MODE")]
    pub uts: Option<String>,
    /// Mount a directory of the host or a volume (/host:/inside:ro; map=me: its files are yours inside)
    #[arg(short, long, value_name = "SOURCE:TARGET")]
    pub volume: Vec<String>,
    /// Refused: volumes have no drivers
    #[arg(long, value_name = "DRIVER", hide = true)]
    pub volume_driver: Option<String>,
    /// Mount what another container mounts, at the same places (NAME, NAME:ro)
    #[arg(long, value_name = "CONTAINER[:ro]")]
    pub volumes_from: Vec<String>,
    /// Directory in which the program starts
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Check the image's signature (accepted for old scripts)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = go_bool, hide = true)]
    pub disable_content_trust: Option<bool>,
    #[command(flatten)]
    pub more: MoreArgs,
    #[arg(trailing_var_arg = true)]
    pub words: Vec<String>,
}

impl ContainerArgs {
    /// The image, or the directory of `--rootfs`, and the command after it.
    pub fn image_and_command(&self) -> (&str, &[String]) {
        match (&self.rootfs, self.words.split_first()) {
            (Some(dir), _) if !dir.is_empty() => (dir, &self.words),
            (_, Some((image, command))) => (image, command),
            (_, None) => ("", &[]),
        }
    }

    /// `-a stdout` or `-a stderr`.
    pub fn attaches_output(&self) -> bool {
        self.attach.iter().any(|stream| !stream.eq_ignore_ascii_case("stdin"))
    }
}
