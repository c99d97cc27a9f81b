//! A container of corten's, looked at with the machine's own tools.

use crate::lab::{Chapter, Step};

pub const CHAPTER: Chapter = Chapter {
    name: "inspect",
    about: "A container that an engine has made, looked at with other people's tools",
    needs: &[("lsns", "util-linux"), ("nsenter", "util-linux"), ("ip", "iproute2")],
    steps: &[
        Step {
            say: "A container of this machine's own files, with limits:",
            run: "corten run -d --name lab-web --memory 32m --cpus 0.1 --pids-limit 50 @host sleep 10005",
            show: "corten ps --format '{{.Names}}  {{.Command}}  {{.Status}}' | grep lab-web",
            check: "[ $(corten inspect -f '{{.State.Running}}' lab-web) = true ]",
            ..Step::NONE
        },
        Step {
            say: "It is a process of this machine, and these are the namespaces that it is in:",
            run: "lsns -p $(corten inspect -f '{{.State.Pid}}' lab-web)",
            check: "P=$(corten inspect -f '{{.State.Pid}}' lab-web) && \
                    [ $(readlink /proc/$P/ns/pid) != $(readlink /proc/self/ns/pid) ] && \
                    [ $(readlink /proc/$P/ns/user) != $(readlink /proc/self/ns/user) ]",
            ..Step::NONE
        },
        Step {
            say: "Its network: the address in there, and the other end of the cable, on the bridge out here.",
            run: "nsenter -t $(corten inspect -f '{{.State.Pid}}' lab-web) --net ip -br addr\n\
                  ip -br link show type bridge",
            check: "nsenter -t $(corten inspect -f '{{.State.Pid}}' lab-web) --net ip -br addr | \
                    grep -qF $(corten inspect -f '{{.NetworkSettings.IPAddress}}' lab-web)",
            ..Step::NONE
        },
        Step {
            say: "Its control groups: limits, use, and the file of each:",
            run: "corten cgroup tree lab-web",
            check: "corten cgroup tree lab-web | grep -q 'of 32MiB'",
            ..Step::NONE
        },
        Step {
            say: "Its root: an overlay with this machine's files below.",
            run: "grep ' / / ' /proc/$(corten inspect -f '{{.State.Pid}}' lab-web)/mountinfo",
            check: "grep -q ' / / .* overlay ' /proc/$(corten inspect -f '{{.State.Pid}}' lab-web)/mountinfo",
            ..Step::NONE
        },
        Step {
            say: "The rights of its root: a handful of all capabilities, and only over what is its own. Its root is nobody out here:",
            run: "grep 'CapEff\\|Seccomp:\\|Uid' /proc/$(corten inspect -f '{{.State.Pid}}' lab-web)/status\n\
                  cat /proc/$(corten inspect -f '{{.State.Pid}}' lab-web)/uid_map",
            check: "grep -q 'Seccomp:.*2' /proc/$(corten inspect -f '{{.State.Pid}}' lab-web)/status",
            ..Step::NONE
        },
        Step {
            say: "And all of it at once, each thing with the command that shows it:",
            run: "corten map lab-web",
            check: "corten map lab-web | grep -q 'sleep 10005'",
            ..Step::NONE
        },
        Step {
            say: "Remove it. Its namespaces, its cable and its groups go with it:",
            run: "corten rm -f lab-web",
            show: "ip -br link; corten ps -a --format '{{.Names}}'",
            check: "! corten inspect lab-web >/dev/null 2>&1",
            ..Step::NONE
        },
    ],
    undo: "corten inspect lab-web >/dev/null 2>&1 && corten rm -f lab-web >/dev/null\n\
           [ -n \"$(corten ps -aq)\" ] || corten system down",
    left: "corten ps -a --format '{{.Names}}' | grep -x lab-web",
    end: "'corten compare lab-web' would say what the kernel treats differently in it, 'corten why denied lab-web' what it may not do.",
};
