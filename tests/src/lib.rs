//! The harness of the end-to-end tests: a sandbox to run the `corten` binary in, and the question what is left of it.
//!
//! A test makes a [`Sandbox`], runs command lines in it, looks at what they print and at the machine, and ends with
//! [`Sandbox::end`], which compares mounts, links, rules, cgroups, processes and files with how they were. Of the
//! engine's crates only `kernel` is known here, for system calls that others lack: the binary is all that is tested.

mod agent;
mod bundle;
mod facts;
pub mod images;
mod internet;
pub mod machine;
mod output;
mod pages;
pub mod peers;
pub mod points;
mod process;
mod pty;
pub mod registry;
mod sandbox;
pub mod trace;
pub mod tree;
pub mod web;
mod words;

pub use agent::{Agent, receive_descriptor};
pub use bundle::Bundle;
pub use facts::{Facts, ended};
pub use output::Output;
pub use pages::serving;
pub use process::Background;
pub use pty::Pty;
pub use sandbox::{Cgroups, Sandbox, binary};
pub use words::words;

use std::time::{Duration, Instant};

/// How many times slower than an ordinary machine this one is taken to be: `CORTEN_TEST_SLOW`, 1 when it is not set.
/// The emulated machine of `cargo xtask test` sets it.
pub fn slowness() -> u32 {
    std::env::var("CORTEN_TEST_SLOW").ok().and_then(|v| v.parse().ok()).unwrap_or(1)
}

/// Asks `ready` again and again until it says yes, and fails the test when `seconds` (of an ordinary machine) have gone by.
pub fn wait_until(what: &str, seconds: u32, mut ready: impl FnMut() -> bool) {
    let limit = Duration::from_secs(u64::from(seconds * slowness()));
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
