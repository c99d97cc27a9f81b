//! `corten ui`: the dashboard. It reads by the engine, once a second, and acts by the commands that a user would type: each is
//! this binary once more, so what a key does is what its command does, and a stop of ten seconds holds up nothing.

mod act;
mod keys;
mod model;
mod view;

use crate::cli::{Context, Failure};
use act::Commands;
use keys::Wish;
use model::Model;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use std::time::{Duration, Instant};

/// Between two readings of the counters.
const PERIOD: Duration = Duration::from_secs(1);

pub fn run(context: &Context, running: bool) -> Result<(), Failure> {
    let mut model = Model::new(context.engine()?, running);
    let mut commands = Commands::of(context);
    model.read()?;
    let mut terminal = ratatui::try_init()?;
    let ended = show(&mut terminal, &mut model, &mut commands);
    ratatui::try_restore()?;
    commands.wait();
    ended
}

fn show(terminal: &mut DefaultTerminal, model: &mut Model, commands: &mut Commands) -> Result<(), Failure> {
    let mut due = Instant::now() + PERIOD;
    loop {
        terminal.draw(|frame| view::draw(frame, model))?;
        let event = match event::poll(due.saturating_duration_since(Instant::now()))? {
            true => Some(event::read()?),
            false => None,
        };
        if let Some(Event::Key(key)) = event
            && key.kind != KeyEventKind::Release
        {
            match keys::pressed(model, key) {
                Wish::Nothing => {}
                Wish::Quit => return Ok(()),
                Wish::Do(words) => {
                    model.message = format!("{}…", words.join(" "));
                    commands.start(&words)?;
                }
                Wish::Enter(words) => {
                    ratatui::try_restore()?;
                    let said = commands.enter(&words);
                    *terminal = ratatui::try_init()?;
                    model.message = said?;
                }
            }
        }
        let said = commands.ended();
        if Instant::now() >= due || said.is_some() {
            model.read()?;
            due = Instant::now() + PERIOD;
        }
        model.message = said.unwrap_or(std::mem::take(&mut model.message));
    }
}
