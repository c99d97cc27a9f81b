//! `corten ui` in a real terminal: keys are typed, the screen is read.

use e2e::{Pty, Sandbox, wait_until};

/// What a terminal of 40 rows and 130 columns shows after all that was written to it.
fn screen(pty: &Pty) -> Vec<String> {
    let mut terminal = vt100::Parser::new(40, 130, 0);
    terminal.process(pty.screen().as_bytes());
    terminal.screen().rows(0, 130).collect()
}

#[track_caller]
fn shows(pty: &Pty, text: &str) {
    wait_until(&format!("{text:?} in\n{}", screen(pty).join("\n")), 30, || {
        screen(pty).iter().any(|row| row.contains(text))
    });
}

/// The line of the container that is chosen: in reverse.
fn chosen(pty: &Pty) -> String {
    let mut terminal = vt100::Parser::new(40, 130, 0);
    terminal.process(pty.screen().as_bytes());
    let screen = terminal.screen();
    let row = (0..40).find(|row| screen.cell(*row, 0).is_some_and(vt100::Cell::inverse));
    row.and_then(|row| screen.rows(0, 130).nth(row.into())).unwrap_or_default()
}

#[test]
fn containers_are_watched_and_acted_on_by_keys() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name loud --network none --init busybox sh -c 'while :; do echo tick; sleep 0.2; done'");
    s.detached("--name quiet --network none --init busybox sleep 1000");
    let mut pty = s.pty("ui");
    pty.resize(40, 130);
    shows(&pty, "2 containers, 2 running");
    for title in ["NAME", "IMAGE", "STATUS", "CPU %", "MEMORY", "PIDS", "q quit"] {
        shows(&pty, title);
    }
    // The newest is the first, as in `ps`.
    wait_until("the first to be chosen", 30, || chosen(&pty).starts_with("quiet"));
    pty.send("\x1b[B");
    wait_until("the second to be chosen", 30, || chosen(&pty).starts_with("loud"));
    shows(&pty, "Log of loud");
    shows(&pty, "tick");
    shows(&pty, "memory ");
    // Another process of the same container, in its terminal; then back.
    pty.send("e");
    shows(&pty, "/ # ");
    pty.send("echo in-$((40 + 2))\r");
    shows(&pty, "in-42");
    wait_until("the next prompt", 30, || screen(&pty).iter().any(|row| row.trim_end() == "/ #"));
    pty.send("exit\r");
    shows(&pty, "Log of loud");
    pty.send("p");
    shows(&pty, "(Paused)");
    pty.send("p");
    shows(&pty, "unpause loud: done");
    pty.send("s");
    shows(&pty, "stop loud: done");
    assert_eq!(s.inspect("loud", "{{.State.Status}}"), "exited");
    pty.send("u");
    shows(&pty, "start loud: done");
    pty.send("/qui\r");
    wait_until("the others to be hidden", 30, || chosen(&pty).starts_with("quiet"));
    assert!(!screen(&pty).iter().any(|row| row.starts_with("loud")), "{}", screen(&pty).join("\n"));
    pty.send("d");
    shows(&pty, "remove quiet? y removes it");
    pty.send("n");
    shows(&pty, "not removed");
    pty.send("dy");
    shows(&pty, "1 containers, 1 running");
    s.corten("inspect quiet").exits(1);
    pty.send("q");
    assert_eq!(pty.wait().code, 0);
    s.corten("ui").fails(1, &["needs a terminal"]);
    s.corten("rm -f loud").ok();
    s.end();
}
