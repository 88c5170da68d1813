#!/usr/bin/env bash
# ovn-guest.sh KUBE_OVN EMULATOR: VF pods, attached by the plugin, through a real OVN: what is offloaded and what is not, and what
# `kube-ovn-offload flows`, which lies beside KUBE_OVN, says of each. A guest of its own, since it changes the network that the pods are in.
# shellcheck disable=SC2317  # check calls functions by their names
set -uo pipefail
# shellcheck source=tests/lab/world.sh
. "$LAB_DIR/world.sh"

kube_ovn=$1
emulator=$2
tool=$(dirname "$kube_ovn")/kube-ovn-offload
work=/run/ovn-scenarios
passed=0 failed=0
declare -A ip=([p0]=10.16.0.10 [p1]=10.16.0.11 [p2]=10.17.0.12)
declare -A representor=()

say() {
    printf '\n=== %s  [guest up for %s s]\n' "$*" "$(cut -d' ' -f1 /proc/uptime)"
}

# check DESCRIPTION COMMAND...: the output is shown when it fails
check() {
    local what=$1 output
    shift
    if output=$("$@" 2>&1); then
        passed=$((passed + 1))
        echo "ok      $what"
        return
    fi
    failed=$((failed + 1))
    echo "NOT OK  $what"
    printf '        %s\n' "${output//$'\n'/$'\n'        }"
}

# must COMMAND...: nothing makes sense without it. Not in a subshell, as it sets variables.
must() {
    "$@" > "$work/must" 2>&1 || {
        echo "NOT OK  $*: $(< "$work/must")"
        tail -n 20 "$WORLD_DAEMON_LOG" "$WORLD_DIRECTORY/daemon.output" 2> /dev/null
        echo "$passed passed, $((failed + 1)) failed"
        exit 1
    }
}

port_of() {
    echo "$1.$WORLD_NAMESPACE.$WORLD_PROVIDER"
}

in_pod() {
    ip netns exec "${WORLD_NETNS[$1]}" "${@:2}"
}

# pod NAME MAC VF: the logical port, the sandbox, and the plugin's ADD
pod() {
    local name=$1 vf=$3
    must world_pod "$name" "$2" "${ip[$name]}"
    must world_cni ADD "$name" "$(world_netconf conf/mellanox/network.yaml "$vf")"
    representor[$name]=${WORLD_CONTAINER[$name]:0:12}_h
    must ovn_wait "${representor[$name]}" 120
}

# what a change of OVN's needs until it is in the bridge
settle() {
    ovn-nbctl --wait=hv --timeout=120 sync
}

# the flows of what follows only
forget() {
    settle
    ovs-appctl revalidator/purge
}

ping_from() { # POD ADDRESS [COUNT]
    in_pod "$1" ping -q -c "${3:-3}" -i 0.2 -W 2 "$2"
}

# tcp FROM TO [ADDRESS PORT]: 300 kB, to the pod itself or by way of another address
tcp() {
    local from=$1 to=$2 address=${3:-${ip[$2]}} port=${4:-5000} server
    rm -f "$work/received"
    ip netns exec "${WORLD_NETNS[$to]}" timeout 100 socat -u TCP4-LISTEN:5000,reuseaddr "CREATE:$work/received" &
    server=$!
    in_pod "$from" timeout 90 socat -u "FILE:$work/sent" "TCP4:$address:$port,connect-timeout=20,retry=100,interval=0.2" || {
        kill "$server"
        return 1
    }
    wait "$server"
    cmp "$work/sent" "$work/received"
}

# what the tool says, once hardware counters had a second to come
look() {
    sleep 1.2
    "$tool" flows -o json > "$work/flows.json"
}

# verdicts FILTER: of the flows that this jq filter lets through, how many are in which state for which reason, as
# "2 hardware, 1 kernel slow-path". A question mark: it was concluded.
verdicts() {
    jq -r "[.flows[] | select($1) | .state + (if .reason then \" \" + .reason.code +
        (if .reason.likely then \"?\" else \"\" end) else \"\" end)] | group_by(.) |
        map(\"\(length) \(.[0])\") | join(\", \")" "$work/flows.json"
}

# of IPv4 from and to pods: not what hosts and gateways chat about
pods='(.match | contains("eth_type(0x0800)")) and .from.pod != null'

# expect WHAT: the verdicts on the pods' IPv4 flows without their number
expect() {
    local found filter=${2:-$pods}
    found=$(verdicts "$filter" | sed -E 's/(^|, )[0-9]+ /\1/g')
    [ "$found" = "$1" ] && return
    echo "flows: $found; expected: $1"
    "$tool" flows --wide --limit 0
    return 1
}

# offloaded PERCENT: how much of all bytes at least
offloaded() {
    jq -e --argjson least "$1" '.traffic.total.offloaded_percent >= $least' "$work/flows.json" && return
    jq -c .traffic "$work/flows.json"
    return 1
}

nothing_offloaded() {
    jq -e '.traffic.total | .hardware_bytes == 0 and .bytes > 300000' "$work/flows.json" && return
    jq -c .traffic "$work/flows.json"
    return 1
}

says() { # TEXT: in the table for people
    "$tool" flows > "$work/table" && tr -s ' \n' ' ' < "$work/table" | grep -qF "$1" && return
    cat "$work/table"
    return 1
}

# packets of IPv4 on a pod's representor while a command runs: what is in hardware is not seen there
seen_on() {
    local dump
    tcpdump -i "${representor[$1]}" -nn -l --immediate-mode ip > "$work/capture" 2> "$work/capture.stderr" &
    dump=$!
    for _ in {1..50}; do
        grep -q 'listening on' "$work/capture.stderr" && break
        sleep 0.1
    done
    "${@:2}" > /dev/null
    sleep 0.3
    kill -INT "$dump"
    wait "$dump"
    grep -c ' IP ' "$work/capture"
}

none_on() {
    [ "$(seen_on "$@")" = 0 ] || {
        cat "$work/capture"
        return 1
    }
}

some_on() {
    [ "$(seen_on "$@")" -gt 0 ]
}

# mirror_to PORT [SETTING...]: all of p0's packets, to a new port of br-int
mirror_to() {
    ovs-vsctl add-port br-int "$1" -- set Interface "$1" external_ids:mirror=true "${@:2}" \
        -- --id=@out get Port "$1" \
        -- --id=@from get Port "${representor[p0]}" \
        -- --id=@mirror create Mirror name="$1" select_src_port=@from select_dst_port=@from output_port=@out \
        -- set Bridge br-int mirrors=@mirror > /dev/null
}

mkdir -p "$work"
head -c 300000 /dev/urandom > "$work/sent"
sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1

say "a node with OVN, two switches on a router, and three pods with a VF each"
WORLD_VFS=4
# a slow machine takes its time between traffic and a look at its flows
must world_start max-idle=300000
ovn_ls ovn-second 10.17.0.0/16 02:00:00:00:17:01
must world_daemon "$emulator"
world_plugin "$kube_ovn"
pf=${WORLD_PFS%% *}
uplink=$(nic_uplink "$pf")
pod p0 02:00:00:10:00:10 "$(nic_vf "$pf" 0)"
pod p1 02:00:00:10:00:11 "$(nic_vf "$pf" 1)"
WORLD_SUBNET=ovn-second WORLD_CIDR=10.17.0.0/16 WORLD_GATEWAY=10.17.0.1 pod p2 02:00:00:10:00:12 "$(nic_vf "$pf" 2)"

say "L2"
forget
for name in p0 p1; do
    in_pod $name ip neigh flush dev eth0
done
check "ping" ping_from p0 "${ip[p1]}"
check "TCP" tcp p0 p1
look
check "every IPv4 flow is in hardware" expect hardware
check "nearly all bytes are offloaded" offloaded 99
check "ARP takes the slow path" expect "kernel slow-path" '.match | contains("eth_type(0x0806)")'
# a third one sends IPv6's own messages when it likes
check "pods have their names" jq -e '[.pods[] | "\(.pod.namespace)/\(.pod.name) \(.pod.interface)"] | contains(["default/p0 eth0", "default/p1 eth0"])' "$work/flows.json"
check "nothing of a ping is on the representor" none_on p0 ping_from p0 "${ip[p1]}"
check "one pod, as a test" "$tool" flows --pod default/p0 --expect 99
check "a pod that is not there" bash -c "'$tool' flows --pod default/other 2> /dev/null; [ \$? = 3 ]"

say "port security"
for name in p0 p1; do
    ovn-nbctl lsp-set-port-security "$(port_of $name)" "$(in_pod $name cat /sys/class/net/eth0/address) ${ip[$name]}"
done
in_pod p0 ip addr add 10.16.0.77/16 dev eth0
forget
check "TCP" tcp p0 p1
check "a spoofed source is lost" bash -c "! ip netns exec ${WORLD_NETNS[p0]} ping -q -c 3 -i 0.2 -W 1 -I 10.16.0.77 ${ip[p1]}"
look
check "every IPv4 flow is in hardware, the drop too" expect hardware
check "the drop is a flow of p0's" jq -e '[.flows[] | select(.actions == "drop" and .from.pod.name == "p0" and .state == "hardware")] | length > 0' "$work/flows.json"
in_pod p0 ip addr del 10.16.0.77/16 dev eth0
for name in p0 p1; do
    ovn-nbctl lsp-set-port-security "$(port_of $name)"
done

say "router"
forget
check "ping" ping_from p0 "${ip[p2]}"
check "TCP" tcp p0 p2
look
check "every IPv4 flow is in hardware" expect hardware
check "they rewrite headers" jq -e '[.flows[] | select(.state == "hardware" and (.actions | contains("set(ipv4(ttl=63))")))] | length >= 2' "$work/flows.json"
check "nothing of a ping is on the representor" none_on p0 ping_from p0 "${ip[p2]}"
forget
check "ping to the gateway" ping_from p0 "$WORLD_GATEWAY"
in_pod p0 ping -q -c 1 -t 1 -W 1 "${ip[p2]}" > /dev/null
look
check "ovs-vswitchd answers pings to the gateway, ovn-controller an ended TTL" expect "kernel controller, kernel slow-path"

say "stateless ACLs"
ovn-nbctl acl-add "$WORLD_SUBNET" to-lport 1000 "ip4 && tcp.dst == 5001" drop
ovn-nbctl acl-add "$WORLD_SUBNET" to-lport 900 ip4 allow-stateless
ovn-nbctl acl-add "$WORLD_SUBNET" from-lport 900 ip4 allow-stateless
forget
check "TCP" tcp p0 p1
check "TCP to a port that is dropped" bash -c "! ip netns exec ${WORLD_NETNS[p0]} timeout 5 socat -u FILE:$work/sent TCP4:${ip[p1]}:5001,connect-timeout=2 2> /dev/null"
look
check "every IPv4 flow is in hardware, the drop too" expect hardware
ovn-nbctl acl-del "$WORLD_SUBNET"

say "stateful ACLs"
ovn-nbctl acl-add "$WORLD_SUBNET" to-lport 1000 ip4 allow-related
forget
check "TCP" tcp p0 p1
check "ping" ping_from p0 "${ip[p1]}"
look
check "this kernel keeps conntrack out of tc" expect "kernel recirculation"
check "nothing is offloaded" nothing_offloaded
check "the remedy is named" says "a kernel with CONFIG_NET_TC_SKB_EXT=y"
check "ICMP through conntrack is no proof" says "of these flows are ICMP through conntrack, which no NIC tracks: they prove nothing"
check "a ping is on the representor" some_on p0 ping_from p0 "${ip[p1]}"
check "as a test" bash -c "'$tool' flows --pod default/p0 --expect 50 > /dev/null; [ \$? = 1 ]"
ovn-nbctl acl-del "$WORLD_SUBNET"

say "load balancer"
ovn-nbctl lb-add lb1 10.96.0.10:80 "${ip[p1]}:5000,${ip[p2]}:5000" tcp
ovn-nbctl ls-lb-add "$WORLD_SUBNET" lb1
forget
check "TCP beside it" tcp p0 p1
look
check "a load balancer sends other traffic through conntrack, too" expect "kernel recirculation"
check "nothing is offloaded" nothing_offloaded
# either backend may be chosen
for name in p1 p2; do
    ip netns exec "${WORLD_NETNS[$name]}" timeout 300 socat -u TCP4-LISTEN:5000,reuseaddr,fork OPEN:/dev/null &
done
vip_answers() {
    for _ in {1..6}; do
        in_pod p0 timeout 60 socat -u "FILE:$work/sent" TCP4:10.96.0.10:80,connect-timeout=20 || return
    done
}
forget
check "TCP to its address" vip_answers
look
check "the backend is chosen by dp_hash" expect "kernel dp-hash, kernel recirculation"
check "selection_fields are named" says "selection_fields=ip_src,ip_dst,tp_src,tp_dst"
ovn-nbctl set Load_Balancer lb1 selection_fields=ip_src,ip_dst,tp_src,tp_dst
forget
check "TCP to its address, with selection_fields" vip_answers
look
check "no dp_hash any more" expect "kernel recirculation"
# shellcheck disable=SC2046  # one word each
kill $(jobs -p | grep -v "^$WORLD_DAEMON_PID\$")
ovn-nbctl ls-lb-del "$WORLD_SUBNET"
ovn-nbctl lb-del lb1

say "mirror"
mirror_to mirror0 type=internal
ip link set mirror0 up
forget
check "TCP" tcp p0 p1
look
check "a mirror to the host keeps flows in software" expect "tc mirror?"
check "nothing is offloaded" nothing_offloaded
to=$(nic_representor "$pf" 3)
ip link set "$to" up
ovs-vsctl clear Bridge br-int mirrors -- del-port mirror0
mirror_to "$to"
forget
check "TCP" tcp p0 p1
look
check "a mirror to a VF is in hardware" expect hardware
check "with two outputs" jq -e '[.flows[] | select(.state == "hardware" and (.to | length) == 2)] | length >= 2' "$work/flows.json"
ovs-vsctl clear Bridge br-int mirrors -- del-port "$to"

say "a representor that takes no flows from tc"
forget # a NIC may refuse it while it has flows
ethtool -K "${representor[p0]}" hw-tc-offload off
check "TCP" tcp p0 p1
look
check "what comes from it stays in tc" expect "tc hw-tc-offload-off" "$pods and .from.pod.name == \"p0\""
check "what goes to it does not" expect hardware "$pods and .from.pod.name == \"p1\""
check "the remedy is named" says "ethtool -K ${representor[p0]} hw-tc-offload on"
ethtool -K "${representor[p0]}" hw-tc-offload on

say "underlay VLAN"
ip netns add wire
ip link set wire0 netns wire
ip -n wire link set wire0 up
ip -n wire link add link wire0 name wire.100 type vlan id 100
ip -n wire addr add 10.18.0.200/16 dev wire.100
ip -n wire link set wire.100 up
ovs-vsctl add-br br-provider -- add-port br-provider "$uplink" \
    -- set Open_vSwitch . external_ids:ovn-bridge-mappings=provider:br-provider
ip link set br-provider up
ovn-nbctl ls-add underlay -- set Logical_Switch underlay other_config:subnet=10.18.0.0/16 \
    -- lsp-add underlay localnet.underlay -- lsp-set-type localnet.underlay localnet -- lsp-set-addresses localnet.underlay unknown \
    -- lsp-set-options localnet.underlay network_name=provider -- set Logical_Switch_Port localnet.underlay tag=100
settle
ip[p3]=10.18.0.13
WORLD_SUBNET=underlay WORLD_CIDR=10.18.0.0/16 WORLD_GATEWAY=10.18.0.200 pod p3 02:00:00:10:00:13 "$(nic_vf "$pf" 3)"
WORLD_NETNS[wire]=wire
ip[wire]=10.18.0.200
forget
check "ping" ping_from p3 10.18.0.200
check "TCP to the wire" tcp p3 wire
check "TCP from the wire" tcp wire p3
look
check "to the wire: in hardware" expect hardware "$pods and .from.pod.name == \"p3\""
check "from the wire: the uplink takes no flows from tc" expect "tc hw-tc-offload-off" \
    '.from.kind == "uplink" and any(.to[]; .pod.name == "p3") and (.match | contains("eth_type(0x0800)"))'
check "the remedy is named" says "ethtool -K $uplink hw-tc-offload on"
ethtool -K "$uplink" hw-tc-offload on
forget
check "TCP to the wire" tcp p3 wire
check "TCP from the wire" tcp wire p3
look
check "to the wire: in hardware" expect hardware "$pods and .from.pod.name == \"p3\""
check "from the wire: in hardware" expect hardware \
    '.from.kind == "uplink" and any(.to[]; .pod.name == "p3") and (.match | contains("eth_type(0x0800)"))'
check "nearly all bytes are offloaded" offloaded 99

say "rates"
in_pod p3 ping -q -i 0.05 -w 30 -s 1000 10.18.0.200 > /dev/null &
traffic=$!
"$tool" flows --rates 3 --pod default/p3 -o json > "$work/flows.json"
check "a rate, of which all is offloaded" jq -e '.traffic.recent | .bits_per_second > 50000 and .offloaded_percent >= 99' "$work/flows.json"
kill "$traffic"

say "the plugin takes the pods' VFs back"
for name in p0 p1 p2 p3; do
    check "DEL of $name" world_cni DEL "$name" "$(world_netconf conf/mellanox/network.yaml "$(nic_vf "$pf" "${name#p}")")"
done
check "no port of a pod is left" bash -c "! ovs-vsctl list-ports br-int | grep _h\$"

say end
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
