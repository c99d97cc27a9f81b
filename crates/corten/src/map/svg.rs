//! The map as SVG: this machine at the top with its bridges, below it the containers, each on its cables.

use super::{Line, Whose, group_lines, line, space_line, whose};
use crate::fmt::words;
use engine::look::map::{Map, Seen};
use std::fmt::Write;

/// Pixels: of a container's box, of what is between two, of a line of text.
const BOX: usize = 380;
const GAP: usize = 30;
const LINE: usize = 18;
const MARGIN: usize = 20;
/// Of a letter: a fixed-width font of 12 pixels.
const LETTER: f64 = 7.25;

const STYLE: &str = "text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#1c2733}.h{font-weight:700;font-size:14px}\
.s{fill:#5b6b7b}.w{fill:#fff}.box{fill:#fff;stroke:#9fb1c2}.host{fill:#eef3f8;stroke:#9fb1c2}.bridge{fill:#2f6fb2}\
.cable{stroke:#2f6fb2;stroke-width:2;fill:none}.plug{fill:#fff;stroke:#2f6fb2;stroke-width:2}.own{fill:#cdebd5}.shared{fill:#ffe3b0}.this{fill:#ffd0cc}.layer{fill:#e3eaf1;stroke:#fff}\
.upper{fill:#cdebd5;stroke:#fff}.bar{fill:#e3eaf1}.full{fill:#2f6fb2}";

/// One self-contained picture.
pub fn svg(map: &Map) -> String {
    let columns = map.containers.len().clamp(1, 4);
    let width = 2 * MARGIN + columns * BOX + (columns - 1) * GAP;
    let bridges = map.bridges.iter().filter(|bridge| !bridge.ports.is_empty()).collect::<Vec<_>>();
    let head = 2 * MARGIN + LINE * (2 + map.host.links.len()) + bridges.len() * 34;
    let mut body = String::new();
    let mut top = MARGIN + head + 46;
    let (mut cables, mut plugs) = (String::new(), String::new());
    for row in map.containers.chunks(columns) {
        let mut tallest = 0;
        for (column, seen) in row.iter().enumerate() {
            let x = MARGIN + column * (BOX + GAP);
            tallest = tallest.max(container(&mut body, seen, x, top));
            for (nth, link) in seen.links.iter().filter(|link| link.bridge.is_some()).enumerate() {
                let Some(at) = bridges.iter().position(|b| Some(&b.name) == link.bridge.as_ref()) else {
                    continue;
                };
                // Behind the bridges below its own, and named where nothing hides the name.
                let from = MARGIN + head - (bridges.len() - at) * 34 + 22;
                let x = x + 40 + nth * 120;
                let peer = link.peer.clone().unwrap_or_default();
                let by_hand = format!("nsenter -t {} -n ip address show {}", seen.pid, link.name);
                let _ = write!(
                    cables,
                    "<g><title>{}</title><path class=\"cable\" d=\"M{x} {from}V{top}\"/>",
                    escape(&by_hand)
                );
                put(&mut cables, x + 5, MARGIN + head + 6, "s", &peer);
                put(&mut cables, x + 5, top - 5, "s", &link.name);
                cables.push_str("</g>");
                let _ = write!(plugs, "<circle class=\"plug\" cx=\"{x}\" cy=\"{from}\" r=\"3\"/>");
            }
        }
        top += tallest + GAP + 30;
    }
    let height = if map.containers.is_empty() { top } else { top - GAP };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\
         <title>containers on {}</title><style>{STYLE}</style>",
        escape(&map.host.name)
    );
    rect(&mut out, "host", MARGIN, MARGIN, width - 2 * MARGIN, head, 8);
    out.push_str(&cables);
    host(&mut out, map, width - 2 * MARGIN, head, &bridges);
    out.push_str(&plugs);
    out.push_str(&body);
    if map.containers.is_empty() {
        put(&mut out, MARGIN, top - 20, "s", "no container runs");
    }
    out.push_str("</svg>\n");
    out
}

fn host(out: &mut String, map: &Map, width: usize, height: usize, bridges: &[&engine::look::map::Bridge]) {
    let mut y = MARGIN + 22;
    titled(out, MARGIN + 12, y, "h", &line(format!("{}, {}", map.host.name, map.host.kernel), "uname -nsr"));
    for link in &map.host.links {
        y += LINE;
        let text = format!("{}  {}", link.name, link.addresses.join("  "));
        titled(out, MARGIN + 12, y, "s", &line(text, format!("ip address show {}", link.name)));
    }
    for (at, bridge) in bridges.iter().enumerate() {
        let y = MARGIN + height - (bridges.len() - at) * 34;
        let text =
            format!("{}  {}  the network '{}'", bridge.name, bridge.addresses.join("  "), bridge.network);
        let _ = write!(
            out,
            "<g><title>{}</title>",
            escape(&format!("bridge link; ip address show {}", bridge.name))
        );
        rect(out, "bridge", MARGIN + 12, y, width - 24, 22, 4);
        put(out, MARGIN + 20, y + 15, "w", &text);
        out.push_str("</g>");
    }
}

/// Draws a container and says how high it has become.
fn container(out: &mut String, seen: &Seen, x: usize, top: usize) -> usize {
    let mut inner = String::new();
    let left = x + 12;
    let mut y = top + 22;
    let title = format!("{}  {}", seen.name, seen.image);
    titled(&mut inner, left, y, "h", &line(title, format!("corten inspect {}", seen.name)));
    y += LINE;
    put(&mut inner, left, y, "s", &seen.id[..12.min(seen.id.len())]);
    for link in &seen.links {
        y += LINE;
        put(&mut inner, left, y, "", &format!("{}  {}", link.name, link.addresses.join("  ")));
    }
    for port in &seen.ports {
        y += LINE;
        titled(&mut inner, left, y, "", &line(format!("port {port}"), "nft list table inet corten"));
    }
    y += 14;
    y = spaces(&mut inner, seen, left, y);
    y = section(&mut inner, left, y, "processes: inside, outside");
    for process in &seen.processes {
        y += LINE;
        let text = format!("{:>4} {:>8}  {}", process.inside, process.outside, process.command);
        titled(&mut inner, left, y, "", &line(text, format!("grep NSpid /proc/{}/status", process.outside)));
    }
    y = section(&mut inner, left, y, "control group");
    for (text, part) in group_lines(&seen.group) {
        y += LINE;
        if let Some(part) = part {
            let width = BOX - 24;
            rect(&mut inner, "bar", left, y - 12, width, 15, 3);
            rect(&mut inner, "full", left, y + 2, (width as f64 * part.clamp(0.0, 1.0)) as usize, 2, 1);
        }
        titled(&mut inner, left + 4, y, "", &text);
    }
    y = section(&mut inner, left, y, "files");
    y += 6;
    for layer in &seen.layers {
        let _ = write!(inner, "<g><title>{}</title>", escape(&format!("ls {}", layer.path)));
        rect(&mut inner, if layer.writable { "upper" } else { "layer" }, left, y, BOX - 24, 20, 3);
        // A layer goes by its digest; `…/init` holds the mount points of all containers.
        let digest = layer.path.rsplit('/').find(|part| part.len() == 64).map(|digest| &digest[..12]);
        let name = digest.or_else(|| layer.path.rsplit('/').next()).unwrap_or_default();
        let kind = if layer.writable { "written to" } else { name };
        put(&mut inner, left + 6, y + 14, "", &format!("{:>9}  {kind}", words::size(layer.size)));
        inner.push_str("</g>");
        y += 20;
    }
    let height = y + 12 - top;
    rect(out, "box", x, top, BOX, height, 8);
    out.push_str(&inner);
    height
}

/// Eight fields, two rows: green is the container's own, yellow is shared, red is this machine's.
fn spaces(out: &mut String, seen: &Seen, left: usize, top: usize) -> usize {
    let width = (BOX - 24) / 4;
    for (i, space) in seen.spaces.iter().enumerate() {
        let (x, y) = (left + i % 4 * width, top + i / 4 * 38);
        let class = match whose(space) {
            Whose::Own => "own",
            Whose::Shared => "shared",
            Whose::Host => "this",
        };
        let said = space_line(seen, space);
        let _ = write!(out, "<g><title>{}\n{}</title>", escape(&said.text), escape(&said.by_hand));
        rect(out, class, x, y, width - 4, 34, 4);
        put(out, x + 6, y + 14, "", space.kind);
        put(out, x + 6, y + 28, "s", &space.inode.to_string());
        out.push_str("</g>");
    }
    top + 2 * 38
}

fn section(out: &mut String, x: usize, y: usize, title: &str) -> usize {
    put(out, x, y + 24, "s", title);
    y + 26
}

fn rect(out: &mut String, class: &str, x: usize, y: usize, width: usize, height: usize, round: usize) {
    let _ = write!(
        out,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{round}\"/>"
    );
}

/// Text that fits into a container's box, or is cut.
fn put(out: &mut String, x: usize, y: usize, class: &str, text: &str) {
    let most = ((BOX - 28) as f64 / LETTER) as usize;
    let text = if class == "w" || class == "h" { text.to_owned() } else { words::ellipsis(text, most) };
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    let _ = write!(out, "<text x=\"{x}\" y=\"{y}\" xml:space=\"preserve\"{class}>{}</text>", escape(&text));
}

/// Text that says how to see it by hand when it is pointed at.
fn titled(out: &mut String, x: usize, y: usize, class: &str, line: &Line) {
    let _ = write!(out, "<g><title>{}</title>", escape(&line.by_hand));
    put(out, x, y, class, &line.text);
    out.push_str("</g>");
}

/// For XML: names come from users and images.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && c != '\n' => out.push('?'),
            c => out.push(c),
        }
    }
    out
}
