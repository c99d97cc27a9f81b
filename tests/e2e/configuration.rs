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

/// What a daemon.json or a containers.conf may say, too.
#[test]
fn variables_stops_and_networks() {
    let s = Sandbox::with(&["busybox"]);
    write(
        &s,
        r#"
env = ["PATH=/nowhere", "LANG=C.UTF-8", "GONE=1"]
stop-timeout = 3

[default-network-opts.bridge]
"com.docker.network.driver.mtu" = "1400"
"#,
    );
    let mtu = "cat /sys/class/net/eth0/mtu";
    // The image has a PATH of its own.
    let seen = configured(
        &s,
        "run --rm --network none -e LANG=de -e GONE busybox sh -c 'echo $PATH $LANG ${GONE-gone}'",
    );
    assert!(seen.ok().ends_with("/bin de gone") && !seen.stdout.contains("nowhere"), "{seen}");
    let seen = configured(&s, "run --rm --network none busybox sh -c 'echo $LANG $GONE'");
    assert_eq!(seen.ok(), "C.UTF-8 1");
    configured(&s, "create --name usual busybox true").ok();
    configured(&s, "create --name own --stop-timeout 5 busybox true").ok();
    assert_eq!(s.inspect("usual", "{{.Config.StopTimeout}}"), "3");
    assert_eq!(s.inspect("own", "{{.Config.StopTimeout}}"), "5");
    configured(&s, "network create usual").ok();
    configured(&s, "network create -o mtu=1300 own").ok();
    for (network, size) in [("usual", "1400"), ("own", "1300"), ("bridge", "1500")] {
        assert_eq!(configured(&s, &format!("run --rm --network {network} busybox {mtu}")).ok(), size);
    }
    s.corten("rm usual own").ok();
    s.corten("network rm usual own").ok();
    s.end();
}

/// Docker's `bip`, `mtu` and `icc` are the network's own, in its file.
#[test]
fn the_default_network_as_it_is_described() {
    let s = Sandbox::with(&["busybox"]);
    let networks = s.dir.join("root/networks");
    std::fs::create_dir_all(&networks).expect("the data root");
    let text = r#"{ "pools": [{ "subnet": "10.91.7.0/24", "gateway": "10.91.7.9" }], "mtu": 1400 }"#;
    std::fs::write(networks.join("bridge.json"), text).expect("the data root");
    let seen =
        s.corten("run --rm busybox sh -c 'cat /sys/class/net/eth0/mtu; ip route; ping -c 1 -w 10 10.91.7.9'");
    let lines: Vec<&str> = seen.ok().lines().collect();
    assert_eq!(lines[0], "1400", "{seen}");
    assert!(lines[1].contains("default via 10.91.7.9") && lines[2].contains("10.91.7.0/24"), "{seen}");
    write(&s, "bip = '10.91.7.9/24'");
    configured(&s, "ps").fails(1, &["bip", "networks/bridge.json"]);
    std::fs::remove_file(networks.join("bridge.json")).expect("it is there");
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
