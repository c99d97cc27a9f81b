//! Images: every form in which other tools save them, and what is then known of them.

use e2e::{Sandbox, images::image};
use std::process::Stdio;

/// Loads a test image and runs `true` in it by the name that it was saved under.
fn loads(archive: &str, name: &str) {
    let s = Sandbox::new();
    let output = s.corten(&format!("load -i {}", image(archive).display()));
    assert!(output.ok().contains("Loaded image"), "{output}");
    s.corten(&format!("run --rm --network none {name} true")).ok();
    s.end();
}

#[test]
fn skopeos_docker_archive() {
    loads("busybox.tar", "busybox");
}

#[test]
fn buildahs_docker_archive() {
    loads("busybox-buildah.tar", "busybox:buildah");
}

#[test]
fn docker_save_in_its_old_form() {
    loads("busybox-old.tar", "busybox:old");
}

#[test]
fn docker_save_in_its_new_form() {
    loads("busybox-new.tar", "busybox:new");
}

/// An OCI layout names its images by tag only, so the name is asked for, or the id is used.
fn loads_layout(archive: &str) {
    let s = Sandbox::new();
    s.corten(&format!("load -i {}", image(archive).display())).ok();
    let id = s.corten("images -q --no-trunc").ok().to_string();
    s.corten(&format!("run --rm --network none {id} true")).ok();
    s.end();
}

#[test]
fn oci_layouts() {
    loads_layout("busybox.oci");
    loads_layout("busybox.oci.tar");
}

#[test]
fn oci_layouts_with_zstd() {
    loads_layout("busybox-zstd.oci");
    loads_layout("busybox-zstd.oci.tar");
}

#[test]
fn compressed_archives_and_standard_input() {
    let s = Sandbox::new();
    let archive = image("busybox.tar");
    s.host(&format!(
        "gzip -c {0} >a.tar.gz && zstd -q -c {0} >a.tar.zst || cp {0} a.tar.zst",
        archive.display()
    ))
    .ok();
    for name in ["a.tar.gz", "a.tar.zst"] {
        let file = std::fs::File::open(s.dir.join(name)).expect("it was made");
        let output = e2e::Background::start("load", s.command("load").stdin(Stdio::from(file))).wait();
        assert!(output.ok().contains("Loaded image: busybox:latest"), "{output}");
    }
    let cat = format!("cat {} |", archive.display());
    let root = format!("CORTEN_ROOT={} CORTEN_STATE={}", s.scope.root.display(), s.scope.state.display());
    s.host(&format!("{cat} {root} {} load", s.command("").get_program().display())).ok();
    s.end();
}

#[test]
fn several_images_in_one_archive() {
    let s = Sandbox::new();
    let output = s.corten(&format!("load -i {}", image("several.tar").display()));
    for name in ["first:1", "first:2", "second:1"] {
        assert!(output.ok().contains(&format!("Loaded image: {name}")), "{output}");
    }
    assert_eq!(s.corten("images -q").ok().lines().collect::<std::collections::BTreeSet<_>>().len(), 2);
    assert_eq!(s.corten("run --rm second:1 cat /second").ok(), "second");
    s.corten("run --rm first:2 cat /second").exits(1);
    s.end();
}

#[test]
fn the_list() {
    let s = Sandbox::with(&["busybox"]);
    let list = s.corten("images");
    let lines: Vec<Vec<&str>> = list.ok().lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]);
    assert_eq!(lines[1][..2], ["busybox", "latest"]);
    let short = s.corten("images -q").ok().to_string();
    assert_eq!((short.len(), lines[1][2]), (12, short.as_str()));
    let full = s.corten("images -q --no-trunc").ok().to_string();
    assert!(full.starts_with(&format!("sha256:{short}")) && full.len() == 71, "{full}");
    let id = s.corten("image inspect -f '{{.Id}}' busybox").ok().to_string();
    assert_eq!(id, full);
    assert_eq!(s.corten("images --format '{{.Repository}}:{{.Tag}}'").ok(), "busybox:latest");
    s.end();
}

#[test]
fn what_is_known_of_an_image() {
    let s = Sandbox::with(&["busybox"]);
    let inspect =
        |template: &str| s.corten(&format!("image inspect -f '{template}' busybox:latest")).ok().to_string();
    assert_eq!(inspect("{{.Os}}/{{.Architecture}}"), "linux/amd64");
    assert_eq!(inspect("{{json .RepoTags}}"), r#"["busybox:latest"]"#);
    assert_eq!(inspect("{{json .Config.Cmd}}"), r#"["/bin/sh"]"#);
    assert_eq!(inspect(r#"{{index .Config.Labels "org.example.kind"}}"#), "test");
    assert_eq!(inspect("{{len .RootFS.Layers}}"), "1");
    let whole: serde_json::Value =
        serde_json::from_str(s.corten("image inspect busybox").ok()).expect("JSON");
    assert!(whole[0]["Size"].as_u64().is_some_and(|n| n > 1_000_000), "{whole}");
    s.corten("image inspect nosuch").exits(1);
    s.end();
}

#[test]
fn loading_twice_changes_nothing() {
    let s = Sandbox::with(&["busybox"]);
    let before = s.corten("images").ok().to_string();
    s.corten(&format!("load -q -i {}", image("busybox.tar").display())).ok();
    assert_eq!(s.corten("images").ok(), before);
    s.end();
}

#[test]
fn a_real_server_from_an_archive() {
    let s = Sandbox::with(&["nginx"]);
    assert!(
        s.corten("image inspect -f '{{len .RootFS.Layers}}' nginx").ok().parse::<u32>().is_ok_and(|n| n >= 4)
    );
    assert_eq!(s.corten("run --rm nginx cat /var/www/html/index.html").ok(), "hello from nginx");
    // Set-id bits, capabilities and owners are where dpkg put them.
    let script = "stat -c '%a %u:%g' /usr/bin/passwd /tmp /etc/shadow";
    let output = s.corten(&format!("run --rm nginx sh -c \"{script}\""));
    assert_eq!(output.ok(), "4755 0:0\n1777 0:0\n640 0:42");
    // Files that a later layer deleted are gone.
    s.corten("run --rm nginx ls /var/www/html/index.nginx-debian.html").exits(2);
    s.end();
}

#[test]
fn layers_as_a_tree_and_what_lies_on_them() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run --name box --network none busybox touch /new").ok();
    s.corten("commit box above:1").ok();
    s.corten("rm box").ok();
    let layers = |name: &str| {
        s.corten(&format!("image inspect -f '{{{{len .RootFS.Layers}}}}' {name}")).ok().to_owned()
    };
    assert_eq!((layers("busybox"), layers("above:1")), ("1".into(), "2".into()));
    let tree = s.corten("image tree above:1").ok().to_owned();
    let lines: Vec<&str> = tree.lines().skip_while(|line| *line != "Image Layers").skip(1).collect();
    assert_eq!(lines.len(), 2, "{tree}");
    assert!(
        lines[0].starts_with("├── ID: ") && lines[0].ends_with("Top Layer of: [busybox:latest]"),
        "{tree}"
    );
    assert!(lines[1].starts_with("└── ID: ") && lines[1].ends_with("Top Layer of: [above:1]"), "{tree}");
    // From below: the same two, one on the other.
    let above = s.corten("image tree --whatrequires busybox").ok().to_owned();
    assert!(above.contains("└── ID: ") && above.trim_end().ends_with("Top Layer of: [above:1]"), "{above}");
    s.corten("image tree nosuch").fails(1, &["nosuch"]);
    assert_eq!(s.corten("image ls -q").ok().lines().count(), 2);
    s.corten("image rm above:1").ok();
    assert_eq!(s.corten("image ls --format '{{.Repository}}'").ok(), "busybox");
    s.end();
}

/// As many as Docker's overlay2 takes, and one.
#[test]
fn an_image_of_128_layers() {
    let s = Sandbox::new();
    let base = image("busybox-old.tar");
    s.host(&format!(
        "mkdir in out && tar -C in -xf {} && cp $(find in -name layer.tar | head -n 1) out/1.tar && cd out &&
         for n in $(seq 2 128); do mkdir f && echo $n >f/last && echo $n >f/of-$n && tar -C f -cf $n.tar last of-$n && rm -r f; done &&
         hashes=$(for n in $(seq 128); do sha256sum <$n.tar | cut -d' ' -f1; done | sed 's/.*/\"sha256:&\"/' | paste -sd, -) &&
         names=$(for n in $(seq 128); do echo $n.tar; done | sed 's/.*/\"&\"/' | paste -sd, -) &&
         echo \"{{\\\"architecture\\\":\\\"amd64\\\",\\\"os\\\":\\\"linux\\\",\\\"rootfs\\\":{{\\\"type\\\":\\\"layers\\\",\\\"diff_ids\\\":[$hashes]}}}}\" >config.json &&
         echo \"[{{\\\"Config\\\":\\\"config.json\\\",\\\"RepoTags\\\":[\\\"many:1\\\"],\\\"Layers\\\":[$names]}}]\" >manifest.json &&
         tar -cf ../many.tar *.json *.tar",
        base.display()
    ))
    .ok();
    s.corten("load -q -i many.tar").ok();
    let seen = s.corten(
        "run --rm --network none many:1 sh -c 'cat /last; ls -d /of-* | wc -l; echo new >/last; cat /last'",
    );
    assert_eq!(seen.ok(), "128\n127\nnew");
    s.end();
}

/// `--platform`: an image here is for one.
#[test]
fn images_for_other_platforms_stay_as_they_are() {
    let s = Sandbox::with(&["busybox"]);
    let platform = s.corten("image inspect -f '{{.Os}}/{{.Architecture}}' busybox").ok().to_owned();
    let other = if platform.ends_with("/s390x") { "linux/amd64" } else { "linux/s390x" };
    for line in ["image inspect", "history", "rmi"] {
        for (wanted, words) in [(other, ["busybox", &platform, other]), ("nonsense/a/b/c", ["nonsense"; 3])] {
            let output = s.corten(&format!("{line} --platform {wanted} busybox"));
            assert_eq!(output.code, 1, "{output}");
            // `inspect` prints what it has found, too: nothing.
            assert!(["", "[]"].contains(&output.stdout.trim_end()), "{output}");
            assert!(words.iter().all(|word| output.stderr.contains(word)), "{output}");
        }
    }
    let inspected = s.corten(&format!("image inspect --platform {platform} -f '{{{{.Os}}}}' busybox"));
    assert_eq!(inspected.ok(), "linux");
    assert!(
        s.corten(&format!("rmi --platform {platform} busybox")).ok().contains("Untagged: busybox:latest")
    );
    assert_eq!(s.corten("images -q").ok(), "");
    s.end();
}
