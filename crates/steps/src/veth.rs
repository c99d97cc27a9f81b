//! The cable: a pair of virtual Ethernet devices between the bridge and the container. See veth(4).

use crate::address::{no_address, no_address_shell};
use crate::bridge::mac;
use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use kernel::netlink::route::{Namespace, Veth};
use kernel::netlink::{Batch, Socket, route};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// A pair of virtual Ethernet devices, both up: `host` is a port of the bridge, `inner` is in the container.
///
/// The port is in hairpin mode: where br_netfilter is loaded, and Docker loads it, a container's way to its own
/// published port turns round in the bridge.
///
/// Nothing takes it back: the pair dies with the container's network namespace, also when the start fails, and to
/// delete it by hand costs a grace period of the kernel, 25–35 ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateVeth {
    pub host: Text,
    /// Both indices are ours: the kernel takes either only with the other.
    pub host_index: u32,
    pub bridge: Text,
    pub inner: Text,
    pub inner_index: u32,
    pub mac: [u8; 6],
    pub mtu: Option<u32>,
    /// Other isolated ports of the bridge are out of its reach.
    pub isolated: bool,
    /// Whether the network has IPv6. Where it has none, the container's end has no link-local address either, from its first
    /// moment: it would say so to all others on the bridge, and the thousandth container would wake 999.
    pub ipv6: bool,
}

impl CreateVeth {
    pub fn perform(&self, live: &Live) -> Outcome {
        let pid = u32::try_from(live.pid.get()).ok().filter(|pid| *pid != 0).ok_or(Errno::SRCH)?;
        let bridge =
            route::link_index(self.bridge.as_str()).map_err(|e| Failure::new(e, "the bridge is gone"))?;
        let mut batch = Batch::new();
        let veth = Veth {
            host: self.host.as_str(),
            host_index: self.host_index,
            inner: self.inner.as_str(),
            inner_index: self.inner_index,
            inner_mac: Some(self.mac),
            mtu: self.mtu,
            namespace: Namespace::Pid(pid),
        };
        route::create_veth(&mut batch, &veth);
        let socket = Socket::route()?;
        socket.send(&batch.finish()?).map_err(|failure| Failure::from(failure.errno))?;
        if !self.ipv6 {
            no_address(pid, self.inner_index)?;
        }
        self.forget_ipv6();
        let mut batch = Batch::new();
        route::plug_in(&mut batch, self.host_index, bridge);
        route::set_port(&mut batch, self.host_index, self.isolated);
        match socket.send(&batch.finish()?) {
            // the kernel's answer to a bridge with 1,023 ports
            Err(failure) if failure.errno == Errno::XFULL => Err(Failure::new(
                failure.errno,
                "the bridge has 1,023 ports, and more the kernel does not give it",
            )),
            answer => answer.map_err(|failure| failure.errno.into()),
        }
    }

    /// A port of a bridge needs no addresses. The kernel would give it some, with routes in tables that it walks from end to end
    /// for each link that comes and goes: the thousandth container would cost four times what the first did.
    fn forget_ipv6(&self) {
        let path = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", self.host);
        // A kernel without IPv6 has no such file.
        let _ = std::fs::write(path, "1");
    }

    pub fn shell(&self) -> Shell {
        let (host, inner) = (quote(self.host.as_str()), quote(self.inner.as_str()));
        let mtu = self.mtu.map_or(String::new(), |mtu| format!(" mtu {mtu}"));
        let (index, host_index, mac) = (self.inner_index, self.host_index, mac(self.mac));
        let isolated = if self.isolated { " isolated on" } else { "" };
        let queue = "numtxqueues 1 numrxqueues 1";
        let pair = format!("type veth peer name {host} index {host_index} {queue}{mtu}");
        let mut lines = vec![format!(
            "ip link add {inner} index {index} address {mac} {queue}{mtu} netns $PID up {pair}"
        )];
        lines.extend((!self.ipv6).then(|| no_address_shell(&inner)));
        lines.extend([
            format!("sysctl -qew net.ipv6.conf.{host}.disable_ipv6=1"),
            format!("ip link set {host} master {} up", quote(self.bridge.as_str())),
            format!("ip link set {host} type bridge_slave hairpin on{isolated}"),
        ]);
        Shell::lines(
            lines,
            "a cable: one end in the bridge, the other in the container; it dies with the container's namespace",
            "veth(4)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        let about = format!("cable from {} to {} in the container", self.bridge, self.inner);
        picture.add("network", self.host.as_str(), about);
    }
}

/// A link of the host's that moves into the container, with the addresses that were given to it; it comes back when the
/// container's network namespace ends, if it is a physical one. See the OCI runtime specification, `linux.netDevices`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MoveLink {
    pub name: Text,
    /// Its name in the container.
    pub to: Text,
}

impl MoveLink {
    pub fn perform(&self, live: &Live) -> Outcome {
        let failed = |f: kernel::netlink::Failure| Failure::from(f.errno);
        let index = route::link_index(self.name.as_str())?;
        let addresses: Vec<_> = kernel::netlink::dump::addresses()
            .map_err(failed)?
            .into_iter()
            .filter(|a| a.link == index && a.permanent)
            .collect();
        let there = kernel::process::open_namespace(live.pid.get(), "net")?;
        let mut batch = Batch::new();
        route::move_link(&mut batch, index, &there, self.to.as_str());
        Socket::route()?.send(&batch.finish()?).map_err(failed)?;
        let home = kernel::process::open_own_namespace("net")?;
        kernel::process::set_namespace(&there, kernel::process::CLONE_NEWNET)?;
        let configured = (|| {
            let index = route::link_index(self.to.as_str())?;
            let mut batch = Batch::new();
            for address in &addresses {
                route::add_address(&mut batch, index, address.address, address.prefix);
            }
            route::set_link_up(&mut batch, index);
            Socket::route()?.send(&batch.finish()?).map_err(failed)
        })();
        kernel::process::set_namespace(&home, kernel::process::CLONE_NEWNET)?;
        configured
    }

    pub fn shell(&self) -> Shell {
        let (name, to) = (quote(self.name.as_str()), quote(self.to.as_str()));
        Shell::lines(
            vec![
                format!("ADDRESSES=$(ip -o addr show dev {name} scope global | awk '{{print $4}}')"),
                format!("ip link set {name} netns $PID name {to}"),
                format!(
                    "nsenter -t $PID -n sh -c 'for a in '\"$ADDRESSES\"'; do ip addr add $a dev {to}; done; ip link set {to} up'"
                ),
            ],
            format!("the link {} moves into the container", self.name),
            "ip-link(8)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("network", self.name.as_str(), format!("moved, as {}", self.to));
    }
}
