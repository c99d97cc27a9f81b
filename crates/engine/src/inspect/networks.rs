//! Docker's JSON of a container's networks.

use crate::{Container, Engine, Network, Result, State};
use network::{Endpoint, Networks};
use serde_json::{Map, Value, json};

impl Engine {
    pub(super) fn network_settings(&self, container: &Container, state: &State) -> Result<Value> {
        let running = matches!(state, State::Running { .. });
        let mut all = Map::new();
        for endpoint in &container.endpoints {
            let object = endpoint_object(&self.networks(), container, endpoint, running);
            all.insert(endpoint.network.clone(), object);
        }
        match &container.settings.network {
            Network::None => drop(all.insert("none".to_owned(), empty("none"))),
            Network::Host => drop(all.insert("host".to_owned(), empty("host"))),
            Network::Bridge | Network::Container(_) => {}
        }
        // The fields above all networks are from the time of one network, and many scripts read them.
        let first = container.endpoints.first().and_then(|e| all.get(&e.network)).cloned();
        let first = first.unwrap_or_else(|| empty(""));
        let sandbox = match state {
            State::Running { pid, .. } => format!("/proc/{pid}/ns/net"),
            _ => String::new(),
        };
        Ok(json!({
            "Bridge": "",
            "SandboxID": if running { container.id.as_str() } else { "" },
            "SandboxKey": sandbox,
            "Ports": self.ports(container, running),
            "HairpinMode": false,
            "LinkLocalIPv6Address": "",
            "LinkLocalIPv6PrefixLen": 0,
            "SecondaryIPAddresses": null,
            "SecondaryIPv6Addresses": null,
            "EndpointID": first["EndpointID"],
            "Gateway": first["Gateway"],
            "GlobalIPv6Address": first["GlobalIPv6Address"],
            "GlobalIPv6PrefixLen": first["GlobalIPv6PrefixLen"],
            "IPAddress": first["IPAddress"],
            "IPPrefixLen": first["IPPrefixLen"],
            "IPv6Gateway": first["IPv6Gateway"],
            "MacAddress": first["MacAddress"],
            "Networks": all,
        }))
    }

    fn ports(&self, container: &Container, running: bool) -> Value {
        let mut map = Map::new();
        if !running {
            return Value::Object(map);
        }
        for exposed in &container.settings.exposed {
            map.insert(exposed.clone(), Value::Null);
        }
        for port in &self.published(container) {
            let key = format!("{}/{}", port.container_port, port.protocol);
            let binding =
                json!({ "HostIp": port.host_ip.to_string(), "HostPort": port.host_port.to_string() });
            match map.get_mut(&key) {
                Some(Value::Array(list)) => list.push(binding),
                _ => drop(map.insert(key, json!([binding]))),
            }
        }
        Value::Object(map)
    }
}

/// A container that does not run has no addresses to show, though they stay its own.
fn endpoint_object(networks: &Networks, container: &Container, endpoint: &Endpoint, running: bool) -> Value {
    let wish = &endpoint.wish;
    let mut object = empty(&endpoint.network_id);
    let asked = json!({
        "IPv4Address": wish.ipv4.map(|a| a.to_string()).unwrap_or_default(),
        "IPv6Address": wish.ipv6.map(|a| a.to_string()).unwrap_or_default(),
    });
    if wish.ipv4.is_some() || wish.ipv6.is_some() {
        object["IPAMConfig"] = asked;
    }
    let links: Vec<String> = wish.links.iter().map(|(other, alias)| format!("{other}:{alias}")).collect();
    if !links.is_empty() {
        object["Links"] = json!(links);
    }
    if !wish.aliases.is_empty() {
        object["Aliases"] = json!(wish.aliases);
    }
    if !wish.options.is_empty() {
        object["DriverOpts"] = json!(wish.options);
    }
    object["GwPriority"] = json!(wish.priority);
    if endpoint.network != network::network::DEFAULT {
        object["DNSNames"] = json!(crate::net::names(container, endpoint));
    }
    if !running {
        return object;
    }
    object["EndpointID"] = json!(endpoint.id(&container.id));
    object["MacAddress"] = json!(endpoint.mac.map(|b| format!("{b:02x}")).join(":"));
    let network = networks.named(&endpoint.network).ok();
    for address in endpoint.addresses() {
        let pool = network.as_ref().and_then(|network| network.pool_of(address));
        let prefix = pool.map_or(0, |pool| pool.subnet.prefix);
        let gateway =
            pool.filter(|_| network.as_ref().is_some_and(|n| !n.internal)).and_then(|pool| pool.gateway);
        let gateway = gateway.map(|gateway| gateway.to_string()).unwrap_or_default();
        let fields = match address.is_ipv4() {
            true => ["IPAddress", "IPPrefixLen", "Gateway"],
            false => ["GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPv6Gateway"],
        };
        for (field, value) in
            fields.into_iter().zip([json!(address.to_string()), json!(prefix), json!(gateway)])
        {
            object[field] = value;
        }
    }
    object
}

fn empty(id: &str) -> Value {
    json!({
        "IPAMConfig": null, "Links": null, "Aliases": null, "DriverOpts": null, "GwPriority": 0,
        "NetworkID": id, "EndpointID": "",
        "Gateway": "", "IPAddress": "", "MacAddress": "", "IPPrefixLen": 0,
        "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "DNSNames": null,
    })
}
