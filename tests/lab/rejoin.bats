#!/usr/bin/env bats
# needs: root
# A NAT that restarts in the middle of a trial, with all its mappings and, where asked, with another address. Pins: a
# session that ends with its control connection; a search that stays with the addresses of before; a restart that is
# none, so that nothing was shown.

bats_require_minimum_version 1.5.0
load lab

# campaign NATS-B TRIALS LINK-KEYS...
campaign() {
    cat >"$DIR/c.ini" <<EOF
[campaign]
name = t
seed = 5
trials = $2
timeout = 5s
nats-a = linux-strict
nats-b = $1
techniques = portspray:random
[link]
rtt = 20ms
$(printf '%s\n' "${@:3}")
EOF
    rm -rf "$DIR/out"
    "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out"
}

# all JQ: holds for every trial.
all() {
    jq -c '[.cell, .trial, .outcome, .connect_ns, .b.rejoined, .b.mapped, .a.errors, .b.errors]' "$DIR/out/trials.jsonl"
    jq -e -s "length > 0 and all(.[]; $1)" "$DIR/out/trials.jsonl"
}

@test "a NAT that comes back with another address: the peer comes back to S, and both find each other" {
    run -0 campaign "sym-random, mobile-sym-random, port-restricted" 4 "b-readdress = 8ms"
    # Nothing can have been agreed before: the round trip is 20 ms.
    all '.outcome == "ok" and ([.nats[].restarts // 0] | add) == 1 and .b.rejoined >= 1 and (.a.rejoined // 0) == 0'
}

@test "without the restart there is nothing to come back from" {
    run -0 campaign "sym-random, port-restricted" 2
    all '.outcome == "ok" and ([.nats[].restarts // 0] | add) == 0 and (.b | has("rejoined") | not)'
}

@test "real NATs that forget everything" {
    run -0 campaign "linux-strict, linux-random" 4 "b-restart = 8ms"
    all '.outcome == "ok" and ([.nats[].restarts // 0] | add) == 1'
}

@test "what cannot restart, or not like that, is said" {
    run -2 campaign open 1 "b-restart = 8ms"
    [[ $output == *"could not restart: the peer is behind none"* ]]
    run -2 campaign linux-strict 1 "b-readdress = 8ms"
    [[ $output == *"only an emulated NAT"* ]]
    for bad in "restart = 1s" "s-restart = 1s" "b-restart-up = 1s" "b-readdress = soon"; do
        run -1 campaign sym-random 1 "$bad"
        [[ $output == *"c.ini:11:"* ]]
    done
}
