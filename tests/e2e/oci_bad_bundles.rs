//! Broken bundles: one mistake each in a config.json that works. One line that names the field, exit code 1, nothing left.

use e2e::{Bundle, Sandbox};
use serde_json::json;
use std::fs;

const MISTAKES: &str = include_str!("oci_bad_bundles.txt");

/// Makes each mistake of a section and runs the bundle.
#[track_caller]
fn refused(section: &str) {
    let s = Sandbox::new();
    let good = s.bundle("bundle", &["true"]);
    s.oci("run -b bundle good").ok();
    let lines = MISTAKES.lines().skip_while(|line| *line != format!("[{section}]")).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let (mut count, mut wrong) = (0, Vec::new());
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let parts: Vec<&str> = line.splitn(3, " | ").collect();
        let [named, pointer, value] = parts[..] else { panic!("not three parts: {line}") };
        let mut bad = Bundle { dir: good.dir.clone(), config: good.config.clone() };
        match value {
            "-" => bad.remove(pointer),
            value => bad.set(pointer, serde_json::from_str(&repeat(value)).expect(line)),
        };
        bad.write();
        wrong.extend(complaint(&s, line, &[named]));
        count += 1;
    }
    assert!(count > 0, "no section {section}");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    s.end();
}

/// `x{3}` is `xxx`.
fn repeat(text: &str) -> String {
    let Some((before, rest)) = text.split_once("x{") else { return text.into() };
    let (number, after) = rest.split_once('}').expect("x{N}");
    format!("{before}{}{after}", "x".repeat(number.parse().expect("a number")))
}

/// Runs the bundle as it is written; what is wrong with how that failed.
fn complaint(s: &Sandbox, what: &str, named: &[&str]) -> Option<String> {
    let output = s.oci("run -b bundle bad");
    let what = if what.len() > 200 { &what[..what.floor_char_boundary(200)] } else { what };
    let lines: Vec<&str> = output.stderr.lines().collect();
    let wrong = if output.code != 1 {
        format!("exit code {}, {}", output.code, output.stderr.trim())
    } else if lines.len() != 1 {
        format!("{} lines:\n{}", lines.len(), output.stderr)
    } else if let Some(name) = named.iter().find(|name| !lines[0].contains(**name)) {
        format!("names no {name}: {}", lines[0])
    } else if lines[0].len() > 1000 {
        format!("a line of {} bytes", lines[0].len())
    } else if !output.stdout.is_empty() {
        format!("prints {}", output.stdout)
    } else if let Some(left) = left(s) {
        format!("{left} is left, after {}", lines[0])
    } else {
        return None;
    };
    Some(format!("{what}\n    {wrong}"))
}

/// What is left of a container in the runtime's directory; the rest is seen at the end of the sandbox.
fn left(s: &Sandbox) -> Option<String> {
    let entries = fs::read_dir(&s.scope.oci).ok()?;
    let mut names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.find(|name| !name.starts_with('.'))
}

#[test]
fn no_json() {
    let s = Sandbox::new();
    let good = s.bundle("bundle", &["true"]);
    let text = good.config.to_string();
    let mut wrong = Vec::new();
    let mut says = |what: &str, bytes: &[u8], named: &[&str]| {
        good.write_text(bytes);
        wrong.extend(complaint(&s, what, named));
    };
    says("empty", b"", &["config.json"]);
    for other in ["[]", "null", "3", "\"text\"", "true"] {
        says(other, other.as_bytes(), &["config.json"]);
    }
    for part in [1, 2, 30, text.len() / 3, text.len() / 2, text.len() - 1] {
        says("cut off", &text.as_bytes()[..part], &["config.json"]);
    }
    says("twice", format!("{text}{text}").as_bytes(), &["config.json"]);
    says("rest", format!("{text} x").as_bytes(), &["config.json"]);
    says("comma", format!("{},}}", &text[..text.len() - 1]).as_bytes(), &["config.json"]);
    says("single quotes", text.replace('"', "'").as_bytes(), &["config.json"]);
    says(
        "not UTF-8",
        &[&text.as_bytes()[..text.len() - 1], b",\"annotations\":{\"a\":\"\xff\"}}"].concat(),
        &["config.json"],
    );
    says("UTF-16", &text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>(), &["config.json"]);
    says("zeros", &[0; 4096], &["config.json"]);
    says("half a surrogate", text.replace("bundle\"", "b\\ud800\"").as_bytes(), &["config.json"]);
    let nested = |n: usize| format!("{{\"x\":{}{}}}", "[".repeat(n), "]".repeat(n));
    says("deep", nested(100_000).as_bytes(), &["config.json"]);
    let nested = format!("{},\"annotations\":{}}}", &text[..text.len() - 1], nested(2000));
    says("deep annotations", nested.as_bytes(), &["config.json"]);
    says("20 MB", format!("{text}{}", " ".repeat(20 << 20)).as_bytes(), &["config.json"]);
    for (twice, named) in [
        ("\"ociVersion\":\"1.0.0\"", "ociVersion"),
        ("\"process\":{\"args\":[\"false\"],\"cwd\":\"/\",\"user\":{\"uid\":0,\"gid\":0}}", "process"),
        ("\"linux\":{}", "linux"),
        ("\"root\":{\"path\":\"/\"}", "root"),
    ] {
        says(twice, format!("{},{twice}}}", &text[..text.len() - 1]).as_bytes(), &[named]);
    }
    let inside = text.replace("\"process\":{", "\"process\":{\"noNewPrivileges\":false,");
    says("a key twice in an object", inside.as_bytes(), &["noNewPrivileges"]);
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    s.end();
}

#[test]
fn no_bundle() {
    let s = Sandbox::new();
    s.bundle("bundle", &["true"]);
    s.oci("run -b nosuch id").fails(1, &["nosuch"]);
    s.host("mkdir empty directory directory/config.json fifo && mkfifo fifo/config.json && touch file").ok();
    s.oci("run -b empty id").fails(1, &["empty/config.json"]);
    s.oci("run -b directory id").fails(1, &["directory/config.json"]);
    s.oci("run -b fifo id").fails(1, &["fifo/config.json"]);
    s.oci("run -b file id").fails(1, &["file"]);
    for id in ["''", ".", "..", "../up", "a/b", ".hidden", "a b", "ümlaut", "-x"] {
        let output = s.oci(&format!("run -b bundle -- {id}"));
        output.exits(1);
        assert_eq!(output.stderr.lines().count(), 1, "{output}");
    }
    s.oci("run -b bundle").exits(1);
    s.oci(&format!("run -b bundle {}", "x".repeat(5000))).exits(1);
    s.end();
}

#[test]
fn mappings_of_a_user_namespace() {
    let range = |inside: i64, outside: i64, size: i64| json!({ "containerID": inside, "hostID": outside, "size": size });
    let s = Sandbox::new();
    let good = s.bundle("bundle", &["true"]);
    let mut wrong = Vec::new();
    for (named, uids, gids) in [
        ("linux.gidMappings", json!([range(0, 100_000, 10)]), json!([])),
        ("linux.uidMappings", json!([range(0, 100_000, 0)]), json!([range(0, 100_000, 1)])),
        (
            "linux.uidMappings",
            json!([range(0, 100_000, 10), range(5, 200_000, 10)]),
            json!([range(0, 100_000, 1)]),
        ),
        (
            "linux.uidMappings",
            json!([range(0, 100_000, 10), range(20, 100_009, 10)]),
            json!([range(0, 100_000, 1)]),
        ),
        ("linux.gidMappings", json!([range(0, 100_000, 10)]), json!([range(0, 4_294_967_295, 1)])),
        ("linux.gidMappings", json!([range(0, 100_000, 10)]), json!([range(4_294_967_290, 0, 10)])),
        ("linux.uidMappings[0]", json!([range(0, -1, 10)]), json!([range(0, 0, 10)])),
        ("linux.uidMappings[0]", json!([range(0, 1 << 33, 10)]), json!([range(0, 0, 10)])),
        ("linux.uidMappings", json!({ "containerID": 0 }), json!([range(0, 0, 10)])),
        ("linux.uidMappings[0]", json!([{ "containerID": 0, "size": 1 }]), json!([range(0, 0, 10)])),
        (
            "linux.uidMappings",
            json!((0..400).map(|i| range(2 * i, 100_000 + 2 * i, 1)).collect::<Vec<_>>()),
            json!([range(0, 0, 10)]),
        ),
        ("process.user.uid", json!([range(5, 100_000, 10)]), json!([range(0, 0, 10)])),
        ("process.user.gid", json!([range(0, 100_000, 10)]), json!([range(1, 0, 10)])),
    ] {
        let mut bad = Bundle { dir: good.dir.clone(), config: good.config.clone() };
        bad.set("/linux/namespaces/-", json!({ "type": "user" }));
        bad.set("/linux/uidMappings", uids.clone()).set("/linux/gidMappings", gids.clone()).write();
        wrong.extend(complaint(&s, &format!("{uids} {gids}"), &[named]));
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    s.end();
}

#[test]
fn the_top() {
    refused("top");
}

#[test]
fn the_process() {
    refused("process");
}

#[test]
fn the_mounts() {
    refused("mounts");
}

#[test]
fn namespaces_and_ids() {
    refused("namespaces");
}

#[test]
fn devices_paths_and_parameters() {
    refused("linux");
}

#[test]
fn resources() {
    refused("resources");
}

#[test]
fn seccomp() {
    refused("seccomp");
}

#[test]
fn hooks() {
    refused("hooks");
}
