//! The harness is tested too: it must see what a careless engine would leave behind.

use e2e::{Background, Facts, Pty, Sandbox};
use std::process::Command;

#[test]
fn a_sandbox_without_containers_is_left_as_it_was() {
    Sandbox::new().end();
}

#[test]
fn an_internet_answers() {
    let s = Sandbox::with_internet(&[]);
    assert_eq!(s.host("curl -s http://198.51.100.1/").ok(), "hello 198.51.100.2");
    s.end();
}

#[test]
fn leftovers_are_seen() {
    let s = Sandbox::new();
    let before = Facts::read(&s.scope);
    std::fs::create_dir_all(s.scope.root.join("containers/0123")).expect("the sandbox is writable");
    s.host("ip link add left0 type bridge; nft add table inet left; mount -t tmpfs left /mnt").ok();
    let mut sleeper = Command::new("sleep").arg("30").spawn().expect("sleep starts");
    let left = Facts::read(&s.scope).since(&before);
    sleeper.kill().and_then(|()| sleeper.wait()).expect("sleep ends");
    for what in ["left: link left0 bridge", "left: nft left table", "left: mount /mnt of / tmpfs left"] {
        assert!(left.contains(what), "not seen: {what} in\n{left}");
    }
    assert!(left.contains("sleep 30") && left.contains("directory root/containers/0123"), "{left}");
}

#[test]
fn a_terminal_is_a_terminal() {
    let _s = Sandbox::new();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "stty size; read line; echo got $line; trap 'stty size' WINCH; kill -TSTP 0; sleep 0; exit 3",
    ]);
    let mut pty = Pty::start("sh", &command);
    pty.expect("24 80");
    pty.send("word\r");
    pty.expect("got word");
    assert_eq!(pty.wait().code, 3);
}

#[test]
fn output_held_open_is_seen() {
    let mut command = Command::new("sh");
    command.args(["-c", "echo out; echo err >&2; exit 7"]);
    let output = Background::start("sh", &mut command).wait();
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (7, "out\n", "err\n"));
}
