#!/usr/bin/env bash
# node-guest.sh KUBE_OVN EMULATOR: from a NIC in legacy mode without VFs to pods whose traffic is offloaded, and back, by our tools
# only; and what kube-ovn-offload refuses on the way. A guest of its own, since it begins with a bare NIC.
set -euo pipefail
# shellcheck source=tests/lab/world.sh
. "$LAB_DIR/world.sh"
# shellcheck source=tests/support/check.sh
. "$LAB_DIR/../support/check.sh"
# shellcheck source=tests/lab/boot.sh
. "$LAB_DIR/boot.sh"

kube_ovn=$1 emulator=$2
work=$(mktemp -d)
check_said=$work/output
# where a node has it; and in memory, since it is started a hundred times
install -D "$(dirname "$kube_ovn")/kube-ovn-offload" /usr/local/bin/kube-ovn-offload
tool=/usr/local/bin/kube-ovn-offload

same() { # GOT EXPECTED
    [ "$1" = "$2" ] || {
        printf '        found %s\n        expected %s\n' "$1" "$2"
        return 1
    }
}

has() { # FILE TEXT...
    local file=$1 text
    shift
    for text in "$@"; do
        grep -qF -- "$text" "$file" || {
            echo "        no \"$text\" in:"
            sed 's/^/        /' "$file"
            return 1
        }
    done
}

# tool STATUS ARGUMENT...: how it must end; what it says is in $work/out and $work/err
tool() {
    local status=$1 ended=0
    shift
    "$tool" "$@" > "$work/out" 2> "$work/err" < /dev/null || ended=$?
    [ "$ended" = "$status" ] || {
        echo "        $* ended with $ended, expected $status"
        sed 's/^/        /' "$work/out" "$work/err"
        return 1
    }
}

# nic: all that `node prepare` can change. Few processes: under emulation each costs.
nic() {
    local pf netdev vf count flags mode words
    for pf in $WORLD_PFS; do
        read -r count < "$pci/$pf/sriov_numvfs"
        read -ra words < <(devlink dev eswitch show "pci/$pf")
        echo "$pf $count ${words[2]}"
        for netdev in "$pci/$pf"/net/*; do
            read -r flags < "$netdev/flags"
            mode=$(ethtool -k "${netdev##*/}")
            mode=${mode##*hw-tc-offload: }
            echo "    ${netdev##*/} up $((flags & 1)) hw-tc-offload ${mode%%[!a-z]*}"
        done
        for vf in "$pci/$pf"/virtfn*; do
            [ ! -e "$vf" ] || echo "    ${vf##*/} $(readlink "$vf/driver" || echo "no driver")"
        done
    done
}

# refused STATUS TEXT ARGUMENT...: one line that says it, nothing on stdout, and all as in $now
refused() {
    local status=$1 text=$2
    shift 2
    tool "$status" "$@" && has "$work/err" "$text" && same "$(wc -l < "$work/err")" 1 && same "$(wc -c < "$work/out")" 0 &&
        same "$(nic)" "$now"
}

# leaves STATE COMMAND...: afterwards all is so
leaves() {
    local state=$1
    shift
    "$@" && same "$(nic)" "$state"
}

sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1
insmod "$LAB_SIMNIC" one_card=1 rep_hw_tc=0
WORLD_PFS=$(nic_pfs | paste -sd' ')
read -r pf other <<< "$WORLD_PFS"
uplink=$(nic_uplink "$pf")
other_uplink=$(nic_uplink "$other")
bare=$(nic)
now=$bare
echo "$bare"

# --- what is refused

check "no such netdev" refused 3 "no netdev nosuch0 on this node" node prepare --pf nosuch0 --vfs 4
check "no such PCI device" refused 3 "no PCI device 0000:ff:00.0 on this node" node prepare --pf 0000:ff:00.0 --vfs 4
check "no PF" refused 3 "has no SR-IOV" node prepare --pf 0000:00:00.0 --vfs 4
check "more VFs than there can be" refused 1 "can have $(< "$pci/$pf/sriov_totalvfs") VFs (sriov_totalvfs), and 4000 are wanted" \
    node prepare --pf "$uplink" --vfs 4000
check "no VFs" tool 2 node prepare --pf "$uplink" --vfs 0
check "never prepared" refused 3 "was not prepared by kube-ovn-offload" node reset --pf "$uplink"
check "nothing was prepared" refused 3 "there is nothing to reset" node reset
by_nobody() {
    local ended=0
    setpriv --reuid=65534 --clear-groups "$tool" node prepare --pf "$uplink" --vfs 4 > "$work/out" 2> "$work/err" || ended=$?
    same "$ended" 4 && has "$work/err" "only root may" && same "$(wc -l < "$work/err")" 1 && same "$(nic)" "$bare"
}
check "no rights" by_nobody
read_only() {
    unshare --mount sh -c 'mount -o remount,bind,ro /sys && exec "$@"' - "$tool" node prepare --pf "$uplink" --vfs 4 \
        > "$work/out" 2> "$work/err" && return 1
    has "$work/err" "It needs the host's /sys, mounted writable" && same "$(nic)" "$bare"
}
check "a container with /sys mounted read-only" read_only

ip link set "$uplink" up
ip addr add 192.0.2.1/24 dev "$uplink"
ip route add default via 192.0.2.254
now=$(nic)
check "the default route" refused 1 "carries the default route (by $uplink), which this would interrupt" \
    node prepare --pf "$uplink" --vfs 4
ip route del default
ip link add link "$uplink" name vlan7 type vlan id 7 && ip link set vlan7 up && ip addr add 198.51.100.1/24 dev vlan7
world_network # has 127.0.0.1 as its tunnel's address
ovs-vsctl set Open_vSwitch . external_ids:ovn-encap-ip=198.51.100.1
check "the tunnel's address, on a VLAN" refused 1 "the tunnel address 198.51.100.1 (external_ids:ovn-encap-ip, on vlan7)" \
    node prepare --pf "$uplink" --vfs 4
ip link del vlan7
ovs-vsctl set Open_vSwitch . external_ids:ovn-encap-ip=127.0.0.1
printf '#!/bin/sh\nsleep 600\n' > "$work/kubelet"
chmod 755 "$work/kubelet"
"$work/kubelet" --node-ip=192.0.2.1 &
kubelet=$!
check "kubelet's address" refused 1 "kubelet's address 192.0.2.1 (its --node-ip, on $uplink)" node prepare --pf "$uplink" --vfs 4
kill "$kubelet"
ip addr flush dev "$uplink"
ovs-vsctl add-br br-provider -- add-port br-provider "$uplink"
ip link set br-provider up
ip addr add 192.0.2.1/24 dev br-provider
ip route add default via 192.0.2.254
now=$(nic)
check "the default route, of a provider network" refused 1 "carries the default route (by br-provider)" node prepare --pf "$uplink" --vfs 4
mv /run/openvswitch/db.sock /run/openvswitch/db.sock.away
check "a port of Open vSwitch that does not tell more" refused 4 "the uplink is a port of Open vSwitch, and what goes by its bridge" \
    node prepare --pf "$uplink" --vfs 4
mv /run/openvswitch/db.sock.away /run/openvswitch/db.sock
ip link add link "$uplink" name vlan8 type vlan id 8
ovs-vsctl del-port br-provider "$uplink" -- add-port br-provider vlan8
check "the default route, of a provider network on a VLAN" refused 1 "carries the default route (by br-provider)" \
    node prepare --pf "$uplink" --vfs 4
check "--yes-disrupt is an answer to that" tool 0 node prepare --pf "$uplink" --vfs 4 --dry-run --yes-disrupt
ovs-vsctl del-br br-provider
ip link del vlan8
check "nothing else is in the way" tool 0 node prepare --pf "$uplink" --vfs 4 --dry-run
ip addr flush dev "$uplink"
ip link set "$uplink" down
modprobe bonding
ip link add bond0 type bond mode active-backup
ip link set "$uplink" master bond0
now=$(nic)
check "in a bond" refused 1 "is in bond0, and the eswitch's mode can't be changed there: ip link set $uplink nomaster" \
    node prepare --pf "$uplink" --vfs 4
ip link del bond0
ip link set "$uplink" down

# --- dry run

check "a dry run changes nothing" leaves "$bare" tool 0 node prepare --pf "$other" --vfs 3 --dry-run
cp "$work/out" "$work/script"
cat "$work/script"
# the shell lines do the same as the command: afterwards it has nothing to do
check "the lines of a dry run are a script" sh -e "$work/script"
check "after which there is nothing to do" tool 0 node prepare --pf "$other" --vfs 3
check "nothing to do is said" has "$work/out" "nothing to do"
echo 0 > "$pci/$other/sriov_numvfs"
devlink dev eswitch set "pci/$other" mode legacy
ethtool -K "$other_uplink" hw-tc-offload off
ip link set "$other_uplink" down
same "$(nic)" "$bare"

# --- done, done again, another number, undone

check "prepare" tool 0 node prepare --pf "$uplink" --vfs 2
sed 's/^/        /' "$work/out"
check "status shows it" tool 0 node status
sed 's/^/        /' "$work/out"
check "status: mode, number, switches" has "$work/out" "$pf ($uplink): mlx5_core, switchdev mode, 2 of" "hw-tc-offload on"
now=$(nic)
check "again: nothing to do" leaves "$now" tool 0 node prepare --pf "$pf" --vfs 2
check "another number of VFs" tool 0 node prepare --pf "$pf" --vfs 4
check "another number of VFs: so it is" same "$("$tool" node status --pf "$pf" -o json |
    jq -c '.pfs[0] | [.eswitch, .vf_count, .uplink.hw_tc_offload, ([.vfs[] | select(.representor.hw_tc_offload)] | length)]')" \
    '["switchdev",4,true,4]'
ip netns add pod
ip link set "$(ls "$pci/$(nic_vf "$pf" 1)/net")" netns pod
now=$(nic)
in_use="VF $(nic_vf "$pf" 1): its netdev is not in the host's network namespace"
check "a VF in use: another number" refused 1 "$in_use" node prepare --pf "$pf" --vfs 2
check "a VF in use: reset" refused 1 "$in_use" node reset --pf "$pf"
check "a VF in use: nothing to do is no harm" tool 0 node prepare --pf "$pf" --vfs 4
ip netns del pod
home() { [ -n "$(ls "$pci/$(nic_vf "$pf" 1)/net")" ]; }
for _ in {1..50}; do home && break; sleep 0.2; done
checkpoint=/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint
uid=11111111-2222-3333-4444-555555555555
mkdir -p "${checkpoint%/*}" "/var/lib/kubelet/pods/$uid" "/var/log/pods/shop_web-0_$uid"
printf '{"Data": {"PodDeviceEntries": [{"PodUID": "%s", "ResourceName": "mellanox.com/cx6", "DeviceIDs": {"0": ["%s"]}}]}}' \
    "$uid" "$(nic_vf "$pf" 2)" > "$checkpoint"
check "a VF that kubelet gave to a pod" refused 1 "VF $(nic_vf "$pf" 2): kubelet gave it to pod shop/web-0 as mellanox.com/cx6" \
    node reset --pf "$pf"
rm -r "/var/lib/kubelet/pods/$uid"
check "a VF that kubelet gave to a pod that is gone" tool 0 node reset --pf "$pf" --dry-run
rm "$checkpoint"
modprobe vfio-pci
vf=$(nic_vf "$pf" 3)
echo "$vf" > "$pci/$vf/driver/unbind"
echo vfio-pci > "$pci/$vf/driver_override"
echo "$vf" > /sys/bus/pci/drivers_probe
group=$(basename "$(readlink "$pci/$vf/iommu_group")")
exec 8<> "/dev/vfio/$group"
now=$(nic)
check "a VF of a virtual machine" refused 1 "VF $vf: a process, such as a virtual machine, has /dev/vfio/$group open" node reset
exec 8>&-
now=$(nic)
check "reset, as a dry run" leaves "$now" tool 0 node reset --dry-run
check "reset, as a dry run, says how" has "$work/out" "devlink dev eswitch set pci/$pf mode legacy" "sriov_numvfs"
check "reset" leaves "$bare" tool 0 node reset
now=$bare
check "reset is done once" refused 3 "there is nothing to reset" node reset

# --- a failure half-way: the driver takes no VF

driver=$(readlink -f "$pci/$pf/driver")
mount --bind /dev/full "$driver/bind"
check "a failure half-way" tool 1 node prepare --pf "$pf" --vfs 2
check "says where, and how to go back" has "$work/err" "stopped at step 6 of 7 (give the VFs to their driver again): " \
    "/bind: No space left on device" "steps 1 to 5 are done" "to go back: kube-ovn-offload node reset --pf $pf (by hand: "
sed 's/^/        /' "$work/err"
check "and reset goes back" leaves "$bare" tool 0 node reset --pf "$pf"
check "half-way once more" tool 1 node prepare --pf "$pf" --vfs 2
umount "$driver/bind"
check "the same command goes on from there" tool 0 node prepare --pf "$pf" --vfs 2
check "with what was missing only" same "$(grep -c '^# [0-9]' "$work/out")" 2
check "and reset goes back from there" leaves "$bare" tool 0 node reset --pf "$pf"
check "VFs that there were" sh -c "echo 2 > $pci/$pf/sriov_numvfs"
with_vfs=$(nic)
check "VFs that there were stay" tool 0 node prepare --pf "$pf" --vfs 2
check "and are as they were afterwards" leaves "$with_vfs" tool 0 node reset
echo 0 > "$pci/$pf/sriov_numvfs"

# --- the journey: VFs, pods, traffic, and what our tools say of them

declare -A ip=([web]=10.16.0.11 [db]=10.16.0.12)
in_pod() {
    ip netns exec "${WORLD_NETNS[$1]}" "${@:2}"
}

# by hand: a table's row, with any number of blanks between its words
row() { # FILE WORD...
    local file=$1 pattern
    shift
    printf -v pattern '%s  *' "$@"
    grep -qE -- "${pattern%  \*}" "$file" || {
        echo "        no row \"$*\" in:"
        sed 's/^/        /' "$file"
        return 1
    }
}

nic_checks=nic,nic-driver,vfs,eswitch-mode,vf-driver,vf-order,uplink,representor,hw-tc-offload
check "doctor sees a bare NIC" tool 1 doctor --pf "$pf" --only "$nic_checks"
check "doctor says what is missing" has "$work/out" "vfs" "eswitch-mode"
check "prepare, persistent" tool 0 node prepare --pf "$uplink" --vfs 2 --persist
unit=/etc/systemd/system/kube-ovn-offload-${pf//:/-}.service
check "doctor finds nothing wrong with the NIC any more" tool 0 doctor --pf "$pf" --only "$nic_checks"
[ "$failed" = 0 ] || cat "$work/out"
check "the files are there" has "$unit" "ExecStart=$tool node prepare --pf $pf --vfs 2 --wait 120 --yes-disrupt"
check "systemd takes the unit" systemd-analyze verify "$unit"
check "and those of conf" systemd-analyze verify conf/systemd/kube-ovn-offload-gc.service conf/systemd/kube-ovn-offload-gc.timer
check "again: nothing to do, nothing to write" tool 0 node prepare --pf "$pf" --vfs 2 --persist
check "again: no file was written" same "$(grep -c written "$work/out")" 0
representor=$(nic_representor "$pf" 0)
udev_marks() { # NETDEV
    udevadm test --action=add "/sys/class/net/$1" > "$work/udev" 2>&1 || true
    has "$work/udev" "KUBE_OVN_OFFLOAD=1" "NM_UNMANAGED=1" "/etc/systemd/network/10-kube-ovn-offload.link"
}
check "udev marks a representor" udev_marks "$representor"
check "udev marks a VF" udev_marks "$(ls "$pci/$(nic_vf "$pf" 0)/net")"
unmarked() {
    ! udev_marks "$uplink" > /dev/null
}
check "udev does not mark the uplink" unmarked

world_plugin "$kube_ovn"
for pod in web db; do
    world_pod "$pod" "02:00:00:00:00:${ip[$pod]##*.}" "${ip[$pod]}"
done
world_daemon "$emulator"
declare -A stdin=([web]=$(world_netconf conf/mellanox/network.yaml "$(nic_vf "$pf" 0)") [db]=$(world_netconf conf/mellanox/network.yaml "$(nic_vf "$pf" 1)"))
check "no attachments yet" tool 0 attachments
add() {
    world_cni ADD "$1" "${stdin[$1]}" > "$work/out" 2> "$work/err" && return
    cat "$work/out" "$work/err"
    return 1
}
check "ADD of web" add web
check "ADD of db" add db
check "attachments" tool 0 attachments
check "attachments: web" row "$work/out" "$(nic_vf "$pf" 0)" "$WORLD_NAMESPACE/web" eth0 attached
check "attachments: db" row "$work/out" "$(nic_vf "$pf" 1)" "$WORLD_NAMESPACE/db" eth0 attached
check "status" tool 0 node status --pf "$pf"
sed 's/^/        /' "$work/out"
check "status: which pod has which VF" has "$work/out" "$WORLD_NAMESPACE/web (eth0)" "$WORLD_NAMESPACE/db (eth0)" "up, in ovs-system"
now=$(nic)
check "the VFs are in use now" refused 1 "pod $WORLD_NAMESPACE/web has it as eth0" node reset
for name in "$WORLD_NAMESPACE/web" "${WORLD_CONTAINER[web]:0:12}" "$(nic_vf "$pf" 0)"; do
    check "check $name" tool 0 check "$name"
done

in_pod web ping -q -c 3 -i 0.2 -W 5 "${ip[db]}" > "$work/ping" || true
talk() {
    local server
    in_pod db timeout 60 socat -u TCP4-LISTEN:5001,reuseaddr OPEN:/dev/null &
    server=$!
    head -c 1000000 /dev/zero | in_pod web timeout 60 socat -u - "TCP4:${ip[db]}:5001,retry=50,interval=0.1" && wait "$server"
}
check "web and db talk" talk
offloaded() {
    in_pod web ping -q -c 2 -i 0.2 "${ip[db]}" > /dev/null
    ovs-appctl dpctl/dump-flows -m --names type=offloaded > "$work/flows"
    has "$work/flows" "offloaded:yes" "dp:tc"
}
check "from a NIC in legacy mode without VFs to offloaded:yes, by our tools" offloaded

in_pod web ping -q -i 0.1 -w 40 "${ip[db]}" > "$work/ping" &
ping=$!
check "flows: the NIC forwards what web sends" tool 0 flows --pod "$WORLD_NAMESPACE/web" --rates 5 --expect 80
kill -INT "$ping"
sed 's/^/        /' "$work/out"
check "flows says so" has "$work/out" hardware "$WORLD_NAMESPACE/web" "$WORLD_NAMESPACE/db"
check "doctor finds nothing wrong with the attachments" tool 0 doctor --only \
    "$nic_checks,ovsdb-server,ovs-vswitchd,br-int,ovs-hw-offload,ovs-restarted,representor-port,representor-up,stale-ports,daemon-socket,records"
[ "$failed" = 0 ] || cat "$work/out"

# what CHECK sees
representor=$(nic_representor "$pf" 0)
ip link set "$representor" down
check "check sees a representor that is down" tool 1 check "$WORLD_NAMESPACE/web"
check "check says so" has "$work/out" "NOT OK" "its representor $representor is down"
ip link set "$representor" up
in_pod web ip addr del "${ip[web]}/16" dev eth0
check "check sees an address that is missing" tool 1 check "$WORLD_NAMESPACE/web"
check "check says which" has "$work/out" "it lacks the address ${ip[web]}"
in_pod web ip addr add "${ip[web]}/16" dev eth0
check "check is content again" tool 0 check "$WORLD_NAMESPACE/web"

# what goes without a DEL
check "gc leaves the living alone" tool 0 gc
check "gc says so" has "$work/out" "nothing to give back"
ip netns del "${WORLD_NETNS[web]}"
check "a pod without DEL is an orphan" tool 1 attachments
check "attachments says so" row "$work/out" "$(nic_vf "$pf" 0)" "$WORLD_NAMESPACE/web" eth0 orphaned
kill "$WORLD_DAEMON_PID"
rm -f /run/openvswitch/db.sock.away && mv /run/openvswitch/db.sock /run/openvswitch/db.sock.away
check "gc with daemon and OVSDB down" tool 1 gc
check "what can't be given back stays recorded" tool 1 attachments
check "as ended" row "$work/out" "$(nic_vf "$pf" 0)" "$WORLD_NAMESPACE/web" eth0 ended
mv /run/openvswitch/db.sock.away /run/openvswitch/db.sock
check "gc goes on with it" tool 0 gc
check "gc says what it did" has "$work/out" "pod $WORLD_NAMESPACE/web" "given back"
world_daemon "$emulator"
world_cni DEL db "${stdin[db]}"
check "nothing is attached" tool 0 attachments
check "nothing is attached: says so" has "$work/out" "no VF is attached to a pod"
check "reset" leaves "$bare" tool 0 node reset
persisted() { find /etc -name '*kube-ovn-offload*'; }
check "reset removes what was persisted" same "$(persisted)" ""

# --- the node boots: systemd runs the unit, and who configures the network comes after it. udev gives other names meanwhile.

check "prepare, persistent, before the boot" tool 0 node prepare --pf "$pf" --vfs 2 --persist
unit=${unit##*/}
rmmod simnic
boot_start "$unit"
check "the unit waits for the NIC's driver" boot_wait "$unit" activating
insmod "$LAB_SIMNIC" one_card=1 rep_hw_tc=0
check "the node boots" boot_wait lab-boot.target active
has_run() { # UNIT before each OTHER: by systemd's clock
    local other=$1 ended started
    ended=$(in_boot systemctl show "$unit" -p ExecMainExitTimestampMonotonic --value)
    started=$(in_boot systemctl show "$other" -p ExecMainStartTimestampMonotonic --value)
    same "$(in_boot systemctl show "$unit" -p Result --value)" success && [ "$ended" -gt 0 ] && [ "$started" -gt "$ended" ]
}
for other in systemd-networkd.service NetworkManager.service; do
    check "the unit had done its work before $other was started" has_run "$other"
done
check "the NIC is prepared" same "$(in_boot "$tool" node status --pf "$pf" -o json |
    jq -c '.pfs[0] | [.eswitch, .vf_count, .uplink.up, .uplink.hw_tc_offload, ([.vfs[] | select(.driver and .representor.hw_tc_offload)] | length)]')" \
    '["switchdev",2,true,true,2]'
check "and has names by udev" same "$(nic_uplink "$pf") $(nic_representor "$pf" 1)" "enp1s0np0 enp1s0npf0vf1"
belongings=("$(nic_representor "$pf" 0)" "$(nic_representor "$pf" 1)" "$(ls "$pci/$pf/virtfn0/net")" "$(ls "$pci/$pf/virtfn1/net")")
networkd() { # NETDEV STATE
    local state end=$((SECONDS + 60))
    while [ "$SECONDS" -lt "$end" ]; do
        state=$(in_boot cat "/run/systemd/netif/links/$(< "/sys/class/net/$1/ifindex")") || true
        [[ $state != *ADMIN_STATE=$2* ]] || return 0
        sleep 0.5
    done
    same "$1 $state" "$1 ADMIN_STATE=$2"
}
manages() { # NETDEV: whether NetworkManager does
    in_boot grep -qsx managed=true "/run/NetworkManager/devices/$(< "/sys/class/net/$1/ifindex")"
}
until_manages() {
    for _ in {1..200}; do
        ! manages "$1" || return 0
        sleep 0.3
    done
    return 1
}
check "systemd-networkd takes the uplink" networkd "$(nic_uplink "$pf")" configured
check "NetworkManager takes the uplink" until_manages "$(nic_uplink "$pf")"
for netdev in "${belongings[@]}"; do
    check "systemd-networkd leaves $netdev alone" networkd "$netdev" unmanaged
    check "NetworkManager leaves $netdev alone" eval "! manages $netdev"
done
doctor() { # STATUS: of what NetworkManager does
    in_boot "$tool" doctor --only network-manager -o json > "$work/out" 2> "$work/err"
    same "$(jq -r '.findings[].verdict' "$work/out")" "$1"
}
check "doctor sees that NetworkManager leaves them alone" doctor ok
for file in $(persisted | grep -E 'udev|NetworkManager'); do
    mv "$file" "$file.away"
done
in_boot udevadm control --reload
in_boot udevadm trigger --settle --subsystem-match=net
in_boot systemctl restart NetworkManager
check "without --persist's files NetworkManager takes a representor" until_manages "${belongings[0]}"
check "doctor sees that" doctor warning
jq -r '.findings[].remedy[]' "$work/out" > "$work/remedy"
cat "$work/remedy"
check "doctor's remedy is done" in_boot sh -e "$work/remedy"
heals() {
    for _ in {1..60}; do
        ! doctor ok > "$work/heals" || return 0
        sleep 0.3
    done
    cat "$work/heals" "$work/out"
    return 1
}
check "and heals" heals
for file in $(persisted | grep away); do
    mv "$file" "${file%.away}"
done
check "reset, of what the boot has done" in_boot "$tool" node reset
check "the NIC is as it came" same "$("$tool" node status --pf "$pf" -o json | jq -c '.pfs[0] | [.eswitch, .vf_count, .uplink.hw_tc_offload]')" \
    '["legacy",0,false]'
check "reset removes what was persisted, after a boot" same "$(persisted)" ""
boot_end

verdict
