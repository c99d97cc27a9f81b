//! `why port 8080`: who answers there, which rule decides, and from where it can be reached.

use super::Answer;
use crate::cli::Failure;
use engine::look::sockets::{holders, listeners};
use engine::look::{Running, spaces};
use engine::{Container, Engine};
use network::PublishedPort;
use std::net::IpAddr;

/// `8080`, `53/udp`; every answer that there is.
pub fn why(engine: &Engine, word: &str) -> Result<Vec<Answer>, Failure> {
    let (number, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let port: u16 = number
        .parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| Failure::flag(format!("'{word}' is no port: 8080, or 53/udp")))?;
    let mut answers = Vec::new();
    for running in engine.all_running()? {
        for published in engine.published(&running.container) {
            if published.host_port == port && published.protocol.to_string() == protocol {
                answers.push(container(&running, &published));
            }
        }
        if running.container.settings.network == engine::Network::Host {
            continue;
        }
        let inside = listeners(running.pid);
        let there = inside.iter().any(|l| l.port == port && l.protocol == protocol);
        if there && answers.is_empty() {
            answers.push(unpublished(&running.container, port, protocol));
        }
    }
    answers.extend(machine(port, protocol));
    if answers.is_empty() {
        let mut nobody = Answer::new(format!("nobody listens on port {port}/{protocol} of this machine"));
        nobody.add("no container publishes it, and no program has a socket there: connections are refused");
        nobody.by_hand(format!("ss -Hlnp --{protocol} 'sport = :{port}'"));
        nobody.hint(format!("corten run -p {port}:80 …, or corten update --publish {port}:80 CONTAINER"));
        answers.push(nobody);
    }
    Ok(answers)
}

/// A published port: the way from outside to the program.
fn container(running: &Running, published: &PublishedPort) -> Answer {
    let Running { container, pid } = running;
    let name = &container.name;
    let (inside, protocol) = (published.container_port, published.protocol);
    let mut answer = Answer::new(format!(
        "port {}/{protocol} is published by container {name}: it leads to its port {inside}",
        published.host_port
    ));
    let targets: Vec<String> = container
        .endpoints
        .iter()
        .flat_map(|endpoint| endpoint.addresses())
        .filter(|address| address.is_ipv4() == published.host_ip.is_ipv4())
        .map(|address| match address {
            IpAddr::V4(address) => format!("{address}:{inside}"),
            IpAddr::V6(address) => format!("[{address}]:{inside}"),
        })
        .collect();
    if let Some(target) = targets.first() {
        answer.add(format!("a rule of the table 'corten' sends what arrives there on to {target}"));
        answer.by_hand("nft list table inet corten");
    }
    answer.add(reach(published.host_ip));
    let sockets: Vec<_> = listeners(*pid)
        .into_iter()
        .filter(|l| l.port == inside && l.protocol == protocol.to_string())
        .collect();
    match sockets.first() {
        None => {
            answer.add(format!(
                "but nobody listens on port {inside} in the container: connections are refused"
            ));
            answer.hint(format!("corten logs {name}; corten top {name}"));
        }
        Some(socket) if socket.address.is_loopback() => {
            answer.add(format!(
                "but the program listens on {} alone, which nobody outside reaches",
                socket.address
            ));
            answer.hint("let the program listen on 0.0.0.0");
        }
        Some(socket) => {
            let holder = holders(&sockets).get(socket).copied();
            let program = holder.map_or("a program".to_owned(), spaces::command);
            answer.add(format!("there listens {program}, on {}", socket.address));
        }
    }
    answer.by_hand(format!("nsenter -t {pid} -n ss -Hlnp --{protocol} 'sport = :{inside}'"));
    answer
}

fn reach(host_ip: IpAddr) -> String {
    match host_ip {
        ip if ip.is_loopback() => format!("reachable from this machine only: it is published on {ip}"),
        ip if ip.is_unspecified() => {
            "reachable by every address of this machine, from wherever it is reachable".to_owned()
        }
        ip => format!("reachable by {ip} only"),
    }
}

/// A container has a listener there, but publishes it nowhere.
fn unpublished(container: &Container, port: u16, protocol: &str) -> Answer {
    let name = &container.name;
    let mut answer =
        Answer::new(format!("port {port}/{protocol} is open in container {name}, and not published"));
    let addresses: Vec<String> =
        container.endpoints.iter().flat_map(|e| e.addresses()).map(|a| a.to_string()).collect();
    if !addresses.is_empty() {
        answer
            .add(format!("reachable in its own networks and from this machine, at {}", addresses.join(", ")));
    }
    answer.hint(format!("corten update --publish {port}:{port}/{protocol} {name}"));
    answer
}

/// A program of this machine's.
fn machine(port: u16, protocol: &str) -> Vec<Answer> {
    let me = std::process::id().cast_signed();
    let sockets: Vec<_> =
        listeners(me).into_iter().filter(|l| l.port == port && l.protocol == protocol).collect();
    let holders = holders(&sockets);
    let mut answers = Vec::new();
    for socket in &sockets {
        let holder = holders.get(socket);
        let program = match holder {
            Some(pid) => format!("{}, process {pid}", spaces::command(*pid)),
            None => "a program that we may not look at".to_owned(),
        };
        // The monitor keeps a published port for itself, so that nobody else takes it.
        if program.contains("corten") && holder.is_some() {
            continue;
        }
        let mut answer = Answer::new(format!(
            "on port {port}/{protocol} of this machine listens {program}, on {}",
            socket.address
        ));
        answer.add(reach(socket.address));
        answer.by_hand(format!("ss -Hlnp --{protocol} 'sport = :{port}'"));
        answers.push(answer);
    }
    answers
}
