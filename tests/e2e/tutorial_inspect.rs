//! The second half of the story, "Inspect namespaces within a docker container": each command as it is written there, with `docker`
//! read as `corten`. Only what needs an internet or a program that is no part of a small machine is another command: `find` for
//! `tree`, a file written by hand for an `apt install`, `nft` beside `iptables`.

use e2e::{Cgroups, Output, Sandbox, binary, wait_until};

/// Types a line into the shell of whoever follows the tutorial.
#[track_caller]
fn typed(s: &Sandbox, line: &str) -> Output {
    let (root, state) = (s.scope.root.display(), s.scope.state.display());
    let (parent, corten) = (&s.scope.cgroup_parent, binary().display().to_string());
    let environment =
        format!("export CORTEN_ROOT='{root}' CORTEN_STATE='{state}' CORTEN_CGROUP_PARENT='{parent}'");
    s.host(&format!("{environment}; docker() {{ '{corten}' \"$@\"; }}; {line}"))
}

#[test]
fn network() {
    let s = Sandbox::with(&["nginx"]);
    typed(&s, "docker network create mynet").ok();
    let addresses = typed(
        &s,
        r#"BR_NAME=$(ip link | grep -v '@' | awk '/br-/{gsub(":",""); print $2}'); ip addr show ${BR_NAME}"#,
    );
    let subnet = typed(&s, "docker network inspect mynet | grep Subnet");
    let subnet = subnet.ok().split('"').nth(3).expect("a value").to_owned();
    let begin = subnet.rsplit_once('.').expect("an address").0;
    assert!(addresses.ok().contains(&format!("inet {begin}.")), "{subnet}: {addresses}");

    typed(&s, "docker run --name nginx --net mynet -d --rm -p 8080:80 nginx").ok();
    let variables = "CONTAINER_ID=$(docker container ps | awk '/nginx/{print $1}'); \
                     CONTAINER_PID=$(docker inspect -f '{{.State.Pid}}' ${CONTAINER_ID})";
    let id = typed(&s, &format!("{variables}; echo ${{CONTAINER_ID}}")).ok().to_owned();
    assert_eq!(id.len(), 12, "{id}");
    let link =
        "mkdir -p /var/run/netns/; ln -sfT /proc/${CONTAINER_PID}/ns/net /var/run/netns/${CONTAINER_ID}";
    typed(&s, &format!("{variables}; {link}")).ok();
    assert!(typed(&s, "ip netns list").ok().contains(&id));
    let shown = typed(&s, &format!("{variables}; ip -n ${{CONTAINER_ID}} link show eth0"));
    assert!(shown.ok().contains("eth0"), "{shown}");
    let shown = typed(&s, &format!("{variables}; ip -n ${{CONTAINER_ID}} addr show eth0"));
    let address = typed(&s, "docker container inspect nginx | grep IPAddress");
    let address = address.ok().split('"').rfind(|word| word.starts_with(begin)).expect("one").to_owned();
    assert!(shown.ok().contains(&format!("inet {address}/")), "{address}: {shown}");
    // The rule that forwards stands in a table of its own, which iptables does not show.
    let table = s.host("nft list ruleset");
    assert!(table.ok().contains("8080") && table.ok().contains(&address), "{table}");
    wait_until("nginx on port 8080", 20, || {
        s.host("curl -s http://127.0.0.1:8080/").stdout == "hello from nginx\n"
    });

    typed(&s, &format!("rm /var/run/netns/{id}")).ok();
    typed(&s, "docker stop nginx").ok();
    wait_until("its removal", 20, || typed(&s, "docker ps -aq").ok().is_empty());
    typed(&s, "docker network rm mynet").ok();
    s.end();
}

#[test]
fn cgroups() {
    let s = Sandbox::with(&["nginx"]);
    s.corten("tag nginx ubuntu").ok();
    let mut shell = s.pty("run --name test_cg --memory=10m --cpus=.1 -it --rm ubuntu bash");
    shell.expect("# ");

    // The hierarchy. Where Docker has `docker`, this engine has a name of its own.
    let variable = "CONTAINER_ID=$(docker container ps --no-trunc | awk '/test_cg/{print $1}')";
    let (parent, v2) = (s.scope.cgroup_parent.clone(), Sandbox::cgroups() == Cgroups::V2);
    let groups = match v2 {
        true => format!("/sys/fs/cgroup/{parent}/${{CONTAINER_ID}}"),
        false => format!("/sys/fs/cgroup/{{memory,cpu}}/{parent}/${{CONTAINER_ID}}"),
    };
    let tree = typed(&s, &format!("{variable}; find {groups}"));
    let limits = if v2 { ["memory.max", "cpu.max"] } else { ["memory.limit_in_bytes", "cpu.cfs_quota_us"] };
    assert!(limits.iter().all(|file| tree.ok().contains(file)), "{tree}");
    assert_eq!(s.cgroup("test_cg", limits[0]), (10 << 20).to_string());
    assert!(s.cgroup("test_cg", limits[1]).starts_with("10000"));

    // The tasks in it.
    let pid = typed(&s, "docker container top test_cg | tail -n 1 | awk '{print $2}'");
    let file = if v2 { "cgroup.procs" } else { "tasks" };
    let files = groups.split(' ').map(|group| format!("{group}/{file}")).collect::<Vec<_>>().join(" ");
    let tasks = typed(&s, &format!("{variable}; cat {files}"));
    assert!(tasks.ok().lines().all(|task| task == pid.ok()) && !tasks.ok().is_empty(), "{pid}: {tasks}");

    // Monitoring, under load of the processor, then of the memory.
    let mut stats = s.pty("container stats test_cg");
    stats.expect("MEM USAGE / LIMIT");
    stats.expect("test_cg");
    stats.expect("/ 10MiB");
    let percent = || {
        let text = typed(&s, "docker container stats --no-stream --format '{{.CPUPerc}}' test_cg");
        text.ok().trim_end_matches('%').parse::<f64>().unwrap_or_default()
    };
    shell.send("cat /dev/urandom &> /dev/null\r");
    wait_until("the load", 30, || percent() > 1.0);
    shell.send("\x03");
    shell.expect("# ");
    shell.send("cat <( </dev/zero head -c 50m) <(sleep 30) | tail\r");
    wait_until("the kernel's kill", 60, || s.inspect("test_cg", "{{.State.OOMKilled}}") == "true");
    assert_eq!(s.inspect("test_cg", "{{.State.Status}}"), "running", "the shell itself is small");
    stats.send("\x03");
    stats.wait();
    s.corten("kill test_cg").ok();
    shell.wait();
    s.corten("rmi ubuntu").ok();
    s.end();
}

#[test]
fn overlay() {
    let s = Sandbox::with(&["nginx"]);
    s.corten("tag nginx debian").ok();
    let mut shell = s.pty("run --name test_overlayfs -it --rm debian bash");
    shell.expect("# ");
    let lower = typed(
        &s,
        r#"docker container inspect test_overlayfs -f '{{.GraphDriver.Data.LowerDir}}' | awk 'BEGIN{FS=":"}{for (i=1; i<= NF; i++) print $i}' | while read low; do find $low -maxdepth 2; done"#,
    );
    assert!(
        lower.ok().lines().any(|path| path.ends_with("/usr/bin") || path.ends_with("/usr/sbin")),
        "{lower}"
    );
    let upper = r#"docker container inspect test_overlayfs -f '{{.GraphDriver.Data.UpperDir}}' | while read upper; do find $upper -mindepth 1; done"#;
    assert_eq!(typed(&s, upper).ok(), "", "the upper layer is empty");
    shell.send("mkdir -p /opt/nmap && echo installed >/opt/nmap/nmap && echo do\"\"ne\r");
    shell.expect("done");
    let upper = typed(&s, upper);
    assert!(upper.ok().lines().any(|path| path.ends_with("/opt/nmap/nmap")), "{upper}");
    assert!(typed(&s, "docker diff test_overlayfs").ok().contains("A /opt/nmap/nmap"));
    s.corten("kill test_overlayfs").ok();
    shell.wait();
    s.corten("rmi debian").ok();
    s.end();
}

#[test]
fn processes() {
    let s = Sandbox::with(&["nginx"]);
    s.corten("tag nginx ubuntu").ok();
    let mut shell = s.pty("run --name test_ps -it --rm ubuntu bash");
    shell.expect("# ");
    for _ in 0..5 {
        shell.send("sleep 600 &\r");
        shell.expect("# ");
    }
    let sleeps = |text: &Output| text.ok().matches("sleep 600").count();
    wait_until("five processes", 20, || sleeps(&typed(&s, "docker container top test_ps")) == 5);
    let variable = "CONTAINER_PID=$(docker container top test_ps | sed -n '2p' | awk '{print $2}')";
    let tree = typed(&s, &format!("{variable}; ps f -g ${{CONTAINER_PID}}"));
    assert!(sleeps(&tree) == 5 && tree.ok().contains("bash"), "{tree}");
    let pid = s.inspect("test_ps", "{{.State.Pid}}");
    assert_eq!(typed(&s, &format!("{variable}; echo ${{CONTAINER_PID}}")).ok(), pid);
    let spaces = typed(&s, "lsns -t pid");
    let own = |line: &str| line.split_whitespace().nth(3) == Some(pid.as_str()) && line.contains("bash");
    assert!(spaces.ok().lines().any(own), "{pid}: {spaces}");
    s.corten("kill test_ps").ok();
    shell.wait();
    s.corten("rmi ubuntu").ok();
    s.end();
}
