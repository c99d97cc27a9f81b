#!/bin/bash
# Runs the OCI runtime conformance suites, built beforehand, against a runtime.
#
#   xtask/conformance.sh SUITES RUNTIME [runtime-tools | contest] [FILTER]
#
# RUNTIME is a program with runc's command line. FILTER is a regular expression on the names of test programs or groups.
# SUITES is a directory with one or both of (docs/conformance.md says how to build them):
#
#   runtime-tools/   the source tree of opencontainers/runtime-tools after `make runtimetest validation-executables`
#   contest/         youki's contest, runtimetest (static) and bundle.tar.gz
#
# The tests leave processes, mounts and control groups behind where a runtime fails them, and some do so in any case. So
# all is done in namespaces and control groups that end with this script, with a /tmp and a /run of their own.
#
# OUT    where the tests' own output goes, a file each (a new directory below /var/tmp)
# LIMIT  seconds for one program or group, 90
# VIEW   v1: hide a cgroup v2 hierarchy that is mounted beside v1 (crun refuses such a machine)
set -euo pipefail
shopt -s nullglob

# ---- inside ------------------------------------------------------------------------------------------------------------

# Mounts the hierarchies once more: their roots are our own groups now.
mount_groups() {
  umount -R /sys/fs/cgroup
  if [ "$HIERARCHIES" = "0::" ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    return
  fi
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
  local hierarchy names directory
  for hierarchy in $HIERARCHIES; do
    names=${hierarchy#*:} names=${names%:}
    [ -n "$names" ] || [ "${VIEW:-}" != v1 ] || continue
    directory=/sys/fs/cgroup/${names#name=}
    [ -n "$names" ] || directory+=unified
    mkdir "$directory"
    case $names in
      '') mount -t cgroup2 cgroup2 "$directory" ;;
      name=*) mount -t cgroup -o "none,$names" cgroup "$directory" ;;
      *) mount -t cgroup -o "$names" cgroup "$directory" ;;
    esac
  done
}

runtime_tools() {
  cd "$SUITES/runtime-tools"
  local test name code ok skip bad
  for test in validation/*/*.t; do
    name=$(basename "$test" .t)
    [[ $name =~ $FILTER ]] || continue
    code=0
    RUNTIME=$RUNTIME timeout -k 5 "$LIMIT" "./$test" >"$OUT/$name.tap" 2>"$OUT/$name.err" </dev/null || code=$?
    skip=$(grep -ciE '^ *ok [0-9]+.*# skip' "$OUT/$name.tap" || true)
    ok=$(($(grep -cE '^ *ok [0-9]+' "$OUT/$name.tap" || true) - skip))
    bad=$(grep -cE '^ *not ok [0-9]+' "$OUT/$name.tap" || true)
    # A program that counts no tests is one; it ends with an error or has one in what it tells beside.
    if [ $bad = 0 ] && { [ $code != 0 ] || [ $((ok + skip)) = 0 ]; }; then
      if grep -qi '^1\.\.0.*skip' "$OUT/$name.tap"; then
        skip=1
      elif [ $code != 0 ] || grep -q '"error":' "$OUT/$name.tap"; then
        bad=1
      else
        ok=1
      fi
    fi
    count "$name" $ok $bad $skip
  done
}

contest() {
  cd "$SUITES/contest"
  local name ok skip bad
  for name in $(./contest list | grep -vE '^\s*$|^ '); do
    [[ $name =~ $FILTER ]] || continue
    timeout -k 5 "$LIMIT" ./contest run --runtime "$RUNTIME" --runtimetest "$PWD/runtimetest" -t "$name" \
      >"$OUT/$name.log" 2>&1 </dev/null || true
    ok=$(grep -cE '^[0-9]+ / [0-9]+ : .* : ok' "$OUT/$name.log" || true)
    bad=$(grep -cE '^[0-9]+ / [0-9]+ : .* : not ok' "$OUT/$name.log" || true)
    skip=$(grep -cE '^[0-9]+ / [0-9]+ : .* : skipped' "$OUT/$name.log" || true)
    # It panicked or ran out of time.
    [ $((ok + bad + skip)) != 0 ] || bad=1
    count "$name" $ok $bad $skip
  done
}

# Some tests look for descriptors that a runtime leaks: no one else's may be there.
for fd in /proc/self/fd/*; do
  fd=${fd##*/}
  [ $fd -lt 3 ] || [ $fd = 255 ] || eval "exec $fd>&-"
done

sum_ok=0 sum_bad=0 sum_skip=0 clean=0 unclean=0
count() {
  sum_ok=$((sum_ok + $2)) sum_bad=$((sum_bad + $3)) sum_skip=$((sum_skip + $4))
  local word=ok
  if [ "$3" = 0 ]; then clean=$((clean + 1)); else word=FAIL unclean=$((unclean + 1)); fi
  printf '%-4s %-42s %4d passed, %2d failed, %2d skipped\n' $word "$@"
}

if [ "${1:-}" = --moved ]; then
  # Our groups are the roots of what we see from now on. Where all controllers are in one hierarchy, a root that hands
  # them on has no processes.
  if [ "$HIERARCHIES" = "0::" ]; then
    mkdir "$2/suite"
    echo $$ >"$2/suite/cgroup.procs"
  fi
  exec unshare --mount --pid --net --fork --kill-child bash "$0" --inside
fi

if [ "${1:-}" = --inside ]; then
  mount --make-rprivate /
  mount -t proc proc /proc
  mount_groups
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
      echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
    done
  fi
  for directory in /tmp /run; do mount -t tmpfs -o mode=1777 tmpfs $directory; done
  ip link set lo up
  [ "$SUITE" = contest ] && contest || runtime_tools
  echo "$SUITE: $sum_ok passed, $sum_bad failed, $sum_skip skipped; $clean without a failure, $unclean with one"
  exit
fi

# ---- outside -----------------------------------------------------------------------------------------------------------

[ $# -ge 2 ] && [ $# -le 4 ] || { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
SUITES=$(realpath -e "$1") RUNTIME=$(realpath -s "$(command -v "$2")") FILTER=${4:-.}
OUT=$(realpath "${OUT:-$(mktemp -d /var/tmp/conformance.XXXXXX)}") LIMIT=${LIMIT:-90}
mkdir -p "$OUT"
HIERARCHIES=$(sed 's,/.*,,' /proc/self/cgroup)
export SUITES RUNTIME FILTER OUT LIMIT HIERARCHIES VIEW

# groups NAME: our directory in each hierarchy
groups() {
  awk -v name="$1" '{ for (i = 7; $i != "-"; i++); if ($(i + 1) ~ /^cgroup2?$/) print $5 "/" name }' /proc/self/mountinfo
}


leave() {
  local group
  for group in $(groups "$name"); do
    # Whoever still is there has been killed with the pid namespace, and is gone soon.
    for _ in {1..50}; do
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
      sleep 0.1
    done
  done
}

name=conformance-$$
trap leave EXIT
for suite in ${3:-runtime-tools contest}; do
  [ -d "$SUITES/$suite" ] || continue
  (
    export SUITE=$suite
    mkdir -p "$OUT/$suite"
    OUT=$OUT/$suite
    for group in $(groups "$name"); do
      mkdir -p "$group"
      for file in cpuset.cpus cpuset.mems; do
        # v1 gives a new group none
        [ ! -e "$group/../$file" ] || [ -e "$group/cgroup.controllers" ] || cat "$group/../$file" >"$group/$file"
      done
      echo $BASHPID >"$group/cgroup.procs"
    done
    exec unshare --cgroup bash "$(realpath "$0")" --moved "$group"
  )
  leave
done
