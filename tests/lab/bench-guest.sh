#!/usr/bin/env bash
# bench-guest.sh BENCHMARK: the guest's part of scripts/bench: a PF with 4 VFs and then with 127, among 10 unrelated netdevs and among
# 2,000. A row for each goes to /out/rows.
set -euo pipefail
# shellcheck source=tests/lab/nic.sh
. "$LAB_DIR/nic.sh"
benchmark=$1

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
        devlink dev eswitch set "pci/$pf" mode legacy
        echo 0 > "$pci/$pf/sriov_numvfs"
    done
done
