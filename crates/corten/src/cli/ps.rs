//! `corten ps`

mod filter;

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::list::{self, Row};
use crate::fmt::ports::{self, Port};
use crate::fmt::words;
use clap::Args;
use engine::{Container, Engine, Health, HealthStatus, MountKind, Network, State};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;

const SHAPE: Shape = Shape { usage: "[OPTIONS]", about: "List containers", words: (0, 0) };

#[derive(Debug, Args)]
struct PsArgs {
    /// All, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Only some (status=exited, name=web, label=a=b, ancestor=nginx, …)
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Print by a template, as a table of one (table {{.ID}}\t{{.Names}}), or as json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The newest so many, whatever they do
    #[arg(short = 'n', long, value_name = "NUMBER")]
    last: Option<i64>,
    /// The newest one
    #[arg(short, long)]
    latest: bool,
    /// Cut nothing short
    #[arg(long)]
    no_trunc: bool,
    /// Only the ids
    #[arg(short, long)]
    quiet: bool,
    /// How much they have written
    #[arg(short, long)]
    size: bool,
    words: Vec<String>,
}

/// Field and title, in the order of `{{json .}}`.
const TITLES: &[(&str, &str)] = &[
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("HealthStatus", "HEALTH"),
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Names", "NAMES"),
    ("Networks", "NETWORKS"),
    ("Ports", "PORTS"),
    ("RunningFor", "CREATED"),
    ("Size", "SIZE"),
    ("State", "STATE"),
    ("Status", "STATUS"),
];
const COLUMNS: &[&str] = &["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"];
const COLUMNS_WITH_SIZE: &[&str] =
    &["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names", "Size"];

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: PsArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let filters = filter::Filters::parse(&args.filter).map_err(Failure::flag)?;
    let engine = context.engine()?;
    let limit = if args.latest {
        Some(1)
    } else {
        args.last.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0)
    };
    let all = args.all || limit.is_some() || filters.wants_all();
    let found = if all || filters.names_containers() { engine.list()? } else { engine.list_running()? };
    let keep = filters.resolve(&engine, &found).map_err(Failure::new)?;
    let rows: Vec<Line> = found
        .iter()
        .filter(|(_, state)| all || matches!(state, State::Running { .. } | State::Restarting { .. }))
        .filter(|(container, state)| keep.accepts(container, state))
        .take(limit.unwrap_or(usize::MAX))
        .map(|(container, state)| Line {
            container,
            state,
            engine: &engine,
            whole: args.no_trunc,
            sizes: args.size,
            size: RefCell::new(None),
        })
        .collect();
    let shape = list::Shape { titles: TITLES, columns: if args.size { COLUMNS_WITH_SIZE } else { COLUMNS } };
    let text = match &args.format {
        None if args.quiet => rows.iter().map(|row| row.cell("ID") + "\n").collect(),
        format => list::render(&shape, &rows, format.as_deref()).map_err(Failure::new)?,
    };
    print(&text)?;
    Ok(0)
}

struct Line<'a> {
    container: &'a Container,
    state: &'a State,
    engine: &'a Engine,
    /// `--no-trunc`
    whole: bool,
    /// `--size`
    sizes: bool,
    size: RefCell<Option<String>>,
}

impl Row for Line<'_> {
    fn cell(&self, field: &str) -> String {
        let c = self.container;
        match field {
            "ID" if self.whole => c.id.clone(),
            "ID" => c.short_id().to_owned(),
            "Names" => c.name.clone(),
            "Image" => self.image(),
            "Command" => self.command(),
            "CreatedAt" => words::date((c.created.0 / 1_000_000_000) as i64),
            "RunningFor" => format!("{} ago", words::duration(c.created.age())),
            "Ports" => ports::column(&ports_of(self.engine, c, self.state)),
            "State" => state_word(self.state).to_owned(),
            "Status" => status(self.state, self.health().as_ref()),
            "HealthStatus" => {
                self.health().map_or_else(String::new, |health| health.status.word().to_owned())
            }
            "Size" => self.size(),
            "Labels" => {
                let pairs: Vec<String> = c.settings.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                pairs.join(",")
            }
            "Mounts" => self.mounts(),
            "LocalVolumes" => {
                c.settings.mounts.iter().filter(|m| m.kind == MountKind::Volume).count().to_string()
            }
            "Networks" => network_names(c).join(","),
            _ => String::new(),
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        self.container.settings.labels.clone()
    }
}

impl Line<'_> {
    fn health(&self) -> Option<Health> {
        self.engine.health(self.container, self.state)
    }

    fn image(&self) -> String {
        match (&self.container.settings.rootfs, self.container.settings.image.as_str()) {
            (Some(dir), _) => dir.clone(),
            (None, "") => "<no image>".to_owned(),
            (None, image) => image.to_owned(),
        }
    }

    fn command(&self) -> String {
        let settings = &self.container.settings;
        let line = [settings.entrypoint.as_slice(), settings.cmd.as_slice()].concat().join(" ");
        words::quote(&if self.whole { line } else { words::ellipsis(&line, 20) })
    }

    fn mounts(&self) -> String {
        let name = |mount: &engine::Mount| {
            if self.whole { mount.source.clone() } else { words::ellipsis(&mount.source, 15) }
        };
        let mounts = self.container.settings.mounts.iter().filter(|m| m.kind != MountKind::Tmpfs);
        mounts.map(name).collect::<Vec<_>>().join(",")
    }

    fn size(&self) -> String {
        if !self.sizes {
            return "0B".to_owned();
        }
        let measure = || {
            let (written, whole) = self.engine.size(self.container);
            format!("{} (virtual {})", words::size(written), words::size(whole))
        };
        self.size.borrow_mut().get_or_insert_with(measure).clone()
    }
}

/// The published ports while it runs, and those that are only exposed.
pub fn ports_of(engine: &Engine, container: &Container, state: &State) -> Vec<Port> {
    if !matches!(state, State::Running { .. }) {
        return Vec::new();
    }
    let mut ports = Vec::new();
    for port in engine.published(container) {
        let protocol = port.protocol.to_string();
        let host = Some((port.host_ip, port.host_port));
        ports.push(Port { private: port.container_port, protocol, host });
    }
    for exposed in &container.settings.exposed {
        let (number, protocol) = exposed.split_once('/').unwrap_or((exposed, "tcp"));
        let Ok(private) = number.parse() else { continue };
        if !ports.iter().any(|p| p.private == private && p.protocol == protocol) {
            ports.push(Port { private, protocol: protocol.to_owned(), host: None });
        }
    }
    ports
}

/// The networks that it is in, or what stands in the place of one.
pub fn network_names(container: &Container) -> Vec<Cow<'_, str>> {
    match &container.settings.network {
        Network::Bridge => container.endpoints.iter().map(|e| e.network.as_str().into()).collect(),
        Network::None => vec!["none".into()],
        Network::Host => vec!["host".into()],
        Network::Container(id) => vec![format!("container:{id}").into()],
    }
}

/// `State` of the list and of `inspect`.
pub fn state_word(state: &State) -> &'static str {
    match state {
        State::Created => "created",
        State::Running { paused: true, .. } => "paused",
        State::Running { .. } => "running",
        State::Restarting { .. } => "restarting",
        State::Exited { started: None, .. } => "created",
        State::Exited { .. } => "exited",
    }
}

/// `Up 5 minutes (healthy)`, `Exited (0) 3 seconds ago`, `Created`.
pub fn status(state: &State, health: Option<&Health>) -> String {
    match state {
        State::Running { paused, .. } => {
            let more = match health.map(|health| health.status) {
                _ if *paused => " (Paused)",
                None => "",
                Some(HealthStatus::Starting) => " (health: starting)",
                Some(HealthStatus::Healthy) => " (healthy)",
                Some(HealthStatus::Unhealthy) => " (unhealthy)",
            };
            format!("Up {}{more}", words::duration(state.up()))
        }
        State::Restarting { code, at, .. } => {
            format!("Restarting ({code}) {} ago", words::duration(at.age()))
        }
        State::Exited { code, at, started: Some(_), .. } => {
            format!("Exited ({code}) {} ago", words::duration(at.age()))
        }
        // What could not be started has not run, and Docker says so.
        State::Created | State::Exited { .. } => "Created".to_owned(),
    }
}
