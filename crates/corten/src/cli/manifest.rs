//! `corten manifest inspect`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use clap::Args;
use image::Reference;
use image::registry::{Client, Seen, look};
use serde::Serialize;
use serde_json::{Value, json};

const INSPECT: Shape = Shape {
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    about: "Show the manifest or the index of an image in a registry, as it is there",
    words: (1, 1),
};

#[derive(Debug, Args)]
struct InspectArgs {
    /// Speak to the registry without TLS, if need be
    #[arg(long)]
    insecure: bool,
    /// The digest, the platform and each manifest of an index, too
    #[arg(short, long)]
    verbose: bool,
    words: Vec<String>,
}

pub fn inspect(context: &Context, words: Vec<String>) -> Outcome {
    let args: InspectArgs = match parse(context, &INSPECT, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let reference = Reference::parse(&args.words[0])?.tagged();
    let mut client = Client::new()?;
    if args.insecure {
        client.config.trust(&reference.repository());
    }
    let seen = look(&client, &reference, &|_| {})?;
    let value = if !args.verbose {
        // The very bytes are what digests are of.
        let text = String::from_utf8(seen.bytes).map_err(|_| Failure::new("the manifest is not text"))?;
        print(text.trim_end())?;
        print("\n")?;
        return Ok(0);
    } else if let Some(manifests) = &seen.manifests {
        let each = manifests.iter().map(|descriptor| {
            let digest = Some(descriptor.digest.clone());
            let one = Reference { tag: None, digest, ..reference.clone() };
            let seen = look(&client, &one, &|_| {})?;
            Ok(verbose(&one, &seen, serde_json::to_value(&descriptor.platform).unwrap_or_default()))
        });
        Value::Array(each.collect::<Result<Vec<_>, Failure>>()?)
    } else {
        verbose(&reference, &seen, Value::Null)
    };
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer).map_err(|e| Failure::new(e.to_string()))?;
    print(&String::from_utf8_lossy(&bytes))?;
    print("\n")?;
    Ok(0)
}

/// Docker's object around a manifest.
fn verbose(reference: &Reference, seen: &Seen, platform: Value) -> Value {
    let mut descriptor =
        json!({"mediaType": seen.media_type, "digest": seen.digest, "size": seen.bytes.len()});
    if !platform.is_null() {
        descriptor["platform"] = platform;
    }
    let manifest: Value = serde_json::from_slice(&seen.bytes).unwrap_or_default();
    json!({"Ref": reference.to_string(), "Descriptor": descriptor, "Manifest": manifest})
}
