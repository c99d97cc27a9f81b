//! `commit`: images out of what containers have written.

use e2e::{Sandbox, wait_until};

#[test]
fn what_a_container_wrote_is_an_image() {
    let s = Sandbox::with(&["busybox"]);
    let script = "echo x >/new; rm /bin/ls; rm -r /var; mkdir /var; touch /var/x; rm /etc/group; mkdir /etc/group; mkfifo /fifo; ln /new /hard; chown 5:6 /new; chmod 4711 /new";
    s.corten(&format!(
        "run --name box --network none -v /v -e A=1 -w /root -l a=b busybox sh -c '{script}; touch /v/no'"
    ))
    .ok();
    let id = s.corten("commit -a me -m 'a comment' box new:1").ok().to_string();
    assert_eq!(
        s.corten("images --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}' new").ok(),
        format!("new:1 {id}")
    );
    let look = "cat /new; stat -c \"%u:%g %a %h %F\" /new /fifo /etc/group /v; ls /v /var; ls -d /bin/* | grep -c x; type ls";
    let seen =
        s.corten(&format!("run --rm --network none new:1 sh -c '{}'", look.replace("ls", "busybox ls")));
    let seen = format!("{}{}", seen.stdout, seen.code);
    assert!(
        seen.starts_with("x\n5:6 4711 2 regular file\n0:0 644 1 fifo\n0:0 755 2 directory\n0:0 755 2 directory\n/v:\n\n/var:\nx\n"),
        "{seen}"
    );
    assert!(s.corten("run --rm --network none new:1 ls").code == 127);
    let inspect = |what: &str| s.corten(&format!("image inspect -f '{{{{{what}}}}}' new:1")).ok().to_string();
    assert_eq!(inspect(".Author"), "me");
    assert_eq!(inspect(".Comment"), "a comment");
    assert_eq!(
        inspect("json .Config.Labels"),
        r#"{"a":"b","io.buildah.version":"1.28.2","org.example.kind":"test"}"#
    );
    assert_eq!(inspect("json .Config.Volumes"), r#"{"/v":{}}"#);
    assert_eq!(inspect(".Config.WorkingDir"), "/root");
    assert!(inspect(".Config.Env").contains("A=1") && inspect(".Config.Env").contains("PATH="));
    assert_eq!(inspect("len .RootFS.Layers"), "2");
    let history =
        s.corten("history --no-trunc --format '{{.Comment}}|{{.CreatedBy}}' new:1").ok().to_string();
    assert!(history.starts_with("a comment|sh -c echo x >/new;"), "{history}");
    assert_eq!(history.lines().count(), 2);
    // The base goes, the image stays, and others read what was saved.
    s.corten("rm -v box").ok();
    s.corten("rmi busybox").ok();
    s.corten("save -o saved.tar new:1").ok();
    s.corten("rmi new:1").ok();
    s.corten("load -q -i saved.tar").ok();
    assert_eq!(s.corten("images -q --no-trunc").ok(), id);
    s.corten("run --rm --network none new:1 cat /new").ok();
    s.end();
}

#[test]
fn changes_to_how_it_runs() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("create --name box --network none -e OLD=1 busybox true").ok();
    let changes = [
        "CMD [\"echo\", \"hello\"]",
        "ENV A=b C=\"d e\"",
        "EXPOSE 80 53/udp",
        "LABEL x=y",
        "USER 5:6",
        "VOLUME /data",
        "WORKDIR /tmp",
        "ENTRYPOINT [\"busybox\"]",
        "STOPSIGNAL SIGQUIT",
        "ONBUILD RUN true",
    ];
    let changes: Vec<String> = changes.iter().map(|c| format!("-c '{c}'")).collect();
    s.corten(&format!("commit {} box changed", changes.join(" "))).ok();
    let config = s.corten("image inspect -f '{{json .Config}}' changed").ok().to_string();
    for part in [
        r#""Cmd":["echo","hello"]"#,
        r#""A=b","C=d e""#,
        r#""ExposedPorts":{"53/udp":{},"80/tcp":{}}"#,
        r#""x":"y""#,
        r#""User":"5:6""#,
        r#""Volumes":{"/data":{}}"#,
        r#""WorkingDir":"/tmp""#,
        r#""Entrypoint":["busybox"]"#,
        r#""StopSignal":"SIGQUIT""#,
        r#""OnBuild":["RUN true"]"#,
    ] {
        assert!(config.contains(part), "{part} in {config}");
    }
    assert_eq!(s.corten("run --rm --network none changed").ok(), "hello");
    // Nothing was written: no new layer.
    assert_eq!(s.corten("image inspect -f '{{len .RootFS.Layers}}' changed").ok(), "1");
    s.corten("commit -c 'RUN true' box").fails(1, &["RUN is not a valid change command"]);
    s.corten("commit -c 'ENV' box").fails(1, &["ENV"]);
    s.corten("commit box UPPER").fails(1, &["UPPER"]);
    s.corten("commit nosuch x").fails(1, &["No such container: nosuch"]);
    s.corten("commit box @host").fails(1, &["@host"]);
    assert_eq!(s.corten("images -q").ok().lines().count(), 2);
    s.corten("rm -v box").ok();
    s.end();
}

#[test]
fn one_that_runs_stands_still_meanwhile() {
    let s = Sandbox::with(&["busybox"]);
    // Two files that are always alike, were it not for the moment between.
    let script = "i=0; while :; do i=$((i+1)); echo $i >/a; echo $i >/b; done";
    s.corten(&format!("run -d --name box --network none busybox sh -c '{script}'")).ok();
    wait_until("the files", 20, || s.corten("exec box cat /b").code == 0);
    for _ in 0..3 {
        s.corten("commit box still").ok();
        let ab = s.corten("run --rm --network none still sh -c 'cat /a /b'").ok().to_string();
        let numbers: Vec<u64> = ab.lines().filter_map(|l| l.parse().ok()).collect();
        // The shell may have been between its two commands, but not further.
        assert!(numbers.len() < 2 || numbers[0].abs_diff(numbers[1]) <= 1, "{ab}");
    }
    s.corten("commit --pause=false box moving").ok();
    s.corten("commit --no-pause box moving").ok();
    let before = s.corten("exec box cat /b").ok().to_string();
    wait_until("it to go on", 20, || s.corten("exec box cat /b").stdout.trim() != before);
    s.corten("rm -f box").ok();
    s.end();
}
