//! Other firewalls beside ours: Docker's rules, ufw, firewalld's table; and a host that drops what nobody speaks for.

use e2e::{Sandbox, wait_until};

const NEAR: &str = "198.51.100.2";

/// The page of a published port as the world sees it.
fn from_far(s: &Sandbox, port: u16) -> String {
    let (url, mut answer) = (format!("http://{NEAR}:{port}/"), String::new());
    wait_until(&url, 30, || {
        let output = s.far(&format!("curl -s -m 5 {url}"));
        answer = output.stdout;
        output.code == 0
    });
    answer
}

fn closed_to_far(s: &Sandbox, port: u16) {
    let output = s.far(&format!("curl -s -m 1 http://{NEAR}:{port}/"));
    assert_ne!(output.code, 0, "{port}: {output}");
}

fn goes_out(s: &Sandbox) {
    assert_eq!(s.page_from("run --rm busybox", "http://198.51.100.1/"), "hello 198.51.100.2");
}

/// The chains that Docker 20 to 28 makes, as iptables-save(8) has them, for a bridge of its own.
const DOCKER: &str = "
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
COMMIT
";

fn load(s: &Sandbox, rules: &str) {
    std::fs::write(s.dir.join("rules"), rules).expect("the sandbox can be written");
    s.host("iptables-nft-restore rules").ok();
}

#[test]
fn beside_docker_and_its_forward_policy() {
    let s = Sandbox::with_internet(&["busybox"]);
    load(&s, DOCKER);
    s.web("--name web -p 8080:80 -p 127.0.0.1:8081:80", "beside");
    assert_eq!(from_far(&s, 8080), "beside");
    closed_to_far(&s, 8081);
    goes_out(&s);
    // Docker starts anew: its chains are emptied, and the policy is set. The next container speaks up again.
    load(&s, DOCKER);
    closed_to_far(&s, 8080);
    goes_out(&s);
    assert_eq!(from_far(&s, 8080), "beside");
    // Said once, where Docker lets others speak, and in words that its own tools read.
    let rules = s.host("iptables-nft -S DOCKER-USER").ok().to_owned();
    for way in ["-i corten0 ", "-o corten0 "] {
        let ours = rules.lines().filter(|line| line.contains(way) && line.ends_with("-j ACCEPT"));
        assert_eq!(ours.count(), 1, "{rules}");
    }
    assert!(!s.host("iptables-nft-save").ok().contains("FORWARD -i corten0"));
    s.corten("rm -f web").ok();
    s.corten("system down").ok();
    assert!(!s.host("iptables-nft-save").ok().contains("corten0"));
    s.host("nft delete table ip filter; nft delete table ip nat").ok();
    s.end();
}

#[test]
fn beside_ufw_and_its_reloads() {
    let s = Sandbox::with_internet(&["busybox"]);
    // Its files are the machine's: the sandbox has copies.
    s.host("cp -a /etc/ufw ufw && mount --bind ufw /etc/ufw && cp /etc/default/ufw ufw.default && mount --bind ufw.default /etc/default/ufw").ok();
    s.web("--name web -p 8080:80 -p 127.0.0.1:8081:80", "fenced");
    assert_eq!(from_far(&s, 8080), "fenced");
    s.host("ufw --force enable").ok();
    assert!(s.host("ufw status verbose").ok().contains("deny (routed)"));
    closed_to_far(&s, 8080);
    let before = s.host("nft -s list table inet corten").ok().to_owned();
    s.corten("network reload").ok();
    for reload in ["true", "ufw reload"] {
        s.host(reload).ok();
        assert_eq!(from_far(&s, 8080), "fenced");
        closed_to_far(&s, 8081);
        goes_out(&s);
        assert_eq!(s.page("http://127.0.0.1:8081/"), "fenced");
        assert_eq!(s.host("nft -s list table inet corten").ok(), before);
    }
    s.corten("rm -f web").ok();
    s.host("ufw --force disable").ok();
    s.corten("system down").ok();
    s.host("nft flush ruleset").ok();
    s.host("umount /etc/ufw /etc/default/ufw").ok();
    s.end();
}

/// What firewalld makes of a zone for everything: whatever comes in by no link that it trusts is refused.
const FIREWALLD: &str = "table inet firewalld {
    chain nat_PREROUTING { type nat hook prerouting priority -90; policy accept; }
    chain filter_INPUT { type filter hook input priority 10; policy accept;
        ct state { established, related } accept
        iifname lo accept
        tcp dport 22 accept
        reject with icmpx admin-prohibited
    }
    chain filter_FORWARD { type filter hook forward priority 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname lo accept
        iifname @trusted accept
        reject with icmpx admin-prohibited
    }
    set trusted { type ifname; }
}";

/// CVE-2025-54388 and 54410: after a reload, ports of 127.0.0.1 are still those of the host alone, and networks apart.
#[test]
fn beside_firewalld_and_its_reloads() {
    let s = Sandbox::with_internet(&["busybox"]);
    s.corten("network create other").ok();
    s.web("--name web -p 8080:80 -p 127.0.0.1:8081:80", "zoned");
    let before = s.host("nft -s list table inet corten").ok().to_owned();
    for _ in 0..2 {
        std::fs::write(s.dir.join("zones"), FIREWALLD).expect("the sandbox can be written");
        s.host("nft delete table inet firewalld 2>/dev/null; nft -f zones").ok();
        assert_eq!(from_far(&s, 8080), "zoned");
        closed_to_far(&s, 8081);
        let routed =
            s.far(&format!("ip route replace 127.1.0.0/16 via {NEAR}; curl -s -m 1 http://127.1.0.1:8081/"));
        assert_ne!(routed.code, 0, "{routed}");
        assert_eq!(s.page("http://127.0.0.1:8081/"), "zoned");
        let address = s.inspect("web", "{{.NetworkSettings.IPAddress}}");
        s.unheard("run --rm --init --network other busybox", &format!("http://{address}/"));
        // The way out is firewalld's to give.
        s.unheard("run --rm --init busybox", "http://198.51.100.1/");
        s.host("nft add element inet firewalld trusted '{ corten0 }'").ok();
        goes_out(&s);
        assert_eq!(s.host("nft -s list table inet corten").ok(), before);
    }
    s.host("nft delete table inet firewalld").ok();
    s.corten("rm -f web").ok();
    s.corten("network rm other").ok();
    s.end();
}
