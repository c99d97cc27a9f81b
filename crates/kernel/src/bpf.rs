//! The device controller of cgroup v2: a program of eBPF that is asked at each open and mknod of a device
//! (bpf(2), `BPF_PROG_TYPE_CGROUP_DEVICE`). We write the few instructions ourselves.

use std::ffi::{c_long, c_uint};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::process::last_errno;

/// One line of `devices.allow` or `devices.deny`. Of several that match, the last one counts, for each kind of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    pub allow: bool,
    pub kind: DeviceKind,
    /// None for every one.
    pub major: Option<u32>,
    /// None for every one.
    pub minor: Option<u32>,
    /// [`READ`], [`WRITE`], [`MKNOD`]
    pub access: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// All devices; as in cgroup v1, numbers and access do not matter then.
    All,
    Char,
    Block,
}

pub const MKNOD: u8 = 1;
pub const READ: u8 = 2;
pub const WRITE: u8 = 4;

impl DeviceRule {
    /// Everything, allowed or not.
    pub const fn all(allow: bool) -> DeviceRule {
        let access = READ | WRITE | MKNOD;
        DeviceRule { allow, kind: DeviceKind::All, major: None, minor: None, access }
    }

    /// What cgroup v1's `devices.allow` or `devices.deny` wants to read: `c 1:3 rwm`.
    pub fn v1_line(&self) -> String {
        let kind = match self.kind {
            DeviceKind::All => return "a".to_string(),
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        };
        let number = |n: Option<u32>| n.map_or("*".to_string(), |n| n.to_string());
        let access = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')].into_iter();
        let access: String =
            access.filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter).collect();
        format!("{kind} {}:{} {access}", number(self.major), number(self.minor))
    }
}

/// Loads the rules' program and attaches it to the control group with this directory, in place of the one that an
/// earlier call attached, beside those of others: what any of them refuses is refused.
///
/// Errors: EPERM without CAP_SYS_ADMIN and CAP_BPF, EBADF or EINVAL if `dir` is not a cgroup of v2.
pub fn attach_device_filter(dir: impl AsFd, rules: &[DeviceRule]) -> Result<(), Errno> {
    let new = load(&program(rules))?;
    let old = attached(&dir)?;
    let attr = AttachAttr {
        target_fd: raw(&dir),
        attach_bpf_fd: raw(&new),
        attach_type: CGROUP_DEVICE,
        attach_flags: if old.is_some() { ALLOW_MULTI | REPLACE } else { ALLOW_MULTI },
        replace_bpf_fd: old.as_ref().map_or(0, raw),
    };
    bpf(PROG_ATTACH, attr).map(|_| ())
}

/// The verifier's word on a program: the descriptor of the loaded program.
pub fn load(program: &[u64]) -> Result<OwnedFd, Errno> {
    let attr = LoadAttr {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        prog_name: *NAME,
        expected_attach_type: CGROUP_DEVICE,
        ..LoadAttr::default()
    };
    bpf(PROG_LOAD, attr).map(owned)
}

/// The program: 64-bit instructions in the machine's byte order. It returns 1 to let a device pass.
///
/// The rules are asked from the last to the first. Each takes away those kinds of access that it decides: a rule that
/// refuses one of them ends it, and when all have been allowed, the device passes. What no rule decides is refused.
pub fn program(rules: &[DeviceRule]) -> Vec<u64> {
    let mut code = vec![
        insn(LOAD_WORD, WANTED, CONTEXT, 0, 0),
        insn(MOVE, KIND, WANTED, 0, 0),
        insn(AND, KIND, 0, 0, 0xffff),
        insn(SHIFT_RIGHT, WANTED, 0, 0, 16),
        insn(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        insn(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let kind = match rule.kind {
            DeviceKind::Block => 1,
            DeviceKind::Char => 2,
            DeviceKind::All => {
                // whatever stands before is overridden; and the verifier takes no code that is never reached
                code.extend(answer(rule.allow));
                return code;
            }
        };
        let access = i32::from(rule.access);
        let mut body = if rule.allow {
            vec![insn(AND, WANTED, 0, 0, !access), insn(JUMP_NOT_EQUAL, WANTED, 0, 2, 0)]
        } else {
            vec![
                insn(MOVE, RESULT, WANTED, 0, 0),
                insn(AND, RESULT, 0, 0, access),
                insn(JUMP_EQUAL, RESULT, 0, 2, 0),
            ]
        };
        body.extend(answer(rule.allow));
        let tests = [(KIND, Some(kind)), (MAJOR, rule.major), (MINOR, rule.minor)];
        let tests: Vec<(u8, u32)> = tests.into_iter().filter_map(|(reg, n)| Some((reg, n?))).collect();
        for (i, &(register, number)) in tests.iter().enumerate() {
            let over = (tests.len() - 1 - i + body.len()) as i16;
            code.push(insn(JUMP_NOT_EQUAL, register, 0, over, number as i32));
        }
        code.extend(body);
    }
    code.extend(answer(false));
    code
}

fn answer(allow: bool) -> [u64; 2] {
    [insn(MOVE_VALUE, RESULT, 0, 0, i32::from(allow)), insn(EXIT, 0, 0, 0, 0)]
}

/// `struct bpf_insn`, little-endian: operation, registers, jump, immediate value.
const fn insn(operation: u8, to: u8, from: u8, jump: i16, value: i32) -> u64 {
    operation as u64
        | ((to | from << 4) as u64) << 8
        | (jump as u16 as u64) << 16
        | (value as u32 as u64) << 32
}

// registers
const RESULT: u8 = 0;
const CONTEXT: u8 = 1; // struct bpf_cgroup_dev_ctx: kind of device and of access, major, minor
const WANTED: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// operations, on 32 bits
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbc;
const MOVE_VALUE: u8 = 0xb4;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_EQUAL: u8 = 0x16;
const JUMP_NOT_EQUAL: u8 = 0x56;
const EXIT: u8 = 0x95;

/// Our program on this cgroup, known by its name.
fn attached(dir: &impl AsFd) -> Result<Option<OwnedFd>, Errno> {
    let mut ids = [0u32; 64]; // as many as a cgroup takes
    let attr = QueryAttr {
        target_fd: raw(dir),
        attach_type: CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len() as u32,
        ..QueryAttr::default()
    };
    bpf(PROG_QUERY, attr)?;
    for id in ids.into_iter().take_while(|&id| id != 0) {
        let attr = IdAttr { id, ..IdAttr::default() };
        let fd = match bpf(PROG_GET_FD_BY_ID, attr) {
            Ok(fd) => owned(fd),
            Err(Errno::NOENT) => continue, // just gone
            Err(e) => return Err(e),
        };
        let mut info = ProgInfo::default();
        let size = size_of::<ProgInfo>() as u32;
        let attr = InfoAttr { bpf_fd: raw(&fd), info_len: size, info: &raw mut info as u64 };
        bpf(OBJ_GET_INFO_BY_FD, attr)?;
        if info.name == *NAME {
            return Ok(Some(fd));
        }
    }
    Ok(None)
}

const NAME: &[u8; 16] = b"corten_devices\0\0";

// commands, types and flags of linux/bpf.h
const PROG_LOAD: c_long = 5;
const PROG_ATTACH: c_long = 8;
const PROG_GET_FD_BY_ID: c_long = 13;
const OBJ_GET_INFO_BY_FD: c_long = 15;
const PROG_QUERY: c_long = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 1 << 1;
const REPLACE: u32 = 1 << 2;

/// The beginnings of `union bpf_attr` that the commands read; the kernel takes what follows for zero.
trait Attr {}

#[derive(Default)]
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

#[derive(Default)]
#[repr(C)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

#[derive(Default)]
#[repr(C)]
struct IdAttr {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

#[repr(C)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The beginning of `struct bpf_prog_info`.
#[derive(Default)]
#[repr(C)]
struct ProgInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_prog_len: u32,
    xlated_prog_len: u32,
    jited_prog_insns: u64,
    xlated_prog_insns: u64,
    load_time: u64,
    created_by_uid: u32,
    nr_map_ids: u32,
    map_ids: u64,
    name: [u8; 16],
}

impl Attr for LoadAttr {}
impl Attr for AttachAttr {}
impl Attr for QueryAttr {}
impl Attr for IdAttr {}
impl Attr for InfoAttr {}

fn raw(fd: &impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd() as u32
}

fn owned(fd: c_long) -> OwnedFd {
    // SAFETY: called on the result of commands that return a new descriptor, which nobody else knows.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

fn bpf<A: Attr>(command: c_long, mut attr: A) -> Result<c_long, Errno> {
    // SAFETY: each attr has the layout of its command's part of the union, and its pointers lead to memory that
    // outlives the call and is as long as the lengths beside them say; what the kernel writes to is ours alone.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attr, size_of::<A>() as c_uint) };
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel does; `access` and `kind` in its bits.
    fn run(program: &[u64], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0u32; 11];
        let mut at = 0usize;
        loop {
            let insn = program[at];
            at += 1;
            let (operation, value) = (insn as u8, (insn >> 32) as u32);
            let (to, from) = ((insn >> 8 & 15) as usize, (insn >> 12 & 15) as usize);
            let offset = (insn >> 16) as i16;
            match operation {
                LOAD_WORD => registers[to] = context[offset as usize / 4],
                MOVE => registers[to] = registers[from],
                MOVE_VALUE => registers[to] = value,
                AND => registers[to] &= value,
                SHIFT_RIGHT => registers[to] >>= value,
                JUMP_EQUAL if registers[to] == value => at += offset as usize,
                JUMP_NOT_EQUAL if registers[to] != value => at += offset as usize,
                JUMP_EQUAL | JUMP_NOT_EQUAL => {}
                EXIT => return registers[RESULT as usize] == 1,
                unknown => panic!("operation {unknown:#x}"),
            }
        }
    }

    const BLOCK: u32 = 1;
    const CHAR: u32 = 2;
    const RW: u32 = (READ | WRITE) as u32;

    fn char(allow: bool, major: u32, minor: Option<u32>, access: u8) -> DeviceRule {
        DeviceRule { allow, kind: DeviceKind::Char, major: Some(major), minor, access }
    }

    /// The list of Docker and runc: nothing but mknod and the usual few.
    fn usual() -> Vec<DeviceRule> {
        let any = |kind| DeviceRule { allow: true, kind, major: None, minor: None, access: MKNOD };
        let all = READ | WRITE | MKNOD;
        let mut rules = vec![DeviceRule::all(false), any(DeviceKind::Char), any(DeviceKind::Block)];
        for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)] {
            rules.push(char(true, major, Some(minor), all));
        }
        rules.push(char(true, 136, None, all));
        rules
    }

    #[test]
    fn the_usual_devices() {
        let program = program(&usual());
        assert!(run(&program, CHAR, RW, 1, 3));
        assert!(run(&program, CHAR, READ.into(), 1, 9));
        assert!(run(&program, CHAR, RW, 136, 4711));
        assert!(run(&program, BLOCK, MKNOD.into(), 8, 0));
        assert!(!run(&program, BLOCK, READ.into(), 8, 0));
        assert!(!run(&program, BLOCK, READ.into(), 1, 3));
        assert!(!run(&program, CHAR, READ.into(), 1, 1));
        assert!(!run(&program, CHAR, (MKNOD | READ).into(), 10, 200));
    }

    #[test]
    fn the_last_rule_counts_for_each_access() {
        let zero = |allow, access| char(allow, 1, Some(5), access);
        let two = program(&[DeviceRule::all(false), zero(true, READ), zero(true, WRITE)]);
        assert!(run(&two, CHAR, RW, 1, 5) && !run(&two, CHAR, MKNOD.into(), 1, 5));
        let less = program(&[DeviceRule::all(true), zero(false, WRITE)]);
        assert!(run(&less, CHAR, READ.into(), 1, 5) && !run(&less, CHAR, RW, 1, 5));
        assert!(run(&less, CHAR, RW, 1, 3));
        let back = program(&[DeviceRule::all(true), char(false, 1, None, WRITE), zero(true, WRITE)]);
        assert!(run(&back, CHAR, RW, 1, 5) && !run(&back, CHAR, RW, 1, 3));
        let reset = program(&[zero(false, WRITE), DeviceRule::all(true)]);
        assert!(run(&reset, CHAR, RW, 1, 5));
        assert!(!run(&program(&[]), CHAR, RW, 1, 3));
        let high = program(&[char(true, u32::MAX, Some(1 << 31), READ)]);
        assert!(run(&high, CHAR, READ.into(), u32::MAX, 1 << 31));
    }

    #[test]
    fn lines_for_v1() {
        let lines: Vec<String> = usual().iter().map(DeviceRule::v1_line).collect();
        assert_eq!(lines[..4], ["a", "c *:* m", "b *:* m", "c 1:3 rwm"]);
        assert_eq!(lines.last().unwrap(), "c 136:* rwm");
    }

    #[test]
    fn the_verifier_takes_it() {
        for rules in [vec![], vec![DeviceRule::all(true)], usual(), [usual(), usual()].concat()] {
            match load(&program(&rules)) {
                Err(Errno::PERM | Errno::NOSYS) => return, // not root
                result => drop(result.unwrap()),
            }
        }
        // and it is the verifier who speaks: register 3 was never written
        let bad = [insn(MOVE, RESULT, 3, 0, 0), insn(EXIT, 0, 0, 0, 0)];
        assert!(load(&bad).is_err());
    }
}
