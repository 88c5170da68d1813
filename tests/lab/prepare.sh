#!/usr/bin/env bash
# prepare.sh [CACHE]: makes all that the lab's guest needs, as root on Debian 12; CACHE is .lab at the repository's top.
# What is there already is kept, so that a repeated call takes no time:
#   kernel-version               the kernel that this cache was made for; remove the cache to get a newer one
#   kernel-VERSION/image         Debian's kernel package, unpacked (nothing of it is installed on this machine)
#   kernel-VERSION/headers       its headers, unpacked
#   simnic-VERSION-HASH.ko       the SmartNIC, by its source's hash
#   initramfs-VERSION-HASH.gz    what mounts the machine's root directory in the guest
#   boot.env                     the names of those in use, for run.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source=scripts/packages.sh
. "$top/scripts/packages.sh"

packages=(
    qemu-system-x86 busybox-static kmod util-linux         # the guest
    make gcc-12 binutils libelf1 libssl3                   # to build simnic; the libraries are those of the kernel's own build tools
    openvswitch-switch ovn-central ovn-host                # what runs in it
    iproute2 ethtool iputils-ping tcpdump socat jq systemd # what the tests and the demo call in it
    strace udev                                            # what the end-to-end tests kill the plugin with, and what renames links under it
    network-manager dbus                                   # who finds links at a boot, beside systemd-networkd
)

# The newest kernel that the suite's meta package names. Its version is never pinned: old ones vanish from the mirrors.
newest_kernel_version() {
    apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/.*Depends: linux-image-\(6\.[^ ]*\)$/\1/p' | head -n 1
}

# header_packages VERSION: the package of the flavour's headers depends on the rest
header_packages() {
    echo "linux-headers-$1"
    apt-cache depends "linux-headers-$1" | sed -n 's/.*Depends: \(linux-\(headers\|kbuild\)-[^ ]*\)$/\1/p'
}

# fetch_kernel VERSION DIRECTORY: downloads and unpacks; fails without a word when the package lists are too old
fetch_kernel() {
    local version=$1 directory=$2 archive header_names
    mkdir -p "$directory/archives"
    (
        cd "$directory/archives"
        mapfile -t header_names < <(header_packages "$version")
        # as root: apt's unprivileged user need not reach this folder
        apt-get download -qq -o APT::Sandbox::User=root "linux-image-$version" "${header_names[@]}" > /dev/null 2>&1
    ) || return 1
    for archive in "$directory"/archives/linux-image-*.deb; do
        dpkg -x "$archive" "$directory/image"
    done
    for archive in "$directory"/archives/linux-{headers,kbuild}-*.deb; do
        dpkg -x "$archive" "$directory/headers"
    done
    rm -rf "$directory/archives"
    depmod -b "$directory/image" "$version"
}

prepare_kernel() {
    local part=$cache/kernel.part version
    if [ -s "$cache/kernel-version" ] && [ -d "$cache/kernel-$(< "$cache/kernel-version")" ]; then
        return
    fi
    rm -rf "$part"
    version=$(newest_kernel_version)
    if [ -z "$version" ] || ! fetch_kernel "$version" "$part"; then
        rm -rf "$part"
        apt-get update -q > "$cache/apt.log" 2>&1 ||
            die "apt-get update failed: $(grep -m1 '^E:' "$cache/apt.log" || tail -n 1 "$cache/apt.log")"
        version=$(newest_kernel_version)
        [ -n "$version" ] || die "no 6.x kernel behind the package linux-image-amd64: is this Debian 12?"
        fetch_kernel "$version" "$part" || die "cannot download linux-image-$version and its headers with apt-get"
    fi
    rm -rf "$cache/kernel-$version"
    mv "$part" "$cache/kernel-$version"
    echo "$version" > "$cache/kernel-version"
}

# build_simnic HEADERS OUTPUT
build_simnic() {
    local headers=$1 output=$2 work=$cache/simnic.part makefile
    makefile=$headers/usr/src/linux-headers-$kernel/Makefile
    # its only line includes the common headers by an absolute path, as if they were installed
    sed -i "s|^include .*/usr/src/|include $headers/usr/src/|" "$makefile"
    rm -rf "$work"
    cp -r "$here/simnic" "$work"
    # without BTF: it takes pahole, and an image of the kernel
    make -s -C "${makefile%/*}" M="$work" CONFIG_DEBUG_INFO_BTF_MODULES= modules > "$cache/simnic.log" 2>&1 ||
        die "simnic does not build for Linux $kernel: $(grep -m1 -i error "$cache/simnic.log" || true) (see $cache/simnic.log)"
    strip --strip-debug -o "$output.part" "$work/simnic.ko"
    mv "$output.part" "$output"
    rm -rf "$work"
}

# build_initramfs IMAGE OUTPUT: busybox and what it takes to mount the machine's root directory by 9p
build_initramfs() {
    local image=$1 output=$2 work module_file
    work=$(mktemp -d "$cache/initramfs.XXXXXX")
    mkdir -p "$work"/{bin,proc,sys,dev,lower,upper,root,out,modules}
    cp /usr/bin/busybox "$work/bin/"
    install -m 755 "$here/initramfs-init.sh" "$work/init"
    for module in virtio_pci 9p 9pnet_virtio overlay; do
        modprobe -d "$image" -S "$kernel" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r module_file; do
        cp "$module_file" "$work/modules/"
        basename "$module_file" >> "$work/modules/order"
    done
    (cd "$work" && find . | busybox cpio -o -H newc 2> /dev/null | gzip -1) > "$output.part"
    mv "$output.part" "$output"
    rm -rf "$work"
}

[ "$(id -u)" = 0 ] || die "the lab needs root: it installs packages and reads this machine's whole file system"
[ "$(dpkg --print-architecture 2> /dev/null)" = amd64 ] || die "the lab needs Debian 12 on amd64"
cache=${1:-$top/.lab}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
[[ $cache != *[[:space:],\|]* ]] || die "the lab's folder $cache has white space, a comma or a bar in its path: make and QEMU can't use it"

install_packages "${packages[@]}"
exec 8> "$cache/prepare.lock"
flock 8 # of two that prepare the same cache, the second finds it done

prepare_kernel
kernel=$(< "$cache/kernel-version")
simnic=simnic-$kernel-$(cat "$here"/simnic/{Makefile,simnic.c} | sha256sum | cut -c1-16).ko
initramfs=initramfs-$kernel-$(sha256sum < "$here/initramfs-init.sh" | cut -c1-16).gz
[ -s "$cache/$simnic" ] || build_simnic "$cache/kernel-$kernel/headers" "$cache/$simnic"
[ -s "$cache/$initramfs" ] || build_initramfs "$cache/kernel-$kernel/image" "$cache/$initramfs"
cat > "$cache/boot.env.part" <<EOF
kernel_version=$kernel
simnic=$simnic
initramfs=$initramfs
EOF
mv "$cache/boot.env.part" "$cache/boot.env"
