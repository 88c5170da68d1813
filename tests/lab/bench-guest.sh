#!/usr/bin/env bash
# bench-guest.sh BENCHMARK TOOL: the guest's part of scripts/bench: a PF with 4 VFs and then with 127, among 10 unrelated netdevs and among
# 2,000. A row for each goes to /out/rows. And how long `kube-ovn-offload node status` takes for so many VFs.
set -euo pipefail
# shellcheck source=tests/lab/nic.sh
. "$LAB_DIR/nic.sh"
benchmark=$1 tool=$2

# unrelated FROM TO: adds dummies
unrelated() {
    local number
    for ((number = $1; number < $2; number++)); do
        echo "link add other$number type dummy"
    done | ip -batch -
}

insmod "$LAB_SIMNIC"
# without udev: it would rename netdevs meanwhile
pf=$(nic_pfs | head -n 1)
others=0
for total in 10 2000; do
    unrelated "$others" "$total"
    others=$total
    for vfs in 4 127; do
        nic_switchdev "$pf" "$vfs"
        echo "measuring: $vfs VFs, $total unrelated netdevs"
        "$benchmark" measure lab "$pf" "$total" >> /out/rows
        "$tool" node status --output json 2> /dev/null > /run/status
        jq -e --argjson vfs "$vfs" '.pfs[0].vfs | length == $vfs and all(.netdevs[0] and .representor.hw_tc_offload)' /run/status > /dev/null
        TIMEFORMAT="node status: %R s"
        time "$tool" node status > /dev/null
        devlink dev eswitch set "pci/$pf" mode legacy
        echo 0 > "$pci/$pf/sriov_numvfs"
    done
done
