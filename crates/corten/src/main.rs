//! The container engine that explains itself: its command line.

mod cli;
mod explain;
mod fmt;
mod resolve;

fn main() -> std::process::ExitCode {
    cli::main(std::env::args_os().skip(1).collect())
}
