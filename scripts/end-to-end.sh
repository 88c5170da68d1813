# Sourced by the scripts that run the tests of tests/e2e in the lab's guest, after packages.sh and in the repository's folder:
#   build_callers                   installs the runtimes of tests/callers, which the guest has from this machine; sets libcni_driver
#   build_end_to_end                prepares the lab's cache, builds all that the guest needs; sets kube_ovn, examples, end_to_end and
#                                   libcni_driver
#   in_guest SETTING... -- ARG...   runs them: the settings are variables of tests/lab/e2e-guest.sh, the arguments a test executable's.
#                                   With PLUGIN=EXECUTABLE before it, that one stands in kube-ovn's place
#   rough, versions                 its modules that run apart from the others
# They return what went wrong also where the caller's `set -e` is off.
# shellcheck shell=bash

cache=${LAB_CACHE:-$PWD/.lab}
# shellcheck disable=SC2034  # used by the scripts that source this
# the tests that kill, crowd and take things away; they need all the VFs that the lab's NIC can have
rough=(k_killed:: l_world:: m_udev:: n_callers:: o_crowd:: p_stock::)
# shellcheck disable=SC2034
# every release of kube-ovn-daemon, and what goes wrong in it
versions=(v_daemon_versions:: w_daemon_faults::)

# the driver is without a C library: it runs on the machine and in the guest
build_callers() {
    install_packages golang-go golang-github-appc-cni-dev containernetworking-plugins podman containerd runc conmon iptables busybox-static curl || return
    mkdir -p target/callers
    libcni_driver=$PWD/target/callers/libcni-driver
    GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$PWD/target/callers/cache CGO_ENABLED=0 \
        go build -o "$libcni_driver" tests/callers/libcni.go
}

build_end_to_end() {
    tests/lab/prepare.sh "$cache" || return
    build_callers || return
    kube_ovn=$(scripts/build --example kube-ovn-daemon-emulator --example thin-client) || return
    examples=${kube_ovn%/*}/examples
    end_to_end=$(cargo test --locked --no-run --test e2e --message-format=json |
        jq -r 'select(.reason == "compiler-artifact" and .target.name == "e2e" and .executable) | .executable')
    [ -x "$end_to_end" ] || {
        echo "cargo built no executable of the test target \"e2e\""
        return 1
    }
}

in_guest() {
    local settings=()
    while [ "$1" != -- ]; do
        settings+=("$1")
        shift
    done
    shift
    LAB_TIMEOUT=${LAB_TIMEOUT:-3600} tests/lab/run.sh "$cache" env "WORLD_LIBCNI=$libcni_driver" "${settings[@]}" \
        tests/lab/e2e-guest.sh "$end_to_end" "$examples/kube-ovn-daemon-emulator" "${PLUGIN:-$kube_ovn}" "$@"
}
