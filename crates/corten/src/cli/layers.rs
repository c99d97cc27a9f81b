//! `corten layers`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::table;
use crate::fmt::words::{ellipsis, size};
use crate::map::printable;
use clap::Args;
use engine::look::layers::{Fate, Kind, Layer, Stack, There};
use std::fmt::Write;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] IMAGE|CONTAINER [PATH]",
    about: "Show which layer gives which file: what layers delete, replace and hide, and the bytes that are wasted",
    words: (1, 2),
};

#[derive(Debug, Args)]
struct LayersArgs {
    /// text or json
    #[arg(long, value_name = "FORM", default_value = "text")]
    format: String,
    /// All files and lines of the recipe, none cut short
    #[arg(short, long)]
    all: bool,
    words: Vec<String>,
}

/// So many paths of a kind are shown without `--all`.
const FEW: usize = 8;

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: LayersArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    if !["text", "json"].contains(&args.format.as_str()) {
        return Err(Failure::flag(format!("unknown form '{}': use text or json", args.format)));
    }
    let stack = context.engine()?.layers(args.words.first().map_or("", String::as_str))?;
    let json = args.format == "json";
    match args.words.get(1) {
        None if json => print(&document(&stack)?)?,
        None => print(&overview(&stack, args.all))?,
        Some(path) => {
            let (here, there) = stack.at(path);
            if there.is_empty() && !here.is_empty() {
                return Err(Failure::new(format!("no layer of {} has anything at {path}", stack.name)));
            }
            let here = format!("/{}", String::from_utf8_lossy(&here));
            print(&if json { document(&there)? } else { one(&stack, &here, there, args.all) })?;
        }
    }
    Ok(0)
}

fn document<T: serde::Serialize>(value: &T) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::new(e.to_string()))?;
    Ok(text + "\n")
}

fn number(layer: &Layer) -> String {
    if layer.writable { "own".to_owned() } else { layer.number.to_string() }
}

/// `layer 3`, `the container's own layer`.
fn named(stack: &Stack, number: usize) -> String {
    match stack.layer(number) {
        Some(layer) if layer.writable => "the container's own layer".to_owned(),
        _ => format!("layer {number}"),
    }
}

/// A line of a recipe, without what builders put around the command.
fn recipe(line: &str) -> String {
    let line = line.trim().trim_start_matches("/bin/sh -c #(nop)").trim_start();
    let line = line.strip_prefix("/bin/sh -c ").map_or_else(|| line.to_owned(), |rest| format!("RUN {rest}"));
    let line = line.trim_end_matches("# buildkit").split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() { "(its recipe is not known)".to_owned() } else { printable(&line) }
}

fn overview(stack: &Stack, all: bool) -> String {
    let sum = |of: fn(&Layer) -> u64| stack.layers.iter().map(of).sum::<u64>();
    let (bytes, files, hidden) = (sum(|l| l.size), sum(|l| l.files), sum(|l| l.hidden));
    let count = stack.layers.len();
    let mut out = format!(
        "{}: {count} layer{}, {files} files, {}\n",
        stack.name,
        if count == 1 { "" } else { "s" },
        size(bytes)
    );
    if hidden > 0 {
        let percent = hidden as f64 / bytes.max(1) as f64 * 100.0;
        let _ = writeln!(out, "{} of it ({percent:.0} %) nobody sees: a layer above hides it", size(hidden));
    }
    let mut rows = String::from("\nLAYER\tSIZE\tFILES\tHIDDEN\tDELETES\tREPLACES\tMADE BY\n");
    for layer in &stack.layers {
        let made_by = recipe(&layer.made_by);
        let made_by = if all { made_by } else { ellipsis(&made_by, 60) };
        let _ = writeln!(
            rows,
            "{}\t{}\t{}\t{}\t{}\t{}\t{made_by}",
            number(layer),
            size(layer.size),
            layer.files,
            if layer.hidden == 0 { "-".to_owned() } else { size(layer.hidden) },
            layer.whiteouts.len() + layer.opaque.len(),
            layer.replaces.len(),
        );
    }
    out.push_str(&table::align(&rows, 6, 2));
    changes(&mut out, stack, all);
    waste(&mut out, stack, all);
    by_hand(&mut out, stack);
    out
}

/// What each layer does to those below it.
fn changes(out: &mut String, stack: &Stack, all: bool) {
    for layer in &stack.layers {
        let replaces = if layer.writable {
            "copied up, then changed (the lower file stays as it was)"
        } else {
            "replaces (the lower file stays, unseen)"
        };
        let kinds = [
            ("deletes (whiteouts: character devices with the numbers 0, 0)", &layer.whiteouts),
            ("hides all that lower layers have in (opaque directories)", &layer.opaque),
            (replaces, &layer.replaces),
        ];
        for (what, paths) in kinds.iter().filter(|(_, paths)| !paths.is_empty()) {
            let who = if layer.writable { "own layer".to_owned() } else { format!("layer {}", layer.number) };
            let _ = writeln!(out, "\n{who} {what}:");
            list(out, paths.iter().map(|path| printable(path)), all);
        }
    }
}

fn list(out: &mut String, lines: impl ExactSizeIterator<Item = String>, all: bool) {
    let count = lines.len();
    let shown = if all || count <= FEW + 1 { count } else { FEW };
    for line in lines.take(shown) {
        let _ = writeln!(out, "  {line}");
    }
    if shown < count {
        let _ = writeln!(out, "  … and {} more (--all)", count - shown);
    }
}

fn waste(out: &mut String, stack: &Stack, all: bool) {
    let mut hidden: Vec<_> = stack
        .layers
        .iter()
        .flat_map(|layer| layer.hidden_files.iter().map(move |file| (layer, file)))
        .collect();
    hidden.sort_by(|a, b| b.1.size.cmp(&a.1.size).then_with(|| a.1.path.cmp(&b.1.path)));
    if hidden.is_empty() {
        return;
    }
    out.push_str("\nthere, but hidden, the largest first:\n");
    let lines = hidden.iter().map(|(layer, file)| {
        let (path, of) = (printable(&file.path), layer.number);
        format!("{:>7}  {path}  of layer {of}, by {}", size(file.size), named(stack, file.by))
    });
    list(out, lines, all);
}

fn by_hand(out: &mut String, stack: &Stack) {
    out.push_str("\nby hand:\n");
    for layer in &stack.layers {
        let who = if layer.writable { "own layer".to_owned() } else { format!("layer {}", layer.number) };
        let _ = writeln!(out, "  {who:<9}  ls -lA {}", layer.directory);
    }
    let first = |of: fn(&Layer) -> bool| stack.layers.iter().find(|layer| of(layer));
    if let Some(layer) = first(|layer| !layer.whiteouts.is_empty()) {
        let _ = writeln!(out, "  whiteouts  find {} -type c", layer.directory);
    }
    if let Some(layer) = first(|layer| !layer.opaque.is_empty()) {
        let _ = writeln!(out, "  opaque     getfattr -R -n trusted.overlay.opaque {}", layer.directory);
    }
}

/// One path, through all layers.
fn one(stack: &Stack, path: &str, there: &[There], all: bool) -> String {
    let path = printable(path);
    let mut out = match there.iter().find(|t| t.fate == Fate::Shown) {
        _ if there.is_empty() => "/ is where all layers meet\n".to_owned(),
        Some(top) if top.kind == Kind::Whiteout => {
            format!("{path} is not there: {} deletes it\n", named(stack, top.layer))
        }
        Some(top) => {
            let made_by = stack.layer(top.layer).map(|l| recipe(&l.made_by)).unwrap_or_default();
            let made_by = if all { made_by } else { ellipsis(&made_by, 60) };
            format!("{path} comes from {}: {made_by}\n", named(stack, top.layer))
        }
        // A directory above it is gone or hidden.
        None => {
            let by = there.iter().find_map(|t| if let Fate::Hidden(by) = t.fate { Some(by) } else { None });
            format!("{path} is not there: {} hides it\n", named(stack, by.unwrap_or(0)))
        }
    };
    let mut rows = String::new();
    for t in there {
        let layer = stack.layer(t.layer).map(number).unwrap_or_default();
        let _ = writeln!(rows, "  {layer}\t{}\t{}", kind(t), fate(stack, t));
    }
    out.push_str(&table::align(&rows, 6, 2));
    if there.is_empty() || there.iter().any(|t| t.kind.is_directory() && t.fate == Fate::Shown) {
        let bytes = path.trim_start_matches('/').as_bytes();
        let entries = stack.entries(bytes);
        let _ = writeln!(out, "\n{} entries, each with its layer:", entries.len());
        let lines = entries.iter().map(|(name, layer)| {
            let layer = stack.layer(*layer).map(number).unwrap_or_default();
            format!("{layer:>3}  {}", printable(name))
        });
        list(&mut out, lines, all);
    }
    out.push_str("\nby hand:\n");
    for t in there {
        let directory = stack.layer(t.layer).map_or("", |layer| layer.directory.as_str());
        let flag = if t.kind.is_directory() { "-lAd" } else { "-l" };
        let _ = writeln!(out, "  ls {flag} {directory}{path}");
    }
    out
}

fn kind(t: &There) -> String {
    let rights = format!("{:04o} {}:{}", t.mode, t.uid, t.gid);
    match t.kind {
        Kind::File => format!("file, {}, {rights}", size(t.size)),
        Kind::Directory => format!("directory, {rights}"),
        Kind::Opaque => format!("opaque directory, {rights}"),
        Kind::Link => format!("link to {}", printable(t.target.as_deref().unwrap_or_default())),
        Kind::Whiteout => "whiteout".to_owned(),
        Kind::Other => format!("special file, {rights}"),
    }
}

fn fate(stack: &Stack, t: &There) -> String {
    match (t.fate, t.kind) {
        (Fate::Shown, Kind::Whiteout) => "so it is deleted".to_owned(),
        (Fate::Shown, Kind::Opaque) => "is seen; what lower layers have in it is not".to_owned(),
        (Fate::Shown, _) => "is seen".to_owned(),
        (Fate::Merged, _) => "its entries are seen, too".to_owned(),
        (Fate::Hidden(by), _) => format!("hidden by {}", named(stack, by)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_are_shown_without_what_builders_put_around_them() {
        assert_eq!(recipe("/bin/sh -c #(nop)  CMD [\"sh\"]"), "CMD [\"sh\"]");
        assert_eq!(recipe("/bin/sh -c apt-get   update"), "RUN apt-get update");
        assert_eq!(recipe("RUN /bin/sh -c make # buildkit"), "RUN /bin/sh -c make");
        assert_eq!(recipe(""), "(its recipe is not known)");
    }
}
