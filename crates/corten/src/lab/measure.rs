//! How much of a CPU three groups get, drawn as bars while it is measured.

use super::Measure;
use crate::cli::{Failure, print};
use std::fmt::Write;
use std::time::{Duration, Instant};

const AT_LEAST: Duration = Duration::from_secs(5);
/// A scheduler that is woken late gives long turns: on a busy or emulated machine it takes many of them to see the shares.
const AT_MOST: Duration = Duration::from_secs(120);
const EVERY: Duration = Duration::from_millis(250);
/// Points of a hundred that a share may be off.
const TOLERANCE: f64 = 6.0;

/// Draws until the time is over; whether each group got what it was promised.
pub fn measure(what: &Measure) -> Result<bool, Failure> {
    let live = rustix::termios::isatty(std::io::stdout());
    let first = what.groups.map(used);
    let start = Instant::now();
    let mut drawn = false;
    loop {
        std::thread::sleep(EVERY);
        let used = what.groups.map(used);
        let ticks = [0, 1, 2].map(|i| used[i].saturating_sub(first[i]) as f64);
        let shares = parts(ticks);
        let wanted = parts(what.shares.map(f64::from));
        let kept = (0..3).all(|i| (shares[i] - wanted[i]).abs() <= TOLERANCE);
        let over = start.elapsed() >= AT_LEAST && kept || start.elapsed() >= AT_MOST;
        if live || over {
            // Over the bars of before.
            let back = if drawn { "\x1b[3A" } else { "" };
            print(&format!("{back}{}", bars(&wanted, &shares)))?;
            drawn = true;
        }
        if over {
            return Ok(kept);
        }
    }
}

/// Of a hundred.
fn parts(values: [f64; 3]) -> [f64; 3] {
    let sum = values.iter().sum::<f64>().max(1.0);
    values.map(|value| value / sum * 100.0)
}

fn bars(wanted: &[f64; 3], got: &[f64; 3]) -> String {
    let mut text = String::new();
    for i in 0..3 {
        let full = "█".repeat((got[i] / 2.0).round() as usize);
        let _ =
            writeln!(text, "  user{}  {full:<50}  {:5.1} %   promised {:4.1} %", i + 1, got[i], wanted[i]);
    }
    text
}

/// Clock ticks of the processes of a group, in user mode and in the kernel. See proc_pid_stat(5).
fn used(group: &str) -> u64 {
    let pids = std::fs::read_to_string(group).unwrap_or_default();
    let of = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and may hold any.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    };
    pids.lines().filter_map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_beside_what_was_promised() {
        let wanted = parts([2048.0, 512.0, 80.0]);
        insta::assert_snapshot!(bars(&wanted, &parts([77.0, 19.0, 4.0])), @r"
        user1  ███████████████████████████████████████              77.0 %   promised 77.6 %
        user2  ██████████                                           19.0 %   promised 19.4 %
        user3  ██                                                    4.0 %   promised  3.0 %
        ");
    }
}
