//! What a container's name server knows: who else is in its networks, and whom to ask about all others.

use crate::{Container, Engine, Result};
use network::{Held, Subnet, lease, names, resolv};
use serde::Deserialize;
use std::net::IpAddr;
use std::path::PathBuf;

/// Read anew at every question: the state directory for names, the host's resolv.conf for whom to ask.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    networks: Vec<Named>,
    /// What other containers are called here.
    links: Vec<(String, String)>,
    /// The host, as the container sees it.
    host: Vec<IpAddr>,
    /// Others are asked. Never for a container with internal networks only (CVE-2024-29018).
    forward: bool,
    /// `--dns`; empty: the host's.
    servers: Vec<IpAddr>,
    root: PathBuf,
}

#[derive(Debug, Clone)]
struct Named {
    name: String,
    /// Where its names are.
    directory: PathBuf,
    subnets: Vec<Subnet>,
}

impl Engine {
    /// `None`: the container is in no network where names are known.
    pub(crate) fn zone(&self, container: &Container, held: &[Held]) -> Result<Option<Zone>> {
        if !has_names(container) {
            return Ok(None);
        }
        let named = held.iter().map(|held| &held.network).filter(|network| !network.is_default());
        let networks = named.map(|network| Named {
            name: network.name.clone(),
            directory: self.names_directory(&network.name),
            subnets: network.pools.iter().map(|pool| pool.subnet).collect(),
        });
        let links = container.endpoints.iter().flat_map(|endpoint| &endpoint.wish.links);
        Ok(Some(Zone {
            networks: networks.collect(),
            links: links.map(|(other, alias)| (alias.to_ascii_lowercase(), other.clone())).collect(),
            host: self.gateways(container)?,
            forward: held.iter().any(|held| !held.network.internal),
            servers: container.settings.dns.iter().filter_map(|server| server.parse().ok()).collect(),
            root: self.root.clone(),
        }))
    }
}

/// Whether a container is in a network where names are known: any but the default one.
pub(crate) fn has_names(container: &Container) -> bool {
    container.endpoints.iter().any(|endpoint| endpoint.network != network::network::DEFAULT)
}

impl Zone {
    /// Whom to ask about names of others, at most three.
    pub fn upstreams(&self) -> Vec<IpAddr> {
        if !self.forward {
            return Vec::new();
        }
        if !self.servers.is_empty() {
            return self.servers.clone();
        }
        let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        resolv::servers(&host).filter_map(|server| server.parse().ok()).take(3).collect()
    }

    fn in_networks(&self, name: &str) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for network in &self.networks {
            let mut own = names::look_up(&network.directory, name);
            if own.is_empty() {
                // `web.front` is the web of the network front.
                let short = name.strip_suffix(network.name.to_ascii_lowercase().as_str());
                let short = short.and_then(|short| short.strip_suffix('.'));
                own = short.map_or_else(Vec::new, |short| names::look_up(&network.directory, short));
            }
            found.append(&mut own);
        }
        found
    }

    /// A container's name by its id.
    fn container(&self, id: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Config {
            name: String,
        }
        let text = std::fs::read(self.root.join("containers").join(id).join("config.json")).ok()?;
        serde_json::from_slice::<Config>(&text).ok().map(|config| config.name)
    }
}

impl network::dns::Zone for Zone {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        if network::hosts::HOST.split(' ').any(|host| host == name) && !self.host.is_empty() {
            return Some(self.host.clone());
        }
        let linked = self.links.iter().find(|(alias, _)| alias == name);
        let found = self.in_networks(linked.map_or(name, |(_, other)| other));
        (!found.is_empty()).then_some(found)
    }

    fn name(&self, address: IpAddr) -> Option<Option<String>> {
        let network =
            self.networks.iter().find(|n| n.subnets.iter().any(|subnet| subnet.contains(address)))?;
        if self.host.contains(&address) {
            return Some(Some("host.corten.internal".to_owned()));
        }
        let container = self.container(&lease::of(&self.root, address));
        Some(container.map(|name| format!("{name}.{}", network.name)))
    }
}
