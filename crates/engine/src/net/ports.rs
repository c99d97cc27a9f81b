//! Published ports of a container that is there already: more of them, or fewer, while it runs or not.

use super::keeper::Request;
use crate::{Container, Engine, Error, Network, Result};
use network::attach::forwards;
use network::{PortSpec, PublishedPort};
use steps::Shell;

impl Engine {
    /// [`Engine::update_ports`] as commands.
    pub fn ports_by_hand(
        &self,
        container: &Container,
        come: &[PortSpec],
        gone: &[PortSpec],
    ) -> Result<Shell> {
        let targets = self.targets_of(container)?;
        let port = |spec: &PortSpec| PublishedPort {
            host_ip: spec.host_ip.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()),
            host_port: spec.host_ports.map_or(0, |(first, _)| first),
            container_port: spec.container_port,
            protocol: spec.protocol,
        };
        let table = || network::Network::default().table.as_str().into();
        let lists = [come, gone].map(|specs| forwards(&specs.iter().map(port).collect::<Vec<_>>(), &targets));
        let [come, gone] = lists;
        let mut lines = Vec::new();
        if !come.is_empty() {
            lines.extend(steps::Publish { table: table(), ports: come }.shell().lines);
        }
        if !gone.is_empty() {
            lines.extend(steps::Unpublish { table: table(), ports: gone }.shell().lines);
        }
        Ok(Shell::lines(lines, "ports of the machine that lead into the container", "nft(8)")
            .near("the container's monitor binds them first; flows that lead nowhere are forgotten"))
    }

    /// Publishes and unpublishes ports. What `gone` leaves open, address or host port, matches any.
    pub fn update_ports(&self, container: &Container, come: &[PortSpec], gone: &[PortSpec]) -> Result<()> {
        if container.settings.network != Network::Bridge {
            let mode = crate::inspect::network_mode(&container.settings);
            return Err(Error::Invalid(format!(
                "container {} has no network of its own ({mode}): its ports cannot be published",
                container.name
            )));
        }
        let _lock = self.lock_container(container)?;
        let mut now = self.read(&container.id)?;
        let running = self.handle(&now)?.is_some();
        let targets = self.targets_of(&now)?;
        if running && !come.is_empty() && targets.is_empty() {
            return Err(Error::Invalid(format!(
                "container {} is in no network that a port can lead into",
                now.name
            )));
        }
        let mut published = if running { self.published(&now) } else { Vec::new() };
        let leaves = |port: &PublishedPort| gone.iter().any(|spec| is_of(spec, port));
        let (out, mut stay): (Vec<_>, Vec<_>) = published.drain(..).partition(leaves);
        for spec in gone {
            let known = now.settings.ports.iter().any(|port| covers(spec, port));
            if !known && !out.iter().any(|port| is_of(spec, port)) {
                let (port, protocol) = (spec.container_port, spec.protocol);
                return Err(Error::Invalid(format!(
                    "container {} does not publish {port}/{protocol}",
                    now.name
                )));
            }
        }
        now.settings.ports.retain(|port| !gone.iter().any(|spec| covers(spec, port)));
        if running && !out.is_empty() {
            self.lead(&now, &forwards(&out, &targets), &[])?;
            self.ask_monitor(&now, &Request::Release { ports: out })?;
            self.write_ports(&now, &stay)?;
        }
        let come: Vec<PortSpec> =
            come.iter().filter(|spec| !now.settings.ports.contains(spec)).cloned().collect();
        if running && !come.is_empty() {
            let more = self.hold_ports(&now, &come, &targets)?;
            stay.extend(more.iter().cloned());
            self.write_ports(&now, &stay)?;
            if let Err(error) = self.lead(&now, &[], &forwards(&more, &targets)) {
                let _ = self.ask_monitor(&now, &Request::Release { ports: more });
                return Err(error);
            }
        }
        for spec in come {
            let exposed = format!("{}/{}", spec.container_port, spec.protocol);
            if !now.settings.exposed.contains(&exposed) {
                now.settings.exposed.push(exposed);
            }
            now.settings.ports.push(spec);
        }
        self.write_config(&now)
    }
}

/// Whether a published port is one that `spec` means.
fn is_of(spec: &PortSpec, port: &PublishedPort) -> bool {
    spec.container_port == port.container_port
        && spec.protocol == port.protocol
        && spec.host_ip.is_none_or(|ip| ip == port.host_ip)
        && spec.host_ports.is_none_or(|(first, last)| (first..=last).contains(&port.host_port))
}

/// Whether what was asked for once is what `spec` means.
fn covers(spec: &PortSpec, port: &PortSpec) -> bool {
    spec.container_port == port.container_port
        && spec.protocol == port.protocol
        && spec.host_ip.is_none_or(|ip| port.host_ip == Some(ip))
        && spec.host_ports.is_none_or(|range| port.host_ports == Some(range))
}
