//! `why slow NAME`: what a container waits for, as its control group counts it.

use super::Answer;
use crate::cli::Failure;
use crate::fmt::words;
use engine::Engine;
use runtime::group::{Psi, Stats};

pub fn why(engine: &Engine, name: &str) -> Result<Vec<Answer>, Failure> {
    let running = engine.find_running(name)?;
    let name = running.container.name.clone();
    let (stats, directory) = engine.group_usage(&running).map_err(|e| Failure::new(e.to_string()))?;
    let mut answers = Vec::new();
    answers.extend(cpu(&name, &stats));
    answers.extend(memory(&name, &stats));
    answers.extend(pids(&name, &stats));
    answers.extend(pressure(&name, "I/O", stats.blkio.psi));
    if answers.is_empty() {
        let mut answer =
            Answer::new(format!("nothing holds {name} back: no limit of its control group is felt"));
        answer.add(format!(
            "CPU used {:.2} s, memory {}",
            stats.cpu.usage.total as f64 / 1e9,
            words::size(stats.memory.usage.usage)
        ));
        answer.hint(format!("what does the program wait for? corten top {name}; corten logs {name}"));
        answers.push(answer);
    }
    if let Some(last) = answers.last_mut() {
        last.by_hand(format!("cat {directory}/*"));
    }
    Ok(answers)
}

/// Throttling: the quota of a period was used up. See the kernel's sched-bwc.rst.
fn cpu(name: &str, stats: &Stats) -> Option<Answer> {
    let throttling = &stats.cpu.throttling;
    let share = throttling.throttled_periods as f64 / throttling.periods.max(1) as f64;
    if throttling.throttled_periods == 0 || share < 0.01 {
        return pressure(name, "a CPU", stats.cpu.psi);
    }
    let mut answer = Answer::new(format!("{name} is throttled: it wants more CPU than its limit"));
    answer.add(format!(
        "in {} of {} periods ({:.0} %) it had used up its share; it stood still for {:.1} s in all",
        throttling.throttled_periods,
        throttling.periods,
        share * 100.0,
        throttling.throttled_time as f64 / 1e9
    ));
    answer.hint("a greater --cpus");
    Some(answer)
}

fn memory(name: &str, stats: &Stats) -> Option<Answer> {
    let usage = stats.memory.usage;
    let limited = (1..1 << 60).contains(&usage.limit);
    let near = limited && usage.usage as f64 > 0.9 * usage.limit as f64;
    if !(near || usage.failcnt > 0 && limited) {
        return pressure(name, "memory", stats.memory.psi);
    }
    let mut answer = Answer::new(format!(
        "{name} is short of memory: it has {} of {}",
        words::size(usage.usage),
        words::size(usage.limit)
    ));
    if usage.failcnt > 0 {
        answer.add(format!(
            "it has reached its limit {} times: each time the kernel takes pages back first",
            usage.failcnt
        ));
    }
    if let Some(psi) = stats.memory.psi.filter(|psi| psi.some.avg10 > 0.0) {
        answer.add(format!("in the last ten seconds it waited for memory {} % of the time", psi.some.avg10));
    }
    answer.hint("a greater --memory");
    Some(answer)
}

fn pids(name: &str, stats: &Stats) -> Option<Answer> {
    let pids = &stats.pids;
    if pids.limit == 0 || pids.current < pids.limit {
        return None;
    }
    let mut answer =
        Answer::new(format!("{name} can make no more processes: it has {}, all that it may", pids.current));
    answer.hint("a greater --pids-limit");
    Some(answer)
}

/// See the kernel's accounting/psi.rst.
fn pressure(name: &str, what: &str, psi: Option<Psi>) -> Option<Answer> {
    let psi = psi.filter(|psi| psi.some.avg10 >= 5.0)?;
    let mut answer = Answer::new(format!("{name} waits for {what}"));
    answer.add(format!(
        "in the last ten seconds some of its processes waited {} % of the time, all of them {} %",
        psi.some.avg10, psi.full.avg10
    ));
    Some(answer)
}
