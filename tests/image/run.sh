#!/usr/bin/env bash
# Builds the container image and runs it as the manifests in conf/ have it: without a capability, on a read-only root, with the directory of the
# CNI plugins and nothing else of the node.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=scripts/packages.sh
. "$top/scripts/packages.sh"
# shellcheck source=tests/support/check.sh
. "$top/tests/support/check.sh"
cd "$top"
install_packages buildah runc jq python3-yaml

work=$(mktemp -d /tmp/kube-ovn-image.XXXXXX)
check_said=$work/output
container=
cleanup() {
    [ -z "$container" ] || runc --root "$work/runc" delete --force "$container" > /dev/null 2>&1 || true
    buildah umount --all > /dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT

buildah() {
    command buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"
}

# soon COMMAND...: within a minute
soon() {
    local _
    for _ in $(seq 600); do
        "$@" > /dev/null 2>&1 && return
        sleep 0.1
    done
    "$@"
}

host=$work/host bin=$work/host/opt/cni/bin
stock() {
    printf 'the stock plugin, version %s\n' "$1" > "$work/stock"
    cp -f "$work/stock" "$bin/kube-ovn"
}
is_stock() {
    [ "$(cat "$1")" = "the stock plugin, version $2" ]
}

# start MANIFEST: as kubelet has it
start() {
    container=${1//[^a-z]/-}
    mkdir -p "$work/$container"
    (cd "$work/$container" && rm -f config.json && runc spec)
    mv "$work/$container/config.json" "$work/spec.json"
    /usr/bin/python3 tests/image/bundle.py "$1" "$rootfs" "$host" "${entrypoint[@]}" < "$work/spec.json" > "$work/$container/config.json"
    runc --root "$work/runc" run --detach --bundle "$work/$container" "$container" > "$work/log" 2>&1 < /dev/null
}
is_stopped() {
    [ "$(runc --root "$work/runc" state "$container" | jq -r .status)" = stopped ]
}
stop() {
    runc --root "$work/runc" kill "$container" TERM
    soon is_stopped && runc --root "$work/runc" delete "$container"
}
# the manifest's readiness probe
ready() {
    runc --root "$work/runc" exec "$container" "${probe[@]}"
}

are_static() {
    ! readelf --program-headers "$rootfs/kube-ovn" "$rootfs/kube-ovn-offload" | grep INTERP
}
is_made_again() {
    scripts/image && cmp "$work/first" "$archive"
}
has_no_capability() {
    grep -q '^CapEff:[[:space:]]*0*$' "/proc/$(runc --root "$work/runc" state "$container" | jq .pid)/status"
}

archive=$(scripts/image 2> "$work/build.log") || {
    cat "$work/build.log"
    exit 1
}
echo "$archive: $(stat -c %s "$archive") bytes"
printf '{"default": [{"type": "insecureAcceptAnything"}]}\n' > "$work/policy.json"
name=$(buildah from --signature-policy "$work/policy.json" "oci-archive:$archive")
rootfs=$(buildah mount "$name")
mapfile -t entrypoint < <(buildah inspect "$name" | jq -r '.OCIv1.config.Entrypoint[]')
mapfile -t probe < <(/usr/bin/python3 -c '
import sys, yaml
for word in yaml.safe_load(open(sys.argv[1]))["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["exec"]["command"]:
    print(word)' conf/install/daemonset.yaml)

check "nothing is in it but the two executables and the licence" \
    diff <(printf '%s\n' LICENSE kube-ovn kube-ovn-offload) <(cd "$rootfs" && find . -type f -printf '%P\n' | sort)
check "they are static" are_static
cp "$archive" "$work/first"
check "the same executables make the same image" is_made_again

mkdir -p "$bin"
check "buildah runs it" buildah run --isolation oci --runtime runc --cap-drop all --volume "$bin:/opt/cni/bin" "$name" -- "${entrypoint[@]}" install
check "the plugin is the image's" cmp "$rootfs/kube-ovn" "$bin/kube-ovn"
stock 1
start conf/install/daemonset.yaml
check "conf/install is ready" soon ready
check "the plugin is the image's" cmp "$rootfs/kube-ovn" "$bin/kube-ovn"
check "it runs on the node" "$bin/kube-ovn" --version
check "it is root's, mode 755" [ "$(stat -c '%u %g %a' "$bin/kube-ovn")" = "0 0 755" ]
check "the stock plugin is kept" is_stock "$bin/kube-ovn.before-offload" 1
stock 2
check "Kube-OVN puts the stock plugin back: so is ours" soon cmp "$rootfs/kube-ovn" "$bin/kube-ovn"
check "the new stock plugin is kept" is_stock "$bin/kube-ovn.before-offload" 2
check "it is ready again" soon ready
check "it has no capability" has_no_capability
check "SIGTERM ends it" stop
check "the plugin stays" cmp "$rootfs/kube-ovn" "$bin/kube-ovn"

start conf/uninstall/daemonset.yaml
check "conf/uninstall brings the stock plugin back" soon is_stock "$bin/kube-ovn" 2
check "SIGTERM ends it" stop
check "nothing else is left" [ "$(ls -A "$bin")" = kube-ovn ]

verdict
