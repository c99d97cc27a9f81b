//! What a key asks for.

use super::model::{Model, Prompt};
use engine::State;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// The line of help, and what the keys of a container do.
pub const HELP: &str = "q quit  ↑↓ choose  e shell  s stop  u start  r restart  p pause  d remove  / find  a all  t attach  k kill";

#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    Nothing,
    Quit,
    /// A command beside the dashboard.
    Do(Vec<String>),
    /// A command that gets the terminal.
    Enter(Vec<String>),
}

pub fn pressed(model: &mut Model, key: KeyEvent) -> Wish {
    if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
        return Wish::Quit;
    }
    model.message.clear();
    match std::mem::take(&mut model.prompt) {
        Prompt::None => choose(model, key.code),
        Prompt::Remove(id) => match key.code {
            KeyCode::Char('y') => Wish::Do(vec!["rm".into(), "-f".into(), id]),
            _ => {
                model.message = "not removed".into();
                Wish::Nothing
            }
        },
        Prompt::Find => {
            find(model, key.code);
            Wish::Nothing
        }
    }
}

fn find(model: &mut Model, key: KeyCode) {
    match key {
        KeyCode::Enter => return,
        KeyCode::Esc => return model.find.clear(),
        KeyCode::Backspace => _ = model.find.pop(),
        KeyCode::Char(letter) => model.find.push(letter),
        _ => {}
    }
    model.prompt = Prompt::Find;
}

fn choose(model: &mut Model, key: KeyCode) -> Wish {
    match key {
        KeyCode::Char('q') | KeyCode::Esc => return Wish::Quit,
        KeyCode::Up => model.step(-1),
        KeyCode::Down => model.step(1),
        KeyCode::PageUp => model.step(-10),
        KeyCode::PageDown => model.step(10),
        KeyCode::Home => model.step(isize::MIN),
        KeyCode::End => model.step(isize::MAX),
        KeyCode::Char('a') => model.running = !model.running,
        KeyCode::Char('/') => model.prompt = Prompt::Find,
        KeyCode::Char(letter) => return act(model, letter),
        _ => {}
    }
    Wish::Nothing
}

fn act(model: &mut Model, letter: char) -> Wish {
    let Some(row) = model.chosen() else { return Wish::Nothing };
    let name = row.container.name.clone();
    let (runs, paused) = match row.state {
        State::Running { paused, .. } => (true, paused),
        _ => (false, false),
    };
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).chain([name.clone()]).collect();
    match letter {
        'e' if runs => {
            let shell = "command -v bash >/dev/null && exec bash || exec sh";
            Wish::Enter(["exec", "-it", &name, "sh", "-c", shell].map(String::from).to_vec())
        }
        't' if runs => Wish::Enter(words(&["attach"])),
        's' if runs => Wish::Do(words(&["stop"])),
        'k' if runs => Wish::Do(words(&["kill"])),
        'u' if !runs => Wish::Do(words(&["start"])),
        'r' => Wish::Do(words(&["restart"])),
        'p' if runs => Wish::Do(words(&[if paused { "unpause" } else { "pause" }])),
        'd' => {
            model.prompt = Prompt::Remove(name);
            Wish::Nothing
        }
        'e' | 't' | 's' | 'k' | 'p' => {
            model.message = format!("{name} does not run");
            Wish::Nothing
        }
        'u' => {
            model.message = format!("{name} runs already");
            Wish::Nothing
        }
        _ => Wish::Nothing,
    }
}
