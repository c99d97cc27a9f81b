//! `corten map` against what ip, readlink and the container itself say.

use e2e::{Sandbox, wait_until};
use serde_json::Value;

#[test]
fn the_map_is_what_the_kernel_says() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run -d --name web -p 8080:80 -m 64m --cpus 0.5 --pids-limit 77 busybox sh -c 'sleep 1000 & sleep 1001'").ok();
    s.corten("run -d --name near --network container:web --uts host busybox sleep 1000").ok();
    let seen = || serde_json::from_str::<Value>(s.corten("map --format json").ok()).unwrap();
    let at_work =
        |c: &Value| c["name"] != "web" || c["processes"].as_array().is_some_and(|all| all.len() == 2);
    wait_until("the shell has done its work", 20, || {
        seen()["containers"].as_array().unwrap().iter().all(at_work)
    });
    let map = seen();
    let containers = map["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 2, "{map:#}");
    let web = containers.iter().find(|c| c["name"] == "web").unwrap();
    let near = containers.iter().find(|c| c["name"] == "near").unwrap();

    // Namespaces, and who shares them.
    for space in web["spaces"].as_array().unwrap() {
        let link = s.host(&format!("readlink /proc/{}/ns/{}", web["pid"], space["kind"].as_str().unwrap()));
        assert_eq!(link.ok().trim(), format!("{}:[{}]", space["kind"].as_str().unwrap(), space["inode"]));
    }
    let of = |seen: &Value, kind: &str| {
        seen["spaces"].as_array().unwrap().iter().find(|s| s["kind"] == kind).unwrap().clone()
    };
    assert_eq!(of(web, "net")["with"], serde_json::json!(["near"]));
    assert_eq!(of(near, "uts")["host"], true);
    assert_eq!(of(web, "uts")["host"], false);

    // The cable: its two ends, the bridge, the addresses.
    let eth0 = web["links"].as_array().unwrap().iter().find(|link| link["name"] == "eth0").unwrap();
    let peer = eth0["peer"].as_str().unwrap();
    let bridge = eth0["bridge"].as_str().unwrap();
    assert!(s.host(&format!("ip -o link show {peer}")).ok().contains(&format!("master {bridge}")), "{peer}");
    let inside = s.corten("exec web ip -o -4 addr show eth0");
    assert!(inside.ok().contains(eth0["addresses"][0].as_str().unwrap()), "{}", inside.ok());
    let drawn = map["bridges"].as_array().unwrap().iter().find(|b| b["name"] == bridge).unwrap();
    assert_eq!(drawn["ports"], serde_json::json!([peer]));
    assert!(web["ports"].as_array().unwrap().iter().any(|port| port == "0.0.0.0:8080->80/tcp"), "{web:#}");

    // Processes by both numbers, limits, layers.
    let processes = web["processes"].as_array().unwrap();
    assert!(
        processes.len() == 2 && processes[0]["inside"] == 1 && processes[0]["outside"] == web["pid"],
        "{web:#}"
    );
    let group = &web["group"];
    assert_eq!(
        (&group["memory_limit"], &group["pids_limit"]),
        (&Value::from(64 << 20), &Value::from(77)),
        "{group}"
    );
    assert_eq!(group["cpu_limit"], 0.5);
    let layers = web["layers"].as_array().unwrap();
    assert!(layers[0]["writable"] == true && layers.iter().skip(1).all(|layer| layer["writable"] == false));
    for layer in layers {
        s.host(&format!("test -d {}", layer["path"].as_str().unwrap())).ok();
    }

    // One of them, in the other forms; and none.
    let text = s.corten("map near");
    assert!(text.ok().contains("net    ") && text.ok().contains("with web"), "{}", text.ok());
    assert!(!text.ok().contains("\nweb "), "{}", text.ok());
    for form in ["--svg", "--html"] {
        let picture = s.corten(&format!("map {form}"));
        assert!(picture.ok().contains("<svg") && picture.ok().contains(peer), "{form}");
    }
    assert_eq!(s.corten("map nosuch").code, 1);
    s.corten("rm -f near web").ok();
    let none = s.corten("map");
    assert!(none.ok().ends_with("no container runs"), "{}", none.ok());
    s.end();
}
