# Sourced in the guest:
#   ovs_start [KEY=VALUE...]  Open vSwitch with hw-offload=true and these of other_config
#   ovs_stop
# shellcheck shell=bash

ovs_start() {
    local database=/var/lib/openvswitch/conf.db option uptime offset=0
    rm -f "$database"
    ovsdb-tool create "$database" /usr/share/openvswitch/vswitch.ovsschema
    ovsdb-server "$database" --remote=punix:/run/openvswitch/db.sock \
        --pidfile --detach --no-chdir --log-file -vconsole:off 2> /dev/null
    ovs-vsctl --no-wait init
    # before ovs-vswitchd starts: it reads both hw-offload and tc-policy once
    for option in hw-offload=true "$@"; do
        ovs-vsctl --no-wait set Open_vSwitch . other_config:"$option"
    done
    # OVS 3.1 counts no CPUs, and so starts no handler threads, while the monotonic clock is below 10 s: run it in a time
    # namespace. With the smallest offset that does: "used" of the kernel's flows is too large by it, and at 10 s a flow is
    # evicted as idle.
    uptime=$(cut -d. -f1 /proc/uptime)
    [ "$uptime" -ge 11 ] || offset=$((11 - uptime))
    unshare --time --monotonic "$offset" ovs-vswitchd --pidfile --detach --no-chdir --log-file -vconsole:off 2> /dev/null
}

ovs_stop() {
    ovs-appctl -t ovs-vswitchd exit --cleanup
    ovs-appctl -t ovsdb-server exit
}
