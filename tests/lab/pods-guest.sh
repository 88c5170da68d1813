#!/usr/bin/env bash
# pods-guest.sh PLUGIN EMULATOR LAUNCH FLOOR: the guest's part of scripts/bench pods: one PF, whose VFs the benchmark makes. Its rows go to
# /out/rows. POD_CELLS, POD_ROUNDS, POD_CROWD and PEERS may be set before (benches/process/pods.py).
set -euo pipefail
# shellcheck source=tests/lab/nic.sh
. "$LAB_DIR/nic.sh"

insmod "$LAB_SIMNIC"
modprobe -a bridge dummy
work=/dev/shm/bench
mkdir -p "$work"
# in memory, and not in /run, which will be another: what is measured is not how fast the machine's file system comes through 9p
for executable in "$@"; do
    cp "$executable" "$work/"
done
# without udev: it would rename netdevs meanwhile
exec python3 -B benches/process/pods.py "$(nic_pfs | head -n 1)" "${@/#*\//$work/}" "$work" > /out/rows
