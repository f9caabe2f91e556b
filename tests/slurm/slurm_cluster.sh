#!/usr/bin/env bash
# A throw-away, real Slurm of several virtual nodes on this machine.
#
#   slurm_cluster.sh up NODES GPUS    start munged, slurmctld and one slurmd per node; ends when all nodes are idle
#   slurm_cluster.sh down             cancel the jobs, stop what `up` started, remove the folder
#
# CLUSTER_DIR   its folder (configuration, state, logs); required
# CLUSTER_CPUS  cores per node (64), declared, not owned
# CLUSTER_MODE  auto | ns | plain | controller (auto)
#   ns          each node has its own hostname, process, mount and network namespace and address; needs CAP_SYS_ADMIN
#   plain       all nodes share hostname and loopback; works in an unprivileged container
#   controller  no slurmd at all: the nodes are declared as powered-down cloud nodes, enough for `sbatch --test-only`
set -uo pipefail
SELF=$(readlink -f "$0")
D=${CLUSTER_DIR:?CLUSTER_DIR is not set}
for v in ${!SLURM_@} ${!SBATCH_@}; do unset "$v"; done # we may be called from inside a job
export SLURM_CONF=$D/slurm.conf PATH=$PATH:/usr/sbin:/sbin

die() { echo "slurm_cluster: $*" >&2; exit 1; }
nodes() { local i; for ((i = 1; i <= N; i++)); do echo "node$i"; done; }
num() { echo "${1#node}"; }

# ID makes bridge name, subnet and ports unique per cluster: a hash of the folder first, then the next that is free.
set_id() { ID=$1 BR=slt$1 NET=10.212.$1 PORT0=$((20000 + $1 * 110)); }
claim_id() {
  local k
  set_id $(($(printf %s "$D" | cksum | cut -d' ' -f1) % 200 + 1))
  for ((k = 0; k < 200; k++)); do
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$PORT0") 2>/dev/null; then
      [ "$MODE" != ns ] && return 0
      ip link add name "$BR" type bridge 2>/dev/null && return 0 # creating the bridge is the lock
    fi
    set_id $((ID % 200 + 1))
  done
  die "no free cluster number"
}
load() { [ -f "$D/shape" ] && . "$D/shape" && set_id "$ID"; } # this file also marks the folder as ours

# ---- processes: "$D/run/NAME.pid" holds "pid starttime", so that a re-used pid is never killed
starttime() {
  local s
  s=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  set -- ${s##*) }
  [ "$1" != Z ] && echo "${20}"
}
get_pid() {
  local p t
  [ -s "$D/run/$1.pid" ] && read -r p t <"$D/run/$1.pid" && [ -n "$t" ] && [ "$(starttime "$p")" = "$t" ] && echo "$p"
}
kill_pid() { # NAME SIGNAL: SIGKILL after five seconds
  local p i
  p=$(get_pid "$1") || return 0
  kill -"$2" "$p" 2>/dev/null
  for ((i = 0; i < 100; i++)); do get_pid "$1" >/dev/null || return 0; sleep 0.05; done
  kill -KILL "$p" 2>/dev/null
}
spawn() { # NAME COMMAND...: detached, without inherited descriptors, so that a captured `up` returns
  local name=$1
  shift
  (
    for fd in /proc/self/fd/*; do fd=${fd##*/}; [ "$fd" -gt 2 ] && [ "$fd" != 255 ] && eval "exec $fd>&-"; done 2>/dev/null
    cd / && exec setsid "$@" </dev/null >>"$D/log/$name.out" 2>&1
  ) &
  echo "$! $(starttime $!)" >"$D/run/$name.pid"
  disown
}

# ---- configuration
write_conf() {
  local i n host address=127.0.0.1 range="[0-$((G - 1))]"
  host=$(hostname -s)
  mkdir -p "$D"/{run,log,munge,state,dev,spool} && chmod 700 "$D/state"
  (umask 077; head -c 1024 /dev/urandom >"$D/munge.key")
  [ "$MODE" = ns ] && address=$NET.254
  # slurmd wants character devices; the number in the name becomes the GPU's index
  for ((i = 0; i < G; i++)); do ln -s /dev/null "$D/dev/nvidia$i"; done
  [ "$G" = 1 ] && range=0
  if [ "$G" -gt 0 ]; then echo "NodeName=node[1-$N] AutoDetect=off Name=gpu File=$D/dev/nvidia$range"; fi >"$D/gres.conf"
  {
    cat <<CONF
ClusterName=testcluster
SlurmctldHost=$host($address)
SlurmctldPort=$PORT0
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
CredType=cred/munge
# cred_expire: a requeued job waits this long (+1 s) before it may start again; the default is 120
AuthInfo=socket=$D/munge/socket,cred_expire=5
SlurmctldPidFile=$D/run/slurmctld.slurm-pid
SlurmdPidFile=$D/run/slurmd-%n.slurm-pid
SlurmdSpoolDir=$D/spool/%n
StateSaveLocation=$D/state
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd-%n.log
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
PropagateResourceLimits=NONE
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
# nodes may claim more cores and memory than the machine has
SlurmdParameters=config_overrides
SlurmdTimeout=5
SlurmctldTimeout=10
MessageTimeout=10
TCPTimeout=2
KillWait=5
BatchStartTimeout=10
UnkillableStepTimeout=60
MinJobAge=3600
ReturnToService=1
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,sched_min_interval=10000,batch_sched_delay=0,bf_interval=2
JobRequeue=1
CONF
    echo "NodeName=DEFAULT Sockets=2 CoresPerSocket=$((CPUS / 2)) RealMemory=1000000 $([ "$G" -gt 0 ] && echo "Gres=gpu:$G")"
    for n in $(nodes); do
      case $MODE in
        ns) echo "NodeName=$n NodeAddr=$NET.$(num "$n") Port=$((PORT0 + 1))" ;;
        plain) echo "NodeName=$n NodeHostname=$host NodeAddr=127.0.0.1 Port=$((PORT0 + $(num "$n")))" ;;
      esac
    done
    if [ "$MODE" = controller ]; then
      printf '%s\n' SuspendProgram=/bin/true ResumeProgram=/bin/true SuspendTime=3600 "NodeName=node[1-$N] State=CLOUD"
    fi
    echo "PartitionName=DEFAULT Nodes=ALL State=UP MaxTime=INFINITE DefaultTime=60"
    echo "PartitionName=main Default=YES"
    echo "PartitionName=acc"
  } >"$D/slurm.conf"
  # names -> addresses for the jobs: the nodes' own /etc/hosts in ns mode, marked lines in this machine's in plain mode
  if [ "$MODE" = ns ]; then
    { echo "127.0.0.1 localhost"; echo "$address $host"; for n in $(nodes); do echo "$NET.$(num "$n") $n"; done; } >"$D/hosts"
  elif [ "$MODE" = plain ] && [ -w /etc/hosts ]; then
    for n in $(nodes); do echo "127.0.0.1 $n # $D"; done >>/etc/hosts
  fi
}
forget_hosts() { # in place: /etc/hosts may be a bind mount
  local rest
  grep -qF " # $D" /etc/hosts && rest=$(grep -vF " # $D" /etc/hosts) && printf '%s\n' "$rest" >/etc/hosts
}

# ---- nodes
namespace_init() { awk '{print $1}' "/proc/$1/task/$1/children" 2>/dev/null; } # the child of unshare: process 1 inside
node_init() { # process 1 of a node's namespaces
  hostname "$1"
  mount --bind "$D/hosts" /etc/hosts
  mount -t tmpfs -o mode=1777 "shm-$1" /dev/shm
  until ip link show sl0 >/dev/null 2>&1; do sleep 0.02; done
  ip link set lo up; ip addr add "$NET.$(num "$1")/24" dev sl0; ip link set sl0 up
  slurmd -D -N "$1" &
  sleep infinity &
  while :; do wait; done # and reaps orphans
}
start_node() {
  local i p c="" k
  i=$(num "$1")
  mkdir -p "$D/spool/$1"
  if [ "$MODE" = plain ]; then spawn "$1" slurmd -D -N "$1"; return; fi
  spawn "$1" unshare --uts --net --pid --mount --fork --mount-proc --kill-child -- bash "$SELF" __node "$1"
  p=$(get_pid "$1")
  for ((k = 0; k < 200; k++)); do # the child may be there a moment before its network namespace
    c=$(namespace_init "$p")
    [ -n "$c" ] && [ "$(readlink "/proc/$c/ns/net")" != "$(readlink /proc/self/ns/net)" ] && break
    sleep 0.02
  done
  ip link add "v$ID.$i" type veth peer name sl0 netns "$c" && ip link set "v$ID.$i" master "$BR" up || die "no network for $1"
}
stop_node() {
  local p c=""
  [ "$MODE" = ns ] && p=$(get_pid "$1") && c=$(namespace_init "$p") && [ -n "$c" ] && kill -KILL "$c"
  kill_pid "$1" KILL
  [ "$MODE" = ns ] && ip link del "v$ID.$(num "$1")"
} 2>/dev/null
stop_jobs() { # plain mode: slurmstepd and the job's processes outlive their slurmd; both carry this cluster's SLURM_CONF
  local f
  for f in $(grep -lzxF "SLURM_CONF=$D/slurm.conf" /proc/[0-9]*/environ 2>/dev/null); do
    f=${f#/proc/}; f=${f%/environ}
    case $(cat "/proc/$f/comm" 2>/dev/null) in slurmstepd) kill -KILL "$f" ;; *)
      grep -qzE '^SLURMD_NODENAME=' "/proc/$f/environ" 2>/dev/null && kill -KILL "$f" ;; esac
  done
} 2>/dev/null

can_use_namespaces() {
  local bridge=sltry$$
  unshare --uts --net --pid --mount --fork --mount-proc true 2>/dev/null &&
    ip link add name $bridge type bridge 2>/dev/null && ip link del $bridge
}
healthy() {
  timeout 10 scontrol ping 2>/dev/null | grep -q 'is UP' || return 1
  # sinfo does not list powered-down cloud nodes
  [ "$MODE" = controller ] || [ "$(timeout 10 sinfo -h -N -p main -t idle -o %N 2>/dev/null | sort -u | wc -l)" = "$N" ]
}
up() {
  local i
  N=$1 G=$2 CPUS=${CLUSTER_CPUS:-64} MODE=${CLUSTER_MODE:-auto}
  [ -z "$(ls -A "$D" 2>/dev/null)" ] || die "$D is not empty"
  if [ "$MODE" = auto ]; then if can_use_namespaces; then MODE=ns; else MODE=plain; fi; fi
  mkdir -p "$D" && chmod 755 "$D" # munged refuses a socket that others cannot reach
  claim_id
  echo "N=$N MODE=$MODE ID=$ID" >"$D/shape"
  write_conf
  if [ "$MODE" = ns ]; then ip addr add "$NET.254/24" dev "$BR"; ip link set "$BR" up; fi
  spawn munged munged --foreground --key-file="$D/munge.key" --socket="$D/munge/socket" --pid-file="$D/munge/pid" \
    --log-file="$D/log/munged.log" --seed-file="$D/munge/seed"
  for ((i = 0; i < 100; i++)); do munge -S "$D/munge/socket" -n >/dev/null 2>&1 && break; sleep 0.05; done
  ((i < 100)) || die "munged did not start: $(tail -n 1 "$D/log/munged.out")"
  spawn slurmctld slurmctld -D
  if [ "$MODE" != controller ]; then for i in $(nodes); do start_node "$i"; done; fi
  for ((SECONDS = 0; SECONDS < 30; )); do healthy && return 0; sleep 0.1; done
  sinfo >&2
  tail -n 5 "$D"/log/* >&2
  die "the cluster did not become healthy"
}
down() {
  local i
  load || return 0
  for i in $(timeout 5 squeue -h -o %A 2>/dev/null | sort -u); do timeout 5 scancel "$i"; done
  if [ "$MODE" != controller ]; then for i in $(nodes); do stop_node "$i"; done; fi
  if [ "$MODE" = plain ]; then stop_jobs; forget_hosts; fi
  kill_pid slurmctld KILL
  kill_pid munged TERM
  [ "$MODE" = ns ] && ip link del "$BR"
  rm -rf "$D"
}

case ${1:-} in
  up) up "${2:?NODES}" "${3:?GPUS}" ;;
  down) down ;;
  __node) load && node_init "$2" ;;
  *) sed -n '2,/^set/{/^#/p}' "$SELF"; exit 2 ;;
esac
