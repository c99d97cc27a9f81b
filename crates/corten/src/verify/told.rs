//! The JSON of ip(8) and nft(8) as facts: names and values, without what the kernel counts or does in its own time.

use serde_json::Value;

/// Keys whose values are counted, or come some time after.
const MOVING: [&str; 8] =
    ["handle", "operstate", "tentative", "dadfailed", "link_netnsid", "state", "expires", "packets"];
const FLAGS: [&str; 3] = ["LOWER_UP", "NO-CARRIER", "linkdown"];

/// What one object of a list tells.
pub fn facts(kind: &str, object: &Value) -> Vec<(String, String)> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    match kind {
        "link" => {
            let mut found = Vec::new();
            let name = format!("link {}", text("ifname"));
            flatten(&name, object, &mut found);
            // The host's end of a cable has an address that the kernel draws.
            if object["master"].is_string() && object["linkinfo"]["info_kind"] == "veth" {
                found.retain(|(key, _)| *key != format!("{name} address"));
            }
            found
        }
        "route" | "route of IPv6" | "neighbour" => {
            let to = text("dst");
            if to.starts_with("fe80") || to.starts_with("ff00") {
                return Vec::new();
            }
            let mut found = Vec::new();
            flatten("", object, &mut found);
            let words: Vec<String> =
                found.iter().map(|(key, value)| format!("{} {value}", key.trim())).collect();
            vec![(format!("{kind} {to} {}", text("table")).trim_end().to_owned(), words.join(", "))]
        }
        _ => rule(object),
    }
}

/// A table, chain, rule, set or element.
fn rule(object: &Value) -> Vec<(String, String)> {
    let Some((kind, body)) = object.as_object().and_then(|object| object.iter().next()) else {
        return Vec::new();
    };
    if kind == "metainfo" {
        return Vec::new();
    }
    let mut body = body.clone();
    let elements = body.as_object_mut().and_then(|body| body.remove("elem"));
    still(&mut body);
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let names = [text("family"), text("table"), text("chain"), text("name")];
    let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
    let name = format!("nft {kind} {}", names.join(" "));
    let mut found = vec![(name.clone(), body.to_string())];
    let elements = elements.iter().filter_map(Value::as_array).flatten();
    found.extend(elements.map(|element| (format!("{name} element"), element.to_string())));
    found
}

/// Takes out what moves.
fn still(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|key, _| !moves(key) && key != "bytes");
            object.values_mut().for_each(still);
        }
        Value::Array(values) => values.iter_mut().for_each(still),
        _ => {}
    }
}

fn moves(key: &str) -> bool {
    MOVING.contains(&key) || key.contains("timer") || key.contains("topology_change")
}

fn flatten(path: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) => {
            // What the kernel gives a link for itself.
            if object.get("family").is_some_and(|f| f == "inet6")
                && object.get("scope").is_some_and(|s| s == "link")
            {
                return;
            }
            let name =
                object.get("local").and_then(Value::as_str).map_or(String::new(), |name| format!(" {name}"));
            for (key, value) in object.iter().filter(|(key, _)| !moves(key)) {
                flatten(&format!("{path}{name} {key}"), value, found);
            }
        }
        Value::Array(values) if values.iter().any(Value::is_object) => {
            values.iter().for_each(|value| flatten(path, value, found));
        }
        Value::Array(values) => {
            let words = values.iter().filter_map(Value::as_str).filter(|word| !FLAGS.contains(word));
            found.push((path.to_owned(), words.collect::<Vec<_>>().join(" ")));
        }
        Value::String(text) => found.push((path.to_owned(), text.clone())),
        other => found.push((path.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_link_is_told_in_words() {
        let link = json!({
            "ifname": "eth0", "mtu": 1500, "operstate": "UP", "flags": ["UP", "LOWER_UP"],
            "linkinfo": { "info_kind": "veth", "gc_timer": 3.2 },
            "addr_info": [
                { "family": "inet", "local": "10.0.0.2", "prefixlen": 16, "scope": "global" },
                { "family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link" },
            ],
        });
        let mut words: Vec<String> =
            facts("link", &link).into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
        words.sort();
        assert_eq!(
            words,
            [
                "link eth0 addr_info 10.0.0.2 family = inet",
                "link eth0 addr_info 10.0.0.2 local = 10.0.0.2",
                "link eth0 addr_info 10.0.0.2 prefixlen = 16",
                "link eth0 addr_info 10.0.0.2 scope = global",
                "link eth0 flags = UP",
                "link eth0 ifname = eth0",
                "link eth0 linkinfo info_kind = veth",
                "link eth0 mtu = 1500",
            ]
        );
    }

    #[test]
    fn rules_have_no_numbers_and_sets_have_elements() {
        let set = json!({ "set": { "family": "inet", "table": "t", "name": "s", "handle": 4, "elem": ["a", "b"] } });
        let found = facts("nft", &set);
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|(_, value)| !value.contains("handle")), "{found:?}");
        assert_eq!(found[1], ("nft set inet t s element".to_owned(), "\"a\"".to_owned()));
    }
}
