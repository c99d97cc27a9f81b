//! What measuring asks of the machine: whether it has nothing else to do, what a process takes of its memory.

use std::fs;
use std::time::Duration;

/// Waits, some seconds at most, for half a second in which the machine is three quarters idle. See proc_stat(5).
pub fn quiet() {
    let times = || {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
        let fields: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
        (fields.iter().skip(3).take(2).sum::<u64>(), fields.iter().take(8).sum::<u64>())
    };
    for _ in 0..8 {
        let before = times();
        std::thread::sleep(Duration::from_millis(500));
        let after = times();
        if (after.0 - before.0) * 4 >= (after.1 - before.1) * 3 {
            return;
        }
    }
}

/// Proportional set size of a process in KB: what it has for itself, and its share of what several have. See proc_pid_smaps(5).
pub fn pss(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Who started a process. See proc_pid_status(5).
pub fn parent(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
