//! A word for a bridge where another firewall drops what nobody speaks for.

use crate::shell::quote;
use crate::{Live, Outcome, Picture, Shell, Step, Text};
use kernel::netlink::{Failure, Socket};
use kernel::nft::expression::{Meta, Operator, Verdict};
use kernel::nft::foreign::{self, Family};
use kernel::nft::{Expression, kept};
use serde::{Deserialize, Serialize};

/// What comes from the bridge and what goes to it passes iptables' forward chain, where that drops by default, as it does
/// with Docker and with ufw. What may pass is decided in the engine's own table. One question where nothing is dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LetThrough {
    pub link: Text,
}

impl LetThrough {
    pub fn perform(&self, _: &Live) -> Outcome {
        // Without these tables in the kernel there is nobody to speak to.
        let _ = kept::with(|socket| self.attempt(socket));
        Ok(())
    }

    fn attempt(&self, socket: &Socket) -> Result<(), Failure> {
        for family in [Family::Ip, Family::Ip6] {
            let Some(chain) = foreign::dropping(socket, family)? else { continue };
            let comments = comments(&self.link);
            let there = foreign::rules(socket, family, &comments)?;
            for (key, comment) in [Meta::Iifname, Meta::Oifname].into_iter().zip(&comments) {
                if !there.iter().any(|(at, _, text)| *at == chain && text == comment) {
                    foreign::insert(socket, family, chain, comment, &self.rule(key))?;
                }
            }
        }
        Ok(())
    }

    /// As iptables-nft writes it, so that it can read it.
    fn rule(&self, key: Meta) -> Vec<Expression> {
        let mut name = self.link.as_bytes().to_vec();
        name.push(0);
        vec![
            Expression::Meta { key, to: 1 },
            Expression::Compare { operator: Operator::Equal, from: 1, value: name },
            Expression::Counter,
            Expression::Verdict(Verdict::Accept),
        ]
    }

    pub fn shell(&self) -> Shell {
        let link = quote(self.link.as_str());
        let line = |family: &str| {
            format!(
                "if nft list chain {family} filter FORWARD 2>/dev/null | grep -q 'policy drop'; then \
                 for i in iifname oifname; do nft insert rule {family} filter FORWARD $i {link} counter accept; done; fi"
            )
        };
        Shell::lines(
            vec![line("ip"), line("ip6")],
            "where another firewall drops by default, the bridge is let through to ours",
            "iptables(8)",
        )
        .near("once, and in DOCKER-USER where there is one")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// Takes the words for a link back.
pub fn take_back(socket: &Socket, link: &str) -> Result<(), Failure> {
    for family in [Family::Ip, Family::Ip6] {
        for (chain, handle, _) in foreign::rules(socket, family, &comments(&link.into()))? {
            foreign::delete(socket, family, chain, handle)?;
        }
    }
    Ok(())
}

fn comments(link: &Text) -> [String; 2] {
    ["from", "to"].map(|way| format!("corten: {way} {link}"))
}
