//! From a filter to classic BPF: per architecture one binary search over intervals of call numbers.

use super::{
    Action, Arch, Compare, FLAG_NEW_LISTENER, FLAG_WAIT_KILLABLE_RECV, Filter, Insn, Op, Program, Rule,
    Syscall,
};

/// The kernel takes at most 4096 instructions (`BPF_MAXINSNS`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the seccomp filter has {0} instructions, the kernel takes 4096")]
pub struct TooLong(pub usize);

/// The program that gives the filter's answers.
///
/// Number and architecture are only compared with constants: so the kernel (5.11 and later) finds out by itself
/// which calls are always allowed, and does not run the program for them at all.
pub fn compile(filter: &Filter) -> Result<Program, TooLong> {
    let mut code = Code { insns: Vec::with_capacity(640), answers: Vec::with_capacity(8) };
    let mut dispatch = Target::Answer(filter.foreign);
    let mut searches = Vec::with_capacity(filter.arches.len());
    for &arch in filter.arches.iter().rev() {
        let intervals = intervals(filter, arch, &mut code);
        let search = code.search(&intervals);
        searches.push((arch, code.load(NUMBER, search)));
    }
    for (arch, search) in searches {
        dispatch = code.branch(JUMP_EQ, arch.audit(), search, dispatch);
    }
    code.load(ARCH, dispatch);
    code.insns.reverse();
    if code.insns.len() > 4096 {
        return Err(TooLong(code.insns.len()));
    }
    let notifies = filter.rules.iter().any(|rule| rule.action == Action::Notify);
    // The last one is of meaning, and is taken, only with a listener.
    let flags = match notifies {
        true => filter.flags | FLAG_NEW_LISTENER,
        false => filter.flags & !FLAG_WAIT_KILLABLE_RECV,
    };
    Ok(Program { insns: code.insns, flags })
}

/// From this number up to the next interval's start, go there.
type Interval = (u32, Target);

/// Everything that the filter says about one architecture; the code for conditions is emitted on the way.
fn intervals(filter: &Filter, arch: Arch, code: &mut Code) -> Vec<Interval> {
    let (entries, by_number) = entries(filter, arch);
    let last = by_number.iter().rev().map(|key| key.0).find(|&number| number < ARM_PRIVATE);
    let default = Target::Answer(filter.default);
    let beyond = filter.beyond.map_or(default, Target::Answer);

    let mut list = Vec::with_capacity(entries.len() + 2);
    push(&mut list, 0, default);
    for same in by_number.chunk_by(|a, b| a.0 == b.0) {
        let number = same[0].0;
        let same = same.iter().map(|key| &entries[key.1 as usize]);
        push(&mut list, number, alternatives(same, filter, arch, code));
        push(&mut list, number + 1, if last.is_some_and(|last| number >= last) { beyond } else { default });
    }
    if arch == Arch::X86_64 {
        // x32, the same calls under other numbers, is closed in the words of a kernel without it
        push(&mut list, X32_BIT, Target::Answer(Action::Errno(libc::ENOSYS as u16)));
    }
    list
}

fn push(list: &mut Vec<Interval>, start: u32, target: Target) {
    list.pop_if(|last| last.0 == start);
    if list.last().is_none_or(|last| last.1 != target) {
        list.push((start, target));
    }
}

/// A rule as one architecture sees it.
struct Entry<'a> {
    action: Action,
    when: &'a [Compare],
    /// Which of the calls behind a multiplexer.
    which: Option<Compare>,
}

/// The rules that concern `arch` in the order of the filter; and pairs of call number and index into them, sorted.
fn entries(filter: &Filter, arch: Arch) -> (Vec<Entry<'_>>, Vec<(u32, u32)>) {
    let mut entries = Vec::with_capacity(filter.rules.len() + 32);
    let mut by_number = Vec::with_capacity(filter.rules.len() + 32);
    for rule in &filter.rules {
        if let Some(number) = rule.call.number(arch) {
            by_number.push((number, entries.len() as u32));
            entries.push(Entry { action: rule.action, when: &rule.when, which: None });
        }
        if arch == Arch::X86
            && let Some((number, which)) = multiplexed(rule.call)
            && let Some(when) = behind_multiplexer(rule, filter)
        {
            by_number.push((number, entries.len() as u32));
            entries.push(Entry { action: rule.action, when, which: Some(which) });
        }
    }
    by_number.sort_unstable();
    (entries, by_number)
}

/// What a filter says of a call must hold for socketcall(2) and ipc(2), too. But a filter cannot see the call's own
/// arguments there, which are in memory. So an exception to the good stays away, and one to the bad takes all of the call:
/// none may do by the old door what it may not by the new one.
fn behind_multiplexer<'a>(rule: &'a Rule, filter: &Filter) -> Option<&'a [Compare]> {
    match rule.when.is_empty() || !rule.action.is_milder_than(filter.default) {
        true => Some(&[]),
        false => None,
    }
}

/// The answer to one number: the first rule without conditions has it alone, else the first whose conditions hold.
fn alternatives<'a>(
    same: impl DoubleEndedIterator<Item = &'a Entry<'a>> + Clone,
    filter: &Filter,
    arch: Arch,
    code: &mut Code,
) -> Target {
    let default = Target::Answer(filter.default);
    let telling = same.filter(|e| e.action != filter.default);
    if let Some(entry) = telling.clone().find(|e| e.when.is_empty() && e.which.is_none()) {
        return Target::Answer(entry.action);
    }
    telling.rev().fold(default, |otherwise, entry| {
        let conditions = entry.which.iter().chain(entry.when).rev();
        conditions.fold(Target::Answer(entry.action), |yes, c| code.condition(c, arch, yes, otherwise))
    })
}

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Answer(Action),
    /// The instruction at this index of `Code::insns`.
    At(usize),
}

/// Code that grows from its last instruction to its first. Jumps in BPF go forwards only, so here the target of
/// each jump is there before the jump, and distances are known at once.
struct Code {
    insns: Vec<Insn>,
    /// Where each answer was emitted last.
    answers: Vec<(Action, usize)>,
}

impl Code {
    /// Binary search; expects the call's number in the accumulator.
    fn search(&mut self, intervals: &[Interval]) -> Target {
        match *intervals {
            [(_, target)] => target,
            [(_, around), (number, within), (end, after)] if around == after && end == number + 1 => {
                self.branch(JUMP_EQ, number, within, around)
            }
            _ => {
                let (low, high) = intervals.split_at(intervals.len() / 2);
                let yes = self.search(high);
                let no = self.search(low);
                self.branch(JUMP_GE, high[0].0, yes, no)
            }
        }
    }

    /// Goes to `yes` if the condition holds.
    fn condition(&mut self, c: &Compare, arch: Arch, yes: Target, no: Target) -> Target {
        let (jump, yes, no) = match c.op {
            Op::Eq => (JUMP_EQ, yes, no),
            Op::Ne => (JUMP_EQ, no, yes),
            Op::Gt => (JUMP_GT, yes, no),
            Op::Le => (JUMP_GT, no, yes),
            Op::Ge => (JUMP_GE, yes, no),
            Op::Lt => (JUMP_GE, no, yes),
        };
        let offset = ARGUMENTS + 8 * u32::from(c.arg);
        let low = self.masked(offset, c.mask as u32, |code| match c.mask as u32 {
            0 => fixed(jump, c.value as u32, yes, no),
            _ => code.branch(jump, c.value as u32, yes, no),
        });
        if !arch.is_64_bit() {
            return low;
        }
        let (mask, value) = ((c.mask >> 32) as u32, (c.value >> 32) as u32);
        self.masked(offset + 4, mask, |code| match mask {
            0 if value == 0 => low,
            0 => no,
            _ => {
                let equal = code.branch(JUMP_EQ, value, low, no);
                if jump == JUMP_EQ { equal } else { code.branch(JUMP_GT, value, yes, equal) }
            }
        })
    }

    /// Loads half an argument and masks it, before what `test` emits; nothing if the mask leaves nothing of it.
    fn masked(&mut self, offset: u32, mask: u32, test: impl FnOnce(&mut Code) -> Target) -> Target {
        let target = test(self);
        match mask {
            0 => target,
            u32::MAX => self.load(offset, target),
            _ => {
                self.fall_to(target);
                self.insns.push(Insn { code: AND, jt: 0, jf: 0, k: mask });
                self.load(offset, Target::At(self.insns.len() - 1))
            }
        }
    }

    /// Loads a word of `struct seccomp_data` into the accumulator and goes on at `target`.
    fn load(&mut self, offset: u32, target: Target) -> Target {
        self.fall_to(target);
        self.insns.push(Insn { code: LOAD, jt: 0, jf: 0, k: offset });
        Target::At(self.insns.len() - 1)
    }

    fn branch(&mut self, jump: u16, k: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        // finding a place for `no` may put one more instruction between here and `yes`
        let yes = self.within(254, yes);
        let no = self.within(255, no);
        let next = self.insns.len() - 1;
        self.insns.push(Insn { code: jump, jt: (next - yes) as u8, jf: (next - no) as u8, k });
        Target::At(next + 1)
    }

    /// Makes sure that what is emitted next goes on at `target`.
    fn fall_to(&mut self, target: Target) {
        self.within(0, target);
    }

    /// The index of an instruction that leads to `target` and that the next instruction can reach by a jump over `reach`.
    fn within(&mut self, reach: usize, target: Target) -> usize {
        let here = self.insns.len();
        let near = |at: usize| here - 1 - at <= reach;
        let insn = match target {
            Target::At(at) if near(at) => return at,
            Target::At(at) => Insn { code: JUMP, jt: 0, jf: 0, k: (here - 1 - at) as u32 },
            Target::Answer(action) => {
                match self.answers.iter_mut().find(|(known, _)| *known == action) {
                    Some((_, at)) if near(*at) => return *at,
                    Some((_, at)) => *at = here,
                    None => self.answers.push((action, here)),
                }
                Insn { code: RETURN, jt: 0, jf: 0, k: action.code() }
            }
        };
        self.insns.push(insn);
        here
    }
}

/// The outcome of comparing zero, which is all that an empty mask leaves of an argument.
fn fixed(jump: u16, value: u32, yes: Target, no: Target) -> Target {
    match jump {
        JUMP_EQ | JUMP_GE if value == 0 => yes,
        _ => no,
    }
}

/// The multiplexer of 32-bit x86 through which a call can be made as well, and how to tell it from the others there.
fn multiplexed(call: Syscall) -> Option<(u32, Compare)> {
    let found = BEHIND.binary_search_by_key(&call, |&(call, ..)| call).ok()?;
    let (_, number, which) = BEHIND[found];
    // ipc(2) ignores the upper 16 bits, a version
    let mask = if number == IPC { 0xffff } else { 0xffff_ffff };
    Some((number, Compare::masked(0, mask, which)))
}

const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;

/// The first argument that stands for each call (linux/net.h, linux/ipc.h), in the order of names.
static BEHIND: [(Syscall, u32, u64); 32] = [
    (known("accept"), SOCKETCALL, 5),
    (known("accept4"), SOCKETCALL, 18),
    (known("bind"), SOCKETCALL, 2),
    (known("connect"), SOCKETCALL, 3),
    (known("getpeername"), SOCKETCALL, 7),
    (known("getsockname"), SOCKETCALL, 6),
    (known("getsockopt"), SOCKETCALL, 15),
    (known("listen"), SOCKETCALL, 4),
    (known("msgctl"), IPC, 14),
    (known("msgget"), IPC, 13),
    (known("msgrcv"), IPC, 12),
    (known("msgsnd"), IPC, 11),
    (known("recv"), SOCKETCALL, 10),
    (known("recvfrom"), SOCKETCALL, 12),
    (known("recvmmsg"), SOCKETCALL, 19),
    (known("recvmsg"), SOCKETCALL, 17),
    (known("semctl"), IPC, 3),
    (known("semget"), IPC, 2),
    (known("semop"), IPC, 1),
    (known("semtimedop"), IPC, 4),
    (known("send"), SOCKETCALL, 9),
    (known("sendmmsg"), SOCKETCALL, 20),
    (known("sendmsg"), SOCKETCALL, 16),
    (known("sendto"), SOCKETCALL, 11),
    (known("setsockopt"), SOCKETCALL, 14),
    (known("shmat"), IPC, 21),
    (known("shmctl"), IPC, 24),
    (known("shmdt"), IPC, 22),
    (known("shmget"), IPC, 23),
    (known("shutdown"), SOCKETCALL, 13),
    (known("socket"), SOCKETCALL, 1),
    (known("socketpair"), SOCKETCALL, 8),
];

const fn known(name: &str) -> Syscall {
    Syscall::named(name).expect("a system call of the table")
}

const X32_BIT: u32 = 0x4000_0000;
/// From here on arm has a few private calls, which are no measure of how new a kernel is.
const ARM_PRIVATE: u32 = 0xf_0000;

// offsets in struct seccomp_data, little-endian
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

pub(super) const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
pub(super) const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
pub(super) const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
pub(super) const JUMP_EQ: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
pub(super) const JUMP_GT: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
pub(super) const JUMP_GE: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
pub(super) const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Call;
    use super::*;

    fn filter(default: Action, rules: &[(&str, Action, &[Compare])]) -> Filter {
        let rule = |&(name, action, when): &(&str, Action, &[Compare])| Rule {
            call: Syscall::named(name).unwrap(),
            action,
            when: when.to_vec(),
        };
        Filter {
            default,
            beyond: None,
            foreign: Action::KillProcess,
            arches: vec![Arch::X86_64, Arch::X86],
            rules: rules.iter().map(rule).collect(),
            flags: 0,
        }
    }

    fn answer(filter: &Filter, arch: Arch, nr: u32, args: [u64; 6]) -> Action {
        compile(filter).unwrap().answer(&Call { nr, arch: arch.audit(), ip: 0, args })
    }

    const NO: Action = Action::Errno(1);

    #[test]
    fn every_comparison_is_64_bits_wide() {
        let edges = [0, 1, 0xffff_fffe, 0xffff_ffff, 1 << 32, (1 << 32) + 1, u64::MAX - (1 << 32), u64::MAX];
        let masks = [u64::MAX, 0xffff_ffff, 0xffff_ffff_0000_0000, 0, 0xf0f0_f0f0_f0f0_f0f0];
        for value in edges {
            for mask in masks {
                for op in [Op::Ne, Op::Lt, Op::Le, Op::Eq, Op::Ge, Op::Gt] {
                    let compare = Compare { arg: 2, mask, op, value };
                    let f = filter(NO, &[("read", Action::Allow, &[compare])]);
                    for arg in edges {
                        let holds = match op {
                            Op::Ne => arg & mask != value,
                            Op::Lt => arg & mask < value,
                            Op::Le => arg & mask <= value,
                            Op::Eq => arg & mask == value,
                            Op::Ge => arg & mask >= value,
                            Op::Gt => arg & mask > value,
                        };
                        let expected = if holds { Action::Allow } else { NO };
                        let found = answer(&f, Arch::X86_64, 0, [7, 7, arg, 7, 7, 7]);
                        assert_eq!(found, expected, "{arg:#x} by {compare:x?}");
                    }
                }
            }
        }
    }

    #[test]
    fn conditions_are_and_rules_are_or() {
        let is = |arg, value| Compare::new(arg, Op::Eq, value);
        let f = filter(
            NO,
            &[
                ("read", Action::Allow, &[is(0, 1), is(1, 2)]),
                ("read", Action::Log, &[is(0, 3)]),
                ("write", Action::Log, &[is(0, 3)]),
                ("write", Action::Allow, &[]),
                ("write", Action::Trap(0), &[]),
            ],
        );
        assert_eq!(answer(&f, Arch::X86_64, 0, [1, 2, 0, 0, 0, 0]), Action::Allow);
        assert_eq!(answer(&f, Arch::X86_64, 0, [1, 3, 0, 0, 0, 0]), NO);
        assert_eq!(answer(&f, Arch::X86_64, 0, [3, 2, 0, 0, 0, 0]), Action::Log);
        assert_eq!(answer(&f, Arch::X86_64, 1, [3, 2, 0, 0, 0, 0]), Action::Allow);
    }

    #[test]
    fn the_old_door_is_no_wider_than_the_new_one() {
        let family = Compare::int(0, Op::Eq, 38);
        let deny = filter(Action::Allow, &[("socket", NO, &[family]), ("shmat", NO, &[])]);
        assert_eq!(answer(&deny, Arch::X86, 359, [38, 0, 0, 0, 0, 0]), NO);
        assert_eq!(answer(&deny, Arch::X86, 359, [2, 0, 0, 0, 0, 0]), Action::Allow);
        assert_eq!(answer(&deny, Arch::X86, 102, [1, 0, 0, 0, 0, 0]), NO);
        assert_eq!(answer(&deny, Arch::X86, 102, [2, 0, 0, 0, 0, 0]), Action::Allow);
        assert_eq!(answer(&deny, Arch::X86, 117, [0x1_0015, 0, 0, 0, 0, 0]), NO);
        let allow = filter(NO, &[("socket", Action::Allow, &[family]), ("bind", Action::Allow, &[])]);
        assert_eq!(answer(&allow, Arch::X86, 102, [1, 0, 0, 0, 0, 0]), NO);
        assert_eq!(answer(&allow, Arch::X86, 102, [2, 0, 0, 0, 0, 0]), Action::Allow);
    }

    #[test]
    fn numbers_that_nobody_named() {
        let mut f = filter(NO, &[("read", Action::Allow, &[]), ("clone3", NO, &[])]);
        f.beyond = Some(Action::Errno(38));
        assert_eq!(answer(&f, Arch::X86_64, 1, [0; 6]), NO);
        assert_eq!(answer(&f, Arch::X86_64, 435, [0; 6]), NO);
        assert_eq!(answer(&f, Arch::X86_64, 436, [0; 6]), Action::Errno(38));
        assert_eq!(answer(&f, Arch::X86_64, 0x4000_0000, [0; 6]), Action::Errno(38));
        assert_eq!(answer(&f, Arch::Arm, 3, [0; 6]), Action::KillProcess);
        let open = filter(Action::Allow, &[]);
        assert_eq!(answer(&open, Arch::X86_64, 100_000, [0; 6]), Action::Allow);
        assert_eq!(answer(&open, Arch::X86_64, 0x4000_0000, [0; 6]), Action::Errno(38));
    }

    /// A rule for each call with an own errno: no two intervals merge, and jumps get long.
    #[test]
    fn jumps_longer_than_255() {
        let mut f = filter(Action::Allow, &[]);
        let many = Syscall::all().zip(100..).map(|(call, errno)| Rule {
            call,
            action: Action::Errno(errno),
            when: if errno % 3 == 0 { vec![Compare::new(0, Op::Gt, u64::MAX - 1)] } else { vec![] },
        });
        f.rules = many.collect();
        f.rules.retain(|rule| multiplexed(rule.call).is_none());
        for arch in [Arch::Arm, Arch::Aarch64, Arch::X86_64, Arch::X86] {
            f.arches = vec![Arch::X86, Arch::X86_64, arch];
            f.arches.dedup();
            let program = compile(&f).unwrap();
            assert!(program.insns.len() > 2000);
            for rule in &f.rules {
                let Some(nr) = rule.call.number(arch) else { continue };
                let args = [u64::MAX; 6];
                // two names of one number: the first rules
                let first = f.rules.iter().find(|r| r.call.number(arch) == Some(nr)).unwrap();
                let found = program.answer(&Call { nr, arch: arch.audit(), ip: 0, args });
                if first.call == rule.call && (arch.is_64_bit() || rule.when.is_empty()) {
                    assert_eq!(found, rule.action, "{:?} on {arch:?}", rule.call);
                }
            }
        }
    }

    /// What `Filter` says in words, said in Rust.
    fn meaning(filter: &Filter, arch: Arch, nr: u32, args: [u64; 6]) -> Action {
        let half = if arch.is_64_bit() { u64::MAX } else { 0xffff_ffff };
        let holds = |c: &Compare| {
            let (arg, value) = (args[c.arg as usize] & c.mask & half, c.value & half);
            match c.op {
                Op::Ne => arg != value,
                Op::Lt => arg < value,
                Op::Le => arg <= value,
                Op::Eq => arg == value,
                Op::Ge => arg >= value,
                Op::Gt => arg > value,
            }
        };
        let named = || filter.rules.iter().filter(|r| r.call.number(arch) == Some(nr));
        let same = || named().filter(|r| r.action != filter.default);
        let last = filter.rules.iter().filter_map(|r| r.call.number(arch)).filter(|&n| n < ARM_PRIVATE).max();
        let other = match filter.beyond {
            Some(beyond) if last.is_some_and(|last| nr > last) && named().next().is_none() => beyond,
            _ => filter.default,
        };
        let free = same().find(|r| r.when.is_empty());
        let first = free.or_else(|| same().find(|r| r.when.iter().all(holds)));
        first.map_or(other, |rule| rule.action)
    }

    fn any_filter() -> impl Strategy<Value = Filter> {
        use Action::*;
        let action = prop::sample::select(vec![Allow, Log, Errno(1), Errno(38), KillThread, Trace(1)]);
        let word = prop::sample::select(vec![0, 1, 38, 0xffff_ffff, 1 << 32, u64::MAX, u64::MAX - 1]);
        let op = prop::sample::select(vec![Op::Ne, Op::Lt, Op::Le, Op::Eq, Op::Ge, Op::Gt]);
        let mask = prop::sample::select(vec![u64::MAX, u64::MAX, 0xffff_ffff, 0xff, 0, 0xff << 36]);
        let compare =
            (0..6u8, mask, op, word).prop_map(|(arg, mask, op, value)| Compare { arg, mask, op, value });
        let calls: Vec<Syscall> = Syscall::all().filter(|&call| multiplexed(call).is_none()).collect();
        let call =
            prop_oneof![prop::sample::select(calls.clone()), prop::sample::select(calls[..9].to_vec())];
        let rule = (call, action.clone(), prop::collection::vec(compare, 0..4))
            .prop_map(|(call, action, when)| Rule { call, action, when });
        let rules = prop::collection::vec(rule, 0..150);
        (action.clone(), prop::option::of(action), rules).prop_map(|(default, beyond, rules)| Filter {
            default,
            beyond,
            foreign: KillProcess,
            arches: vec![Arch::Aarch64, Arch::X86, Arch::Arm],
            rules,
            flags: 0,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn code_and_meaning_agree(
            filter in any_filter(),
            args in prop::collection::vec(prop::sample::select(vec![0, 1, 37, 0xffff_ffff, 1 << 32, u64::MAX]), 6)
        ) {
            let program = compile(&filter).unwrap();
            let args: [u64; 6] = args.try_into().unwrap();
            for &arch in &filter.arches {
                for nr in (0..500).chain([ARM_PRIVATE + 2, ARM_PRIVATE + 5, u32::MAX]) {
                    let found = program.answer(&Call { nr, arch: arch.audit(), ip: 0, args });
                    prop_assert_eq!(found, meaning(&filter, arch, nr, args), "{} on {:?}", nr, arch);
                }
            }
        }
    }

    #[test]
    fn too_many_rules_are_an_error() {
        let rules = (0..3000).map(|value| Rule {
            call: Syscall::named("ioctl").unwrap(),
            action: Action::Allow,
            when: vec![Compare::new(1, Op::Eq, value)],
        });
        let f = Filter { rules: rules.collect(), ..filter(NO, &[]) };
        let error = compile(&f).unwrap_err();
        assert!(error.0 > 4096, "{error}");
    }
}
