//! `corten.toml`: what holds where a command line says nothing. Keys are called as in Docker's `daemon.json`.

use crate::cli::ContainerArgs;
use engine::Settings;
use network::Subnet;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use steps::Near;

/// Read where no other file is named by CORTEN_CONFIG.
const PATH: &str = "/etc/corten/corten.toml";
/// Longest file that is read, in bytes.
const MAX: u64 = 1 << 20;

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Config {
    pub data_root: Option<PathBuf>,
    pub exec_root: Option<PathBuf>,
    pub log_driver: Option<String>,
    pub log_opts: BTreeMap<String, String>,
    /// `nofile=1024:2048`
    pub default_ulimits: Vec<String>,
    pub default_shm_size: Option<String>,
    pub default_pids_limit: Option<i64>,
    pub default_address_pools: Vec<AddressPool>,
    /// Of `network create`, by driver.
    pub default_network_opts: BTreeMap<String, BTreeMap<String, String>>,
    pub default_cgroupns_mode: Option<String>,
    pub cgroup_parent: Option<String>,
    pub detach_keys: Option<String>,
    pub dns: Vec<String>,
    pub dns_opts: Vec<String>,
    pub dns_search: Vec<String>,
    /// `NAME=value`
    pub env: Vec<String>,
    pub init: bool,
    /// Where ports are published that name no address.
    pub ip: Option<IpAddr>,
    pub no_new_privileges: bool,
    pub seccomp_profile: Option<String>,
    /// Seconds; −1: without end.
    pub stop_timeout: Option<i64>,
    /// `size=10g`
    pub storage_opts: Vec<String>,
    /// `host`: containers have the host's ids, as Docker's have.
    pub userns: Option<String>,
}

/// Networks that ask for no subnet get one of `size` out of `base`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressPool {
    pub base: Subnet,
    pub size: u8,
}

/// Of networks that can be made.
const DRIVERS: &[&str] = &["bridge", "macvlan"];

const KEYS: &[&str] = &[
    "cgroup-parent",
    "data-root",
    "default-address-pools",
    "default-cgroupns-mode",
    "default-network-opts",
    "default-pids-limit",
    "default-shm-size",
    "default-ulimits",
    "detach-keys",
    "dns",
    "dns-opts",
    "dns-search",
    "env",
    "exec-root",
    "init",
    "ip",
    "log-driver",
    "log-opts",
    "no-new-privileges",
    "seccomp-profile",
    "stop-timeout",
    "storage-opts",
    "userns",
];

const BRIDGE: &str = "the default network is described in networks/bridge.json in the data root";

/// Keys of Docker's, and where such things are said here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("bip", BRIDGE),
    ("default-gateway", BRIDGE),
    ("fixed-cidr", BRIDGE),
    ("icc", BRIDGE),
    ("ip-masq", BRIDGE),
    ("ipv6", BRIDGE),
    ("mtu", BRIDGE),
    ("insecure-registries", "registries are described in registries.toml"),
    ("registry-mirrors", "registries are described in registries.toml"),
    ("proxies", "HTTPS_PROXY and NO_PROXY are read from the environment; env is for containers"),
    ("debug", "there is no daemon"),
    ("group", "there is no daemon to connect to"),
    ("labels", "there is no daemon"),
    ("log-level", "there is no daemon"),
    ("shutdown-timeout", "there is no daemon; stop-timeout is the containers'"),
    ("live-restore", "containers need no daemon here"),
    ("userns-remap", "each container has ids of its own; userns = \"host\" turns that off"),
    ("hosts", "there is no daemon to connect to"),
    ("storage-driver", "there is one way to store images"),
    ("exec-opts", "the driver of control groups cannot be chosen"),
    ("runtimes", "there is one runtime"),
    ("default-runtime", "there is one runtime"),
];

impl Config {
    /// The file that CORTEN_CONFIG names, or the usual one, which need not be there.
    pub fn read() -> Result<Config, String> {
        match std::env::var_os("CORTEN_CONFIG").filter(|path| !path.is_empty()) {
            Some(path) => Config::read_file(Path::new(&path), true),
            None => Config::read_file(Path::new(PATH), false),
        }
    }

    fn read_file(path: &Path, needed: bool) -> Result<Config, String> {
        let text = std::fs::File::open(path).and_then(|file| {
            let mut text = String::new();
            file.take(MAX).read_to_string(&mut text).map(|_| text)
        });
        match text {
            Ok(text) => Config::parse(&text).map_err(|e| format!("{}: {e}", path.display())),
            Err(e) if e.kind() == ErrorKind::NotFound && !needed => Ok(Config::default()),
            Err(e) => Err(format!("cannot read {}: {}", path.display(), crate::cli::io_words(&e))),
        }
    }

    fn parse(text: &str) -> Result<Config, String> {
        let failed = |e: &toml::de::Error| {
            // Its own text is several lines, with a drawing.
            let line =
                e.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            format!("line {line}: {}", e.message().lines().next().unwrap_or_default())
        };
        let table: toml::Table = toml::from_str(text).map_err(|e| failed(&e))?;
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(match ELSEWHERE.iter().find(|(name, _)| name == key) {
                Some((_, why)) => format!("'{key}' is no key of this file: {why}"),
                None => format!("unknown key '{key}'{}", Near::of(key, KEYS)),
            });
        }
        let config: Config = toml::from_str(text).map_err(|e| failed(&e))?;
        for pool in &config.default_address_pools {
            if !pool.base.is_ipv4() || pool.size < pool.base.prefix || pool.size > 30 {
                return Err(format!(
                    "default-address-pools: networks of size {} do not fit into {}",
                    pool.size, pool.base
                ));
            }
        }
        if let Some(line) = config.env.iter().find(|line| line.find('=').is_none_or(|at| at == 0)) {
            return Err(format!("env: '{line}' is not of the form NAME=value"));
        }
        if let Some(driver) = config.default_network_opts.keys().find(|key| !DRIVERS.contains(&key.as_str()))
        {
            return Err(format!("default-network-opts: there is no driver '{driver}'"));
        }
        if config.userns.as_deref().is_some_and(|mode| !matches!(mode, "host" | "private")) {
            return Err("userns must be \"host\" or \"private\"".to_owned());
        }
        Ok(config)
    }

    /// Fills in what the command line of a container leaves open.
    pub fn fill(&self, args: &mut ContainerArgs) {
        self.fill_log(args);
        args.usual_env.clone_from(&self.env);
        let name = |limit: &str| limit.split('=').next().unwrap_or_default().to_owned();
        let given: Vec<String> = args.ulimit.iter().map(|limit| name(limit)).collect();
        let more = self.default_ulimits.iter().filter(|limit| !given.contains(&name(limit)));
        args.ulimit.extend(more.cloned());
        or(&mut args.shm_size, &self.default_shm_size);
        or(&mut args.pids_limit, &self.default_pids_limit);
        or(&mut args.cgroupns, &self.default_cgroupns_mode);
        or(&mut args.more.cgroup_parent, &self.cgroup_parent);
        args.init |= self.init;
        let own_network = args.network.iter().all(|word| word != "host" && !word.starts_with("container:"));
        if own_network {
            or_all(&mut args.dns, &self.dns);
            or_all(&mut args.dns_option, &self.dns_opts);
            or_all(&mut args.dns_search, &self.dns_search);
        }
        if args.rootfs.is_none() {
            or_all(&mut args.storage_opt, &self.storage_opts);
        }
        if self.userns.as_deref() == Some("host") {
            or(&mut args.userns, &self.userns);
        }
        let says = |key: &str| args.security_opt.iter().any(|option| option.starts_with(key));
        let profile = self.seccomp_profile.as_ref().filter(|_| !args.privileged && !says("seccomp"));
        let no_more = self.no_new_privileges && !args.privileged && !says("no-new-privileges");
        args.security_opt.extend(profile.map(|path| format!("seccomp={path}")));
        args.security_opt.extend(no_more.then(|| "no-new-privileges".to_owned()));
    }

    /// The options are those of the driver that is the usual one.
    fn fill_log(&self, args: &mut ContainerArgs) {
        or(&mut args.log_driver, &self.log_driver);
        let usual = self.log_driver.as_deref().unwrap_or("json-file");
        if args.log_driver.as_deref().unwrap_or("json-file") != usual {
            return;
        }
        for (key, value) in &self.log_opts {
            let given = args.log_opt.iter().any(|option| option.split('=').next() == Some(key));
            if !given {
                args.log_opt.push(format!("{key}={value}"));
            }
        }
    }

    /// The same for what is only known when the command line is understood.
    pub fn fill_settings(&self, settings: &mut Settings) {
        for port in &mut settings.ports {
            port.host_ip = port.host_ip.or(self.ip);
        }
        settings.stop_timeout = settings.stop_timeout.or(self.stop_timeout);
    }

    /// Options of a new network that are not given, in whichever of their spellings.
    pub fn fill_network(&self, driver: &str, options: &mut BTreeMap<String, String>) {
        let word = |key: &str| key.rsplit('.').next().unwrap_or(key).trim_start_matches("enable_").to_owned();
        let given: Vec<String> = options.keys().map(|key| word(key)).collect();
        let usual = self.default_network_opts.get(driver).into_iter().flatten();
        let more = usual.filter(|(key, _)| !given.contains(&word(key)));
        options.extend(more.map(|(key, value)| (key.clone(), value.clone())));
    }

    /// The subnets that networks are given, and the size of one.
    pub fn pools(&self) -> Vec<(Subnet, u8)> {
        self.default_address_pools.iter().map(|pool| (pool.base, pool.size)).collect()
    }
}

fn or<T: Clone>(value: &mut Option<T>, usual: &Option<T>) {
    if value.is_none() {
        value.clone_from(usual);
    }
}

fn or_all(values: &mut Vec<String>, usual: &[String]) {
    if values.is_empty() {
        values.extend_from_slice(usual);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::test_parse;

    const FILE: &str = r#"
log-driver = "local"
log-opts = { max-size = "1m", compress = "false" }
default-ulimits = ["nofile=1024:2048", "core=0"]
default-shm-size = "32m"
dns = ["192.0.2.1"]
init = true
no-new-privileges = true
ip = "127.0.0.1"
default-address-pools = [{ base = "10.200.0.0/16", size = 24 }]
env = ["LANG=C.UTF-8"]

[default-network-opts.bridge]
"com.docker.network.driver.mtu" = "1400"
"com.docker.network.bridge.enable_icc" = "false"
"#;

    fn filled(line: &str) -> ContainerArgs {
        let words = format!("{line} busybox").split_whitespace().map(str::to_owned).collect();
        let mut args = test_parse(words).unwrap();
        Config::parse(FILE).unwrap().fill(&mut args);
        args
    }

    #[test]
    fn what_a_command_line_leaves_open() {
        let args = filled("");
        assert_eq!(args.log_driver.as_deref(), Some("local"));
        assert_eq!(args.log_opt, ["compress=false", "max-size=1m"]);
        assert_eq!(args.ulimit, ["nofile=1024:2048", "core=0"]);
        assert_eq!((args.shm_size.as_deref(), args.init), (Some("32m"), true));
        assert_eq!((args.dns.len(), args.security_opt.len()), (1, 1));
        assert_eq!(args.usual_env, ["LANG=C.UTF-8"]);
        let config = Config::parse(FILE).unwrap();
        let filled = |driver: &str, given: &[(&str, &str)]| {
            let mut options = given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            config.fill_network(driver, &mut options);
            options.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(
            filled("bridge", &[]),
            ["com.docker.network.bridge.enable_icc=false", "com.docker.network.driver.mtu=1400"]
        );
        assert_eq!(filled("bridge", &[("mtu", "1300"), ("icc", "true")]), ["icc=true", "mtu=1300"]);
        assert_eq!(filled("macvlan", &[("parent", "eth0")]), ["parent=eth0"]);
    }

    #[test]
    fn what_it_says_stands() {
        let args = filled("--log-opt max-size=2m --ulimit nofile=7 --shm-size 1m --dns 9.9.9.9");
        assert_eq!(args.log_opt, ["max-size=2m", "compress=false"]);
        assert_eq!(args.ulimit, ["nofile=7", "core=0"]);
        assert_eq!(
            (args.shm_size.as_deref(), args.dns.as_slice()),
            (Some("1m"), &["9.9.9.9".to_owned()][..])
        );
        // Options belong to the driver that they were written for.
        assert!(filled("--log-driver json-file").log_opt.is_empty());
        assert!(filled("--network host").dns.is_empty());
        let args = filled("--privileged --security-opt no-new-privileges=false");
        assert_eq!(args.security_opt, ["no-new-privileges=false"]);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| Config::parse(text).unwrap_err();
        assert_eq!(error("log-drver = 'local'"), "unknown key 'log-drver' (did you mean 'log-driver'?)");
        assert!(error("registry-mirrors = ['https://x']").contains("registries.toml"));
        assert!(error("\ninit = 7").starts_with("line 2: "), "{}", error("\ninit = 7"));
        assert!(error("init =").starts_with("line 1: "));
        let pools = "default-address-pools = [{ base = '10.0.0.0/24', size = 16 }]";
        assert!(error(pools).contains("10.0.0.0/24"));
        assert!(error("userns = 'yes'").contains("userns"));
        assert!(error("bip = '10.9.0.1/24'").contains("networks/bridge.json"));
        assert_eq!(error("env = ['HOME']"), "env: 'HOME' is not of the form NAME=value");
        assert!(error("default-network-opts = { overlay = {} }").contains("'overlay'"));
        assert!(error("stop_timeout = 5").contains("did you mean 'stop-timeout'?"));
    }
}
