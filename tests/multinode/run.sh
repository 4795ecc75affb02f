#!/usr/bin/env bash
# Runs an MPI program on emulated nodes of this machine: see --help.
#
# A node is a network, host name and /dev/shm of its own (Linux namespaces), joined to the others by
# a bridge. All of it hangs on one process of a PID namespace: when that ends, however it ends, the
# kernel takes processes, networks and files away. Nothing is named outside, so any number of runs
# fit side by side.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/network.sh"
. "$here/launch.sh"

usage() {
  cat <<'END'
usage: bash tests/multinode/run.sh [OPTION VALUE ...] -- COMMAND ...

Runs COMMAND over MPI on nodes emulated on this machine, each with a network interface, a host name
(node1, node2, ...) and a share of the cores of its own. Needs root, or a kernel that lets users
make namespaces. Files are this machine's, but for /dev/shm: a node's own, and gone with it.

  --nodes N             nodes, 1 to 16 (default 2)
  --ranks-per-node N    processes on each (default 1)
  --bandwidth RATE      of every node's link, each way, as in 1gbit, 200mbit (default: unlimited)
  --latency TIME        added to every message between nodes, as in 50us, 2ms (default: none)
  --cut N:FILE          pulls the cable of node N once FILE is there and is not empty
  --timeout SECONDS     longest run (default 600)
  --mpirun PROGRAM      of Open MPI or MPICH (default mpirun)
  --probe               builds the network and runs nothing; without COMMAND

Exit status: that of mpirun; 2 for a mistake in the options; 77 where this machine or its kernel
cannot emulate the nodes (the reason is printed); 124 past the timeout; 125 when a rank was still
there 5 s after mpirun ended; 126 when, after a cut, mpirun was still there 5 s after all ranks.

  bash tests/multinode/run.sh --nodes 4 --bandwidth 1gbit -- \
    build/release/annulus train --config examples/recall.ini
END
}

mistake() {
  echo "run.sh: $* (see --help)" >&2
  exit 2
}

impossible() {
  echo "run.sh: cannot emulate nodes here: $*" >&2
  exit 77
}

nodes=2 ranks_per_node=1 bandwidth='' latency='' cut='' timeout=600 mpirun=mpirun probe=0
parse_options() {
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
      --help | -h) usage; exit 0 ;;
      --probe) probe=1; shift ;;
      --nodes | --ranks-per-node | --bandwidth | --latency | --cut | --timeout | --mpirun)
        [ $# -ge 2 ] || mistake "$1 needs a value"
        local name=${1#--}
        printf -v "${name//-/_}" %s "$2"
        shift 2
        ;;
      *) mistake "$1 is not an option; COMMAND follows --" ;;
    esac
  done
  command=("${@:2}")
  [ $probe -eq 1 ] || [ ${#command[@]} -gt 0 ] || mistake "there is no COMMAND after --"
}

check_options() {
  whole() { [[ $2 =~ ^[1-9][0-9]{0,8}$ ]] || mistake "--$1 is a number of 1 or more, not '$2'"; }
  whole nodes "$nodes"
  [ "$nodes" -le 16 ] || mistake "--nodes is at most 16, not $nodes"
  whole ranks-per-node "$ranks_per_node"
  whole timeout "$timeout"
  [[ $bandwidth =~ ^([1-9][0-9]{0,5}[kmg]bit)?$ ]] ||
    mistake "--bandwidth is a rate as in 1gbit, 200mbit or 500kbit, not '$bandwidth'"
  [[ $latency =~ ^([1-9][0-9]{0,5}(us|ms))?$ ]] ||
    mistake "--latency is a time as in 50us or 2ms, not '$latency'"
  [ -z "$cut" ] || [[ $cut =~ ^[1-9][0-9]?:.+$ && ${cut%%:*} -le $nodes ]] ||
    mistake "--cut is the number of a node and a file, as in 2:run/metrics.jsonl, not '$cut'"
}

# Stage 1, outside: a place where everything ends with one process.
enter_namespaces() {
  local tool
  for tool in ip tc unshare nsenter setpriv taskset timeout; do
    command -v "$tool" >/dev/null || impossible "there is no $tool (packages iproute2, util-linux)"
  done
  command -v "$mpirun" >/dev/null || impossible "there is no $mpirun"
  local unshare=(unshare --net --mount --pid --fork --kill-child --mount-proc)
  [ "$(id -u)" -eq 0 ] || unshare+=(--user --map-root-user)
  local complaint
  complaint=$("${unshare[@]}" true 2>&1) ||
    impossible "namespaces are not permitted (be root?): $complaint"
  # The chain dies from either end: timeout's end takes unshare along, and that takes all else.
  ANNULUS_MULTINODE=inside exec timeout --kill-after=5 "$timeout" \
    setpriv --pdeathsig KILL "${unshare[@]}" bash "$here/run.sh" "$@"
}

parse_options "$@"
check_options
[ "${ANNULUS_MULTINODE:-}" = inside ] || enter_namespaces "$@"
unset ANNULUS_MULTINODE
# What a launcher around this said does not hold in here.
unset "${!OMPI_COMM_@}" "${!PMI@}" "${!SLURM_@}"
build_network
[ $probe -eq 0 ] || exit 0
watch_cut
launch
