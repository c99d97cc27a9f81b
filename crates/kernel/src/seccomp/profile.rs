//! A user's own profile in Docker's JSON format, which contains the OCI runtime specification's `linux.seccomp`.
//!
//! Names of calls that our table does not have are passed over, as libseccomp and runc do: profiles name the calls of
//! all machines and kernels. Whatever else is not understood is an error, for a filter must not be weaker than it was meant.

use serde::Deserialize;

use super::{
    Action, Arch, Compare, FLAG_LOG, FLAG_SPEC_ALLOW, FLAG_WAIT_KILLABLE_RECV, Filter, Op, Rule, Syscall,
};
use crate::caps::{Cap, CapSet};

/// What is wrong with a profile, and where: `syscalls[3].action: unknown action 'SCMP_ACT_ALOW'`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    #[error("not a seccomp profile: {0}")]
    Json(String),
    #[error("{field}: {what}")]
    Field { field: String, what: String },
}

/// Larger files are refused unread; Docker's own has 15 KiB.
pub const MAX_BYTES: usize = 1 << 20;

/// The document. Its names are not looked at yet.
pub fn read(json: &[u8]) -> Result<Profile, ProfileError> {
    if json.len() > MAX_BYTES {
        return Err(ProfileError::Json(format!("larger than {MAX_BYTES} bytes")));
    }
    serde_json::from_slice(json).map_err(|e| ProfileError::Json(e.to_string()))
}

/// The filter that the profile gives a container with these (bounding) capabilities on a kernel of this version.
pub fn parse(json: &[u8], caps: CapSet, kernel: (u32, u32)) -> Result<Filter, ProfileError> {
    read(json)?.filter(Arch::NATIVE, caps, kernel)
}

/// The document as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    #[serde(default)]
    pub default_action: String,
    pub default_errno_ret: Option<u32>,
    /// libseccomp's names, e.g. `SCMP_ARCH_X86_64`. The native one is always meant, too.
    pub architectures: Option<Vec<String>>,
    /// Docker's way to say this for all machines at once.
    pub arch_map: Option<Vec<ArchMap>>,
    /// `SECCOMP_FILTER_FLAG_*`
    pub flags: Option<Vec<String>>,
    /// The socket of the supervisor who answers `SCMP_ACT_NOTIFY`.
    pub listener_path: Option<String>,
    /// What that supervisor is told beside.
    pub listener_metadata: Option<String>,
    pub syscalls: Option<Vec<Calls>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchMap {
    pub architecture: String,
    pub sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Calls {
    pub names: Option<Vec<String>>,
    /// The old form of `names`.
    pub name: Option<String>,
    pub action: String,
    pub errno_ret: Option<u32>,
    pub args: Option<Vec<Argument>>,
    pub includes: Option<Conditions>,
    pub excludes: Option<Conditions>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Argument {
    pub index: u32,
    pub value: u64,
    #[serde(default)]
    pub value_two: u64,
    pub op: String,
}

/// Under which a group of calls counts (`includes`: all of them) or does not (`excludes`: any of them).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conditions {
    pub caps: Option<Vec<String>>,
    /// Go's names: `amd64`, `arm64`.
    pub arches: Option<Vec<String>>,
    pub min_kernel: Option<String>,
}

impl Profile {
    pub fn filter(&self, native: Arch, caps: CapSet, kernel: (u32, u32)) -> Result<Filter, ProfileError> {
        let default = action("defaultAction", &self.default_action, self.default_errno_ret)?;
        if default == Action::Notify {
            return Err(wrong("defaultAction", "SCMP_ACT_NOTIFY cannot be the default"));
        }
        let mut rules = Vec::new();
        for (i, calls) in self.syscalls.iter().flatten().enumerate() {
            let field = format!("syscalls[{i}]");
            if calls.apply(&field, native, caps, kernel)? {
                calls.rules(&field, &mut rules)?;
            }
        }
        // the same exceptions as runc's
        let permissive = matches!(default, Action::Allow | Action::Log | Action::Trace(_));
        Ok(Filter {
            default,
            beyond: (!permissive).then_some(Action::Errno(libc::ENOSYS as u16)),
            foreign: Action::KillProcess,
            arches: self.arches(native)?,
            rules,
            flags: self.flags()?,
        })
    }

    fn arches(&self, native: Arch) -> Result<Vec<Arch>, ProfileError> {
        let names = self.architectures.as_deref().unwrap_or(&[]);
        let map = self.arch_map.as_deref().unwrap_or(&[]);
        if !names.is_empty() && !map.is_empty() {
            return Err(wrong("archMap", "given beside 'architectures', use either"));
        }
        let mut arches = vec![native];
        let mut add = |field: String, name: &str| match arch(name) {
            Some(Some(arch)) if !arches.contains(&arch) => {
                arches.push(arch);
                Ok(())
            }
            Some(_) => Ok(()),
            None => Err(wrong(field, format!("unknown architecture '{name}'"))),
        };
        for (i, name) in names.iter().enumerate() {
            add(format!("architectures[{i}]"), name)?;
        }
        for (i, entry) in map.iter().enumerate() {
            if arch(&entry.architecture) == Some(Some(native)) {
                for (j, name) in entry.sub_architectures.iter().flatten().enumerate() {
                    add(format!("archMap[{i}].subArchitectures[{j}]"), name)?;
                }
            }
        }
        Ok(arches)
    }

    fn flags(&self) -> Result<u32, ProfileError> {
        let Some(names) = &self.flags else { return Ok(FLAG_SPEC_ALLOW) };
        let mut flags = 0;
        for (i, name) in names.iter().enumerate() {
            flags |= match name.as_str() {
                "SECCOMP_FILTER_FLAG_TSYNC" => 0, // the process has one thread
                "SECCOMP_FILTER_FLAG_LOG" => FLAG_LOG,
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => FLAG_SPEC_ALLOW,
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => FLAG_WAIT_KILLABLE_RECV,
                _ => return Err(wrong(format!("flags[{i}]"), format!("unknown flag '{name}'"))),
            };
        }
        Ok(flags)
    }
}

impl Calls {
    fn apply(
        &self,
        field: &str,
        native: Arch,
        caps: CapSet,
        kernel: (u32, u32),
    ) -> Result<bool, ProfileError> {
        let go = match native {
            Arch::X86_64 => "amd64",
            Arch::X86 => "x86",
            Arch::Aarch64 => "arm64",
            Arch::Arm => "arm",
        };
        // a capability that does not exist is one that the container does not have
        let has = |name: &String| Cap::parse(name).is_ok_and(|cap| caps.has(cap));
        let reached = |which: &str, version: &str| {
            let numbers = version.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            let numbers: (u32, u32) = numbers.ok_or_else(|| {
                wrong(format!("{field}.{which}.minKernel"), format!("'{version}' is not a version like 4.8"))
            })?;
            Ok(kernel >= numbers)
        };
        if let Some(not) = &self.excludes {
            let arch = not.arches.iter().flatten().any(|arch| arch == go);
            let version = not.min_kernel.as_deref().map_or(Ok(false), |v| reached("excludes", v))?;
            if arch || version || not.caps.iter().flatten().any(has) {
                return Ok(false);
            }
        }
        if let Some(only) = &self.includes {
            let arches = only.arches.as_deref().unwrap_or(&[]);
            let arch = arches.is_empty() || arches.iter().any(|arch| arch == go);
            let version = only.min_kernel.as_deref().map_or(Ok(true), |v| reached("includes", v))?;
            return Ok(arch && version && only.caps.iter().flatten().all(has));
        }
        Ok(true)
    }

    fn rules(&self, field: &str, rules: &mut Vec<Rule>) -> Result<(), ProfileError> {
        let names = self.names.as_deref().unwrap_or(&[]);
        if self.name.as_ref().is_some_and(|name| !name.is_empty()) && !names.is_empty() {
            return Err(wrong(format!("{field}.name"), "given beside 'names', use either"));
        }
        let action = action(&format!("{field}.action"), &self.action, self.errno_ret)?;
        let mut conditions = Vec::new();
        let mut seen = [false; 6];
        let mut again = false;
        for (i, arg) in self.args.iter().flatten().enumerate() {
            let condition = arg.compare(&format!("{field}.args[{i}]"))?;
            again |= std::mem::replace(&mut seen[condition.arg as usize], true);
            conditions.push(condition);
        }
        for name in names.iter().chain(&self.name) {
            let Some(call) = Syscall::named(name) else { continue };
            let mut rule = |when| rules.push(Rule { call, action, when });
            // conditions on one argument are alternatives, by the tradition of Docker and runc
            match again {
                true => conditions.iter().for_each(|&condition| rule(vec![condition])),
                false => rule(conditions.clone()),
            }
        }
        Ok(())
    }
}

impl Argument {
    fn compare(&self, field: &str) -> Result<Compare, ProfileError> {
        if self.index > 5 {
            let what = format!("argument {} does not exist, the last is 5", self.index);
            return Err(wrong(format!("{field}.index"), what));
        }
        let arg = self.index as u8;
        let op = match self.op.as_str() {
            "SCMP_CMP_NE" => Op::Ne,
            "SCMP_CMP_LT" => Op::Lt,
            "SCMP_CMP_LE" => Op::Le,
            "SCMP_CMP_EQ" => Op::Eq,
            "SCMP_CMP_GE" => Op::Ge,
            "SCMP_CMP_GT" => Op::Gt,
            "SCMP_CMP_MASKED_EQ" => return Ok(Compare::masked(arg, self.value, self.value_two)),
            other => return Err(wrong(format!("{field}.op"), format!("unknown comparison '{other}'"))),
        };
        Ok(Compare::new(arg, op, self.value))
    }
}

fn action(field: &str, name: &str, number: Option<u32>) -> Result<Action, ProfileError> {
    let number = || match number.unwrap_or(libc::EPERM as u32) {
        errno @ 0..=4095 => Ok(errno as u16),
        errno => Err(wrong(field, format!("{errno} is not an errno, the greatest is 4095"))),
    };
    Ok(match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap(0),
        "SCMP_ACT_ERRNO" => Action::Errno(number()?),
        "SCMP_ACT_NOTIFY" => Action::Notify,
        "SCMP_ACT_TRACE" => Action::Trace(number()?),
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ALLOW" => Action::Allow,
        _ => return Err(wrong(field, format!("unknown action '{name}'"))),
    })
}

/// libseccomp's names, without what they begin with, of machines on which we do not run, and of x32, which stays closed.
const OTHERS: [&str; 19] = [
    "X32",
    "MIPS",
    "MIPS64",
    "MIPS64N32",
    "MIPSEL",
    "MIPSEL64",
    "MIPSEL64N32",
    "PPC",
    "PPC64",
    "PPC64LE",
    "S390",
    "S390X",
    "PARISC",
    "PARISC64",
    "RISCV64",
    "LOONGARCH64",
    "M68K",
    "SH",
    "SHEB",
];

const HERE: [(&str, Arch); 4] =
    [("X86_64", Arch::X86_64), ("X86", Arch::X86), ("AARCH64", Arch::Aarch64), ("ARM", Arch::Arm)];

/// All names of architectures that are known.
pub fn architectures() -> Vec<String> {
    let here = HERE.iter().map(|(name, _)| *name);
    let mut all: Vec<String> = here.chain(OTHERS).map(|name| format!("SCMP_ARCH_{name}")).collect();
    all.sort_unstable();
    all
}

/// Ours for libseccomp's name. None in the middle: a machine on which we do not run, and x32, which stays closed.
fn arch(name: &str) -> Option<Option<Arch>> {
    let name = name.strip_prefix("SCMP_ARCH_")?;
    match HERE.iter().find(|(known, _)| *known == name) {
        Some((_, arch)) => Some(Some(*arch)),
        None => OTHERS.contains(&name).then_some(None),
    }
}

fn wrong(field: impl Into<String>, what: impl Into<String>) -> ProfileError {
    ProfileError::Field { field: field.into(), what: what.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Call, compile};
    use super::*;

    fn filter(json: &str, caps: CapSet) -> Result<Filter, String> {
        let profile: Profile = serde_json::from_str(json).map_err(|e| e.to_string())?;
        profile.filter(Arch::X86_64, caps, (6, 1)).map_err(|e| e.to_string())
    }

    fn answer(filter: &Filter, name: &str, args: [u64; 6]) -> Action {
        let nr = Syscall::named(name).unwrap().number(Arch::X86_64).unwrap();
        compile(filter).unwrap().answer(&Call { nr, arch: Arch::X86_64.audit(), ip: 0, args })
    }

    const SAMPLE: &str = r#"{
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 13,
        "archMap": [
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}
        ],
        "syscalls": [
            {"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "", "includes": {}},
            {"name": "write", "action": "SCMP_ACT_ALLOW", "args": []},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.2"}},
            {"names": ["kcmp"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
            {"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 1, "value": 5, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 7, "op": "SCMP_CMP_EQ"}]},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}
        ]
    }"#;

    #[test]
    fn dockers_format() {
        let f = filter(SAMPLE, CapSet::EMPTY).unwrap();
        assert_eq!(f.arches, [Arch::X86_64, Arch::X86]);
        assert_eq!(
            (f.default, f.beyond, f.flags),
            (Action::Errno(13), Some(Action::Errno(38)), FLAG_SPEC_ALLOW)
        );
        for (name, args, expected) in [
            ("read", [0; 6], Action::Allow),
            ("write", [0; 6], Action::Allow),
            ("mount", [0; 6], Action::Errno(13)),
            ("clone3", [0; 6], Action::Errno(38)),
            ("ptrace", [0; 6], Action::Errno(13)),
            ("kcmp", [0; 6], Action::Errno(13)),
            ("ioctl", [0, 5, 0, 0, 0, 0], Action::Allow),
            ("ioctl", [0, 7, 0, 0, 0, 0], Action::Allow),
            ("ioctl", [0, 6, 0, 0, 0, 0], Action::Errno(13)),
            ("clone", [0x1000_0000, 0, 0, 0, 0, 0], Action::Errno(13)),
            ("clone", [17, 0, 0, 0, 0, 0], Action::Allow),
        ] {
            assert_eq!(answer(&f, name, args), expected, "{name} {args:?}");
        }
        let f = filter(SAMPLE, CapSet::from(Cap::SysAdmin)).unwrap();
        assert_eq!(answer(&f, "mount", [0; 6]), Action::Allow);
        // not named by any rule now, and newer than those that are
        assert_eq!(answer(&f, "clone3", [0; 6]), Action::Errno(38));
        assert_eq!(answer(&f, "ptrace", [0; 6]), Action::Errno(13));
    }

    #[test]
    fn errors_name_the_field() {
        let group = |g: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{}}, {g}]}}"#);
        let read = |rest: &str| group(&format!(r#"{{"names": ["read"], {rest}}}"#)).replace("{}, ", "");
        for (json, expected) in [
            (r#"{"defaultAction": "ALLOW"}"#.to_string(), "defaultAction: unknown action 'ALLOW'"),
            (group("{}"), "syscalls[0].action: unknown action ''"),
            (read(r#""action": "SCMP_ACT_DENY""#), "syscalls[0].action: unknown action 'SCMP_ACT_DENY'"),
            (
                read(r#""action": "SCMP_ACT_ERRNO", "errnoRet": 5000"#),
                "syscalls[0].action: 5000 is not an errno, the greatest is 4095",
            ),
            (
                read(r#""action": "SCMP_ACT_LOG", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]"#),
                "syscalls[0].args[0].index: argument 6 does not exist, the last is 5",
            ),
            (
                read(r#""action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 0, "op": "=="}]"#),
                "syscalls[0].args[0].op: unknown comparison '=='",
            ),
            (
                read(r#""name": "write", "action": "SCMP_ACT_LOG""#),
                "syscalls[0].name: given beside 'names', use either",
            ),
            (
                read(r#""action": "SCMP_ACT_LOG", "includes": {"minKernel": "new"}"#),
                "syscalls[0].includes.minKernel: 'new' is not a version like 4.8",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_VAX"]}"#.to_string(),
                "architectures[0]: unknown architecture 'SCMP_ARCH_VAX'",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_LOG", "flags": ["FAST"]}"#.to_string(),
                "flags[0]: unknown flag 'FAST'",
            ),
            ("{}".to_string(), "defaultAction: unknown action ''"),
        ] {
            assert_eq!(filter(&json, CapSet::EMPTY).unwrap_err(), expected, "{json}");
        }
        let error = parse(b"{", CapSet::EMPTY, (6, 1)).unwrap_err().to_string();
        assert!(error.starts_with("not a seccomp profile: EOF"), "{error}");
        assert!(parse(&vec![b' '; MAX_BYTES + 1], CapSet::EMPTY, (6, 1)).is_err());
    }

    #[test]
    fn what_is_listened_to_needs_a_listener() {
        let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#;
        let program = compile(&filter(json, CapSet::EMPTY).unwrap()).unwrap();
        assert_eq!(program.flags & super::super::FLAG_NEW_LISTENER, super::super::FLAG_NEW_LISTENER);
        assert_eq!(super::super::install(&program), Err(rustix::io::Errno::INVAL));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// A damaged profile is an error or another profile, and never a panic.
        #[test]
        fn damage(at in 0..SAMPLE.len(), length in 0usize..30, new in "[\\[\\]{}\",:0-9a-zA-Z_.-]{0,12}") {
            let end = (at + length).min(SAMPLE.len());
            let json = format!("{}{new}{}", &SAMPLE[..at], &SAMPLE[end..]);
            if let Ok(filter) = parse(json.as_bytes(), CapSet::ALL, (6, 1)) {
                compile(&filter).unwrap();
            }
        }
    }
}
