#!/bin/sh
# Runs boot.sh in namespaces and a control group of its own until standard input ends, so that no lab outlives its test.
#
#   start.sh GROUP BOOT-ARGUMENT …
#
# GROUP is an empty group of the cgroup2 hierarchy. The first line of the output is the number of process 1.
set -eu
group=$1
shift
sh -c 'echo $$ >"$0/cgroup.procs" && exec unshare --mount --pid --ipc --uts --cgroup --fork --kill-child sh "$@"' \
  "$group" "$(dirname "$0")/boot.sh" "$@" </dev/null &
unshare=$!
init() {
  cat "/proc/$unshare/task/$unshare/children" 2>/dev/null || true
}
while kill -0 "$unshare" 2>/dev/null && [ "$(cat "/proc/$unshare/comm")" != unshare -o -z "$(init)" ]; do sleep 0.05; done
echo "init $(init)"
read -r _ || true
kill -9 $(init) "$unshare" 2>/dev/null || true
wait
