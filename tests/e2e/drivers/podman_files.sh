# The files that Podman reads in /etc/containers: containers.conf is standard input; images and containers are in DIR, in
# directories whose names end in $1. What comes after this file calls it.
podman_files() {
  cat >/etc/containers/containers.conf
  cat >/etc/containers/storage.conf <<END
[storage]
driver = "overlay"
graphroot = "$DIR/store$1"
runroot = "$DIR/run$1"
END
  echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json
}

# A network and directories of the session's own, for what Podman leaves there.
podman_alone() {
  ip link set lo up
  mount -t tmpfs shm /dev/shm
  mount -t tmpfs lib /var/lib
  mount -t tmpfs run /run
  mount -t tmpfs etc /etc/containers
}

