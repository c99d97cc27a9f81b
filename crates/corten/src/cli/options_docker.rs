//! More flags of `run` and `create`: limits of single devices, and what Docker's command line has and this engine has another
//! way for. None is missing: each is understood, or refused with its reason.

use clap::Args;

#[derive(Debug, Default, Args)]
pub struct MoreArgs {
    /// Keep a note with it, for other programs (key=value)
    #[arg(long, value_name = "KEY=VALUE")]
    pub annotation: Vec<String>,
    /// Block IO weight on one device (/dev/sda:200)
    #[arg(long, value_name = "DEVICE:WEIGHT")]
    pub blkio_weight_device: Vec<String>,
    /// The control group that its own is made in (/group, or name.slice)
    #[arg(long, value_name = "GROUP")]
    pub cgroup_parent: Option<String>,
    #[arg(long, value_name = "NUMBER", hide = true)]
    pub cpu_count: Option<String>,
    #[arg(long, value_name = "NUMBER", hide = true)]
    pub cpu_percent: Option<String>,
    /// Length of the real-time scheduler's period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_rt_period: Option<i64>,
    /// Real time in each such period, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_rt_runtime: Option<i64>,
    /// Let it use devices that have no place in it yet ('c 189:* rmw')
    #[arg(long, value_name = "RULE")]
    pub device_cgroup_rule: Vec<String>,
    /// Most bytes it may read from a device in a second (/dev/sda:10mb)
    #[arg(long, value_name = "DEVICE:BYTES")]
    pub device_read_bps: Vec<String>,
    /// Most reads from a device in a second (/dev/sda:1000)
    #[arg(long, value_name = "DEVICE:NUMBER")]
    pub device_read_iops: Vec<String>,
    /// Most bytes it may write to a device in a second
    #[arg(long, value_name = "DEVICE:BYTES")]
    pub device_write_bps: Vec<String>,
    /// Most writes to a device in a second
    #[arg(long, value_name = "DEVICE:NUMBER")]
    pub device_write_iops: Vec<String>,
    #[arg(long, value_name = "NUMBER", hide = true)]
    pub io_maxbandwidth: Option<String>,
    #[arg(long, value_name = "NUMBER", hide = true)]
    pub io_maxiops: Option<String>,
    #[arg(long, value_name = "BYTES", hide = true)]
    pub kernel_memory: Option<String>,
    #[arg(long, value_name = "IP", hide = true)]
    pub link_local_ip: Vec<String>,
    #[arg(long, hide = true)]
    pub use_api_socket: bool,
}

impl MoreArgs {
    /// A flag that is given and cannot be had, with the reason.
    pub fn refused(&self) -> Option<(&'static str, &'static str)> {
        let windows = "it is for Windows containers";
        let all = [
            ("--cpu-count", self.cpu_count.is_some(), windows),
            ("--cpu-percent", self.cpu_percent.is_some(), windows),
            ("--io-maxbandwidth", self.io_maxbandwidth.is_some(), windows),
            ("--io-maxiops", self.io_maxiops.is_some(), windows),
            (
                "--kernel-memory",
                self.kernel_memory.is_some(),
                "Linux has no such limit since 5.16; --memory counts the kernel's memory too",
            ),
            ("--link-local-ip", !self.link_local_ip.is_empty(), "choose an address by --ip or --ip6"),
            ("--use-api-socket", self.use_api_socket, "the engine has no API socket to give"),
        ];
        all.into_iter().find(|(_, given, _)| *given).map(|(flag, _, why)| (flag, why))
    }
}
