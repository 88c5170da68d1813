# Sourced in the guest: what a node does when it boots, by the real systemd, udev, systemd-networkd and NetworkManager.
#   boot_start UNIT         starts systemd as process 1 of namespaces of its own, with an empty /run, to bring up UNIT and those three
#   boot_wait UNIT STATE    until systemd says so of UNIT; a minute at most, then 1
#   in_boot COMMAND...      runs it there
#   boot_end                ends it and all that it has started
# Network and devices are the guest's: what is done to them stays.
# shellcheck shell=bash
boot_process='' boot_init=''
boot_log=/tmp/boot.log

boot_start() {
    local units=/etc/systemd/system unit
    cat > "$units/lab-boot.target" << END
[Unit]
Wants=$1 systemd-udevd.service systemd-udev-trigger.service systemd-networkd.service dbus.service NetworkManager.service
After=$1 systemd-networkd.service NetworkManager.service
END
    # nothing of the rest of a Debian is wanted, nor are events of what is no netdev: under emulation each takes its time
    for unit in dbus.service dbus.socket NetworkManager.service; do
        mkdir -p "$units/$unit.d"
        printf '[Unit]\nDefaultDependencies=no\n' > "$units/$unit.d/lab.conf"
    done
    for unit in polkit systemd-hostnamed NetworkManager-dispatcher; do
        ln -sf /dev/null "$units/$unit.service"
    done
    mkdir -p "$units/systemd-udev-trigger.service.d" /etc/systemd/network
    printf '[Service]\nExecStart=\nExecStart=udevadm trigger --action=add --subsystem-match=net\n' \
        > "$units/systemd-udev-trigger.service.d/lab.conf"
    # a node whose systemd-networkd takes all that it is not told to leave alone
    printf '[Match]\nType=ether\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n' > /etc/systemd/network/50-lab.network
    # shellcheck disable=SC2016  # the inner shell's
    unshare --pid --fork --mount --cgroup --mount-proc bash -c '
        mount -t tmpfs tmpfs /run && mkdir /run/lock && umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
        exec env -i container=lab PATH="$PATH" /lib/systemd/systemd --unit=lab-boot.target --log-target=console --show-status=no
    ' < /dev/null > "$boot_log" 2>&1 &
    boot_process=$!
    until boot_init=$(pgrep -P "$boot_process"); do
        kill -0 "$boot_process" || return
        sleep 0.1
    done
}

in_boot() {
    nsenter --target "$boot_init" --mount --pid env SYSTEMD_COLORS=0 SYSTEMD_PAGER= "$@"
}

boot_wait() {
    local state='' end=$((SECONDS + 60))
    while [ "$SECONDS" -lt "$end" ]; do
        state=$(in_boot systemctl is-active "$1" 2>&1) || true
        [ "$state" != "$2" ] || return 0
        sleep 0.3
    done
    echo "        $1 is $state, expected $2; systemd says:"
    sed 's/^/        /' "$boot_log"
    return 1
}

boot_end() {
    kill -KILL "$boot_init"
    wait "$boot_process" || true
}
