//! Seccomp filters: what they say (`Filter`), their compilation to classic BPF, and their installation
//! (seccomp(2)). Docker's default profile and the parser of a user's own are in the folder beside this file.

mod compile;
pub mod docker;
mod install;
mod interpret;
pub mod notify;
pub mod profile;
mod syscalls;

pub use compile::{TooLong, compile};
pub use docker::{default_filter, default_program};
pub use install::{flag_supported, install, install_listener};
pub use interpret::Call;
pub use syscalls::Syscall;

/// What to answer to which system call. Plain data; [`compile`] makes it a program.
///
/// The meaning is libseccomp's as runc uses it: rules for one call are alternatives, a rule without conditions beats those with,
/// and rules that repeat the default action are void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The answer where no rule matches.
    pub default: Action,
    /// The answer to calls numbered above the last that any rule names: ENOSYS lets programs written for newer
    /// kernels fall back to what they used before, EPERM makes them fail. None: like `default`.
    pub beyond: Option<Action>,
    /// The answer to calls of an architecture that is not listed.
    pub foreign: Action,
    /// Tested in this order: the native one first.
    pub arches: Vec<Arch>,
    pub rules: Vec<Rule>,
    /// `SECCOMP_FILTER_FLAG_*` for the installation.
    pub flags: u32,
}

/// One call and the conditions, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub call: Syscall,
    pub action: Action,
    pub when: Vec<Compare>,
}

/// `(argument & mask) op value`, unsigned, 64 bits wide; on 32-bit architectures only the low halves count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compare {
    /// 0 to 5.
    pub arg: u8,
    pub mask: u64,
    pub op: Op,
    pub value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
}

/// The answer of the filter (`SECCOMP_RET_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    KillProcess,
    KillThread,
    /// SIGSYS with the given si_errno.
    Trap(u16),
    /// The call fails with this errno, at most 4095.
    Errno(u16),
    /// A supervisor behind the listener's descriptor answers.
    Notify,
    /// A tracer decides; the number is its message.
    Trace(u16),
    Log,
    Allow,
}

/// A calling convention by which the kernel takes system calls. The discriminant is a column of the table of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Arch {
    X86_64,
    X86,
    Aarch64,
    Arm,
}

/// One instruction of classic BPF, laid out as the kernel's `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// A compiled filter, ready for [`install`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    pub insns: Vec<Insn>,
    /// `SECCOMP_FILTER_FLAG_*`; with [`FLAG_NEW_LISTENER`] it goes to [`install_listener`].
    pub flags: u32,
}

pub const FLAG_LOG: u32 = 1 << 1;
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

impl Action {
    /// The value that the program returns.
    pub const fn code(self) -> u32 {
        match self {
            Action::KillProcess => 0x8000_0000,
            Action::KillThread => 0,
            Action::Trap(data) => 0x0003_0000 | data as u32,
            Action::Errno(errno) => 0x0005_0000 | errno as u32,
            Action::Notify => 0x7fc0_0000,
            Action::Trace(data) => 0x7ff0_0000 | data as u32,
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
        }
    }

    /// The reverse of [`Action::code`]; what the kernel does not know kills the process.
    pub const fn from_code(code: u32) -> Action {
        let data = code as u16;
        match code & 0xffff_0000 {
            0 => Action::KillThread,
            0x0003_0000 => Action::Trap(data),
            0x0005_0000 => Action::Errno(data),
            0x7fc0_0000 => Action::Notify,
            0x7ff0_0000 => Action::Trace(data),
            0x7ffc_0000 => Action::Log,
            0x7fff_0000 => Action::Allow,
            _ => Action::KillProcess,
        }
    }

    /// Whether a call comes further with `self` than with `other`, in the kernel's own order of precedence.
    pub const fn is_milder_than(self, other: Action) -> bool {
        (self.code() & 0xffff_0000) as i32 > (other.code() & 0xffff_0000) as i32
    }
}

impl Arch {
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Arch = Arch::X86_64;
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Arch = Arch::Aarch64;

    /// `AUDIT_ARCH_*` of linux/audit.h: what the kernel puts into `seccomp_data.arch`.
    pub const fn audit(self) -> u32 {
        match self {
            Arch::X86_64 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
        }
    }

    pub const fn is_64_bit(self) -> bool {
        matches!(self, Arch::X86_64 | Arch::Aarch64)
    }

    /// This architecture and the one whose programs the same kernel runs, too.
    pub const fn family(self) -> [Arch; 2] {
        match self {
            Arch::X86_64 | Arch::X86 => [Arch::X86_64, Arch::X86],
            Arch::Aarch64 | Arch::Arm => [Arch::Aarch64, Arch::Arm],
        }
    }
}

impl Compare {
    pub const fn new(arg: u8, op: Op, value: u64) -> Compare {
        Compare { arg, mask: u64::MAX, op, value }
    }

    /// libseccomp's `SCMP_CMP_MASKED_EQ`.
    pub const fn masked(arg: u8, mask: u64, value: u64) -> Compare {
        Compare { arg, mask, op: Op::Eq, value }
    }

    /// For arguments that the kernel declares as `int`: it ignores the upper half of the register, so must we.
    pub const fn int(arg: u8, op: Op, value: u32) -> Compare {
        Compare { arg, mask: 0xffff_ffff, op, value: value as u64 }
    }
}

impl Program {
    /// Eight bytes an instruction, in the machine's byte order, as `seccomp_export_bpf` writes them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.insns.len() * 8);
        for insn in &self.insns {
            bytes.extend(insn.code.to_ne_bytes());
            bytes.extend([insn.jt, insn.jf]);
            bytes.extend(insn.k.to_ne_bytes());
        }
        bytes
    }

    /// None if the length is not a multiple of eight. Whether it is a valid program is the kernel's to say.
    pub fn from_bytes(bytes: &[u8], flags: u32) -> Option<Program> {
        if !bytes.len().is_multiple_of(8) {
            return None;
        }
        let insn = |b: &[u8]| Insn {
            code: u16::from_ne_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        };
        Some(Program { insns: bytes.chunks_exact(8).map(insn).collect(), flags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_both_ways() {
        use Action::*;
        for action in [KillProcess, KillThread, Trap(7), Errno(38), Notify, Trace(9), Log, Allow] {
            assert_eq!(Action::from_code(action.code()), action);
        }
        assert!(Allow.is_milder_than(Errno(1)) && Errno(1).is_milder_than(KillThread));
        assert!(KillThread.is_milder_than(KillProcess) && !Errno(1).is_milder_than(Errno(38)));
    }

    #[test]
    fn bytes_go_both_ways() {
        let program = Program { insns: vec![Insn { code: 0x15, jt: 1, jf: 2, k: 0xdead_beef }; 3], flags: 4 };
        assert_eq!(Program::from_bytes(&program.to_bytes(), 4), Some(program));
        assert_eq!(Program::from_bytes(&[0; 9], 0), None);
    }
}
