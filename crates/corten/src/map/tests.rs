//! The three forms of one picture.

use super::{page, svg, text};
use engine::look::map::{Bridge, Group, Host, Layer, Link, Map, Process, Seen, Space};

fn link(name: &str, address: &str, cable: Option<(&str, &str)>) -> Link {
    Link {
        name: name.into(),
        up: true,
        addresses: vec![address.into()],
        peer: cable.map(|(peer, _)| peer.into()),
        bridge: cable.map(|(_, bridge)| bridge.into()),
    }
}

fn map() -> Map {
    let space = |kind, inode, with: &[&str], host| Space {
        kind,
        inode,
        with: with.iter().map(|name| (*name).to_owned()).collect(),
        host,
    };
    Map {
        host: Host {
            name: "vm".into(),
            kernel: "Linux 6.18".into(),
            links: vec![link("eth0", "192.0.2.2/24", None)],
        },
        bridges: vec![Bridge {
            name: "corten0".into(),
            network: "bridge".into(),
            addresses: vec!["10.77.0.1/16".into()],
            ports: vec!["veth7dbf8be".into()],
        }],
        containers: vec![Seen {
            name: "web".into(),
            id: "5f0ab6b2a0dc7a5a4cb7a8b5be4a8a1f43d2ab2f1f6d04b6a1cb7a0a2a4f8f11".into(),
            image: "nginx<b>".into(),
            pid: 4711,
            spaces: vec![
                space("mnt", 4_026_532_251, &[], false),
                space("net", 4_026_532_255, &["near"], false),
                space("uts", 4_026_531_838, &[], true),
            ],
            links: vec![link("eth0", "10.77.0.2/16", Some(("veth7dbf8be", "corten0")))],
            ports: vec!["0.0.0.0:8080->80/tcp".into()],
            processes: vec![Process { inside: 1, outside: 4711, command: "nginx: master\u{1b}[31m".into() }],
            group: Group {
                directory: "/sys/fs/cgroup/corten/5f0a".into(),
                memory: 16 << 20,
                memory_limit: Some(64 << 20),
                cpu_seconds: 1.25,
                cpu_limit: Some(0.5),
                pids: 3,
                pids_limit: None,
            },
            layers: vec![
                Layer { path: "/r/containers/5f/rw/upper".into(), size: 12_000, writable: true },
                Layer {
                    path: "/r/layers/3db3feff68d487ff9a29/diff".into(),
                    size: 80_000_000,
                    writable: false,
                },
            ],
        }],
    }
}

#[test]
fn as_text_it_is_a_tree() {
    insta::assert_snapshot!(text::text(&map(), false), @r#"
    this machine: vm, Linux 6.18
    ├─ eth0  192.0.2.2/24
    └─ corten0  10.77.0.1/16  bridge of the network 'bridge'
       └─ veth7dbf8be ── eth0 of web

    web  nginx<b>  5f0ab6b2a0dc
    ├─ namespaces
    │  ├─ mnt    4026532251
    │  ├─ net    4026532255  with near
    │  └─ uts    4026531838  this machine's
    ├─ network
    │  ├─ eth0  10.77.0.2/16  ── veth7dbf8be on corten0
    │  └─ port 0.0.0.0:8080->80/tcp
    ├─ processes
    │  └─ 1 is 4711 outside  nginx: master?[31m
    ├─ control group  /sys/fs/cgroup/corten/5f0a
    │  ├─ memory     16.8MB of 67.1MB        █████░░░░░░░░░░░░░░░
    │  ├─ cpu        1.25 s used, 0.5 CPUs at a time
    │  └─ processes  3
    └─ files
       ├─      12kB  written to  /r/containers/5f/rw/upper
       └─      80MB  read only  /r/layers/3db3feff68d487ff9a29/diff
    "#);
    let told = text::text(&map(), true);
    assert!(told.contains("# PID=4711 ID=5f0ab6b2a0dc7a5a"), "{told}");
    assert!(told.contains("# nsenter -t $PID -n ip address show eth0"), "{told}");
}

#[test]
fn as_a_picture_it_has_all_and_is_well_formed() {
    let picture = svg::svg(&map());
    for word in ["web", "10.77.0.2/16", "corten0", "0.0.0.0:8080-&gt;80/tcp", "4026532255", "nginx&lt;b&gt;"]
    {
        assert!(picture.contains(word), "{word} in {picture}");
    }
    assert!(!picture.contains("<b>") && !picture.contains('\u{1b}'));
    let opened = picture.matches("<g>").count();
    assert_eq!(opened, picture.matches("</g>").count());
    assert_eq!(picture.matches("<text").count(), picture.matches("</text>").count());
    for (class, kind) in [("own", "mnt"), ("shared", "net"), ("this", "uts")] {
        assert!(picture.contains(&format!("class=\"{class}\"")), "{kind}");
    }
}

#[test]
fn a_page_needs_nothing_else() {
    let page = page::page(&map(), false);
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("1 container on vm"));
    // Nothing is asked for from anywhere.
    for from in ["src=", "href=", "@import", "url("] {
        assert!(!page.contains(from), "{from}");
    }
}
