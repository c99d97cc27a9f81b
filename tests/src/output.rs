//! What a command left behind: exit code, standard output, standard error; and the two judgements that most tests make.

/// A command that has ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line, for messages.
    pub line: String,
    /// The exit code, or 128 + n after signal n, as a shell reports it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The command succeeded: its standard output without the last line feed.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, 0, "{self}");
        self.stdout.strip_suffix('\n').unwrap_or(&self.stdout)
    }

    /// The command ended with this code: its standard output without the last line feed.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "{self}");
        self.stdout.strip_suffix('\n').unwrap_or(&self.stdout)
    }

    /// The command failed as an engine should: with this code, one line of error that names every one of `names`,
    /// and nothing on standard output.
    #[track_caller]
    pub fn fails(&self, code: i32, names: &[&str]) {
        assert_eq!(self.code, code, "{self}");
        assert_eq!(self.stdout, "", "an error belongs on standard error: {self}");
        let lines = self.stderr.lines().filter(|l| !l.trim().is_empty());
        let said: Vec<&str> =
            lines.filter(|l| !l.starts_with("Run 'corten") && !l.starts_with("  ")).collect();
        assert_eq!(said.len(), 1, "an error is one line: {self}");
        for name in names {
            assert!(said[0].contains(name), "the error does not name `{name}`: {self}");
        }
        assert!(!said[0].contains("panicked"), "{self}");
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` exited {}\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.line, self.code, self.stdout, self.stderr
        )
    }
}
