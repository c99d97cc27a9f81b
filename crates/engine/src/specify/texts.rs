//! What stands in a container's `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`.

use super::hostname;
use crate::{Container, Engine, Error, Network, Result, State};
use network::{hosts, resolv};
use std::net::IpAddr;

impl Engine {
    /// Who shares another's network has its name, too: the file of names that they share knows no other.
    pub(crate) fn hostname(&self, container: &Container) -> String {
        match &container.settings.network {
            Network::Container(other) => {
                self.find(other).map_or_else(|_| hostname(container), |c| hostname(&c))
            }
            _ => hostname(container),
        }
    }

    /// File names and contents, as they are for the container's networks now.
    pub(crate) fn own_texts(&self, container: &Container) -> Result<[(&'static str, String); 3]> {
        let hostname = ("hostname", format!("{}\n", self.hostname(container)));
        // Who shares another's network shares its names too.
        if let Network::Container(other) = &container.settings.network {
            let other = self.find(other)?;
            return Ok([("hosts", self.hosts(&other)?), hostname, ("resolv.conf", self.resolv(&other)?)]);
        }
        Ok([("hosts", self.hosts(container)?), hostname, ("resolv.conf", self.resolv(container)?)])
    }

    fn hosts(&self, container: &Container) -> Result<String> {
        let s = &container.settings;
        let own_network = s.network != Network::Host;
        let base = if own_network { None } else { std::fs::read_to_string("/etc/hosts").ok() };
        let parsed = s.extra_hosts.iter().map(|text| Ok(hosts::parse_extra(text)?));
        let mut extra = parsed.collect::<Result<Vec<_>>>()?;
        extra.extend(self.linked(container)?);
        let hostname = hostname(container);
        let name = match s.domainname.as_str() {
            "" => hostname,
            domain => format!("{hostname}.{domain} {hostname}"),
        };
        let addresses: Vec<IpAddr> = container.endpoints.iter().flat_map(|e| e.addresses()).collect();
        let gateways = self.gateways(container)?;
        Ok(hosts::hosts(base.as_deref(), (&addresses, &name), &extra, &gateways))
    }

    /// Lines for `--link` in the default network, where no name server knows the names.
    fn linked(&self, container: &Container) -> Result<Vec<hosts::ExtraHost>> {
        let mut lines = Vec::new();
        for endpoint in container.endpoints.iter().filter(|e| e.network == network::network::DEFAULT) {
            for (word, alias) in &endpoint.wish.links {
                let other = self.find(word)?;
                if !matches!(self.state(&other)?, State::Running { .. }) {
                    return Err(Error::Invalid(format!(
                        "Cannot link to a non running container: /{} AS /{}/{alias}",
                        other.name, container.name
                    )));
                }
                let place = other.endpoints.iter().find(|e| e.network == endpoint.network);
                for address in place.into_iter().flat_map(|e| e.addresses()) {
                    let name = format!("{alias} {} {}", other.short_id(), other.name);
                    lines.push(hosts::ExtraHost { name, address: Some(address) });
                }
            }
        }
        Ok(lines)
    }

    fn resolv(&self, container: &Container) -> Result<String> {
        let s = &container.settings;
        let parse = |text: &String| {
            let bad = |_| Error::Invalid(format!("ip address is not correctly formatted: \"{text}\""));
            text.parse().map_err(bad)
        };
        let servers = s.dns.iter().map(parse).collect::<Result<_>>()?;
        let dns = resolv::Dns { servers, search: s.dns_search.clone(), options: s.dns_options.clone() };
        let host = resolv::Host::read();
        Ok(match crate::net::has_names(container) {
            true => resolv::with_own_server(&host, &dns, steps::NAME_SERVER.into()),
            false => resolv::resolv_conf(&host, &dns, s.network != Network::Host),
        })
    }
}
