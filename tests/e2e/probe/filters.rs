//! Two seccomp filters call by call: where they answer differently, and to which arguments.

use kernel::seccomp::{Action, Arch, Call, Program, Syscall};
use std::collections::BTreeMap;

/// How two filters answer to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// Ours lets it pass, theirs does not.
    Opened,
    /// Theirs lets it pass, ours does not.
    Closed,
    /// Both refuse it, by another error: a program asks whether there is such a call, or whether it may.
    Error,
}

/// Arguments at which a filter may change its mind, for each of six places: constants that profiles and system calls know, single bits,
/// and all of these with something in the upper half.
fn values() -> Vec<u64> {
    let known = [
        0,
        1,
        2,
        8,
        16,
        17,
        36,
        37,
        38,
        39,
        40,
        41,
        44,
        45,
        0x2_0000,
        0x2_0008,
        0xffff_ffff,
        0x7e02_0000,
        0x003d_0f00,
    ];
    let low: Vec<u64> = known.into_iter().chain((0..32).map(|bit| 1 << bit)).collect();
    low.iter().flat_map(|low| [*low, low | 1 << 32, low | 0xffff_ffff << 32]).collect()
}

/// The calls in which they differ, by name (with `x86:` in front for those of 32 bits), with the first arguments that show it.
pub fn differences(ours: &Program, theirs: &Program) -> BTreeMap<(String, Difference), [u64; 6]> {
    let mut found = BTreeMap::new();
    let passes = |action: Action| action == Action::Allow || action == Action::Log;
    const X32: u32 = 0x4000_0000;
    for (arch, prefix, bit) in [(Arch::X86_64, "", 0), (Arch::X86, "x86:", 0), (Arch::X86_64, "x32:", X32)] {
        for call in Syscall::all() {
            let Some(nr) = call.number(arch).map(|nr| nr | bit) else { continue };
            for value in values() {
                for place in 0..6 {
                    let mut args = [0; 6];
                    args[place] = if arch.is_64_bit() { value } else { value & 0xffff_ffff };
                    let asked = Call { nr, arch: arch.audit(), ip: 0, args };
                    let (a, b) = (ours.answer(&asked), theirs.answer(&asked));
                    let difference = match (passes(a), passes(b)) {
                        _ if a == b => continue,
                        (true, false) => Difference::Opened,
                        (false, true) => Difference::Closed,
                        _ => Difference::Error,
                    };
                    found.entry((format!("{prefix}{}", call.name()), difference)).or_insert(args);
                }
            }
        }
    }
    found
}

/// The filter that a process has, as `filter.c` wrote it down.
pub fn read(path: &std::path::Path) -> Program {
    let bytes = std::fs::read(path).expect("a filter was written");
    assert!(!bytes.is_empty(), "{}: no filter", path.display());
    Program::from_bytes(&bytes, 0).expect("instructions that the kernel has taken")
}

/// Where ours differs from that of Docker 20.10: its profile is of 2020, ours follows Docker's of today. docs/seccomp.md tells of each.
const EXPLAINED: &[(Difference, &str)] = &[
    // newer than that profile
    (
        Difference::Opened,
        "cachestat fchmodat2 futex_requeue futex_wait futex_wake getxattrat listmount listxattrat map_shadow_stack",
    ),
    (Difference::Opened, "mseal removexattrat setxattrat statmount uretprobe"),
    // opened since
    (
        Difference::Opened,
        "name_to_handle_at pkey_alloc pkey_free pkey_mprotect process_vm_readv process_vm_writev",
    ),
    // closed since; of socket(2) two families
    (Difference::Closed, "io_uring_enter io_uring_register io_uring_setup socket"),
];

/// The differences for which there is no explanation. By which error a call is refused is no matter of what a container may.
pub fn unexplained(ours: &Program, theirs: &Program) -> Vec<String> {
    let explained = |name: &str, difference: Difference| {
        let name = name.trim_start_matches("x86:");
        let here =
            |(kind, names): &(Difference, &str)| *kind == difference && names.split(' ').any(|n| n == name);
        // Docker opens a third interface, whose calls go by numbers of their own; here it is closed.
        let x32 = name.starts_with("x32:") && difference == Difference::Closed;
        x32 || difference == Difference::Error || EXPLAINED.iter().any(here)
    };
    let all = differences(ours, theirs);
    let rest = all.iter().filter(|((name, difference), _)| !explained(name, *difference));
    rest.map(|((name, difference), args)| format!("{name}: {difference:?} at {args:x?}")).collect()
}
