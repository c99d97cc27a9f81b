//! System calls in Rust's words: the only crate with `unsafe`, every block argued. It knows nothing of containers.
#![allow(unsafe_code)]

pub mod bpf;
pub mod caps;
pub mod clock;
#[cfg(target_arch = "x86_64")]
mod early;
pub mod identity;
pub mod keys;
pub mod landlock;
pub mod memory;
pub mod mount;
pub mod netlink;
pub mod nft;
pub mod open;
pub mod process;
pub mod pty;
pub mod quota;
pub mod schedule;
pub mod seccomp;
pub mod trace;
