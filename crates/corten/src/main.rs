//! The container engine that explains itself: its command line.

mod cli;
mod config;
mod explain;
mod fmt;
mod lab;
mod map;
mod oci;
mod resolve;
mod step;
mod ui;
mod verify;
mod why;

fn main() -> std::process::ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let mut rest: Vec<_> = words.collect();
    let called = oci::is_called(&program.to_string_lossy());
    if called || rest.first().is_some_and(|word| word == "oci") {
        if !called {
            rest.remove(0);
        }
        return oci::main(rest);
    }
    cli::main(rest)
}
