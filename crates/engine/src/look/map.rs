//! What there is on this machine now, of the engine's: containers, and how they hang together. Everything is asked of the kernel;
//! what was asked for once stands in `inspect`.

use super::spaces::{self, KINDS};
use super::{Running, counted, group_paths};
use crate::{Engine, Error, Result};
use kernel::netlink::{dump, namespace};
use runtime::{GroupPaths, group};
use serde::Serialize;
use std::fs;

/// The whole picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Map {
    pub host: Host,
    pub bridges: Vec<Bridge>,
    pub containers: Vec<Seen>,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Host {
    pub name: String,
    pub kernel: String,
    /// Links that are no ends of cables to containers, and no bridges of networks.
    pub links: Vec<Link>,
}

/// The bridge of a network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bridge {
    pub name: String,
    pub network: String,
    /// With the length of the prefix: `10.88.0.1/16`.
    pub addresses: Vec<String>,
    /// The host's ends of the cables that are plugged in.
    pub ports: Vec<String>,
}

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Seen {
    pub name: String,
    pub id: String,
    pub image: String,
    pub pid: i32,
    pub spaces: Vec<Space>,
    pub links: Vec<Link>,
    /// `0.0.0.0:8080->80/tcp`
    pub ports: Vec<String>,
    pub processes: Vec<Process>,
    pub group: Group,
    /// From what is written to down to what is at the bottom.
    pub layers: Vec<Layer>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Space {
    pub kind: &'static str,
    pub inode: u64,
    /// Other containers that are in it.
    pub with: Vec<String>,
    /// It is this machine's own.
    pub host: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Link {
    pub name: String,
    pub up: bool,
    pub addresses: Vec<String>,
    /// The other end of the cable, on this machine.
    pub peer: Option<String>,
    /// The bridge that the other end is plugged into.
    pub bridge: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Process {
    /// Its number in the container.
    pub inside: i32,
    /// Its number on this machine.
    pub outside: i32,
    pub command: String,
}

/// The control group: what it may use, and what it uses.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Group {
    pub directory: String,
    /// Bytes.
    pub memory: u64,
    pub memory_limit: Option<u64>,
    /// Seconds since its start.
    pub cpu_seconds: f64,
    /// CPUs.
    pub cpu_limit: Option<f64>,
    pub pids: u64,
    pub pids_limit: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Layer {
    pub path: String,
    /// Bytes of the files in it.
    pub size: u64,
    pub writable: bool,
}

impl Engine {
    /// What there is now; only the containers named, where some are.
    ///
    /// Errors: a container that is not there or does not run; a table of the kernel's that cannot be read.
    pub fn map(&self, words: &[String]) -> Result<Map> {
        let wanted = match words {
            [] => self.all_running()?,
            words => words.iter().map(|word| self.find_running(word)).collect::<Result<Vec<_>>>()?,
        };
        let all = self.all_running()?;
        let links = Links::read()?;
        let mut containers = Vec::new();
        for running in wanted {
            // It may have ended while we looked at another.
            match self.seen(&running, &all, &links) {
                Ok(seen) => containers.push(seen),
                Err(_) if words.is_empty() && spaces::of(running.pid).is_err() => {}
                Err(error) => return Err(error),
            }
        }
        let bridges = self.bridges(&links)?;
        let ours = |link: &dump::Link| {
            link.kind.as_deref() == Some("veth") || bridges.iter().any(|bridge| bridge.name == link.name)
        };
        let host = Host {
            name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            kernel: format!("Linux {}", rustix::system::uname().release().to_string_lossy()),
            links: links.all.iter().filter(|link| !ours(link)).map(|link| links.view(link, None)).collect(),
        };
        Ok(Map { host, bridges, containers })
    }

    fn bridges(&self, links: &Links) -> Result<Vec<Bridge>> {
        let mut bridges = Vec::new();
        for network in self.networks().list()? {
            let Some(link) = links.all.iter().find(|link| link.name == network.link) else { continue };
            let ports = links.all.iter().filter(|port| port.master == Some(link.index));
            bridges.push(Bridge {
                name: link.name.clone(),
                network: network.name,
                addresses: links.addresses_of(link.index),
                ports: ports.map(|port| port.name.clone()).collect(),
            });
        }
        Ok(bridges)
    }

    fn seen(&self, running: &Running, all: &[Running], host: &Links) -> Result<Seen> {
        let Running { container, pid } = running;
        let gone = |e: std::io::Error| Error::io("cannot look at", format!("process {pid}"), e);
        let own = spaces::of(std::process::id().cast_signed()).map_err(gone)?;
        let numbers = spaces::of(*pid).map_err(gone)?;
        let others: Vec<(&str, [u64; 8])> = all
            .iter()
            .filter(|other| other.container.id != container.id)
            .filter_map(|other| Some((other.container.name.as_str(), spaces::of(other.pid).ok()?)))
            .collect();
        let spaces = KINDS.iter().enumerate().map(|(i, kind)| Space {
            kind: kind.name,
            inode: numbers[i],
            with: others
                .iter()
                .filter(|(_, theirs)| theirs[i] == numbers[i])
                .map(|(n, _)| (*n).to_owned())
                .collect(),
            host: own[i] == numbers[i],
        });
        let paths = group_paths(container);
        Ok(Seen {
            name: container.name.clone(),
            id: container.id.clone(),
            image: container.settings.image.clone(),
            pid: *pid,
            spaces: spaces.collect(),
            links: links_inside(*pid, host)?,
            ports: self.published(container).iter().map(ToString::to_string).collect(),
            processes: processes(&paths, *pid),
            group: usage(&paths),
            layers: self.layers_of(container),
        })
    }

    fn layers_of(&self, container: &crate::Container) -> Vec<Layer> {
        let (written, _) = self.size(container);
        let upper = self.upper_directory(container).display().to_string();
        let sizes = self.images().image(container.image_id.trim_start_matches("sha256:"));
        let sizes = sizes.map(|image| image.layers).unwrap_or_default();
        let top =
            (!container.upper_in_memory).then_some(Layer { path: upper, size: written, writable: true });
        let lower = container.lower.iter().map(|path| {
            let size = sizes.iter().find(|layer| path.contains(&layer.chain)).map_or(0, |layer| layer.size);
            Layer { path: path.clone(), size, writable: false }
        });
        top.into_iter().chain(lower).collect()
    }
}

/// The links of one network namespace.
struct Links {
    all: Vec<dump::Link>,
    addresses: Vec<dump::Address>,
}

impl Links {
    fn read() -> Result<Links> {
        let failed = |e: kernel::netlink::Failure| Error::io("cannot ask for", "links", e.errno);
        Ok(Links { all: dump::links().map_err(failed)?, addresses: dump::addresses().map_err(failed)? })
    }

    fn addresses_of(&self, index: u32) -> Vec<String> {
        let mine = self.addresses.iter().filter(|address| address.link == index);
        mine.map(|address| format!("{}/{}", address.address, address.prefix)).collect()
    }

    /// `host`: where the other end is.
    fn view(&self, link: &dump::Link, host: Option<&Links>) -> Link {
        let far = host.and_then(|host| host.all.iter().find(|far| Some(far.index) == link.peer));
        let bridge = far.and_then(|far| host?.all.iter().find(|bridge| Some(bridge.index) == far.master));
        Link {
            name: link.name.clone(),
            up: link.up,
            addresses: self.addresses_of(link.index),
            peer: far.map(|far| far.name.clone()),
            bridge: bridge.map(|bridge| bridge.name.clone()),
        }
    }
}

/// The links in the process's network namespace; none where it is this machine's.
fn links_inside(pid: i32, host: &Links) -> Result<Vec<Link>> {
    let failed = |e| Error::io("cannot enter the network of", format!("process {pid}"), e);
    let there = namespace::of(pid).map_err(failed)?;
    let same = rustix::fs::fstat(&there)
        .and_then(|theirs| Ok(rustix::fs::fstat(namespace::current()?)?.st_ino == theirs.st_ino));
    if same.map_err(failed)? {
        return Ok(Vec::new());
    }
    let inside = namespace::within(there, Links::read).map_err(failed)??;
    Ok(inside.all.iter().map(|link| inside.view(link, Some(host))).collect())
}

/// Those of the group, or, where it has none, the first alone.
fn processes(paths: &GroupPaths, first: i32) -> Vec<Process> {
    let mut pids = group::processes(paths).unwrap_or_default();
    if !pids.contains(&first) {
        pids.push(first);
    }
    pids.sort_unstable();
    let inside = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let numbers = kernel::process::status_field(&status, "NSpid")?;
        numbers.split_whitespace().last()?.parse().ok()
    };
    let process = |pid| Some(Process { inside: inside(pid)?, outside: pid, command: spaces::command(pid) });
    pids.into_iter().filter_map(process).collect()
}

fn usage(paths: &GroupPaths) -> Group {
    let stats = group::stats(paths).unwrap_or_default();
    // A limit that is none is the greatest number there is, less what makes a page of it.
    let limit = |value: u64| Some(value).filter(|value| (1..1 << 60).contains(value));
    Group {
        directory: counted(paths, "memory").map(|path| path.dir()).unwrap_or_default(),
        memory: stats.memory.usage.usage,
        memory_limit: limit(stats.memory.usage.limit),
        cpu_seconds: stats.cpu.usage.total as f64 / 1e9,
        cpu_limit: cpu_limit(paths),
        pids: stats.pids.current,
        pids_limit: limit(stats.pids.limit),
    }
}

/// CPUs that may be used: quota by period. See cgroups(7), and the kernel's sched-bwc.rst.
fn cpu_limit(paths: &GroupPaths) -> Option<f64> {
    let path = counted(paths, "cpu")?;
    let read = |file: &str| fs::read_to_string(format!("{}/{file}", path.dir())).ok();
    let (quota, period) = if path.is_v2() {
        let max = read("cpu.max")?;
        let (quota, period) = max.trim().split_once(' ')?;
        (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?)
    } else {
        let number = |file| read(file)?.trim().parse::<f64>().ok();
        (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
    };
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}
