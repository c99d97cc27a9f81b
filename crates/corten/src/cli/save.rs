//! `corten save`

use super::args::Shape;
use super::images::check_platform;
use super::{Context, Failure, Outcome, parse};
use clap::Args;
use engine::Event;
use image::Format;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Save images to an archive that docker, podman, skopeo and corten load: an OCI layout and Docker's own form in one tar file",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
struct SaveArgs {
    /// The archive; without it, standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    /// docker-archive, which everybody reads, or oci-archive, an OCI layout alone
    #[arg(long, value_name = "FORMAT", default_value = "docker-archive", hide_default_value = true, value_parser = format)]
    format: Format,
    /// Accepted: an archive holds as many images as are named
    #[arg(short, long, hide = true)]
    multi_image_archive: bool,
    /// Accepted: there is no progress to hide
    #[arg(short, long, hide = true)]
    quiet: bool,
    /// The platform that the images must be for (linux/arm64)
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: SaveArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    for name in &args.words {
        check_platform(&engine, name, args.platform.as_deref())?;
    }
    let acts = || Ok(engine.save_by_hand(&args.words, args.output.as_deref())?);
    if let Some(outcome) = args.explain.instead(&format!("corten save {}", args.words.join(" ")), acts) {
        return outcome;
    }
    write_to(args.output.as_deref(), "save", |out| {
        Ok(engine.images().save(&args.words, args.format, out)?)
    })?;
    for name in &args.words {
        if let Ok(image) = engine.images().resolve(name) {
            engine.tell(&[Event::new("image", "save", format!("sha256:{}", image.id)).with("name", name)]);
        }
    }
    Ok(0)
}

fn format(word: &str) -> Result<Format, String> {
    match word {
        "docker-archive" => Ok(Format::Docker),
        "oci-archive" => Ok(Format::Oci),
        _ => Err("it is docker-archive or oci-archive".to_owned()),
    }
}

/// Writes to the file `output` (nothing or `-` is standard output): all of it or none, where it is a plain file.
pub fn write_to(
    output: Option<&str>,
    verb: &str,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(path) = output.filter(|path| *path != "-") else {
        let stdout = io::stdout();
        if stdout.is_terminal() {
            return Err(Failure::new(format!(
                "cowardly refusing to {verb} to a terminal: use the -o flag or redirect"
            )));
        }
        let mut out = BufWriter::with_capacity(256 << 10, stdout.lock());
        write(&mut out)?;
        return Ok(out.flush()?);
    };
    to_file(path, |file| {
        let mut out = BufWriter::with_capacity(256 << 10, file);
        write(&mut out)?;
        out.flush().map_err(|e| failed(path, &e))
    })
}

fn failed(path: &str, e: &io::Error) -> Failure {
    Failure::new(format!("cannot write '{path}': {}", super::io_words(e)))
}

/// Writes to a file: a plain one is there in whole or not at all, under its name.
pub fn to_file(path: &str, write: impl FnOnce(&File) -> Result<(), Failure>) -> Result<(), Failure> {
    let target = Path::new(path);
    // A device, a FIFO: there is nothing to put in its place.
    if let Some(meta) = std::fs::metadata(target).ok().filter(|m| !m.is_file()) {
        if meta.is_dir() {
            return Err(Failure::new(format!("cannot write '{path}': it is a directory")));
        }
        let file = OpenOptions::new().write(true).open(target).map_err(|e| failed(path, &e))?;
        return write(&file);
    }
    let beside = Beside::new(target).map_err(|e| failed(path, &e))?;
    write(&beside.file)?;
    beside.become_target(target).map_err(|e| failed(path, &e))
}

/// A file that takes the place of another when it is complete, and else goes.
struct Beside {
    path: PathBuf,
    file: File,
    done: bool,
}

impl Beside {
    fn new(target: &Path) -> io::Result<Beside> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        for n in 0..100 {
            let path = target.with_file_name(format!(".{name}.{}-{n}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other.map(|file| Beside { path, file, done: false }),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn become_target(mut self, target: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, target)?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
