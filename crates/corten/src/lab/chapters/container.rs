//! A container from scratch: overlay, namespaces, network, control group, by hand.

use crate::lab::{Chapter, Step};

const NEEDS: &[(&str, &str)] = &[
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
    ("ps", "procps"),
    ("chroot", "coreutils"),
];

const ABOUT: &str = "A container from scratch: files, processes, network, a limit of memory";

const LAYERS: Step = Step {
    say: "The files. This machine's own root is the layer below, which nobody can write to from in there; what the container writes\n\
          goes to a directory in memory. (An unpacked image would do as well.) Its devices are this machine's, for simplicity.",
    run: "mkdir -p /run/lab-container\n\
          mountpoint -q /run/lab-container || mount -t tmpfs lab-container /run/lab-container\n\
          mkdir -p /run/lab-container/{upper,work,merged}\n\
          mount -t overlay -o lowerdir=/,upperdir=/run/lab-container/upper,workdir=/run/lab-container/work \\\n    \
          none /run/lab-container/merged\n\
          mount --bind /dev /run/lab-container/merged/dev",
    show: "grep lab-container /proc/self/mounts",
    check: "mountpoint -q /run/lab-container/merged && mountpoint -q /run/lab-container/merged/dev",
    ..Step::NONE
};

const NETWORK: Step = Step {
    say: "A network namespace, with a cable to a bridge of this machine's:",
    run: "ip netns add lab-box\n\
          ip link add lab-br type bridge && ip addr add 192.168.22.1/24 brd + dev lab-br && ip link set lab-br up\n\
          ip link add lab-veth type veth peer name lab-port\n\
          ip link set lab-veth netns lab-box && ip link set lab-port master lab-br up\n\
          ip -n lab-box addr add 192.168.22.2/24 dev lab-veth\n\
          ip -n lab-box link set lo up && ip -n lab-box link set lab-veth up\n\
          ip -n lab-box route add default via 192.168.22.1",
    show: "ip -br link; ls -1 /run/netns",
    check: "ip -n lab-box route | grep -q '^default via 192.168.22.1'",
    ..Step::NONE
};

const START: Step = Step {
    say: "The process: in that network, in new namespaces for processes, mounts, host name and messages, with the overlay as its root,\n\
          and a /proc of its own there, which shows its own processes only.",
    run: "nsenter --net=/run/netns/lab-box unshare --fork --kill-child --pid --mount --uts --ipc \\\n    \
          chroot /run/lab-container/merged \\\n    \
          sh -c 'mount -t proc proc /proc; hostname lab-box; exec sleep 10004' >/dev/null 2>&1 &\n\
          echo $! >/run/lab-container/unshare",
    show: "lsns -n -o TYPE,NS,NPROCS,COMMAND | grep 'sleep 10004$'",
    check: "P=$(pgrep -P $(cat /run/lab-container/unshare)) && [ \"$(cat /proc/$P/comm)\" = sleep ] && \
            [ $(nsenter -t $P --uts hostname) = lab-box ]",
    ..Step::NONE
};

const INSIDE: Step = Step {
    say: "Go in, and look around: it is alone, has another name, its own address, and its files are those of the overlay.",
    run: "nsenter -t $(pgrep -P $(cat /run/lab-container/unshare)) -p -m -u -i -n -r -w \\\n    \
          sh -c 'ps ax; hostname; ip -br addr; ping -q -c 1 192.168.22.1; echo hello >/etc/lab-was-here'",
    show: "find /run/lab-container/upper -type f",
    check: "[ -s /run/lab-container/upper/etc/lab-was-here ] && [ ! -e /etc/lab-was-here ]",
    ..Step::NONE
};

const STOP: Step = Step {
    say: "Its end: when its first process ends, the kernel ends the others, and its namespaces go when nobody is in them.",
    run: "kill -9 $(pgrep -P $(cat /run/lab-container/unshare))",
    show: "lsns -n -o TYPE,NS,NPROCS,COMMAND | grep 'sleep 10004$'",
    check: "! pgrep -P $(cat /run/lab-container/unshare) >/dev/null",
    ..Step::NONE
};

const END: &str = "That is a container: nothing in the kernel bears the name. 'corten run --explain IMAGE' prints how corten does all of this, and\n\
    what an engine adds: users of its own, fewer rights, a filter of system calls, masks on /proc.";

const LEFT: &str = "ls -d /run/lab-container /run/netns/lab-box 2>/dev/null; ip -o link | grep -w 'lab-br\\|lab-port'; \
    ls -d /sys/fs/cgroup/lab-box /sys/fs/cgroup/memory/lab-box 2>/dev/null";

/// In the order that is safe: processes, mounts, links, groups.
macro_rules! undo {
    ($groups:literal) => {
        concat!(
            "[ -e /run/lab-container/memory-was-off ] && OFF=-memory\n",
            "P=$(cat /run/lab-container/unshare 2>/dev/null) && [ \"$(cat /proc/$P/comm 2>/dev/null)\" = unshare ] && \
             { pkill -9 -P $P; kill -9 $P; } 2>/dev/null\n",
            "for i in $(seq 100); do umount -R /run/lab-container/merged 2>/dev/null; \
             mountpoint -q /run/lab-container/merged || break; sleep 0.1; done\n",
            "umount /run/lab-container 2>/dev/null; rmdir /run/lab-container 2>/dev/null\n",
            "ip link del lab-port 2>/dev/null; ip link del lab-br 2>/dev/null; ip netns del lab-box 2>/dev/null\n",
            $groups
        )
    };
}

pub const V1: Chapter = Chapter {
    name: "container",
    about: ABOUT,
    needs: NEEDS,
    steps: &[
        LAYERS,
        NETWORK,
        START,
        Step {
            say: "A limit: 10 MB of memory, and no way round it by swapping.",
            run: "mkdir -p /sys/fs/cgroup/memory/lab-box\n\
                  echo 10000000 >/sys/fs/cgroup/memory/lab-box/memory.limit_in_bytes\n\
                  echo 0 >/sys/fs/cgroup/memory/lab-box/memory.swappiness\n\
                  pgrep -P $(cat /run/lab-container/unshare) >/sys/fs/cgroup/memory/lab-box/cgroup.procs",
            show: "grep . /sys/fs/cgroup/memory/lab-box/{cgroup.procs,memory.limit_in_bytes}",
            check: "grep -qx $(pgrep -P $(cat /run/lab-container/unshare)) /sys/fs/cgroup/memory/lab-box/cgroup.procs",
            ..Step::NONE
        },
        INSIDE,
        Step {
            say: "15 MB do not fit into 10: the kernel kills the program that asks for them. 137 is 128 and 9, the number of SIGKILL.",
            run: "sh -c 'echo $$ >/sys/fs/cgroup/memory/lab-box/cgroup.procs\n    \
                  nsenter -t $(pgrep -P $(cat /run/lab-container/unshare)) -p -m -r -w \\\n        \
                  sh -c \"head -c 15000000 /dev/zero | tail\" >/dev/null; echo exit code $?'",
            show: "grep oom_kill /sys/fs/cgroup/memory/lab-box/memory.oom_control",
            check: "grep -q '^oom_kill [1-9]' /sys/fs/cgroup/memory/lab-box/memory.oom_control",
            ..Step::NONE
        },
        STOP,
    ],
    undo: undo!(
        "for i in $(seq 100); do rmdir /sys/fs/cgroup/memory/lab-box 2>/dev/null; \
         [ -d /sys/fs/cgroup/memory/lab-box ] || break; sleep 0.1; done"
    ),
    left: LEFT,
    end: END,
};

pub const V2: Chapter = Chapter {
    name: "container",
    about: ABOUT,
    needs: NEEDS,
    steps: &[
        LAYERS,
        NETWORK,
        START,
        Step {
            say: "A limit: 10 MB of memory, and no way round it by swapping.",
            run: "grep -qw memory /sys/fs/cgroup/cgroup.subtree_control || touch /run/lab-container/memory-was-off\n\
                  echo +memory >/sys/fs/cgroup/cgroup.subtree_control\n\
                  mkdir -p /sys/fs/cgroup/lab-box\n\
                  echo 10000000 >/sys/fs/cgroup/lab-box/memory.max\n\
                  echo 0 2>/dev/null >/sys/fs/cgroup/lab-box/memory.swap.max\n\
                  pgrep -P $(cat /run/lab-container/unshare) >/sys/fs/cgroup/lab-box/cgroup.procs",
            show: "grep . /sys/fs/cgroup/lab-box/{cgroup.procs,memory.max}",
            check: "grep -qx $(pgrep -P $(cat /run/lab-container/unshare)) /sys/fs/cgroup/lab-box/cgroup.procs",
            ..Step::NONE
        },
        INSIDE,
        Step {
            say: "15 MB do not fit into 10: the kernel kills the program that asks for them. 137 is 128 and 9, the number of SIGKILL.",
            run: "sh -c 'echo $$ >/sys/fs/cgroup/lab-box/cgroup.procs\n    \
                  nsenter -t $(pgrep -P $(cat /run/lab-container/unshare)) -p -m -r -w \\\n        \
                  sh -c \"head -c 15000000 /dev/zero | tail\" >/dev/null; echo exit code $?'",
            show: "grep oom_kill /sys/fs/cgroup/lab-box/memory.events",
            check: "grep -q '^oom_kill [1-9]' /sys/fs/cgroup/lab-box/memory.events",
            ..Step::NONE
        },
        STOP,
    ],
    undo: undo!(
        "for i in $(seq 100); do rmdir /sys/fs/cgroup/lab-box 2>/dev/null; \
         [ -d /sys/fs/cgroup/lab-box ] || break; sleep 0.1; done\n\
         [ -n \"$OFF\" ] && echo $OFF >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null"
    ),
    left: LEFT,
    end: END,
};
