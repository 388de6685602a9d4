# shellcheck shell=bash
# What the bats files share. `load ../helpers` makes them run by themselves too: bats tests/cli/peers.bats
ROOT=${ROOT:-$(cd "$BATS_TEST_DIRNAME/../.." && pwd)}
BUILD=${BUILD:-$ROOT/build}
export ROOT BUILD

# wait_for COMMAND...: until it succeeds, at most 20 s; no test may wait for ever.
wait_for() {
    local end=$((SECONDS + 20))
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || {
            echo "waited in vain for: $*" >&2
            return 1
        }
        sleep 0.05
    done
}

# lines_in FILE N: it has at least N lines.
lines_in() {
    [ "$(wc -l <"$1" 2>/dev/null || echo 0)" -ge "$2" ]
}

# A free port with a free successor, below the kernel's own range.
free_port() {
    local port
    for _ in $(seq 50); do
        port=$((13000 + RANDOM % 12000))
        ss -Hltun "sport >= :$port and sport <= :$((port + 1))" | grep -q . || break
    done
    echo "$port"
}
