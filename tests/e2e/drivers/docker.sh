# dockerd with corten as its default runtime: one session. What it prints is what tests/e2e/oci_drivers.rs expects.
# DIR, RUNTIME, IMAGE and GROUP are set. The network namespace is the session's own: docker0 and the rules end with it.
set -euo pipefail
ip link set lo up
mount -t tmpfs run /run
mount -t tmpfs lib /var/lib
echo '{"deprecated-key-path": "'"$DIR"'/key.json"}' >"$DIR/daemon.json"
export DOCKER_HOST=unix:///run/docker.sock DOCKER_CONFIG=$DIR
echo 1 >/proc/sys/net/ipv4/ip_forward
dockerd --config-file "$DIR/daemon.json" --data-root "$DIR/data" --exec-root /run/docker --pidfile /run/docker.pid -H $DOCKER_HOST \
  --storage-driver overlay2 --cgroup-parent "$GROUP" --exec-opt native.cgroupdriver="${MANAGER:-cgroupfs}" \
  --add-runtime corten="$RUNTIME" --default-runtime corten --log-level warn >"$DIR/log" 2>&1 &
daemon=$!
for _ in {1..300}; do docker version >/dev/null 2>&1 && break || sleep 0.1; done
docker info -f '{{.DefaultRuntime}}'

docker load -q -i "$IMAGE" >/dev/null
echo "== run"
docker run --rm busybox echo hello
echo "what it is told" | docker run --rm -i busybox cat
docker run --rm busybox sh -c 'exit 42' || echo "exit code $?"
docker run --rm busybox nosuchprogram 2>/dev/null || echo "exit code $?"
docker run --rm busybox /etc/passwd 2>/dev/null || echo "exit code $?"
docker run --rm --read-only --tmpfs /t busybox sh -c 'touch /t/x; touch /x 2>/dev/null || echo read-only'
docker run --rm --privileged busybox sh -c 'mount -t tmpfs x /tmp && echo mounted'
docker run --rm --memory 64m --cpus 0.5 --pids-limit 50 busybox \
  sh -c 'cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes'
docker volume create volume >/dev/null
docker run --rm -v volume:/v busybox touch /v/file
docker run --rm -v volume:/v:ro busybox sh -c 'ls /v; touch /v/x 2>/dev/null || echo read-only'
docker run --rm --cap-drop all --user 1000:1000 busybox grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status | tr '\t' ' '
docker run --rm --init busybox sh -c 'cat /proc/1/comm' || true
docker run --rm --sysctl net.ipv4.ip_unprivileged_port_start=5 busybox cat /proc/sys/net/ipv4/ip_unprivileged_port_start
docker run --rm --ulimit nofile=64:64 busybox sh -c 'ulimit -n'
docker run --rm --device /dev/zero:/dev/nought busybox head -c 3 /dev/nought | od -An -c

echo "== a life"
docker run -d --name box -p 8080:80 --health-cmd 'test -e /tmp/well' --health-interval 200ms --health-start-period 10s busybox \
  sh -c 'mkdir -p /w; echo from the server >/w/index.html; httpd -p 80 -h /w; echo started; trap "exit 7" TERM; while :; do sleep 0.1; done' >/dev/null
for _ in {1..100}; do curl -fsS http://127.0.0.1:8080/ 2>/dev/null && break || sleep 0.1; done
docker exec box sh -c 'echo in; id -u'
docker exec -w /tmp -u 1000:1000 -e A=b box sh -c 'pwd; id -u; echo $A'
echo "told to exec" | docker exec -i box cat
docker exec box false || echo "exit code $?"
docker exec box touch /tmp/well
for _ in {1..100}; do [ "$(docker inspect -f '{{.State.Health.Status}}' box)" = healthy ] && echo healthy && break || sleep 0.1; done
docker top box | wc -l | xargs test 1 -lt && echo processes
docker stats --no-stream --format '{{.Name}}' box
docker update --memory 32m --memory-swap 64m box
docker pause box
docker inspect -f '{{.State.Status}}' box
docker unpause box
docker network create other >/dev/null
docker network connect other box
docker exec box sh -c 'ip -o link | grep -c eth'
docker stop -t 10 box
docker inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.HostConfig.Runtime}}' box
docker start box
docker restart -t 0 box
docker kill box
docker wait box
docker logs box | tail -n 1
docker rm box >/dev/null
docker network rm other >/dev/null

echo "== what is left"
docker ps -aq
docker rmi busybox >/dev/null 2>&1
kill $daemon
wait $daemon || echo "exit code $?"
ps -eo comm | grep -E '[s]him|[c]ontainerd|[d]ocker' || true
ls /run/docker/runtime-runc/moby 2>/dev/null || true
{ find /sys/fs/cgroup -path "*$GROUP/*" -type d; } 2>/dev/null || true  # groups of others come and go
grep -c overlay2 /proc/self/mounts || true
