//! Control groups: shares of a CPU, on v1 and on v2.

use crate::lab::{Chapter, Measure, Step};

const SHARES: [u32; 3] = [2048, 512, 80];

const NEEDS: &[(&str, &str)] = &[("taskset", "util-linux")];

const END: &str = "Shares count only where there is not enough for all: whoever is alone has it all. 'corten run --cpu-shares' sets them, and\n\
    'corten cgroup tree' shows them.";

const ABOUT: &str = "Shares of a CPU: 2048 : 512 : 80, measured";

pub const V1: Chapter = Chapter {
    name: "cgroups",
    about: ABOUT,
    needs: NEEDS,
    steps: &[
        Step {
            say: "A control group is a directory. Each controller (cpu, memory, pids, …) has a hierarchy of its own here: this is version\n\
                  1. Making a directory makes a group, and the kernel puts files into it.",
            run: "mkdir -p /sys/fs/cgroup/cpu/lab-cpu/user{1..3}",
            show: "ls -1d /sys/fs/cgroup/cpu/lab-cpu/* 2>/dev/null | grep 'user\\|shares'",
            check: "[ -e /sys/fs/cgroup/cpu/lab-cpu/user3/cpu.shares ]",
            ..Step::NONE
        },
        Step {
            say: "Shares say what each gets when all want the CPU. Of 2048 + 512 + 80 these are 77 %, 19 % and 3 %:",
            run: "echo 2048 >/sys/fs/cgroup/cpu/lab-cpu/user1/cpu.shares\n\
                  echo 512 >/sys/fs/cgroup/cpu/lab-cpu/user2/cpu.shares\n\
                  echo 80 >/sys/fs/cgroup/cpu/lab-cpu/user3/cpu.shares",
            show: "grep . /sys/fs/cgroup/cpu/lab-cpu/user*/cpu.shares",
            check: "[ $(cat /sys/fs/cgroup/cpu/lab-cpu/user{1..3}/cpu.shares | tr '\\n' :) = 2048:512:80: ]",
            ..Step::NONE
        },
        Step {
            say: "Three programs that never have enough, all on one processor. Each enters its group by writing its number into a file:",
            run: "CPU=$(taskset -cp $$ | sed 's/.*: \\([0-9]*\\).*/\\1/')\n\
                  for i in 1 2 3; do\n    \
                  taskset -c $CPU sh -c \"echo \\$\\$ >/sys/fs/cgroup/cpu/lab-cpu/user$i/tasks; exec cat /dev/urandom\" \\\n        \
                  >/dev/null 2>&1 &\n\
                  done",
            show: "grep . /sys/fs/cgroup/cpu/lab-cpu/user*/tasks",
            check: "for i in 1 2 3; do grep -q . /sys/fs/cgroup/cpu/lab-cpu/user$i/tasks || exit 1; done",
            ..Step::NONE
        },
        Step {
            say: "What they get, as 'top' would show it:",
            measure: Some(Measure {
                groups: [
                    "/sys/fs/cgroup/cpu/lab-cpu/user1/tasks",
                    "/sys/fs/cgroup/cpu/lab-cpu/user2/tasks",
                    "/sys/fs/cgroup/cpu/lab-cpu/user3/tasks",
                ],
                shares: SHARES,
            }),
            ..Step::NONE
        },
    ],
    undo: "cat /sys/fs/cgroup/cpu/lab-cpu/user*/tasks 2>/dev/null | xargs -r kill -9 2>/dev/null\n\
           for i in $(seq 100); do\n\
           rmdir /sys/fs/cgroup/cpu/lab-cpu/user* /sys/fs/cgroup/cpu/lab-cpu 2>/dev/null\n\
           [ -d /sys/fs/cgroup/cpu/lab-cpu ] || break; sleep 0.1; done",
    left: "ls -d /sys/fs/cgroup/cpu/lab-cpu 2>/dev/null",
    end: END,
};

pub const V2: Chapter = Chapter {
    name: "cgroups",
    about: ABOUT,
    needs: NEEDS,
    steps: &[
        Step {
            say: "A control group is a directory. Here is version 2: one hierarchy, and each group says which controllers the groups below\n\
                  it have. Making a directory makes a group, and the kernel puts files into it.",
            run: "mkdir -p /run/lab-cgroups\n\
                  grep -qw cpu /sys/fs/cgroup/cgroup.subtree_control || touch /run/lab-cgroups/cpu-was-off\n\
                  echo +cpu >/sys/fs/cgroup/cgroup.subtree_control\n\
                  mkdir -p /sys/fs/cgroup/lab-cpu\n\
                  echo +cpu >/sys/fs/cgroup/lab-cpu/cgroup.subtree_control\n\
                  mkdir -p /sys/fs/cgroup/lab-cpu/user{1..3}",
            show: "ls -1d /sys/fs/cgroup/lab-cpu/* 2>/dev/null | grep 'user\\|weight'",
            check: "[ -e /sys/fs/cgroup/lab-cpu/user3/cpu.weight ]",
            ..Step::NONE
        },
        Step {
            say: "Version 1 has shares, 1024 for everybody; version 2 has weights, 100 for everybody. Shares of 2048 : 512 : 80, which are\n\
                  77 %, 19 % and 3 %, are weights of 200 : 50 : 8. (Runtimes that turn one into the other by a curve write\n\
                  174 : 59 : 15, and that is 70 : 24 : 6.)",
            run: "echo 200 >/sys/fs/cgroup/lab-cpu/user1/cpu.weight\n\
                  echo 50 >/sys/fs/cgroup/lab-cpu/user2/cpu.weight\n\
                  echo 8 >/sys/fs/cgroup/lab-cpu/user3/cpu.weight",
            show: "grep . /sys/fs/cgroup/lab-cpu/user*/cpu.weight",
            check: "[ $(cat /sys/fs/cgroup/lab-cpu/user{1..3}/cpu.weight | tr '\\n' :) = 200:50:8: ]",
            ..Step::NONE
        },
        Step {
            say: "Three programs that never have enough, all on one processor. Each enters its group by writing its number into a file:",
            run: "CPU=$(taskset -cp $$ | sed 's/.*: \\([0-9]*\\).*/\\1/')\n\
                  for i in 1 2 3; do\n    \
                  taskset -c $CPU sh -c \"echo \\$\\$ >/sys/fs/cgroup/lab-cpu/user$i/cgroup.procs; exec cat /dev/urandom\" \\\n        \
                  >/dev/null 2>&1 &\n\
                  done",
            show: "grep . /sys/fs/cgroup/lab-cpu/user*/cgroup.procs",
            check: "for i in 1 2 3; do grep -q . /sys/fs/cgroup/lab-cpu/user$i/cgroup.procs || exit 1; done",
            ..Step::NONE
        },
        Step {
            say: "What they get, as 'top' would show it:",
            measure: Some(Measure {
                groups: [
                    "/sys/fs/cgroup/lab-cpu/user1/cgroup.procs",
                    "/sys/fs/cgroup/lab-cpu/user2/cgroup.procs",
                    "/sys/fs/cgroup/lab-cpu/user3/cgroup.procs",
                ],
                shares: SHARES,
            }),
            ..Step::NONE
        },
    ],
    undo: "cat /sys/fs/cgroup/lab-cpu/user*/cgroup.procs 2>/dev/null | xargs -r kill -9 2>/dev/null\n\
           for i in $(seq 100); do\n\
           rmdir /sys/fs/cgroup/lab-cpu/user* /sys/fs/cgroup/lab-cpu 2>/dev/null\n\
           [ -d /sys/fs/cgroup/lab-cpu ] || break; sleep 0.1; done\n\
           [ -e /run/lab-cgroups/cpu-was-off ] && echo -cpu >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null\n\
           rm -rf /run/lab-cgroups",
    left: "ls -d /sys/fs/cgroup/lab-cpu /run/lab-cgroups 2>/dev/null",
    end: END,
};
