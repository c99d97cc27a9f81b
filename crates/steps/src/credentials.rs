//! What the program may do: user, groups, capabilities, limits, system calls.

use crate::{Failure, Outcome, Text};
use kernel::caps::{self, CapSet};
use kernel::seccomp::Program;
use rustix::fs::Mode;
use serde::{Deserialize, Serialize};

/// The rights of a program, applied in the one order that works. Shared by a container's first process and by `exec`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub umask: Option<u32>,
    /// The five sets. See capabilities(7).
    pub bounding: CapSet,
    pub effective: CapSet,
    pub permitted: CapSet,
    pub inheritable: CapSet,
    pub ambient: CapSet,
    pub no_new_privileges: bool,
    pub limits: Vec<Limit>,
    #[serde(skip)]
    pub seccomp: Option<Program>,
}

/// One resource limit. See setrlimit(2); `None` is unlimited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The number of `RLIMIT_…`.
    pub resource: u32,
    pub name: Text,
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

impl Credentials {
    /// The limits, which need the rights that [`Credentials::apply`] gives away.
    pub fn apply_limits(&self) -> Outcome {
        for limit in &self.limits {
            kernel::process::set_limit(limit.resource, limit.soft, limit.hard)
                .map_err(|e| Failure::new(e, "setrlimit"))?;
        }
        Ok(())
    }

    /// Becomes the user with these rights. Allocates nothing.
    pub fn apply(&self) -> Outcome {
        if let Some(umask) = self.umask {
            rustix::process::umask(Mode::from_raw_mode(umask));
        }
        caps::drop_bounding(self.bounding).map_err(|e| Failure::new(e, "drop bounding capabilities"))?;
        // Without no_new_privs the filter needs CAP_SYS_ADMIN, which is gone further down.
        if !self.no_new_privileges {
            self.filter()?;
        }
        kernel::process::set_groups(&self.groups).map_err(|e| Failure::new(e, "setgroups"))?;
        caps::set_keepcaps(true).map_err(|e| Failure::new(e, "keep capabilities"))?;
        kernel::process::set_ids(self.uid, self.gid).map_err(|e| Failure::new(e, "setuid"))?;
        caps::set_keepcaps(false).map_err(|e| Failure::new(e, "keep capabilities"))?;
        caps::set(self.effective, self.permitted, self.inheritable).map_err(|e| Failure::new(e, "capset"))?;
        caps::set_ambient(self.ambient).map_err(|e| Failure::new(e, "ambient capabilities"))?;
        if self.no_new_privileges {
            caps::no_new_privs().map_err(|e| Failure::new(e, "no_new_privs"))?;
            self.filter()?;
        }
        Ok(())
    }

    fn filter(&self) -> Outcome {
        match &self.seccomp {
            Some(program) => kernel::seccomp::install(program).map_err(|e| Failure::new(e, "seccomp")),
            None => Ok(()),
        }
    }

    /// The options of setpriv(1) that do the same, but for the filter and the user.
    pub fn setpriv(&self) -> String {
        let list = |set: CapSet| {
            set.iter()
                .map(|c| format!("+{}", c.name().trim_start_matches("CAP_").to_lowercase()))
                .collect::<Vec<_>>()
        };
        let comma =
            |set: CapSet| std::iter::once("-all".to_owned()).chain(list(set)).collect::<Vec<_>>().join(",");
        let groups: Vec<String> = self.groups.iter().map(u32::to_string).collect();
        let mut line = format!("setpriv --regid={}", self.gid);
        match groups.is_empty() {
            true => line.push_str(" --clear-groups"),
            false => line.push_str(&format!(" --groups={}", groups.join(","))),
        }
        line.push_str(&format!(
            " --inh-caps={} --bounding-set={}",
            comma(self.inheritable),
            comma(self.bounding)
        ));
        if self.no_new_privileges {
            line.push_str(" --no-new-privs");
        }
        line
    }

    /// `prlimit` options for the limits.
    pub fn prlimit(&self) -> String {
        let word = |v: Option<u64>| v.map_or("unlimited".to_owned(), |v| v.to_string());
        let text = |l: &Limit| {
            let name = l.name.as_str().trim_start_matches("RLIMIT_").to_lowercase();
            format!(" --{name}={}:{}", word(l.soft), word(l.hard))
        };
        let all: String = self.limits.iter().map(text).collect();
        if all.is_empty() { all } else { format!("prlimit{all} ") }
    }
}
