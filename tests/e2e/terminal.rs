//! `-t`: what a person at a terminal sees, types and resizes.

use e2e::{Sandbox, wait_until};

#[test]
fn a_shell() {
    let s = Sandbox::with(&["busybox"]);
    let mut pty = s.pty("run --rm -it busybox sh");
    pty.expect("# ");
    pty.send("tty; stty size\r");
    pty.expect("/dev/pts/0");
    pty.expect("24 80");
    pty.resize(40, 132);
    pty.send("sleep 0.2; stty size\r");
    pty.expect("40 132");
    pty.send("exit 7\r");
    assert_eq!(pty.wait().code, 7);
    s.end();
}

#[test]
fn control_c_goes_to_the_foreground_program() {
    let s = Sandbox::with(&["busybox"]);
    let mut pty = s.pty("run --rm -it busybox sh");
    pty.expect("# ");
    pty.send("sleep 100; echo code $?\r");
    pty.expect("code $?");
    std::thread::sleep(std::time::Duration::from_millis(300));
    pty.send("\x03");
    pty.expect("# ");
    pty.send("echo still here\r");
    pty.expect("still here\r\n");
    pty.send("\x04");
    assert_eq!(pty.wait().code, 0);
    s.end();
}

#[test]
fn who_leaves_a_program_that_hears_nothing_is_told_so() {
    let s = Sandbox::with(&["busybox"]);
    let mut pty = s.pty("run --name box busybox sh -c 'echo up; exec sleep 100'");
    pty.expect("up");
    // Two that come at a time are one for whoever gets them, see signal(7).
    wait_until("an end by force", 20, || {
        pty.send("\x03");
        std::thread::sleep(std::time::Duration::from_millis(100));
        pty.screen().contains("got 3 SIGTERM/SIGINTs, forcefully exiting")
    });
    pty.expect("note: 'box' goes on, 'stop box' ends it");
    pty.expect("'sleep', has no handler for it");
    assert_eq!(pty.wait().code, 130);
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn job_control() {
    let s = Sandbox::with(&["nginx"]);
    let mut pty = s.pty("run --rm -it nginx bash");
    pty.expect("# ");
    assert!(!pty.screen().contains("no job control"), "{}", pty.screen());
    pty.send("sleep 100\r");
    pty.expect("sleep 100");
    std::thread::sleep(std::time::Duration::from_millis(300));
    pty.send("\x1a");
    pty.expect("Stopped");
    pty.send("jobs; kill -9 %1; sleep 0.2; exit 0\r");
    pty.expect("sleep 100");
    assert_eq!(pty.wait().code, 0);
    s.end();
}

#[test]
fn detach() {
    let s = Sandbox::with(&["busybox"]);
    let mut pty = s.pty("run -it --name box busybox sh");
    pty.expect("# ");
    pty.send("\x10\x11");
    assert_eq!(pty.wait().code, 0);
    assert_eq!(s.inspect("box", "{{.State.Status}}"), "running");
    s.corten("exec box true").ok();
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn one_detach_key_alone_is_passed_on() {
    let s = Sandbox::with(&["busybox"]);
    let mut pty = s.pty("run --rm -it busybox sh -c 'stty raw -echo; echo ready; head -c 2 | od -An -tx1'");
    pty.expect("ready");
    pty.send("\x10a");
    pty.expect("10 61");
    assert_eq!(pty.wait().code, 0);
    s.end();
}

#[test]
fn the_screen_shows_nothing_else() {
    let s = Sandbox::with(&["busybox"]);
    let output = s.pty("run --rm -it busybox echo hello").wait();
    assert_eq!((output.code, output.stdout.as_str()), (0, "hello\r\n"));
    // Not a terminal inside: line feeds stay what they are.
    assert_eq!(s.corten("run --rm busybox sh -c 'tty; echo x'").ok(), "not a tty\nx");
    s.end();
}

#[test]
fn its_size_is_there_from_the_start() {
    let s = Sandbox::with(&["busybox"]);
    assert_eq!(s.pty("run --rm -it busybox stty size").wait().stdout, "24 80\r\n");
    s.detached("--name box -t busybox sh -c 'ls -l /dev/console; sleep 100'");
    assert_eq!(s.pty("exec -it box stty size").wait().stdout, "24 80\r\n");
    // The console stays the first program's.
    let mounts = s.corten("exec box grep -c /dev/console /proc/mounts");
    assert_eq!(mounts.ok(), "1");
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn exec_on_a_terminal() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box busybox sleep 100");
    let mut pty = s.pty("exec -it box sh");
    pty.expect("# ");
    pty.send("tty; stty size\r");
    pty.expect("/dev/pts/");
    pty.expect("24 80");
    pty.resize(10, 20);
    pty.send("sleep 0.2; stty size; exit 3\r");
    pty.expect("10 20");
    assert_eq!(pty.wait().code, 3);
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn t_without_a_terminal_is_refused() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run --rm -it busybox true").exits(1);
    // Without -i nothing has to be read: Docker allows it.
    s.corten("run --rm -t busybox true").ok();
    s.end();
}

#[test]
fn an_error_leaves_the_terminal_as_it_was() {
    let s = Sandbox::with(&["busybox"]);
    assert_eq!(s.pty("run --rm -it busybox nosuchprogram").wait().code, 127);
    assert_eq!(s.pty("run --rm -it nosuchimage:1 sh").wait().code, 125);
    s.end();
}

#[test]
fn a_killed_container_gives_the_terminal_back() {
    let s = Sandbox::with(&["busybox"]);
    let mut pty = s.pty("run --name box -it busybox sh");
    pty.expect("# ");
    s.corten("kill box").ok();
    assert_eq!(pty.wait().code, 137);
    s.corten("rm box").ok();
    s.end();
}
