# Sourced in the guest: what simnic's functions and netdevs are called.
#   nic_pfs                     PCI addresses of the PFs, in order
#   nic_uplink PF               the PF's own netdev
#   nic_vf PF INDEX             PCI address of a VF
#   nic_representor PF INDEX    netdev of a VF's representor
#   nic_representors PF         all of them, a line "INDEX NETDEV" for each
#   nic_switchdev PF VFS        switches a PF to switchdev mode with this many VFs
# shellcheck shell=bash
pci=/sys/bus/pci/devices

nic_pfs() {
    local device
    for device in "$pci"/*; do
        # a PF that has our driver: only that one has netdevs below it
        [ -e "$device/sriov_numvfs" ] && [ -d "$device/net" ] && echo "${device##*/}"
    done
    return 0
}

# nic_read VARIABLE FILE: an attribute, empty when it cannot be read. Only builtins here and below: under emulation a process
# costs tens of milliseconds, and these loops go over every netdev.
nic_read() {
    { IFS= read -r "$1" < "$2"; } 2> /dev/null || printf -v "$1" ''
}

nic_uplink() {
    local netdev port
    for netdev in "$pci/$1"/net/*; do
        nic_read port "$netdev/phys_port_name"
        [[ $port == *vf* ]] || echo "${netdev##*/}"
    done
}

nic_vf() {
    basename "$(readlink "$pci/$1/virtfn$2")"
}

# by switch id and port name: a representor need not be a child of the PF (rep_parent=0), and is renamed by whoever uses it
nic_representors() {
    local netdev uplink uplink_port uplink_switch port switch
    uplink=/sys/class/net/$(nic_uplink "$1")
    nic_read uplink_port "$uplink/phys_port_name"
    nic_read uplink_switch "$uplink/phys_switch_id"
    for netdev in /sys/class/net/*; do
        nic_read port "$netdev/phys_port_name"
        [[ $port == pf${uplink_port#p}vf* ]] || continue
        nic_read switch "$netdev/phys_switch_id"
        [ "$switch" != "$uplink_switch" ] || echo "${port##*vf} ${netdev##*/}"
    done
}

nic_representor() {
    local index netdev
    while read -r index netdev; do
        [ "$index" != "$2" ] || echo "$netdev"
    done < <(nic_representors "$1")
}

nic_switchdev() {
    echo "$2" > "$pci/$1/sriov_numvfs"
    devlink dev eswitch set "pci/$1" mode switchdev
}
