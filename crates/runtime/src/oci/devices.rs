//! `linux.resources.devices`: lists of allow and deny, with cgroup v1's meaning on v1 and v2.

use super::{Config, ConfigError};
use kernel::bpf::{DeviceKind, DeviceRule, MKNOD, READ, WRITE};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

const ALL: u8 = READ | WRITE | MKNOD;

/// What every container may use, whatever its list says: to make nodes, the usual ones, terminals, and /dev/net/tun (as
/// runc has it, for those who have always found it).
const DEFAULTS: [(bool, Option<u32>, Option<u32>, u8); 11] = [
    (true, None, None, MKNOD),
    (false, None, None, MKNOD),
    (true, Some(1), Some(3), ALL),
    (true, Some(1), Some(8), ALL),
    (true, Some(1), Some(7), ALL),
    (true, Some(5), Some(0), ALL),
    (true, Some(1), Some(5), ALL),
    (true, Some(1), Some(9), ALL),
    (true, Some(136), None, ALL),
    (true, Some(5), Some(2), ALL),
    (true, Some(10), Some(200), ALL),
];

/// The list and the defaults as rules of which none contradicts another: everything or nothing first, then exceptions.
pub(super) fn rules(from: &[LinuxDeviceCgroup]) -> Config<Vec<DeviceRule>> {
    let mut state = State::default();
    for (i, entry) in from.iter().enumerate() {
        let field = |name: &str| format!("linux.resources.devices[{i}]{name}");
        let rule = rule(entry, &field)?;
        state.apply(&rule).map_err(|why| ConfigError::new(field(""), why))?;
    }
    for (is_char, major, minor, access) in DEFAULTS {
        let kind = if is_char { DeviceKind::Char } else { DeviceKind::Block };
        let rule = DeviceRule { allow: true, kind, major, minor, access };
        let why = |why| ConfigError::new("linux.resources.devices", why);
        state.apply(&rule).map_err(why)?;
    }
    Ok(state.rules())
}

fn rule(entry: &LinuxDeviceCgroup, field: &dyn Fn(&str) -> String) -> Config<DeviceRule> {
    let number = |name: &str, value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(n) => u32::try_from(n)
            .map(Some)
            .map_err(|_| ConfigError::new(field(name), format!("{n} is no device number"))),
    };
    let mut access = 0;
    for letter in entry.access().as_deref().unwrap_or_default().chars() {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            _ => return Err(ConfigError::new(field(".access"), format!("{letter:?} is none of r, w, m"))),
        };
    }
    if access == 0 {
        return Err(ConfigError::new(field(".access"), "must have some of r, w, m"));
    }
    let kind = match entry.typ() {
        None | Some(LinuxDeviceType::A) => return Ok(DeviceRule::all(entry.allow())),
        Some(LinuxDeviceType::C) => DeviceKind::Char,
        Some(LinuxDeviceType::B) => DeviceKind::Block,
        Some(other) => {
            let why = format!("{:?} is none of a, b, c", other.as_str());
            return Err(ConfigError::new(field(".type"), why));
        }
    };
    let (major, minor) = (number(".major", entry.major())?, number(".minor", entry.minor())?);
    Ok(DeviceRule { allow: entry.allow(), kind, major, minor, access })
}

/// Major and minor, `None` for all, and whether a character device.
type Key = (Option<u32>, Option<u32>, bool);

/// What the kernel keeps of a list: what holds for all devices, and exceptions from it.
#[derive(Default)]
struct State {
    allow: bool,
    /// In the order in which they came: so the kernel lists them.
    exceptions: Vec<(Key, u8)>,
}

impl State {
    fn apply(&mut self, rule: &DeviceRule) -> Result<(), String> {
        if rule.kind == DeviceKind::All {
            *self = State { allow: rule.allow, exceptions: Vec::new() };
            return Ok(());
        }
        let is_char = rule.kind == DeviceKind::Char;
        let key = (rule.major, rule.minor, is_char);
        if rule.allow != self.allow {
            match self.exceptions.iter_mut().find(|(known, _)| *known == key) {
                Some((_, access)) => *access |= rule.access,
                None => self.exceptions.push((key, rule.access)),
            }
            return Ok(());
        }
        // The kernel only takes away an exception as a whole. It ignores a rule that would make a hole in a wider one,
        // without a word: the device would stay open.
        for wider in [(None, rule.minor, is_char), (rule.major, None, is_char), (None, None, is_char)] {
            let there = self.exceptions.iter().find(|(known, _)| *known == wider);
            let overlap = there.map_or(0, |(_, access)| access & rule.access);
            if wider != key && overlap != 0 {
                let wider = exception(!self.allow, wider, overlap).v1_line();
                return Err(format!("no hole can be made in an earlier rule for '{wider}'"));
            }
        }
        for (_, left) in self.exceptions.iter_mut().filter(|(known, _)| *known == key) {
            *left &= !rule.access;
        }
        self.exceptions.retain(|(_, left)| *left != 0);
        Ok(())
    }

    fn rules(&self) -> Vec<DeviceRule> {
        let all = std::iter::once(DeviceRule::all(self.allow));
        all.chain(self.exceptions.iter().map(|(key, access)| exception(!self.allow, *key, *access))).collect()
    }
}

fn exception(allow: bool, (major, minor, is_char): Key, access: u8) -> DeviceRule {
    DeviceRule {
        allow,
        kind: if is_char { DeviceKind::Char } else { DeviceKind::Block },
        major,
        minor,
        access,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(json: serde_json::Value) -> String {
        let list: Vec<LinuxDeviceCgroup> = serde_json::from_value(json).unwrap();
        match rules(&list) {
            Ok(rules) => {
                let word = |r: &DeviceRule| if r.allow { "allow" } else { "deny" };
                rules.iter().map(|r| format!("{} {}\n", word(r), r.v1_line())).collect()
            }
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn a_list_has_the_usual_devices() {
        insta::assert_snapshot!(lines(serde_json::json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" },
            { "allow": true, "type": "b", "major": 8, "minor": -1, "access": "r" },
        ])), @r"
        deny a
        allow c 10:229 rw
        allow b 8:* r
        allow c *:* m
        allow b *:* m
        allow c 1:3 rwm
        allow c 1:8 rwm
        allow c 1:7 rwm
        allow c 5:0 rwm
        allow c 1:5 rwm
        allow c 1:9 rwm
        allow c 136:* rwm
        allow c 5:2 rwm
        allow c 10:200 rwm
        ");
        assert!(lines(serde_json::json!([])).starts_with("deny a\nallow c *:* m\n"));
    }

    #[test]
    fn the_last_word_on_everything_forgets_what_was_before() {
        let all = lines(serde_json::json!([
            { "allow": true, "type": "c", "major": 7, "minor": 7, "access": "r" },
            { "allow": true, "access": "m" },
        ]));
        assert_eq!(all, "allow a\n");
        let less = lines(serde_json::json!([
            { "allow": true, "access": "rwm" },
            { "allow": false, "type": "b", "access": "w" },
            { "allow": false, "type": "c", "major": 4, "minor": 1, "access": "rw" },
            { "allow": true, "type": "c", "major": 4, "minor": 1, "access": "w" },
        ]));
        assert_eq!(less, "allow a\ndeny b *:* w\ndeny c 4:1 r\n");
    }

    /// On cgroup v1 such a rule would do nothing.
    #[test]
    fn holes_are_refused() {
        let hole = |json| lines(json);
        assert_eq!(
            hole(serde_json::json!([
                { "allow": true, "type": "c", "major": 4, "access": "rw" },
                { "allow": false, "type": "c", "major": 4, "minor": 1, "access": "rwm" },
            ])),
            "config.json: linux.resources.devices[1]: no hole can be made in an earlier rule for 'c 4:* rw'"
        );
        assert_eq!(
            hole(serde_json::json!([
                { "allow": true, "access": "rwm" },
                { "allow": false, "type": "c", "major": 1, "access": "w" },
            ])),
            "config.json: linux.resources.devices: no hole can be made in an earlier rule for 'c 1:* w'"
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let said = |entry: serde_json::Value| lines(serde_json::json!([entry]));
        assert_eq!(
            said(serde_json::json!({ "allow": true, "access": "rx" })),
            "config.json: linux.resources.devices[0].access: 'x' is none of r, w, m"
        );
        assert!(said(serde_json::json!({ "allow": true })).ends_with("access: must have some of r, w, m"));
        assert!(
            said(serde_json::json!({ "allow": true, "type": "p", "access": "r" }))
                .ends_with("type: \"p\" is none of a, b, c")
        );
        assert!(
            said(serde_json::json!({ "allow": true, "type": "c", "minor": -2, "access": "r" }))
                .ends_with("minor: -2 is no device number")
        );
    }
}
