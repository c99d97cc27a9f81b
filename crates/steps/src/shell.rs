//! The spoken face of a plan: the commands of util-linux, iproute2, nftables and coreutils that do the same.

use crate::{Fidelity::*, Phase, Plan, Step};
use serde::Serialize;
use std::fmt::Write;

/// How true a command is to the step that it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fidelity {
    /// The same kernel object results.
    Exact,
    /// The same to the container's eyes; the note says what differs.
    Near,
    /// No command does this; the line only says that it is done.
    Comment,
}

/// What a step says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shell {
    /// The commands, one a line; empty for a comment.
    pub lines: Vec<String>,
    /// Why it is done: one line.
    pub why: String,
    /// Where to read on, such as `mount(8)`.
    pub man: &'static str,
    pub fidelity: Fidelity,
    /// What differs, where the fidelity is not exact.
    pub note: &'static str,
    /// Said at the head of the next list: a detached mount has no name, so a shell can only make it where it is used.
    pub later: bool,
    /// A command that runs the rest of the script instead of being a line of it, such as `unshare --cgroup`.
    pub wrap: Option<&'static str>,
}

impl Shell {
    /// One command that has the same effect.
    pub fn exact(line: impl Into<String>, why: impl Into<String>, man: &'static str) -> Shell {
        Shell {
            lines: vec![line.into()],
            why: why.into(),
            man,
            fidelity: Exact,
            note: "",
            later: false,
            wrap: None,
        }
    }

    /// Several commands that together have the same effect.
    pub fn lines(lines: Vec<String>, why: impl Into<String>, man: &'static str) -> Shell {
        Shell { lines, why: why.into(), man, fidelity: Exact, note: "", later: false, wrap: None }
    }

    /// No command: only the reason is said.
    pub fn comment(why: impl Into<String>, man: &'static str) -> Shell {
        Shell {
            lines: Vec::new(),
            why: why.into(),
            man,
            fidelity: Comment,
            note: "",
            later: false,
            wrap: None,
        }
    }

    /// Marks a difference.
    pub fn near(self, note: &'static str) -> Shell {
        Shell { fidelity: Near, note, ..self }
    }

    /// Said in the next list.
    pub fn later(self) -> Shell {
        Shell { later: true, ..self }
    }

    /// The rest of the script runs under `command`.
    pub fn wrap(command: &'static str, why: impl Into<String>, man: &'static str) -> Shell {
        Shell { wrap: Some(command), ..Shell::comment(why, man) }.near("")
    }

    /// The commands on one line, for messages and traces; of what is fed to one of them, that there is something.
    pub fn brief(&self) -> String {
        match self.wrap {
            Some(command) => command.to_owned(),
            None if self.lines.is_empty() => format!("# {}", self.why),
            None => without_documents(&self.lines).join("; "),
        }
    }
}

/// Here-documents (`<<'WORD'`) without their text, in which a command would be lost.
fn without_documents(lines: &[String]) -> Vec<String> {
    let mut end = None;
    let mut kept = Vec::new();
    for line in lines.iter().flat_map(|line| line.lines()) {
        match end {
            Some(word) if line == word => end = None,
            Some(_) => {}
            None => {
                end = line.split_once("<<'").and_then(|(_, rest)| rest.split('\'').next());
                kept.push(if end.is_some() { format!("{line} …") } else { line.to_owned() });
            }
        }
    }
    kept
}

/// `s` as one word of a shell.
pub fn quote(s: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !s.is_empty() && s.chars().all(plain) {
        s.to_owned()
    } else {
        format!("'{}'", s.replace('\'', r"'\''"))
    }
}

/// A command whose program goes by its path on the host: the container's `PATH` is for the last word of a line.
pub(crate) fn by_path(words: &str) -> String {
    let (program, rest) = words.split_once(' ').unwrap_or((words, ""));
    format!("$(command -v {program}) {rest}").trim_end().to_owned()
}

/// The whole plan as a bash script that, run as root, makes the same container and cleans up after it.
pub fn script(plan: &Plan) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "#!/bin/bash");
    let _ = writeln!(
        out,
        "# The container '{}', by hand. Run as root; needs util-linux, iproute2, nftables.",
        plan.name
    );
    out.push_str("set -euo pipefail\nT=$(mktemp -d)  # keeps the two sides in step\nchmod 755 $T; mkdir $T/t; mkfifo -m 666 $T/go1 $T/go2\n");
    if plan.joined.iter().any(|step| matches!(step, Step::Expect(_))) {
        out.push_str("mkfifo -m 666 $T/go3 $T/here1\n");
    }
    out.push_str(&cleanup(plan));
    out.push_str("\n### on the host, before the container exists\n");
    let mut later = Vec::new();
    let mut number = 0;
    for step in &plan.host {
        number += 1;
        let shell = step.shell();
        if shell.later { later.push((number, shell)) } else { say(&mut out, number, &shell) }
    }
    out.push_str("\n### inside the container (starts when the host's second part is done)\ncat >$T/inside <<'INSIDE'\n");
    let head = if plan.spawn.namespaces & kernel::process::CLONE_NEWUSER != 0 { INSIDE_USER } else { INSIDE };
    out.push_str(head);
    let mut inside_number = number + plan.joined.len();
    let mut part = 0;
    for step in &plan.inside {
        inside_number += 1;
        let shell = step.shell();
        say(&mut out, inside_number, &shell);
        if let Some(command) = shell.wrap {
            part += 1;
            let _ =
                writeln!(out, "exec {command} bash $T/inside{part}\nINSIDE\ncat >$T/inside{part} <<'INSIDE'");
            out.push_str(head);
        }
    }
    let _ =
        writeln!(out, "\n# {}. become the program: execve(2)\n{}", inside_number + 1, plan.exec.shell_line());
    out.push_str("INSIDE\n\n### on the host, as soon as the container's first process is there\n(\n");
    out.push_str("until PID=$(cat /proc/$(cat $T/pid)/task/*/children) && [ \"$PID\" ]; do sleep 0.01; done 2>/dev/null\nPID=${PID% }\n");
    // The namespaces are there once the process has left this one's.
    out.push_str("until [ \"$(readlink /proc/$PID/ns/mnt)\" != \"$(readlink /proc/self/ns/mnt)\" ]; do sleep 0.01; done\n");
    // Without the host's part the other would wait for ever.
    out.push_str("trap '[ $? = 0 ] || kill -KILL $(cat $T/pid)' EXIT\n");
    out.push_str("export PID T\n");
    for step in &plan.host {
        if let Step::OpenCgroup(open) = step
            && plan.spawn.cgroup == Some(open.slot)
        {
            let _ = writeln!(
                out,
                "echo $PID >{}/cgroup.procs  # clone3(2): it is born there",
                quote(open.path.as_str())
            );
        }
    }
    for step in &plan.joined {
        number += 1;
        let shell = step.shell();
        match step {
            Step::EnterMounts(_) => {
                say(&mut out, number, &shell);
                out.push_str("nsenter -t $PID -m bash <<'MOUNTS'\nset -euo pipefail\n");
                out.push_str(
                    "mount -t tmpfs -o mode=755 tmpfs $T/t  # where a shell keeps detached mounts\n",
                );
                if later
                    .iter()
                    .any(|(_, shell)| shell.lines.iter().any(|line| line.contains("X-mount.idmap=")))
                {
                    out.push_str(IDMAP);
                }
                for (number, shell) in later.drain(..) {
                    say(&mut out, number, &shell);
                }
            }
            Step::LeaveMounts(_) => {
                out.push_str("MOUNTS\n");
                say(&mut out, number, &shell);
            }
            _ if shell.later && !later.is_empty() => later.push((number, shell)),
            _ => say(&mut out, number, &shell),
        }
    }
    out.push_str(") &\n\n### the clone\n");
    let _ = writeln!(
        out,
        "T=$T bash -c 'echo $$ >$T/pid; exec {}unshare {} bash $T/inside'",
        nsenter(plan),
        unshare_flags(plan)
    );
    out
}

const INSIDE: &str = "set -euo pipefail\n";
/// Root of a user namespace may neither note mounts in /run/mount nor walk the host's directories to the names of its own.
const INSIDE_USER: &str = "set -euo pipefail\nmount() { command mount -n -c \"$@\"; }\n";

/// Commands that are no plan, one after another, as a bash script.
pub fn commands(title: &str, shells: &[Shell]) -> String {
    let mut out = format!("#!/bin/bash\n# {title}, by hand. Run as root.\nset -euo pipefail\n");
    for (index, shell) in shells.iter().enumerate() {
        say(&mut out, index + 1, shell);
    }
    out
}

/// The option of mount(8) for machines whose mount(8) has none: Perl can make system calls, and Debian is never without it.
const IDMAP: &str = r#"# X-mount.idmap came with util-linux 2.39; before, these are the system calls that it stands for
if [ "$(printf '%s\n' 2.39 "$(mount --version | grep -o '[0-9][0-9.]*' | head -1)" | sort -V | head -1)" != 2.39 ]; then
mount() {
  case "${3-}" in X-mount.idmap=/*) ;; *) command mount "$@"; return ;; esac
  perl -e '
    my ($kind, $user, $at) = @ARGV;
    my ($cwd, $none, $all) = (-100, "", $kind eq "--rbind" ? 0x8000 : 0);  # AT_FDCWD, AT_RECURSIVE
    open(my $ns, "<", $user) or die "$user: $!\n";
    my $tree = syscall(428, $cwd, $at, 1 | $all);                          # open_tree(2), OPEN_TREE_CLONE
    $tree >= 0 or die "open_tree $at: $!\n";
    my $attr = pack("QQQQ", 0x100000, 0, 0, fileno($ns));                  # MOUNT_ATTR_IDMAP
    syscall(442, $tree, $none, 0x1000 | $all, $attr, 32) == 0              # mount_setattr(2), AT_EMPTY_PATH
      or die "mount_setattr $at: $!\n";
    syscall(429, $tree, $none, $cwd, $at, 4) == 0                          # move_mount(2), MOVE_MOUNT_F_EMPTY_PATH
      or die "move_mount $at: $!\n";
  ' -- "$1" "${3#X-mount.idmap=}" "$5"
}
fi
"#;

/// The undo of every step on the host, newest first, as the script's exit trap.
fn cleanup(plan: &Plan) -> String {
    let mut out = String::from("cleanup() {\n  set +e\n  kill $(jobs -p) 2>/dev/null\n");
    for step in plan.host.iter().chain(&plan.joined).rev().filter_map(Step::undo) {
        for line in step.shell().lines {
            let _ = writeln!(out, "  {line}");
        }
    }
    out.push_str("  rm -rf $T\n}\ntrap cleanup EXIT\n");
    out
}

fn say(out: &mut String, number: usize, shell: &Shell) {
    let man = if shell.man.is_empty() { String::new() } else { format!(": {}", shell.man) };
    let _ = writeln!(out, "\n# {number}. {}{man}", shell.why);
    if !shell.note.is_empty() {
        let word = if shell.fidelity == Near { "near" } else { "note" };
        let _ = writeln!(out, "# {word}: {}", shell.note);
    }
    for line in &shell.lines {
        let _ = writeln!(out, "{line}");
    }
}

/// The command by which the clone's process goes to others' namespaces first; empty when there are none.
pub fn nsenter(plan: &Plan) -> String {
    if plan.spawn.join.is_empty() {
        return String::new();
    }
    let option = |join: &crate::Join| format!("--{}={} ", join.kind, quote(&join.path));
    let options: String = plan.spawn.join.iter().map(option).collect();
    format!("nsenter --no-fork {options}")
}

/// The options of unshare(1) for the namespaces of the clone.
pub fn unshare_flags(plan: &Plan) -> String {
    use kernel::process as ns;
    let names = [
        (ns::CLONE_NEWUSER, "--user --keep-caps"),
        (ns::CLONE_NEWNS, "--mount"),
        (ns::CLONE_NEWPID, "--pid"),
        (ns::CLONE_NEWNET, "--net"),
        (ns::CLONE_NEWIPC, "--ipc"),
        (ns::CLONE_NEWUTS, "--uts"),
        (ns::CLONE_NEWTIME, "--time"),
    ];
    let mut flags: Vec<&str> =
        names.iter().filter(|(bit, _)| plan.spawn.namespaces & bit != 0).map(|(_, name)| *name).collect();
    flags.push("--fork --kill-child");
    let mut flags = flags.join(" ");
    if !plan.spawn.time_offsets.is_empty() {
        flags.push_str(" --time");
        for offset in &plan.spawn.time_offsets {
            flags.push_str(&format!(" --{} {}", offset.clock, offset.seconds));
        }
    }
    flags
}

/// One line of a step's trace or of `--explain`'s coloured text.
pub fn numbered(plan: &Plan) -> Vec<(usize, Phase, &Step, Shell)> {
    plan.steps().enumerate().map(|(i, (phase, step))| (i + 1, phase, step, step.shell())).collect()
}

#[cfg(test)]
mod tests {
    use super::{Shell, quote};

    #[test]
    fn words_are_quoted_only_when_they_must_be() {
        assert_eq!(quote("/a/b-c"), "/a/b-c");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn a_document_is_no_command_of_the_line() {
        let lines = ["nft -f - <<'NFT'", "table inet x {", "}", "NFT", "true"];
        let shell = Shell { lines: lines.map(str::to_owned).into(), ..Shell::comment("", "") };
        assert_eq!(shell.brief(), "nft -f - <<'NFT' …; true");
    }
}
