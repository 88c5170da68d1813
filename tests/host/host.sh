#!/usr/bin/env bash
# host.sh MNT NET EMULATOR PLUGIN...: process 1 of a node without a NIC, in namespaces of its own (mount, network, process IDs …), as
# tests/host/mod.rs starts it. It sees this machine's files copy on write, so whatever a runtime or a plugin leaves behind ends with it:
#   /opt/cni/bin     the plugins
#   br-int           Open vSwitch without the kernel's datapath; its own port is the gateway of the pods' subnets, 10.16.0.1/16 and fd00::1/64
#   /run/openvswitch/kube-ovn-daemon.sock, /run/world/{pods.json,daemon.log}   the emulator of kube-ovn-daemon
#   ovn-installed    is set as ovn-controller does
# MNT and NET are the caller's namespaces (readlink /proc/self/ns/mnt). Says "ready" on stdout, and ends, with all that runs in it, when its stdin is closed.
set -euo pipefail
# It changes its root directory, its mounts and its network: those of the machine, were it not in namespaces of its own.
if [ $$ != 1 ] || [ "$1" = "$(readlink /proc/self/ns/mnt)" ] || [ "$2" = "$(readlink /proc/self/ns/net)" ]; then
    echo "host.sh is started by tests/host/mod.rs only, which gives it namespaces of its own" >&2
    exit 2
fi
shift 2
emulator=$1 scratch=/mnt # a directory of every Debian; only this mount namespace sees what is mounted there
shift
exec 3<&0

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$scratch"
root=$scratch/root
mkdir "$root" "$scratch/upper" "$scratch/work"
mount -t overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$root"
mkdir -p "$root/opt/cni/bin"
cp "$@" "$root/opt/cni/bin/"
cp "$emulator" "$root/usr/local/bin/kube-ovn-daemon-emulator"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
[ ! -d /dev/shm ] || mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm" # podman leaves its locks there
# a runtime makes the cgroups of its containers in the machine's; mod.rs takes away what is left of them
[ ! -d /sys/fs/cgroup ] || mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
for directory in run tmp var/lib/cni var/lib/containers var/lib/containerd etc/cni etc/kube-ovn-cni; do
    mkdir -p "$root/$directory"
    mount -t tmpfs -o mode=755 tmpfs "$root/$directory"
done
chmod 1777 "$root/tmp"
if [ -n "${LLVM_PROFILE_FILE:-}" ]; then # scripts/coverage: what the plugin counts here is to stay
    mkdir -p "$root${LLVM_PROFILE_FILE%/*}"
    mount --bind "${LLVM_PROFILE_FILE%/*}" "$root${LLVM_PROFILE_FILE%/*}"
fi
mkdir "$root/run/outside"
cd "$root"
pivot_root . run/outside
cd /
umount -l /run/outside
rmdir /run/outside

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
ip link set lo up
sysctl -q net.ipv4.ip_forward=1

mkdir -p /run/world /run/openvswitch /run/netns /var/log/openvswitch
database=/run/openvswitch/conf.db
ovsdb-tool create "$database" /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server "$database" --remote=punix:/run/openvswitch/db.sock --pidfile --detach --no-chdir --log-file=/run/world/ovsdb-server.log -vconsole:off
ovs-vsctl --no-wait init
ovs-vswitchd --disable-system --pidfile --detach --no-chdir --log-file=/run/world/ovs-vswitchd.log -vconsole:off
ovs-vsctl --timeout=60 add-br br-int -- set Bridge br-int datapath_type=netdev
# no checksums are left to a NIC that there is not (the same that kube-ovn does with a datapath of this kind)
ethtool -K br-int tx off > /dev/null
ip address add 10.16.0.1/16 dev br-int
ip address add fd00::1/64 dev br-int nodad
ip link set br-int up

# stands for ovn-controller
uninstalled_ports() {
    ovs-vsctl -f csv --no-headings --columns=name,external_ids list Interface |
        awk -F, '/iface-id/ && !/ovn-installed/ { gsub("\"", "", $1); print $1 }'
}
while sleep 0.05; do
    for port in $(uninstalled_ports); do
        ovs-vsctl --if-exists set Interface "$port" external_ids:ovn-installed=true || true
    done
done > /dev/null 2>&1 &

echo '{}' > /run/world/pods.json
kube-ovn-daemon-emulator --socket /run/openvswitch/kube-ovn-daemon.sock --pods /run/world/pods.json --log /run/world/daemon.log \
    --ready-file /run/world/ready --retry-seconds 1 --ovn-installed-seconds 120 > /run/world/daemon.output 2>&1 &
for ((i = 0; i < 600; i++)); do
    [ ! -e /run/world/ready ] || break
    sleep 0.05
done
[ -e /run/world/ready ] || { cat /run/world/daemon.output; exit 1; }
echo ready
# process 1 has every orphan for a child; bash reaps them while it waits
cat <&3 > /dev/null &
wait $!
