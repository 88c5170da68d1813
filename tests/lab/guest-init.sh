#!/usr/bin/env bash
# Process 1 of the guest, on the machine's root directory as a throw-away overlay: own /proc, /sys, /dev and /run, the kernel's
# modules, then the job that run.sh wrote.
# No `set -e`: process 1 must come to its end, which is the power-off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8

ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
# what the machine runs must not be seen here; /tmp stays its own, copy on write: a repository may lie there
for directory in /run /var/tmp /var/lib/openvswitch /etc/openvswitch /var/log; do
    mkdir -p "$directory"
    mount -t tmpfs tmpfs "$directory"
done
mkdir -p /run/lock /run/netns /run/openvswitch /var/log/openvswitch
mount -t debugfs debugfs /sys/kernel/debug
mount -t cgroup2 cgroup2 /sys/fs/cgroup
hostname guest
ip link set lo up
# Open vSwitch asks for act_gact by a probe that does not load it: without it nothing of conntrack or tc is detected
modprobe -a openvswitch cls_flower act_mirred act_gact act_vlan act_pedit act_csum act_skbedit act_tunnel_key act_ct \
    sch_ingress veth vxlan 8021q

cd /
(setsid bash /out/job) > /dev/console 2>&1 < /dev/null
echo $? > /out/status
sync
busybox poweroff -f
