//! The story that the engine tells: "Create a container from scratch", from an archive to the clean-up.

use e2e::{Sandbox, wait_until};

/// Debian archive → overlay → bridge → memory limit of 10 MB → nginx inside, curl from inside and from the host → the
/// memory load is killed at the limit → nothing is left.
#[test]
fn a_container_from_scratch() {
    let s = Sandbox::with(&["nginx"]);
    s.detached("--name cnt -m 10000000 --memory-swap 10000000 nginx sleep 1000");

    // The overlay: the image's layers below, the container's own directory above.
    let layers = s.inspect("cnt", "{{.GraphDriver.Data.LowerDir}}");
    assert!(layers.split(':').count() >= 4, "{layers}");
    s.corten("exec cnt sh -c 'echo changed >/changed'").ok();
    let upper = s.inspect("cnt", "{{.GraphDriver.Data.UpperDir}}");
    assert_eq!(s.host(&format!("cat {upper}/changed")).ok(), "changed");

    // The bridge.
    let address = s.inspect("cnt", "{{.NetworkSettings.IPAddress}}");
    assert!(s.host("ip -o link show master corten0").ok().contains("veth"));
    s.host(&format!("ping -c 1 -W 5 {address}")).ok();

    // nginx inside; curl from inside and from the host.
    s.corten("exec -d cnt nginx").ok();
    wait_until("nginx to answer", 20, || {
        s.corten("exec cnt curl -s 127.0.0.1:80").stdout == "hello from nginx\n"
    });
    assert_eq!(s.host(&format!("curl -s {address}:80")).ok(), "hello from nginx");

    // The load: 15 MB in the memory of `tail` do not fit into 10.
    let load = s.corten("exec cnt bash -c 'cat <( </dev/zero head -c 15m) <(sleep 15) | tail'");
    assert_eq!(load.code, 137, "the kernel has to kill what goes over the limit: {load}");
    assert_eq!(s.inspect("cnt", "{{.State.OOMKilled}} {{.State.Status}}"), "true running");
    let processes = s.corten("top cnt");
    assert!(processes.ok().contains("sleep 1000"), "{processes}");

    s.corten("rm -f cnt").ok();
    s.end();
}

/// The same as the README tells it: nginx behind a published port.
#[test]
fn nginx_behind_a_published_port() {
    let s = Sandbox::with(&["nginx"]);
    s.detached("--name web -p 8080:80 --memory 64m nginx");
    wait_until("nginx to answer", 20, || {
        s.host("curl -s http://127.0.0.1:8080/").stdout == "hello from nginx\n"
    });
    let workers = s.corten("top web");
    assert!(workers.ok().contains("nginx: master process"), "{workers}");
    wait_until("the access log", 5, || s.corten("logs web").stdout.contains("GET / HTTP/1.1"));
    s.corten("stop web").ok();
    assert_eq!(s.inspect("web", "{{.State.ExitCode}} {{.State.OOMKilled}}"), "0 false");
    s.corten("start web").ok();
    wait_until("nginx to answer again", 20, || s.host("curl -s http://127.0.0.1:8080/").code == 0);
    s.corten("rm -f web").ok();
    s.end();
}
