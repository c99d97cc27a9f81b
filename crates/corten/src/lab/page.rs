//! How a lesson looks: a numbered step, its commands, the question whether to go on, and what has changed since.

use crate::cli::{Failure, print, width, wrapped};
use crate::fmt::fit::columns;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;

/// What the reader wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Enter,
    /// What was waited for has come true without it.
    Done,
    /// All the rest without asking.
    Rest,
    /// The end: `q`, no more input, or a signal.
    Quit,
}

/// `3/12  what is done, and why`
pub fn heading(number: &str, say: &str) -> Result<(), Failure> {
    let text = wrapped(&say.replace('\n', " "), number.len() + 2, width());
    print(&format!("{number}  {text}\n\n"))
}

/// Commands as a shell shows them: what goes on from the line above has another prompt.
pub fn commands<'a>(lines: impl Iterator<Item = (bool, &'a str)>) -> Result<(), Failure> {
    let text: String =
        lines.map(|(goes_on, line)| format!("     {} {line}\n", if goes_on { '>' } else { '$' })).collect();
    print(&text)
}

/// Asks, and waits for a line of standard input: for `done`, which is looked at every second, and for a signal, too.
pub fn ask(
    hint: &str,
    signals: Option<BorrowedFd<'_>>,
    done: Option<&dyn Fn() -> bool>,
) -> Result<Answer, Failure> {
    print(&format!("\n     {hint} "))?;
    let stdin = std::io::stdin();
    loop {
        let mut waits = vec![PollFd::new(&stdin, PollFlags::IN)];
        waits.extend(signals.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        match poll(&mut waits, Some(&second)) {
            Ok(0) if done.is_some_and(|done| done()) => {
                print("\n")?;
                return Ok(Answer::Done);
            }
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(Failure::new(format!("cannot wait for Enter: {error}"))),
        }
        if waits.get(1).is_some_and(|signal| signal.revents().contains(PollFlags::IN)) {
            print("\n")?;
            return Ok(Answer::Quit);
        }
        return Ok(match line()?.as_deref().map(str::trim) {
            None | Some("q") => Answer::Quit,
            Some("c") => Answer::Rest,
            Some(_) => Answer::Enter,
        });
    }
}

/// One line, and not a byte more: what follows is for somebody else. `None` at the end.
fn line() -> Result<Option<String>, Failure> {
    let (mut line, mut byte) = (Vec::new(), [0u8; 1]);
    loop {
        match rustix::io::read(rustix::stdio::stdin(), &mut byte) {
            Ok(0) if line.is_empty() => return Ok(None),
            Ok(1) if byte[0] != b'\n' => line.push(byte[0]),
            Ok(_) => return Ok(Some(String::from_utf8_lossy(&line).into_owned())),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::new(format!("cannot read standard input: {error}"))),
        }
    }
}

/// What is no more, and what is new; `how` shows it by hand.
pub fn changes(how: &str, gone: &[String], come: &[String]) -> Result<(), Failure> {
    if gone.is_empty() && come.is_empty() {
        return Ok(());
    }
    let room = columns();
    let lines = |sign: char, lines: &[String]| -> String {
        lines.iter().map(|line| cut(format!("     {sign} {line}"), room) + "\n").collect()
    };
    let how = cut(format!("     what has changed ({how}):"), room);
    print(&format!("\n{how}\n{}{}", lines('-', gone), lines('+', come)))
}

/// What does not fit is left out: a line that goes on in the next row hides where the next thing begins.
fn cut(line: String, room: Option<usize>) -> String {
    match room {
        Some(room) if line.chars().count() > room => line.chars().take(room - 1).chain(['…']).collect(),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn lines_fit_a_terminal_and_are_whole_elsewhere() {
        let line = "a line of twenty-six signs".to_owned();
        assert_eq!(cut(line.clone(), None), line);
        assert_eq!(cut(line.clone(), Some(26)), line);
        assert_eq!(cut(line, Some(10)), "a line of…");
    }
}
