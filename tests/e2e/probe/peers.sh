# The probe in a default container of Podman's and of Docker's, as Debian has them: what it prints, each behind a line with a name.
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
podman rmi busybox >/dev/null 2>&1

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
kill $daemon
wait $daemon || true
