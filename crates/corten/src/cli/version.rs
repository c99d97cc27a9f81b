//! `corten version`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::template::{Template, from_json};
use clap::Args;
use serde_json::json;

const SHAPE: Shape = Shape { usage: "[OPTIONS]", about: "Show the version", words: (0, 0) };

#[derive(Debug, Args)]
struct VersionArgs {
    /// Print by a template, or as json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    words: Vec<String>,
}

/// `corten --version`
pub fn line() -> String {
    format!("corten version {}\n", env!("CARGO_PKG_VERSION"))
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: VersionArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let arch = image::config::machine_architecture();
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let version = env!("CARGO_PKG_VERSION");
    let side = json!({ "Version": version, "Os": "linux", "Arch": arch, "KernelVersion": kernel });
    let all = json!({ "Client": side, "Server": side });
    let text = match args.format.as_deref() {
        Some("json") => format!("{all}\n"),
        Some(format) => {
            let text = Template::parse(format)
                .and_then(|t| t.execute(&from_json(&all)))
                .map_err(|message| Failure { code: 64, ..Failure::new(message) })?;
            format!("{text}\n")
        }
        // One program is both sides.
        None => format!(
            "Client:\n Version:    {version}\n OS/Arch:    linux/{arch}\n\nServer:\n Engine:\n  Version:   {version}\n  OS/Arch:   linux/{arch}\n  Kernel:    {kernel}\n"
        ),
    };
    print(&text)?;
    Ok(0)
}
