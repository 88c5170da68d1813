#!/usr/bin/env bash
# What is released, and what it is made of: crates, the compiler that they need, the bill of materials, the archives.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=scripts/packages.sh
. "$top/scripts/packages.sh"
# shellcheck source=tests/support/check.sh
. "$top/tests/support/check.sh"
cd "$top"
install_packages jq python3-venv
work=$(mktemp -d /tmp/kube-ovn-release.XXXXXX)
check_said=$work/output
trap 'rm -rf "$work"' EXIT

msrv=$(sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' Cargo.toml)
# clippy (incompatible_msrv) sees that we use nothing newer of the standard library; this, that no crate wants a newer compiler
no_crate_wants_a_newer_compiler() {
    local wanted
    wanted=$(cargo metadata --format-version 1 --locked | jq -r '.packages[].rust_version // empty' | sort --version-sort | tail -n 1)
    echo "wanted: $wanted, Cargo.toml: $msrv"
    [ "$(printf '%s\n%s\n' "$wanted" "$msrv" | sort --version-sort | tail -n 1)" = "$msrv" ]
}
the_readme_says_so() {
    grep -q "Rust toolchain ($msrv or later" README.md
}
it_compiles() {
    cargo "+$msrv" check --locked --all-targets --target-dir "$work/target"
}
has_compiler() {
    rustup toolchain list 2> /dev/null | grep -q "^$msrv"
}

makes_a_bill() {
    scripts/sbom > "$work/sbom"
}
# the crates that a walk along the edges from our own comes to are all that cargo tree has
has_every_crate() {
    diff <(jq -r '.components[] | select(.purl | startswith("pkg:cargo/")) | "\(.name) v\(.version)"' "$work/sbom" | sort) \
        <(cargo tree --locked --edges normal,no-proc-macro --target "$(rustc -vV | sed -n 's/^host: //p')" --prefix none --format '{p}' |
            sed 's/ (.*//' | sort --unique | grep -v '^kube-ovn v')
}
is_cyclonedx() {
    local tools=${CARGO_TARGET_DIR:-target}/cyclonedx
    if ! [ -x "$tools/done" ]; then
        /usr/bin/python3 -m venv --clear "$tools"
        "$tools/bin/pip" install --quiet --disable-pip-version-check 'cyclonedx-python-lib[json-validation]==11.12.0'
        install /dev/null "$tools/done"
    fi
    "$tools/bin/python" - "$work/sbom" << 'PYTHON'
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
with open(sys.argv[1], encoding="utf-8") as file:
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(file.read())
sys.exit(f"{error}" if error else 0)
PYTHON
}
has_checksums() {
    jq -e '[.components[] | select(.purl | startswith("pkg:cargo/")) | .hashes[0].content | test("^[0-9a-f]{64}$")] | length > 20 and all' "$work/sbom"
}

dist=$(realpath -m "${CARGO_TARGET_DIR:-target}/dist")
are_the_same_again() {
    cp "$dist/SHA256SUMS" "$work/first"
    scripts/release --draft && cmp "$work/first" "$dist/SHA256SUMS"
}
have_their_checksums() {
    (cd "$dist" && sha256sum --check --strict SHA256SUMS && ls -- *.tar.gz)
}
holds_what_runs() {
    tar -xzf "$dist"/*-linux-amd64.tar.gz -C "$work" --strip-components 1 --one-top-level=archive
    [ "$("$work/archive/kube-ovn" --version)" = "kube-ovn $version" ] &&
        "$work/archive/kube-ovn-offload" install --bin-dir "$work" &&
        cmp "$work/archive/kube-ovn" "$work/kube-ovn" &&
        for file in LICENSE README.md CHANGELOG.md SECURITY.md conf/README.md conf/install/daemonset.yaml docs/configuration.md kube-ovn-offload.cdx.json; do
            [ -f "$work/archive/$file" ] || { echo "no $file" && return 1; }
        done
}

version=$(sed -n 's/^version *= *"\(.*\)"/\1/p' Cargo.toml)
check "crates: licences, sources, none unwanted, none twice" scripts/deny
check "no crate wants a newer compiler than Cargo.toml says" no_crate_wants_a_newer_compiler
check "README.md names the same compiler" the_readme_says_so
# where that compiler is not, clippy's lint must do
! has_compiler || check "it compiles with Rust $msrv" it_compiles
check "a bill of materials" makes_a_bill
check "it fits CycloneDX's schema" is_cyclonedx
check "it has every crate that is linked" has_every_crate
check "each of them has its checksum" has_checksums
check "CHANGELOG.md has an entry for this version" grep -q "^## $version\b" CHANGELOG.md
check "archives of a release" scripts/release --draft
check "they have their checksums" have_their_checksums
check "the same commit makes the same archives" are_the_same_again
check "what is in them runs" holds_what_runs

verdict
