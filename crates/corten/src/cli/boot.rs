//! `corten system boot`, `corten system boot-unit`: containers that shall run run again when the machine does.

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print, say};
use clap::Args;
use engine::StartOptions;
use std::path::{Path, PathBuf};
use steps::{Shell, quote};

const BOOT: Shape = Shape {
    usage: "[OPTIONS]",
    about: "Start the containers whose restart policy wants them to run; what the boot unit calls",
    words: (0, 0),
};
const UNIT: Shape = Shape {
    usage: "[OPTIONS]",
    about: "Install a unit of systemd that starts containers with a restart policy when the machine starts",
    words: (0, 0),
};

#[derive(Debug, Args)]
struct BootArgs {
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

#[derive(Debug, Args)]
struct UnitArgs {
    /// Only print it
    #[arg(long)]
    print: bool,
    /// Take it away
    #[arg(long)]
    remove: bool,
    /// Where units are [/etc/systemd/system]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn boot(context: &Context, words: Vec<String>) -> Outcome {
    let args: BootArgs = match parse(context, &BOOT, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let mut wanted = engine.list()?;
    wanted.retain(|(container, state)| engine.wants_boot(container, state));
    // The oldest first: others may need it.
    wanted.reverse();
    let names: Vec<String> = wanted.iter().map(|(container, _)| container.name.clone()).collect();
    if let Some(form) = args.explain.form()? {
        for (container, _) in &wanted {
            print(&crate::explain::show(&engine.plan(container)?, form))?;
        }
        return Ok(0);
    }
    super::seal_for(&engine, &names)?;
    let mut code = 0;
    for (container, _) in &wanted {
        match engine.start(container, StartOptions::default()) {
            Ok(_) => print(&format!("{}\n", container.name))?,
            Err(error) => {
                say(&format!("corten: {}: {error}", container.name));
                code = 1;
            }
        }
    }
    Ok(code)
}

const NAME: &str = "corten-containers.service";

pub fn unit(context: &Context, words: Vec<String>) -> Outcome {
    let args: UnitArgs = match parse(context, &UNIT, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let text = text(context)?;
    if args.print {
        print(&text)?;
        return Ok(0);
    }
    let dir = args.dir.clone().unwrap_or_else(|| "/etc/systemd/system".into());
    let acts = || Ok(unit_by_hand(&dir, &text, args.remove));
    if let Some(outcome) = args.explain.instead("corten system boot-unit", acts) {
        return outcome;
    }
    if !dir.is_dir() {
        return Err(Failure::new(format!(
            "there is no directory '{}': where systemd does not run, let the system call 'corten system boot' when it starts",
            dir.display()
        )));
    }
    let (path, link) = (dir.join(NAME), dir.join("multi-user.target.wants").join(NAME));
    if args.remove {
        for path in [&link, &path] {
            match std::fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(path, &e)),
                _ => {}
            }
        }
        return Ok(0);
    }
    std::fs::write(&path, text).map_err(|e| failed(&path, &e))?;
    std::fs::create_dir_all(dir.join("multi-user.target.wants")).map_err(|e| failed(&link, &e))?;
    match std::os::unix::fs::symlink(Path::new("..").join(NAME), &link) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(&link, &e)),
        _ => {}
    }
    print(&format!("{}\n", path.display()))?;
    Ok(0)
}

fn unit_by_hand(dir: &Path, text: &str, remove: bool) -> Vec<Shell> {
    let word = |path: &Path| quote(&path.display().to_string());
    let (path, wants) = (word(&dir.join(NAME)), word(&dir.join("multi-user.target.wants")));
    if remove {
        let line = format!("rm -f {wants}/{NAME} {path}");
        return vec![Shell::exact(line, "systemd knows no such unit any more", "systemd.unit(5)")];
    }
    vec![
        Shell::exact(format!("cat >{path} <<'UNIT'\n{text}UNIT"), "the unit", "systemd.service(5)"),
        Shell::exact(
            format!("mkdir -p {wants}; ln -sf ../{NAME} {wants}/"),
            "it is started with the machine",
            "systemctl(1)",
        ),
    ]
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot change '{}': {}", path.display(), super::io_words(error)))
}

/// Containers outlive the unit: their monitors have groups of their own, and nothing is to be killed with it.
fn text(context: &Context) -> Result<String, Failure> {
    let binary =
        std::env::current_exe().map_err(|e| Failure::new(format!("cannot find this program: {e}")))?;
    let (root, state) = (context.root.display(), context.state.display());
    Ok(format!(
        "[Unit]\nDescription=Containers with a restart policy\nWants=network-online.target\nAfter=network-online.target local-fs.target\n\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nKillMode=none\nDelegate=yes\nExecStart=\"{}\" --root \"{root}\" --state \"{state}\" system boot\n\n\
         [Install]\nWantedBy=multi-user.target\n",
        binary.display()
    ))
}
