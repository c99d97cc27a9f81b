//! Images whose metadata means no good: what they say is text, or is refused with one line.

use e2e::Sandbox;

/// Loads an image of one layer (busybox) with this `config` object.
fn load(s: &Sandbox, name: &str, config: &str) -> e2e::Output {
    let script = format!(
        r#"set -e; mkdir -p {name}/root; cd {name}; cp {layer}/bin/busybox root/; ln -s busybox root/sh; tar -C root -cf layer.tar .
        printf '%s' '{{"architecture":"amd64","os":"linux","config":{config},"rootfs":{{"type":"layers","diff_ids":["sha256:'$(sha256sum layer.tar | cut -d' ' -f1)'"]}}}}' >c.json
        printf '%s' '[{{"Config":"c.json","RepoTags":["{name}:1"],"Layers":["layer.tar"]}}]' >manifest.json
        tar -cf ../{name}.tar manifest.json c.json layer.tar"#,
        layer = s.corten("image inspect -f '{{.GraphDriver.Data.UpperDir}}' busybox").ok(),
    );
    s.host(&script).ok();
    s.corten(&format!("load -q -i {name}.tar"))
}

#[test]
fn cve_2026_53488_labels_and_annotations_are_text() {
    let s = Sandbox::with(&["busybox"]);
    let labels = r#"{"Cmd":["/sh","-c","echo hello"],"Labels":{"containerd.io/restart.loguri":"binary:///bin/sh","run.oci.hooks":"/bin/sh","io.kubernetes.cri":"x","org.corten.privileged":"true","cdi.k8s.io/x":"vendor.com/net=all","a\nb":"c\u001b[31m","--privileged":"","com.docker.network.bridge.name":"corten0"}}"#;
    load(&s, "labels", labels).ok();
    assert_eq!(s.corten("run --rm --network none labels:1").ok(), "hello");
    let shown = s.corten("image inspect labels:1").ok().to_string();
    assert!(shown.contains(r#""a\nb": "c\u001b[31m""#), "{shown}");
    assert!(s.corten("create --name box --network none labels:1").code == 0);
    assert_eq!(s.inspect("box", "{{.HostConfig.Privileged}}"), "false");
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn what_an_image_asks_for_is_refused_or_stays_inside() {
    let s = Sandbox::with(&["busybox"]);
    // name, config, what is said; nothing: it runs
    let cases = [
        ("user1", r#"{"Cmd":["/sh","-c","true"],"User":"4294967296"}"#, "4294967296"),
        ("user2", r#"{"Cmd":["/sh","-c","true"],"User":"-1"}"#, "-1"),
        ("user3", r#"{"Cmd":["/sh","-c","true"],"User":"0:99999999999"}"#, "99999999999"),
        ("dir", r#"{"Cmd":["/sh","-c","true"],"WorkingDir":"/proc/self/fd/8"}"#, "/proc/self/fd/8"),
        ("zero", r#"{"Cmd":["/sh","-c","a\u0000b"]}"#, ""),
        ("env", r#"{"Cmd":["/sh","-c","true"],"Env":["A=\u0000"]}"#, ""),
        ("signal", r#"{"Cmd":["/sh","-c","true"],"StopSignal":"SIGBOGUS"}"#, "SIGBOGUS"),
        ("volume", r#"{"Cmd":["/sh","-c","true"],"Volumes":{"/../../../../etc":{}}}"#, ""),
    ];
    for (name, config, says) in cases {
        let loaded = load(&s, name, config);
        let output =
            if loaded.code == 0 { s.corten(&format!("run --rm --network none {name}:1")) } else { loaded };
        if output.code != 0 {
            let errors: Vec<&str> = output
                .stderr
                .lines()
                .filter(|l| !l.trim().is_empty() && !l.starts_with(' ') && !l.starts_with("Run "))
                .collect();
            assert!(
                errors.len() == 1 && errors[0].contains(says) && !errors[0].contains("panicked"),
                "{name}: {output}"
            );
        } else {
            assert_eq!(says, "", "{name} runs: {output}");
        }
    }
    assert!(s.corten("system check").ok().ends_with("no faults"));
    s.end();
}

#[test]
fn the_paths_of_graph_driver_are_where_the_files_are() {
    let s = Sandbox::with(&["several"]);
    s.corten("run -d --name box --network none second:1 sh -c 'echo x >/new; echo done; sleep 1000'").ok();
    e2e::wait_until("the file", 20, || s.corten("logs box").stdout.contains("done"));
    // The container's own layer, and below it those of the image, topmost first.
    let data = |what: &str| s.inspect("box", &format!("{{{{.GraphDriver.Data.{what}}}}}"));
    assert_eq!(std::fs::read(format!("{}/new", data("UpperDir"))).expect("on the host"), b"x\n");
    let lower = data("LowerDir");
    let image = s
        .corten("image inspect -f '{{.GraphDriver.Data.UpperDir}}:{{.GraphDriver.Data.LowerDir}}' second:1")
        .ok()
        .to_string();
    assert!(lower.ends_with(&image) && image.split(':').count() == 2, "{lower} {image}");
    assert!(lower.split(':').all(|dir| std::path::Path::new(dir).is_dir()), "{lower}");
    assert_eq!(
        std::fs::read(format!("{}/second", image.split(':').next().unwrap_or_default())).expect("a layer"),
        b"second\n"
    );
    for dir in ["WorkDir", "MergedDir"] {
        assert!(std::path::Path::new(&data(dir)).is_dir(), "{dir}");
    }
    // As overlayfs has them: the same layers by hand give the same files.
    let merged = s.host(&format!("mkdir hand && mount -t overlay overlay -o ro,lowerdir={}:{lower} hand && cat hand/new hand/second; umount hand", data("UpperDir")));
    assert_eq!(merged.ok(), "x\nsecond");
    s.corten("rm -f box").ok();
    s.end();
}
