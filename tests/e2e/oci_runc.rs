//! The OCI command line beside runc's own, as Debian 12 has it: the same words, the same codes, the same documents.

use e2e::peers::uncorrected;
use e2e::{Output, Sandbox, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Of other versions nothing is claimed.
const RUNC: &str = "1.1.5+ds1-1+deb12u1";

/// A sandbox with a bundle for each: `box` and `peer`, whose control groups differ.
struct Both {
    s: Sandbox,
    runc: bool,
}

impl Both {
    fn new() -> Both {
        let s = Sandbox::new();
        for name in ["box", "peer"] {
            let mut bundle = s.bundle(name, &["sleep", "1000"]);
            bundle.set("/ociVersion", json!("1.0.2"));
            // What this machine's root may lack is not what is compared.
            bundle.remove("/process/capabilities").write();
        }
        Both { s, runc: uncorrected("runc", RUNC) }
    }

    /// The same line to both; its word BUNDLE is the bundle of each. Both end with this code. What runc said: nothing where it
    /// is another version.
    #[track_caller]
    fn run(&self, line: &str, code: i32) -> (Output, Option<Output>) {
        let ours = self.s.oci(&line.replace("BUNDLE", "box"));
        assert_eq!(ours.code, code, "corten oci {line}: {ours}");
        assert!(ours.stderr.trim().lines().count() <= 1, "corten oci {line}: {ours}");
        let theirs = self.runc.then(|| self.s.peer("runc", &line.replace("BUNDLE", "peer")));
        if let Some(theirs) = &theirs {
            assert_eq!(theirs.code, code, "runc {line}: {theirs}");
        }
        (ours, theirs)
    }

    /// The same, of commands that leave something behind, which keeps their output open.
    #[track_caller]
    fn apart(&self, line: &str) {
        self.s.oci_apart(&line.replace("BUNDLE", "box"));
        if self.runc {
            self.s.peer("runc", &format!("{} >/dev/null 2>&1", line.replace("BUNDLE", "peer"))).ok();
        }
    }

    /// What both print is the same as far as `of` looks.
    #[track_caller]
    fn same<T: PartialEq + std::fmt::Debug>(&self, line: &str, of: impl Fn(&str) -> T) {
        let (ours, theirs) = self.run(line, 0);
        if let Some(theirs) = theirs {
            assert_eq!(of(ours.ok()), of(theirs.ok()), "{line}");
        }
    }
}

/// The names of a document, with what kind of value each has.
fn shape(text: &str) -> BTreeSet<String> {
    fn add(at: &str, value: &Value, all: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| add(&format!("{at}.{name}"), value, all))
            }
            Value::Array(items) => items.iter().for_each(|item| add(&format!("{at}[]"), item, all)),
            Value::String(_) => drop(all.insert(format!("{at}: text"))),
            Value::Number(_) => drop(all.insert(format!("{at}: number"))),
            Value::Bool(_) => drop(all.insert(format!("{at}: truth"))),
            Value::Null => drop(all.insert(format!("{at}: nothing"))),
        }
    }
    let mut all = BTreeSet::new();
    add("", &serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}")), &mut all);
    all
}

#[test]
fn what_is_wrong_ends_with_the_same_code() {
    let both = Both::new();
    for (line, code) in [
        ("nosuch", 3),
        ("--fly", 1),
        ("--fly list", 1),
        ("--root", 1),
        ("--log-format xml list", 1),
        ("--systemd-cgroup=maybe list", 1),
        ("create", 1),
        ("create a b", 1),
        ("create --fly a", 1),
        ("create --bundle /nosuch a", 1),
        ("create --bundle BUNDLE --preserve-fds x a", 1),
        ("create --bundle BUNDLE --preserve-fds 90 a", 1),
        ("create --bundle BUNDLE a/b", 1),
        ("run", 1),
        ("run -bundle /nosuch a", 1),
        ("start", 1),
        ("start a", 1),
        ("state", 1),
        ("state a", 1),
        ("state a b", 1),
        ("kill", 1),
        ("kill a", 1),
        ("kill a FOO", 1),
        ("kill a 9 9", 1),
        ("kill --fly a", 1),
        ("delete", 1),
        ("delete a", 1),
        ("delete --force a", 0),
        ("exec", 1),
        ("exec a", 255),
        ("exec a true", 255),
        ("exec --fly a true", 1),
        ("ps", 1),
        ("ps a", 1),
        ("ps -f yaml a", 1),
        ("pause a", 1),
        ("resume a", 1),
        ("update a", 1),
        ("update -r - a", 1),
        ("events a", 1),
        ("events --stats a", 1),
        ("events --interval x a", 1),
        ("list a", 1),
        ("list -f yaml", 1),
        ("spec a", 1),
        ("spec --bundle /nosuch", 1),
        ("features a", 1),
        ("checkpoint a", 1),
        ("restore a", 1),
    ] {
        both.run(line, code);
    }
    let refused = |line: &str| both.s.oci(line).fails(1, &["not supported"]);
    for line in ["checkpoint box", "checkpoint --image-path x --leave-running box", "restore -b box box"] {
        refused(line);
    }
    both.s.end();
}

#[test]
fn words_that_are_taken() {
    let both = Both::new();
    for line in [
        "",
        "help",
        "h",
        "help create",
        "create --help",
        "exec -h",
        "--version",
        "-v",
        "list -quiet",
        "list -q=true",
        "list --quiet=false",
        "list -f=json",
        "-debug=false list",
        "--criu x list",
        "--log= list",
        "--rootless auto list",
        "delete nosuch --force",
    ] {
        both.run(line, 0);
    }
    both.same("list --format json", str::to_owned);
    both.same("list --format table", str::to_owned);
    both.s.end();
}

/// Every flag that its help tells, in ours: but for those of checkpoints.
#[test]
fn every_flag_is_there() {
    let both = Both::new();
    let flags = |help: &str| -> BTreeSet<String> {
        let words = help.lines().filter(|line| line.trim_start().starts_with('-'));
        let words = words.flat_map(|line| line.split([' ', ',', '=', '[']));
        words.filter(|word| word.len() > 2 && word.starts_with("--")).map(str::to_owned).collect()
    };
    let commands = "create delete events exec kill list pause ps resume run spec start state update features";
    for command in commands.split(' ') {
        let (ours, theirs) = both.run(&format!("{command} --help"), 0);
        let ours = flags(ours.ok());
        let theirs = theirs.map(|help| flags(help.ok())).unwrap_or_default();
        let missing: Vec<_> = theirs.into_iter().filter(|flag| !ours.contains(flag)).collect();
        assert!(missing.is_empty(), "{command}: {missing:?}");
    }
    // What came later.
    for (command, flag) in [
        ("create", "--pidfd-socket"),
        ("run", "--pidfd-socket"),
        ("exec", "--pidfd-socket"),
        ("update", "--cpu-idle"),
        ("update", "--cpu-burst"),
    ] {
        assert!(flags(both.s.oci(&format!("{command} --help")).ok()).contains(flag), "{command} {flag}");
    }
    let (ours, theirs) = both.run("--help", 0);
    let known = |help: &str| flags(help).into_iter().filter(|flag| flag != "--criu" && flag != "--help");
    let ours: BTreeSet<_> = known(ours.ok()).collect();
    for flag in theirs.iter().flat_map(|help| known(help.ok())) {
        assert!(ours.contains(&flag), "{flag}");
    }
    both.s.end();
}

#[test]
fn a_life() {
    let both = Both::new();
    both.apart("create --bundle BUNDLE a");
    both.run("create --bundle BUNDLE a", 1);
    both.same("state a", shape);
    both.same("list -q", str::to_owned);
    both.same("list -f json", shape);
    both.same("list -q -f json", str::to_owned);
    both.same("list -f json", |text| serde_json::from_str::<Value>(text).unwrap()[0]["owner"].clone());
    both.same("state a", |text| serde_json::from_str::<Value>(text).unwrap()["owner"].clone());
    both.run("start a", 0);
    both.run("start a", 1);
    wait_until("the program to run", 20, || both.s.oci("ps a").stdout.contains("sleep 1000"));
    both.same("ps -f json a", shape);
    both.same("ps --format json a", |text| {
        serde_json::from_str::<Value>(text).unwrap().as_array().map(Vec::len)
    });
    for (line, code) in [
        ("exec a true", 0),
        ("exec a false", 1),
        ("exec a sh -c 'exit 42'", 42),
        ("exec a sh -c 'kill -9 $$'", 137),
        ("exec a nosuch", 255),
        ("exec -cwd /tmp -env A=1 -user 1:2 a true", 0),
        ("exec --process nosuch a", 255),
        ("pause a", 0),
        ("pause a", 1),
        ("exec a true", 255),
        ("start a", 1),
        ("delete a", 1),
        ("state a", 0),
        ("resume a", 0),
        ("resume a", 1),
        ("update --pids-limit 20 a", 0),
        ("update -pids-limit 30 a", 0),
        ("update --memory 5x a", 1),
        ("update a", 0),
        ("kill a FOO", 1),
        ("kill a 99", 1),
        ("kill a 0", 0),
        ("kill --all a 0", 0),
        ("delete a", 1),
        ("kill a KILL", 0),
    ] {
        both.run(line, code);
    }
    both.s.oci_wait("a", "stopped");
    if both.runc {
        let state = || serde_json::from_str::<Value>(both.s.peer("runc", "state a").ok()).unwrap();
        wait_until("runc's program to end", 20, || state()["status"] == "stopped");
    }
    for (line, code) in [
        ("kill a KILL", 1),
        ("kill --all a KILL", 0),
        ("ps -f json a", 0),
        ("exec a true", 255),
        ("pause a", 1),
        ("resume a", 1),
        ("update --pids-limit 20 a", 1),
        ("events --stats a", 1),
        ("start a", 1),
    ] {
        both.run(line, code);
    }
    both.same("state a", shape);
    both.run("delete a", 0);
    both.run("state a", 1);
    both.s.end();
}

#[test]
fn documents() {
    let both = Both::new();
    // What is used, but for what only few kernels and devices tell.
    both.apart("run --detach --bundle BUNDLE a");
    let (ours, theirs) = both.run("events --stats a", 0);
    let told = |text: &str| -> BTreeSet<String> {
        let names = [".type", ".id", ".data.memory.usage.", ".data.pids.", ".data.cpu.usage."];
        shape(text).into_iter().filter(|name| names.iter().any(|start| name.starts_with(start))).collect()
    };
    let ours = told(ours.ok());
    if let Some(theirs) = theirs {
        let missing: Vec<_> = told(theirs.ok()).into_iter().filter(|name| !ours.contains(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
    both.run("delete --force a", 0);
    // Every hook, option of mounts, namespace, capability, action and operator that it has: or what is missing is known.
    let (ours, theirs) = both.run("features", 0);
    let (ours, theirs) = (ours.ok().to_owned(), theirs.map(|output| output.ok().to_owned()));
    let ours: Value = serde_json::from_str(&ours).expect("JSON");
    let theirs: Value = theirs.map(|text| serde_json::from_str(&text).expect("JSON")).unwrap_or_default();
    for list in [
        "/hooks",
        "/mountOptions",
        "/linux/namespaces",
        "/linux/capabilities",
        "/linux/seccomp/actions",
        "/linux/seccomp/operators",
        "/linux/seccomp/archs",
    ] {
        let of = |document: &Value| -> BTreeSet<String> {
            let words = document.pointer(list).and_then(Value::as_array).into_iter().flatten();
            words.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let missing: Vec<String> = of(&theirs).difference(&of(&ours)).cloned().collect();
        // POSIX lists are on by themselves, or not there at all.
        let known = ["acl", "noacl"];
        assert!(missing.iter().all(|word| known.contains(&word.as_str())), "{list}: {missing:?}");
    }
    // A new file has what runc's has, and hides more.
    for flags in ["", " --rootless"] {
        both.s.host("mkdir new new/box new/peer").ok();
        both.run(&format!("spec --bundle new/BUNDLE{flags}"), 0);
        both.run(&format!("spec --bundle new/BUNDLE{flags}"), 1);
        let read = |name: &str| {
            let text = std::fs::read_to_string(both.s.dir.join("new").join(name).join("config.json"));
            serde_json::from_str::<Value>(&text.expect("it was written")).expect("JSON")
        };
        let ours = read("box");
        if both.runc {
            let mut theirs = read("peer");
            for place in ["/linux/maskedPaths", "/linux/readonlyPaths"] {
                let paths = theirs.pointer(place).and_then(Value::as_array).cloned().unwrap_or_default();
                let own = ours.pointer(place).and_then(Value::as_array).cloned().unwrap_or_default();
                assert!(paths.iter().all(|path| own.contains(path)), "{place}: {own:?}");
                *theirs.pointer_mut(place).expect("it is there") = json!(own);
            }
            for place in ["/hostname", "/ociVersion", "/linux/namespaces"] {
                // A cgroup namespace only on v2.
                *theirs.pointer_mut(place).expect("it is there") =
                    ours.pointer(place).cloned().unwrap_or_default();
            }
            // Ambient capabilities that nothing inheritable stands behind are none.
            if let Some(Value::Object(sets)) = theirs.pointer_mut("/process/capabilities") {
                sets.remove("ambient");
            }
            theirs["mounts"][0]["options"] = json!([]);
            if theirs["linux"]["resources"].is_null() {
                theirs["linux"]["resources"] = json!({});
            }
            assert_eq!(ours, theirs, "{flags}");
        }
        std::fs::remove_dir_all(both.s.dir.join("new")).expect("it is ours");
    }
    both.s.end();
}
