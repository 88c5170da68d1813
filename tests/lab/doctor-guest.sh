#!/usr/bin/env bash
# doctor-guest.sh KUBE_OVN EMULATOR: a whole node on which one thing after another is broken. Each time kube-ovn-offload, which lies beside
# KUBE_OVN, must say so; then the lines that it prints as the remedy are run as they stand, and it must say that all is well. What is files
# only is broken in tests/offload/doctor; here is what needs a kernel, a NIC, Open vSwitch or OVN.
set -Eeuo pipefail
trap 'echo "NOT OK  line $LINENO ended it"' ERR
# shellcheck source=tests/lab/world.sh
. "$LAB_DIR/world.sh"

kube_ovn=$1 emulator=$2
PATH=$(dirname "$kube_ovn"):$PATH # the tool, as the remedies call it
passed=0 failed=0
ok() {
    passed=$((passed + 1))
    echo "ok      $1"
}
not_ok() {
    failed=$((failed + 1))
    echo "NOT OK  $1"
    printf '%s\n' "${2:-}" | sed 's/^/        /'
}

# look CHECK: its findings, an array
look() {
    { kube-ovn-offload doctor --output json --only "$1" 2> /dev/null || true; } | jq -c '.findings'
}

# well CHECK: it finds nothing wrong, and something right
well() {
    local findings
    findings=$(look "$1")
    if jq -e 'all(.verdict == "ok" or .verdict == "irrelevant")' <<< "$findings" > /dev/null; then
        ok "$1 is well"
    else
        not_ok "$1 is well" "$findings"
    fi
}

# finds CHECK VERDICT TEXT: sets FINDINGS to those that say so
finds() {
    local findings
    findings=$(look "$1")
    FINDINGS=$(jq -c --arg verdict "$2" --arg text "$3" \
        'map(select(.verdict == $verdict and (.evidence | contains($text))))' <<< "$findings")
    if [ "$FINDINGS" != '[]' ]; then
        ok "$1: $2: $3"
    else
        not_ok "$1: $2: $3" "$findings"
    fi
}

# heals CHECK VERDICT TEXT: it says so; its remedy is run; then it is well
heals() {
    local line
    finds "$@"
    while read -r line; do
        echo "        \$ $line"
        bash -c "$line" > /run/world/remedy.log 2>&1 < /dev/null || not_ok "its remedy runs" "$(< /run/world/remedy.log)"
    done < <(jq -r '.[].remedy[]' <<< "$FINDINGS")
    well "$1"
}

# restart_ovs: as an administrator does
restart_ovs() {
    /usr/share/openvswitch/scripts/ovs-ctl --no-ovsdb-server --system-id=random restart > /run/world/ovs-ctl.log 2>&1 ||
        not_ok "Open vSwitch restarts" "$(< /run/world/ovs-ctl.log)"
}

# shellcheck disable=SC2119
world_start
world_plugin "$kube_ovn"
world_daemon "$emulator"
for wire in /sys/class/net/wire*; do ip link set "${wire##*/}" up; done
# ovs-vswitchd that is started less than 10 s after boot has no handler threads
while [ "$(cut -d. -f1 /proc/uptime)" -lt 12 ]; do sleep 0.5; done
read -r first second <<< "$WORLD_PFS"

echo "== what the lab does not do: VFs without a driver while the mode changes, hw-tc-offload of the uplinks"
heals vf-order warning "were probed in legacy mode"
heals hw-tc-offload problem "hw-tc-offload is off on "
vf=$(basename "$(readlink "$pci/$first/virtfn0")")
world_pod web 02:00:00:10:00:10 10.16.0.10
stdin=$(world_netconf "$LAB_DIR/../../conf/mellanox/network.yaml" "$vf")
world_cni ADD web "$stdin" > /dev/null
port=$(ovs-vsctl --bare --columns=name find Interface external_ids:pod_name=web)

echo "== a whole node"
# all at once
kube-ovn-offload doctor --output json > /run/world/report.json || true
for check in kernel-version tc-modules nic nic-driver vfs eswitch-mode vf-driver vf-order uplink bond representor hw-tc-offload \
    ovsdb-server ovs-vswitchd br-int ovs-hw-offload ovs-restarted tc-policy mirror tunnel-type mtu representor-port representor-up \
    stale-ports ovn-northbound ovn-load-balancer ovn-acl ovn-dnat-mac plugin daemon-socket node-config state-directory records; do
    wrong=$(jq -c --arg check "$check" \
        '.findings | map(select(.check == $check and .verdict != "ok" and .verdict != "irrelevant"))' /run/world/report.json)
    if [ "$wrong" = '[]' ]; then ok "$check"; else not_ok "$check" "$wrong"; fi
done
# the lab's kernel is Debian's
finds kernel-ct-offload warning "recirculation IDs"

echo "== the NIC"
netdev=$(nic_uplink "$second")
ethtool -K "$netdev" hw-tc-offload off
heals hw-tc-offload problem "hw-tc-offload is off on $netdev"
names=$(for index in 0 1; do nic_representor "$second" "$index"; done)
for name in $names; do ethtool -K "$name" hw-tc-offload off; done
heals hw-tc-offload problem "is off on ${names//$'\n'/, }"
ip link set "$netdev" down
heals uplink problem "$netdev is down"
modprobe bonding
ip link add bond0 type bond mode balance-rr
ip link set "$netdev" down
ip link set "$netdev" master bond0
heals bond problem "is in bond0 with mode balance-rr"
ip link del bond0
ip link set "$netdev" up
other=$(basename "$(readlink "$pci/$second/virtfn1")")
echo "$other" > "$pci/$other/driver/unbind"
heals vf-driver warning "no driver is bound to $other"
devlink dev eswitch set "pci/$second" mode legacy
heals eswitch-mode problem "PF $second ($netdev): devlink says legacy"
well representor
# switchdev mode, with VFs that have a driver already
devlink dev eswitch set "pci/$second" mode legacy
devlink dev eswitch set "pci/$second" mode switchdev
heals vf-order warning "were probed in legacy mode"
echo 0 > "$pci/$second/sriov_numvfs"
heals vfs problem "sriov_numvfs is 0"

echo "== the kernel"
sysctl -qw kernel.modprobe=/nonexistent
modprobe -r act_vlan || true
heals tc-modules warning "act_vlan"
sysctl -qw kernel.modprobe=/sbin/modprobe

echo "== Open vSwitch"
ip link set "$port" down
heals representor-up problem "$port in br-int and down"
ovs-vsctl --no-wait add-port br-int gone_h -- set Interface gone_h external_ids:pod_name=gone external_ids:pod_namespace=default \
    external_ids:pod_netns=/run/netns/gone
heals stale-ports warning "port gone_h of pod default/gone"
ovs-vsctl -- --id=@m create Mirror name=m0 select_all=true -- add Bridge br-int mirrors @m
heals mirror problem "m0 copies everything"
ip link set lo mtu 1400
heals mtu warning "lo has 1400"
ovs-vsctl --no-wait remove Open_vSwitch . other_config hw-offload
restart_ovs
heals ovs-hw-offload problem "hw-offload is not set, expected true"
well ovs-restarted
ovs-vsctl --no-wait remove Open_vSwitch . other_config hw-offload
finds ovs-hw-offload problem "ports still have the ingress qdisc"
ovs-vsctl --no-wait set Open_vSwitch . other_config:hw-offload=true
tc qdisc del dev "$port" ingress
heals ovs-restarted problem "$port"
ovs-vsctl --no-wait set Open_vSwitch . other_config:tc-policy=skip_hw
heals tc-policy problem "never into hardware"
well ovs-vswitchd
ovs-vsctl --no-wait del-port br-int "$port"
finds representor-port problem "is no port of br-int: the pod is cut off"

echo "== OVN"
ovn-nbctl lb-add lb1 10.96.0.10:80 10.16.0.10:5000 -- ls-lb-add "$WORLD_SUBNET" lb1
ovn-nbctl set NB_Global . options:ls_dnat_mod_dl_dst=true
heals ovn-dnat-mac warning "ls_dnat_mod_dl_dst=true"
heals ovn-load-balancer problem "logical switches with load balancers: $WORLD_SUBNET (1)"
ovn-nbctl acl-add "$WORLD_SUBNET" to-lport 1000 ip4 allow-related
finds ovn-acl problem "switch $WORLD_SUBNET (1)"
ovn-nbctl acl-del "$WORLD_SUBNET"
well ovn-acl

echo "== the plugin"
echo '#!/bin/sh' > /opt/cni/bin/kube-ovn
heals plugin problem "is another one's"
mkdir -p /etc/kube-ovn-cni
echo '{"ofload": "warn"}' > /etc/kube-ovn-cni/config.json
heals node-config problem "is no setting"
ip netns del "${WORLD_NETNS[web]}" # a pod that goes without a DEL
heals records warning "whose network namespace"
kill "$WORLD_DAEMON_PID"
wait "$WORLD_DAEMON_PID" 2> /dev/null || true
finds daemon-socket problem "kube-ovn-daemon can't be reached"
ovs-appctl -t ovs-vswitchd exit
finds ovs-vswitchd problem "ovs-vswitchd"
ovs-appctl -t ovsdb-server exit
finds ovsdb-server problem "ovsdb-server can't be reached"

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
