//! Our compiler against libseccomp's: the same filter must give the same answers. Needs a C compiler and
//! libseccomp-dev; says so and passes where they are missing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use kernel::caps::CapSet;
use kernel::seccomp::{
    Action, Arch, Call, Compare, Filter, Op, Program, Rule, Syscall, compile, docker, profile,
};

/// The oracle's executable, built once.
fn oracle() -> Option<&'static PathBuf> {
    static ORACLE: OnceLock<Option<PathBuf>> = OnceLock::new();
    ORACLE
        .get_or_init(|| {
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libseccomp_oracle.c");
            let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
                .join(format!("libseccomp_oracle-{}", std::process::id()));
            let built = Command::new("cc").arg("-o").arg(&target).args([source, "-lseccomp"]).output();
            match built {
                Ok(output) if output.status.success() => Some(target),
                Ok(output) => {
                    eprintln!("no libseccomp to compare with: {}", String::from_utf8_lossy(&output.stderr));
                    None
                }
                Err(error) => {
                    eprintln!("no C compiler: {error}");
                    None
                }
            }
        })
        .as_ref()
}

/// What libseccomp makes of the filter, and the names that it does not know.
fn ask(filter: &Filter) -> Option<(Program, BTreeSet<String>)> {
    let mut words = format!("default {}\n", filter.default.code());
    for arch in filter.arches.iter().filter(|&&arch| arch != Arch::NATIVE) {
        writeln!(words, "arch {}", if *arch == Arch::X86 { "x86" } else { "arm" }).unwrap();
    }
    for rule in filter.rules.iter().filter(|rule| rule.action != filter.default) {
        write!(words, "rule {} {}", rule.action.code(), rule.call.name()).unwrap();
        for Compare { arg, mask, op, value } in &rule.when {
            match (op, *mask == u64::MAX) {
                (Op::Eq, false) => write!(words, " {arg} masked {mask} {value}").unwrap(),
                (_, true) => write!(words, " {arg} {} {value} 0", format!("{op:?}").to_lowercase()).unwrap(),
                _ => panic!("libseccomp has no masked {op:?}"),
            }
        }
        words.push('\n');
    }
    let mut child = Command::new(oracle()?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let unknown = String::from_utf8(output.stderr).unwrap().lines().map(str::to_string).collect();
    Some((Program::from_bytes(&output.stdout, 0).unwrap(), unknown))
}

/// Some random numbers (xorshift64): a failure happens again in the next run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A value at which a comparison could go wrong.
    fn edge(&mut self, near: &[u64]) -> u64 {
        match self.below(4) {
            0 => self.roll(),
            1 => self.roll() & 0xffff_ffff,
            _ => self.pick(near).wrapping_add(self.pick(&[0, 0, 1, u64::MAX, 1 << 32, u64::MAX << 32])),
        }
    }
}

/// Compares the two answers to every call number, with many arguments where the filter looks at them.
fn compare(filter: &Filter, dice: &mut Dice) {
    let Some((theirs, unknown)) = ask(filter) else { return };
    let mut filter = filter.clone();
    filter.rules.retain(|rule| !unknown.contains(rule.call.name()));
    let ours = compile(&filter).unwrap();
    let mut values = vec![0, 1, u64::MAX, 0xffff_ffff];
    values.extend(filter.rules.iter().flat_map(|rule| &rule.when).map(|c| c.value));
    for &arch in &filter.arches {
        let asked = |nr| filter.rules.iter().any(|r| r.call.number(arch) == Some(nr) && !r.when.is_empty());
        for nr in (0..600).chain([0xf0001, 0xf0002, 0xf0005, 0xf0006, 0x3fff_ffff]) {
            for _ in 0..if asked(nr) { 120 } else { 2 } {
                let args = [0; 6].map(|_: u64| dice.edge(&values));
                // the registers of 32-bit programs
                let args = if arch.is_64_bit() { args } else { args.map(|a| a & 0xffff_ffff) };
                let call = Call { nr, arch: arch.audit(), ip: 0, args };
                let concerned = filter.rules.iter().filter(|r| r.call.number(arch) == Some(nr));
                let rules: Vec<_> = concerned.map(|r| (&r.when, r.action)).collect();
                assert_eq!(ours.answer(&call), theirs.answer(&call), "{call:x?} under {rules:x?}");
            }
        }
    }
    let foreign = Call { nr: 0, arch: 0xdead_beef, ip: 0, args: [0; 6] };
    assert_eq!(ours.answer(&foreign), theirs.answer(&foreign));
    for nr in [0x4000_0000, 0x4000_0001, 0x4000_0209, 0x7fff_ffff, 0xffff_fffe] {
        // theirs kills, ours is polite: both closed
        let call = Call { nr, arch: Arch::X86_64.audit(), ip: 0, args: [0; 6] };
        assert_ne!(ours.answer(&call), Action::Allow);
        assert_ne!(theirs.answer(&call), Action::Allow);
    }
}

/// A filter as libseccomp would have it.
fn plain(default: Action, rules: Vec<Rule>) -> Filter {
    let arches = Arch::NATIVE.family().to_vec();
    Filter { default, beyond: None, foreign: Action::KillThread, arches, rules, flags: 0 }
}

#[test]
fn the_default_profile() {
    let mut dice = Dice(7);
    for caps in [CapSet::EMPTY, CapSet::DOCKER_DEFAULT, CapSet::ALL] {
        compare(&comparable(docker::default_filter(caps, (6, 18))), &mut dice);
    }
}

/// A profile that others wrote: containers-common's, where podman is installed, or any named by `SECCOMP_PROFILE`.
#[test]
fn a_profile_of_others() {
    let path = std::env::var("SECCOMP_PROFILE").unwrap_or("/usr/share/containers/seccomp.json".into());
    let Ok(json) = std::fs::read(&path) else {
        eprintln!("no {path} to compare with");
        return;
    };
    let mut dice = Dice(11);
    for caps in [CapSet::EMPTY, CapSet::DOCKER_DEFAULT, CapSet::ALL] {
        let filter = profile::parse(&json, caps, (6, 18)).unwrap();
        println!(
            "{path}: {} rules, {} instructions",
            filter.rules.len(),
            compile(&filter).unwrap().insns.len()
        );
        compare(&comparable(filter), &mut dice);
    }
}

/// Docker's own file, where `DOCKER_PROFILE` names it, and what our table makes of it: verdict by verdict, with no capability, all, Docker's,
/// and each one alone. libseccomp compiles theirs.
#[test]
#[ignore = "it needs Docker's file: DOCKER_PROFILE=/its/default.json"]
fn the_default_is_dockers() {
    let json =
        std::fs::read(std::env::var("DOCKER_PROFILE").expect("DOCKER_PROFILE")).expect("it can be read");
    let mut dice = Dice(13);
    let some = [CapSet::EMPTY, CapSet::DOCKER_DEFAULT, CapSet::ALL];
    for caps in some.into_iter().chain((0..41).map(|bit| CapSet(1 << bit))) {
        let theirs = comparable(profile::parse(&json, caps, (6, 18)).unwrap());
        let (theirs, _) = ask(&theirs).expect("libseccomp");
        let ours = comparable(docker::default_filter(caps, (6, 18)));
        let (by_it, unknown) = ask(&ours).expect("libseccomp");
        println!("{caps:?}: {} calls that it does not know", unknown.len());
        let mut values = vec![0, 1, u64::MAX, 0xffff_ffff];
        values.extend(ours.rules.iter().flat_map(|rule| &rule.when).map(|c| c.value));
        for &arch in &ours.arches {
            let asked = |nr| ours.rules.iter().any(|r| r.call.number(arch) == Some(nr) && !r.when.is_empty());
            for nr in 0..600 {
                for _ in 0..if asked(nr) { 200 } else { 2 } {
                    let args = [0; 6].map(|_: u64| dice.edge(&values));
                    let args = if arch.is_64_bit() { args } else { args.map(|a| a & 0xffff_ffff) };
                    let call = Call { nr, arch: arch.audit(), ip: 0, args };
                    assert_eq!(by_it.answer(&call), theirs.answer(&call), "{call:x?} with {caps:?}");
                }
            }
        }
    }
}

/// The filter without what libseccomp cannot say.
fn comparable(mut filter: Filter) -> Filter {
    filter.beyond = None;
    filter.foreign = Action::KillThread;
    // there is no "the lower half"
    for compare in filter.rules.iter_mut().flat_map(|rule| &mut rule.when) {
        if compare.mask == 0xffff_ffff {
            compare.mask = u64::MAX;
        }
    }
    filter
}

#[test]
fn random_filters() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    // where libseccomp widens a rule to all of socketcall(2), we do not
    let multiplexed = |call: &Syscall| {
        let name = call.name();
        let starts = ["sem", "msg", "shm", "recv", "send", "get", "set", "accept", "ipc"];
        starts.iter().any(|s| name.starts_with(s)) || SOCKETS.contains(&name)
    };
    let calls: Vec<Syscall> = Syscall::all().filter(|call| !multiplexed(call)).collect();
    for round in 0..40 {
        let default = dice.pick(&[Action::Errno(1), Action::Allow, Action::KillProcess, Action::Errno(38)]);
        let action = dice.pick(&[Action::Log, Action::Trap(0), Action::Trace(9), Action::Errno(13)]);
        let mut rules = Vec::new();
        for _ in 0..dice.pick(&[1, 5, 60, 400]) {
            let call = dice.pick(&calls);
            let mut when = Vec::new();
            // libseccomp 2.5 does not always come back from a rule that holds in part to the next one of the call:
            // so either one rule with several conditions or several rules with one
            let several = !rules.iter().any(|rule: &Rule| rule.call == call);
            if dice.below(3) == 0 && !rules.iter().any(|rule| rule.call == call && rule.when.len() > 1) {
                for arg in 0..6 {
                    if dice.below(3) == 0 && (several || when.is_empty()) {
                        let op = dice.pick(&[Op::Ne, Op::Lt, Op::Le, Op::Eq, Op::Ge, Op::Gt]);
                        let value = dice.edge(&[0, 1, 0xffff_ffff, 1 << 32, u64::MAX]);
                        when.push(match dice.below(4) {
                            0 => {
                                let mask = dice.edge(&[0xffff_ffff, 0xffff_ffff << 32, 0xff, 0x7e02_0000]);
                                Compare::masked(arg, mask, value & mask)
                            }
                            _ => Compare::new(arg, op, value),
                        });
                    }
                }
            }
            rules.push(Rule { call, action, when });
        }
        eprintln!("round {round}: {} rules", rules.len());
        compare(&plain(default, rules), &mut dice);
    }
}

const SOCKETS: [&str; 8] =
    ["socket", "bind", "connect", "listen", "socketpair", "shutdown", "socketcall", "getpeername"];

/// Without conditions, the multiplexers of 32-bit x86 open and close like libseccomp's.
#[test]
fn multiplexed_calls() {
    let mut dice = Dice(3);
    for default in [Action::Errno(1), Action::Allow] {
        let names = SOCKETS.iter().take(6).chain(&["semop", "shmat", "msgget", "recv", "accept4"]);
        let rules =
            names.map(|name| Rule { call: Syscall::named(name).unwrap(), action: Action::Log, when: vec![] });
        compare(&plain(default, rules.collect()), &mut dice);
    }
}
