//! Compiles the small init that `--init` puts into containers (init/init.rs): a program of its own, which the runtime
//! carries in itself.

use std::path::PathBuf;
use std::process::Command;

/// No C library, no unwinding, no relocations: what is left fits into a page.
const FLAGS: &[&str] = &[
    "--edition=2024",
    "--crate-name=corten_init",
    "--crate-type=bin",
    "-Dwarnings",
    "-Copt-level=s",
    "-Clto=fat",
    "-Cpanic=abort",
    "-Cforce-unwind-tables=no",
    "-Cstrip=symbols",
    "-Crelocation-model=static",
    "-Ctarget-feature=-crt-static",
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=-static",
    "-Clink-arg=-Wl,--build-id=none,-z,noseparate-code,--no-eh-frame-hdr",
];

fn main() {
    println!("cargo:rerun-if-changed=init/init.rs");
    let variable = |name: &str| std::env::var_os(name);
    let (Some(rustc), Some(target), Some(out)) = (variable("RUSTC"), variable("TARGET"), variable("OUT_DIR"))
    else {
        panic!("cargo sets RUSTC, TARGET and OUT_DIR");
    };
    let mut command = Command::new(rustc);
    command.args(FLAGS).arg("--target").arg(target).arg("-o").arg(PathBuf::from(out).join("init"));
    if let Some(linker) = variable("RUSTC_LINKER") {
        command.arg("-C").arg(format!("linker={}", linker.display()));
    }
    let status = command.arg("init/init.rs").status();
    assert!(status.as_ref().is_ok_and(|s| s.success()), "cannot compile init/init.rs: {status:?}");
}
