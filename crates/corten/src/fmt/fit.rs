//! What a terminal has room for.

use crate::cli::wrapped;

/// The columns of the terminal that standard output is; none elsewhere, where lines may be as long as they are.
pub fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns >= 40)
}

/// A tree with the commands that show it by hand at the right. Where they do not fit they are left out, and it is said how to see
/// them: rows that go on in the next hide the tree.
pub fn with_commands(command: &str, wanted: bool, text: impl Fn(bool) -> String) -> String {
    let all = text(wanted);
    let widest = all.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    match columns().filter(|room| wanted && widest > *room) {
        None => all,
        Some(room) => {
            let how = format!(
                "(The commands that show each thing by hand need {widest} columns: {command} | less -S)"
            );
            format!("{}{}\n", text(false), wrapped(&how, 0, room))
        }
    }
}
