//! `cargo xtask`: the project's own tasks. `test` is all that a change has to pass, `bench` measures, `tidy` checks the
//! house rules that no compiler knows.

mod bench;
mod fuzz;
mod packages;
mod reliability;
mod scale;
mod shell;
mod test;
mod tidy;

use anyhow::bail;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK

tasks:
  test [--no-vm | --only-vm | --kernel=SUITE | --systemd] [FILTER…]
                                        install what tests need, make their images, run all of them; --kernel:
                                        in the virtual machine alone, with the kernel of that Debian suite;
                                        --systemd: with systemd and Podman, those of the OCI runtime
  bench [SECTION…]                      measure beside crun, runc, podman, docker and the bare system calls
  fuzz [TARGET…] [--seconds N]          run the fuzz targets, each for a minute or for N seconds
  man [DIR]                             write the manual pages (target/man/man1)
  reliability [crash|faults|power|races|faults::TEST…]
                                        kill and fail every command at every point, race them thousands of times
                                        (CORTEN_TEST_TRIES=N), write docs/reliability.md
  scale [--at-once N] [--in-a-row N]    a thousand containers at once, ten thousand in a row, docs/reliability.md
  tidy                                  check the house rules: file lengths, import direction, …
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ncargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    std::env::set_current_dir(shell::root())?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first().map(|(task, rest)| (task.as_str(), rest)) {
        Some(("test", rest)) => test::run(rest),
        Some(("bench", rest)) => bench::run(rest),
        Some(("fuzz", rest)) => fuzz::run(rest),
        Some(("reliability", rest)) => reliability::run(rest),
        Some(("scale", rest)) => scale::run(rest),
        Some(("tidy", [])) => tidy::run(),
        Some(("man", [])) => man("target/man/man1"),
        Some(("man", [dir])) => man(dir),
        Some(("-h" | "--help" | "help", _)) => {
            print!("{USAGE}");
            Ok(())
        }
        _ => bail!("no such task\n\n{USAGE}"),
    }
}

/// What the program says of itself, as manual pages.
fn man(dir: &str) -> anyhow::Result<()> {
    shell::run(std::process::Command::new(test::corten()?).args(["man", dir]))
}
