//! The script, and other people's tools: what is printed is run here, and nowhere else, because it was asked whether it is true.

use super::told;
use crate::cli::Failure;
use engine::look::facts::Fact;
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Whether one of these programs is here.
pub fn has(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path);
    places.any(|place| programs.iter().any(|program| place.join(program).is_file()))
}

/// A script that runs.
pub struct Script {
    child: Child,
    output: std::path::PathBuf,
}

impl Script {
    pub fn start(base: &Path, text: &str) -> Result<Script, Failure> {
        let (script, output) = (base.join("script"), base.join("output"));
        // What whoever started us has left open, or ignores, is not the container's.
        let _ = kernel::process::close_on_exec_from(3);
        kernel::process::default_signals();
        let start = || {
            fs::write(&script, text)?;
            let out = File::create(&output)?;
            let mut command = Command::new("bash");
            command.arg(&script).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
            command.spawn()
        };
        let child = start().map_err(|e| Failure::new(format!("cannot run the script: {e}")))?;
        Ok(Script { child, output })
    }

    /// Fails when it has ended: its program should wait.
    pub fn check(&mut self) -> Result<(), Failure> {
        if !matches!(self.child.try_wait(), Ok(None)) {
            let said = fs::read_to_string(&self.output).unwrap_or_default();
            let said = said.trim_end().replace('\n', "\n  ");
            return Err(Failure::new(format!("the script ended before its program ran:\n  {said}")));
        }
        Ok(())
    }

    /// Waits until it has cleaned up after itself.
    pub fn end(mut self) {
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if began.elapsed() > Duration::from_secs(20) {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// What ip(8) and nft(8) tell of the network of a process, or of ours.
pub fn network(of: Option<i32>) -> Result<Vec<Fact>, Failure> {
    let mut facts = Vec::new();
    for (words, kind) in [
        (&["ip", "-j", "-d", "address"][..], "link"),
        (&["ip", "-4", "-j", "route", "show", "table", "all"], "route"),
        (&["ip", "-6", "-j", "route", "show", "table", "all"], "route of IPv6"),
        (&["ip", "-j", "neigh", "show", "nud", "permanent"], "neighbour"),
        (&["nft", "-j", "list", "ruleset"], "nft"),
    ] {
        let mut answer = ask(of, words)?;
        let objects = if kind == "nft" { answer["nftables"].take() } else { answer };
        let group = if of.is_some() { "network" } else { "machine" };
        let enter = if of.is_some() { "nsenter -t $PID -n " } else { "" };
        let by_hand = format!("{enter}{}", words.join(" "));
        let mut found: Vec<(String, String)> =
            objects.as_array().into_iter().flatten().flat_map(|object| told::facts(kind, object)).collect();
        found.sort();
        found.dedup_by(|again, first| {
            again.0 == first.0 && {
                first.1 = format!("{}; {}", first.1, again.1);
                true
            }
        });
        facts.extend(found.into_iter().map(|(name, value)| Fact {
            group,
            name,
            value,
            by_hand: by_hand.clone(),
        }));
    }
    Ok(facts)
}

fn ask(of: Option<i32>, words: &[&str]) -> Result<Value, Failure> {
    let mut command = match of {
        None => Command::new(words[0]),
        Some(pid) => {
            let mut command = Command::new("nsenter");
            command.args(["-t", &pid.to_string(), "-n", words[0]]);
            command
        }
    };
    let failed = |why: String| Failure::new(format!("cannot ask '{}': {why}", words.join(" ")));
    let output = command.args(&words[1..]).output().map_err(|e| failed(e.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()));
    }
    // ip says nothing of nothing.
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}
