#!/usr/bin/env bash
# Runs in the guest: is the lab what the tests take it for? Each check is one line, the last line counts them.
# No `set -e`: a check that fails is counted, and the others still run.
set -uo pipefail
# shellcheck source=tests/lab/ovs.sh
. "$LAB_DIR/ovs.sh"
# shellcheck source=tests/lab/nic.sh
. "$LAB_DIR/nic.sh"

driver=/sys/bus/pci/drivers/mlx5_core
passed=0 failed=0

# ok DESCRIPTION COMMAND...
ok() {
    local description=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok - $description"
    else
        failed=$((failed + 1))
        echo "NOT OK - $description"
    fi
}

not() {
    ! "$@" 2> /dev/null
}

section() {
    echo "### [$(cut -d' ' -f1 /proc/uptime)s] $*"
}

set_vfs() {
    echo "$2" > "$pci/$1/sriov_numvfs"
}

eswitch() {
    devlink dev eswitch set "pci/$1" mode "$2"
}

netdev_count() {
    find "$pci/$1/net" -mindepth 1 -maxdepth 1 | wc -l
}

# prints nothing for a function without a driver
vf_netdev() {
    ls "$pci/$1/virtfn$2/net" 2> /dev/null
}

vf_mac() {
    cat "$pci/$1/virtfn$2"/net/*/address
}

switch_id() {
    cat "/sys/class/net/$(nic_uplink "$1")/phys_switch_id"
}

in_pod() {
    local pod=$1
    shift
    ip netns exec "$pod" "$@"
}

carrier() {
    in_pod "$1" cat /sys/class/net/eth0/carrier
}

ping_works() {
    in_pod n0 ping -q -c "$1" -i 0.2 -W 2 10.5.0.11
}

# representors into the bridge
attach() {
    local representor
    for representor in "$@"; do
        ip link set "$representor" up
        ovs-vsctl add-port br-int "$representor"
    done
}

load_simnic() {
    insmod "$LAB_SIMNIC" "$@"
    mapfile -t pfs < <(nic_pfs)
}

uplink_leaves_netns() {
    ip link set "$uplink" netns elsewhere && ip -n elsewhere link set "$uplink" netns 1
}

check_admin_mac() {
    local vf
    section "admin MAC, driver binding, number of VFs"
    set_vfs "$pf" 4
    vf=$(nic_vf "$pf" 0)
    ip link set "$uplink" vf 0 mac 02:00:00:00:00:aa
    ok "VF keeps its MAC until rebind" [ "$(vf_mac "$pf" 0)" != 02:00:00:00:00:aa ]
    echo "$vf" > $driver/unbind
    ok "unbound VF has no netdev" [ -z "$(vf_netdev "$pf" 0)" ]
    echo "$vf" > $driver/bind
    ok "VF has the admin MAC after rebind" [ "$(vf_mac "$pf" 0)" = 02:00:00:00:00:aa ]
    ok "4 -> 6 VFs is EBUSY" not set_vfs "$pf" 6
}

check_uplink_netns() {
    ip netns add elsewhere
    eswitch "$pf" switchdev
    ok "uplink cannot leave its netns in switchdev mode" not uplink_leaves_netns
    eswitch "$pf" legacy
    ok "it can in legacy mode" uplink_leaves_netns
    ip netns del elsewhere
    set_vfs "$pf" 0
}

check_switchdev_first() {
    section "switchdev mode first, VFs later"
    eswitch "$pf" switchdev
    ok "no representors without VFs" [ "$(netdev_count "$pf")" = 1 ]
    set_vfs "$pf" 2
    ok "2 representors" [ "$(netdev_count "$pf")" = 3 ]
    eswitch "$other_pf" switchdev
    set_vfs "$other_pf" 2
    ok "switch ids differ" [ "$(switch_id "$pf")" != "$(switch_id "$other_pf")" ]
}

offloaded_ip_flows() {
    ovs-appctl dpctl/dump-flows -m type=offloaded | grep 'eth_type(0x0800)' | grep -c 'offloaded:yes, dp:tc'
}

check_offload() {
    local vf
    section "Open vSwitch with tc-policy=skip_sw"
    ovs_start tc-policy=skip_sw
    ovs-vsctl add-br br-int
    for vf in 0 1; do
        ip netns add "n$vf"
        ip link set "$(vf_netdev "$pf" $vf)" netns "n$vf" name eth0
        ip -n "n$vf" link set eth0 up
        ip -n "n$vf" addr add "10.5.0.1$vf/24" dev eth0
    done
    ok "VF has no carrier while its representor is down" [ "$(carrier n0)" = 0 ]
    attach "$(nic_representor "$pf" 0)" "$(nic_representor "$pf" 1)"
    ok "VF has carrier now" [ "$(carrier n0)" = 1 ]
    sleep 1
    ok "skip_sw: ping" ping_works 5
    ok "skip_sw: unicast flows are offloaded" [ "$(offloaded_ip_flows)" = 2 ]
}

check_conntrack() {
    section "conntrack: this kernel cannot offload it, it must work in software"
    ovs-ofctl del-flows br-int
    ovs-ofctl add-flows br-int - << 'FLOWS'
table=0,priority=10,arp,actions=NORMAL
table=0,priority=5,ip,actions=ct(table=1,zone=7)
table=1,priority=10,ip,ct_state=+trk+new,actions=ct(commit,zone=7),NORMAL
table=1,priority=10,ip,ct_state=+trk+est,actions=NORMAL
FLOWS
    ok "ct: ping" ping_works 5
    ovs-ofctl del-flows br-int
    ovs-ofctl add-flow br-int actions=NORMAL
}

check_mode_changes() {
    local port traffic
    section "representors vanish under Open vSwitch, with traffic, and come back"
    in_pod n0 ping -q -i 0.01 -w 20 10.5.0.11 > /dev/null &
    traffic=$!
    for _ in 1 2 3 4 5; do
        eswitch "$pf" legacy
        eswitch "$pf" switchdev
    done
    ok "VF survived 5 mode changes" ip -n n0 link show eth0
    kill "$traffic"
    wait "$traffic" 2> /dev/null
    for port in $(ovs-vsctl list-ports br-int); do
        ovs-vsctl del-port br-int "$port"
    done
    attach "$(nic_representor "$pf" 0)" "$(nic_representor "$pf" 1)"
    sleep 1
    ok "ping after the mode changes" ping_works 3
}

ovs_lost_device() {
    sleep 1
    ovs-vsctl --columns=error list Interface | grep -q 'No such device'
}

check_vanishing_vfs() {
    section "netns deleted, VFs removed while in a pod, PF unbound"
    ip netns del n1
    sleep 1
    ok "VF1 is back" [ -n "$(vf_netdev "$pf" 1)" ]
    set_vfs "$pf" 0
    ok "VF is gone from the pod" not ip -n n0 link show eth0
    ok "OVS port has lost its device" ovs_lost_device
    for _ in 1 2 3 4 5 6 7 8; do
        set_vfs "$pf" 4
        set_vfs "$pf" 0
    done
    ok "8 cycles of 4/0 VFs" [ "$(cat "$pci/$pf/sriov_numvfs")" = 0 ]
    set_vfs "$pf" 2
    echo "$pf" > $driver/unbind
    ok "PF unbound: no devlink device" not devlink dev show "pci/$pf"
    echo "$pf" > $driver/bind
    ok "PF bound again" devlink dev show "pci/$pf"
    ovs-vsctl del-br br-int
    ovs_stop
    ok "rmmod" rmmod simnic
}

check_other_layout() {
    local each
    section "module parameters: two ports of one card, another driver, virtual representors"
    load_simnic one_card=1 driver_name=foo mlx_ids=0 rep_parent=0 rep_hw_tc=0
    for each in "$pf" "$other_pf"; do
        nic_switchdev "$each" 2
    done
    ok "one card: one switch id" [ "$(switch_id "$pf")" = "$(switch_id "$other_pf")" ]
    ok "driver name" [ "$(basename "$(readlink "$pci/$pf/driver")")" = foo ]
    devlink port show
    ok "rmmod again" rmmod simnic
}

kernel_complains() {
    dmesg | grep -iE 'BUG|WARNING|Oops|waiting for|Call Trace'
}

dmesg -C
load_simnic
ok "two PFs" [ ${#pfs[@]} = 2 ]
pf=${pfs[0]}
other_pf=${pfs[1]}
uplink=$(nic_uplink "$pf")
check_admin_mac
check_uplink_netns
check_switchdev_first
check_offload
check_conntrack
check_mode_changes
check_vanishing_vfs
check_other_layout
ok "clean dmesg" not kernel_complains
section end
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
