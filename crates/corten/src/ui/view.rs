//! The screen: a line about all, the containers, charts and log of the chosen one, a line of help.

use super::keys::HELP;
use super::model::{Model, Prompt, Reading, Row};
use crate::cli::status_words;
use crate::fmt::words;
use engine::State;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Row as TableRow, Sparkline, Table, TableState};

/// The columns; those with `false` are left out where the screen is narrow.
const COLUMNS: [(&str, Constraint, bool); 8] = [
    ("NAME", Constraint::Fill(3), true),
    ("IMAGE", Constraint::Fill(3), false),
    ("STATUS", Constraint::Fill(4), true),
    ("CPU %", Constraint::Length(7), true),
    ("MEMORY", Constraint::Length(9), true),
    ("LIMIT", Constraint::Length(9), false),
    ("NET I/O", Constraint::Length(17), true),
    ("PIDS", Constraint::Length(5), true),
];
/// From here on all columns have room.
const WIDE: u16 = 100;

/// What a chart shows of a reading.
type Value = fn(&Reading) -> u64;

pub fn draw(frame: &mut Frame<'_>, model: &Model) {
    let [top, list, below, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let (running, cpu, memory) = model.sum();
    let line = format!(
        "corten  {} containers, {running} running   CPU {cpu:.1} %   memory {}",
        model.count(),
        words::memory(memory)
    );
    frame.render_widget(Line::styled(line, Modifier::BOLD), top);
    table(frame, list, model);
    if let Some(row) = model.chosen() {
        let [charts, log] = Layout::horizontal([Constraint::Length(32), Constraint::Fill(1)]).areas(below);
        draw_charts(frame, charts, model, row);
        draw_log(frame, log, model, row);
    }
    frame.render_widget(last_line(model), bottom);
}

fn last_line(model: &Model) -> Line<'_> {
    match &model.prompt {
        Prompt::Remove(name) => Line::styled(format!("remove {name}? y removes it"), Color::Red),
        Prompt::Find => Line::from(format!("find: {}_", model.find)),
        Prompt::None if !model.message.is_empty() => Line::styled(&*model.message, Color::Yellow),
        Prompt::None => Line::styled(HELP, Color::DarkGray),
    }
}

fn table(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let rows = model.rows();
    let shown = |always: bool| always || area.width >= WIDE;
    let columns = || COLUMNS.iter().filter(|(_, _, always)| shown(*always));
    let lines = rows.iter().map(|row| {
        let style = match row.state {
            State::Running { paused: true, .. } => Style::new().fg(Color::Yellow),
            State::Running { .. } => Style::new(),
            _ => Style::new().fg(Color::DarkGray),
        };
        let cells = cells(model, row).into_iter().zip(COLUMNS).filter(|(_, column)| shown(column.2));
        TableRow::new(cells.map(|(cell, _)| cell)).style(style)
    });
    let more = match (model.find.is_empty(), model.running) {
        (true, false) => String::new(),
        (true, true) => " that run".into(),
        (false, _) => format!(" with \"{}\"", model.find),
    };
    let table = Table::new(lines, columns().map(|column| column.1))
        .header(TableRow::new(columns().map(|column| column.0)).style(Modifier::UNDERLINED))
        .row_highlight_style(Modifier::REVERSED)
        .block(Block::new().borders(Borders::TOP).title(format!("Containers{more}")));
    let chosen = (!rows.is_empty()).then(|| model.position());
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(chosen));
}

fn cells(model: &Model, row: &Row) -> [String; 8] {
    let mut cells: [String; 8] = Default::default();
    cells[0] = row.container.name.clone();
    cells[1] = row.container.settings.image.clone();
    cells[2] = status_words(&row.state, row.health.as_ref());
    if let Some(Reading { counters, cpu, .. }) = model.readings(row).and_then(|kept| kept.back()) {
        cells[3] = format!("{cpu:.1}");
        cells[4] = words::memory(counters.memory);
        cells[5] = words::memory(counters.memory_limit);
        cells[6] = format!("{} / {}", words::size(counters.received), words::size(counters.sent));
        cells[7] = counters.pids.to_string();
    }
    cells
}

fn draw_charts(frame: &mut Frame<'_>, area: Rect, model: &Model, row: &Row) {
    let Some(kept) = model.readings(row) else {
        let block = Block::new().borders(Borders::TOP).title("It does not run");
        return frame.render_widget(block, area);
    };
    let places = Layout::vertical([Constraint::Fill(1); 3]).areas::<3>(area);
    let newest = |of: fn(&Reading) -> String| kept.back().map(of).unwrap_or_default();
    let charts: [(String, Value, Color); 3] = [
        (newest(|r| format!("CPU {:.1} %", r.cpu)), |r| (r.cpu * 10.0) as u64, Color::Green),
        (
            newest(|r| format!("memory {}", words::memory(r.counters.memory))),
            |r| r.counters.memory,
            Color::Cyan,
        ),
        (newest(|r| format!("network {}/s", words::size(r.traffic))), |r| r.traffic, Color::Magenta),
    ];
    for ((title, value, color), place) in charts.into_iter().zip(places) {
        let wide = usize::from(place.width);
        let values: Vec<u64> = kept.iter().skip(kept.len().saturating_sub(wide)).map(value).collect();
        let block = Block::new().borders(Borders::TOP).title(title);
        frame.render_widget(Sparkline::default().data(values).style(color).block(block), place);
    }
}

fn draw_log(frame: &mut Frame<'_>, area: Rect, model: &Model, row: &Row) {
    let block =
        Block::new().borders(Borders::TOP | Borders::LEFT).title(format!("Log of {}", row.container.name));
    let high = usize::from(block.inner(area).height);
    let lines = &model.log[model.log.len().saturating_sub(high)..];
    let lines: Vec<Line<'_>> = lines.iter().map(|line| Line::from(&**line)).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
