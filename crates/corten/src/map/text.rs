//! The map as text: a tree, with the commands that show its leaves by hand at the right.

use super::{Line, group_lines, line, printable, space_line};
use crate::fmt::words;
use engine::look::map::{Bridge, Link, Map, Seen};
use std::fmt::Write;

/// A branch of the tree.
struct Node {
    line: Line,
    below: Vec<Node>,
}

fn leaf(line: Line) -> Node {
    Node { line, below: Vec::new() }
}

fn node(text: String, by_hand: impl Into<String>, below: Vec<Node>) -> Node {
    Node { line: line(text, by_hand), below }
}

/// The whole picture.
pub fn text(map: &Map, by_hand: bool) -> String {
    let mut out = tree(&host(map), by_hand, &|text| text.to_owned());
    for seen in &map.containers {
        // Said once, at the head of the container's tree.
        let (pid, id) = (seen.pid.to_string(), seen.id.as_str());
        let short = |hint: &str| {
            let words =
                hint.split(' ').map(|word| word.replace(&format!("/{pid}/"), "/$PID/").replace(id, "$ID"));
            let words: Vec<String> =
                words.map(|word| if word == pid { "$PID".into() } else { word }).collect();
            words.join(" ")
        };
        out.push_str(&tree(&container(seen), by_hand, &short));
    }
    if map.containers.is_empty() {
        out.push_str("no container runs\n");
    }
    out
}

/// One tree, and an empty line.
fn tree(root: &Node, by_hand: bool, short: &dyn Fn(&str) -> String) -> String {
    let mut lines = Vec::new();
    flatten(root, "", "", &mut lines);
    let width = lines.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (number, (text, hint)) in lines.into_iter().enumerate() {
        match hint.is_empty() || !by_hand {
            true => drop(writeln!(out, "{text}")),
            false if number == 0 => drop(writeln!(out, "{text:<width$}   # {hint}")),
            false => drop(writeln!(out, "{text:<width$}   # {}", short(&hint))),
        }
    }
    out.push('\n');
    out
}

/// Ids, cut to what tells them apart.
fn cut_ids(text: &str) -> String {
    let short = |part: &str| {
        let is_id = part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit());
        if is_id { format!("{}…", &part[..12]) } else { part.to_owned() }
    };
    text.split('/').map(short).collect::<Vec<_>>().join("/")
}

fn flatten(node: &Node, first: &str, rest: &str, lines: &mut Vec<(String, String)>) {
    lines.push((format!("{first}{}", printable(&cut_ids(&node.line.text))), printable(&node.line.by_hand)));
    for (i, below) in node.below.iter().enumerate() {
        let last = i + 1 == node.below.len();
        let (branch, on) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        flatten(below, &format!("{rest}{branch}"), &format!("{rest}{on}"), lines);
    }
}

fn host(map: &Map) -> Node {
    let mut below: Vec<Node> = map.host.links.iter().map(|link| leaf(link_line(link))).collect();
    below.extend(map.bridges.iter().map(|bridge| bridge_node(map, bridge)));
    node(format!("this machine: {}, {}", map.host.name, map.host.kernel), "uname -nsr", below)
}

fn link_line(link: &Link) -> Line {
    let down = if link.up { "" } else { "  (down)" };
    line(
        format!("{}  {}{down}", link.name, link.addresses.join("  ")),
        format!("ip address show {}", link.name),
    )
}

fn bridge_node(map: &Map, bridge: &Bridge) -> Node {
    let far = |port: &String| {
        let end = map.containers.iter().find_map(|seen| {
            let link = seen.links.iter().find(|link| link.peer.as_ref() == Some(port))?;
            Some(format!("{port} ── {} of {}", link.name, seen.name))
        });
        leaf(line(end.unwrap_or_else(|| format!("{port} ──")), format!("bridge link show dev {port}")))
    };
    node(
        format!(
            "{}  {}  bridge of the network '{}'",
            bridge.name,
            bridge.addresses.join("  "),
            bridge.network
        ),
        format!("ip address show {}", bridge.name),
        bridge.ports.iter().map(far).collect(),
    )
}

fn container(seen: &Seen) -> Node {
    let mut below = vec![node(
        "namespaces".to_owned(),
        format!("lsns -p {}", seen.pid),
        seen.spaces.iter().map(|space| leaf(space_line(seen, space))).collect(),
    )];
    let mut links: Vec<Node> = Vec::new();
    for link in &seen.links {
        let cable = match (&link.peer, &link.bridge) {
            (Some(peer), Some(bridge)) => format!("  ── {peer} on {bridge}"),
            (Some(peer), None) => format!("  ── {peer}"),
            _ => String::new(),
        };
        let by_hand = format!("nsenter -t {} -n ip address show {}", seen.pid, link.name);
        links.push(leaf(line(format!("{}  {}{cable}", link.name, link.addresses.join("  ")), by_hand)));
    }
    links.extend(
        seen.ports.iter().map(|port| leaf(line(format!("port {port}"), "nft list table inet corten"))),
    );
    if links.is_empty() {
        links.push(leaf(line("this machine's".to_owned(), "ip address")));
    }
    below.push(node("network".to_owned(), "", links));
    below.push(node(
        "processes".to_owned(),
        "",
        seen.processes
            .iter()
            .map(|p| {
                let text =
                    format!("{} is {} outside  {}", p.inside, p.outside, words::ellipsis(&p.command, 60));
                leaf(line(text, format!("grep NSpid /proc/{}/status", p.outside)))
            })
            .collect(),
    ));
    let limits =
        group_lines(&seen.group).into_iter().map(|(line, part)| leaf(with_bar(line, part))).collect();
    below.push(node(format!("control group  {}", seen.group.directory), "", limits));
    below.push(node(
        "files".to_owned(),
        format!("grep ' / / ' /proc/{}/mountinfo", seen.pid),
        seen.layers
            .iter()
            .map(|layer| {
                let kind = if layer.writable { "written to" } else { "read only" };
                let text = format!("{:>9}  {kind}  {}", words::size(layer.size), layer.path);
                leaf(line(text, format!("ls {}", layer.path)))
            })
            .collect(),
    ));
    let title = format!("{}  {}  {}", seen.name, seen.image, &seen.id[..12.min(seen.id.len())]);
    node(title, format!("PID={} ID={}", seen.pid, seen.id), below)
}

fn with_bar(mut line: Line, part: Option<f64>) -> Line {
    const WIDTH: usize = 20;
    if let Some(part) = part {
        let full = ((part.clamp(0.0, 1.0) * WIDTH as f64).round() as usize).min(WIDTH);
        line.text = format!("{:<34} {}{}", line.text, "█".repeat(full), "░".repeat(WIDTH - full));
    }
    line
}
