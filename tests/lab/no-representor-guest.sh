#!/usr/bin/env bash
# no-representor-guest.sh KUBE_OVN: a PF in switchdev mode whose representors are not below it, as kernels 5.7 to 5.8 have them, and a
# PF in legacy mode. ADD must say which it is and change nothing. A guest of its own, since simnic takes its parameters at load.
set -euo pipefail
# shellcheck source=tests/lab/nic.sh
. "$LAB_DIR/nic.sh"

kube_ovn=$1
passed=0 failed=0
check() { # DESCRIPTION COMMAND...
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok      $what"
    else
        failed=$((failed + 1))
        echo "NOT OK  $what"
    fi
}

# every link, and the plugin's records
host() {
    ip -j -d link show | jq -c 'sort_by(.ifindex)[] | [.ifindex, .ifname, .address, .mtu, .ifalias, .master, (.flags | index("UP") != null)]'
    find /run/kube-ovn-offload -type f ! -name '*.lock' 2> /dev/null || true
}

# refused PCI: whether ADD fails; its answer is in $answer, the host before and after in $before and $after
refused() {
    before=$(host)
    answer=$(CNI_COMMAND=ADD CNI_CONTAINERID=0123456789abcdef CNI_NETNS=/var/run/netns/pod CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin \
        CNI_ARGS='K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod' "$kube_ovn" <<< '{"cniVersion":"0.3.1","name":"kube-ovn","type":"kube-ovn",
            "server_socket":"/run/openvswitch/kube-ovn-daemon.sock","provider":"sriov.default.ovn","deviceID":"'"$1"'"}') && return 1
    after=$(host)
    echo "$answer"
}
says() { # CODE TEXT
    [ "$(jq .code <<< "$answer")" = "$1" ] && [[ $(jq -r .msg <<< "$answer") == *"$2"* ]]
}

insmod "$LAB_SIMNIC" rep_parent=0
mapfile -t pfs < <(nic_pfs)
nic_switchdev "${pfs[0]}" 2
echo 2 > "$pci/${pfs[1]}/sriov_numvfs"
ip netns add pod
vf=$(nic_vf "${pfs[0]}" 0)
check "ADD is refused" refused "$vf"
check "code 100: VF $vf has no representor, and what was looked for" says 100 "VF $vf has no representor: looked among the netdevs of PF ${pfs[0]}"
check "the host is as before" [ "$before" = "$after" ]
vf=$(nic_vf "${pfs[1]}" 0)
check "ADD is refused" refused "$vf"
check "code 100: PF ${pfs[1]} is in legacy mode" says 100 "is in legacy mode, offload needs switchdev: devlink dev eswitch set pci/${pfs[1]} mode switchdev"
check "the host is as before" [ "$before" = "$after" ]
check "the pod is empty" [ "$(ip -n pod -o link | wc -l)" = 1 ]
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
