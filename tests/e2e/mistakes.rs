//! What people do wrong: each mistake is answered by one line that names the object and the cause, by the right exit code, and leaves nothing.

use e2e::{Output, Sandbox, images::image};
use std::fs;

/// A command line, its exit code, what the error names and why, or what to do.
type Mistake = (&'static str, i32, [&'static str; 2]);

/// Words that are wrong: nothing has to be there for these.
const WORDS: &[Mistake] = &[
    ("frobnicate", 1, ["frobnicate", "corten"]),
    ("network frobnicate", 1, ["frobnicate", "network"]),
    ("strat box", 1, ["strat", "did you mean"]),
    ("run", 1, ["run", "at least 1 argument"]),
    ("rm", 1, ["rm", "at least 1 argument"]),
    ("rename box", 1, ["rename", "2 arguments"]),
    ("version now", 1, ["version", "no arguments"]),
    ("ps --frobnicate", 125, ["--frobnicate", "unknown flag"]),
    ("run --detatch busybox", 125, ["--detatch", "did you mean"]),
    ("run -Z busybox", 125, ["'Z'", "unknown shorthand"]),
    ("run --name", 125, ["--name", "needs an argument"]),
    ("run --memory lots busybox", 125, ["lots", "--memory"]),
    ("run --cpus many busybox", 125, ["many", "--cpus"]),
    ("run -p 80:http busybox", 125, ["http", "containerPort"]),
    ("run -p 99999:80 busybox", 125, ["99999", "hostPort"]),
    ("run -p 8080-8081:80-82 busybox", 125, ["8080-8081", "range"]),
    ("run -v relative/path:/x busybox", 125, ["relative/path", "absolute path"]),
    ("run --mount type=nonsense,target=/x busybox", 125, ["nonsense", "type"]),
    ("run --mount type=bind,target=/x busybox", 125, ["source is required", "bind"]),
    ("run -e =x busybox", 125, ["=x", "environment"]),
    ("run --restart sometimes busybox", 125, ["sometimes", "restart"]),
    ("run --rm --restart always busybox", 125, ["--restart and --rm", "conflicting"]),
    ("run --cap-add SYS_NONSENSE busybox", 125, ["SYS_NONSENSE", "unknown capability"]),
    ("run --stop-signal SIGNONSENSE busybox", 125, ["SIGNONSENSE", "signal"]),
    ("run --network-alias a --network host busybox", 125, ["--network host", "conflicting"]),
    ("run UPPER", 125, ["UPPER", "lowercase"]),
    ("run -- :tag", 125, [":tag", "reference"]),
    ("logs --since yesterday-ish near", 1, ["yesterday-ish", "time"]),
    ("ps --filter colour=red", 125, ["colour", "filter"]),
    ("ps --format '{{'", 1, ["template", "unclosed action"]),
    ("image prune --filter x", 125, ["\"x\"", "name=value"]),
];

/// Things that are not there, or are not what they should be. There are the image `busybox`, the container `near`, which runs, the container
/// `still`, which does not, the files `text` and `d/`, and an occupied port, 8099.
const THINGS: &[Mistake] = &[
    ("start nosuch", 1, ["nosuch", "No such container"]),
    ("ps --format '{{.Nonsense}}'", 1, ["Nonsense", "template"]),
    ("tag busybox a:b:c", 1, ["a:b:c", "reference"]),
    ("logs naer", 1, ["naer", "did you mean 'near'"]),
    ("exec still true", 1, ["Container", "not running"]),
    ("exec near nosuch", 127, ["nosuch", "not found"]),
    ("exec near /etc/passwd", 126, ["/etc/passwd", "permission denied"]),
    ("exec -w /nosuch near true", 126, ["/nosuch", "no such file"]),
    ("exec -u ghost near true", 1, ["ghost", "user"]),
    ("run --rm busybox nosuch", 127, ["nosuch", "not found"]),
    ("run --rm busybox /etc", 126, ["/etc", "permission denied"]),
    ("run --rm -u ghost busybox true", 125, ["ghost", "user"]),
    ("run --rm --pull never nosuch true", 125, ["nosuch", "No such image"]),
    ("run --name near busybox true", 125, ["/near", "already in use"]),
    ("run --rm -p 8099:80 busybox true", 125, ["8099", "already allocated"]),
    ("run --rm --network nosuch busybox true", 125, ["nosuch", "not found"]),
    ("run --rm --network container:nosuch busybox true", 125, ["nosuch", "No such container"]),
    ("run --rm --network container:still busybox true", 125, ["join net", "non running"]),
    ("run --rm --env-file nosuch busybox true", 125, ["nosuch", "no such file"]),
    ("run --rm --mount type=bind,source=/nosuch,target=/x busybox true", 125, ["/nosuch", "not exist"]),
    ("run --rm -v /etc/passwd:/etc busybox true", 125, ["/etc", "directory"]),
    ("run --rm --device /dev/nosuch busybox true", 125, ["/dev/nosuch", "no such"]),
    ("run --rm --security-opt seccomp=nosuch busybox true", 125, ["nosuch", "no such file"]),
    ("run --rm --security-opt seccomp=text busybox true", 125, ["text", "seccomp"]),
    ("run --rm -w /etc/passwd busybox true", 126, ["/etc/passwd", "directory"]),
    ("rm near", 1, ["near", "stop the container"]),
    ("rename still near", 1, ["near", "already in use"]),
    ("update -m 1k near", 1, ["memory limit", "6MB"]),
    ("kill still", 1, ["Container", "not running"]),
    ("pause still", 1, ["Container", "not running"]),
    ("cp near:/nosuch x", 1, ["/nosuch", "Could not find"]),
    ("cp nosuch near:/", 1, ["nosuch", "no such file"]),
    ("cp text near:/nosuch/x", 1, ["/nosuch", "Could not find"]),
    ("commit nosuch x", 1, ["nosuch", "No such container"]),
    ("rmi nosuch", 1, ["nosuch", "no such image"]),
    ("rmi busybox", 1, ["busybox", "being used"]),
    ("load -i nosuch.tar", 1, ["nosuch.tar", "no such file"]),
    ("load -i text", 1, ["text", "archive"]),
    ("load -i d", 1, ["'d'", "not an image archive"]),
    ("save -o /nosuch/x busybox", 1, ["/nosuch", "no such file"]),
    ("network rm nosuch", 1, ["nosuch", "not found"]),
    ("network connect bridge nosuch", 1, ["nosuch", "No such container"]),
    ("network create --subnet 10.0.0.0/33 x", 1, ["10.0.0.0/33", "subnet"]),
    ("volume rm nosuch", 1, ["nosuch", "no such volume"]),
    ("volume rm kept", 1, ["kept", "in use"]),
    ("volume create a/b", 1, ["a/b", "name"]),
    ("pull -q 127.0.0.1:9/x", 1, ["127.0.0.1:9", "refused"]),
    ("push busybox:nosuch", 1, ["busybox", "does not exist"]),
    ("search 127.0.0.1:9/x", 1, ["127.0.0.1:9", "refused"]),
];

#[track_caller]
fn refused(answer: &Output, code: i32, names: &[&str]) -> Option<String> {
    let said: Vec<&str> = answer
        .stderr
        .lines()
        .filter(|l| !l.trim().is_empty() && !l.starts_with("Run 'corten") && !l.starts_with("  "))
        .collect();
    let named = said.first().is_some_and(|line| names.iter().all(|name| line.contains(name)));
    let whole = answer.code == code && answer.stdout.is_empty() && said.len() == 1 && named;
    (!whole || said[0].contains("os error") || said[0].contains("panicked"))
        .then(|| format!("not exit code {code} and one line that says {names:?}: {answer}"))
}

fn all(s: &Sandbox, mistakes: &[Mistake]) {
    let wrong: Vec<String> =
        mistakes.iter().filter_map(|(line, code, names)| refused(&s.corten(line), *code, names)).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), mistakes.len(), wrong.join("\n"));
}

#[test]
fn wrong_words() {
    let s = Sandbox::new();
    all(&s, WORDS);
    s.end();
}

#[test]
fn wrong_things() {
    let s = Sandbox::with(&["busybox"]);
    fs::write(s.dir.join("text"), "this is no archive and no profile\n").expect("writable");
    fs::create_dir(s.dir.join("d")).expect("writable");
    s.detached("--name near -v kept:/v busybox sleep 10000");
    s.corten("create --name still busybox true").ok();
    let _occupied = std::net::TcpListener::bind("0.0.0.0:8099").expect("a free port in a network of our own");
    all(&s, THINGS);
    s.corten("rm -f near still").ok();
    s.corten("volume rm kept").ok();
    s.end();
}

/// What is wrong with the machine, or with the user's rights.
#[test]
fn wrong_places() {
    let s = Sandbox::with(&["busybox"]);
    let root = s.scope.root.display().to_string();
    let fails = |answer: &Output, code: i32, names: &[&str]| {
        if let Some(wrong) = refused(answer, code, names) {
            panic!("{wrong}");
        }
    };
    s.corten("create --name box --network none busybox true").ok();

    s.host(&format!("mount --bind {root} {root} && mount -o remount,bind,ro {root}")).ok();
    for (line, code) in [
        ("create busybox true", 125),
        ("run --rm --network none busybox true", 125),
        ("rm box", 1),
        ("tag busybox other", 1),
        ("volume create data", 1),
        ("network create web", 1),
        ("commit box other", 1),
    ] {
        fails(&s.corten(line), code, &["read-only file system"]);
    }
    // What changes nothing goes on.
    s.corten("ps -a").ok();
    s.corten("images").ok();
    s.host(&format!("umount {root}")).ok();

    // A user without rights, who can see neither the data root nor the state.
    s.host("chmod 755 .").ok();
    let bin = e2e::binary();
    let user = |line: &str| {
        s.host(&format!(
            "cp -u {} corten; CORTEN_ROOT={root} CORTEN_STATE={} setpriv --reuid 65534 --regid 65534 --clear-groups ./corten {line}",
            bin.display(),
            s.scope.state.display()
        ))
    };
    for (line, code) in [("ps", 1), ("run --rm busybox true", 125), ("images", 1), ("rm -f box", 1)] {
        fails(&user(line), code, &["permission denied", "root"]);
    }

    // Files of the store that are broken.
    let config = s.directory("box").join("config.json");
    let text = fs::read(&config).expect("readable");
    fs::write(&config, &text[..text.len() / 2]).expect("writable");
    fails(&s.corten("start box"), 1, &["config.json", "cannot read"]);
    fails(&s.corten("logs box"), 1, &["config.json", "cannot read"]);
    fs::write(&config, &text).expect("writable");
    let digits = s.corten("images -q --no-trunc busybox").ok().trim_start_matches("sha256:").to_owned();
    let record = s.scope.root.join("images").join(format!("{digits}.json"));
    let text = fs::read(&record).expect("readable");
    fs::write(&record, "{").expect("writable");
    fails(&s.corten("run --rm --network none busybox true"), 125, &[&digits[..12], "damaged"]);
    fs::write(&record, &text).expect("writable");

    // An image for another machine.
    s.host(&format!(
        "mkdir u && tar -xf {} -C u && cd u && old=$(jq -r '.[0].Config' manifest.json) && sed -i 's/\"amd64\"/\"s390x\"/' $old &&
         new=$(sha256sum <$old | cut -d' ' -f1).json && mv $old $new &&
         sed -i \"s/$old/$new/; s/busybox:latest/other:1/\" manifest.json && tar -cf ../other.tar *",
        image("busybox.tar").display()
    ))
    .ok();
    fails(&s.corten("load -q --platform linux/amd64 -i other.tar"), 1, &["other.tar", "s390x"]);
    s.corten("load -q -i other.tar").ok();
    fails(
        &s.corten("run --rm --pull never --platform linux/amd64 other:1 true"),
        125,
        &["other:1", "linux/amd64"],
    );
    s.corten("rm box").ok();
    s.end();
}
