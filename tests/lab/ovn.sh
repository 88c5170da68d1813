# Sourced in the guest after ovs.sh: a whole OVN node, chassis "node1".
#   ovn_start [KEY=VALUE...]          Open vSwitch with these of other_config, OVN's databases, northd and controller
#   ovn_stop
#   ovn_ls SWITCH SUBNET/LEN [MAC]    a logical switch; with a MAC also its port, .1, on the logical router "ovn-cluster"
#   ovn_lsp SWITCH PORT MAC IP        a logical switch port
#   ovn_wait INTERFACE [SECONDS]      until ovn-controller has set ovn-installed=true on this OVS interface
# shellcheck shell=bash

ovn_start() {
    local database northbound=unix:/run/ovn/ovnnb_db.sock southbound=unix:/run/ovn/ovnsb_db.sock
    mkdir -p /run/ovn /var/lib/ovn /var/log/ovn
    rm -f /var/lib/ovn/*.db
    ovs_start "$@"
    for database in nb sb; do
        ovsdb-tool create "/var/lib/ovn/ovn${database}_db.db" "/usr/share/ovn/ovn-$database.ovsschema"
    done
    # one server for both databases; the sockets have the names that ovn-ctl gives them
    ovsdb-server --remote=p"$northbound" --remote=p"$southbound" --unixctl=/run/ovn/ovnnb_db.ctl \
        --pidfile=/run/ovn/ovnnb_db.pid --detach --no-chdir --log-file=/var/log/ovn/ovsdb-server.log -vconsole:off \
        /var/lib/ovn/ovnnb_db.db /var/lib/ovn/ovnsb_db.db 2> /dev/null
    ovn-nbctl --no-leader-only init
    ovn-sbctl --no-leader-only init
    ovn-northd --ovnnb-db="$northbound" --ovnsb-db="$southbound" \
        --pidfile --detach --no-chdir --log-file=/var/log/ovn/ovn-northd.log -vconsole:off 2> /dev/null
    ovs-vsctl set Open_vSwitch . external_ids:system-id=node1 external_ids:hostname=node1 \
        external_ids:ovn-remote="$southbound" external_ids:ovn-bridge=br-int \
        external_ids:ovn-encap-type=geneve external_ids:ovn-encap-ip=127.0.0.1
    ovs-vsctl --may-exist add-br br-int -- set Bridge br-int fail-mode=secure other-config:disable-in-band=true
    ip link set br-int up
    ovn-controller unix:/run/openvswitch/db.sock \
        --pidfile --detach --no-chdir --log-file=/var/log/ovn/ovn-controller.log -vconsole:off 2> /dev/null
}

ovn_stop() {
    ovn-appctl -t ovn-controller exit
    ovn-appctl -t ovn-northd exit
    ovs-appctl -t /run/ovn/ovnnb_db.ctl exit
    ovs_stop
}

ovn_ls() {
    local switch=$1 subnet=$2 mac=${3:-}
    ovn-nbctl --may-exist ls-add "$switch" -- set Logical_Switch "$switch" other_config:subnet="$subnet"
    [ -n "$mac" ] || return 0
    ovn-nbctl --may-exist lr-add ovn-cluster \
        -- --may-exist lrp-add ovn-cluster "ovn-cluster-$switch" "$mac" "${subnet%.*}.1/${subnet#*/}" \
        -- --may-exist lsp-add "$switch" "$switch-ovn-cluster" \
        -- lsp-set-type "$switch-ovn-cluster" router \
        -- lsp-set-addresses "$switch-ovn-cluster" router \
        -- lsp-set-options "$switch-ovn-cluster" router-port="ovn-cluster-$switch"
}

ovn_lsp() {
    local switch=$1 port=$2 mac=$3 ip=$4
    ovn-nbctl --may-exist lsp-add "$switch" "$port" -- lsp-set-addresses "$port" "$mac $ip"
}

ovn_wait() {
    timeout "${2:-30}" ovs-vsctl wait-until Interface "$1" external_ids:ovn-installed=true
}
