#!/usr/bin/env bash
# e2e-guest.sh TEST_EXECUTABLE EMULATOR KUBE_OVN [ARG...]: the guest's part of the end-to-end tests: the node of world.sh, then the
# tests one by one, for they share it. They find in their environment the variables of world.sh and
#   WORLD_EMULATOR, WORLD_KUBE_OVN, WORLD_THIN_CLIENT   the executables, of which the last is beside the first
# WORLD_VFS, and E2E_SEED, E2E_LONG, E2E_ROUNDS and E2E_CALL_SECONDS of the tests, may be set before.
set -euo pipefail
# shellcheck source=tests/lab/world.sh
. "$LAB_DIR/world.sh"

tests=$1
WORLD_THIN_CLIENT=$(realpath "${2%/*}")/thin-client # tests run the plugin from /
export WORLD_EMULATOR=$2 WORLD_KUBE_OVN=$3 WORLD_THIN_CLIENT
shift 3
# shellcheck disable=SC2119
world_start
world_plugin "$WORLD_KUBE_OVN"
exec "$tests" --test-threads=1 "$@"
