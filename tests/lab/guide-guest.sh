#!/usr/bin/env bash
# guide-guest.sh KUBE_OVN EMULATOR: the guest's part of scripts/guide, run from the repository's top: runs the steps of /out/steps in
# one shell, and writes the output of the n-th that is shown to /out/n. A node in the state in which the guide finds it: a NIC in
# legacy mode without VFs, Open vSwitch and OVN, and the emulator of kube-ovn-daemon. What Kubernetes would do, these do:
#   pod NAME MAC IP     what exists of a pod before its network does
#   add NAME PCI        Multus' ADD for the pod's eth0, with the VF that the device plugin allocated
#   del NAME PCI
#   ready               what other projects put on the node: both ends of the cable up, Multus' and Kube-OVN's configurations
#   talk FROM TO        TCP from one pod to another, both ways
set -uo pipefail
# shellcheck source=tests/lab/world.sh
. "$LAB_DIR/world.sh"

kube_ovn=$1
emulator=$2
nad=conf/mellanox/network.yaml
declare -A addresses=()
PATH=/opt/kube-ovn-offload:$PATH

pod() {
    addresses[$1]=$3
    world_pod "$@"
}

add() {
    world_cni ADD "$1" "$(world_netconf "$nad" "$2")"
}

del() {
    world_cni DEL "$1" "$(world_netconf "$nad" "$2")"
}

ready() {
    local pf
    for pf in $WORLD_PFS; do
        ip link set "$(nic_uplink "$pf")" up
    done
    cp conf/01-kube-ovn.conflist /etc/cni/net.d/
    echo '{"cniVersion": "0.3.1", "name": "multus-cni-network", "type": "multus-shim"}' > /etc/cni/net.d/00-multus.conf
}

talk() {
    local from=$1 to=$2 server
    ip netns exec "${WORLD_NETNS[$to]}" timeout 60 socat TCP4-LISTEN:5001,reuseaddr PIPE &
    server=$!
    head -c 262144 /dev/zero |
        ip netns exec "${WORLD_NETNS[$from]}" timeout 50 socat -t 5 - "TCP4:${addresses[$to]}:5001,retry=50,interval=0.1" |
        wc -c | grep -qx 262144 || {
        kill "$server"
        return 1
    }
    wait "$server"
}

# no CNI configuration of the machine's, whose files the guest sees
rm -rf /etc/cni/net.d /opt/cni/bin
mkdir -p /etc/cni/net.d /opt/cni/bin
# the tool in the node's path, as a package or `install` puts it there
install -D -m 755 "${kube_ovn%/*}/kube-ovn-offload" /opt/kube-ovn-offload/kube-ovn-offload
install -m 755 "$kube_ovn" /opt/kube-ovn-offload/kube-ovn
start() {
    insmod "$LAB_SIMNIC" one_card=1 && WORLD_PFS=$(nic_pfs | paste -sd' ') && world_network && world_daemon "$emulator"
}
start || {
    echo "the lab's node did not start"
    exit 1
}

shown=0
while read -r -u 3 kind command; do
    echo "guide: $kind: $command [guest up for $(cut -d' ' -f1 /proc/uptime) s]"
    if [ "$kind" = shown ]; then
        shown=$((shown + 1))
        # without what says how far it is, which only a slow command does
        eval "$command" 2>&1 < /dev/null | sed '/^\[[0-9]*\/[0-9]*\] /d' > "/out/$shown"
        sed 's/^/    /' "/out/$shown"
    elif ! eval "$command" < /dev/null; then
        echo "the guide's hidden step failed: $command"
        tail -n 20 "$WORLD_DAEMON_LOG" "$WORLD_DIRECTORY/daemon.output"
        exit 1
    fi
done 3< /out/steps
