//! `corten volume inspect`

use super::super::args::Shape;
use super::super::inspect::{InspectArgs, show};
use super::super::{Context, Outcome, parse};
use engine::{Engine, Volume};
use serde_json::{Value, json};

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Show everything about volumes, as JSON",
    words: (1, usize::MAX),
};

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: InspectArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    show(&args, |name| engine.volume(name).map(|v| object(&engine, &v)).map_err(|e| e.to_string()))
}

pub fn object(engine: &Engine, volume: &Volume) -> Value {
    let map = |map: &std::collections::BTreeMap<String, String>| match map.is_empty() {
        true => Value::Null,
        false => json!(map),
    };
    let mut labels = volume.labels.clone();
    if volume.anonymous {
        labels.insert("com.docker.volume.anonymous".to_owned(), String::new());
    }
    json!({
        "CreatedAt": volume.created.rfc3339(),
        "Driver": "local",
        "Labels": map(&labels),
        "Mountpoint": engine.mountpoint(volume).display().to_string(),
        "Name": volume.name,
        "Options": map(&volume.options),
        "Scope": "local",
    })
}
