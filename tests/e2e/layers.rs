//! `corten layers` against what the directories, and the container itself, say.

use e2e::Sandbox;
use serde_json::Value;

/// An image of three layers: the test image, one that adds and replaces, one that deletes.
fn image(s: &Sandbox) {
    let step = |from: &str, script: &str, to: &str| {
        s.corten(&format!("run --name step {from} sh -c '{script}'")).ok();
        s.corten(&format!("commit -c 'CMD [\"sh\"]' step {to}")).ok();
        s.corten("rm step").ok();
    };
    step(
        "busybox",
        "mkdir -p /data/old; head -c 50000 /dev/zero >/data/big; echo one >/data/old/a; echo one >/data/kept",
        "made:1",
    );
    step(
        "made:1",
        "head -c 10 /dev/zero >/data/big; rm -r /data/old; mkdir /data/old; echo two >/data/old/b",
        "made:2",
    );
}

#[test]
fn layers_tell_what_gives_a_file_and_what_is_wasted() {
    let s = Sandbox::with(&["busybox"]);
    image(&s);
    let stack: Value = serde_json::from_str(s.corten("layers --format json made:2").ok()).unwrap();
    let layers = stack["layers"].as_array().unwrap();
    let (top, middle) = (&layers[0], &layers[1]);
    assert_eq!(top["opaque"], serde_json::json!(["/data/old"]), "{stack:#}");
    assert_eq!(top["replaces"], serde_json::json!(["/data/big"]), "{stack:#}");
    assert_eq!(middle["hidden"], 50004, "{stack:#}");
    assert_eq!(top["digest"].as_str().unwrap().len(), 7 + 64);
    // Sizes are those of the directories.
    for layer in layers {
        let script = format!(
            "find {} -type f -printf '%i %s\\n' | sort -u | awk '{{ n += $2 }} END {{ print n + 0 }}'",
            layer["directory"].as_str().unwrap()
        );
        assert_eq!(s.host(&script).ok().trim(), layer["size"].to_string(), "{layer:#}");
    }
    let text = s.corten("layers made:2").ok().to_owned();
    for said in ["50kB of it (", "nobody sees", "50kB  /data/big  of layer", "  /data/old\n", "getfattr -R"] {
        assert!(text.contains(said), "{said} in {text}");
    }
    let big = s.corten("layers made:2 data/big").ok().to_owned();
    assert!(
        big.contains("file, 10B") && big.contains("file, 50kB") && big.contains("hidden by layer"),
        "{big}"
    );
    let old = s.corten("layers made:2 /data/old").ok().to_owned();
    assert!(old.contains("1 entries") && old.contains("  b\n"), "{old}");
    let gone = s.corten("layers made:2 /data/old/a").ok().to_owned();
    assert!(gone.starts_with("/data/old/a is not there"), "{gone}");

    // What is said of every name in a directory is what a container sees.
    let entries = |what: &str, dir: &str| {
        let text = s.corten(&format!("layers -a {what} {dir}")).ok().to_owned();
        let lines = text.lines().skip_while(|line| !line.contains(" entries, each")).skip(1);
        let mut names: Vec<String> =
            lines.take_while(|line| !line.is_empty()).map(|l| l[7..].to_owned()).collect();
        names.sort();
        names.join("\n")
    };
    let seen = s.corten("run --rm made:2 sh -c 'ls -A /data /data/old'").ok().to_owned();
    assert_eq!(
        seen,
        format!("/data:\n{}\n\n/data/old:\n{}", entries("made:2", "/data"), entries("made:2", "/data/old"))
    );
    s.corten("layers nosuch").fails(1, &["nosuch"]);
    s.corten("layers @host").fails(1, &["@host"]);
    s.corten("layers made:2 /nothing").fails(1, &["/nothing"]);
    s.end();
}

#[test]
fn a_containers_own_layer_is_on_top() {
    let s = Sandbox::with(&["busybox"]);
    image(&s);
    s.corten("run -d --name box made:2 sh -c 'echo more >>/data/kept; rm /data/big; echo new >/new; exec sleep 1000'").ok();
    e2e::wait_until("it has written", 20, || s.corten("exec box cat /new").code == 0);
    let text = s.corten("layers box").ok().to_owned();
    for said in [
        "own layer deletes",
        "  /data/big\n",
        "own layer copied up",
        "  /data/kept\n",
        "what box has written",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    let kept = s.corten("layers box /data/kept").ok().to_owned();
    assert!(kept.starts_with("/data/kept comes from the container's own layer"), "{kept}");
    assert!(kept.contains("hidden by the container's own layer"), "{kept}");
    let big = s.corten("layers box /data/big").ok().to_owned();
    assert!(big.starts_with("/data/big is not there: the container's own layer deletes it"), "{big}");
    // By hand, it is the same.
    let by_hand = big.lines().rev().find(|line| line.contains("rw/upper")).unwrap().trim();
    assert!(s.host(by_hand).ok().starts_with('c'), "{by_hand}");
    s.corten("rm -f box").ok();
    s.end();
}
