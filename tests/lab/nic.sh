# Sourced in the guest: what simnic's functions and netdevs are called.
#   nic_pfs                     PCI addresses of the PFs, in order
#   nic_uplink PF               the PF's own netdev
#   nic_vf PF INDEX             PCI address of a VF
#   nic_representor PF INDEX    netdev of a VF's representor
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

nic_port_name() {
    cat "/sys/class/net/$1/phys_port_name" 2> /dev/null
}

nic_uplink() {
    local netdev
    for netdev in "$pci/$1"/net/*; do
        case $(nic_port_name "${netdev##*/}") in
            *vf*) ;;
            *) echo "${netdev##*/}" ;;
        esac
    done
}

nic_vf() {
    basename "$(readlink "$pci/$1/virtfn$2")"
}

# by switch id and port name: the representor need not be a child of the PF (rep_parent=0), and is renamed by whoever uses it
nic_representor() {
    local netdev uplink port switch
    uplink=$(nic_uplink "$1")
    port=$(nic_port_name "$uplink")
    switch=$(cat "/sys/class/net/$uplink/phys_switch_id")
    for netdev in /sys/class/net/*; do
        if [ "$(nic_port_name "${netdev##*/}")" = "pf${port#p}vf$2" ] && [ "$(cat "$netdev/phys_switch_id")" = "$switch" ]; then
            echo "${netdev##*/}"
        fi
    done
}

nic_switchdev() {
    echo "$2" > "$pci/$1/sriov_numvfs"
    devlink dev eswitch set "pci/$1" mode switchdev
}
