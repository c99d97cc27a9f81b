//! What a monitor does for the commands that change its container's networks: it holds the ports and the networks, and
//! opens the name server.

use super::zone::Zone;
use crate::attach::Connection;
use crate::{Container, Engine, Error, Result};
use network::{Families, Held, PortSpec, PublishedPort, Reserved};
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};

/// What a command asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Request {
    /// The container's places in networks have changed.
    Networks,
    /// Hold these ports of the host.
    Hold { specs: Vec<PortSpec>, ipv4: bool, ipv6: bool },
    /// Hold these no longer.
    Release { ports: Vec<PublishedPort> },
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    Done,
    Held(Vec<PublishedPort>),
    Failed(String),
}

/// What a monitor keeps for its container.
pub(crate) struct Keeper<'a> {
    pub engine: &'a Engine,
    pub id: String,
    pub pid: i32,
    pub reserved: Reserved,
    /// Nobody removes these networks as long as they are here.
    pub held: Vec<Held>,
}

impl crate::monitor::Keeper for Keeper<'_> {
    fn request(&mut self, text: &[u8], serves: bool) -> (Vec<u8>, Option<crate::monitor::Names>) {
        let mut names = None;
        let answer = match serde_json::from_slice(text) {
            Ok(Request::Networks) => self.networks(serves).map(|changed| {
                names = changed;
                Answer::Done
            }),
            Ok(Request::Hold { specs, ipv4, ipv6 }) => self.hold(&specs, Families { ipv4, ipv6 }),
            Ok(Request::Release { ports }) => {
                self.release(&ports);
                Ok(Answer::Done)
            }
            Err(error) => Err(Error::Invalid(error.to_string())),
        };
        let answer = answer.unwrap_or_else(|error| Answer::Failed(error.to_string()));
        (serde_json::to_vec(&answer).unwrap_or_default(), names)
    }
}

impl Keeper<'_> {
    fn networks(&mut self, serves: bool) -> Result<Option<crate::monitor::Names>> {
        let container = self.engine.read(&self.id)?;
        self.held = self.engine.hold(&container)?;
        let zone = self.engine.zone(&container, &self.held)?;
        Ok(match zone {
            // A container that has left its last network with names asks on, and hears of nobody.
            None if serves => Some(crate::monitor::Names { sockets: None, zone: Zone::default() }),
            None => None,
            Some(zone) if serves => Some(crate::monitor::Names { sockets: None, zone }),
            Some(zone) => Some(crate::monitor::Names { sockets: Some(open(self.pid)?), zone }),
        })
    }

    fn hold(&mut self, specs: &[PortSpec], families: Families) -> Result<Answer> {
        let more = network::reserve(specs, families)?;
        self.reserved.ports.extend(more.ports.iter().cloned());
        self.reserved.held.extend(more.held);
        Ok(Answer::Held(more.ports))
    }

    fn release(&mut self, ports: &[PublishedPort]) {
        self.reserved.release(ports);
    }
}

/// Opens the name server of a container that has run without one.
fn open(pid: i32) -> Result<[OwnedFd; 2]> {
    let live = steps::Live::new(0);
    live.pid.set(pid);
    let step = steps::OpenNameServer {};
    step.perform(&live).map_err(|failure| Error::io("cannot open", "the name server", failure.errno))?;
    live.names.take().ok_or_else(|| Error::Invalid("the name server has no sockets".to_owned()))
}

impl Engine {
    /// Asks a running container's monitor.
    pub(crate) fn ask_monitor(&self, container: &Container, request: &Request) -> Result<Answer> {
        let socket = self.run_directory(container).join("attach.sock");
        let text = serde_json::to_vec(request).unwrap_or_default();
        let answer = Connection::connect(&socket)?.ask(&text)?;
        match serde_json::from_slice(&answer) {
            Ok(Answer::Failed(why)) => Err(Error::Invalid(why)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(Error::io("cannot understand the monitor of", &container.name, error)),
        }
    }
}
