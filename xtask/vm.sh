#!/bin/bash
# Runs a script inside a small virtual machine with a stock Debian kernel (6.1) and nothing but cgroup v2, so that the
# same tests meet another kernel and the other kind of cgroups. Prints what the script prints, exits with its status.
#
#   xtask/vm.sh CACHE DIR SCRIPT
#
# DIR is the directory /test in the machine, a copy; SCRIPT is run by bash in it, as root. The machine's disks are thrown
# away afterwards. CACHE keeps the emulator, the root image and the kernel (about 600 MB). Needs root and mmdebstrap; the
# emulator and its libraries are unpacked from Debian packages, so that nothing of the host's matters.
#
# VM_KERNEL  the Debian suite whose kernel to boot: bookworm (6.1), bullseye (5.10), trixie (6.12), sid (7.x at the time of
#            writing)
# VM_SYSTEMD 1: systemd runs the machine, which has Podman. SCRIPT is a service of its.
# VM_ACCEL   kvm or tcg; tcg where the processor does not virtualise. It is some 12 times slower than the host.
# VM_TIMEOUT seconds, 1200
#
# Exit status: 124 when the time was up, 125 when the machine failed.
set -euo pipefail
shopt -s nullglob

[ $# = 3 ] || { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 125; }
mkdir -p "$1"
cache=$(realpath "$1") dir=$(realpath "$2") script=$3
suite=${VM_KERNEL:-bookworm} systemd=${VM_SYSTEMD:-0}
packages=apparmor,kmod,procps,iproute2,iputils-ping,nftables,curl,busybox-static
[ "$systemd" = 0 ] || packages+=,systemd,systemd-sysv,dbus,podman,netavark,conmon,crun,jq

say() { echo "vm: $*" >&2; }
die() { say "$*"; exit 125; }

# ---- the parts: emulator, kernel, root image ---------------------------------------------------------------------------

# debian SUITE DIRECTORY OPTION…, from the mirror that this machine's apt uses; of a frozen one the signatures are out of date
debian() {
  local suite=$1 to=$2 mirror
  shift 2
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 2>/dev/null |
    awk '$2 ~ /^(bullseye|bookworm|trixie|forky|sid)$/ { print $1; exit }')
  mmdebstrap --quiet --mode=root --aptopt='Acquire::Retries "3"' --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='APT::Install-Recommends "false"' "$@" \
    "$suite" "$to" ${mirror:+"deb $mirror $suite main"} </dev/null >"$to.log" 2>&1 ||
    { tail -n 20 "$to.log" >&2; die "mmdebstrap $suite failed"; }
  rm "$to.log"
}

# tool NAME ARG…: a program of the unpacked packages, with their loader and libraries. With start=exec before it, it takes
# the place of the shell, so that the process id of a background job is its own.
tool() {
  local name=$1 program
  shift
  for program in "$cache"/emulator/usr/{bin,sbin}/"$name"; do [ ! -x "$program" ] || break; done
  export QEMU_MODULE_DIR=$cache/emulator/usr/lib/x86_64-linux-gnu/qemu
  ${start:-} "$cache/emulator/usr/lib64/ld-linux-x86-64.so.2" \
    --argv0 "${argv0:-$name}" --library-path "$cache/emulator/usr/lib/x86_64-linux-gnu" "$program" "$@"
}

# Trixie's, whatever the host has: QEMU 7.2 with two emulated processors often crashed newer kernels.
build_emulator() {
  say "unpacking the emulator"
  debian trixie "$1" --variant=extract --include=qemu-system-x86,busybox-static,e2fsprogs,kmod,xz-utils,zstd
  rm -rf "$1"/usr/share/{doc,man,locale}
}

build_root() {
  say "making the root image"
  debian bookworm "$1.d" --variant=minbase --include="$packages" \
    --customize-hook='mkdir -p "$1/test" "$1/usr/lib/modules"; : >"$1/etc/fstab"; rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*'
  tool mke2fs -q -t ext4 -E lazy_itable_init=1,lazy_journal_init=1 -m 0 -d "$1.d" "$1" 12G
  rm -rf "$1.d"
}

build_kernel() {
  say "fetching the kernel of $suite"
  local version modules module file image magic offset seen=' ' n=0
  mkdir -p "$1/initrd.d"/{bin,dev,proc,sys,root,modules}
  debian "$suite" "$1/d" --variant=extract --include=linux-image-cloud-amd64
  [ -d "$1/d/lib/modules" ] || ln -s usr/lib "$1/d/lib"
  version=$(ls "$1/d/lib/modules")
  modules=$1/d/lib/modules/$version
  image=$(echo "$1"/d/boot/vmlinuz-* "$modules"/vmlinuz*)
  # An uncompressed kernel spares the emulated processor the unpacking.
  for magic in 'xz:\xfd7zXZ\x00' 'zstd:\x28\xb5\x2f\xfd'; do
    for offset in $(LC_ALL=C grep -obUaP "${magic#*:}" "$image" | cut -d: -f1); do
      tail -c +$((offset + 1)) "$image" | tool "${magic%%:*}" -dcq 2>/dev/null >"$1/vmlinux" || true
      [ "$(head -c 4 "$1/vmlinux" | tail -c 3)" != ELF ] || break 2
    done
  done
  [ "$(head -c 4 "$1/vmlinux" | tail -c 3)" = ELF ] || cp "$image" "$1/vmlinux"
  # The initramfs has the modules that find the disks, in the order in which they load.
  argv0=depmod tool kmod -b "$1/d" "$version"
  for module in virtio_pci virtio_blk virtio_console ext4 crc32c_generic; do
    for file in $(awk -F: -v m="$module" '{ n = $1; sub(/.*\//, "", n); sub(/\.ko.*/, "", n); gsub(/-/, "_", n)
                  if (n == m) { k = split($2, a, " "); for (i = k; i > 0; i--) print a[i]; print $1 } }' "$modules/modules.dep"); do
      case $seen in *" $file "*) continue ;; esac
      seen+="$file " n=$((n + 1))
      case $file in
        *.xz) tool xz -dc "$modules/$file" ;;
        *.zst) tool zstd -dcq "$modules/$file" ;;
        *) cat "$modules/$file" ;;
      esac >"$1/initrd.d/modules/$(printf %02d $n).ko"
    done
  done
  cp "$cache/emulator/usr/bin/busybox" "$1/initrd.d/bin/busybox"
  cat >"$1/initrd.d/init" <<'END'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev; $b mount -t proc proc /proc; $b mount -t sysfs sys /sys
for m in /modules/*.ko; do $b insmod $m; done
for i in 1 2 3 4 5; do $b mount -t ext4 -o noatime /dev/vda /root && break; $b sleep 1; done
$b mount -t ext4 -o ro /dev/vdb /root/usr/lib/modules
$b mount -t ext4 -o noatime /dev/vdc /root/test
for d in dev proc sys; do $b mount --move /$d /root/$d; done
exec $b switch_root /root /test/.init
END
  chmod 755 "$1/initrd.d/init"
  (cd "$1/initrd.d" && find . | tool busybox cpio -o -H newc 2>/dev/null) >"$1/initrd"
  tool mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$1/d/lib/modules" "$1/modules.img" 1G
  rm -rf "$1/d" "$1/initrd.d"
}

# have KIND NAME: CACHE/NAME, made by build_KIND unless it is there
have() {
  [ ! -e "$cache/$2" ] || return 0
  rm -rf "$cache/$2".tmp*
  "build_$1" "$cache/$2.tmp"
  mv "$cache/$2.tmp" "$cache/$2"
}

root=root-$(echo "1 $packages" | sha256sum | cut -c1-8).img kernel=kernel-$suite
(
  flock 9
  have emulator emulator
  have root "$root"
  have kernel "$kernel"
) 9>"$cache/lock"

# ---- the machine -------------------------------------------------------------------------------------------------------

tmp=$(mktemp -d "$cache/run.XXXXXX")
vm='' timer='' output=''
trap 'kill $vm $timer $output 2>/dev/null || true; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

cp -al "$dir" "$tmp/test" 2>/dev/null || cp -a "$dir" "$tmp/test"
printf '%s\n' "$script" >"$tmp/test/.script"
cat >"$tmp/test/.init" <<END
#!/bin/bash
# Process 1, or what gives way to it.
if [ $systemd = 1 ]; then
  # Takes long where it is emulated, and nobody needs it.
  for unit in tmp.mount apparmor.service systemd-udev-trigger.service systemd-random-seed.service systemd-journal-flush.service getty@tty1.service \
    serial-getty@ttyS0.service podman.service podman.socket podman-auto-update.timer podman-restart.service apt-daily.timer; do
    ln -sf /dev/null /etc/systemd/system/\$unit
  done
  mkdir -p /etc/systemd/system/multi-user.target.wants
  printf '%s\n' '[Unit]' After=dbus.service '[Service]' Type=exec ExecStart=/test/.guest Delegate=yes TasksMax=infinity \
    LimitNOFILE=1048576 >/etc/systemd/system/test.service
  ln -sf ../test.service /etc/systemd/system/multi-user.target.wants/
  exec /lib/systemd/systemd
fi
END
cat >>"$tmp/test/.init" <<'END'
# What an engine expects to be mounted, cgroup v2 with all controllers, then the script.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o mode=755,nosuid,nodev run /run
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
ln -sfn /proc/self/fd /dev/fd
hostname vm
ip link set lo up
mount --make-rshared /
for c in $(cat /sys/fs/cgroup/cgroup.controllers); do echo +$c >/sys/fs/cgroup/cgroup.subtree_control; done
exec /test/.guest
END
cat >"$tmp/test/.guest" <<'END'
#!/bin/bash
# Runs the script, tells what it prints and how it ends, and ends the machine.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb
modprobe -a -q overlay veth bridge nf_tables loop
port() { for p in /sys/class/virtio-ports/*; do [ "$(cat $p/name)" != $1 ] || echo /dev/${p##*/}; done; }
cd /test
bash /test/.script </dev/null >$(port out) 2>&1
echo $? >$(port status)
busybox poweroff -f
sleep 60
END
chmod 755 "$tmp"/test/{.init,.guest}
tool mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1 -m 0 -d "$tmp/test" "$tmp/test.img" 2G

accel=${VM_ACCEL:-}
if [ -z "$accel" ]; then
  if [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then accel=kvm; else accel=tcg; fi
fi
processor=max,la57=off
[ $accel != kvm ] || processor=host
: >"$tmp/status"
mkfifo "$tmp/out"
cat "$tmp/out" &
output=$!
start=exec tool qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none \
  -accel $accel -cpu $processor -smp 2 -m 3072 -M pc -L "$cache/emulator/usr/share/qemu" -L "$cache/emulator/usr/share/seabios" \
  -kernel "$cache/$kernel/vmlinux" -initrd "$cache/$kernel/initrd" \
  -append "console=ttyS0 panic=-1 nokaslr quiet rcupdate.rcu_expedited=1 no_timer_check" \
  -drive "file=$cache/$root,format=raw,if=virtio,snapshot=on,cache=unsafe" \
  -drive "file=$cache/$kernel/modules.img,format=raw,if=virtio,readonly=on" \
  -drive "file=$tmp/test.img,format=raw,if=virtio,cache=unsafe" \
  -device virtio-serial-pci \
  -chardev "file,id=out,path=$tmp/out" -device virtserialport,chardev=out,name=out \
  -chardev "file,id=status,path=$tmp/status" -device virtserialport,chardev=status,name=status \
  -chardev "file,id=console,path=$tmp/console" -serial chardev:console \
  </dev/null 2>"$tmp/log" &
vm=$!
sleep "${VM_TIMEOUT:-1200}" &
timer=$!
wait -n $vm $timer || true
if kill -0 $vm 2>/dev/null; then say "the time is up"; exit 124; fi
wait $output
status=$(cat "$tmp/status")
case $status in
  [0-9]*) exit "$status" ;;
esac
cat "$tmp/log" >&2
tail -n 40 "$tmp/console" >&2
die "the machine ended without a result"
