#!/usr/bin/env bash
# layouts-guest.sh KUBE_OVN: simnic in every layout, and the resolver on each: kube-ovn-offload, which lies beside KUBE_OVN, must name
# the netdev on which the packets that a VF sends come out, by devlink and, without devlink, by sysfs alone. Then what has no
# representor, and what is no VF. A guest of its own, since simnic takes its parameters at load.
set -euo pipefail
# shellcheck source=tests/lab/nic.sh
. "$LAB_DIR/nic.sh"
# shellcheck source=tests/support/check.sh
. "$LAB_DIR/../support/check.sh"

kube_ovn=$1
tool=$(dirname "$kube_ovn")/kube-ovn-offload
check_said=$(mktemp)

# nothing is sent but by us
sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1

# received: a line "IFINDEX PACKETS" for each netdev
received() {
    local netdev index packets
    for netdev in /sys/class/net/*; do
        nic_read index "$netdev/ifindex"
        nic_read packets "$netdev/statistics/rx_packets"
        echo "$index $packets"
    done
}

# comes_out VF: the index of the one netdev that receives what the VF sends
comes_out() {
    local before netdev
    netdev=$(ls "$pci/$1/net")
    ip link set "$netdev" up
    before=$(received)
    ip addr add 192.0.2.1/24 dev "$netdev"
    echo x > /dev/udp/192.0.2.99/9 # an ARP request
    ip link set "$netdev" down
    ip addr flush dev "$netdev"
    comm -13 <(sort <<< "$before") <(received | sort) | cut -d' ' -f1 | paste -sd,
}

# answers VF [ARGUMENT...]: the index of the representor, and by which source
answers() {
    "$tool" vf -o json "$@" 2> /dev/null | jq -r '"\(.found.representor.ifindex) \(.found.found_by | split(" ")[0])"'
}

same() { # GOT EXPECTED
    [ "$1" = "$2" ] || {
        echo "        found $1, expected $2"
        return 1
    }
}

# ends STATUS TEXT ARGUMENT...: how the tool ends, and what it says on stderr
ends() {
    local status=$1 text=$2 said ended=0
    shift 2
    said=$("$tool" vf "$@" 2>&1 > /dev/null) || ended=$?
    if [ "$ended" != "$status" ] || [[ $said != *"$text"* ]]; then
        echo "        ended with $ended, expected $status; said: $said"
        return 1
    fi
}

# layout NAME FALLBACK PARAMETER...: every VF, by devlink and by FALLBACK: the sysfs source that must find it then. With
# undecidable=PF that PF's VFs must be refused by sysfs: as the module gives it number 1 and PCI function 0, nothing tells which of the
# eswitch's VFs 0 is its own.
layout() {
    local name=$1 fallback=$2 pf index vf netdev out
    shift 2
    insmod "$LAB_SIMNIC" "$@"
    mapfile -t pfs < <(nic_pfs)
    for pf in "${pfs[@]}"; do
        nic_switchdev "$pf" 2
    done
    for netdev in /sys/class/net/*; do
        ip link set "${netdev##*/}" up
    done
    for pf in "${pfs[@]}"; do
        for index in 0 1; do
            vf=$(nic_vf "$pf" "$index")
            out=$(comes_out "$vf")
            check "$name: VF $index of $pf by devlink: $out" same "$(answers "$vf")" "$out devlink"
            if [ "$pf" = "${undecidable:-}" ]; then
                check "$name: VF $index of $pf by sysfs alone can't be told" ends 1 "cannot tell which is the representor" "$vf" --sysfs /sys
            else
                check "$name: VF $index of $pf by sysfs" same "$(answers "$vf" --sysfs /sys)" "$out $fallback"
            fi
        done
    done
}

# unload: for the next layout
unload() {
    local pf
    for pf in "${pfs[@]}"; do
        echo 0 > "$pci/$pf/sriov_numvfs"
    done
    rmmod simnic
}

layout "representors below the PF" netdevs
vf=$(nic_vf "${pfs[0]}" 1)
representor=$(nic_representor "${pfs[0]}" 1)
index=$(< "/sys/class/net/$representor/ifindex")
ip link set "$representor" down
ip link set "$representor" name p0
check "a representor that is called p0" same "$(answers "$vf")" "$index devlink"
ip netns add pod
ip link set "$(ls "$pci/$vf/net")" netns pod name eth0
check "a VF that is in a pod" same "$(answers "$vf")" "$index devlink"
check "a VF that is in a pod, by sysfs" same "$(answers "$vf" --sysfs /sys)" "$index netdevs"
"$tool" vf "$vf"
ip netns del pod
check "a PF" ends 3 "it is a PF; give one of its VFs: $(nic_vf "${pfs[0]}" 0) (virtfn0)" "${pfs[0]}"
check "no device" ends 3 "no PCI device 0000:ff:00.0" 0000:ff:00.0
check "no address" ends 2 "neither a PCI address" eth0
sleep 1 # the VF comes home
unload

layout "representors anywhere" all rep_parent=0
unload
layout "one card" netdevs one_card=1
unload
undecidable=${pfs[1]} layout "one card, representors anywhere" all one_card=1 rep_parent=0
# what ADD says: the daemon is not there, so all before that went well
vf=$(nic_vf "${pfs[0]}" 0)
ip netns add pod
answer=$(CNI_COMMAND=ADD CNI_CONTAINERID=0123456789abcdef CNI_NETNS=/var/run/netns/pod CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin \
    CNI_ARGS='K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod' "$kube_ovn" <<< '{"cniVersion":"0.3.1","name":"kube-ovn","type":"kube-ovn",
        "server_socket":"/run/openvswitch/kube-ovn-daemon.sock","provider":"sriov.default.ovn","deviceID":"'"$vf"'"}') || true
check "ADD gets as far as the daemon" [ "$(jq .code <<< "$answer")" = 11 ]
unload
layout "another driver" netdevs driver_name=bnxt_en mlx_ids=0 rep_hw_tc=0
devlink dev eswitch set "pci/${pfs[1]}" mode legacy
check "legacy mode" ends 1 "is in legacy mode, offload needs switchdev: devlink dev eswitch set pci/${pfs[1]} mode switchdev" \
    "$(nic_vf "${pfs[1]}" 0)"
unload
verdict
