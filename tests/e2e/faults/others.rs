//! Errors of the system where no command is at fault: in a monitor that writes a log, starts its container again, or looks after its health;
//! in whoever only looks on; and in the OCI runtime.

use super::failing_everywhere;
use crate::crash::{Case, GONE, neighbour};
use e2e::{Sandbox, points::chosen};
use std::time::Duration;

/// What it says to the log is there, and what it says later.
#[test]
fn log() {
    let case = Case {
        title: "the monitor, at a log of several files",
        line: "exec box sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i of them all >/proc/1/fd/1; done'",
        prepare: &[
            "run -d --name box --log-opt max-size=500 --log-opt max-file=3 --log-opt compress=true busybox sleep 10000",
        ],
        state: "corten exec box sh -c 'echo after >/proc/1/fd/1'; \
            for i in $(seq 400); do [ \"$(corten logs --tail 1 box)\" = after ] && break; sleep .05; done; \
            corten logs --tail 1 box; corten logs box | grep -vc '^line [0-9]* of them all$\\|^after$'",
        states: &["after 0"],
        quiet: e2e::trace::QUIET,
        ..MONITOR
    };
    failing_everywhere(neighbour(), &case, &[]);
}

const MONITOR: Case = Case {
    monitors: &["box"],
    after: GONE,
    monitors_alone: true,
    quiet: Duration::from_millis(300),
    ..Case::EMPTY
};

/// Its first process ends some time after the command has.
pub const RESTART: Case = Case {
    title: "the monitor, at its restart policy",
    line: "exec box sh -c '(sleep .2; kill -USR1 1) &'",
    prepare: &["run -d --name box --restart always -p 8080:80 --network other -v data:/d busybox \
        sh -c 'trap \"exit 3\" USR1; while :; do sleep 1 & wait; done'"],
    state: "for i in $(seq 300); do \
            [ \"$(corten inspect -f '{{.RestartCount}}' box)\" != 0 ] && corten exec box true 2>/dev/null && break; sleep .1; \
        done; \
        corten inspect -f '{{.State.Status}} {{ne .RestartCount 0}}' box; corten port box | wc -l",
    states: &["running true 1"],
    // Longer than that.
    quiet: Duration::from_millis(400),
    ..MONITOR
};

/// A restart policy goes on where a start has failed.
#[test]
fn restart() {
    if chosen(2) {
        failing_everywhere(neighbour(), &RESTART, &[]);
    }
}

/// Its probes fail until the command makes them succeed; then there are no more.
pub const HEALTH: Case = Case {
    title: "the monitor, at a health check",
    line: "exec box touch /fine",
    prepare: &[
        "run -d --name box --health-cmd 'test -e /fine' --health-start-period 1h --health-start-interval 300ms \
        --health-interval 1h busybox sleep 10000",
    ],
    state: "for i in $(seq 200); do [ \"$(corten inspect -f '{{.State.Health.Status}}' box)\" = healthy ] && break; sleep .1; done; \
        corten inspect -f '{{.State.Status}} {{.State.Health.Status}}' box",
    states: &["running healthy"],
    quiet: Duration::from_millis(600),
    ..MONITOR
};

/// A probe that cannot be made is one that fails, and the next one comes.
#[test]
fn health() {
    if chosen(2) {
        failing_everywhere(neighbour(), &HEALTH, &[]);
    }
}

const SHORT: &str = "run -d --name box busybox sh -c 'echo said; sleep 1; echo end'";

/// Whoever only looks on, by chance one of them. It may come when all is over.
fn looking_on(line: &'static str, says: &'static str, prepare: &'static [&'static str]) {
    if chosen(2) {
        let (state, states) = ("corten wait box >/dev/null; corten logs box", &["said end"]);
        let case = Case { line, says, prepare, state, states, after: GONE, ..Case::default() };
        failing_everywhere(neighbour(), &case, &[1]);
    }
}

#[test]
fn logs() {
    looking_on("logs -f box", "said\nend\n", &[SHORT]);
}

#[test]
fn wait() {
    looking_on("wait box", "0\n", &[SHORT]);
}

/// Beside a bundle.
pub fn bundled() -> Sandbox {
    let s = neighbour();
    s.bundle("bundle", &["sleep", "10000"]);
    s
}

const CREATED: &[&str] = &["oci create --bundle bundle box"];

const OCI: Case = Case {
    state: "state=$(corten oci --root oci state box 2>/dev/null | jq -r .status); echo ${state:-none}",
    after: &["oci --root oci delete -f box"],
    ..Case::EMPTY
};

pub const CREATE: Case =
    Case { line: "oci --root oci create --bundle bundle box", states: &["none", "created"], ..OCI };

pub const START: Case = Case {
    line: "oci --root oci start box",
    prepare: CREATED,
    states: &["created", "stopped", "running"],
    ..OCI
};

pub const DELETE: Case = Case {
    line: "oci --root oci delete -f box",
    prepare: CREATED,
    states: &["created", "stopped", "none"],
    ..OCI
};

fn oci(case: &Case) {
    if chosen(2) {
        failing_everywhere(bundled(), case, &[1]);
    }
}

#[test]
fn oci_create() {
    oci(&CREATE);
}

#[test]
fn oci_start() {
    oci(&START);
}

#[test]
fn oci_delete() {
    oci(&DELETE);
}
