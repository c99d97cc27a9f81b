//! `--device`, `--device-cgroup-rule`, `--gpus`.

use super::Result;
use super::texts::bad_flag;
use engine::{Device, cdi, clean_path};

/// `--device host[:inside][:rwm]`
pub fn devices(specs: &[String]) -> Result<Vec<Device>> {
    specs.iter().filter(|spec| !cdi::is_name(spec)).map(|spec| device(spec)).collect()
}

/// The devices that CDI describes: `vendor.com/class=name`.
pub fn cdi(specs: &[String], gpus: Option<&str>) -> Result<Vec<String>> {
    let mut names: Vec<String> = specs.iter().filter(|spec| cdi::is_name(spec)).cloned().collect();
    if let Some(spec) = gpus {
        names.extend(self::gpus(spec).map_err(|cause| bad_flag("--gpus", spec, &cause))?);
    }
    Ok(names)
}

/// `all`, `2`, `device=0,1`, `"device=0",capabilities=utility`
fn gpus(spec: &str) -> Result<Vec<String>> {
    let name = |device: &str| format!("{GPU}={device}");
    let plain = spec.replace(['"', '\''], "");
    let mut names = Vec::new();
    let mut key = "count";
    for field in plain.split(',').filter(|field| !field.is_empty()) {
        let value = match field.split_once('=') {
            Some((new, value)) => {
                key = ["count", "device", "capabilities", "driver", "options"]
                    .into_iter()
                    .find(|known| *known == new)
                    .ok_or_else(|| format!("unexpected key '{new}' in '{field}'"))?;
                value
            }
            None => field,
        };
        match (key, value) {
            ("count", "all" | "-1") => names.push(name("all")),
            ("count", number) => {
                let number: u32 =
                    number.parse().map_err(|_| "count must be an integer, or 'all'".to_owned())?;
                names.extend((0..number).map(|n| name(&n.to_string())));
            }
            ("device", device) => names.push(name(device)),
            ("driver", driver) if driver != "nvidia" && driver != "cdi" => {
                return Err(format!("there is no driver '{driver}': devices are described by CDI"));
            }
            // What is in a device is up to its description.
            _ => {}
        }
    }
    match names.is_empty() {
        true => Err("it names no device".to_owned()),
        false => Ok(names),
    }
}

/// What CDI calls the processors that `--gpus` means.
const GPU: &str = "nvidia.com/gpu";

/// `c 189:* rmw`, checked; kept as it is typed.
pub fn rules(specs: &[String]) -> Result<Vec<String>> {
    for spec in specs {
        engine::device_rule(spec).ok_or_else(|| {
            bad_flag("--device-cgroup-rule", spec, &format!("invalid device cgroup format '{spec}'"))
        })?;
    }
    Ok(specs.to_vec())
}

fn device(spec: &str) -> Result<Device> {
    let parts: Vec<&str> = spec.split(':').collect();
    let (source, target, access) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, access] if is_access(access) => (*source, *source, *access),
        [source, target] => (*source, *target, "rwm"),
        [source, target, access] if is_access(access) => (*source, *target, *access),
        [_, _, access] => return Err(format!("bad mode specified: {access}")),
        _ => return Err(format!("bad format for path: {spec}")),
    };
    if source.is_empty() {
        return Err(format!("bad format for path: {spec}"));
    }
    let target = if target.is_empty() { source } else { target };
    if !source.starts_with('/') || !target.starts_with('/') {
        let which = if source.starts_with('/') { target } else { source };
        return Err(format!("{which} is not an absolute path"));
    }
    Ok(Device { source: clean_path(source), target: clean_path(target), access: access.to_owned() })
}

fn is_access(text: &str) -> bool {
    let once = |c| text.matches(c).count() <= 1;
    !text.is_empty() && text.chars().all(|c| "rwm".contains(c)) && once('r') && once('w') && once('m')
}
