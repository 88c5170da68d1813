# Sourced by the scripts that need Debian packages:
#   die MESSAGE              one line on stderr, exit 1
#   install_packages PKG...  installs what is missing of them, without starting or enabling any service
# shellcheck shell=bash

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# missing_packages PKG...: prints those that are not installed
missing_packages() {
    local status package
    declare -A installed=()
    while read -r status package; do
        [ "$status" = installed ] && installed[$package]=1
    done < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null)
    for package in "$@"; do
        [ -n "${installed[$package]:-}" ] || echo "$package"
    done
}

# The machine's services are not ours: a package's maintainer scripts ask policy-rc.d before they start one, and 101 forbids
# it. A policy that is there and forbids already stays as it is; any other is put aside until the installation has ended.
forbid_service_starts() {
    local policy=/usr/sbin/policy-rc.d answer=0
    if [ -x "$policy" ]; then
        "$policy" openvswitch-switch start > /dev/null 2>&1 || answer=$?
        [ "$answer" = 101 ] && return
        mv "$policy" "$policy.kube-ovn-saved"
        trap 'mv /usr/sbin/policy-rc.d.kube-ovn-saved /usr/sbin/policy-rc.d' EXIT
    else
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
}

# disable_units PKG...: nor may a service that we brought start at the machine's next boot. deb-systemd-helper is what enabled it,
# with or without a systemd that runs; it wants to be told which package calls.
disable_units() {
    local package unit
    for package in "$@"; do
        while read -r unit; do
            DPKG_MAINTSCRIPT_PACKAGE=$package deb-systemd-helper disable "${unit##*/}" > /dev/null ||
                echo "${0##*/}: cannot disable ${unit##*/}: it starts at the next boot" >&2
        done < <(dpkg -L "$package" | grep -E '/systemd/system/[^/@]+\.service$' || true)
    done
}

# run_apt LOG PKG...: in a subshell, whose EXIT trap puts policy-rc.d back whatever happens
run_apt() (
    local log=$1 still_missing
    shift
    exec 9> /run/kube-ovn-packages.lock
    flock 9 # scripts/demo builds and prepares the lab side by side
    mapfile -t still_missing < <(missing_packages "$@")
    [ ${#still_missing[@]} -gt 0 ] || exit 0
    echo "installing ${still_missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    forbid_service_starts
    # descriptor 9 is closed for apt: a process that it leaves behind must not hold the lock
    apt-get update -q > "$log" 2>&1 9>&- || exit 1
    apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "${still_missing[@]}" >> "$log" 2>&1 9>&- || exit 1
    disable_units "${still_missing[@]}"
)

install_packages() {
    local missing log
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    [ -x "$(command -v apt-get)" ] || die "needs apt-get (Debian 12) to install: ${missing[*]}"
    [ "$(id -u)" = 0 ] || die "must run as root to install: ${missing[*]}"
    log=$(mktemp /tmp/kube-ovn-packages.XXXXXX)
    run_apt "$log" "${missing[@]}" ||
        die "cannot install ${missing[*]}: $(grep -m1 '^E:' "$log" || tail -n 1 "$log") (all of apt's output: $log)"
    rm -f "$log"
}
