# Sourced by tests that are scripts, which set check_said to a file of theirs:
#   check WHAT COMMAND...   counts whether it does; what it says is shown when it does not. In this shell: it may set variables
#   verdict                 the counts, as scripts/test reads them; fails if anything has
# shellcheck shell=bash
passed=0 failed=0

check() {
    local what=$1
    shift
    if "$@" > "$check_said" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $what"
    else
        failed=$((failed + 1))
        echo "NOT OK  $what: $*"
        cat "$check_said"
    fi
}

verdict() {
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" = 0 ]
}
