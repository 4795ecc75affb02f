# shellcheck shell=bash
# Starts a command's ranks over the nodes. Sourced by run.sh; needs the network to be built. Reads
# here, nodes, ranks_per_node, mpirun, cut, command and the network's holders.
# shellcheck disable=SC2154

# node1:2,node2:2 for separator `:` and 2 ranks.
host_list() {
  local node list=''
  for ((node = 1; node <= nodes; ++node)); do list+=,node$node$1; done
  echo "${list#,}"
}

# Sets `launcher` to what goes before COMMAND.
choose_launcher() {
  local version
  version=$("$mpirun" --version 2>&1 || true)
  local all=$((nodes * ranks_per_node))
  case $version in
    *'Open MPI'* | *OpenRTE*)
      # The agent alone knows where the nodes are, so mpirun starts all daemons. Without these
      # interfaces named, Open MPI may try the loopback; binding would put every node's first rank
      # on the machine's first core.
      launcher=("$mpirun" --mca plm rsh --mca plm_rsh_agent "$here/agent.sh"
        --mca plm_rsh_no_tree_spawn 1 --mca pml ob1 --mca btl "self,vader,tcp"
        --mca oob_tcp_if_include eth0 --mca btl_tcp_if_include eth0
        --bind-to none --host "$(host_list ":$ranks_per_node")" -np "$all")
      ;;
    *HYDRA*)
      # UCX would see through the namespaces and use shared memory.
      export UCX_TLS=tcp,self UCX_NET_DEVICES=eth0
      launcher=("$mpirun" -launcher ssh -launcher-exec "$here/agent.sh" -iface eth0
        -hosts "$(host_list '')" -ppn "$ranks_per_node" -n "$all")
      ;;
    *) impossible "$mpirun is neither Open MPI's nor MPICH's" ;;
  esac
}

# The cores of node NODE: an equal share of those that this run may use; where there are more nodes
# than cores, one, in turn.
cores_of() {
  local node=$1 range cores=() share i
  while read -r range; do
    mapfile -t -O ${#cores[@]} cores < <(seq "${range%-*}" "${range#*-}")
  done < <(sed -n 's/^Cpus_allowed_list:\s*//p' /proc/self/status | tr , '\n')
  share=$((${#cores[@]} / nodes))
  [ "$share" -gt 0 ] || share=1
  local list=''
  for ((i = (node - 1) * share; i < node * share; ++i)); do
    list+=,${cores[$((i % ${#cores[@]}))]}
  done
  echo "${list#,}"
}

# The processes that a launcher made ranks, and what these started, as files of /proc.
ranks_alive() {
  grep -lzsE '^(OMPI_COMM_WORLD_RANK|PMI_RANK)=' /proc/[0-9]*/environ
}

# Waits for the launcher. After a cut it may wait for ever for a node that it cannot reach, which
# says nothing of the ranks: it is ended 5 s after the last of them.
await_launcher() {
  local process=$1 seen=0 quiet=0
  while [ -n "$cut" ] && [ $quiet -lt 25 ] && kill -0 "$process" 2>/dev/null; do
    if ranks_alive >/dev/null; then
      seen=1 quiet=0
    else
      quiet=$((quiet + seen))
    fi
    sleep 0.2
  done
  if [ $quiet -ge 25 ]; then
    echo "run.sh: all ranks have ended; $mpirun still waits and is given up" >&2
    exit 126
  fi
  wait "$process"
}

# Runs COMMAND, sees that it ended everywhere, and exits.
launch() {
  local launcher=() status=0 node wait process
  choose_launcher
  for ((node = 1; node <= nodes; ++node)); do
    taskset --pid --cpu-list "$(cores_of "$node")" "${holders[$node]}" >/dev/null
  done
  # Open MPI's own files; they go with the node.
  export TMPDIR=/dev/shm
  # Everyone is root in here.
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  on_node 1 taskset --cpu-list "$(cores_of 1)" "${launcher[@]}" "${command[@]}" <&0 &
  await_launcher $! || status=$?
  for ((wait = 0; wait < 50; ++wait)); do
    ranks_alive >/dev/null || exit "$status"
    sleep 0.1
  done
  echo "run.sh: $mpirun has ended, and these still run:" >&2
  for process in $(ranks_alive); do tr '\0' ' ' <"${process%environ}cmdline" >&2 || true; done
  exit 125
}
