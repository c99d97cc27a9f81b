//! `corten system df`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::list::{self, Row};
use crate::fmt::table;
use crate::fmt::words::{duration, ellipsis, quote, size_of_four};
use clap::Args;
use engine::State;
use engine::df::Usage;
use serde_json::{Value, json};
use std::fmt::Write;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS]",
    about: "Show how much of the disk images, containers and volumes take, and how much could be given back",
    words: (0, 0),
};

#[derive(Debug, Args)]
struct DfArgs {
    /// Show every image, container and volume
    #[arg(short, long)]
    verbose: bool,
    /// Print by a template, or as json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    words: Vec<String>,
}

const TITLES: &[(&str, &str)] = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];
const COLUMNS: &[&str] = &["Type", "TotalCount", "Active", "Size", "Reclaimable"];

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: DfArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let usage = context.engine()?.usage()?;
    let text = match (args.verbose, args.format.as_deref()) {
        (true, None | Some("table" | "")) => verbose(&usage),
        (true, Some("json")) => format!("{}\n", detailed(&usage)),
        (true, Some(format)) => {
            let template = crate::fmt::template::Template::parse(format).map_err(Failure::new)?;
            let object = crate::fmt::template::from_json(&detailed(&usage));
            template.execute(&object).map_err(Failure::new)? + "\n"
        }
        (false, format) => {
            let shape = list::Shape { titles: TITLES, columns: COLUMNS };
            list::render(&shape, &lines(&usage), format).map_err(Failure::new)?
        }
    };
    print(&text)?;
    Ok(0)
}

struct Line {
    kind: &'static str,
    total: usize,
    active: usize,
    size: u64,
    reclaimable: u64,
}

impl Row for Line {
    fn cell(&self, field: &str) -> String {
        match field {
            "Type" => self.kind.to_owned(),
            "TotalCount" => self.total.to_string(),
            "Active" => self.active.to_string(),
            "Size" => size_of_four(self.size),
            "Reclaimable" if self.size > 0 && self.kind != "Build Cache" => {
                let percent = u128::from(self.reclaimable) * 100 / u128::from(self.size);
                format!("{} ({percent}%)", size_of_four(self.reclaimable))
            }
            "Reclaimable" => size_of_four(self.reclaimable),
            _ => "N/A".to_owned(),
        }
    }
}

fn lines(usage: &Usage) -> Vec<Line> {
    let running = |state: &State| matches!(state, State::Running { .. });
    let containers = &usage.containers;
    let stopped = containers.iter().filter(|c| !running(&c.state));
    let unused = usage.volumes.iter().filter(|v| v.links == 0);
    vec![
        Line {
            kind: "Images",
            total: usage.images.images.len(),
            active: usage.images.images.iter().filter(|i| i.used).count(),
            size: usage.images.bytes,
            reclaimable: usage.images.reclaimable,
        },
        Line {
            kind: "Containers",
            total: containers.len(),
            active: containers.len() - stopped.clone().count(),
            size: containers.iter().map(|c| c.bytes).sum(),
            reclaimable: stopped.map(|c| c.bytes).sum(),
        },
        Line {
            kind: "Local Volumes",
            total: usage.volumes.len(),
            active: usage.volumes.len() - unused.clone().count(),
            size: usage.volumes.iter().map(|v| v.bytes).sum(),
            reclaimable: unused.map(|v| v.bytes).sum(),
        },
        Line { kind: "Build Cache", total: 0, active: 0, size: 0, reclaimable: 0 },
    ]
}

/// All of it, as text by field: the tables of `-v` and their JSON are made of this.
fn detailed(usage: &Usage) -> Value {
    let ago = |age: std::time::Duration| format!("{} ago", duration(age));
    let images = usage.images.images.iter().map(|i| {
        let name = i.summary.tags.first().or(i.summary.digests.first());
        let none = || "<none>".to_owned();
        let image = &i.summary.image;
        let containers = usage.containers.iter().filter(|c| c.container.image_ids().any(|used| used == image.id));
        json!({
            "Repository": name.map_or_else(none, |n| n.familiar_repository()),
            "Tag": name.and_then(|n| n.tag.clone()).unwrap_or_else(none),
            "ID": image.id.get(..12),
            "CreatedSince": super::images::created(image).map_or("N/A".to_owned(), |at| ago(super::images::since(at))),
            "Size": size_of_four(i.shared + i.unique),
            "SharedSize": size_of_four(i.shared),
            "UniqueSize": size_of_four(i.unique),
            "Containers": containers.count().to_string(),
        })
    });
    let containers = usage.containers.iter().map(|c| {
        let command =
            [&c.container.settings.entrypoint[..], &c.container.settings.cmd[..]].concat().join(" ");
        json!({
            "ID": c.container.short_id(),
            "Image": c.container.settings.image,
            "Command": ellipsis(&quote(&command), 20),
            "LocalVolumes": c.volumes.to_string(),
            "Size": match c.container.settings.storage_size {
                0 => size_of_four(c.bytes),
                most => format!("{} / {}", size_of_four(c.bytes), size_of_four(most)),
            },
            "RunningFor": ago(c.container.created.age()),
            "Status": super::ps::status(&c.state, None),
            "Names": c.container.name,
        })
    });
    let volumes = usage
        .volumes
        .iter()
        .map(|v| json!({ "Name": v.name, "Links": v.links.to_string(), "Size": size_of_four(v.bytes) }));
    json!({
        "Images": images.collect::<Vec<_>>(),
        "Containers": containers.collect::<Vec<_>>(),
        "Volumes": volumes.collect::<Vec<_>>(),
        "BuildCache": [],
    })
}

type Columns = [(&'static str, &'static str)];

const IMAGES: &Columns = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
];
const CONTAINERS: &Columns = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Size", "SIZE"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Names", "NAMES"),
];
const VOLUMES: &Columns = &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")];

fn verbose(usage: &Usage) -> String {
    let all = detailed(usage);
    let tables: [(&str, &str, &Columns); 3] = [
        ("Images space usage:", "Images", IMAGES),
        ("Containers space usage:", "Containers", CONTAINERS),
        ("Local Volumes space usage:", "Volumes", VOLUMES),
    ];
    let mut text = String::new();
    for (title, kind, columns) in tables {
        let mut rows = vec![columns.iter().map(|(_, title)| (*title).to_owned()).collect::<Vec<_>>()];
        for object in all[kind].as_array().into_iter().flatten() {
            let cell = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
            rows.push(columns.iter().map(|(field, _)| cell(field)).collect());
        }
        let _ = writeln!(text, "{title}\n\n{}", table::columns(&rows));
    }
    text + "Build cache usage: 0B\n\nCACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED\n"
}
