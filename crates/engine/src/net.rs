//! Networks as users know them: which there are, who is in them, and what a container has in each.

mod change;
mod connect;
mod create;
mod inspect;
mod keeper;
mod ports;
mod reload;
mod zone;

pub use create::NetworkSettings;
pub use inspect::predefined;
pub(crate) use keeper::Keeper;
pub use zone::Zone;
pub(crate) use zone::has_names;

use crate::store::may_be_there;
use crate::{Container, Engine, Error, Network, Result, State, Time};
use network::attach::{forwards, targets, way_out};
use network::{
    Attachment, Driver, Endpoint, Families, Held, Networks, Plug, PublishedPort, Reserved, Rest, Wish, lease,
};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

impl Engine {
    pub fn networks(&self) -> Networks {
        Networks::new(&self.root)
    }

    /// Places with the first addresses of each network, that stand for those which `create` will lease.
    pub(crate) fn draft_endpoints(&self, wishes: &[Wish]) -> Result<Vec<Endpoint>> {
        let default = [Wish { network: network::network::DEFAULT.to_owned(), ..Wish::default() }];
        let wishes = if wishes.is_empty() { &default[..] } else { wishes };
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for wish in wishes {
            let network = self.networks().find(&wish.network)?;
            if endpoints.iter().any(|e| e.network == network.name) {
                let twice = format!("container is connected to network {} twice", network.name);
                return Err(Error::Invalid(twice));
            }
            let first = |ipv4| {
                let pool = network.pool(ipv4)?;
                let second = pool.subnet.hosts().start() + 1;
                Some(network::subnet::to_address(ipv4, second))
            };
            let mut endpoint = Endpoint { wish: wish.clone(), ..place(&network) };
            let asked =
                [wish.ipv4.map(IpAddr::V4).or(first(true)), wish.ipv6.map(IpAddr::V6).or(first(false))];
            set_addresses(&mut endpoint, asked.into_iter().flatten());
            endpoints.push(endpoint);
        }
        Ok(endpoints)
    }

    /// Gives the places of a draft addresses that nobody has a lease of.
    pub(crate) fn move_to_free_addresses(&self, container: &mut Container) {
        let is_free = |address: &IpAddr| fs_free(&self.root.join("leases").join(address.to_string()));
        for endpoint in &mut container.endpoints {
            let next = |address: IpAddr| match address {
                IpAddr::V4(address) => IpAddr::from(Ipv4Addr::from(u32::from(address) + 1)),
                IpAddr::V6(address) => IpAddr::from(Ipv6Addr::from(u128::from(address) + 1)),
            };
            let after = |address| {
                std::iter::successors(Some(address), |last| Some(next(*last))).take(1 << 16).find(is_free)
            };
            let free: Vec<IpAddr> = endpoint.addresses().filter_map(after).collect();
            endpoint.wish.mac = None;
            set_addresses(endpoint, free.into_iter());
        }
    }

    /// A container's place in a network, with addresses of its own.
    pub(crate) fn lease_endpoint(&self, id: &str, wish: Wish) -> Result<Endpoint> {
        // Nobody removes the network before it has a place here that is seen.
        let held = self.networks().find(&wish.network).and_then(|n| self.networks().hold(&n.name))?;
        let network = &held.network;
        let mut addresses = Vec::new();
        for (ipv4, wanted) in [(true, wish.ipv4.map(IpAddr::V4)), (false, wish.ipv6.map(IpAddr::V6))] {
            if network.pool(ipv4).is_none() && wanted.is_none() {
                continue;
            }
            match self.lease_address(network, id, ipv4, wanted) {
                Ok(address) => addresses.push(address),
                Err(error) => {
                    for address in addresses {
                        let _ = lease::release(&self.root, address, id);
                    }
                    return Err(error);
                }
            }
        }
        let mut endpoint = Endpoint { wish, ..place(network) };
        set_addresses(&mut endpoint, addresses.into_iter());
        Ok(endpoint)
    }

    /// Where there is none left, those of containers that a kill left half made are collected first.
    fn lease_address(
        &self,
        network: &network::Network,
        id: &str,
        ipv4: bool,
        wanted: Option<IpAddr>,
    ) -> Result<IpAddr> {
        let attempt = || network::lease(&self.root, network, id, ipv4, wanted);
        match attempt() {
            Err(network::Error::Exhausted(..) | network::Error::AddressInUse(..))
                if self.collect_leases()? > 0 =>
            {
                Ok(attempt()?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Gives back the addresses of containers that are no more; how many.
    pub(crate) fn collect_leases(&self) -> Result<usize> {
        let exists = |id: &str| {
            let dir = self.root.join("containers").join(id);
            let config = || may_be_there(&dir.join("config.json"));
            // One that is being made has no configuration yet, and is locked.
            let free = || std::fs::File::open(&dir).is_ok_and(|dir| dir.try_lock().is_ok());
            config() || (may_be_there(&dir) && !free()) || config()
        };
        Ok(lease::collect(&self.root, exists)?)
    }

    pub(crate) fn release_endpoint(&self, id: &str, endpoint: &Endpoint) -> Result<()> {
        for address in endpoint.addresses() {
            crate::store::twice(|| lease::release(&self.root, address, id))?;
        }
        Ok(())
    }

    /// The networks of a container, in the order of its places, kept from being removed.
    pub(crate) fn hold(&self, container: &Container) -> Result<Vec<Held>> {
        let networks = self.networks();
        container.endpoints.iter().map(|endpoint| Ok(networks.hold(&endpoint.network)?)).collect()
    }

    /// The container with places in the networks as they are now: one that was removed and made anew since has other
    /// addresses.
    pub(crate) fn renewed<'a>(&self, container: &'a Container, held: &[Held]) -> Result<Cow<'a, Container>> {
        let is_same = |(endpoint, held): (&Endpoint, &Held)| endpoint.network_id == held.network.id;
        if container.endpoints.iter().zip(held).all(is_same) {
            return Ok(Cow::Borrowed(container));
        }
        let _lock = self.lock_container(container)?;
        let mut now = self.read(&container.id)?;
        for (endpoint, held) in now.endpoints.iter_mut().zip(held) {
            if endpoint.network_id != held.network.id {
                self.release_endpoint(&container.id, endpoint)?;
                *endpoint = self.lease_endpoint(&container.id, endpoint.wish.clone())?;
            }
        }
        self.write_config(&now)?;
        Ok(Cow::Owned(now))
    }

    /// What plugs a container into its networks.
    pub(crate) fn attachment(
        &self,
        container: &Container,
        held: &[Held],
        ports: &[PublishedPort],
    ) -> Result<Attachment> {
        for held in held {
            held.network.check_clash()?;
        }
        let plugs = plugs(container, held);
        let bridges: Vec<&network::Network> =
            held.iter().map(|held| &held.network).filter(|n| n.driver == Driver::Bridge).collect();
        let rest = if bridges.is_empty() || network::firewall::intact(&bridges)? {
            Rest::default()
        } else {
            self.rest(&container.id)?
        };
        let mut attachment = network::attach(&plugs, &container.id, Time::now().0, ports, &rest);
        if has_names(container) {
            attachment.joined.push(steps::OpenNameServer {}.into());
            attachment
                .joined
                .extend(container.endpoints.iter().filter_map(|e| self.publish_names(container, e)));
        }
        attachment.joined.push(self.name_namespace(container));
        Ok(attachment)
    }

    /// What lets ip-netns(8) find the container's network.
    pub(crate) fn name_namespace(&self, container: &Container) -> steps::Step {
        let kept = self.run_directory(container).join("netns");
        steps::NameNamespace { name: container.name.as_str().into(), kept: kept.into() }.into()
    }

    /// What a firewall table that has to be made anew holds: all networks, and the ports of running containers but `except`.
    pub(crate) fn rest(&self, except: &str) -> Result<Rest> {
        let networks = self.networks().list()?;
        let mut all = Vec::new();
        for (container, state) in self.list()? {
            if !matches!(state, State::Running { .. }) || container.id == except {
                continue;
            }
            let ports = self.published(&container);
            if !ports.is_empty() {
                all.extend(forwards(&ports, &self.targets(&container, &networks)));
            }
        }
        Ok(Rest { networks, forwards: all })
    }

    /// The addresses that a container's published ports lead to.
    pub(crate) fn targets(&self, container: &Container, networks: &[network::Network]) -> Vec<IpAddr> {
        let find = |endpoint: &Endpoint| networks.iter().find(|n| n.name == endpoint.network);
        let plug = |(number, endpoint)| Some(Plug { network: find(endpoint)?, endpoint, number });
        targets(&(0..).zip(&container.endpoints).filter_map(plug).collect::<Vec<_>>())
    }

    /// Holds the host's ports for a container. Where nothing can be forwarded to it, as in an internal network, none.
    pub(crate) fn reserve(&self, container: &Container, held: &[Held]) -> Result<Reserved> {
        if container.settings.ports.is_empty() {
            return Ok(Reserved::default());
        }
        let plugs = plugs(container, held);
        let targets = targets(&plugs);
        if targets.is_empty() {
            return Ok(Reserved::default());
        }
        let mut specs = container.settings.ports.clone();
        if let Some(address) = way_out(&plugs, true).and_then(|i| plugs[i].network.host_address) {
            specs.iter_mut().for_each(|spec| spec.host_ip = spec.host_ip.or(Some(address)));
        }
        Ok(network::reserve(&specs, Families::of(&targets))?)
    }

    /// Where the names of running containers in a network are.
    pub(crate) fn names_directory(&self, network: &str) -> std::path::PathBuf {
        self.state.join("names").join(network)
    }

    /// The host as a container sees it: by the network that leads to the world, else by the first.
    pub(crate) fn gateways(&self, container: &Container) -> Result<Vec<IpAddr>> {
        match container.settings.network {
            Network::None | Network::Container(_) => Ok(Vec::new()),
            Network::Host => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
            Network::Bridge => {
                let held = self.hold(container)?;
                let plugs = plugs(container, &held);
                let Some(plug) =
                    way_out(&plugs, true).or(way_out(&plugs, false)).or((!plugs.is_empty()).then_some(0))
                else {
                    return Ok(Vec::new());
                };
                let plug = &plugs[plug];
                let has =
                    |gateway: &IpAddr| plug.endpoint.addresses().any(|a| a.is_ipv4() == gateway.is_ipv4());
                // With macvlan the gateway is another machine.
                let bridge = plug.network.driver == Driver::Bridge;
                Ok(plug.network.gateways().filter(|gateway| bridge && has(gateway)).collect())
            }
        }
    }
}

impl Engine {
    /// What makes others in a network find the container by its names.
    pub(crate) fn publish_names(&self, container: &Container, endpoint: &Endpoint) -> Option<steps::Step> {
        if endpoint.network == network::network::DEFAULT {
            return None;
        }
        let names = names(container, endpoint);
        let addresses: Vec<String> = endpoint.addresses().map(|address| address.to_string()).collect();
        let step = steps::PublishNames {
            directory: self.names_directory(&endpoint.network).into(),
            names: names.iter().filter_map(|name| network::names::file_name(name)).collect(),
            container: container.short_id().into(),
            addresses: addresses.join(",").into(),
        };
        Some(step.into())
    }
}

/// A container's places, in the order of its links.
pub(crate) fn plugs<'a>(container: &'a Container, held: &'a [Held]) -> Vec<Plug<'a>> {
    let pairs = (0..).zip(container.endpoints.iter().zip(held));
    pairs.map(|(number, (endpoint, held))| Plug { network: &held.network, endpoint, number }).collect()
}

/// The names by which others in the network find a container.
pub(crate) fn names(container: &Container, endpoint: &Endpoint) -> Vec<String> {
    let mut names = vec![container.name.clone()];
    let hostname = crate::specify::hostname(container);
    let others = endpoint.wish.aliases.iter().cloned().chain([container.short_id().to_owned(), hostname]);
    for name in others {
        if !names.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            names.push(name);
        }
    }
    names
}

fn fs_free(lease: &std::path::Path) -> bool {
    lease.symlink_metadata().is_err()
}

fn place(network: &network::Network) -> Endpoint {
    Endpoint { network: network.name.clone(), network_id: network.id.clone(), ..Endpoint::default() }
}

fn set_addresses(endpoint: &mut Endpoint, addresses: impl Iterator<Item = IpAddr>) {
    let mut mac = endpoint.wish.mac;
    for address in addresses {
        mac = mac.or(Some(lease::mac(address)));
        match address {
            IpAddr::V4(address) => endpoint.ipv4 = Some(address),
            IpAddr::V6(address) => endpoint.ipv6 = Some(address),
        }
    }
    endpoint.mac = mac.unwrap_or(lease::mac(Ipv6Addr::UNSPECIFIED.into()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the clock says of their ages.
    #[test]
    fn addresses_of_containers_that_are_being_made_are_theirs() {
        let base = std::env::temp_dir().join(format!("corten-leases-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&base);
        let engine = Engine::open(&base.join("root"), &base.join("state")).unwrap();
        let network = network::Network::default();
        for id in ["made", "making", "left", "gone"] {
            network::lease(&engine.root, &network, id, true, None).unwrap();
        }
        let directory = |id: &str| {
            let dir = engine.root.join("containers").join(id);
            std::fs::create_dir(&dir).unwrap();
            dir
        };
        std::fs::write(directory("made").join("config.json"), "{}").unwrap();
        directory("left");
        let making = std::fs::File::open(directory("making")).unwrap();
        making.lock().unwrap();
        assert_eq!(engine.collect_leases().unwrap(), 2);
        let mut kept: Vec<_> = lease::all(&engine.root).unwrap().into_iter().map(|(_, id)| id).collect();
        kept.sort();
        assert_eq!(kept, ["made", "making"]);
        std::fs::remove_dir_all(&base).unwrap();
    }
}
