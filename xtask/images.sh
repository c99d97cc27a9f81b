#!/bin/bash
# Makes the test images out of real Debian packages, saved by other people's tools: what an engine meets in the wild.
#
#   xtask/images.sh CACHE
#
# Needs root, buildah, skopeo, mmdebstrap, busybox-static and jq; apt's own sources; about 700 MB. In CACHE afterwards:
#
#   busybox.tar          docker-archive by skopeo       busybox-buildah.tar  docker-archive by buildah
#   busybox.oci          OCI layout, a directory, gzip  busybox-zstd.oci     the same with zstd layers
#   busybox.oci.tar      OCI layout in a tar, gzip      busybox-zstd.oci.tar the same with zstd layers
#   busybox-old.tar      `docker save` as it was until Docker 24: <id>/layer.tar, <id>/json, repositories
#   busybox-new.tar      `docker save` as it is from Docker 25: OCI blobs, and a manifest.json that points at them
#   several.tar          two images and three names in one docker-archive
#   debian.tar           Debian bookworm, minbase       nginx.tar            the same + tools + nginx + configuration
#   nginx.oci.tar        the same with gzip layers      nginx-zstd.oci       the same with zstd layers
set -euo pipefail

mkdir -p "$1"
cache=$(realpath "$1")
stamp=$cache/.made-$(sha256sum <"$0" | cut -c1-16)
[ ! -e "$stamp" ] || exit 0

exec 9>"$cache/.lock"
flock 9
[ ! -e "$stamp" ] || exit 0
new=$cache/.new
rm -rf "$new" "$cache"/.made-*
mkdir -p "$new/tmp"

say() { echo "images: $*" >&2; }

# A store of our own, so that nothing of the machine's images is seen or touched. Native overlay does not go on top of
# another overlay, as it would when this runs inside a container.
driver=overlay
case $(stat -f -c %T "$new") in overlayfs | tmpfs) driver=vfs ;; esac
cat >"$new/storage.conf" <<END
[storage]
driver = "$driver"
graphroot = "$new/store"
runroot = "$new/run"
END
# The default limits are more than a root without CAP_SYS_RESOURCE can grant.
cat >"$new/containers.conf" <<END
[containers]
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)"]
END
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$new/policy.json"
export CONTAINERS_STORAGE_CONF=$new/storage.conf CONTAINERS_CONF=$new/containers.conf TMPDIR=$new/tmp
export BUILDAH_ISOLATION=chroot DEBIAN_FRONTEND=noninteractive
path=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

copy() { skopeo --policy "$new/policy.json" copy -q "$@"; }

# commit CONTAINER NAME: the container becomes the image localhost/NAME
commit() {
  buildah commit -q "$1" "localhost/$2" >/dev/null
  buildah rm "$1" >/dev/null
}

# layer FROM TO SCRIPT [CONFIG…]: the image TO is FROM and one more layer, which SCRIPT makes
layer() {
  local from=$1 to=$2 script=$3 c
  shift 3
  c=$(buildah from --pull-never "localhost/$from")
  buildah run --network host "$c" -- sh -ec "$script" >"$new/log" 2>&1 || { tail -n 20 "$new/log" >&2; return 1; }
  [ $# = 0 ] || buildah config "$@" "$c"
  commit "$c" "$to"
}

busybox() {
  say "busybox"
  local c root
  c=$(buildah from scratch)
  root=$(buildah mount "$c")
  mkdir -p "$root"/{bin,dev,etc,proc,root,run,sbin,sys,tmp,usr/bin,usr/sbin,var}
  chmod 1777 "$root/tmp"
  cp /bin/busybox "$root/bin/busybox"
  for applet in $(/bin/busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nuser:x:1000:1000::/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
  printf 'root:x:0:\ndaemon:x:1:\naudio:x:29:user\nuser:x:1000:\nnogroup:x:65534:\n' >"$root/etc/group"
  buildah umount "$c" >/dev/null
  buildah config --cmd /bin/sh --env $path --label org.example.kind=test "$c"
  commit "$c" busybox:latest
}

debian() {
  say "debian"
  local c
  mmdebstrap --quiet --mode=root --variant=minbase bookworm "$new/debian-root.tar" \
    --aptopt='Acquire::Retries "3"' --customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*' </dev/null
  c=$(buildah from scratch)
  buildah add -q "$c" "$new/debian-root.tar" / >/dev/null
  buildah config --cmd bash --env $path "$c"
  commit "$c" debian:latest
  rm "$new/debian-root.tar"
}

nginx() {
  say "nginx"
  local install='apt-get update -q; apt-get install -qy --no-install-recommends'
  local clean='rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*'
  layer debian:latest nginx:tools "$install procps curl; $clean"
  layer nginx:tools nginx:server "$install nginx-light; mkdir -p /var/log/nginx; $clean; mkdir -p /var/log/nginx"
  layer nginx:server nginx:latest '
    echo "hello from nginx" >/var/www/html/index.html
    rm -f /var/www/html/index.nginx-debian.html
    ln -sf /dev/stdout /var/log/nginx/access.log
    ln -sf /dev/stderr /var/log/nginx/error.log' \
    --cmd '["nginx", "-g", "daemon off;"]' --port 80/tcp --stop-signal SIGQUIT --label org.example.kind=web
}

# save NAME: NAME.tar by skopeo, named as the docker command line would name it
save() { copy "containers-storage:localhost/$1:latest" "docker-archive:$new/out/$1.tar:$1:latest"; }

# The form of docker save until version 24: a directory for each layer, named by an id made up of it and its parent, with
# the layer's tar and a small JSON file; `repositories` says which of them is the top of which name.
docker_save_old() {
  local from=$new/from to=$new/to parent='' id config layer i=0 names=()
  mkdir -p "$from" "$to"
  tar -xf "$new/out/busybox.tar" -C "$from"
  config=$(jq -r '.[0].Config' "$from/manifest.json")
  for layer in $(jq -r '.[0].Layers[]' "$from/manifest.json"); do
    id=$(printf '%s %s' "$parent" "$layer" | sha256sum | cut -d' ' -f1)
    mkdir "$to/$id"
    cp -L "$from/$layer" "$to/$id/layer.tar"
    echo -n 1.0 >"$to/$id/VERSION"
    jq -nc --arg id "$id" --arg parent "$parent" '{id: $id, created: "1970-01-01T00:00:00Z", container_config: {}} + if $parent == "" then {} else {parent: $parent} end' >"$to/$id/json"
    names+=("$id/layer.tar")
    parent=$id
  done
  cp "$from/$config" "$to/$(basename "$config" .json).json"
  printf '%s\n' "${names[@]}" | jq -Rnc --arg config "$(basename "$config" .json).json" \
    '[{Config: $config, RepoTags: ["busybox:old"], Layers: [inputs]}]' >"$to/manifest.json"
  jq -nc --arg id "$id" '{busybox: {old: $id}}' >"$to/repositories"
  tar -C "$to" --sort=name -cf "$new/out/busybox-old.tar" .
  rm -rf "$from" "$to"
}

# The form of docker save from version 25 on: an OCI layout with plain layers, and a manifest.json for older readers.
docker_save_new() {
  local to=$new/to manifest
  copy --dest-oci-accept-uncompressed-layers "docker-archive:$new/out/busybox.tar" "oci:$to:latest"
  manifest=$to/blobs/sha256/$(jq -r '.manifests[0].digest' "$to/index.json" | cut -d: -f2)
  jq -c '[{Config: ("blobs/sha256/" + (.config.digest | split(":")[1])), RepoTags: ["busybox:new"],
    Layers: [.layers[].digest | "blobs/sha256/" + split(":")[1]]}]' "$manifest" >"$to/manifest.json"
  jq -c '.manifests[0].annotations = {"io.containerd.image.name": "docker.io/library/busybox:new", "org.opencontainers.image.ref.name": "new"}' \
    "$to/index.json" >"$to/index.new"
  mv "$to/index.new" "$to/index.json"
  tar -C "$to" --sort=name -cf "$new/out/busybox-new.tar" blobs index.json manifest.json oci-layout
  rm -rf "$to"
}

# Two images in one archive, as `docker save a b c` writes it; they share their first layer.
several() {
  local to=$new/to
  layer busybox:latest second:latest 'echo second >/second'
  copy containers-storage:localhost/second:latest "docker-archive:$new/second.tar:second:1"
  mkdir "$to"
  tar -xf "$new/out/busybox.tar" -C "$to"
  mv "$to/manifest.json" "$new/first.json"
  tar -xf "$new/second.tar" -C "$to"
  jq -sc '.[0] + .[1] | .[0].RepoTags = ["first:1", "first:2"]' "$new/first.json" "$to/manifest.json" >"$new/both.json"
  mv "$new/both.json" "$to/manifest.json"
  rm -f "$to/repositories"
  tar -C "$to" --sort=name -cf "$new/out/several.tar" .
  rm -rf "$to" "$new/second.tar"
}

mkdir "$new/out"
busybox
debian
nginx
for name in busybox debian nginx; do save $name; done
buildah push -q localhost/busybox:latest "docker-archive:$new/out/busybox-buildah.tar:busybox:buildah" >/dev/null
say "the other formats"
for name in busybox nginx; do
  from=docker-archive:$new/out/$name.tar
  copy "$from" "oci-archive:$new/out/$name.oci.tar:latest"
  copy --dest-compress-format zstd "$from" "oci:$new/out/$name-zstd.oci:latest"
done
copy "docker-archive:$new/out/busybox.tar" "oci:$new/out/busybox.oci:latest"
copy --dest-compress-format zstd "docker-archive:$new/out/busybox.tar" "oci-archive:$new/out/busybox-zstd.oci.tar:latest"
docker_save_old
docker_save_new
several

buildah rmi -a -f >/dev/null
for made in "$new"/out/*; do
  rm -rf "$cache/${made##*/}"
  mv "$made" "$cache"
done
rm -rf "$new"
touch "$stamp"
