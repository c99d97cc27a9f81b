//! `corten inspect`

use super::args::Shape;
use super::{Context, Failure, Outcome, inspect_as, parse, print, say};
use crate::fmt::template::{Template, from_json};
use clap::Args;
use engine::Engine;
use serde::Serialize;
use serde_json::Value;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] NAME|ID [NAME|ID...]",
    about: "Show everything about containers, images, networks and volumes, as JSON",
    words: (1, usize::MAX),
};
const CONTAINER: Shape = Shape {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Show everything about containers, as JSON",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Print by a template ('{{.State.Pid}}'), or as json on one line
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// How much a container has written, too
    #[arg(short, long)]
    size: bool,
    /// Print the command line that made each container
    #[arg(long)]
    as_run: bool,
    /// Print a compose file that makes them
    #[arg(long)]
    as_compose: bool,
    /// container, image, network or volume
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    inspect(context, &SHAPE, words, None)
}

/// `corten container inspect`
pub fn container(context: &Context, words: Vec<String>) -> Outcome {
    inspect(context, &CONTAINER, words, Some("container"))
}

fn inspect(context: &Context, shape: &Shape, words: Vec<String>, only: Option<&str>) -> Outcome {
    let args: InspectArgs = match parse(context, shape, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let kind = only.or(args.kind.as_deref()).unwrap_or_default().to_owned();
    if !matches!(kind.as_str(), "" | "container" | "image" | "network" | "volume") {
        return Err(Failure::new(format!(
            "\"{kind}\" is not a valid value for --type: use container, image, network or volume"
        )));
    }
    let engine = context.engine()?;
    if args.as_run || args.as_compose {
        let containers: Vec<engine::Container> =
            args.words.iter().map(|name| engine.find(name)).collect::<Result<_, _>>()?;
        print(&match args.as_compose {
            true => inspect_as::compose(&containers),
            false => containers.iter().map(inspect_as::run).collect(),
        })?;
        return Ok(0);
    }
    show(&args, |name| look_up(&engine, name, &kind, args.size))
}

fn look_up(engine: &Engine, name: &str, kind: &str, size: bool) -> Result<Value, String> {
    if matches!(kind, "" | "container") {
        match engine.find(name) {
            Ok(container) => {
                let mut value = engine.inspect(&container).map_err(|e| e.to_string())?;
                if size {
                    let (written, whole) = engine.size(&container);
                    value["SizeRw"] = written.into();
                    value["SizeRootFs"] = whole.into();
                }
                return Ok(value);
            }
            Err(error) if kind == "container" || !error.is_not_found() => return Err(error.to_string()),
            Err(_) => {}
        }
    }
    if matches!(kind, "" | "image") {
        match engine.images().inspect(name) {
            Ok(value) => return Ok(value),
            Err(error) if error.is_not_found() && kind == "image" => {
                let near = engine.images().near(name);
                return Err(format!("No such image: {name}{near}"));
            }
            Err(_) if kind.is_empty() => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    let network = || super::network::inspect::object(engine, name);
    let volume = || engine.volume(name).map(|volume| super::volume::inspect::object(engine, &volume));
    match kind {
        "network" => network(),
        "volume" => volume().map_err(|e| e.to_string()),
        _ => {
            let none = || format!("Error: No such object: {name}{}", engine.near_anything(name));
            network().ok().or_else(|| volume().ok()).ok_or_else(none)
        }
    }
}

/// Shows what is there, then says what isn't.
pub fn show(args: &InspectArgs, look_up: impl Fn(&str) -> Result<Value, String>) -> Outcome {
    let template = match args.format.as_deref() {
        None | Some("" | "json") => None,
        Some(text) => {
            Some(Template::parse(text).map_err(|message| Failure { code: 64, ..Failure::new(message) })?)
        }
    };
    let (mut found, mut errors, mut text) = (Vec::new(), Vec::new(), String::new());
    for name in &args.words {
        match look_up(name) {
            Ok(value) => match &template {
                None => found.push(value),
                Some(template) => match template.execute(&from_json(&value)) {
                    Ok(line) => text = text + &line + "\n",
                    Err(message) => errors.push(message),
                },
            },
            Err(message) => errors.push(message),
        }
    }
    if template.is_none() {
        text = if args.format.as_deref() == Some("json") {
            format!("{}\n", Value::Array(found))
        } else {
            indented(&found)
        };
    } else if text.is_empty() {
        text.push('\n');
    }
    print(&text)?;
    for message in &errors {
        say(&if message.starts_with("Error: ") { message.clone() } else { format!("corten: {message}") });
    }
    Ok(i32::from(!errors.is_empty()))
}

/// Docker's four spaces.
fn indented(values: &[Value]) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Writing to memory, and values that are JSON already: neither can fail.
    let _ = values.serialize(&mut serializer);
    bytes.push(b'\n');
    String::from_utf8(bytes).unwrap_or_default()
}
