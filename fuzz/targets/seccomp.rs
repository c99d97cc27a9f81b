//! A seccomp profile in Docker's form: a filter that the kernel takes, or an error.
#![no_main]

use kernel::caps::CapSet;
use kernel::seccomp::{compile, profile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(filter) = profile::parse(bytes, CapSet::default(), (6, 1)) {
        let _ = compile(&filter);
    }
});
