//! The host name of a UTS namespace. See uts_namespaces(7).

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use serde::{Deserialize, Serialize};

/// sethostname(2), and setdomainname(2) when a domain is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetHostname {
    pub name: Text,
    pub domain: Text,
}

impl SetHostname {
    pub fn perform(&self, _: &Live) -> Outcome {
        rustix::system::sethostname(self.name.as_bytes()).map_err(Failure::from)?;
        if self.domain.is_empty() {
            return Ok(());
        }
        rustix::system::setdomainname(self.domain.as_bytes()).map_err(|e| Failure::new(e, "setdomainname"))
    }

    pub fn shell(&self) -> Shell {
        let mut lines = vec![format!("hostname {}", quote(self.name.as_str()))];
        if !self.domain.is_empty() {
            lines.push(format!("domainname {}", quote(self.domain.as_str())));
        }
        Shell::lines(lines, "its host name", "sethostname(2)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("namespace", "uts", self.name.as_str());
    }
}
