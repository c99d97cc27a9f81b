//! The program, its environment, and where it is looked for.

use super::Lists;
use crate::Spec;
use kernel::process::Strings;
use steps::{Exec, Slot, Text};

/// Used where the environment has no `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn plan(_: &mut Lists, spec: &Spec, slave: Option<Slot>) -> Exec {
    let process = &spec.process;
    Exec {
        credentials: process.credentials.clone(),
        cwd: if process.cwd.is_empty() { "/".into() } else { process.cwd.as_str().into() },
        candidates: candidates(&process.argv, &process.env),
        argv: Strings::new(&process.argv),
        env: Strings::new(&process.env),
        terminal: slave,
        init: None,
    }
}

/// As execvp(3): a word with a slash is a path, any other is looked for in `PATH`.
pub(crate) fn candidates(argv: &[String], env: &[String]) -> Vec<Text> {
    let Some(word) = argv.first().filter(|w| !w.is_empty()) else { return Vec::new() };
    if word.contains('/') {
        return vec![word.as_str().into()];
    }
    let path = env.iter().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or(PATH);
    let join = |dir: &str| Text::from(if dir.is_empty() { word.clone() } else { format!("{dir}/{word}") });
    path.split(':').map(join).collect()
}

#[cfg(test)]
mod tests {
    use super::candidates;

    #[test]
    fn programs_are_looked_for_as_a_shell_does() {
        let of = |word: &str, env: &[&str]| {
            let env: Vec<String> = env.iter().map(|s| (*s).to_owned()).collect();
            candidates(&[word.to_owned()], &env).iter().map(|t| t.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of("./x", &["PATH=/bin"]), ["./x"]);
        assert_eq!(of("sh", &["PATH=/a:/b"]), ["/a/sh", "/b/sh"]);
        assert_eq!(of("sh", &[])[5], "/bin/sh");
        assert!(candidates(&[], &[]).is_empty());
    }
}
