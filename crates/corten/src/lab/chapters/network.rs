//! The network: a bridge, two namespaces, cables between them, and a way out.

use crate::lab::{Chapter, Step};

pub const CHAPTER: Chapter = Chapter {
    name: "network",
    about: "Two network namespaces on a bridge, and their way to the world",
    needs: &[("ip", "iproute2"), ("nft", "nftables"), ("ping", "iputils-ping"), ("sysctl", "procps")],
    steps: &[
        Step {
            say: "A bridge is a switch made of software. It gets an address, and with that it is the gateway of a network:",
            run: "ip link add lab-br type bridge\n\
                  ip addr add 192.168.55.1/24 brd + dev lab-br\n\
                  ip link set lab-br up",
            show: "ip -br addr",
            check: "ip -o addr show lab-br | grep -q '192.168.55.1/24'",
            ..Step::NONE
        },
        Step {
            say: "Two network namespaces. Each has links, addresses, routes, ports and a firewall of its own: nothing but a loopback\n\
                  that is down. Their names are files in /run/netns, by which the kernel keeps them.",
            run: "ip netns add lab-ns1\n\
                  ip netns add lab-ns2\n\
                  ip -n lab-ns1 link",
            show: "ls -1 /run/netns",
            check: "[ -e /run/netns/lab-ns1 ] && [ -e /run/netns/lab-ns2 ]",
            ..Step::NONE
        },
        Step {
            say: "Two cables. A veth is a pair of links: what goes in at one end comes out at the other.",
            run: "ip link add lab-veth1 type veth peer name lab-port1\n\
                  ip link add lab-veth2 type veth peer name lab-port2",
            show: "ip -br link",
            check: "ip link show lab-port1 >/dev/null && ip link show lab-port2 >/dev/null",
            ..Step::NONE
        },
        Step {
            say: "One end of each goes into a namespace (and is gone from here), the other into the bridge:",
            run: "ip link set lab-veth1 netns lab-ns1\n\
                  ip link set lab-veth2 netns lab-ns2\n\
                  ip link set lab-port1 master lab-br\n\
                  ip link set lab-port2 master lab-br",
            show: "ip -br link; bridge link",
            check: "ip -n lab-ns1 link show lab-veth1 >/dev/null && ip -n lab-ns2 link show lab-veth2 >/dev/null && \
                    ip -o link show lab-port1 | grep -q 'master lab-br' && ip -o link show lab-port2 | grep -q 'master lab-br'",
            ..Step::NONE
        },
        Step {
            say: "Addresses, all ends up, and in each namespace the way out: by the bridge.",
            run: "ip -n lab-ns1 addr add 192.168.55.2/24 dev lab-veth1\n\
                  ip -n lab-ns2 addr add 192.168.55.3/24 dev lab-veth2\n\
                  for i in 1 2; do\n    \
                  ip -n lab-ns$i link set lo up\n    \
                  ip -n lab-ns$i link set lab-veth$i up\n    \
                  ip link set lab-port$i up\n    \
                  ip -n lab-ns$i route add default via 192.168.55.1\n\
                  done",
            show: "ip -n lab-ns1 route; ip -n lab-ns2 route",
            check: "ip -n lab-ns1 route | grep -q '^default via 192.168.55.1' && \
                    ip -n lab-ns2 route | grep -q '^default via 192.168.55.1'",
            ..Step::NONE
        },
        Step {
            say: "From one namespace to the other, and to the gateway:",
            run: "ip netns exec lab-ns1 ping -c 2 -i 0.2 192.168.55.3\n\
                  ip netns exec lab-ns2 ping -c 2 -i 0.2 192.168.55.1",
            check: "ip netns exec lab-ns1 ping -q -c 1 -W 2 192.168.55.1 >/dev/null",
            ..Step::NONE
        },
        Step {
            say: "To the world: this machine has to pass packets on (a switch of the kernel's), and to write its own address into them,\n\
                  since nobody out there knows 192.168.55.0/24. The rule counts what it has changed.",
            run: "mkdir -p /run/lab-network; cat /proc/sys/net/ipv4/ip_forward >/run/lab-network/ip_forward\n\
                  sysctl -w net.ipv4.ip_forward=1\n\
                  nft add table ip lab-nat\n\
                  nft add chain ip lab-nat post '{ type nat hook postrouting priority 100; }'\n\
                  nft add rule ip lab-nat post ip saddr 192.168.55.0/24 oifname != lab-br counter masquerade",
            show: "nft list tables; sysctl net.ipv4.ip_forward",
            check: "nft list chain ip lab-nat post | grep -q masquerade && [ $(cat /proc/sys/net/ipv4/ip_forward) = 1 ]",
            ..Step::NONE
        },
        Step {
            say: "What is behind this machine's own gateway is reached from the namespace, under this machine's address:",
            run: "ip netns exec lab-ns1 ping -c 2 -i 0.2 -W 2 ${LAB_PING:-1.1.1.1}\n\
                  nft list chain ip lab-nat post",
            check: "nft list chain ip lab-nat post | grep -q 'packets [1-9]'",
            else_say: "No packet has gone out: this machine has no default route, or its firewall passes nothing on. The lesson goes on.",
            ..Step::NONE
        },
    ],
    undo: "nft delete table ip lab-nat 2>/dev/null\n\
           ip link del lab-port1 2>/dev/null; ip link del lab-port2 2>/dev/null; ip link del lab-br 2>/dev/null\n\
           ip netns del lab-ns1 2>/dev/null; ip netns del lab-ns2 2>/dev/null\n\
           [ \"$(cat /run/lab-network/ip_forward 2>/dev/null)\" = 0 ] && [ -z \"$(ip -o link show type bridge)\" ] && \
           sysctl -qw net.ipv4.ip_forward=0\n\
           rm -rf /run/lab-network",
    left: "ls -d /run/lab-network /run/netns/lab-* 2>/dev/null; ip -o link | grep -w 'lab-br\\|lab-port[12]\\|lab-veth[12]'; \
           nft list tables | grep lab-nat",
    end: "This is a container network: one bridge, one cable for each container, one rule for the way out. 'corten map' draws those that are there.",
};
