# shellcheck shell=bash
# The nodes and the network between them. Sourced by run.sh, within the namespaces that end with it;
# their network is the switch. Reads nodes, bandwidth, latency and cut.
# shellcheck disable=SC2154

holders=()  # by node, from 1: the process that keeps a node's namespaces

# Runs a program on a node; also how agent.sh starts what a launcher wants there.
# on_node NODE COMMAND...
on_node() {
  local holder=${holders[$1]}
  shift
  # Entering another mount namespace loses the working directory.
  # shellcheck disable=SC2016
  nsenter --target "$holder" --net --uts --mount \
    bash -c 'cd "$1" && shift && exec "$@"' bash "$PWD" "$@"
}

# Builds the whole network or says why not.
build_network() {
  ip link add br0 type bridge || impossible "the kernel has no bridges"
  ip link set br0 up
  local node
  for ((node = 1; node <= nodes; ++node)); do add_node "$node"; done
  ANNULUS_NODE_HOLDERS="${holders[*]}"
  export ANNULUS_NODE_HOLDERS
}

add_node() {
  local node=$1 ours
  ours=$(readlink /proc/self/ns/mnt)
  unshare --net --uts --mount sleep infinity &
  holders[node]=$!
  # The namespaces are there before sleep is.
  until [ "$(readlink "/proc/${holders[$node]}/ns/mnt")" != "$ours" ] &&
    [ "$(<"/proc/${holders[$node]}/comm")" = sleep ]; do
    kill -0 "${holders[$node]}" || impossible "namespaces within namespaces are not permitted"
    sleep 0.01
  done
  ip link add "port$node" type veth peer name eth0 netns "${holders[$node]}" ||
    impossible "the kernel has no veth pairs"
  ip link set "port$node" master br0 up
  on_node "$node" bash -c "$(declare -f set_up_node); set_up_node $node $nodes"
  shape "$node"
}

# On the node: its address, name, shared memory, and the names of all nodes.
set_up_node() {
  local node=$1 nodes=$2 other
  ip link set lo up
  ip link set eth0 up
  ip address add "10.77.0.$node/24" dev eth0
  hostname "node$node"
  mount -t tmpfs tmpfs /dev/shm
  echo 127.0.0.1 localhost >/dev/shm/hosts
  for ((other = 1; other <= nodes; ++other)); do
    echo "10.77.0.$other node$other" >>/dev/shm/hosts
  done
  mount --bind /dev/shm/hosts /etc/hosts
}

# Both ends of a node's link send at no more than the bandwidth; what a node sends is late by the
# latency, so a message between two nodes is late once.
shape() {
  local node=$1 parent=(root handle '1:')
  if [ -n "$latency" ]; then
    # The queue holds what is under way: far more than a TCP window.
    on_node "$node" tc qdisc add dev eth0 "${parent[@]}" netem delay "$latency" limit 100000 ||
      impossible "the kernel has no netem, which --latency needs"
    parent=(parent '1:' handle '2:')
  fi
  [ -n "$bandwidth" ] || return 0
  local limit=(tbf rate "$bandwidth" burst 256kb latency 20ms)
  if ! on_node "$node" tc qdisc add dev eth0 "${parent[@]}" "${limit[@]}" ||
    ! tc qdisc add dev "port$node" root "${limit[@]}"; then
    impossible "the kernel has no tbf, which --bandwidth needs"
  fi
}

# --cut: waits beside the run.
watch_cut() {
  [ -n "$cut" ] || return 0
  local node=${cut%%:*} file=${cut#*:}
  {
    until [ -s "$file" ]; do sleep 0.05; done
    ip link set "port$node" down
    echo "run.sh: node$node is cut off" >&2
  } &
}
