//! Control groups that belong to a unit of systemd's: where they are, and limits as systemd knows them, so that it does not
//! set its own ones again.

use super::error::Result;
use super::values::{io_weight, runc_weight, v2_swap};
use super::{GroupError, GroupPath, GroupPaths};
use crate::{Cgroups, Host, Resources};
use kernel::bpf::{DeviceKind, DeviceRule, MKNOD, READ, WRITE};
use serde::{Deserialize, Serialize};
use steps::dbus::Value;
use steps::systemd::{Manager, Property};

/// A transient unit. See systemd.scope(5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// `corten-1234.scope`
    pub name: String,
    /// `system.slice`
    pub slice: String,
    /// Of this user's systemd, not of the machine's.
    pub user: bool,
    /// That the user asks for.
    pub properties: Vec<Property>,
}

impl Unit {
    /// Where its groups will be. For a user's systemd, that is asked.
    pub fn paths(&self, host: &Host) -> Result<GroupPaths> {
        let slice = expand_slice(&self.slice)
            .ok_or_else(|| GroupError::new(format!("{} is not the name of a slice", self.slice)))?;
        let above = if self.user {
            if matches!(host.cgroups, Cgroups::V1 { .. }) {
                return Err(GroupError::new("a user's systemd has no control groups to give on cgroup v1"));
            }
            Manager::connect(true)
                .and_then(|mut manager| manager.property("ControlGroup"))
                .map_err(|e| GroupError::new(format!("cannot ask this user's systemd: {e}")))?
        } else {
            String::new()
        };
        let parts = [above.trim_matches('/'), &slice, &self.name];
        let parts: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        Ok(GroupPaths::everywhere(&parts.join("/"), host))
    }

    /// All properties of the unit of a container.
    pub(crate) fn all(&self, r: &Resources, rules: &[DeviceRule], v2: bool) -> Vec<Property> {
        let yes = |name: &str| (name.to_owned(), Value::Bool(true));
        let mut all = vec![
            ("Description".to_owned(), format!("corten container {}", self.name).as_str().into()),
            ("Slice".to_owned(), self.slice.as_str().into()),
            yes("Delegate"),
            yes("MemoryAccounting"),
            yes("CPUAccounting"),
            yes(if v2 { "IOAccounting" } else { "BlockIOAccounting" }),
            yes("TasksAccounting"),
            ("DefaultDependencies".to_owned(), Value::Bool(false)),
        ];
        if let Some(group) = r.unified.get("memory.oom.group") {
            let policy = if group.trim() == "1" { "kill" } else { "continue" };
            all.push(("OOMPolicy".to_owned(), policy.into()));
        }
        all.extend(devices(rules, v2));
        all.extend(limits(r, v2));
        all.extend(self.properties.iter().cloned());
        all
    }

    /// Tells systemd of other limits.
    pub(super) fn update(&self, r: &Resources, v2: bool) -> Result<()> {
        let properties = limits(r, v2);
        if properties.is_empty() {
            return Ok(());
        }
        Manager::connect(self.user)
            .and_then(|mut manager| manager.set(&self.name, &properties))
            .map_err(|e| GroupError::new(format!("cannot change the unit {}: {e}", self.name)))
    }
}

/// Where a slice's group is: `a.slice/a-b.slice` of `a-b.slice`. `None`: not the name of a slice.
pub(crate) fn expand_slice(slice: &str) -> Option<String> {
    let name = slice.strip_suffix(".slice").filter(|name| !name.is_empty() && !name.contains('/'))?;
    if name == "-" {
        return Some(String::new());
    }
    let (mut path, mut prefix) = (Vec::new(), String::new());
    for part in name.split('-') {
        if part.is_empty() || part == "." || part == ".." {
            return None;
        }
        path.push(format!("{prefix}{part}.slice"));
        prefix += &format!("{part}-");
    }
    Some(path.join("/"))
}

/// systemd keeps quotas in hundredths of a processor. A finer one is rounded up, here as there: both write the same file.
pub(crate) fn rounded(r: &Resources) -> Resources {
    let mut r = r.clone();
    if let (Some(quota), period) = (r.cpu_quota.filter(|q| *q > 0), r.cpu_period.unwrap_or(100_000)) {
        let second = per_second(quota, period);
        r.cpu_quota = Some((u128::from(second) * u128::from(period) / 1_000_000) as i64);
    }
    r
}

/// Microseconds of each second, in steps of a hundredth.
fn per_second(quota: i64, period: u64) -> u64 {
    let exact = quota.unsigned_abs().saturating_mul(1_000_000) / period.max(1);
    exact.next_multiple_of(10_000)
}

fn limits(r: &Resources, v2: bool) -> Vec<Property> {
    let mut all: Vec<Property> = Vec::new();
    let mut put = |name: &str, value: Value| {
        // The last word counts: a file of v2 that is named stands after what it was converted from.
        all.retain(|(known, _)| known != name);
        all.push((name.to_owned(), value));
    };
    // −1, none, is the greatest number.
    let number = |n: i64| Value::U64(n.cast_unsigned());
    if let Some(memory) = r.memory {
        put(if v2 { "MemoryMax" } else { "MemoryLimit" }, number(memory));
    }
    if v2 {
        if let Some(low) = r.memory_reservation {
            put("MemoryLow", number(low));
        }
        match (r.memory, r.memory_swap) {
            (Some(memory), None) if memory < 0 => put("MemorySwapMax", number(-1)),
            (_, Some(both)) => put("MemorySwapMax", number(v2_swap(both, r.memory))),
            _ => {}
        }
    }
    if let Some(shares) = r.cpu_shares.filter(|_| r.cpu_idle != Some(1)) {
        if v2 {
            put("CPUWeight", Value::U64(runc_weight(shares)))
        } else {
            put("CPUShares", Value::U64(shares))
        }
    }
    quota(&mut put, r.cpu_quota, r.cpu_period);
    for (name, list) in [("AllowedCPUs", &r.cpuset_cpus), ("AllowedMemoryNodes", &r.cpuset_mems)] {
        if let Some(bits) = bits(list) {
            put(name, Value::bytes(&bits));
        }
    }
    if let Some(weight) = r.blkio_weight {
        let (name, weight) =
            if v2 { ("IOWeight", io_weight(weight)) } else { ("BlockIOWeight", u64::from(weight)) };
        put(name, Value::U64(weight));
    }
    if let Some(pids) = r.pids {
        put("TasksMax", number(if pids == 0 { 1 } else { pids.max(-1) }));
    }
    for (file, value) in &r.unified {
        unified(&mut put, file, value.trim());
    }
    all
}

fn quota(put: &mut impl FnMut(&str, Value), quota: Option<i64>, period: Option<u64>) {
    if let Some(period) = period {
        put("CPUQuotaPeriodUSec", Value::U64(period));
    }
    if quota.is_some() || period.is_some() {
        let quota = quota.filter(|q| *q > 0);
        let second = quota.map_or(u64::MAX, |quota| per_second(quota, period.unwrap_or(100_000)));
        put("CPUQuotaPerSecUSec", Value::U64(second));
    }
}

/// Files of v2 that systemd has a property for; it leaves the others alone. A value that is none the kernel will refuse.
fn unified(put: &mut impl FnMut(&str, Value), file: &str, value: &str) {
    let number = || if value == "max" { Some(u64::MAX) } else { value.parse().ok() };
    let name = match file {
        "cpu.max" => {
            let (max, period) = value.split_once(' ').unwrap_or((value, "100000"));
            let period = period.trim().parse().ok();
            return quota(put, if max == "max" { Some(-1) } else { max.parse().ok() }, period);
        }
        "cpuset.cpus" | "cpuset.mems" => {
            let name = if file == "cpuset.cpus" { "AllowedCPUs" } else { "AllowedMemoryNodes" };
            return bits(value).map_or((), |bits| put(name, Value::bytes(&bits)));
        }
        "cpu.weight" => "CPUWeight",
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        "memory.max" => "MemoryMax",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        _ => return,
    };
    if let Some(n) = number() {
        put(name, Value::U64(if name == "TasksMax" { n.max(1) } else { n }));
    }
}

/// A list such as `0-2,5` as bits, lowest first. `None`: empty, or no list.
fn bits(list: &str) -> Option<Vec<u8>> {
    let mut bits: Vec<u8> = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        // As many as the largest machines have.
        if first > last || last >= 1 << 16 {
            return None;
        }
        bits.resize(bits.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|n| bits[n / 8] |= 1 << (n % 8));
    }
    (!bits.is_empty()).then_some(bits)
}

/// Rules for devices as systemd has them, which knows lists of what is allowed only. What it refuses is refused, so on v2,
/// where our own filter stands beside its, a list that it cannot have leaves everything to ours. On v1 both write the same
/// files, ours later.
fn devices(rules: &[DeviceRule], v2: bool) -> Vec<Property> {
    let policy = |policy: &str, allow: Vec<Value>| {
        vec![
            ("DevicePolicy".to_owned(), policy.into()),
            ("DeviceAllow".to_owned(), Value::Array("(ss)".to_owned(), allow)),
        ]
    };
    let Some((all, exceptions)) = rules.split_first() else { return Vec::new() };
    let list: Vec<Option<Value>> = exceptions.iter().map(device).collect();
    let exact = list.iter().all(Option::is_some) && exceptions.iter().all(|rule| rule.allow);
    if all.kind != DeviceKind::All || (all.allow && exceptions.is_empty()) || (v2 && (all.allow || !exact)) {
        return policy("auto", Vec::new());
    }
    let list = if all.allow { Vec::new() } else { list.into_iter().flatten().collect() };
    policy("strict", list)
}

/// `None`: systemd cannot say it.
fn device(rule: &DeviceRule) -> Option<Value> {
    let kind = match rule.kind {
        DeviceKind::All => return None,
        DeviceKind::Char => "char",
        DeviceKind::Block => "block",
    };
    let path = match (rule.major, rule.minor) {
        (None, None) => format!("{kind}-*"),
        (Some(major), None) => format!("{kind}-{major}"),
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        (None, Some(_)) => return None,
    };
    let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
    let access: String = letters.iter().filter(|(bit, _)| rule.access & bit != 0).map(|(_, c)| c).collect();
    Some(Value::Struct(vec![path.as_str().into(), access.as_str().into()]))
}

/// The group of systemd's own hierarchy, which only it makes.
pub(crate) fn is_systemds(path: &GroupPath) -> bool {
    path.has("name=systemd")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(properties: &[Property]) -> String {
        let one = |(name, value): &Property| {
            let mut words = vec![name.clone(), value.signature()];
            value.words(&mut words);
            words.join(" ") + "\n"
        };
        properties.iter().map(one).collect()
    }

    #[test]
    fn slices_are_below_each_other() {
        assert_eq!(expand_slice("a-b-c.slice").unwrap(), "a.slice/a-b.slice/a-b-c.slice");
        assert_eq!(expand_slice("-.slice").unwrap(), "");
        for wrong in ["a", ".slice", "a/b.slice", "a--b.slice", "-a.slice", "a-.slice", "..slice/../x.slice"]
        {
            assert_eq!(expand_slice(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn lists_as_bits() {
        assert_eq!(bits("0-2,5, 9,").unwrap(), [0b10_0111, 0b10]);
        assert_eq!((bits(""), bits("2-1"), bits("x"), bits("0-99999999")), (None, None, None, None));
    }

    #[test]
    fn quotas_in_hundredths() {
        let of = |quota, period| {
            let r = Resources { cpu_quota: Some(quota), cpu_period: period, ..Resources::default() };
            rounded(&r).cpu_quota.unwrap()
        };
        assert_eq!((of(50_000, None), of(4_321, Some(10_000)), of(-1, None)), (50_000, 4_400, -1));
    }

    #[test]
    fn limits_as_properties() {
        let mut r = Resources {
            memory: Some(-1),
            memory_reservation: Some(5),
            cpu_shares: Some(1024),
            cpu_quota: Some(4_321),
            cpu_period: Some(10_000),
            cpuset_cpus: "0-1".to_owned(),
            blkio_weight: Some(10),
            pids: Some(0),
            ..Resources::default()
        };
        let unified = [("memory.high", "7"), ("pids.max", "max"), ("cpu.max", "max 5000"), ("io.max", "x")];
        r.unified = unified.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        insta::assert_snapshot!(said(&limits(&r, true)), @r"
        MemoryMax t 18446744073709551615
        MemoryLow t 5
        MemorySwapMax t 18446744073709551615
        CPUWeight t 100
        AllowedCPUs ay 1 3
        IOWeight t 1
        CPUQuotaPeriodUSec t 5000
        CPUQuotaPerSecUSec t 18446744073709551615
        MemoryHigh t 7
        TasksMax t 18446744073709551615
        ");
        insta::assert_snapshot!(said(&limits(&Resources { unified: Default::default(), ..r }, false)), @r"
        MemoryLimit t 18446744073709551615
        CPUShares t 1024
        CPUQuotaPeriodUSec t 10000
        CPUQuotaPerSecUSec t 440000
        AllowedCPUs ay 1 3
        BlockIOWeight t 10
        TasksMax t 1
        ");
    }

    #[test]
    fn devices_as_systemd_can_say_them() {
        let rule = |allow, major, minor| DeviceRule {
            allow,
            kind: DeviceKind::Char,
            major,
            minor,
            access: READ | MKNOD,
        };
        let list = [
            DeviceRule::all(false),
            rule(true, None, None),
            rule(true, Some(136), None),
            rule(true, Some(1), Some(3)),
        ];
        insta::assert_snapshot!(said(&devices(&list, true)), @r"
        DevicePolicy s strict
        DeviceAllow a(ss) 3 char-* rm char-136 rm /dev/char/1:3 rm
        ");
        let all = said(&devices(&[DeviceRule::all(true)], true));
        assert_eq!(all, "DevicePolicy s auto\nDeviceAllow a(ss) 0\n");
        // It cannot say these: on v2 it must not refuse what they allow, on v1 it says the rest.
        let odd = [DeviceRule::all(false), rule(true, None, Some(1)), rule(true, Some(7), None)];
        assert_eq!(said(&devices(&odd, true)), all);
        assert_eq!(said(&devices(&odd, false)), "DevicePolicy s strict\nDeviceAllow a(ss) 1 char-7 rm\n");
        let less = [DeviceRule::all(true), rule(false, Some(7), None)];
        assert_eq!(said(&devices(&less, true)), all);
        assert_eq!(said(&devices(&less, false)), "DevicePolicy s strict\nDeviceAllow a(ss) 0\n");
        assert!(devices(&[], true).is_empty());
    }
}
