//! Docker's JSON of a network.

use crate::{Engine, Result, State, Time};
use network::Network;
use serde_json::{Map, Value, json};

impl Engine {
    /// The object that `network inspect` prints. Fields are in Docker's order.
    pub fn inspect_network(&self, network: &Network) -> Result<Value> {
        let mut containers = Map::new();
        let mut users = self.users_of(network)?;
        users.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
        for (container, state) in users {
            let place = container.endpoints.iter().find(|e| e.network == network.name);
            let (State::Running { .. }, Some(endpoint)) = (state, place) else { continue };
            let show = |ipv4: bool| {
                let address = endpoint.addresses().find(|address| address.is_ipv4() == ipv4);
                let pool = address.and_then(|address| Some((address, network.pool_of(address)?)));
                pool.map(|(address, pool)| format!("{address}/{}", pool.subnet.prefix)).unwrap_or_default()
            };
            let object = json!({
                "Name": container.name,
                "EndpointID": endpoint.id(&container.id),
                "MacAddress": endpoint.mac.map(|b| format!("{b:02x}")).join(":"),
                "IPv4Address": show(true),
                "IPv6Address": show(false),
            });
            containers.insert(container.id, object);
        }
        let created = if network.created == 0 { Time(0) } else { Time(network.created) };
        let mut options = network.options.clone();
        if network.driver == network::Driver::Bridge {
            options
                .entry("com.docker.network.bridge.name".to_owned())
                .or_insert_with(|| network.link.clone());
        }
        Ok(object(
            &network.name,
            &network.id,
            created,
            network.driver.name(),
            json!({
                "ipv4": network.pool(true).is_some(),
                "ipv6": network.has_ipv6(),
                "ipam": { "Driver": "default", "Options": {}, "Config": pools(network) },
                "internal": network.internal,
                "attachable": network.attachable,
                "containers": containers,
                "options": options,
                "labels": network.labels,
            }),
        ))
    }
}

/// `host` and `none`, which are there on every machine and have nothing to tell.
pub fn predefined(name: &str) -> Value {
    let driver = if name == "none" { "null" } else { name };
    let rest = json!({
        "ipv4": true, "ipv6": false, "ipam": { "Driver": "default", "Options": null, "Config": null },
        "internal": false, "attachable": false, "containers": {}, "options": {}, "labels": {},
    });
    object(name, &network::network::fixed_id(name), Time(0), driver, rest)
}

fn object(name: &str, id: &str, created: Time, driver: &str, rest: Value) -> Value {
    json!({
        "Name": name,
        "Id": id,
        "Created": created.rfc3339(),
        "Scope": "local",
        "Driver": driver,
        "EnableIPv4": rest["ipv4"],
        "EnableIPv6": rest["ipv6"],
        "IPAM": rest["ipam"],
        "Internal": rest["internal"],
        "Attachable": rest["attachable"],
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": rest["containers"],
        "Options": rest["options"],
        "Labels": rest["labels"],
    })
}

fn pools(network: &Network) -> Vec<Value> {
    let show = |pool: &network::Pool| {
        let mut object = Map::new();
        object.insert("Subnet".to_owned(), json!(pool.subnet.to_string()));
        if let Some(range) = pool.range {
            object.insert("IPRange".to_owned(), json!(range.to_string()));
        }
        if let Some(gateway) = pool.gateway {
            object.insert("Gateway".to_owned(), json!(gateway.to_string()));
        }
        if !pool.reserved.is_empty() {
            object.insert("AuxiliaryAddresses".to_owned(), json!(pool.reserved));
        }
        Value::Object(object)
    };
    network.pools.iter().map(show).collect()
}
