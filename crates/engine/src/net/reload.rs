//! What somebody has taken away is put back: bridges, their ports, the firewall table, published ports.

use super::plugs;
use crate::{Container, Engine, Error, Result, State};
use kernel::netlink::{Batch, Socket, dump, namespace, route};
use network::{Driver, Network, Rest};
use steps::{Live, Publish, Shell, Step};

impl Engine {
    /// Makes everything be there again that running containers and networks need of the host.
    pub fn reload_networks(&self) -> Result<()> {
        let live = Live::new(0);
        let running = self.running_containers()?;
        for step in self.reload_steps(&running)? {
            step.perform(&live)
                .map_err(|failure| Error::io("cannot perform", step.shell().brief(), failure.errno))?;
        }
        running.iter().try_for_each(|container| self.replug(container))
    }

    /// The same as commands.
    pub fn reload_networks_by_hand(&self) -> Result<Vec<Shell>> {
        let running = self.running_containers()?;
        let mut all: Vec<Shell> = self.reload_steps(&running)?.iter().map(Step::shell).collect();
        for container in &running {
            let held = self.hold(container)?;
            for plug in plugs(container, &held).iter().filter(|p| p.network.driver == Driver::Bridge) {
                let link = format!("cable of {} is plugged in, if it is not", container.name);
                let line = format!("ip link set LINK master {}", plug.network.link);
                all.push(Shell::comment(format!("the {link}: {line}"), "ip-link(8)"));
            }
        }
        Ok(all)
    }

    fn running_containers(&self) -> Result<Vec<Container>> {
        let all = self.list()?.into_iter();
        let running = all.filter(|(_, state)| matches!(state, State::Running { .. }));
        Ok(running.map(|(container, _)| container).collect())
    }

    fn reload_steps(&self, running: &[Container]) -> Result<Vec<Step>> {
        let all = self.networks().list()?;
        let used = |network: &&Network| {
            let has_user = running.iter().any(|c| c.endpoints.iter().any(|e| e.network == network.name));
            // The default network's bridge is made when it is needed first.
            network.driver == Driver::Bridge && (has_user || !network.is_default())
        };
        let bridges: Vec<&Network> = all.iter().filter(used).collect();
        let mut steps = Vec::new();
        if bridges.is_empty() {
            return Ok(steps);
        }
        for network in &bridges {
            steps.extend(network::attach::bridge(network));
        }
        steps.extend(network::attach::forwarding(&bridges));
        let Rest { forwards, .. } = self.rest("")?;
        let rest = Rest { networks: Vec::new(), forwards: forwards.clone() };
        steps.push(network::firewall::ensure(&bridges, &rest).into());
        steps.extend(bridges.iter().map(|n| steps::LetThrough { link: n.link.as_str().into() }.into()));
        if !forwards.is_empty() {
            steps.push(Publish { table: bridges[0].table.as_str().into(), ports: forwards }.into());
        }
        Ok(steps)
    }

    /// Plugs a container's cables into its bridges again: a bridge that was deleted has let them go.
    fn replug(&self, container: &Container) -> Result<()> {
        let Some((pid, _)) = self.handle(container)? else { return Ok(()) };
        let failed =
            |errno: rustix::io::Errno| Error::io("cannot look into the network of", &container.name, errno);
        let there = namespace::of(pid).map_err(failed)?;
        let listed = |links: std::result::Result<_, kernel::netlink::Failure>| {
            links.map_err(|failure| network::Error::Kernel("the links", failure))
        };
        let inner: Vec<dump::Link> = listed(namespace::within(there, dump::links).map_err(failed)?)?;
        let outer: Vec<dump::Link> = listed(dump::links())?;
        let held = self.hold(container)?;
        for plug in plugs(container, &held).iter().filter(|plug| plug.network.driver == Driver::Bridge) {
            let Ok(bridge) = route::link_index(&plug.network.link) else { continue };
            let own = inner.iter().find(|link| link.mac == Some(plug.endpoint.mac));
            let host = own.and_then(|own| outer.iter().find(|link| Some(link.index) == own.peer));
            let Some(host) = host.filter(|host| host.master != Some(bridge)) else { continue };
            let mut batch = Batch::new();
            route::set_master(&mut batch, host.index, bridge);
            route::set_link_up(&mut batch, host.index);
            route::set_port(&mut batch, host.index, !plug.network.icc);
            let plugged = Socket::route().map_err(failed)?.send(&batch.finish().map_err(failed)?);
            plugged.map_err(|failure| network::Error::Kernel("a port of the bridge", failure))?;
        }
        Ok(())
    }
}
