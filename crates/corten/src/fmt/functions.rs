//! What templates can call: Docker's functions, and the hidden ones by which fields are read and values printed.

use gotmpl::{FuncMap, TemplateError, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// `field . "A" "B"` is `.A.B`.
pub const FIELD: &str = "\0field";
/// Prints a value as Go does; its first argument is the field's name.
pub const SHOW: &str = "\0show";
/// A value that gotmpl's own functions can format.
pub const PLAIN: &str = "\0plain";
/// The format of a printf, with precisions that gotmpl can do.
pub const FORMAT: &str = "\0format";
/// Under this key an object keeps the order of its fields.
pub const ORDER: &str = "\0order";

type Map = BTreeMap<Arc<str>, Value>;
type Result<T = Value> = std::result::Result<T, TemplateError>;

/// The functions for values.
pub fn values() -> FuncMap {
    let mut map = hidden();
    add(&mut map, "json", |args| Ok(string(&json(one("json", args)?))));
    add(&mut map, "split", |args| {
        let [text, by] = two("split", args)?;
        let (text, by) = (show(text), show(by));
        let parts: Vec<String> = if by.is_empty() {
            text.chars().map(String::from).collect()
        } else {
            text.split(by.as_str()).map(str::to_owned).collect()
        };
        Ok(Value::List(parts.iter().map(|part| string(part)).collect()))
    });
    add(&mut map, "join", join);
    add(&mut map, "title", |args| Ok(string(&title(&show(one("title", args)?)))));
    add(&mut map, "lower", |args| Ok(string(&show(one("lower", args)?).to_lowercase())));
    add(&mut map, "upper", |args| Ok(string(&show(one("upper", args)?).to_uppercase())));
    add(&mut map, "truncate", |args| {
        let [text, length] = two("truncate", args)?;
        let (text, length) = (show(text), length.as_int().unwrap_or(0).max(0) as usize);
        Ok(string(&text.chars().take(length).collect::<String>()))
    });
    map
}

/// The same for the titles of a table: they stay what they are.
pub fn titles() -> FuncMap {
    let mut map = hidden();
    for name in ["json", "split", "join", "title", "lower", "upper", "truncate"] {
        add(&mut map, name, |args| Ok(args.first().cloned().unwrap_or(Value::Nil)));
    }
    map
}

fn hidden() -> FuncMap {
    let mut map = FuncMap::new();
    add(&mut map, FIELD, |args| {
        let Some((from, names)) = args.split_first() else { return Ok(Value::Nil) };
        names.iter().try_fold(from.clone(), |value, name| field(&value, name.as_str().unwrap_or_default()))
    });
    add(&mut map, SHOW, |args| {
        let [name, value] = two("show", args)?;
        Ok(match value {
            Value::Nil => string(absent(name.as_str().unwrap_or_default())),
            value => string(&show(value)),
        })
    });
    add(&mut map, PLAIN, |args| {
        Ok(match one("plain", args)? {
            value @ (Value::Map(_) | Value::List(_)) => string(&show(value)),
            value => value.clone(),
        })
    });
    add(&mut map, FORMAT, |args| match one("format", args)? {
        Value::String(format) => Ok(string(&bounded(format)?)),
        value => Ok(string(&show(value))),
    });
    add(&mut map, "pad", |args| {
        let [text, before, after] = args else { return Err(wrong_count("pad", 3, args.len())) };
        let text = show(text);
        let spaces = |n: &Value| " ".repeat(n.as_int().unwrap_or(0).clamp(0, 1000) as usize);
        Ok(if text.is_empty() {
            string("")
        } else {
            string(&format!("{}{text}{}", spaces(before), spaces(after)))
        })
    });
    add(&mut map, "index", index);
    add(&mut map, "print", |args| Ok(string(&sprint(args))));
    add(&mut map, "println", |args| {
        let words: Vec<String> = args.iter().map(show).collect();
        Ok(string(&format!("{}\n", words.join(" "))))
    });
    map
}

/// No precision beyond 1000 digits: gotmpl fails at 65535.
fn bounded(format: &str) -> Result<String> {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (mut bounded, mut rest) = (String::new(), format);
    while let Some(at) = rest.find('%') {
        let after = &rest[at + 1..];
        let width =
            after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit() || "+-# *".contains(c)).len();
        bounded.push_str(&rest[..at + 1 + width]);
        rest = &after[width..];
        if let Some(tail) = rest.strip_prefix('.') {
            if tail.starts_with('*') {
                return Err(TemplateError::Exec("printf: a precision has to be a number".to_owned()));
            }
            let (number, tail) = tail.split_at(digits(tail));
            let number = if number.is_empty() { 0 } else { number.parse().unwrap_or(1000).min(1000) };
            bounded.push_str(&format!(".{number}"));
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix('%') {
            bounded.push('%');
            rest = tail;
        }
    }
    bounded.push_str(rest);
    Ok(bounded)
}

fn add(map: &mut FuncMap, name: &str, function: impl Fn(&[Value]) -> Result + Send + Sync + 'static) {
    map.insert(name.to_owned(), Arc::new(function));
}

fn string(text: &str) -> Value {
    Value::String(Arc::from(text))
}

fn wrong_count(name: &str, expected: usize, got: usize) -> TemplateError {
    TemplateError::Exec(format!("wrong number of args for {name}: want {expected} got {got}"))
}

fn one<'a>(name: &str, args: &'a [Value]) -> Result<&'a Value> {
    match args {
        [value] => Ok(value),
        _ => Err(wrong_count(name, 1, args.len())),
    }
}

fn two<'a>(name: &str, args: &'a [Value]) -> Result<[&'a Value; 2]> {
    match args {
        [a, b] => Ok([a, b]),
        _ => Err(wrong_count(name, 2, args.len())),
    }
}

/// Go's rule: a struct must have the field, a map need not, and of nothing there is nothing.
fn field(value: &Value, name: &str) -> Result {
    let refuse = |kind: &str| Err(TemplateError::Exec(format!("can't evaluate field {name} in type {kind}")));
    match value {
        Value::Map(map) => match map.get(name) {
            Some(value) => Ok(value.clone()),
            // Docker looks at its structures first, whose names write abbreviations in capitals, and then at the JSON: `{{.ID}}`
            // and `{{.Id}}`, `HostIP` and `HostIp`, `NanoCPUs` and `NanoCpus`.
            None if map.contains_key(ORDER) && name.starts_with(|c: char| c.is_ascii_uppercase()) => {
                match map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)) {
                    Some((_, value)) => Ok(value.clone()),
                    None if OPTIONAL.contains(&name) => Ok(Value::Nil),
                    None => refuse("object"),
                }
            }
            None if !map.contains_key(ORDER) || OPTIONAL.contains(&name) => Ok(Value::Nil),
            None => refuse("object"),
        },
        Value::Nil => Err(TemplateError::Exec(format!("nil pointer evaluating .{name}"))),
        other => refuse(other.type_name()),
    }
}

/// Fields that an object has although its JSON leaves them out when they are empty.
const OPTIONAL: &[&str] = &[
    "Health",
    "Healthcheck",
    "StopTimeout",
    "Variant",
    "ExposedPorts",
    "SizeRw",
    "SizeRootFs",
    "Shell",
    "StopSignal",
];

/// What Go prints where there is nothing: by the type of the field, which its name tells.
fn absent(name: &str) -> &'static str {
    const LISTS: &[&str] = &[
        "Aliases",
        "Binds",
        "BlkioDeviceReadBps",
        "BlkioDeviceReadIOps",
        "BlkioDeviceWriteBps",
        "BlkioDeviceWriteIOps",
        "BlkioWeightDevice",
        "CapAdd",
        "CapDrop",
        "Cmd",
        "DeviceCgroupRules",
        "DeviceRequests",
        "Devices",
        "DNSNames",
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "Entrypoint",
        "Env",
        "ExecIDs",
        "ExtraHosts",
        "GroupAdd",
        "Links",
        "MaskedPaths",
        "OnBuild",
        "ReadonlyPaths",
        "RepoDigests",
        "RepoTags",
        "SecurityOpt",
        "Shell",
        "Ulimits",
        "VolumesFrom",
    ];
    const MAPS: &[&str] =
        &["Annotations", "DriverOpts", "ExposedPorts", "Labels", "StorageOpt", "Sysctls", "Tmpfs", "Volumes"];
    match name {
        name if LISTS.contains(&name) => "[]",
        name if MAPS.contains(&name) => "map[]",
        name if OPTIONAL.contains(&name)
            || name == "IPAMConfig"
            || name == "OomKillDisable"
            || name == "PidsLimit" =>
        {
            "<nil>"
        }
        _ => "<no value>",
    }
}

fn index(args: &[Value]) -> Result {
    let Some((from, keys)) = args.split_first() else { return Err(wrong_count("index", 1, 0)) };
    keys.iter().try_fold(from.clone(), |value, key| match (&value, key.as_str()) {
        (Value::Map(map), Some(name)) => Ok(map.get(name).cloned().unwrap_or_else(|| zero(map))),
        (Value::Nil, _) => Err(TemplateError::Exec("error calling index: index of untyped nil".to_owned())),
        _ => value.index(key),
    })
}

/// What Go gives for a key that a map lacks: the empty value of its kind.
fn zero(map: &Map) -> Value {
    if map.values().all(|value| matches!(value, Value::String(_))) { string("") } else { Value::Nil }
}

fn join(args: &[Value]) -> Result {
    let [list, by] = two("join", args)?;
    let by = show(by);
    let words: Vec<String> = match list {
        Value::Nil => return Ok(string("")),
        Value::List(list) => list.iter().map(show).collect(),
        Value::Map(map) => {
            let mut words: Vec<String> =
                map.iter().filter(|(k, _)| &***k != ORDER).map(|(_, value)| show(value)).collect();
            words.sort();
            words
        }
        other => {
            return Err(TemplateError::Exec(format!(
                "error calling join: expected slice, got {}",
                other.type_name()
            )));
        }
    };
    Ok(string(&words.join(&by)))
}

/// Every word begins with a capital.
fn title(text: &str) -> String {
    let mut before = ' ';
    text.chars()
        .map(|c| {
            let first = !(before.is_alphanumeric() || before == '_' || before == '\'');
            before = c;
            if first { c.to_uppercase().next().unwrap_or(c) } else { c }
        })
        .collect()
}

/// Go's fmt.Sprint: spaces stand between two words of which neither is a string.
fn sprint(args: &[Value]) -> String {
    let mut out = String::new();
    for (i, value) in args.iter().enumerate() {
        let is_string = |v: &Value| matches!(v, Value::String(_));
        if i > 0 && !is_string(value) && !is_string(&args[i - 1]) {
            out.push(' ');
        }
        out.push_str(&show(value));
    }
    out
}

/// As Go's `%v`: `[a b]`, `map[k:v]`, and an object's values in curly brackets.
fn show(value: &Value) -> String {
    match value {
        Value::List(list) => format!("[{}]", list.iter().map(show).collect::<Vec<_>>().join(" ")),
        Value::Map(map) => match order(map) {
            Some(names) => {
                let values = names.iter().filter_map(|name| map.get(name.as_str()?)).map(show);
                format!("{{{}}}", values.collect::<Vec<_>>().join(" "))
            }
            None => {
                let pairs = map.iter().map(|(k, v)| format!("{k}:{}", show(v)));
                format!("map[{}]", pairs.collect::<Vec<_>>().join(" "))
            }
        },
        Value::Nil => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

fn order(map: &Map) -> Option<&[Value]> {
    match map.get(ORDER) {
        Some(Value::List(names)) => Some(names),
        _ => None,
    }
}

/// One line of JSON; an object's fields in their order.
fn json(value: &Value) -> String {
    let quoted = |s: &str| serde_json::Value::from(s).to_string();
    let pairs = |pairs: Vec<(&str, &Value)>| {
        let pairs: Vec<String> =
            pairs.into_iter().map(|(k, v)| format!("{}:{}", quoted(k), json(v))).collect();
        format!("{{{}}}", pairs.join(","))
    };
    match value {
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => n.to_string(),
        Value::Float(n) => serde_json::Value::from(*n).to_string(),
        Value::String(s) => quoted(s),
        Value::List(list) => format!("[{}]", list.iter().map(json).collect::<Vec<_>>().join(",")),
        Value::Map(map) => match order(map) {
            // Methods are no fields.
            Some(names) => pairs(
                names
                    .iter()
                    .filter_map(|name| map.get_key_value(name.as_str()?))
                    .filter(|(_, v)| !matches!(v, Value::Function(_)))
                    .map(|(k, v)| (&**k, v))
                    .collect(),
            ),
            None => pairs(map.iter().map(|(k, v)| (&**k, v)).collect()),
        },
        Value::Nil | Value::Function(_) => "null".to_owned(),
    }
}
