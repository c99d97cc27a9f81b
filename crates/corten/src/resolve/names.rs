//! Names and numbers by which others reach a container: its name, host name, ports, platform.

use super::Result;
use super::texts::bad_flag;
use crate::cli::ContainerArgs;
use engine::{Network, Settings, Share};
use image::{Image, RunConfig};
use network::PortSpec;
use std::collections::BTreeSet;

/// Docker's rule for names of containers.
pub fn container(name: &str) -> Result<()> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let first = bare.starts_with(|c: char| c.is_ascii_alphanumeric());
    if first && bare.len() > 1 && bare.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
        return Ok(());
    }
    Err(format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"))
}

/// Empty: the engine takes the container's id.
pub fn hostname(args: &ContainerArgs, settings: &Settings) -> Result<String> {
    let typed = args.hostname.clone().unwrap_or_default();
    if typed.is_empty() {
        return Ok(typed);
    }
    if matches!(settings.network, Network::Container(_)) {
        return Err("conflicting options: hostname and the network mode".to_owned());
    }
    if settings.uts == Share::Host {
        return Err("conflicting options: hostname and the UTS mode".to_owned());
    }
    if typed.len() > 64 || typed.contains(|c: char| c.is_control() || c.is_whitespace() || c == '/') {
        return Err(format!(
            "invalid hostname '{}': at most 64 letters, digits, '-' and '.'",
            typed.escape_debug()
        ));
    }
    Ok(typed)
}

/// `-p`, `-P`, `--expose` and the image's EXPOSE.
pub fn ports(settings: &mut Settings, args: &ContainerArgs, config: &RunConfig) -> Result<()> {
    let mut published: Vec<PortSpec> = Vec::new();
    for spec in &args.publish {
        for port in network::ports::parse(spec).map_err(|e| e.to_string())? {
            if !published.contains(&port) {
                published.push(port);
            }
        }
    }
    if matches!(settings.network, Network::Container(_)) {
        if !published.is_empty() || args.publish_all {
            return Err("conflicting options: port publishing and the container type network mode".to_owned());
        }
        if !args.expose.is_empty() {
            return Err("conflicting options: port exposing and the container type network mode".to_owned());
        }
        if !args.add_host.is_empty() {
            return Err("conflicting options: custom host-to-IP mapping and the network mode".to_owned());
        }
    }
    let mut exposed = BTreeSet::new();
    for spec in &args.expose {
        let ports = network::ports::parse_exposed(spec)
            .map_err(|e| format!("invalid range format for --expose: {e}"))?;
        exposed.extend(ports);
    }
    for spec in config.exposed_ports.keys() {
        // What an image says wrongly is the image's fault, and no reason not to run it.
        exposed.extend(network::ports::parse_exposed(spec).unwrap_or_default());
    }
    if args.publish_all {
        for (port, protocol) in &exposed {
            if !published.iter().any(|p| p.container_port == *port && p.protocol == *protocol) {
                let spec =
                    PortSpec { host_ip: None, host_ports: None, container_port: *port, protocol: *protocol };
                published.push(spec);
            }
        }
    }
    exposed.extend(published.iter().map(|p| (p.container_port, p.protocol)));
    settings.exposed = exposed.iter().map(|(port, protocol)| format!("{port}/{protocol}")).collect();
    // Without a network of its own nothing can be forwarded to it; Docker discards the ports too.
    settings.ports = if settings.network == Network::Bridge { published } else { Vec::new() };
    Ok(())
}

/// `--platform os/arch[/variant]` against what the image is.
pub fn platform(text: &str, name: &str, image: &Image) -> Result<()> {
    let mut parts = text.split('/');
    let (os, arch, variant) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("linux"), None, ..) => ("linux", None, None),
        (Some(arch), None, ..) if ARCHITECTURES.contains(&arch) => ("linux", Some(arch), None),
        (Some(os), Some(arch), variant, None) if ARCHITECTURES.contains(&arch) => (os, Some(arch), variant),
        _ => return Err(bad_flag("--platform", text, "unknown operating system or architecture")),
    };
    let canonical = |arch: &str| match arch {
        "x86_64" | "x86-64" => "amd64".to_owned(),
        "aarch64" => "arm64".to_owned(),
        other => other.to_owned(),
    };
    let same_arch = arch.is_none_or(|arch| canonical(arch) == image.architecture);
    let same_variant = variant.is_none_or(|variant| image.variant.is_empty() || variant == image.variant);
    if os == "linux" && same_arch && same_variant {
        return Ok(());
    }
    Err(format!("image with reference {name} was found but does not provide the specified platform ({text})"))
}

const ARCHITECTURES: &[&str] = &[
    "386", "amd64", "x86_64", "x86-64", "arm", "arm64", "aarch64", "loong64", "mips64le", "ppc64le",
    "riscv64", "s390x",
];
