//! Who looks on while a plan is performed: nobody, a trace that is told of each step afterwards, or somebody who walks through it and
//! is asked before each. Only then the container's side is held, too; else there is no system call more.

use kernel::process;
use rustix::io::Errno;
use std::io::Write;
use std::time::Duration;
use steps::{Failure, Live, Outcome, Phase, REPORT, Step, TURN};

/// Who looks on.
pub enum Watch<'a> {
    Nobody,
    /// Told of every step on the host's side after it was performed.
    Told(&'a mut dyn FnMut(usize, Phase, &Step, Duration)),
    /// Asked before each step, by its number in the plan ([`CLONE`] before the clone; the last is the program), and with the
    /// container's first process, 0 before there is one. `false` ends the start, and all that was done is taken back.
    Asked(&'a mut dyn FnMut(usize, i32) -> bool),
}

/// The clone is no step, and comes between the host's first list and its second.
pub const CLONE: usize = 0;

/// Why a start that somebody walked through came to nothing.
pub(super) const STOPPED: Failure = Failure { errno: Errno::CANCELED, note: "stopped" };

impl Watch<'_> {
    pub(super) fn before(&mut self, number: usize, pid: i32) -> Outcome {
        let goes_on = match self {
            Watch::Asked(ask) => ask(number, pid),
            _ => true,
        };
        if goes_on { Ok(()) } else { Err(STOPPED) }
    }

    pub(super) fn is_asked(&self) -> bool {
        matches!(self, Watch::Asked(_))
    }

    pub(super) fn is_told(&self) -> bool {
        matches!(self, Watch::Told(_))
    }
}

/// For [`Watch::Told`]: a line on standard error, by one write(2); on a terminal no longer than that is wide.
pub fn teller() -> impl FnMut(usize, Phase, &Step, Duration) {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
    let columns = size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns >= 40);
    move |number, _, step, time| {
        let line = format!("{number:>4} {:>7.3} ms  {}", time.as_secs_f64() * 1e3, step.shell().brief());
        let line = columns.map_or_else(|| line.clone(), |columns| fitted(&line, columns));
        let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
    }
}

/// Long ids by their first digits, and what there is no room for left out.
fn fitted(line: &str, columns: usize) -> String {
    const ID: usize = 64;
    let mut short = String::with_capacity(line.len());
    for piece in line.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let digits = piece.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        if digits.len() == ID {
            short.extend([&digits[..12], "…", &piece[ID..]]);
        } else {
            short.push_str(piece);
        }
    }
    if short.chars().count() > columns {
        short = short.chars().take(columns - 1).chain(['…']).collect();
    }
    short
}

/// On the container's side, before step `index` of its list: waits until it may be done, where it is held. Allocates nothing.
pub(super) fn turn(live: &Live, index: usize) {
    let (read, _) = live.turn.get();
    if read < 0 {
        return;
    }
    let mut bytes = [0u8; REPORT];
    bytes[0] = TURN;
    bytes[1..5].copy_from_slice(&(index as u32).to_ne_bytes());
    let told = rustix::io::write(process::borrow_raw(live.report.get()), &bytes);
    // Its end is the end of whoever asks: there is nobody left to tell.
    if told.is_err() || !matches!(rustix::io::read(process::borrow_raw(read), &mut [0u8; 1]), Ok(1)) {
        process::exit(1);
    }
}

#[cfg(test)]
mod tests {
    use super::fitted;

    #[test]
    fn a_traced_step_fits_the_terminal() {
        let id = "0123456789abcdef".repeat(4);
        let line = format!("   7   0.012 ms  mkdir /sys/fs/cgroup/{id}/é/{id}");
        assert_eq!(fitted(&line, 80), "   7   0.012 ms  mkdir /sys/fs/cgroup/0123456789ab…/é/0123456789ab…");
        assert_eq!(fitted(&line, 40), "   7   0.012 ms  mkdir /sys/fs/cgroup/0…");
        // What only looks like an id stays.
        assert_eq!(fitted("echo 10485760 fade", 40), "echo 10485760 fade");
    }
}
