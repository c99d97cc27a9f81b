//! When and where a process runs, and how the kernel treats its memory: scheduler, priorities, processors, NUMA nodes.

use crate::process::done;
use rustix::io::Errno;

/// The argument of sched_setattr(2), `struct sched_attr` with the fields of Linux 5.3; a kernel before takes it, too,
/// while the last two are zero.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// A scheduling policy with its parameters. See sched(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Scheduler {
    /// The number of `SCHED_…`.
    pub policy: u32,
    /// `SCHED_FLAG_…`
    pub flags: u64,
    /// −20 to 19, for `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// 1 to 99, for `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// Gives the process (0: the caller) a scheduling policy. EPERM without CAP_SYS_NICE in the first user namespace for
/// what is more than it has. See sched_setattr(2).
pub fn set_scheduler(pid: i32, scheduler: &Scheduler) -> Result<(), Errno> {
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: scheduler.policy,
        flags: scheduler.flags,
        nice: scheduler.nice,
        priority: scheduler.priority,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
        util_min: 0,
        util_max: 0,
    };
    // SAFETY: `attr` is a sched_attr of the size that it says.
    done(unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attr, 0) })
}

/// Gives the process (0: the caller) a class (1 real time, 2 best effort, 3 idle) and a level (0 to 7) for its input and
/// output. See ioprio_set(2).
pub fn set_io_priority(pid: i32, class: u8, level: u8) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    let value = i32::from(class) << 13 | i32::from(level);
    // SAFETY: numbers only.
    done(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, value) })
}

/// A set of processors or memory nodes: bit n of word n/64.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct BitSet(pub Vec<u64>);

impl BitSet {
    /// More are an error in [`BitSet::parse`]: as many as a kernel can be built for, and some.
    pub const MAX: usize = 1 << 16;

    /// All of them, also those that the machine may get one day.
    pub fn all() -> BitSet {
        BitSet(vec![u64::MAX; 8192 / 64])
    }

    /// `0-3,7`: the format of cpuset(7), spaces around the parts allowed. None if it is not that.
    pub fn parse(list: &str) -> Option<BitSet> {
        let number = |text: &str| match text.parse::<usize>() {
            Ok(n) if n < BitSet::MAX && text.bytes().all(|b| b.is_ascii_digit()) => Some(n),
            _ => None,
        };
        let mut words = Vec::new();
        for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            words.resize(words.len().max(last / 64 + 1), 0);
            (first..=last).for_each(|n| words[n / 64] |= 1 << (n % 64));
        }
        Some(BitSet(words))
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn members(&self) -> impl Iterator<Item = usize> {
        (0..self.0.len() * 64).filter(|n| self.0[n / 64] & 1 << (n % 64) != 0)
    }
}

/// As [`BitSet::parse`] takes it.
impl std::fmt::Display for BitSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut members = self.members().peekable();
        let mut separator = "";
        while let Some(first) = members.next() {
            let mut last = first;
            while let Some(next) = members.next_if_eq(&(last + 1)) {
                last = next;
            }
            match first == last {
                true => write!(f, "{separator}{first}")?,
                false => write!(f, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

/// As a mask, as taskset(1) has it; `#` puts `0x` before it.
impl std::fmt::LowerHex for BitSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if f.alternate() {
            f.write_str("0x")?;
        }
        let mut words = self.0.iter().rev().skip_while(|word| **word == 0);
        write!(f, "{:x}", words.next().unwrap_or(&0))?;
        words.try_for_each(|word| write!(f, "{word:016x}"))
    }
}

/// The processors on which the process (0: the caller) may run, less those that its group is kept from. EINVAL when
/// none is left. See sched_setaffinity(2).
pub fn set_affinity(pid: i32, cpus: &BitSet) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many bytes as the words have.
    done(unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid, size_of_val(&*cpus.0), cpus.0.as_ptr()) })
}

/// The execution domain of this process and those that it will start. See personality(2).
pub fn set_personality(persona: u32) -> Result<(), Errno> {
    // SAFETY: a number only; the answer is the old one.
    done(unsafe { libc::syscall(libc::SYS_personality, u64::from(persona)) })
}

/// From which NUMA nodes this process gets memory: `MPOL_…` with `MPOL_F_…`. See set_mempolicy(2).
pub fn set_memory_policy(mode: u32, nodes: &BitSet) -> Result<(), Errno> {
    let (mask, bits) = match nodes.0.is_empty() {
        true => (std::ptr::null(), 0),
        // The kernel takes one bit less than it is told.
        false => (nodes.0.as_ptr(), nodes.0.len() * 64 + 1),
    };
    // SAFETY: the mask has as many bits as are said, but for the one that is not read.
    done(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_go_both_ways() {
        for (list, words) in [
            ("", vec![]),
            ("0", vec![1]),
            ("0-3,7", vec![0x8f]),
            ("63,64", vec![1 << 63, 1]),
            ("2-2", vec![4]),
        ] {
            let set = BitSet::parse(list).unwrap();
            assert_eq!(set.0, words, "{list}");
            assert_eq!(BitSet::parse(&set.to_string()).unwrap(), set);
        }
        assert_eq!(BitSet::parse(" 1, 3 ,,").unwrap().to_string(), "1,3");
        assert_eq!(BitSet::parse("0-3,7").unwrap().to_string(), "0-3,7");
        assert_eq!(format!("{:#x}", BitSet::parse("0-3,7,64").unwrap()), "0x1000000000000008f");
        for list in ["x", "-1", "3-1", "1-", "+1", "65536", "99999999999999999999", "1 2"] {
            assert_eq!(BitSet::parse(list), None, "{list}");
        }
    }

    /// In a thread of its own, which takes all of it with it.
    #[test]
    fn a_thread_changes_how_it_runs() {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/thread-self/{file}")).unwrap();
        std::thread::spawn(move || {
            set_scheduler(0, &Scheduler { policy: 3, nice: 5, ..Scheduler::default() }).unwrap();
            set_io_priority(0, 2, 7).unwrap();
            set_affinity(0, &BitSet::parse("0").unwrap()).unwrap();
            set_memory_policy(0, &BitSet::default()).unwrap();
            let stat = read("stat");
            let fields: Vec<&str> = stat[stat.rfind(')').unwrap()..].split(' ').collect();
            assert_eq!((fields[17], fields[39]), ("5", "3"), "{stat}");
            assert!(read("status").contains("Cpus_allowed_list:\t0\n"));
            set_affinity(0, &BitSet::all()).unwrap();
            set_personality(0x0008).unwrap();
            assert_eq!(read("personality"), "00000008\n");
            assert_eq!(set_affinity(0, &BitSet(vec![0])), Err(Errno::INVAL));
            assert_eq!(set_scheduler(0, &Scheduler { policy: 9, ..Scheduler::default() }), Err(Errno::INVAL));
        })
        .join()
        .unwrap();
    }
}
