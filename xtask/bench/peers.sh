#!/bin/bash
# The engines that the benchmark compares with, in stores of their own. Called by `cargo xtask bench` in a mount and a
# network namespace of its own, so that bridges, rules and mounts go with it. DIR holds stores and images, RUN is a tmpfs.
#
#   peers.sh prepare DIR RUN IMAGES    settings, images loaded into podman, the bundle for crun and runc
#   peers.sh dockerd DIR RUN NAME      starts a docker daemon with the data root DIR/NAME, prints its process id
#   peers.sh cold DIR N                a new, empty place for a store: DIR/cold/N
#   peers.sh registry DIR RUN PLACE ADDRESS   starts docker-registry with its files in PLACE, prints its process id
#   peers.sh four DIR ARCHIVE TO       an archive of one layer, made to one of four like it
set -euo pipefail

what=$1 dir=$2 run=${3:-}
export CONTAINERS_STORAGE_CONF=$dir/storage.conf CONTAINERS_CONF=$dir/containers.conf
cgroups=/corten-bench

settings() {
  cat >"$dir/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$dir/podman"
runroot = "$run/podman"
END
  # Limits that a root without CAP_SYS_RESOURCE can grant; one directory of cgroups, so that all processor time is found.
  local most
  most=$(ulimit -Hu)
  [ "$most" != unlimited ] && [ "$most" -le "$(cat /proc/sys/kernel/pid_max)" ] || most=$(cat /proc/sys/kernel/pid_max)
  cat >"$dir/containers.conf" <<END
[containers]
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)", "nproc=$most:$most"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "$dir/podman-net"
END
  mkdir -p "$dir/podman-net"
}

# The config.json that podman gives its runtime for `run --network none busybox true`, without what is podman's own.
bundle() {
  local id config
  rm -rf "$dir/bundle"
  mkdir -p "$dir/bundle/rootfs"
  id=$(podman create --network none --cgroupns private busybox true)
  podman init "$id" >/dev/null
  config=$(podman inspect -f '{{.OCIConfigPath}}' "$id")
  podman export "$id" | tar -C "$dir/bundle/rootfs" -x
  jq --arg cgroups "$cgroups/bundle" '.root = {path: "rootfs", readonly: false} | .process.terminal = false | .hooks = {} | .annotations = {}
    | .hostname = "bench" | .process.args = ["/bin/true"] | .linux.cgroupsPath = $cgroups
    | .mounts |= (map(select(.type != "bind" and .destination != "/dev/shm" and .destination != "/sys/fs/cgroup")) + [
        {destination: "/dev/shm", type: "tmpfs", source: "shm", options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", "relatime", "ro"]}])
    | .linux.namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup" | {type: .}]' "$config" >"$dir/bundle/config.json"
  jq '.process.args = ["sleep", "1000"]' "$dir/bundle/config.json" >"$dir/bundle/sleep.json"
  podman rm -f "$id" >/dev/null
}

case $what in
  prepare)
    mkdir -p "$dir" "$run"
    settings
    podman image exists busybox || podman load -q -i "$4/busybox.tar" >&2
    bundle
    ;;
  dockerd)
    mkdir -p "$dir/$4"
    rm -f "$run/docker.sock" "$run/docker.pid"
    setsid dockerd --data-root "$dir/$4" --exec-root "$run/docker" -H "unix://$run/docker.sock" -p "$run/docker.pid" \
      --userland-proxy=false --storage-driver overlay2 --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "$cgroups/docker" \
      >"$dir/dockerd.log" 2>&1 </dev/null &
    for _ in $(seq 150); do
      if docker -H "unix://$run/docker.sock" info >/dev/null 2>&1; then cat "$run/docker.pid"; exit; fi
      sleep 0.2
    done
    tail -n 5 "$dir/dockerd.log" >&2
    exit 1
    ;;
  cold)
    # Never a directory that something was deleted from: for a minute after that, ext4 steps over each freed inode at
    # every file it makes, and unpacking takes six times longer.
    mkdir -p "$dir/cold/$run"
    sync
    ;;
  registry)
    cat >"$4/registry.yml" <<END
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $4}}
http: {addr: "$5"}
END
    setsid docker-registry serve "$4/registry.yml" >"$dir/registry.log" 2>&1 </dev/null &
    for _ in $(seq 100); do
      if curl -fs "http://$5/v2/" >/dev/null; then echo $!; exit; fi
      sleep 0.1
    done
    tail -n 5 "$dir/registry.log" >&2
    exit 1
    ;;
  four)
    # The same files below another directory each time, so that no two layers are the same.
    [ ! -e "$4" ] || exit 0
    new=$4.d
    rm -rf "$new"
    mkdir -p "$new/tree"
    layer=$(tar -xOf "$3" manifest.json | jq -r '.[0].Layers[0]')
    tar -xOf "$3" "$layer" | tar -C "$new/tree" --exclude=./dev/* -x
    for n in 1 2 3 4; do tar -C "$new/tree" --transform "s,^\.,./$n,rSh" -cf "$new/$n.tar" .; done
    ids=$(cd "$new" && sha256sum [1-4].tar | sed 's/ .*//; s/.*/"sha256:&"/' | paste -sd,)
    echo "{\"architecture\": \"amd64\", \"os\": \"linux\", \"rootfs\": {\"type\": \"layers\", \"diff_ids\": [$ids]}}" >"$new/config.json"
    echo '[{"Config": "config.json", "RepoTags": ["four:latest"], "Layers": ["1.tar", "2.tar", "3.tar", "4.tar"]}]' >"$new/manifest.json"
    tar -C "$new" -cf "$4" manifest.json config.json 1.tar 2.tar 3.tar 4.tar
    rm -rf "$new"
    ;;
esac
