//! What was typed, and what the image says, as the engine's settings: every choice is made here, nothing is done.

mod devices;
mod health;
mod limits;
mod log;
mod mounts;
mod names;
mod networks;
mod texts;
mod times;

pub use limits::resources;
pub use mounts::{add_mounts_of, is_long_mount, mount_of, volume_name, volumes_from};
pub use names::container as container_name;
pub use networks::Connection;
pub use texts::{exec_environment, parse_size};
pub use times::{parse_moment, parse_time};

use crate::cli::{ContainerArgs, Failure};
use engine::{Engine, Network, Restart, Security, Settings, Share};
use image::{Image, RunConfig};
use kernel::caps::CapSet;

/// A cause, in one line.
pub type Result<T> = std::result::Result<T, String>;

/// The image that the command line asks for, pulled where it has to be; `None` with `--rootfs`.
pub fn image(
    engine: &Engine,
    args: &ContainerArgs,
    may_pull: bool,
) -> std::result::Result<Option<Image>, Failure> {
    let failed = |message: String| Failure { code: crate::cli::ENGINE, message, usage: false };
    let pull = args.pull.as_deref().unwrap_or("missing");
    if !matches!(pull, "missing" | "never" | "always") {
        return Err(Failure::flag(format!(
            "invalid pull option: '{pull}': must be one of \"always\", \"missing\" or \"never\""
        )));
    }
    if args.rootfs.is_some() {
        return Ok(None);
    }
    let (name, _) = args.image_and_command();
    let here = match engine.images().resolve(name) {
        Ok(image) => Some(image),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(failed(error.to_string())),
    };
    let fits = |image: &Image| match &args.platform {
        Some(platform) if !image.host => names::platform(platform, name, image).map_err(failed),
        _ => Ok(()),
    };
    let wanted = match &here {
        Some(image) if image.host => false,
        Some(image) => pull == "always" || (pull == "missing" && fits(image).is_err()),
        None if pull == "never" || !may_pull => {
            let full =
                image::Reference::parse(name).map_or_else(|_| name.to_owned(), |r| r.tagged().familiar());
            let near = engine.images().near(&full);
            return Err(failed(format!("No such image: {full}{near}")));
        }
        None => true,
    };
    if wanted && may_pull {
        // What is wrong with the flags is told before anything is fetched for them.
        let config = RunConfig { cmd: vec!["program".to_owned()], ..RunConfig::default() };
        resolve(args, Some(&Image { config, ..Image::default() })).map_err(failed)?;
    }
    // An id can't be pulled, and needs not be.
    let reference = image::Reference::parse(name).ok().map(image::Reference::tagged);
    let found = match (here, reference) {
        (Some(image), Some(reference)) if wanted && may_pull && image.reference.is_some() => {
            pull_image(engine, args, &reference)?;
            engine.images().resolve(name)?
        }
        (Some(image), _) => image,
        (None, Some(reference)) => {
            if !args.quiet && pull == "missing" {
                let name = reference.familiar();
                let near = engine.images().near(&name);
                crate::cli::say(&format!("Unable to find image '{name}' locally{near}"));
            }
            pull_image(engine, args, &reference)?;
            engine.images().resolve(name)?
        }
        (None, None) => return Err(failed(format!("No such image: {name}"))),
    };
    fits(&found)?;
    Ok(Some(found))
}

fn pull_image(
    engine: &Engine,
    args: &ContainerArgs,
    reference: &image::Reference,
) -> std::result::Result<(), Failure> {
    let pulled = crate::cli::pull_for_run(engine, reference, args.platform.as_deref(), args.quiet);
    pulled.map_err(|failure| Failure { code: crate::cli::ENGINE, ..failure })
}

/// The settings, and notes for the user about what some flags imply.
pub fn resolve(args: &ContainerArgs, image: Option<&Image>) -> Result<(Settings, Vec<String>)> {
    refuse_unsupported(args)?;
    let empty = RunConfig::default();
    let config = image.map_or(&empty, |image| &image.config);
    let (name, command) = args.image_and_command();
    if let Some(name) = &args.name {
        names::container(name)?;
    }
    let mut settings = Settings {
        image: if args.rootfs.is_some() { String::new() } else { name.to_owned() },
        rootfs: args.rootfs.is_some().then(|| texts::absolute(name)).transpose()?,
        tty: args.tty,
        interactive: args.interactive,
        auto_remove: args.rm,
        restart: restart(args)?,
        read_only: args.read_only,
        init: args.init,
        privileged: args.privileged,
        user: args.user.clone().unwrap_or_else(|| config.user.clone()),
        group_add: args.group_add.clone(),
        domainname: args.domainname.clone().unwrap_or_default(),
        labels: texts::labels(args, config)?,
        dns: texts::name_servers(&args.dns)?,
        dns_search: args.dns_search.clone(),
        dns_options: args.dns_option.clone(),
        extra_hosts: texts::extra_hosts(&args.add_host)?,
        stop_signal: texts::stop_signal(args.stop_signal.as_deref(), config)?,
        stop_timeout: args.stop_timeout.or(config.stop_timeout),
        shm_size: texts::size_flag("--shm-size", args.shm_size.as_deref())?.unwrap_or(0),
        storage_size: limits::storage(&args.storage_opt)?,
        security: security(&args.security_opt)?,
        ulimits: limits::ulimits(&args.ulimit)?,
        devices: devices::devices(&args.device)?,
        cdi: devices::cdi(&args.device, args.gpus.as_deref())?,
        device_rules: devices::rules(&args.more.device_cgroup_rule)?,
        cgroup_parent: limits::cgroup_parent(args.more.cgroup_parent.as_deref())?,
        annotations: texts::annotations(&args.more.annotation)?,
        mounts: mounts::mounts(args, config)?,
        log: log::options(args)?,
        resources: limits::resources(args)?,
        cap_add: capabilities("CapAdd", &args.cap_add)?,
        cap_drop: capabilities("CapDrop", &args.cap_drop)?,
        ..Settings::default()
    };
    program(&mut settings, args, config, command)?;
    health::check(&mut settings, args, config)?;
    settings.workdir = texts::workdir(args.workdir.as_deref(), config)?;
    let notes = namespaces(&mut settings, args)?;
    names::ports(&mut settings, args, config)?;
    settings.sysctls = limits::sysctls(&args.sysctl, &settings)?;
    settings.hostname = names::hostname(args, &settings)?;
    settings.env = texts::environment(args, config, &settings)?;
    Ok((settings, notes))
}

fn restart(args: &ContainerArgs) -> Result<Restart> {
    let policy = restart_policy(args.restart.as_deref().unwrap_or_default())?;
    if policy != Restart::No && args.rm {
        return Err("conflicting options: cannot specify both --restart and --rm".to_owned());
    }
    Ok(policy)
}

/// `no`, `always`, `unless-stopped`, `on-failure[:N]`
pub fn restart_policy(text: &str) -> Result<Restart> {
    let (name, most) = text.split_once(':').map_or((text, None), |(name, most)| (name, Some(most)));
    match (name, most) {
        ("" | "no", None) => Ok(Restart::No),
        ("always", None) => Ok(Restart::Always),
        ("unless-stopped", None) => Ok(Restart::UnlessStopped),
        ("on-failure", None) => Ok(Restart::OnFailure(0)),
        ("on-failure", Some(most)) => most.parse().map(Restart::OnFailure).map_err(|_| {
            format!("invalid restart policy format: maximum retry count must be a number: {text}")
        }),
        ("no" | "always" | "unless-stopped", Some(_)) => Err(format!(
            "invalid restart policy: maximum retry count can only be used with 'on-failure': {text}"
        )),
        _ => Err(format!(
            "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )),
    }
}

/// Options of Docker's that would be silently wrong if they were ignored.
fn refuse_unsupported(args: &ContainerArgs) -> Result<()> {
    if let Some((flag, why)) = args.more.refused() {
        return Err(format!("{flag} is not supported: {why}"));
    }
    let only = [
        ("--isolation", &args.isolation, "default"),
        ("--runtime", &args.runtime, "corten"),
        ("--volume-driver", &args.volume_driver, "local"),
    ];
    for (flag, value, one) in only {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty() && *value != one) {
            return Err(format!("{flag} {value} is not supported: only '{one}' is"));
        }
    }
    for stream in &args.attach {
        if !matches!(stream.to_ascii_lowercase().as_str(), "stdin" | "stdout" | "stderr") {
            return Err(texts::bad_flag(
                "-a, --attach",
                stream,
                "valid streams are STDIN, STDOUT and STDERR",
            ));
        }
    }
    Ok(())
}

/// The command replaces the image's Cmd; `--entrypoint` replaces its Entrypoint and takes its Cmd away.
fn program(
    settings: &mut Settings,
    args: &ContainerArgs,
    config: &RunConfig,
    command: &[String],
) -> Result<()> {
    settings.entrypoint = match args.entrypoint.as_deref() {
        None => config.entrypoint.clone(),
        Some("") => Vec::new(),
        Some(program) => vec![program.to_owned()],
    };
    settings.cmd = if !command.is_empty() {
        command.to_vec()
    } else if args.entrypoint.is_some() {
        Vec::new()
    } else {
        config.cmd.clone()
    };
    if settings.entrypoint.is_empty() && settings.cmd.is_empty() {
        return Err("no command specified".to_owned());
    }
    Ok(())
}

/// Whose namespaces it has, and what that implies.
fn namespaces(settings: &mut Settings, args: &ContainerArgs) -> Result<Vec<String>> {
    (settings.network, settings.networks) = networks::networks(args)?;
    settings.pid = share(args.pid.as_deref(), true, "--pid: invalid PID mode")?;
    settings.ipc = share(args.ipc.as_deref(), true, "--ipc: invalid IPC mode")?;
    settings.uts = share(args.uts.as_deref(), false, "--uts: invalid UTS mode")?;
    settings.cgroupns = share(args.cgroupns.as_deref(), false, "--cgroupns: invalid CGROUP mode")?;
    settings.userns = share(args.userns.as_deref(), false, "--userns: invalid USER mode")?;
    if settings.userns == Share::Host {
        return Ok(Vec::new());
    }
    let implied = [
        ("--privileged", args.privileged),
        ("--pid=host", settings.pid == Share::Host),
        ("--network=host", settings.network == Network::Host),
        ("--ipc=host", settings.ipc == Share::Host),
        ("--uts=host", settings.uts == Share::Host),
    ];
    let Some((flag, _)) = implied.iter().find(|(_, given)| *given) else { return Ok(Vec::new()) };
    if args.userns.as_deref() == Some("private") {
        return Err(format!(
            "conflicting options: {flag} needs --userns=host: a user namespace has no power over the host's namespaces"
        ));
    }
    settings.userns = Share::Host;
    Ok(vec![format!("note: {flag} implies --userns=host: root in the container is root on this machine")])
}

fn share(mode: Option<&str>, of_containers: bool, error: &str) -> Result<Share> {
    match mode {
        None | Some("" | "private" | "shareable") => Ok(Share::Private),
        Some("host") => Ok(Share::Host),
        Some(mode) => match mode.strip_prefix("container:") {
            Some(other) if of_containers && !other.is_empty() => Ok(Share::Container(other.to_owned())),
            _ => Err(format!("{error}: {mode}")),
        },
    }
}

fn capabilities(what: &str, words: &[String]) -> Result<CapSet> {
    let mut set = CapSet::EMPTY;
    for word in words {
        let one = CapSet::parse(word).map_err(|_| {
            let name = word.to_uppercase();
            let name = if name.starts_with("CAP_") { name } else { format!("CAP_{name}") };
            format!("invalid {what}: unknown capability: \"{name}\"")
        })?;
        set = set | one;
    }
    Ok(set)
}

fn security(options: &[String]) -> Result<Security> {
    let mut security = Security::default();
    for option in options {
        let (key, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
            Some((key, value)) => (key, value),
            None => (option.as_str(), ""),
        };
        match (key, value) {
            ("no-new-privileges", "" | "true") => security.no_new_privileges = true,
            ("no-new-privileges", "false") => security.no_new_privileges = false,
            ("systempaths", "unconfined") => security.unmask = true,
            ("seccomp", "unconfined") => security.seccomp = Some(value.to_owned()),
            ("seccomp", "builtin" | "default") => security.seccomp = None,
            ("seccomp", path) if !path.is_empty() => {
                let text = std::fs::read_to_string(path).map_err(|e| {
                    format!("opening seccomp profile ({path}) failed: {}", crate::cli::io_words(&e))
                })?;
                serde_json::from_str::<serde::de::IgnoredAny>(&text)
                    .map_err(|e| format!("reading seccomp profile ({path}) failed: {e}"))?;
                security.seccomp = Some(text);
            }
            ("apparmor", profile) if !profile.is_empty() => security.apparmor = Some(profile.to_owned()),
            // Nothing is labelled by this engine, so there is nothing to turn off.
            ("label", "disable") => {}
            ("label", value) if !value.is_empty() => {
                return Err(format!(
                    "--security-opt {option} is not supported: there is no SELinux support yet"
                ));
            }
            _ => return Err(format!("invalid --security-opt: \"{option}\"")),
        }
    }
    Ok(security)
}

#[cfg(test)]
pub mod tests;
