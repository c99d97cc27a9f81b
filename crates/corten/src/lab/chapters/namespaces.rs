//! Namespaces: unshare(1), lsns(8), nsenter(1).

use crate::lab::{Chapter, Step};

pub const CHAPTER: Chapter = Chapter {
    name: "namespaces",
    about: "Processes that see a world of their own",
    needs: &[("unshare", "util-linux"), ("lsns", "util-linux"), ("ps", "procps"), ("pgrep", "procps")],
    steps: &[
        Step {
            say: "Every process is in eight namespaces, one of each kind. Each has a number; processes with the same number see the\n\
                  same thing. These are the ones that you are in:",
            run: "readlink /proc/self/ns/{cgroup,ipc,mnt,net,pid,time,user,uts}",
            ..Step::NONE
        },
        Step {
            say: "unshare(1) starts a program in new ones: here it gets process numbers, a host name and mounts of its own. Three\n\
                  programs run in there. (The number of unshare goes into a file, so that we find them again.)",
            run: "mkdir -p /run/lab-namespaces\n\
                  unshare --fork --kill-child --pid --mount-proc --uts \\\n    \
                  sh -c 'hostname lab-box; sleep 10001 & sleep 10002 & exec sleep 10003' >/dev/null 2>&1 &\n\
                  echo $! >/run/lab-namespaces/unshare",
            show: "lsns -n -o TYPE,NS,NPROCS,COMMAND | grep 'sleep 1000[1-3]$'",
            check: "P=$(pgrep -P $(cat /run/lab-namespaces/unshare)) && \
                    [ $(pgrep -c -P $P) = 2 ] && \
                    [ $(readlink /proc/$P/ns/pid) != $(readlink /proc/self/ns/pid) ]",
            ..Step::NONE
        },
        Step {
            say: "One process, two numbers: the first is its number on this machine, the last its number in there. It is number 1,\n\
                  as the first process of a machine is.",
            run: "grep NSpid /proc/$(pgrep -P $(cat /run/lab-namespaces/unshare))/status",
            check: "grep -q 'NSpid:.*[[:space:]]1$' /proc/$(pgrep -P $(cat /run/lab-namespaces/unshare))/status",
            ..Step::NONE
        },
        Step {
            say: "nsenter(1) goes in. In there, ps sees the three programs (and itself), and nothing of this machine:",
            run: "nsenter -t $(pgrep -P $(cat /run/lab-namespaces/unshare)) --pid --mount ps ax",
            check: "[ $(nsenter -t $(pgrep -P $(cat /run/lab-namespaces/unshare)) -p -m ls -d /proc/[0-9]* | wc -l) -lt 10 ]",
            ..Step::NONE
        },
        Step {
            say: "The host name is of the uts namespace: it has changed in there, and not out here.",
            run: "nsenter -t $(pgrep -P $(cat /run/lab-namespaces/unshare)) --uts hostname; hostname",
            check: "[ $(nsenter -t $(pgrep -P $(cat /run/lab-namespaces/unshare)) --uts hostname) = lab-box ] && \
                    [ $(hostname) != lab-box ]",
            ..Step::NONE
        },
        Step {
            say: "A user namespace gives users other numbers: whoever makes one is root in it, and nobody special outside. A file\n\
                  says who is who: number inside, number outside, how many.",
            run: "unshare --user --map-root-user sh -c 'id -u; cat /proc/self/uid_map'",
            ..Step::NONE
        },
        Step {
            say: "A pid namespace ends with its number 1: the kernel ends all others in it.",
            run: "kill -9 $(pgrep -P $(cat /run/lab-namespaces/unshare))",
            show: "lsns -n -o TYPE,NS,NPROCS,COMMAND | grep 'sleep 1000[1-3]$'",
            check: "! pgrep -P $(cat /run/lab-namespaces/unshare) >/dev/null",
            ..Step::NONE
        },
    ],
    undo: "P=$(cat /run/lab-namespaces/unshare 2>/dev/null) && [ \"$(cat /proc/$P/comm 2>/dev/null)\" = unshare ] && kill -9 $P\n\
           rm -rf /run/lab-namespaces",
    left: "ls -d /run/lab-namespaces 2>/dev/null",
    end: "A container's processes are ordinary processes of this machine, in namespaces of their own. 'corten ns ls' lists them.",
};
