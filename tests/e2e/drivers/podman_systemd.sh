# Podman with corten as its runtime on a machine that systemd runs, once with each way to make control groups: one session.
# What it prints is what tests/e2e/oci_drivers.rs expects. DIR, RUNTIME, IMAGE and MANAGER are set.
#
# systemd itself calls Podman (for health checks), and Podman names processes to it: this is no place for namespaces, so
# the machine has to be one that is thrown away.
set -euo pipefail
mkdir -p /etc/containers
podman_files "-$MANAGER" <<END_OF_FILE
[network]
network_backend = "netavark"
[engine]
cgroup_manager = "$MANAGER"
events_logger = "file"
runtime = "corten"
[engine.runtimes]
corten = ["$RUNTIME"]
END_OF_FILE
case $MANAGER in
  systemd) parent=corten.slice group=/sys/fs/cgroup/corten.slice ;;
  cgroupfs) parent=/corten group=/sys/fs/cgroup/corten ;;
esac
# of NAME: the group of its first process
of() { sed -n 's,^0::,/sys/fs/cgroup,p' /proc/"$(podman inspect -f '{{.State.Pid}}' "$1")"/cgroup; }
podman load -q -i "$IMAGE" >/dev/null
podman info -f '{{.Host.CgroupManager}} {{.Host.CgroupsVersion}} {{.Host.OCIRuntime.Name}}' | sed "s/^$MANAGER /as told /"

echo "== limits"
podman run -d --name box --network none --cgroup-parent $parent --memory 64m --memory-swap 96m --cpus 0.5 --pids-limit 50 \
  --health-cmd 'test -e /tmp/well' --health-interval 1s --health-retries 1 busybox \
  sh -c 'echo started; trap "exit 7" TERM; while :; do sleep 0.1; done' >/dev/null
case $(of box) in "$group"/*) echo in its group ;; *) of box ;; esac
for file in memory.max memory.swap.max cpu.max pids.max; do echo "$file $(cat "$(of box)/$file")"; done
[ "$MANAGER" = cgroupfs ] || systemctl show -p ActiveState,Delegate,Slice,TasksMax,MemoryMax,CPUQuotaPerSecUSec "$(basename "$(of box)")" | sort
podman exec box cat /proc/self/cgroup
podman exec box sh -c 'echo in as $(id -u); exit 3' || echo "exit code $?"

echo "== health"
podman healthcheck run box || echo "exit code $?"
podman exec box touch /tmp/well
podman healthcheck run box && echo healthy
# By systemd's timer from now on, with either manager.
podman exec box rm /tmp/well
for _ in {1..600}; do [ "$(podman inspect -f '{{.State.Healthcheck.Status}}' box)" = unhealthy ] && echo unhealthy && break || sleep 0.2; done

echo "== a life"
podman pause box >/dev/null
podman inspect -f '{{.State.Status}}' box
podman unpause box >/dev/null
podman top box pid args | tail -n +2 | head -n 1 | tr -s ' ' | cut -c 1-14
podman stop -t 60 box >/dev/null
podman inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.OCIRuntime}}' box
podman start box >/dev/null
podman kill box >/dev/null
podman wait box
podman logs box
podman rm box >/dev/null

echo "== a pod"
podman pod create --name pod --network none --share net,ipc,uts,pid --cgroup-parent $parent \
  --infra-image busybox --infra-command 'sleep 1000' >/dev/null
podman run -d --pod pod --name server busybox sh -c 'echo from the server | nc -l -p 80; sleep 1000' >/dev/null
podman run --rm --pod pod busybox sh -c 'until nc 127.0.0.1 80; do sleep 0.1; done'
podman run --rm --pod pod busybox sh -c 'hostname; cat /proc/1/comm; for ns in net ipc uts pid mnt; do
  [ $(readlink /proc/self/ns/$ns) = $(readlink /proc/1/ns/$ns) ] && echo $ns shared || echo $ns of its own; done'
case $(of server) in "$group"/*) echo in its group ;; *) of server ;; esac
podman pod rm -f -t 0 pod >/dev/null

echo "== what is left"
podman ps -aq
podman rmi -a >/dev/null 2>&1
ls "$DIR/store-$MANAGER/overlay-containers" | grep -vE 'json|lock' || true
systemctl list-units --all --plain --no-legend '*libpod*' | grep -v '^libpod_parent' || true
find /sys/fs/cgroup -type d -name '*libpod-*' || true
systemctl stop corten.slice 2>/dev/null || true
find /sys/fs/cgroup/corten -depth -type d -exec rmdir {} + 2>/dev/null || true
grep -c " $DIR/" /proc/self/mounts || true
