//! Crashes where no command of the engine's is at fault: of a monitor that starts its container again, or looks after its health; of the OCI
//! runtime, whose caller deletes what is there.

use super::{Case, killed_everywhere, neighbour};
use crate::faults::others::{CREATE, DELETE, HEALTH, RESTART, START, bundled};
use e2e::points::chosen;

#[test]
fn restart_policy() {
    if chosen(2) {
        // Between two lives it is neither.
        let state = "for i in $(seq 300); do \
                state=$(corten inspect -f '{{.State.Status}} {{.RestartCount}}' box); \
                case $state in restarting*|'running 0') sleep .1;; *) break;; esac; \
            done; echo ${state% *}";
        let states = &["created", "exited", "running"];
        killed_everywhere(neighbour(), &Case { state, states, ..RESTART });
    }
}

#[test]
fn health() {
    if chosen(2) {
        killed_everywhere(
            neighbour(),
            &Case { state: super::STATUS, states: &["exited", "running"], ..HEALTH },
        );
    }
}

fn oci(case: &Case) {
    if chosen(2) {
        killed_everywhere(bundled(), case);
    }
}

#[test]
fn oci_create() {
    oci(&Case { states: &["none", "creating", "stopped", "created"], ..CREATE });
}

#[test]
fn oci_start() {
    oci(&START);
}

#[test]
fn oci_delete() {
    oci(&Case { states: &["created", "stopped", "creating", "none"], ..DELETE });
}
