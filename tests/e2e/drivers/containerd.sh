# containerd with corten as its runtime, by ctr: one session. What it prints is what tests/e2e/oci_drivers.rs expects.
# DIR, RUNTIME, IMAGE and GROUP are set. Shims have their sockets below /run/containerd, wherever containerd has its own.
set -euo pipefail
ip link set lo up
mount -t tmpfs run /run
mount -t tmpfs lib /var/lib
mkdir /run/containerd
cat >"$DIR/config.toml" <<END
version = 2
root = "$DIR/store"
state = "/run/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt"]
[grpc]
address = "/run/containerd/socket"
END
containerd --config "$DIR/config.toml" --log-level warn >"$DIR/log" 2>&1 &
daemon=$!
ctr() { command ctr --address /run/containerd/socket --namespace "${GROUP#/}" "$@"; }
for _ in {1..300}; do ctr version >/dev/null 2>&1 && break || sleep 0.1; done
image=docker.io/library/busybox:latest
run() { ctr run --runc-binary "$RUNTIME" "$@"; }
execute() { ctr tasks exec --exec-id "e$RANDOM$RANDOM" "$@"; }
# ctr of this version loses what a short command prints once in a hundred times, with every runtime: ask again.
said() {
  local out code
  for _ in {1..20}; do
    code=0
    out=$("$@") || code=$?
    [ -z "$out" ] || break
  done
  echo "$out"
  [ $code = 0 ] || echo "exit code $code"
}

ctr images import "$IMAGE" >/dev/null
echo "== run"
said run --rm $image one echo hello
run --rm $image two sh -c 'exit 42' || echo "exit code $?"
run --rm $image three nosuchprogram >/dev/null 2>&1 || echo "exit code $?"
said run --rm --read-only $image five sh -c 'touch /x 2>/dev/null || echo read-only'
said run --rm --env A=b --cwd /tmp $image six sh -c 'echo "$PWD $A"'
mkdir "$DIR/volume"
run --rm --mount "type=bind,src=$DIR/volume,dst=/v,options=rbind:rw" $image seven touch /v/file
ls "$DIR/volume"
said run --rm --seccomp $image eight grep Seccomp: /proc/self/status | tr '\t' ' '

echo "== a life"
run --detach --memory-limit 67108864 $image box sh -c 'trap "exit 7" TERM; while :; do sleep 0.1; done'
cat /sys/fs/cgroup$GROUP/box/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory$GROUP/box/memory.limit_in_bytes
ctr tasks list | tail -n 1 | tr -s ' ' | cut -d ' ' -f 1,3
said execute box sh -c 'echo "in as $(id -u), $(tty)"; exit 1'
said execute --user 1000 --cwd /tmp box sh -c 'echo "$PWD $(id -u)"'
execute box sh -c 'exit 9' || echo "exit code $?"
ctr tasks ps box | tail -n +2 | wc -l | xargs test 0 -lt && echo processes
ctr tasks metrics box | grep -ci memory | xargs test 0 -lt && echo metrics
ctr tasks pause box
ctr tasks list | tail -n 1 | tr -s ' ' | cut -d ' ' -f 1,3
ctr tasks resume box
ctr tasks list | tail -n 1 | tr -s ' ' | cut -d ' ' -f 1,3
ctr tasks kill --signal SIGTERM box
for _ in {1..100}; do ctr tasks list | grep -q STOPPED && break || sleep 0.1; done
ctr tasks delete box || echo "exit code $?"
ctr containers delete box

echo "== killed"
run --detach $image box sleep 1000
ctr tasks kill --signal SIGKILL box
for _ in {1..100}; do ctr tasks list | grep -q STOPPED && break || sleep 0.1; done
ctr tasks delete box || echo "exit code $?"
ctr containers delete box
run --detach $image box sleep 1000
ctr tasks delete --force box 2>/dev/null || echo "exit code $?"
ctr containers delete box

echo "== what is left"
ctr tasks list -q
ctr containers list -q
ctr images remove $image >/dev/null
kill $daemon
wait $daemon || echo "exit code $?"
ps -eo comm | grep '[s]him' || true
ls /run/containerd/runc/* 2>/dev/null || true
{ find /sys/fs/cgroup -path "*$GROUP/*" -type d; } 2>/dev/null || true  # groups of others come and go
grep -c rootfs /proc/self/mounts || true
