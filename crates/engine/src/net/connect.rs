//! Containers change networks while they run: links are plugged in and pulled out, names come and go, ports follow.

use super::keeper::{Answer, Request};
use super::plugs;
use crate::{Container, Engine, Error, Network, Result, events};
use kernel::netlink::{Batch, Socket, dump, namespace, route};
use network::attach::{self, forwards, way_out};
use network::{Driver, Endpoint, Families, Held, Plug, PublishedPort, Rest, Wish};
use rustix::fd::OwnedFd;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use steps::{ConfigureLinks, Forward, Journal, Live, Publish, Shell, Step, Unpublish};

/// A running container, as far as its links are concerned.
pub(super) struct Running {
    pid: i32,
    /// Its network.
    namespace: OwnedFd,
    links: Vec<dump::Link>,
}

impl Engine {
    /// Gives a container a place in a further network; a running one is plugged in at once.
    pub fn connect(&self, container: &Container, wish: Wish) -> Result<()> {
        if container.settings.network != Network::Bridge {
            return Err(Error::Invalid(format!(
                "container {} has no network of its own ({}): it cannot be connected to another",
                container.name,
                crate::inspect::network_mode(&container.settings)
            )));
        }
        let network = self.networks().find(&wish.network)?;
        if network.is_default() && !wish.aliases.is_empty() {
            let text = "network-scoped alias is supported only for containers in user defined networks";
            return Err(Error::Invalid(text.to_owned()));
        }
        let _lock = self.lock_container(container)?;
        let mut now = self.read(&container.id)?;
        self.finish_change(&now)?;
        if now.endpoints.iter().any(|e| e.network == network.name) {
            return Err(Error::Invalid(format!(
                "endpoint with name {} already exists in network {}",
                now.name, network.name
            )));
        }
        let before = self.own_texts(&now)?;
        let old = self.targets_of(&now)?;
        let endpoint = self.lease_endpoint(&now.id, Wish { network: network.name.clone(), ..wish })?;
        now.endpoints.push(endpoint.clone());
        let plug = || -> Result<bool> {
            self.begin_change(&now, &endpoint)?;
            let running = self.running(&now)?;
            running.as_ref().map(|running| self.plug_in(&now, running)).transpose()?;
            self.write_config(&now)?;
            Ok(running.is_some())
        };
        let runs = match plug() {
            Ok(runs) => runs,
            Err(error) => {
                let _ = self.release_endpoint(&now.id, &endpoint);
                self.end_change(&now);
                return Err(error);
            }
        };
        let followed = if runs { self.follow(&now, &before, &old) } else { Ok(()) };
        self.end_change(&now);
        if runs && followed.is_ok() {
            self.tell(&[events::of_network(&network, "connect").with("container", &now.id)]);
        }
        followed
    }

    /// Takes a container out of a network.
    pub fn disconnect(&self, container: &Container, name: &str) -> Result<()> {
        let _lock = self.lock_container(container)?;
        let mut now = self.read(&container.id)?;
        self.finish_change(&now)?;
        // The network itself may be no more.
        let place = |e: &Endpoint| e.network == name || (name.len() > 2 && e.network_id.starts_with(name));
        let Some(at) = now.endpoints.iter().position(place) else {
            let network = self.networks().find(name)?;
            return Err(Error::Invalid(format!(
                "container {} is not connected to network {}",
                now.name, network.name
            )));
        };
        let before = self.own_texts(&now)?;
        let old = self.targets_of(&now)?;
        let running = self.running(&now)?;
        let held = if running.is_some() { self.hold(&now)? } else { Vec::new() };
        let all = now.clone();
        let endpoint = now.endpoints.remove(at);
        self.begin_change(&now, &endpoint)?;
        self.write_config(&now)?;
        if let Some(running) = &running {
            // Its ports first lead elsewhere, then nowhere.
            let followed = self.follow(&now, &before, &old);
            self.pull_out(&all, &held, at, running)?;
            followed?;
            if let Some(held) = held.get(at) {
                self.tell(&[events::of_network(&held.network, "disconnect").with("container", &now.id)]);
            }
        }
        self.release_endpoint(&now.id, &endpoint)?;
        self.end_change(&now);
        Ok(())
    }

    /// [`Engine::connect`] as commands: the steps that it performs, with the first address of the network.
    pub fn connect_by_hand(&self, container: &Container, wish: Wish) -> Result<Vec<Shell>> {
        let network = self.networks().find(&wish.network)?;
        let mut now = container.clone();
        if now.endpoints.iter().any(|e| e.network == network.name) {
            let text = format!("endpoint with name {} already exists in network {}", now.name, network.name);
            return Err(Error::Invalid(text));
        }
        now.endpoints.extend(self.draft_endpoints(&[wish])?);
        let config = self.directory(container).join("config.json");
        let mut all = vec![Shell::comment(
            format!("noted in {}, with a lease of its address", config.display()),
            "symlink(2)",
        )];
        let Some(running) = self.running(&now)? else { return Ok(all) };
        let held = self.hold(&now)?;
        let plugs = running.plugs(&now, &held);
        let last = plugs.len() - 1;
        let (plug, start) = (plugs[last], crate::Time::now().0);
        let pid = format!("PID={}", running.pid);
        all.push(Shell::exact(pid, "the container's first process", "network_namespaces(7)"));
        let host = network::attach(&[plug], &now.id, start, &[], &Rest::default()).host;
        all.extend(host.iter().map(Step::shell));
        all.extend(self.publish_names(&now, plug.endpoint).iter().map(Step::shell));
        all.push(attach::cable(&plug, &now.id, start).shell());
        for (key, value) in attach::sysctls(&plug) {
            let why = "what its link takes from its neighbours";
            all.push(within(Shell::exact(format!("sysctl -qw {key}={value}"), why, "sysctl(8)")));
        }
        let configured = ConfigureLinks::new(vec![attach::configured(&plugs, last)]).shell();
        all.push(within(configured));
        Ok(all)
    }

    /// [`Engine::disconnect`] as commands.
    pub fn disconnect_by_hand(&self, container: &Container, name: &str) -> Result<Vec<Shell>> {
        let place = |e: &Endpoint| e.network == name || (name.len() > 2 && e.network_id.starts_with(name));
        let Some(at) = container.endpoints.iter().position(place) else {
            let network = self.networks().find(name)?;
            let text = format!("container {} is not connected to network {}", container.name, network.name);
            return Err(Error::Invalid(text));
        };
        let endpoint = &container.endpoints[at];
        let mut all = Vec::new();
        if let Some(running) = self.running(container)? {
            let held = self.hold(container)?;
            let link = running.plugs(container, &held)[at].name();
            let names = self.publish_names(container, endpoint).and_then(|names| names.undo());
            all.push(Shell::exact(
                format!("PID={}", running.pid),
                "the container's first process",
                "network_namespaces(7)",
            ));
            all.extend(names.iter().map(Step::shell));
            let why = "the cable goes, with both ends and its routes";
            all.push(within(Shell::exact(format!("ip link delete {link}"), why, "ip-link(8)")));
        }
        for address in endpoint.addresses() {
            let lease = self.root.join("leases").join(address.to_string()).display().to_string();
            all.push(Shell::exact(
                format!("rm -f {}", steps::quote(&lease)),
                "its address is free",
                "unlink(2)",
            ));
        }
        let config = self.directory(container).join("config.json");
        all.push(Shell::comment(format!("noted in {}", config.display()), "rename(2)"));
        Ok(all)
    }

    pub(super) fn running(&self, container: &Container) -> Result<Option<Running>> {
        let Some((pid, _)) = self.handle(container)? else { return Ok(None) };
        let failed =
            |errno| Error::io("cannot enter the network of", &container.name, std::io::Error::from(errno));
        let namespace = namespace::of(pid).map_err(failed)?;
        let links = namespace::within(&namespace, dump::links).map_err(failed)?;
        let links = links.map_err(|failure| network::Error::Kernel("the container's links", failure))?;
        Ok(Some(Running { pid, namespace, links }))
    }

    /// The last of the container's places becomes a link.
    fn plug_in(&self, container: &Container, running: &Running) -> Result<()> {
        let held = self.hold(container)?;
        let all = running.plugs(container, &held);
        let last = all.len() - 1;
        let plug = all[last];
        plug.network.check_clash()?;
        let rest = match plug.network.driver {
            Driver::Bridge if !network::firewall::intact(&[plug.network])? => self.rest("")?,
            _ => Rest::default(),
        };
        let start = crate::Time::now().0;
        let host = network::attach(&[plug], &container.id, start, &[], &rest).host;
        let live = Live::new(0);
        live.pid.set(running.pid);
        let mut journal = self.journal(container)?;
        let names = self.publish_names(container, plug.endpoint);
        let cable = attach::cable(&plug, &container.id, start);
        let plugged = (host.iter().chain(&names).chain([&cable]))
            .try_for_each(|step| perform(step, &live, Some(&mut journal)));
        let configured = ConfigureLinks::new(vec![attach::configured(&all, last)]);
        let lost: Vec<(u32, IpAddr)> = [true, false]
            .into_iter()
            .filter(|ipv4| way_out(&all, *ipv4) == Some(last))
            .filter_map(|ipv4| running.default_route(&all[..last], ipv4))
            .collect();
        let inside = || -> Result<()> {
            for (key, value) in attach::sysctls(&plug) {
                let path = format!("/proc/sys/{}", key.replace('.', "/"));
                std::fs::write(&path, value).map_err(|e| Error::io("cannot write", &path, e))?;
            }
            for (index, gateway) in lost {
                let mut batch = Batch::new();
                route::delete_default_route(&mut batch, index, gateway);
                // The container may have taken it away itself.
                let _ = send(batch);
            }
            perform(&configured.into(), &live, None)
        };
        let arrange = || {
            namespace::within(&running.namespace, inside)
                .map_err(|e| Error::io("cannot enter", "a network", e))
                .flatten()
        };
        if let Err(error) = plugged.and_then(|()| arrange()) {
            let _ = running.delete_link(&plug.name());
            names.and_then(|names| names.undo()).map(|undo| perform(&undo, &live, None)).transpose()?;
            return Err(error);
        }
        Ok(())
    }

    /// The link of the place at `at` goes, and what it led to the world by another.
    pub(super) fn pull_out(
        &self,
        container: &Container,
        held: &[Held],
        at: usize,
        running: &Running,
    ) -> Result<()> {
        let all = running.plugs(container, held);
        if let Some(names) = self.publish_names(container, all[at].endpoint).and_then(|names| names.undo()) {
            perform(&names, &Live::new(0), None)?;
        }
        if running.link(all[at].endpoint).is_some() {
            running.delete_link(&all[at].name())?;
        }
        let mut left = all.clone();
        left.remove(at);
        for ipv4 in [true, false] {
            let now = way_out(&left, ipv4);
            if way_out(&all, ipv4) != Some(at) {
                continue;
            }
            let Some((plug, gateway)) = now.and_then(|i| Some((left[i], left[i].gateway(ipv4)?))) else {
                continue;
            };
            let add = || {
                let mut batch = Batch::new();
                route::add_default_route(&mut batch, plug.index(), gateway);
                send(batch)
            };
            // What the container has done to its routes itself is its own affair.
            let _ = namespace::within(&running.namespace, add);
        }
        Ok(())
    }

    /// Files, names and published ports follow the container's places.
    pub(super) fn follow(
        &self,
        container: &Container,
        before: &[(&'static str, String)],
        old: &[IpAddr],
    ) -> Result<()> {
        let run = self.run_directory(container);
        for ((name, now), (_, then)) in self.own_texts(container)?.iter().zip(before) {
            let path = run.join(name);
            // What somebody has written into it himself stays.
            if now != then && std::fs::read_to_string(&path).is_ok_and(|text| text == *then) {
                overwrite(&path, now).map_err(|e| Error::io("cannot write", &path, e))?;
            }
        }
        self.ask_monitor(container, &Request::Networks)?;
        let targets = self.targets_of(container)?;
        let mut ports = self.published(container);
        let specs = &container.settings.ports;
        if ports.is_empty() && !specs.is_empty() && !targets.is_empty() {
            ports = self.hold_ports(container, specs, &targets)?;
            self.write_ports(container, &ports)?;
        }
        self.lead(container, &forwards(&ports, old), &forwards(&ports, &targets))
    }

    /// The container's monitor binds further ports.
    pub(crate) fn hold_ports(
        &self,
        container: &Container,
        specs: &[network::PortSpec],
        targets: &[IpAddr],
    ) -> Result<Vec<PublishedPort>> {
        let Families { ipv4, ipv6 } = Families::of(targets);
        match self.ask_monitor(container, &Request::Hold { specs: specs.to_vec(), ipv4, ipv6 })? {
            Answer::Held(ports) => Ok(ports),
            _ => Err(Error::Invalid(format!("the monitor of {} did not bind the ports", container.name))),
        }
    }

    /// Ports that led to `old` lead to `new` from now on.
    pub(crate) fn lead(&self, container: &Container, old: &[Forward], new: &[Forward]) -> Result<()> {
        let table = || network::Network::default().table.as_str().into();
        let only = |some: &[Forward], others: &[Forward]| -> Vec<Forward> {
            some.iter().filter(|forward| !others.contains(forward)).cloned().collect()
        };
        let (gone, come) = (only(old, new), only(new, old));
        let live = Live::new(0);
        if !gone.is_empty() {
            perform(&Unpublish { table: table(), ports: gone }.into(), &live, None)?;
        }
        if !come.is_empty() {
            let mut journal = self.journal(container)?;
            perform(&Publish { table: table(), ports: come }.into(), &live, Some(&mut journal))?;
        }
        Ok(())
    }

    /// The addresses that a container's published ports lead to now.
    pub(crate) fn targets_of(&self, container: &Container) -> Result<Vec<IpAddr>> {
        // Networks of a container that does not run may be gone.
        let networks = self.networks().list()?;
        Ok(self.targets(container, &networks))
    }

    fn journal(&self, container: &Container) -> Result<Journal> {
        let path = self.run_directory(container).join("journal");
        Journal::open(&path).map_err(|e| Error::io("cannot open", &path, e))
    }
}

/// The same commands in the container's network.
fn within(shell: Shell) -> Shell {
    let lines = shell.lines.iter().map(|line| format!("nsenter -t $PID -n {line}")).collect();
    Shell { lines, ..shell }
}

impl Running {
    /// The container's places with the numbers that their links have, by their hardware addresses; one without a link gets
    /// the first free number.
    fn plugs<'a>(&self, container: &'a Container, held: &'a [Held]) -> Vec<Plug<'a>> {
        let mut all = plugs(container, held);
        for plug in &mut all {
            plug.number = self.link(plug.endpoint).unwrap_or_else(|| {
                let free = |number: &u32| !self.links.iter().any(|l| l.name == format!("eth{number}"));
                (0..).find(free).unwrap_or_default()
            });
        }
        all
    }

    /// The number of an endpoint's link.
    pub(super) fn link(&self, endpoint: &Endpoint) -> Option<u32> {
        let link = self.links.iter().find(|link| link.mac == Some(endpoint.mac))?;
        link.name.strip_prefix("eth")?.parse().ok()
    }

    fn default_route(&self, plugs: &[Plug], ipv4: bool) -> Option<(u32, IpAddr)> {
        let plug = plugs[way_out(plugs, ipv4)?];
        Some((plug.index(), plug.gateway(ipv4)?))
    }

    pub(super) fn delete_link(&self, name: &str) -> Result<()> {
        let delete = || {
            let mut batch = Batch::new();
            route::delete_link(&mut batch, name);
            send(batch)
        };
        namespace::within(&self.namespace, delete)
            .map_err(|e| Error::io("cannot enter", "a network", e))?
            .map_err(|e| Error::io("cannot remove the link", name, e))
    }
}

fn send(batch: Batch) -> std::result::Result<(), rustix::io::Errno> {
    Socket::route()?.send(&batch.finish()?).map_err(|failure| failure.errno)
}

fn perform(step: &Step, live: &Live, journal: Option<&mut Journal>) -> Result<()> {
    if let Some(journal) = journal {
        journal.note(step).map_err(|e| Error::io("cannot write", journal.path(), e))?;
    }
    step.perform(live).map_err(|failure| {
        let shell = step.shell();
        let cause = match failure.note {
            "" => std::io::Error::from(failure.errno),
            note => std::io::Error::other(format!("{note}: {}", failure.errno)),
        };
        Error::io("cannot perform", shell.lines.first().unwrap_or(&shell.why), cause)
    })
}

/// A file that the container has mounted: it cannot be replaced by a whole one, but no moment finds it empty.
fn overwrite(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}
