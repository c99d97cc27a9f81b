//! Networks come and go: what was asked for becomes a file, and a switch in the kernel.

use crate::store::random;
use crate::{Container, Engine, Error, Result, State, Time, events};
use network::pools::Used;
use network::{Driver, Network, Pool, Subnet};
use std::collections::BTreeMap;
use std::net::IpAddr;
use steps::{Shell, WriteFile};

/// The answer to `network create`'s options.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NetworkSettings {
    pub name: String,
    pub driver: Driver,
    pub subnets: Vec<Subnet>,
    pub gateways: Vec<IpAddr>,
    pub ranges: Vec<Subnet>,
    /// Addresses that are somebody else's, by what they are for.
    pub reserved: BTreeMap<String, IpAddr>,
    /// A subnet of the family is made when none is given.
    pub ipv4: bool,
    pub ipv6: bool,
    /// Where that of IPv4 is taken from, and how large it is; empty: from the usual places.
    pub pools: Vec<(Subnet, u8)>,
    pub internal: bool,
    pub attachable: bool,
    /// As typed.
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// Makes a network, and its bridge.
    pub fn create_network(&self, settings: &NetworkSettings) -> Result<Network> {
        let networks = self.networks();
        let _lock = networks.lock()?;
        let new = self.draft_network(settings)?;
        networks.create(&new)?;
        if let Err(error) = make_bridge(&new) {
            let _ = network::remove::bridge(&new);
            let _ = networks.remove(&new, || Ok(()));
            return Err(error);
        }
        self.tell(&[events::of_network(&new, "create")]);
        Ok(new)
    }

    /// The same as commands; nothing is done.
    pub fn create_network_by_hand(&self, settings: &NetworkSettings) -> Result<Vec<Shell>> {
        let new = self.draft_network(settings)?;
        let path = self.root.join("networks").join(format!("{}.json", new.name));
        let content = serde_json::to_string(&new).map_err(|e| Error::io("cannot write", &path, e))?;
        let note = WriteFile { path: path.into(), content, mode: 0o600, owner: None };
        let mut all = vec![
            Shell { why: "the network, for all that use it".to_owned(), ..note.shell() }
                .near("made only where it is not there, with an id of its own"),
        ];
        if new.driver == Driver::Bridge {
            all.extend(network::attach::bridge(&new).iter().map(steps::Step::shell));
        }
        Ok(all)
    }

    /// The same for its end.
    pub fn remove_network_by_hand(&self, network: &Network) -> Result<Vec<Shell>> {
        let word = |path: std::path::PathBuf| steps::quote(&path.display().to_string());
        let file = word(self.root.join("networks").join(format!("{}.json", network.name)));
        let names = word(self.names_directory(&network.name));
        let mut all = vec![
            Shell::exact(format!("rm {file}"), "no container can come into it", "unlink(2)")
                .near("refused while a running container holds a lock of it"),
            Shell::comment(
                format!("its elements leave the sets of the table '{}' (nft delete element)", network.table),
                "nft(8)",
            ),
        ];
        if network.driver == Driver::Bridge {
            let link = steps::quote(&network.link);
            all.push(Shell::exact(format!("ip link delete {link} type bridge"), "its bridge", "ip-link(8)"));
        }
        all.push(Shell::exact(format!("rm -rf {names}"), "names of containers in it", "rm(1)"));
        Ok(all)
    }

    /// A network as it would be made now.
    fn draft_network(&self, settings: &NetworkSettings) -> Result<Network> {
        network::network::check_name(&settings.name)?;
        if matches!(settings.name.as_str(), "bridge" | "host" | "none" | "default" | "container") {
            let text = format!("operation is not permitted on predefined {} network", settings.name);
            return Err(Error::Invalid(text));
        }
        let all = self.networks().list()?;
        if all.iter().any(|network| network.name == settings.name) {
            return Err(network::Error::Exists(settings.name.clone()).into());
        }
        let id: String = random().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut new = Network {
            name: settings.name.clone(),
            // Docker's names: scripts look for them.
            link: format!("br-{}", &id[..12]),
            id,
            created: Time::now().0,
            driver: settings.driver,
            pools: pools(settings, &all)?,
            internal: settings.internal,
            attachable: settings.attachable,
            labels: settings.labels.clone(),
            ..Network::default()
        };
        options(&mut new, &settings.options)?;
        new.check()?;
        clash_with(&new, &all)?;
        if new.driver == Driver::Bridge {
            if kernel::netlink::route::link_index(&new.link).is_ok() {
                return Err(Error::Invalid(format!("the link {} is there already", new.link)));
            }
            if all.iter().any(|other| other.link == new.link) {
                return Err(Error::Invalid(format!("the bridge {} is another network's", new.link)));
            }
            new.check_clash()?;
        } else if kernel::netlink::route::link_index(&new.link).is_err() {
            return Err(Error::Invalid(format!("the parent link {} is not there", new.link)));
        }
        Ok(new)
    }

    /// Removes a network that no container runs in. Those that do not run lose their addresses in it.
    pub fn remove_network(&self, network: &Network) -> Result<()> {
        if network.is_default() {
            return Err(Error::Invalid(format!(
                "{} is a pre-defined network and cannot be removed",
                network.name
            )));
        }
        let networks = self.networks();
        let _lock = networks.lock()?;
        let users = within(network, self.list_for_removal()?);
        let running: Vec<&Container> = users
            .iter()
            .filter(|(_, state)| matches!(state, State::Running { .. }))
            .map(|(c, _)| c)
            .collect();
        let names: Vec<String> =
            running.iter().map(|c| format!("name:\"{}\" id:\"{}\"", c.name, c.short_id())).collect();
        // Without a running container, somebody who is just starting one may hold it.
        let names_directory = self.names_directory(&network.name);
        let others = || {
            network::lease::forget(&self.root, network)?;
            network::remove::from_table(network)?;
            network::remove::from_others(network)?;
            network::remove::bridge(network)?;
            let _ = std::fs::remove_dir_all(names_directory);
            Ok(())
        };
        if !names.is_empty() || !networks.remove(network, others)? {
            return Err(Error::Invalid(format!(
                "error while removing network: network {} has active endpoints ({})",
                network.name,
                names.join(", ")
            )));
        }
        self.tell(&[events::of_network(network, "destroy")]);
        Ok(())
    }

    /// The containers with a place in a network.
    pub fn users_of(&self, network: &Network) -> Result<Vec<(Container, State)>> {
        Ok(within(network, self.list()?))
    }
}

fn within(network: &Network, mut all: Vec<(Container, State)>) -> Vec<(Container, State)> {
    let is_here = |e: &network::Endpoint| e.network == network.name && e.network_id == network.id;
    all.retain(|(container, _)| container.endpoints.iter().any(is_here));
    all
}

fn make_bridge(network: &Network) -> Result<()> {
    if network.driver == Driver::Macvlan {
        return Ok(());
    }
    let live = steps::Live::new(0);
    for step in network::attach::bridge(network) {
        step.perform(&live)
            .map_err(|failure| Error::io("cannot make the bridge:", step.shell().brief(), failure.errno))?;
    }
    Ok(())
}

fn clash_with(new: &Network, all: &[Network]) -> Result<()> {
    for other in all {
        for theirs in &other.pools {
            if let Some(ours) = new.pools.iter().find(|pool| pool.subnet.overlaps(theirs.subnet)) {
                let (subnet, other_subnet, network) = (ours.subnet, theirs.subnet, other.name.clone());
                return Err(network::Error::PoolOverlap { subnet, other: other_subnet, network }.into());
            }
        }
    }
    Ok(())
}

/// The subnets that were asked for, with what belongs into each; one is found for a family that has none and should.
fn pools(settings: &NetworkSettings, all: &[Network]) -> Result<Vec<Pool>> {
    let bridge = settings.driver == Driver::Bridge;
    let mut subnets = settings.subnets.clone();
    let has = |subnets: &[Subnet], ipv4: bool| subnets.iter().any(|subnet| subnet.is_ipv4() == ipv4);
    let wants4 = settings.ipv4 && !has(&subnets, true);
    let wants6 = settings.ipv6 && !has(&subnets, false);
    if !bridge && subnets.is_empty() {
        return Err(Error::Invalid(
            "a macvlan network needs the --subnet of the parent's network".to_owned(),
        ));
    }
    if bridge && (wants4 || wants6) {
        let mut used = Used::read()?;
        all.iter().flat_map(|network| &network.pools).for_each(|pool| used.add(pool.subnet));
        if wants4 {
            subnets.insert(0, used.ipv4(&settings.pools)?);
        }
        if wants6 {
            let [a, b, c, d, e, ..] = random();
            subnets.push(used.ipv6([a, b, c, d, e])?);
        }
    }
    let mut pools: Vec<Pool> = subnets.into_iter().map(Pool::new).collect();
    if !bridge {
        // The gateway of somebody else's network is not ours to guess; Docker takes the first address.
        pools.iter_mut().filter(|_| settings.internal).for_each(|pool| pool.gateway = None);
    }
    for gateway in &settings.gateways {
        let pool = pool_for(&mut pools, *gateway).ok_or_else(|| no_match("gateway", gateway))?;
        pool.gateway = Some(*gateway);
    }
    for range in &settings.ranges {
        let pool = pool_for(&mut pools, range.address).ok_or_else(|| no_match("ip-range", range))?;
        pool.range = Some(*range);
    }
    for (name, address) in &settings.reserved {
        let pool = pool_for(&mut pools, *address).ok_or_else(|| no_match("aux-address", address))?;
        pool.reserved.insert(name.clone(), *address);
    }
    Ok(pools)
}

fn pool_for(pools: &mut [Pool], address: IpAddr) -> Option<&mut Pool> {
    pools.iter_mut().find(|pool| pool.subnet.contains(address))
}

fn no_match(what: &str, value: &dyn std::fmt::Display) -> Error {
    Error::Invalid(format!("no matching subnet for {what} {value}"))
}

/// Docker's and Podman's names of options.
fn options(network: &mut Network, options: &BTreeMap<String, String>) -> Result<()> {
    for (key, value) in options {
        let bad = || Error::Invalid(format!("invalid value \"{value}\" of option {key}"));
        let flag = || match value.as_str() {
            "" | "true" | "1" | "yes" => Ok(true),
            "false" | "0" | "no" => Ok(false),
            _ => Err(bad()),
        };
        let bridge = network.driver == Driver::Bridge;
        let short = key.rsplit("com.docker.network.").next().unwrap_or(key);
        match short {
            "driver.mtu" | "mtu" => network.mtu = Some(value.parse().map_err(|_| bad())?),
            "bridge.name" if bridge => network.link.clone_from(value),
            "bridge.enable_icc" | "icc" if bridge => network.icc = flag()?,
            "bridge.enable_ip_masquerade" | "masquerade" if bridge => network.masquerade = flag()?,
            "isolate" if bridge => network.isolated = flag()?,
            "bridge.host_binding_ipv4" if bridge => {
                network.host_address = Some(value.parse().map_err(|_| bad())?);
            }
            "parent" if !bridge => network.link.clone_from(value),
            "macvlan_mode" | "mode"
                if !bridge && steps::MacvlanMode::ALL.iter().any(|m| m.name() == value) => {}
            "macvlan_mode" | "mode" if !bridge => return Err(bad()),
            _ => {
                let driver = network.driver.name();
                return Err(Error::Invalid(format!("the {driver} driver has no option {key}")));
            }
        }
    }
    if network.driver == Driver::Macvlan && !options.contains_key("parent") {
        return Err(Error::Invalid("a macvlan network needs -o parent=LINK".to_owned()));
    }
    network.options = options.clone();
    Ok(())
}
