//! Several things at once: a line each that is redrawn on a terminal, a line for each change elsewhere.

use super::words::size;
use image::registry::{Event, State};
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often a terminal is redrawn for numbers alone.
const PACE: Duration = Duration::from_millis(70);
/// Most letters between the brackets of a bar, and those of a line that stand around it.
const BAR: usize = 50;
const AROUND: usize = 46;

/// Where layers are, for a person. It may be told from several threads.
pub struct Progress(Mutex<Board>);

struct Board {
    out: Box<dyn Write + Send>,
    /// Rows and columns, where it is a terminal.
    terminal: Option<(usize, usize)>,
    quiet: bool,
    /// In the order in which they were heard of.
    layers: Vec<(String, State)>,
    /// Lines of the terminal that are redrawn.
    drawn: usize,
    last: Instant,
}

impl Progress {
    pub fn new(out: Box<dyn Write + Send>, terminal: Option<(usize, usize)>, quiet: bool) -> Progress {
        let board = Board { out, terminal, quiet, layers: Vec::new(), drawn: 0, last: Instant::now() };
        Progress(Mutex::new(board))
    }

    pub fn hear(&self, event: &Event) {
        let mut board = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            Event::Layer { layer, state } => board.layer(layer, *state),
            Event::Pulling { tag, repository } => board.say(&format!("{tag}: Pulling from {repository}")),
            Event::Pushing { repository } => {
                board.say(&format!("The push refers to repository [{repository}]"));
            }
            Event::Waiting { what, cause, seconds } => {
                let plural = if *seconds == 1 { "" } else { "s" };
                board.say(&format!("{what}: {cause}: retrying in {seconds} second{plural}"));
            }
            Event::Other => board.say("Waiting for another process that pulls the same image"),
        }
    }

    /// A line of its own, below what is done and above what is not.
    pub fn say(&self, line: &str) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).say(line);
    }

    /// Nothing will be redrawn any more.
    pub fn end(&self) {
        let mut board = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        board.erase();
        board.layers.clear();
        let _ = board.out.flush();
    }
}

// What can't be shown is no reason to fail.
impl Board {
    fn say(&mut self, line: &str) {
        if self.quiet {
            return;
        }
        self.erase();
        let _ = writeln!(self.out, "{line}");
        self.draw();
    }

    fn layer(&mut self, layer: &str, state: State) {
        if self.quiet {
            return;
        }
        let old = self.layers.iter().position(|(name, _)| name == layer);
        let before = old.map(|at| self.layers[at].1);
        if before.is_some_and(|before| is_late(before, state)) {
            return;
        }
        match old {
            Some(at) => self.layers[at].1 = state,
            None => self.layers.push((layer.to_owned(), state)),
        }
        let news = before.is_none_or(|before| rank(before) != rank(state))
            || matches!(state, State::Retrying { .. });
        if self.terminal.is_none() {
            if news && let Some(text) = plain(state) {
                let _ = writeln!(self.out, "{layer}: {text}");
            }
            return;
        }
        if is_end(state) {
            self.layers.retain(|(name, _)| name != layer);
            // Kept, so that what comes late is known to be late.
            self.layers.insert(0, (layer.to_owned(), state));
            if news {
                self.say(&format!("{layer}: {}", plain(state).unwrap_or_default()));
            }
        } else if news || self.last.elapsed() >= PACE {
            self.erase();
            self.draw();
        }
    }

    fn erase(&mut self) {
        if self.drawn > 0 {
            let _ = write!(self.out, "\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }

    fn draw(&mut self) {
        let Some((rows, columns)) = self.terminal else { return };
        let active: Vec<_> = self.layers.iter().filter(|(_, state)| !is_end(*state)).collect();
        let fit = rows.saturating_sub(2).max(1);
        let mut lines: Vec<String> =
            active.iter().take(fit).map(|(layer, state)| line(layer, *state, columns)).collect();
        if active.len() > fit {
            lines.pop();
            lines.push(format!("and {} more", active.len() - fit + 1));
        }
        let mut text = String::new();
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
        (self.drawn, self.last) = (lines.len(), Instant::now());
    }
}

/// Not worth showing after `before`. Two threads tell, each in its own order: one of the download, one of the unpacking, which goes on
/// meanwhile and is shown when the download is over.
fn is_late(before: State, state: State) -> bool {
    let downloads = matches!(before, State::Downloading { .. } | State::Retrying { .. });
    is_end(before) || downloads && matches!(state, State::Extracting { .. })
}

/// What is one line on a terminal that isn't redrawn. A pause between tries is part of the download.
fn rank(state: State) -> u8 {
    match state {
        State::Waiting | State::Compressing => 0,
        State::Downloading { .. } | State::Pushing { .. } | State::Retrying { .. } => 1,
        State::Downloaded => 2,
        State::Extracting { .. } => 3,
        State::Pulled | State::Exists | State::Pushed | State::Mounted | State::There => 4,
    }
}

fn is_end(state: State) -> bool {
    rank(state) == 4
}

/// What is worth a line where lines stay.
fn plain(state: State) -> Option<String> {
    Some(match state {
        State::Waiting => "Pulling fs layer".into(),
        State::Compressing => "Preparing".into(),
        State::Exists => "Already exists".into(),
        State::Downloaded => "Download complete".into(),
        State::Pulled => "Pull complete".into(),
        State::Pushed => "Pushed".into(),
        State::Mounted => "Mounted from another repository".into(),
        State::There => "Layer already exists".into(),
        State::Retrying { seconds: 1 } => "Retrying in 1 second".into(),
        State::Retrying { seconds } => format!("Retrying in {seconds} seconds"),
        State::Downloading { .. } | State::Extracting { .. } | State::Pushing { .. } => return None,
    })
}

fn line(layer: &str, state: State, columns: usize) -> String {
    let width = columns.saturating_sub(AROUND).clamp(1, BAR);
    let text = match state {
        State::Downloading { done, total } => format!("Downloading {}", bar(done, total, width)),
        // While it downloads, it is unpacked as well.
        State::Extracting { done, total } => format!("Extracting  {}", bar(done, total, width)),
        State::Pushing { done, total } => format!("Pushing {}", bar(done, total, width)),
        other => plain(other).unwrap_or_default(),
    };
    format!("{layer}: {text}").chars().take(columns.max(1)).collect()
}

/// `[=====>     ]  12.3MB/45.6MB`
fn bar(done: u64, total: u64, width: usize) -> String {
    let full = (done as f64 / total.max(1) as f64 * width as f64) as usize;
    let full = full.min(width);
    let head = if full < width { ">" } else { "" };
    let rest = width - full - head.len();
    format!("[{}{head}{}]  {}/{}", "=".repeat(full), " ".repeat(rest), size(done), size(total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn shown(terminal: Option<(usize, usize)>, quiet: bool) -> String {
        let screen = Screen::default();
        let progress = Progress::new(Box::new(screen.clone()), terminal, quiet);
        let layer = |layer, state| progress.hear(&Event::Layer { layer, state });
        progress.hear(&Event::Pulling { tag: "latest", repository: "library/x" });
        layer("aaaaaaaaaaaa", State::Waiting);
        layer("bbbbbbbbbbbb", State::Exists);
        layer("aaaaaaaaaaaa", State::Extracting { done: 1_000_000, total: 10_000_000 });
        layer("aaaaaaaaaaaa", State::Downloading { done: 5_000_000, total: 10_000_000 });
        layer("aaaaaaaaaaaa", State::Extracting { done: 4_000_000, total: 10_000_000 });
        layer("aaaaaaaaaaaa", State::Retrying { seconds: 2 });
        layer("aaaaaaaaaaaa", State::Downloading { done: 6_000_000, total: 10_000_000 });
        layer("aaaaaaaaaaaa", State::Downloaded);
        layer("aaaaaaaaaaaa", State::Extracting { done: 7_000_000, total: 10_000_000 });
        layer("aaaaaaaaaaaa", State::Pulled);
        layer("aaaaaaaaaaaa", State::Downloaded);
        progress.end();
        let bytes = screen.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn plain_lines() {
        insta::assert_snapshot!(shown(None, false), @r"
        latest: Pulling from library/x
        aaaaaaaaaaaa: Pulling fs layer
        bbbbbbbbbbbb: Already exists
        aaaaaaaaaaaa: Retrying in 2 seconds
        aaaaaaaaaaaa: Download complete
        aaaaaaaaaaaa: Pull complete
        ");
        assert_eq!(shown(None, true), "");
    }

    #[test]
    fn a_terminal() {
        let text = shown(Some((24, 80)), false);
        insta::assert_snapshot!(text.replace('\x1b', "^"), @r"
        latest: Pulling from library/x
        aaaaaaaaaaaa: Pulling fs layer
        ^[1A^[Jbbbbbbbbbbbb: Already exists
        aaaaaaaaaaaa: Pulling fs layer
        ^[1A^[Jaaaaaaaaaaaa: Extracting  [===>                              ]  1MB/10MB
        ^[1A^[Jaaaaaaaaaaaa: Downloading [=================>                ]  5MB/10MB
        ^[1A^[Jaaaaaaaaaaaa: Retrying in 2 seconds
        ^[1A^[Jaaaaaaaaaaaa: Download complete
        ^[1A^[Jaaaaaaaaaaaa: Extracting  [=======================>          ]  7MB/10MB
        ^[1A^[Jaaaaaaaaaaaa: Pull complete
        ");
    }

    #[test]
    fn bars() {
        assert_eq!(bar(0, 0, 50), format!("[>{}]  0B/0B", " ".repeat(49)));
        assert_eq!(bar(10, 10, 50), format!("[{}]  10B/10B", "=".repeat(50)));
    }
}
