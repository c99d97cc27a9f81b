# Podman with corten as its runtime: one session. What it prints is what tests/e2e/oci_drivers.rs expects.
# DIR, RUNTIME, IMAGE and GROUP are set. Podman looks for its configuration in /etc and for locks in /dev/shm.
set -euo pipefail
podman_alone
podman_files "" <<END
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "${MANAGER:-cgroupfs}"
events_logger = "file"
tmp_dir = "$DIR/tmp"
[engine.runtimes]
corten = ["$RUNTIME"]
END
podman() { command podman --runtime corten "$@"; }
alone() { podman run --rm --network none --cgroup-parent "$GROUP" "$@"; }

podman load -q -i "$IMAGE" >/dev/null
echo "== run"
alone busybox echo hello
alone -i busybox cat <<<"what it is told"
alone -t busybox tty | tr -d '\r'
alone busybox sh -c 'exit 42' || echo "exit code $?"
alone busybox nosuchprogram 2>/dev/null || echo "exit code $?"
alone --read-only --tmpfs /t busybox sh -c 'touch /t/x; touch /x 2>/dev/null || echo read-only'
alone --privileged busybox sh -c 'mount -t tmpfs x /tmp && echo mounted'
alone --memory 64m --cpus 0.5 --pids-limit 50 busybox \
  sh -c 'cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes'
alone --uidmap 0:100000:65536 --gidmap 0:100000:65536 busybox cat /proc/self/uid_map | tr -s ' '
mkdir "$DIR/volume"
alone -v "$DIR/volume:/v" busybox touch /v/file
alone -v "$DIR/volume:/v:ro" busybox sh -c 'ls /v; touch /v/x 2>/dev/null || echo read-only'
alone --cap-drop all --user 1000:1000 busybox grep -E 'CapEff|CapPrm' /proc/self/status | tr '\t' ' '

echo "== a life"
podman run -d --name box --network none --cgroup-parent "$GROUP" --health-cmd 'test -e /tmp/well' --health-interval disable \
  busybox sh -c 'echo started; trap "exit 7" TERM; while :; do sleep 0.1; done' >/dev/null
podman exec box sh -c 'echo in; id -u'
podman exec -w /tmp -u 1000:1000 -e A=b box sh -c 'pwd; id -u; echo $A'
podman exec -i box cat <<<"told to exec"
podman exec box false || echo "exit code $?"
podman healthcheck run box || echo "exit code $?"
podman exec box touch /tmp/well
podman healthcheck run box && echo healthy
podman top box pid user args | tail -n +2 | head -n 1
podman pause box
podman inspect -f '{{.State.Status}}' box
podman unpause box
podman stop -t 10 box
podman inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.OCIRuntime}}' box
podman start box
podman kill box
podman wait box
podman logs box
podman rm box >/dev/null

echo "== a pod"
podman pod create --name pod --network none --share net,ipc,uts,pid --cgroup-parent "$GROUP" \
  --infra-image busybox --infra-command 'sleep 1000' >/dev/null
podman run -d --pod pod --name server busybox sh -c 'echo from the server | nc -l -p 80; sleep 1000' >/dev/null
podman run --rm --pod pod busybox sh -c 'until nc 127.0.0.1 80; do sleep 0.1; done'
podman exec server hostname
podman run --rm --pod pod busybox sh -c 'hostname; cat /proc/1/comm; kill -0 1 && for ns in net ipc uts pid mnt; do
  [ $(readlink /proc/self/ns/$ns) = $(readlink /proc/1/ns/$ns) ] && echo $ns shared || echo $ns of its own; done'
podman pod rm -f -t 0 pod >/dev/null

echo "== what is left"
podman ps -aq
podman rmi busybox >/dev/null 2>&1
ls "$DIR/store/overlay-containers" | grep -vE 'json|lock' || true
{ find /sys/fs/cgroup -path "*$GROUP/*" -type d -name 'libpod-*'; } 2>/dev/null || true  # groups of others come and go
grep -c " $DIR/" /proc/self/mounts || true
