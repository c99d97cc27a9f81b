//! `corten.toml`: what holds where a command line says nothing.

use e2e::{Output, Sandbox};

fn configured(s: &Sandbox, line: &str) -> Output {
    let mut command = s.command(line);
    command.env("CORTEN_CONFIG", s.dir.join("corten.toml")).stdin(std::process::Stdio::null());
    e2e::Background::start(&format!("corten {line}"), &mut command).wait()
}

fn write(s: &Sandbox, text: &str) {
    std::fs::write(s.dir.join("corten.toml"), text).expect("the sandbox is writable");
}

#[test]
fn defaults_of_one_s_own() {
    let s = Sandbox::with(&["busybox"]);
    write(
        &s,
        r#"
log-driver = "local"
log-opts = { max-size = "1m" }
default-ulimits = ["nofile=200:300"]
default-shm-size = "32m"
default-address-pools = [{ base = "10.200.0.0/20", size = 26 }]
dns = ["192.0.2.7"]
init = true
ip = "127.0.0.1"
"#,
    );
    let look = "sh -c 'ulimit -n; df -k /dev/shm | tail -n 1 | tr -s \" \" | cut -d\" \" -f2; cat /proc/1/comm; cat /etc/resolv.conf'";
    let seen = configured(&s, &format!("run --rm busybox {look}"));
    let lines: Vec<&str> = seen.ok().lines().collect();
    assert_eq!((lines[0], lines[1]), ("200", "32768"), "{seen}");
    assert!(lines[2].contains("init") && lines.contains(&"nameserver 192.0.2.7"), "{seen}");
    configured(&s, "create --name box -p 8080:80 --shm-size 1m busybox true").ok();
    let told = "{{.HostConfig.LogConfig.Type}} {{index .HostConfig.LogConfig.Config \"max-size\"}} {{.HostConfig.ShmSize}}";
    assert_eq!(s.inspect("box", told), "local 1m 1048576");
    assert_eq!(s.inspect("box", "{{(index .HostConfig.PortBindings \"80/tcp\")}}"), "[{127.0.0.1 8080}]");
    configured(&s, "network create net").ok();
    let subnet = s.corten("network inspect -f '{{(index .IPAM.Config 0).Subnet}}' net");
    assert_eq!(subnet.ok(), "10.200.0.0/26");
    s.corten("network rm net").ok();
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn mistakes_are_one_line() {
    let s = Sandbox::with(&["busybox"]);
    for (text, words) in [
        ("log-drver = 'local'", ["unknown key 'log-drver'", "did you mean 'log-driver'?"]),
        ("insecure-registries = []", ["insecure-registries", "registries.toml"]),
        ("\ninit = 7\n", ["corten.toml", "line 2"]),
    ] {
        write(&s, text);
        let said = configured(&s, "ps");
        said.fails(1, &words);
        assert_eq!(said.stderr.lines().count(), 1, "{said}");
        configured(&s, "run --rm busybox true").fails(125, &words);
        // What needs no engine goes on.
        configured(&s, "version").ok();
    }
    write(&s, "data-root = '/nowhere'\nexec-root = '/nowhere'\n");
    // The environment goes before.
    configured(&s, "ps").ok();
    std::fs::remove_file(s.dir.join("corten.toml")).expect("it is there");
    configured(&s, "ps").fails(1, &["corten.toml", "no such file"]);
    s.end();
}
