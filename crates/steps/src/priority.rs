//! When the container's processes run, and when their input and output does. See sched(7).

use crate::{Failure, Live, Outcome, Picture, Shell, Step};
use kernel::schedule;
use serde::{Deserialize, Serialize};

/// A scheduling policy for the container's first process, which its descendants inherit. Given by the host's side: more
/// than the usual takes rights over the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    pub scheduler: schedule::Scheduler,
}

impl Schedule {
    pub fn perform(&self, live: &Live) -> Outcome {
        schedule::set_scheduler(live.pid.get(), &self.scheduler).map_err(|e| Failure::new(e, "sched_setattr"))
    }

    pub fn shell(&self) -> Shell {
        const NAMES: [&str; 7] = ["other", "fifo", "rr", "batch", "iso", "idle", "deadline"];
        const RESET_ON_FORK: u64 = 1;
        let s = &self.scheduler;
        let mut line = format!("chrt --{}", NAMES.get(s.policy as usize).unwrap_or(&"other"));
        if s.policy == 6 {
            line.push_str(&format!(
                " --sched-runtime {} --sched-deadline {} --sched-period {}",
                s.runtime, s.deadline, s.period
            ));
        }
        if s.flags & RESET_ON_FORK != 0 {
            line.push_str(" --reset-on-fork");
        }
        let mut lines = vec![format!("{line} --pid {} $PID", s.priority)];
        if s.nice != 0 {
            lines.push(format!("renice -n {} -p $PID", s.nice));
        }
        let shell = Shell::lines(lines, "its scheduling policy", "sched(7)");
        if s.flags & !RESET_ON_FORK == 0 { shell } else { shell.near("chrt(1) has no option for all flags") }
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// A priority for the input and output of the container's first process, which its descendants inherit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IoPriority {
    /// 1 real time, 2 best effort, 3 idle.
    pub class: u8,
    /// 0, the highest, to 7.
    pub level: u8,
}

impl IoPriority {
    pub fn perform(&self, live: &Live) -> Outcome {
        schedule::set_io_priority(live.pid.get(), self.class, self.level)
            .map_err(|e| Failure::new(e, "ioprio_set"))
    }

    pub fn shell(&self) -> Shell {
        let line = format!("ionice -c {} -n {} -p $PID", self.class, self.level);
        Shell::exact(line, "its priority for input and output", "ioprio_set(2)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::schedule::Scheduler;

    #[test]
    fn commands() {
        let said = |scheduler: Scheduler| Schedule { scheduler }.shell().lines.join("; ");
        let none = Scheduler::default();
        assert_eq!(
            said(Scheduler { policy: 3, nice: 5, ..none }),
            "chrt --batch --pid 0 $PID; renice -n 5 -p $PID"
        );
        assert_eq!(
            said(Scheduler { policy: 1, priority: 9, flags: 1, ..none }),
            "chrt --fifo --reset-on-fork --pid 9 $PID"
        );
        assert_eq!(
            said(Scheduler { policy: 6, runtime: 1, deadline: 2, period: 3, ..none }),
            "chrt --deadline --sched-runtime 1 --sched-deadline 2 --sched-period 3 --pid 0 $PID"
        );
        assert_eq!(IoPriority { class: 3, level: 4 }.shell().brief(), "ionice -c 3 -n 4 -p $PID");
    }
}
