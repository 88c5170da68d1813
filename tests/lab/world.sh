# Sourced in the guest: a node as the plugin finds it, with Open vSwitch, OVN, one SmartNIC in switchdev mode and pods.
#   world_start [KEY=VALUE...]      the SmartNIC (two PFs, ports of one card, WORLD_VFS=4 VFs each), Open vSwitch with these of
#                                   other_config, OVN with the logical switch ovn-default; sets WORLD_PFS
#   world_network [KEY=VALUE...]    only Open vSwitch and OVN
#   world_pod NAME MAC IP           what exists before a pod's CNI ADD: its logical switch port, its network namespace, its
#                                   annotations in the daemon's pods file; sets WORLD_NETNS[NAME] and WORLD_CONTAINER[NAME]
#   world_daemon EMULATOR [ARG...]  starts the emulator of kube-ovn-daemon
#   world_plugin EXECUTABLE         installs the plugin where a node has it
#   world_netconf NAD PCI           the plugin's stdin, made of a NetworkAttachmentDefinition's file as Multus makes it
#   world_cni ADD|DEL POD STDIN     calls the plugin as thick Multus does for the pod's eth0
#   world_snapshot                  prints all that an attachment may change and must bring back
# and the variables below.
# shellcheck shell=bash
# shellcheck source=tests/lab/ovs.sh
. "$LAB_DIR/ovs.sh"
# shellcheck source=tests/lab/ovn.sh
. "$LAB_DIR/ovn.sh"
# shellcheck source=tests/lab/nic.sh
. "$LAB_DIR/nic.sh"

export WORLD_NAMESPACE=default
export WORLD_PROVIDER=sriov.default.ovn
export WORLD_SUBNET=ovn-default WORLD_CIDR=10.16.0.0/16 WORLD_GATEWAY=10.16.0.1 WORLD_GATEWAY_MAC=02:00:00:00:ff:01
export WORLD_MTU=1400
export WORLD_SOCKET=/run/openvswitch/kube-ovn-daemon.sock
export WORLD_DIRECTORY=/run/world # logs, and what the emulator reads
export WORLD_PODS=$WORLD_DIRECTORY/pods.json WORLD_DAEMON_LOG=$WORLD_DIRECTORY/daemon.log
export WORLD_PFS=''
declare -A WORLD_NETNS=() WORLD_CONTAINER=()

# shellcheck disable=SC2120  # nothing of other_config is a valid choice
world_start() {
    local pf
    insmod "$LAB_SIMNIC" one_card=1 || return
    WORLD_PFS=$(nic_pfs | paste -sd' ')
    for pf in $WORLD_PFS; do
        nic_switchdev "$pf" "${WORLD_VFS:-4}" || return
        ip link set "$(nic_uplink "$pf")" up || return
    done
    world_network "$@"
}

# shellcheck disable=SC2120  # as above
world_network() {
    mkdir -p "$WORLD_DIRECTORY"
    echo '{}' > "$WORLD_PODS"
    ovn_start "$@" || return
    ovn_ls "$WORLD_SUBNET" "$WORLD_CIDR" "$WORLD_GATEWAY_MAC"
}

world_pod() {
    local name=$1 mac=$2 ip=$3 uuid
    # the logical switch port's name is the iface-id that the daemon gives the OVS port of a provider other than "ovn"
    # (kube-ovn's pkg/ovs PodNameToPortName)
    ovn_lsp "$WORLD_SUBNET" "$name.$WORLD_NAMESPACE.$WORLD_PROVIDER" "$mac" "$ip"
    # as containerd names them
    uuid=$(< /proc/sys/kernel/random/uuid)
    ip netns add "cni-$uuid"
    ip -n "cni-$uuid" link set lo up
    WORLD_NETNS[$name]=cni-$uuid
    WORLD_CONTAINER[$name]=$(sha256sum <<< "$uuid" | cut -d' ' -f1)
    # what kube-ovn-controller writes into the pod's annotations, and the subnet's spec
    jq --arg pod "$WORLD_NAMESPACE/$name" --arg provider "$WORLD_PROVIDER" --arg ip "$ip" --arg mac "$mac" \
        --arg cidr "$WORLD_CIDR" --arg gateway "$WORLD_GATEWAY" --arg subnet "$WORLD_SUBNET" --argjson mtu "$WORLD_MTU" \
        '.[$pod][$provider] = {
            $ip, $mac, $cidr, $gateway, $mtu, $subnet,
            default_route: true, gateway_check: true, routes: [], allocated: true, routed: true
        }' "$WORLD_PODS" > "$WORLD_PODS.part"
    mv "$WORLD_PODS.part" "$WORLD_PODS"
}

world_daemon() {
    local emulator=$1 ready=$WORLD_DIRECTORY/daemon.ready
    shift
    rm -f "$ready"
    "$emulator" --socket "$WORLD_SOCKET" --pods "$WORLD_PODS" --log "$WORLD_DAEMON_LOG" --ready-file "$ready" "$@" \
        > "$WORLD_DIRECTORY/daemon.output" 2>&1 &
    WORLD_DAEMON_PID=$!
    for _ in {1..100}; do
        [ -e "$ready" ] && return
        kill -0 "$WORLD_DAEMON_PID" 2> /dev/null || break
        sleep 0.1
    done
    echo "the daemon's emulator $emulator is not ready after 10 s: $(tail -n 3 "$WORLD_DIRECTORY/daemon.output")"
    return 1
}

world_plugin() {
    install -D -m 755 "$1" /opt/cni/bin/kube-ovn
}

# Multus adds the device's ID under both keys to each plugin of the list; libcni then adds the list's name and version and
# marshals a map, whose keys come out sorted. spec.config is the last key of our file, a block of JSON.
world_netconf() {
    sed '1,/^  config: |$/d' "$1" |
        jq -cS --arg device "$2" '.plugins[0] + {name, cniVersion, deviceID: $device, pciBusID: $device}'
}

world_cni() {
    local verb=$1 pod=$2 stdin=$3 container=${WORLD_CONTAINER[$2]} uid
    uid=${container:0:8}-${container:8:4}-${container:12:4}-${container:16:4}-${container:20:12}
    env -i PATH="$PATH" \
        CNI_COMMAND="$verb" \
        CNI_CONTAINERID="$container" \
        CNI_NETNS="/var/run/netns/${WORLD_NETNS[$pod]}" \
        CNI_IFNAME=eth0 \
        CNI_PATH=/opt/cni/bin \
        CNI_ARGS="IgnoreUnknown=true;K8S_POD_NAMESPACE=$WORLD_NAMESPACE;K8S_POD_NAME=$pod;K8S_POD_INFRA_CONTAINER_ID=$container;K8S_POD_UID=$uid" \
        /opt/cni/bin/kube-ovn <<< "$stdin"
}

world_snapshot() {
    local pf index count netdev name description
    local -a vfs admin representors
    local -A netdevs=()
    while read -r name description; do
        netdevs[$name]="$name $description"
    done < <(ip -j -d link show | jq -r '.[] |
        "\(.ifname) mac \(.address) mtu \(.mtu) \(if .flags | index("UP") then "up" else "down" end) " +
        "master \(.master // "none") alias \(.ifalias // "none")"')
    for pf in $WORLD_PFS; do
        nic_read count "$pci/$pf/sriov_numvfs"
        name=$(nic_uplink "$pf")
        echo "PF $pf: ${netdevs[$name]}"
        mapfile -t vfs < <(readlink "$pci/$pf"/virtfn?)
        mapfile -t admin < <(ip link show dev "$name" | sed -n 's/^ *vf [0-9]* *//p')
        representors=()
        while read -r index name; do
            representors[index]=$name
        done < <(nic_representors "$pf")
        for ((index = 0; index < count; index++)); do
            echo "VF ${vfs[index]##*/}, $index of $pf:"
            for netdev in "$pci/$pf/virtfn$index"/net/*; do
                # the pattern itself when the VF is in another network namespace
                echo "    netdev      ${netdevs[${netdev##*/}]:-not in this network namespace}"
            done
            echo "    admin       ${admin[index]:-none}"
            echo "    representor ${netdevs[${representors[index]:-none}]:-missing}"
        done
    done
    echo "OVS interfaces:"
    ovs-vsctl -f csv --no-headings --columns=name,type,external_ids,ingress_policing_rate,mtu_request list Interface |
        sort | sed 's/^/    /'
    echo "OVS QoS: $(ovs-vsctl --columns=type,other_config list QoS) queues: $(ovs-vsctl --columns=other_config list Queue)"
}
