//! Resource limits. See getrlimit(2).

use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use serde::{Deserialize, Serialize};

/// One resource limit; `None` is unlimited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The number of `RLIMIT_…`.
    pub resource: u32,
    pub name: Text,
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

/// Gives the container's first process the hard limits that it may need: only the host's side may raise one, the container
/// has no rights over the machine's. The process takes those it is to have for itself, when nothing else is left to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RaiseLimits {
    pub limits: Vec<Limit>,
}

impl RaiseLimits {
    pub fn perform(&self, live: &Live) -> Outcome {
        for limit in &self.limits {
            let failed = |e| Failure::new(e, "setrlimit");
            let (soft, hard) = kernel::process::limit(live.pid.get(), limit.resource).map_err(failed)?;
            let value = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
            if value(limit.hard) > value(hard) {
                kernel::process::set_limit(live.pid.get(), limit.resource, soft, limit.hard)
                    .map_err(failed)?;
            }
        }
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let line = format!("prlimit --pid $PID{}", options(&self.limits));
        Shell::exact(line, "limits that only the host may raise", "prlimit(2)")
            .near("the engine raises the hard ones here, and sets all of them at the end")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// Options of prlimit(1), each with a space before.
pub(crate) fn options(limits: &[Limit]) -> String {
    let word = |v: Option<u64>| v.map_or("unlimited".to_owned(), |v| v.to_string());
    let text = |l: &Limit| {
        let name = l.name.as_str().trim_start_matches("RLIMIT_").to_lowercase();
        format!(" --{name}={}:{}", word(l.soft), word(l.hard))
    };
    limits.iter().map(text).collect()
}
