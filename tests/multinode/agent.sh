#!/usr/bin/env bash
# What MPI's launchers call in place of ssh: agent.sh [OPTION...] HOST COMMAND..., where COMMAND is
# for a shell. Runs it on the emulated node of that name.
set -euo pipefail
while [[ ${1:-} == -* ]]; do shift; done
host=$1
shift
read -ra holders <<<"$ANNULUS_NODE_HOLDERS"
holder=${holders[$((${host#node} - 1))]}
cores=$(taskset --pid --cpu-list "$holder" | sed 's/.*: //')
# shellcheck disable=SC2016
exec nsenter --target "$holder" --net --uts --mount \
  taskset --cpu-list "$cores" bash -c 'cd "$1" && shift && eval "$*"' bash "$PWD" "$@"
