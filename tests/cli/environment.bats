#!/usr/bin/env bats
# Machines that lack something: each program says so in one clear line and exits with 1. Pins: a crash, a hang or a bare
# errno where io_uring, root, user namespaces or descriptors are missing.

bats_require_minimum_version 1.5.0
load ../helpers

setup() {
    DIR=$(mktemp -d)
    BIN=$BUILD/bin
}

teardown() {
    rm -rf "$DIR"
}

one_line() {
    local pattern=$1
    shift
    run --separate-stderr -1 timeout 30 "$@"
    # shellcheck disable=SC2154 # bats sets it
    echo "stdout: $output" "stderr: $stderr"
    [[ $stderr =~ $pattern ]]
    [ "$(grep -c . <<<"$stderr")" = 1 ]
}

@test "io_uring disabled" {
    local without=("$BUILD/tests/without" io_uring)
    one_line "io_uring is disabled here" "${without[@]}" "$BIN/rendezvous" --listen 127.0.0.1:19999
    one_line "io_uring is disabled here" "${without[@]}" "$BIN/simopen" --server 127.0.0.1:1 --session t
    one_line "io_uring is disabled here" "${without[@]}" "$BIN/bench" run "$ROOT/bench/campaigns/quick.ini" --out "$DIR/out"
    [ ! -e "$DIR/out/trials.jsonl" ]
}

@test "no root and no user namespaces" {
    [ "$(id -u)" = 0 ] || skip "needs root to become nobody"
    # The build may be where nobody can read.
    cp -r "$BIN" "$BUILD/tests/without" "$ROOT/bench/profiles" "$ROOT/bench/campaigns" "$DIR"
    chmod -R a+rX "$DIR"
    export PUNCHBENCH_DATA=$DIR
    local nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups "$DIR/without" namespaces "$DIR/bin/bench")
    one_line "root" "${nobody[@]}" run "$DIR/campaigns/quick.ini" --out /tmp/nobody-was-here
    [ ! -e /tmp/nobody-was-here ]
    one_line "root" "${nobody[@]}" lab -a open -b open --run-a true
}

# A server goes on with what it has: rendezvous.bats runs it out of descriptors.
@test "an open-file limit that is too low" {
    one_line "open-file limit" bash -c "ulimit -n 20; exec '$BIN/simopen' --server 127.0.0.1:1 --session t"
    one_line "open.file" bash -c "ulimit -n 20; exec '$BIN/bench' run '$ROOT/bench/campaigns/quick.ini' --out '$DIR/out'"
}
