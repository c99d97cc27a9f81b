//! Images: pull, load, unpack, push and save, each run with a store or a registry that has never had anything in it.

use super::measure::{self, Contender, Figure, figure, milliseconds};
use super::report::Section;
use super::sections::{ENGINES, section};
use super::{Bench, RUN};
use crate::shell;
use anyhow::Context;
use e2e::machine;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

pub const NAMES: &[&str] = &["load", "pull-gzip", "pull-zstd", "pull-memory", "unpack", "push", "save"];

const ROUNDS: usize = 3;
const SKOPEO: &str = "skopeo copy -q --insecure-policy --dest-tls-verify=false";
/// Where the registry listens, in a network namespace of the benchmark's.
const REGISTRY: &str = "127.0.0.1:5000";
/// For so long after a deletion, ext4 steps over each freed inode at every file that it makes.
const RECENT: Duration = Duration::from_secs(65);

pub fn measure(bench: &mut Bench, name: &str) -> anyhow::Result<Section> {
    match name {
        "load" => load(bench),
        "pull-gzip" => pull(bench, "pull-gzip", "`pull` of the nginx image, gzip, cold store", "gzip"),
        "pull-zstd" => pull(bench, "pull-zstd", "`pull` of the nginx image, zstd, cold store", "zstd"),
        "pull-memory" => pull_memory(bench),
        "unpack" => unpack(bench),
        "push" => push(bench),
        _ => save(bench),
    }
}

/// One who takes part: a name for the table, and the command that begins with nothing, in a directory that is its own.
struct Cold<'a> {
    name: &'a str,
    command: Box<Begin<'a>>,
}

type Begin<'a> = dyn Fn(&Bench, &str) -> Contender + 'a;

fn cold<'a>(name: &'a str, command: impl Fn(&Bench, &str) -> Contender + 'a) -> Cold<'a> {
    Cold { name, command: Box::new(command) }
}

/// An engine with an empty store below `place`.
fn engine(bench: &Bench, name: &str, line: &str, place: &str) -> Contender {
    let mut command = bench.engine(name, line);
    match name {
        "corten" => command.env[0].1 = format!("{place}/store"),
        "podman" => {
            let run = format!("{RUN}/{}", Path::new(place).file_name().unwrap_or_default().to_string_lossy());
            let options = ["--root", &format!("{place}/store"), "--runroot", &run].map(String::from);
            command.words.splice(1..1, options);
        }
        _ => {}
    }
    command
}

fn script(name: &str, text: String) -> Contender {
    Contender {
        name: name.into(),
        words: ["sh", "-ec", &text].map(String::from).into(),
        env: vec![],
        dir: None,
    }
}

/// Runs all in turn, each time in a new place; docker with a new daemon.
fn in_turn(bench: &mut Bench, contenders: &[Cold]) -> anyhow::Result<Vec<Figure>> {
    let (mut wall, mut cpu) = (vec![Vec::new(); contenders.len()], vec![Vec::new(); contenders.len()]);
    bench.stop_docker();
    for round in 0..ROUNDS {
        for (i, contender) in contenders.iter().enumerate() {
            let place = new_place(bench, &format!("{i}-{round}"))?;
            if contender.name == "docker" {
                bench.start_docker(&format!("cold/{}", place.1))?;
            }
            let command = (contender.command)(bench, &place.0);
            machine::quiet();
            let (before, start) = (measure::usage(), Instant::now());
            command.run()?;
            wall[i].push(milliseconds(start));
            cpu[i].extend(measure::usage().zip(before).map(|(after, before)| after - before));
            bench.stop_docker();
        }
    }
    bench.start_docker("docker")?;
    clean(bench)?;
    let figures = contenders.iter().zip(wall).zip(cpu);
    Ok(figures.map(|((c, wall), cpu)| figure(c.name, wall, middle(cpu))).collect())
}

fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// An empty directory from whose neighbourhood nothing was deleted lately: its path and its name.
fn new_place(bench: &Bench, name: &str) -> anyhow::Result<(String, String)> {
    if let Some(wait) = bench.deleted.and_then(|at| RECENT.checked_sub(at.elapsed())) {
        std::thread::sleep(wait);
    }
    let name = format!("{}-{name}", std::process::id());
    bench.peers("cold", &[&name])?;
    Ok((bench.dir.join("cold").join(&name).display().to_string(), name))
}

fn clean(bench: &mut Bench) -> anyhow::Result<()> {
    shell::run(Command::new("rm").arg("-rf").arg(bench.dir.join("cold")))?;
    bench.deleted = Some(Instant::now());
    Ok(())
}

/// Unpacks the layers of an image one over the other, as GNU tar does it.
fn tar(layers: &[String], place: &str) -> Contender {
    let lines: String = layers.iter().map(|layer| format!("{layer} | tar -C {place} -x\n")).collect();
    script("tar -x", lines)
}

fn archive_layers(archive: &Path) -> anyhow::Result<Vec<String>> {
    let list = format!("tar -xOf {} manifest.json | jq -r '.[0].Layers[]'", archive.display());
    let list = shell::output(Command::new("sh").args(["-c", &list]).stdout(std::process::Stdio::piped()))?;
    Ok(list.lines().map(|layer| format!("tar -xOf {} {layer}", archive.display())).collect())
}

fn load(bench: &mut Bench) -> anyhow::Result<Section> {
    let archive = bench.images.join("nginx.tar");
    let layers = archive_layers(&archive)?;
    let line = format!("load -q -i {}", archive.display());
    let mut contenders: Vec<Cold> =
        ENGINES.into_iter().map(|name| cold(name, |b, place| engine(b, name, &line, place))).collect();
    contenders.push(cold("tar -x", |_, place| tar(&layers, place)));
    let figures = in_turn(bench, &contenders)?;
    Ok(against_all(section("load", "`load` of the nginx archive, cold store", figures)))
}

/// The goals of whatever brings an image into a cold store.
fn against_all(mut section: Section) -> Section {
    let of = |name: &str| section.of(name).map(|f| f.median);
    let (ours, tar) = (of("corten"), of("tar -x"));
    let faster = of("podman").into_iter().chain(of("docker")).reduce(f64::min);
    section.ratio("wall time against the faster of podman and docker", ours, faster, 0.4);
    section.ratio("wall time against `tar -x` of the same layers", ours, tar, 1.3);
    section
}

/// A registry that serves the nginx image as `nginx:gzip` and `nginx:zstd`, until the value is dropped.
struct Registry(rustix::process::Pid);

impl Registry {
    fn start(bench: &Bench, place: &str) -> anyhow::Result<Registry> {
        let pid = bench.peers("registry", &[RUN, place, REGISTRY])?.trim().parse()?;
        rustix::process::Pid::from_raw(pid).map(Registry).context("docker-registry did not start")
    }

    fn fill(&self, bench: &Bench) -> anyhow::Result<()> {
        let images = bench.images.display();
        for (from, tag) in [("oci-archive", "gzip"), ("oci", "zstd")] {
            let file = if tag == "gzip" { "nginx.oci.tar" } else { "nginx-zstd.oci" };
            let from = format!("{from}:{images}/{file}");
            // Or it would put the gzip form that it has just sent in the place of the other.
            let copy = format!("{SKOPEO} --preserve-digests {from} docker://{REGISTRY}/nginx:{tag}");
            shell::run(Command::new("sh").args(["-c", &copy]))?;
        }
        Ok(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(self.0, rustix::process::Signal::TERM);
    }
}

fn pull(bench: &mut Bench, name: &'static str, title: &'static str, tag: &str) -> anyhow::Result<Section> {
    let place = new_place(bench, "registry")?.0;
    let registry = Registry::start(bench, &place)?;
    registry.fill(bench)?;
    let layers = blobs(&place, tag)?;
    let line = |name: &str| {
        let tls = if name == "podman" { " --tls-verify=false" } else { "" };
        format!("pull -q{tls} {REGISTRY}/nginx:{tag}")
    };
    // Debian's docker knows no zstd.
    let able = |name: &&str| tag == "gzip" || *name != "docker";
    let mut contenders: Vec<Cold> = ENGINES
        .into_iter()
        .filter(able)
        .map(|name| cold(name, move |b, place| engine(b, name, &line(name), place)))
        .collect();
    contenders.push(cold("tar -x", |_, place| tar(&layers, place)));
    let figures = in_turn(bench, &contenders)?;
    drop(registry);
    Ok(against_all(section(name, title, figures)))
}

/// Commands that print the layers of the image as they are in the registry, decompressed.
fn blobs(registry: &str, tag: &str) -> anyhow::Result<Vec<String>> {
    let ask = format!(
        "curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json' http://{REGISTRY}/v2/nginx/manifests/{tag} | jq -r '.layers[].digest'"
    );
    let list = shell::output(Command::new("sh").args(["-c", &ask]).stdout(std::process::Stdio::piped()))?;
    let program = if tag == "gzip" { "gzip" } else { "zstd" };
    let path = |digest: &str| {
        let hex = digest.trim_start_matches("sha256:");
        format!("{registry}/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2])
    };
    Ok(list.lines().map(|digest| format!("{program} -dc <{}", path(digest))).collect())
}

/// What all processes of a pull have in memory at most, each at its own peak.
fn pull_memory(bench: &mut Bench) -> anyhow::Result<Section> {
    let place = new_place(bench, "registry")?.0;
    let registry = Registry::start(bench, &place)?;
    registry.fill(bench)?;
    let mut figures = Vec::new();
    for tag in ["gzip", "zstd"] {
        let mut peaks = Vec::new();
        for round in 0..ROUNDS {
            let place = new_place(bench, &format!("{tag}-{round}"))?.0;
            let command = engine(bench, "corten", &format!("pull -q {REGISTRY}/nginx:{tag}"), &place);
            peaks.push(measure::peak(&mut command.command())?);
        }
        figures.push(figure(&format!("corten, {tag}"), peaks, None));
    }
    drop(registry);
    clean(bench)?;
    let mut section = section("pull-memory", "`pull` of the nginx image, peak of resident memory", figures);
    section.unit = "MB";
    for tag in ["gzip", "zstd"] {
        let ours = section.of(&format!("corten, {tag}")).map(|f| f.median);
        section.ratio(&format!("MB, {tag}"), ours, Some(1.0), 64.0);
    }
    Ok(section)
}

/// One large layer, and four like it, beside GNU tar.
fn unpack(bench: &mut Bench) -> anyhow::Result<Section> {
    let four = bench.dir.join("four.tar");
    bench.peers(
        "four",
        &[&bench.images.join("debian.tar").display().to_string(), &four.display().to_string()],
    )?;
    let archives = [("one layer", bench.images.join("debian.tar")), ("four layers", four)];
    let mut names = Vec::new();
    let mut inputs = Vec::new();
    for (what, archive) in &archives {
        for who in ["corten", "tar -x"] {
            names.push(format!("{who}, {what}"));
            inputs.push((who, archive.clone(), archive_layers(archive)?));
        }
    }
    let contenders: Vec<Cold> = names
        .iter()
        .zip(&inputs)
        .map(|(name, (who, archive, layers))| {
            cold(name, move |b: &Bench, place: &str| match *who {
                "corten" => engine(b, "corten", &format!("load -q -i {}", archive.display()), place),
                _ => tar(layers, place),
            })
        })
        .collect();
    let figures = in_turn(bench, &contenders)?;
    let mut section =
        section("unpack", "`load` of one layer, and of four like it (Debian's minbase)", figures);
    let of = |name: &str| section.of(name).map(|f| f.median);
    let (one, one_tar) = (of("corten, one layer"), of("tar -x, one layer"));
    let (four, four_tar) = (of("corten, four layers"), of("tar -x, four layers"));
    section.ratio("one layer, wall time against `tar -x`", one, one_tar, 1.0);
    section.ratio("four layers, wall time against `tar -x`", four, four_tar, 1.0 / 1.5);
    Ok(section)
}

/// A store of corten's that has the nginx image, from an archive of plain layers, or of compressed ones.
fn stored(bench: &Bench, archive: &str) -> anyhow::Result<String> {
    let place = new_place(bench, &format!("with-{archive}"))?.0;
    engine(bench, "corten", &format!("load -q -i {}", bench.images.join(archive).display()), &place).run()?;
    Ok(place)
}

fn push(bench: &mut Bench) -> anyhow::Result<Section> {
    let mut figures = Vec::new();
    let images = bench.images.display().to_string();
    let skopeo = |from: &str| {
        let words = format!(
            "skopeo copy -q --insecure-policy --dest-tls-verify=false {from} docker://{REGISTRY}/x:1"
        );
        script("skopeo", words)
    };
    for (what, archive, from) in [
        ("plain layers", "nginx.tar", format!("docker-archive:{images}/nginx.tar")),
        ("gzip layers", "nginx.oci.tar", format!("oci-archive:{images}/nginx.oci.tar")),
    ] {
        let store = stored(bench, archive)?;
        let id = shell::output(
            engine(bench, "corten", "images -q --no-trunc", &store)
                .command()
                .stdout(std::process::Stdio::piped()),
        )?;
        engine(bench, "corten", &format!("tag {} {REGISTRY}/x:1", id.trim()), &store).run()?;
        let push = engine(bench, "corten", &format!("push -q {REGISTRY}/x:1"), &store);
        let contenders = [("corten", push), ("skopeo", skopeo(&from))];
        let (mut wall, mut cpu) = (vec![Vec::new(); 2], vec![Vec::new(); 2]);
        for round in 0..ROUNDS {
            for (i, (_, contender)) in contenders.iter().enumerate() {
                let place = new_place(bench, &format!("registry-{archive}-{i}-{round}"))?.0;
                let _registry = Registry::start(bench, &place)?;
                machine::quiet();
                let (before, start) = (measure::usage(), Instant::now());
                contender.run()?;
                wall[i].push(milliseconds(start));
                cpu[i].extend(measure::usage().zip(before).map(|(after, before)| after - before));
            }
        }
        for ((name, _), (wall, cpu)) in contenders.iter().zip(wall.into_iter().zip(cpu)) {
            figures.push(figure(&format!("{name}, {what}"), wall, middle(cpu)));
        }
    }
    clean(bench)?;
    Ok(against_skopeo(section("push", "`push` of the nginx image to an empty registry", figures)))
}

fn save(bench: &mut Bench) -> anyhow::Result<Section> {
    let images = bench.images.display().to_string();
    let (plain, gzip) = (stored(bench, "nginx.tar")?, stored(bench, "nginx.oci.tar")?);
    let id = shell::output(
        engine(bench, "corten", "images -q --no-trunc", &plain)
            .command()
            .stdout(std::process::Stdio::piped()),
    )?;
    let id = id.trim();
    let save = |b: &Bench, store: &str, place: &str| {
        engine(b, "corten", &format!("save -o {place}/x.tar {id}"), store)
    };
    let copy = |from: String, to: String| script("skopeo", format!("{SKOPEO} {from} {to}"));
    let figures = in_turn(
        bench,
        &[
            cold("corten, plain layers", |b, place| save(b, &plain, place)),
            cold("skopeo, plain layers", |_, place| {
                copy(format!("docker-archive:{images}/nginx.tar"), format!("docker-archive:{place}/x.tar"))
            }),
            cold("corten, gzip layers", |b, place| save(b, &gzip, place)),
            cold("skopeo, gzip layers", |_, place| {
                copy(format!("oci-archive:{images}/nginx.oci.tar"), format!("oci-archive:{place}/x.tar"))
            }),
        ],
    )?;
    Ok(against_skopeo(section("save", "`save` of the nginx image", figures)))
}

fn against_skopeo(mut section: Section) -> Section {
    for what in ["plain layers", "gzip layers"] {
        let of = |name: &str| section.of(&format!("{name}, {what}")).map(|f| f.median);
        let (ours, theirs) = (of("corten"), of("skopeo"));
        section.ratio(&format!("{what}, wall time against skopeo"), ours, theirs, 1.0);
    }
    section
}
