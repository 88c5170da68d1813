#!/usr/bin/env bash
# demo-guest.sh KUBE_OVN EMULATOR: the guest's part of scripts/demo, run from the repository's top. Two pods get a VF each, talk to
# each other, and are taken down again; each thing that must be so is one check.
# No `set -e`: a check that fails is counted and shown; after one that nothing can follow, the verdict comes at once.
# shellcheck disable=SC2317  # check calls functions by their names
set -uo pipefail
# shellcheck source=tests/lab/world.sh
. "$LAB_DIR/world.sh"

kube_ovn=$1
emulator=$2
pods=(pod1 pod2)
declare -A ip=([pod1]=10.16.0.11 [pod2]=10.16.0.12)
declare -A mac=([pod1]=02:00:00:00:00:11 [pod2]=02:00:00:00:00:12)
declare -A index=([pod1]=0 [pod2]=1) # of the VF
declare -A vf=() stdin=() representor=()
work=/run/demo
verdict=()
failures=0

step() {
    printf '\n=== %s  [guest up for %s s]\n' "$*" "$(cut -d' ' -f1 /proc/uptime)"
}

# check DESCRIPTION COMMAND...: the command's output is shown when it fails
check() {
    local description=$1 output
    shift
    if output=$("$@" 2>&1); then
        verdict+=("ok      $description")
        return 0
    fi
    verdict+=("NOT OK  $description")
    failures=$((failures + 1))
    echo "NOT OK: $description"
    [ -z "$output" ] || printf '%s\n' "$output" | sed 's/^/    /'
    return 1
}

finish() {
    if [ "$failures" != 0 ]; then
        step "What the daemon saw"
        tail -n 40 "$WORLD_DAEMON_LOG" "$WORLD_DIRECTORY/daemon.output" 2> /dev/null
    fi
    step "Verdict"
    printf '%s\n' "${verdict[@]}"
    if [ "$failures" = 0 ]; then
        printf '\nDEMO PASSED (%d checks)\n' ${#verdict[@]}
        exit 0
    fi
    printf '\nDEMO FAILED (%d of %d checks)\n' "$failures" ${#verdict[@]}
    exit 1
}

# check, or nothing that follows makes sense
must() {
    check "$@" || finish
}

in_pod() {
    ip netns exec "${WORLD_NETNS[$1]}" "${@:2}"
}

# a snapshot that shows nothing would be equal to another
snapshot_is_complete() {
    [ "$(grep -c '^VF' "$1")" = $((2 * WORLD_VFS)) ] && ! grep -q -e missing -e 'not in this' "$1" &&
        grep -q '^ *br-int,' "$1" && return
    cat "$1"
    return 1
}

# --- ADD

add() {
    world_cni ADD "$1" "${stdin[$1]}" > "$work/$1.result" 2> "$work/$1.stderr" && return
    cat "$work/$1.result" "$work/$1.stderr"
    return 1
}

# the result of version 0.3.1: the representor, then the pod's interface
result_is_right() {
    local pod=$1
    jq -e --arg netns "/var/run/netns/${WORLD_NETNS[$pod]}" --arg mac "${mac[$pod]}" --arg address "${ip[$pod]}/16" \
        --arg representor "${representor[$pod]}" '
        .cniVersion == "0.3.1" and
        .interfaces[0].name == $representor and (.interfaces[0] | has("sandbox") | not) and
        .interfaces[1].name == "eth0" and .interfaces[1].sandbox == $netns and
        (.interfaces[1].mac | ascii_downcase) == $mac and
        .ips[0].address == $address and .ips[0].interface == 1' "$work/$pod.result" > /dev/null && return
    cat "$work/$pod.result"
    return 1
}

# the kernel's word for it: the pod's eth0 is a netdev of this PCI function
eth0_is_the_vf() {
    local found
    found=$(basename "$(in_pod "$1" readlink /sys/class/net/eth0/device)")
    [ "$found" = "${vf[$1]}" ] && return
    echo "eth0 of $1 is a netdev of ${found:-nothing}, expected ${vf[$1]}"
    return 1
}

eth0_is_configured() {
    local found expected="${mac[$1]} $WORLD_MTU ${ip[$1]}/16"
    found=$(in_pod "$1" ip -j -4 addr show dev eth0 |
        jq -r --arg mac "$(in_pod "$1" cat /sys/class/net/eth0/address)" \
            '.[0] | "\($mac) \(.mtu) \(.addr_info[0].local)/\(.addr_info[0].prefixlen)"')
    [ "$found" = "$expected" ] && return
    echo "eth0 of $1 has $found, expected $expected"
    return 1
}

show_attachments() {
    local pod pf
    pf=${WORLD_PFS%% *}
    {
        echo "POD|NETNS|INTERFACE|IP|VF|INDEX|PF|UPLINK|REPRESENTOR"
        for pod in "${pods[@]}"; do
            echo "$WORLD_NAMESPACE/$pod|${WORLD_NETNS[$pod]}|eth0|${ip[$pod]}|${vf[$pod]}|${index[$pod]}|$pf|$(nic_uplink "$pf")|${representor[$pod]}"
        done
    } | column -t -s '|'
}

show_ovs_ports() {
    local pod
    for pod in "${pods[@]}"; do
        ovs-vsctl --columns=name,ofport,external_ids find Interface name="${representor[$pod]}"
        echo
    done
}

port_belongs_to() {
    local found expected
    expected="$1.$WORLD_NAMESPACE.$WORLD_PROVIDER true"
    found=$(ovs-vsctl get Interface "${representor[$1]}" external_ids:iface-id external_ids:ovn-installed | tr -d '"' | paste -sd' ')
    [ "$found" = "$expected" ] && return
    echo "iface-id and ovn-installed of ${representor[$1]}: $found, expected $expected"
    return 1
}

# --- traffic

# In both, the server has an end of its own: whatever becomes of the client, check's pipe must be closed some time.
send_tcp() {
    local from=$1 to=$2 server
    rm -f "$work/received"
    ip netns exec "${WORLD_NETNS[$to]}" timeout 40 socat -u TCP4-LISTEN:5001,reuseaddr "CREATE:$work/received" &
    server=$!
    in_pod "$from" timeout 30 socat -u "FILE:$work/sent" "TCP4:${ip[$to]}:5001,retry=20,interval=0.1" || {
        kill "$server"
        return 1
    }
    wait "$server"
    cmp "$work/sent" "$work/received"
}

# to an echo server and back: each datagram is numbered
send_udp() {
    local from=$1 to=$2 number server
    ip netns exec "${WORLD_NETNS[$to]}" timeout 40 socat UDP4-LISTEN:5002,reuseaddr PIPE &
    server=$!
    sleep 0.5
    for number in {1..50}; do
        echo "datagram $number"
        sleep 0.02
    done | tee "$work/datagrams" | in_pod "$from" timeout 30 socat -t 2 - "UDP4:${ip[$to]}:5002" > "$work/echoed"
    kill "$server"
    cmp "$work/datagrams" "$work/echoed"
}

ping_all() {
    in_pod "$1" ping -q -c "$3" -i 0.1 -W 2 "${ip[$2]}" | tee -a "$work/ping" | grep -q ', 0% packet loss' && return
    tail -n 4 "$work/ping"
    return 1
}

declare -A capture=()
start_captures() {
    local pod
    for pod in "${pods[@]}"; do
        # only IPv4: ARP and IPv6 neighbour discovery are answered by OVN, in software, by design
        tcpdump -i "${representor[$pod]}" -nn -l --immediate-mode ip > "$work/capture.$pod" 2> "$work/capture.$pod.stderr" &
        capture[$pod]=$!
    done
    for pod in "${pods[@]}"; do
        for _ in {1..50}; do
            grep -q 'listening on' "$work/capture.$pod.stderr" && break
            sleep 0.1
        done
    done
}

stop_captures() {
    local pod
    sleep 0.3
    for pod in "${pods[@]}"; do
        kill -INT "${capture[$pod]}"
        wait "${capture[$pod]}"
    done
}

captured() {
    grep -c ' IP ' "$work/capture.$1"
}

captured_some() {
    [ "$(captured "$1")" -gt 0 ]
}

captured_nothing() {
    [ "$(captured "$1")" = 0 ] && return
    head -n 5 "$work/capture.$1"
    return 1
}

received_by_eth0() {
    in_pod "$1" cat /sys/class/net/eth0/statistics/rx_packets
}

# --- offloaded flows

# the dump without flow ids and without the fields that match anything
offloaded_flows() {
    ovs-appctl dpctl/dump-flows -m --names type=offloaded |
        sed -E 's/ufid:[^ ]+, //; s/[a-z_]+\(0(x0)?\/0(x0)?\),?//g; s/dst=00:00:00:00:00:00\/00:00:00:00:00:00,?//g'
}

# flow_is_offloaded FROM TO
flow_is_offloaded() {
    grep -F "in_port(${representor[$1]})" "$work/flows" | grep -F 'eth_type(0x0800)' |
        grep -F 'offloaded:yes' | grep -F 'dp:tc' | grep -q "actions:${representor[$2]}\$" && return
    ovs-appctl dpctl/dump-flows -m --names
    return 1
}

show_hardware_counters() {
    local pod
    for pod in "${pods[@]}"; do
        echo "tc -s filter show dev ${representor[$pod]} ingress:"
        tc -s filter show dev "${representor[$pod]}" ingress | grep -E 'in_hw|Sent hardware' | sed 's/^[[:space:]]*/    /'
    done
}

# --- the story

mkdir -p "$work"
head -c 4194304 /dev/urandom > "$work/sent"

step "A node: Open vSwitch with hw-offload=true, OVN, a NIC of two ports in switchdev mode, kube-ovn-daemon's emulator, two pods"
WORLD_VFS=2 # of each of the two PFs
# shellcheck disable=SC2119
world_start || {
    echo "the lab's world did not start"
    exit 1
}
pf=${WORLD_PFS%% *}
for pod in "${pods[@]}"; do
    world_pod "$pod" "${mac[$pod]}" "${ip[$pod]}"
    vf[$pod]=$(nic_vf "$pf" "${index[$pod]}")
    stdin[$pod]=$(world_netconf conf/mellanox/network.yaml "${vf[$pod]}")
done
world_plugin "$kube_ovn"
world_daemon "$emulator" || exit 1
devlink dev eswitch show "pci/$pf"
ovs-vsctl get Open_vSwitch . other_config
world_snapshot > "$work/before"
check "snapshot taken of $(grep -c '^VF' "$work/before") VFs, all in the host's network namespace" \
    snapshot_is_complete "$work/before"

for pod in "${pods[@]}"; do
    step "CNI ADD for $WORLD_NAMESPACE/$pod, as thick Multus does it"
    echo "CNI_COMMAND=ADD CNI_CONTAINERID=${WORLD_CONTAINER[$pod]} CNI_NETNS=/var/run/netns/${WORLD_NETNS[$pod]} CNI_IFNAME=eth0"
    echo "stdin:  ${stdin[$pod]}"
    must "ADD of $pod succeeds" add "$pod"
    cat "$work/$pod.stderr"
    echo "stdout: $(jq -c . "$work/$pod.result")"
    representor[$pod]=$(nic_representor "$pf" "${index[$pod]}")
    check "result of $pod names the representor, then eth0 with its netns, MAC and IP" result_is_right "$pod"
    check "eth0 of $pod is VF ${vf[$pod]}" eth0_is_the_vf "$pod"
    check "eth0 of $pod has its MAC, MTU and IP" eth0_is_configured "$pod"
    check "OVS port of $pod has its iface-id, and OVN has installed its flows" port_belongs_to "$pod"
done

step "The attachments"
show_attachments
echo
show_ovs_ports

step "Traffic between the pods"
echo "(ICMP alone would prove nothing where connection tracking is in the path: TCP and UDP could still fail. Here none is.)"
start_captures
check "ICMP: pod1 to pod2, 10 of 10" ping_all pod1 pod2 10
check "ICMP: pod2 to pod1, 10 of 10" ping_all pod2 pod1 10
check "ICMP: pod1 to its gateway $WORLD_GATEWAY" in_pod pod1 ping -q -c 2 -W 2 "$WORLD_GATEWAY"
check "TCP: 4 MiB from pod1 to pod2 arrive unchanged" send_tcp pod1 pod2
check "TCP: 4 MiB from pod2 to pod1 arrive unchanged" send_tcp pod2 pod1
check "UDP: 50 datagrams from pod1 to pod2 and back" send_udp pod1 pod2
stop_captures
cat "$work/ping"
check "the first packets missed the NIC's table and were seen on pod1's representor (so the capture works)" captured_some pod1

step "The same again with the flows in place: what do the representors see?"
in_pod pod1 ping -q -c 3 -i 0.2 "${ip[pod2]}" > /dev/null # Open vSwitch takes a flow away after 10 s without a packet
before=$(received_by_eth0 pod2)
start_captures
check "ICMP again, 20 of 20" ping_all pod1 pod2 20
check "TCP again, 4 MiB" send_tcp pod1 pod2
stop_captures
echo "eth0 of pod2 received $(($(received_by_eth0 pod2) - before)) packets; of IPv4, $(captured pod1) were seen on ${representor[pod1]} and $(captured pod2) on ${representor[pod2]}"
for pod in "${pods[@]}"; do
    check "representor of $pod is silent while traffic flows" captured_nothing "$pod"
done

step "ovs-appctl dpctl/dump-flows -m type=offloaded (fields that match anything are left out)"
offloaded_flows > "$work/flows"
cat "$work/flows"
echo
show_hardware_counters
check "flow pod1 to pod2 is offloaded:yes, dp:tc" flow_is_offloaded pod1 pod2
check "flow pod2 to pod1 is offloaded:yes, dp:tc" flow_is_offloaded pod2 pod1

step "CNI DEL for both, with the same environment and stdin (Multus sends no prevResult for 0.3.1)"
for pod in "${pods[@]}"; do
    check "DEL of $pod succeeds" world_cni DEL "$pod" "${stdin[$pod]}"
    check "eth0 of $pod is gone" test "$(in_pod "$pod" ls /sys/class/net)" = lo
done

step "Before and after"
world_snapshot > "$work/after"
cat "$work/after"
check "every VF, MAC, MTU, admin MAC, representor and OVS port is as before" diff "$work/before" "$work/after"
finish
