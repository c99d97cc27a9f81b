//! Names of containers: where they are written down, and the door of the server that answers for them.

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use kernel::netlink::{Batch, Socket, namespace, route};
use kernel::nft::expression::{Header, Meta, Operator};
use kernel::nft::{Chain, Expression, Hook, HookPoint, Kind, Rule, Table, Transaction};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

/// Where containers find their name server.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// Where it listens: port 53 stays free for a server of the container's own on all addresses.
const PORT: u16 = 61053;
const TABLE: &str = "corten_names";

/// Sockets in the container's network for its name server, at 127.0.0.11, and the rules that lead port 53 to them. The
/// container's monitor keeps and answers them.
///
/// The rules rewrite ports and track nothing, so that no other packet of the container pays for them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenNameServer {}

impl OpenNameServer {
    pub fn perform(&self, live: &Live) -> Outcome {
        let there = namespace::of(live.pid.get())?;
        let sockets = namespace::within(there, open)??;
        live.names.replace(Some(sockets));
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let mut lines = vec!["nsenter -t $PID -n nft -f - <<'NFT'".to_owned()];
        lines.extend(crate::nft::script(&table()).lines().map(str::to_owned));
        lines.push("NFT".to_owned());
        Shell::lines(lines, "names are answered at 127.0.0.11 by the container's monitor", "nft(8)")
            .near("the server itself is no command")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("network", NAME_SERVER.to_string(), "name server, answered by the monitor");
    }
}

fn open() -> Result<[OwnedFd; 2], Failure> {
    // A socket that is bound while the address is not there yet sends from another.
    let mut batch = Batch::new();
    route::set_link_up(&mut batch, route::LOOPBACK);
    Socket::route()?.send(&batch.finish()?).map_err(|f| Failure::new(f.errno, "loopback up"))?;
    let address = SocketAddrV4::new(NAME_SERVER, PORT);
    let socket = |kind: SocketType| -> Result<OwnedFd, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::INET, kind, flags, None)?;
        rustix::net::bind(&socket, &address)?;
        Ok(socket)
    };
    let failed = |e: Errno| Failure::new(e, "the name server's socket");
    let (udp, tcp) =
        (socket(SocketType::DGRAM).map_err(failed)?, socket(SocketType::STREAM).map_err(failed)?);
    rustix::net::listen(&tcp, 8).map_err(failed)?;
    let mut transaction = Transaction::new(None);
    transaction.create(&table());
    match Socket::netfilter()?.send(&transaction.finish()?) {
        Err(failure) if failure.errno != Errno::EXIST => {
            Err(Failure::new(failure.errno, "the name server's rules"))
        }
        _ => Ok([udp, tcp]),
    }
}

/// To the server, and back from it.
fn table() -> Table {
    let rule = |text, protocol: u8, checksum_offset, (address, port): (u32, u32), from: u16, to: u16| {
        let equal = |value: Vec<u8>| Expression::Compare { operator: Operator::Equal, from: 1, value };
        let expressions = vec![
            Expression::Meta { key: Meta::Nfproto, to: 1 },
            equal(vec![2]),
            Expression::Payload { header: Header::Network, offset: address, length: 4, to: 1 },
            equal(NAME_SERVER.octets().to_vec()),
            Expression::Meta { key: Meta::L4proto, to: 1 },
            equal(vec![protocol]),
            Expression::Payload { header: Header::Transport, offset: port, length: 2, to: 1 },
            equal(from.to_be_bytes().to_vec()),
            Expression::Immediate { to: 1, value: to.to_be_bytes().to_vec() },
            Expression::SetTransport { from: 1, offset: port, length: 2, checksum_offset },
        ];
        Rule { text, expressions }
    };
    const UDP: (u8, u32) = (17, 6);
    const TCP: (u8, u32) = (6, 16);
    // Where an IPv4 header has its address, and a transport header its port.
    const TO: (u32, u32) = (16, 2);
    const FROM: (u32, u32) = (12, 0);
    Table {
        name: TABLE.into(),
        comment: "names of other containers".into(),
        sets: Vec::new(),
        chains: vec![Chain {
            name: "output",
            hook: Some(Hook { kind: Kind::Filter, hook: HookPoint::Output, priority: -310 }),
            rules: vec![
                rule("ip daddr 127.0.0.11 udp dport 53 udp dport set 61053", UDP.0, UDP.1, TO, 53, PORT),
                rule("ip daddr 127.0.0.11 tcp dport 53 tcp dport set 61053", TCP.0, TCP.1, TO, 53, PORT),
                rule("ip saddr 127.0.0.11 udp sport 61053 udp sport set 53", UDP.0, UDP.1, FROM, PORT, 53),
                rule("ip saddr 127.0.0.11 tcp sport 61053 tcp sport set 53", TCP.0, TCP.1, FROM, PORT, 53),
            ],
        }],
    }
}

/// The names of a running container in one network: `<directory>/<name>/<container>`, a link to its addresses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishNames {
    /// Of the network.
    pub directory: Text,
    /// In lower case, each a word that DNS could carry.
    pub names: Vec<String>,
    pub container: Text,
    /// As in `10.78.0.2,fd00::2`.
    pub addresses: Text,
}

/// How often a name is tried again that the last container of that name is just taking away.
const ATTEMPTS: usize = 100;

impl PublishNames {
    pub fn perform(&self, _: &Live) -> Outcome {
        for name in &self.names {
            self.publish(name)
                .map_err(|e| Failure::new(Errno::from_io_error(&e).unwrap_or(Errno::IO), "a name"))?;
        }
        Ok(())
    }

    fn publish(&self, name: &str) -> std::io::Result<()> {
        let directory = Path::new(self.directory.as_str()).join(name);
        let link = directory.join(self.container.as_str());
        let mut result = Ok(());
        for _ in 0..ATTEMPTS {
            result = std::os::unix::fs::symlink(self.addresses.as_str(), &link);
            match &result {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::NotFound => std::fs::create_dir_all(&directory)?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => std::fs::remove_file(&link)?,
                Err(_) => break,
            }
        }
        result
    }

    pub fn shell(&self) -> Shell {
        let line = |name: &String| {
            let directory = quote(&format!("{}/{name}", self.directory));
            let (addresses, container) = (quote(self.addresses.as_str()), quote(self.container.as_str()));
            format!("mkdir -p {directory} && ln -sfn {addresses} {directory}/{container}")
        };
        let lines = self.names.iter().map(line).collect();
        Shell::lines(lines, "others in the network find it by its names", "symlink(7)")
    }

    pub fn undo(&self) -> Option<Step> {
        let (directory, names) = (self.directory.clone(), self.names.clone());
        Some(WithdrawNames { directory, names, container: self.container.clone() }.into())
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("network", self.names.join(", "), format!("names of {}", self.addresses));
    }
}

/// The container has no names in a network any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WithdrawNames {
    pub directory: Text,
    pub names: Vec<String>,
    pub container: Text,
}

impl WithdrawNames {
    pub fn perform(&self, _: &Live) -> Outcome {
        let network = PathBuf::from(self.directory.as_str());
        let mut outcome = Ok(());
        let mut gone = |removed: std::io::Result<()>| match removed {
            // Others have the name too, or are in the network.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {}
            Err(e) => outcome = Err(Failure::new(Errno::from_io_error(&e).unwrap_or(Errno::IO), "a name")),
            Ok(()) => {}
        };
        for name in &self.names {
            let directory = network.join(name);
            gone(std::fs::remove_file(directory.join(self.container.as_str())));
            gone(std::fs::remove_dir(directory));
        }
        gone(std::fs::remove_dir(network));
        outcome
    }

    pub fn shell(&self) -> Shell {
        let line = |name: &String| {
            let directory = quote(&format!("{}/{name}", self.directory));
            format!("rm -f {directory}/{}; rmdir {directory} 2>/dev/null", quote(self.container.as_str()))
        };
        let mut lines: Vec<String> = self.names.iter().map(line).collect();
        lines.push(format!("rmdir {} 2>/dev/null", quote(self.directory.as_str())));
        Shell::lines(lines, "nobody finds it by its names any more", "unlink(2)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_and_go_and_two_can_share_one() {
        let base = std::env::temp_dir().join(format!("corten-names-{}", std::process::id()));
        let step = |container: &str, addresses: &str| PublishNames {
            directory: base.join("web").into(),
            names: vec!["db".into(), container.into()],
            container: container.into(),
            addresses: addresses.into(),
        };
        let live = Live::new(0);
        let (one, two) = (step("aa", "10.0.0.2"), step("bb", "10.0.0.3,fd00::3"));
        for step in [&one, &two, &one] {
            step.perform(&live).unwrap();
        }
        let link = std::fs::read_link(base.join("web/db/bb")).unwrap();
        assert_eq!(link, Path::new("10.0.0.3,fd00::3"));
        one.undo().unwrap().perform(&live).unwrap();
        assert!(!base.join("web/aa").exists());
        assert_eq!(std::fs::read_dir(base.join("web/db")).unwrap().count(), 1);
        for _ in 0..2 {
            two.undo().unwrap().perform(&live).unwrap();
        }
        assert!(!base.join("web").exists());
        std::fs::remove_dir(&base).unwrap();
    }
}
