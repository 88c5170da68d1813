#!/bin/busybox sh
# shellcheck shell=dash
# /init of the guest's initramfs: the machine's root directory, read-only by 9p, under a throw-away overlay; what the job and
# run.sh exchange is in the second 9p share, on /out. Then guest-init.sh takes over.
busybox=/bin/busybox

die() {
    echo "initramfs: $1"
    $busybox poweroff -f
}

$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs dev /dev
for module in $($busybox cat /modules/order); do
    $busybox insmod "/modules/$module" || die "cannot load $module"
done

options=trans=virtio,version=9p2000.L,msize=512000
$busybox mount -t 9p -o $options,ro,cache=loose hostroot /lower || die "cannot mount the machine's root directory"
$busybox mount -t tmpfs -o size=60% tmpfs /upper
$busybox mkdir /upper/changed /upper/work
$busybox mount -t overlay -o lowerdir=/lower,upperdir=/upper/changed,workdir=/upper/work overlay /root || die "cannot mount the overlay"
$busybox mkdir -p /root/lib/modules /root/proc /root/sys /root/dev /root/out
$busybox mount -t 9p -o $options,cache=none out /root/out || die "cannot mount /out"

modules='' init=''
# shellcheck source=/dev/null
. /root/out/boot # written by run.sh: sets both
$busybox mount --bind "/lower$modules" /root/lib/modules || die "cannot bind the kernel's modules"
for directory in proc sys dev; do
    $busybox mount --move "/$directory" "/root/$directory"
done
exec $busybox switch_root /root /bin/bash "$init"
