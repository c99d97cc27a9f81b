//! A further hardware address on a link of the host, as a link of the container's: on the same wire, and no switch of
//! ours between. See ip-link(8).

use crate::address::{no_address, no_address_shell};
use crate::bridge::mac;
use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use kernel::netlink::{Batch, Socket, route};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// It is made in the container's network namespace and dies with it: nothing takes it back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateMacvlan {
    pub parent: Text,
    pub mode: MacvlanMode,
    pub inner: Text,
    pub inner_index: u32,
    pub mac: [u8; 6],
    pub mtu: Option<u32>,
    /// Whether the network has IPv6; where it has none, the link has no link-local address either.
    pub ipv6: bool,
}

/// Who among the macvlan links of one parent hears whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    Private,
    Vepa,
    #[default]
    Bridge,
    Passthru,
}

impl MacvlanMode {
    pub const ALL: [MacvlanMode; 4] =
        [MacvlanMode::Private, MacvlanMode::Vepa, MacvlanMode::Bridge, MacvlanMode::Passthru];

    pub fn name(self) -> &'static str {
        match self {
            MacvlanMode::Private => "private",
            MacvlanMode::Vepa => "vepa",
            MacvlanMode::Bridge => "bridge",
            MacvlanMode::Passthru => "passthru",
        }
    }

    fn number(self) -> u32 {
        match self {
            MacvlanMode::Private => 1,
            MacvlanMode::Vepa => 2,
            MacvlanMode::Bridge => 4,
            MacvlanMode::Passthru => 8,
        }
    }
}

impl CreateMacvlan {
    pub fn perform(&self, live: &Live) -> Outcome {
        let pid = u32::try_from(live.pid.get()).ok().filter(|pid| *pid != 0).ok_or(Errno::SRCH)?;
        let parent = route::link_index(self.parent.as_str())
            .map_err(|e| Failure::new(e, "the network's parent link is not there"))?;
        let mut batch = Batch::new();
        let macvlan = route::Macvlan {
            parent,
            name: self.inner.as_str(),
            index: self.inner_index,
            mac: self.mac,
            mtu: self.mtu,
            mode: self.mode.number(),
            pid,
        };
        route::create_macvlan(&mut batch, &macvlan);
        Socket::route()?.send(&batch.finish()?).map_err(|failure| failure.errno)?;
        if self.ipv6 { Ok(()) } else { no_address(pid, self.inner_index) }
    }

    pub fn shell(&self) -> Shell {
        let mtu = self.mtu.map_or(String::new(), |mtu| format!(" mtu {mtu}"));
        let inner = quote(self.inner.as_str());
        let mut lines = vec![format!(
            "ip link add link {} {inner} index {} address {}{mtu} netns $PID type macvlan mode {}",
            quote(self.parent.as_str()),
            self.inner_index,
            mac(self.mac),
            self.mode.name()
        )];
        lines.extend((!self.ipv6).then(|| no_address_shell(&inner)));
        Shell::lines(lines, "a hardware address of the container's own on the host's link", "ip-link(8)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        let about = format!("macvlan of {} in the container", self.parent);
        picture.add("network", self.inner.as_str(), about);
    }
}
