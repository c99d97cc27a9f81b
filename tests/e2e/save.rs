//! `save`: archives that others read, and that come back as they were.

use e2e::{Sandbox, images::image};

/// `skopeo inspect` of what is at `from`: its layers' digests and the digest of its config.
fn skopeo(s: &Sandbox, from: &str) -> String {
    s.host(&format!("skopeo inspect --raw {from} | jq -r '.config.digest, .layers[].digest'"))
        .ok()
        .to_string()
}

#[test]
fn skopeo_reads_both_forms_in_it() {
    let s = Sandbox::with(&["several"]);
    s.corten("save -o all.tar first second:1").ok();
    let first =
        s.corten("image inspect -f '{{.Id}}{{range .RootFS.Layers}}\n{{.}}{{end}}' first:1").ok().to_string();
    for tag in ["first:1", "first:2"] {
        assert_eq!(skopeo(&s, &format!("docker-archive:all.tar:{tag}")), first, "{tag}");
    }
    assert!(!s.host("skopeo inspect docker-archive:all.tar:second:1").ok().is_empty());
    // skopeo checks every digest on the way.
    s.corten("save -o one.tar second:1").ok();
    s.host("skopeo copy -q oci-archive:one.tar dir:copy").ok();
    s.end();
}

#[test]
fn the_tutorials_find() {
    let s = Sandbox::with(&["several"]);
    s.corten("save second -o debian.tar").ok();
    let script = "mkdir -p debian_layer fs/lower && tar xf debian.tar -C debian_layer &&
        find debian_layer -name 'layer.tar' -exec tar xf {} -C fs/lower \\; && fs/lower/bin/cat fs/lower/second &&
        find debian_layer -type f -name layer.tar | wc -l";
    assert_eq!(s.host(script).ok(), "second\n2");
    s.end();
}

#[test]
fn save_and_load_keep_digests() {
    for archive in ["busybox.tar", "busybox.oci.tar", "busybox-zstd.oci.tar", "busybox-new.tar"] {
        let s = Sandbox::new();
        s.corten(&format!("load -q -i {}", image(archive).display())).ok();
        let id = s.corten("images -q --no-trunc").ok().to_string();
        s.corten(&format!("tag {id} x:1")).ok();
        s.corten(&format!("tag {id} registry.example.org:5000/y/z:2")).ok();
        let names = "x:1 registry.example.org:5000/y/z:2";
        s.corten(&format!("save -o docker.tar {names}")).ok();
        s.corten(&format!("save --format oci-archive -o oci.tar {names}")).ok();
        for saved in ["docker", "oci"] {
            s.corten(&format!("rmi -f {id}")).ok();
            s.corten(&format!("load -q -i {saved}.tar")).ok();
            let list = s.corten("images --format '{{.Repository}}:{{.Tag}} {{.ID}}' --no-trunc");
            assert_eq!(
                list.ok(),
                format!("x:1 {id}\nregistry.example.org:5000/y/z:2 {id}"),
                "{archive} {saved}"
            );
            let format = if saved == "oci" { "oci-archive" } else { "docker-archive" };
            s.corten(&format!("save --format {format} -o again.tar {names}")).ok();
            s.host(&format!("cmp {saved}.tar again.tar")).ok();
        }
        s.corten("run --rm --network none x:1 true").ok();
        s.end();
    }
}

#[test]
fn an_oci_layout_keeps_the_digest_of_its_manifest() {
    for archive in ["busybox.oci", "busybox-zstd.oci"] {
        let s = Sandbox::new();
        s.corten(&format!("load -q -i {}", image(archive).display())).ok();
        let id = s.corten("images -q").ok().to_string();
        s.corten(&format!("save --format oci-archive -o saved.tar {id}")).ok();
        let script = format!(
            "cmp <(skopeo inspect --raw oci:{}) <(skopeo inspect --raw oci-archive:saved.tar)",
            image(archive).display()
        );
        s.host(&script).ok();
        s.end();
    }
}

#[test]
fn nothing_half_is_left_under_the_name() {
    let s = Sandbox::with(&["busybox"]);
    std::fs::write(s.dir.join("old.tar"), "old").expect("writable");
    s.corten("save -o old.tar busybox nosuch:1").fails(1, &["nosuch:1"]);
    assert_eq!(std::fs::read_to_string(s.dir.join("old.tar")).expect("readable"), "old");
    // A file of the layer is another: it is noticed, and nothing is written.
    let layer = s.corten("image inspect -f '{{.GraphDriver.Data.UpperDir}}' busybox").ok().to_string();
    s.host(&format!("printf x | dd of={layer}/bin/busybox conv=notrunc seek=5000 bs=1")).ok();
    s.corten("save -o old.tar busybox").fails(1, &["sha256:", "not those that were unpacked"]);
    assert_eq!(s.host("ls -A").ok().lines().filter(|l| l.contains("tar")).count(), 1);
    s.corten("save -o nosuch/x.tar busybox").fails(1, &["nosuch/x.tar"]);
    s.corten("save -o . busybox").fails(1, &["directory"]);
    s.corten("save -o x --format cpio busybox").fails(125, &["cpio"]);
    s.corten("save @host").fails(1, &["@host"]);
    s.end();
}

#[test]
fn standard_output_and_terminals() {
    let s = Sandbox::with(&["busybox"]);
    let root = format!("CORTEN_ROOT={} CORTEN_STATE={}", s.scope.root.display(), s.scope.state.display());
    let corten = s.command("").get_program().display().to_string();
    s.host(&format!("{root} {corten} save busybox >a.tar && {root} {corten} save busybox | cmp - a.tar"))
        .ok();
    let mut pty = s.pty("save busybox");
    pty.expect("refusing to save to a terminal");
    assert_eq!(pty.wait().code, 1);
    s.end();
}

#[test]
fn platforms_of_archives() {
    let s = Sandbox::new();
    // One name for two platforms, as a layout made for several lists them; the config of both is for amd64.
    s.host(&format!("cp -r {} layout", image("busybox.oci").display())).ok();
    let index = s.dir.join("layout/index.json");
    let text = std::fs::read(&index).expect("the layout is whole");
    let mut value: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let manifest = value["manifests"][0].clone();
    let of = |architecture: &str, digest: serde_json::Value| {
        let mut manifest = manifest.clone();
        manifest["platform"] = serde_json::json!({"os": "linux", "architecture": architecture});
        manifest["digest"] = digest;
        manifest
    };
    let missing = format!("sha256:{}", "0".repeat(64));
    value["manifests"] = vec![of("s390x", missing.into()), of("amd64", manifest["digest"].clone())].into();
    std::fs::write(&index, value.to_string()).expect("the sandbox is writable");
    s.corten("load -q -i layout").ok();
    s.corten("load -q --platform linux/s390x -i layout").fails(1, &["cannot load 'layout'", "0000"]);
    s.corten("load -q --platform linux/arm64 -i layout").fails(1, &["no image for linux/arm64"]);
    let docker = image("busybox.tar").display().to_string();
    s.corten(&format!("load -q --platform linux/arm64 -i {docker}"))
        .fails(1, &["no image for linux/arm64; there is one for linux/amd64"]);
    s.corten(&format!("load -q --platform linux/amd64 -i {docker}")).ok();
    s.corten("save --platform linux/amd64 -o x.tar busybox").ok();
    s.corten("save --platform linux/arm64 -o x.tar busybox").fails(1, &["busybox", "linux/arm64"]);
    s.corten("push --platform linux/arm64 127.0.0.1:1/x").exits(1);
    s.corten("history -q --platform arm64 busybox").fails(1, &["busybox", "linux/amd64", "linux/arm64"]);
    s.end();
}
