//! What a compiled filter answers to a call, without making the call: for tests and explanations.

use super::compile::{AND, JUMP, JUMP_EQ, JUMP_GE, JUMP_GT, LOAD, RETURN};
use super::{Action, Program};

/// What other compilers use beside what ours does: BPF_JMP | BPF_JSET | BPF_K.
const JUMP_SET: u16 = 0x45;

/// The kernel's `struct seccomp_data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    pub nr: u32,
    /// `AUDIT_ARCH_*`, see [`super::Arch::audit`].
    pub arch: u32,
    pub ip: u64,
    pub args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> Option<u32> {
        let half = |value: u64| if offset.is_multiple_of(8) { value as u32 } else { (value >> 32) as u32 };
        match offset {
            0 => Some(self.nr),
            4 => Some(self.arch),
            8 | 12 => Some(half(self.ip)),
            16..64 if offset.is_multiple_of(4) => Some(half(self.args[(offset as usize - 16) / 8])),
            _ => None,
        }
    }
}

impl Program {
    /// The answer to `call`. A program that the kernel would not take (an unknown instruction, a jump out) kills.
    pub fn answer(&self, call: &Call) -> Action {
        Action::from_code(self.run(call).unwrap_or(Action::KillProcess.code()))
    }

    fn run(&self, call: &Call) -> Option<u32> {
        let mut accumulator = 0;
        let mut at = 0;
        loop {
            let insn = self.insns.get(at)?;
            at += 1;
            let holds = match insn.code {
                LOAD => {
                    accumulator = call.word(insn.k)?;
                    continue;
                }
                AND => {
                    accumulator &= insn.k;
                    continue;
                }
                JUMP => {
                    at += insn.k as usize;
                    continue;
                }
                RETURN => return Some(insn.k),
                JUMP_EQ => accumulator == insn.k,
                JUMP_GE => accumulator >= insn.k,
                JUMP_GT => accumulator > insn.k,
                JUMP_SET => accumulator & insn.k != 0,
                _ => return None,
            };
            at += usize::from(if holds { insn.jt } else { insn.jf });
        }
    }
}
