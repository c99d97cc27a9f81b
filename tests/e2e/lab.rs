//! `corten lab`: every chapter runs here for real, its checks hold, and it leaves nothing, however it ends.

use e2e::{Sandbox, wait_until};
use rustix::process::Signal;

/// Chapters put their things below /run: here, that is the sandbox's own.
fn sandbox() -> Sandbox {
    let s = Sandbox::with_internet(&[]);
    s.host("mount -t tmpfs run /run && mkdir -p /run/netns").ok();
    s
}

fn nothing_left(s: &Sandbox) {
    let left = s.host(
        "ls -d /run/lab-* /run/netns/lab-* /sys/fs/cgroup/lab-{cpu,box} /sys/fs/cgroup/*/lab-{cpu,box} 2>/dev/null; \
         ip -o link | grep lab-; grep lab- /proc/self/mounts; nft list tables; pgrep -f 'sleep 1000[1-5]$'; true",
    );
    assert_eq!(left.ok(), "");
}

#[test]
fn every_chapter_holds_what_it_says_and_leaves_nothing_alone() {
    let s = sandbox();
    let list = s.corten("lab");
    for chapter in ["namespaces", "overlay", "network", "cgroups", "container", "inspect"] {
        assert!(list.ok().contains(chapter), "{list}");
        // The world that the second to last step of 'network' reaches.
        let mut command = s.command(&format!("lab --yes {chapter}"));
        command.env("LAB_PING", "198.51.100.1").stdin(std::process::Stdio::null());
        // Shares are looked at for up to two minutes, where a machine is busy.
        let done = e2e::Background::start(chapter, &mut command).wait_for(240);
        let text = done.ok();
        assert!(text.ends_with("All of it is taken away again."), "{done}");
        assert!(!text.contains('✗') && text.contains('✓'), "{done}");
        if chapter == "network" {
            assert!(text.contains("bytes from 198.51.100.1"), "{done}");
        }
        if chapter == "cgroups" {
            assert!(text.contains("promised 77.6 %") && text.contains('█'), "{done}");
        }
        if chapter == "container" {
            assert!(text.contains("exit code 137"), "{done}");
        }
        if chapter == "inspect" {
            // The sandbox's firewall table is corten's own, which its last container's end does not take away.
            s.corten("system down").ok();
        }
        nothing_left(&s);
    }
    s.corten("lab nosuch").fails(125, &["nosuch"]);
    s.host("umount -R /run").ok();
    s.end();
}

#[test]
fn a_lesson_sees_what_is_done_in_another_terminal_and_goes_when_it_is_stopped() {
    let s = sandbox();
    // A container and its network beside it are left alone.
    s.corten("run -d --name beside @host sleep 1000").ok();
    let mut lesson = s.pty("lab overlay");
    lesson.expect("or type it in another terminal");
    s.host("mkdir -p /run/lab-overlay && mount -t tmpfs lab-overlay /run/lab-overlay && mkdir /run/lab-overlay/{lower1,lower2,upper,work,merged}").ok();
    lesson.expect("done in another terminal");
    lesson.expect("2/6");
    lesson.expect("[Enter] runs it");
    lesson.send("\r");
    lesson.expect("+ /run/lab-overlay/lower1/file1.txt:Lower 1 - original");
    lesson.expect("as it should be");
    lesson.expect("[Enter] runs it");
    lesson.send("\r");
    lesson.expect("4/6");
    lesson.send("\x03");
    lesson.expect("is taken away again");
    assert_eq!(lesson.wait().code, 130);
    assert_eq!(s.host("ls -d /run/lab-*; grep lab-overlay /proc/self/mounts; true").ok(), "");

    // Another signal, in the midst of a network; `q`; and no terminal at all.
    let mut lesson = s.pty("lab network");
    lesson.expect("[Enter] runs it");
    lesson.send("\r");
    lesson.expect("2/8");
    let supervisor = rustix::process::Pid::from_raw(lesson.pid().cast_signed()).unwrap();
    rustix::process::kill_process(supervisor, Signal::TERM).unwrap();
    lesson.expect("is taken away again");
    lesson.wait();
    wait_until("the bridge is gone", 10, || s.host("ip link show lab-br").code != 0);
    let mut lesson = s.pty("lab overlay");
    lesson.expect("[Enter] runs it");
    lesson.send("q\r");
    lesson.expect("is taken away again");
    assert_eq!(lesson.wait().code, 130);
    assert_eq!(s.corten("lab overlay").code, 130);
    assert_eq!(s.inspect("beside", "{{.State.Running}}"), "true");
    s.corten("rm -f beside").ok();
    s.host("umount -R /run").ok();
    s.end();
}
