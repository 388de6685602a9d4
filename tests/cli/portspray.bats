#!/usr/bin/env bats
# The UDP search's options on loopback. Pins: a bad value that is taken, or refused without saying what is wanted; a
# budget over the open-file limit that fails half-way; a held path without time for it; sockets that stay.

bats_require_minimum_version 1.5.0
load ../helpers

setup() {
    DIR=$(mktemp -d)
    BIN=$BUILD/bin
    SERVER=
}

teardown() {
    [ -z "$SERVER" ] || kill "$SERVER" 2>/dev/null || true
    rm -rf "$DIR"
}

# refused PATTERN OPTION...: one line on stderr with it, exit 1.
refused() {
    local pattern=$1
    shift
    run --separate-stderr -1 timeout 20 "$BIN/portspray" --server 127.0.0.1:1 --session t "$@"
    echo "$* -> $stderr"
    [[ $stderr =~ $pattern ]]
    [ "$(grep -c . <<<"$stderr")" = 1 ]
}

start_server() {
    PORT=$(free_port)
    "$BIN/rendezvous" --listen "127.0.0.1:$PORT" 2>"$DIR/server.err" 3>&- &
    SERVER=$!
    wait_for grep -q ready "$DIR/server.err"
}

# both LIMIT-OF-B A-OPTION...: role a's status in $STATUS, its record in a.json, what it said in a.err.
both() {
    local limit=$1 b
    shift
    (ulimit -n "$limit" && exec timeout 30 "$BIN/portspray" --server "127.0.0.1:$PORT" --session t --role b --quiet) \
        2>"$DIR/b.err" 3>&- &
    b=$!
    STATUS=0
    timeout 30 "$BIN/portspray" --server "127.0.0.1:$PORT" --session t --role a --json "$@" >"$DIR/a.json" 2>"$DIR/a.err" 3>&- ||
        STATUS=$?
    wait "$b" || true
    cat "$DIR/a.json" "$DIR/a.err"
}

@test "bad values are refused, each in one line that says what is wanted" {
    refused "--mode 'spray'.*punch, window, random, full" --mode spray
    refused "--holes '0'.*auto or a number from 1 to 65535" --holes 0
    refused "--probes '65536'" --probes 65536
    refused "--window '5,1'" --window 5,1
    refused "--window '1,70000'" --window 1,70000
    refused "--ttl '0'" --ttl 0
    refused "--ttl '256'" --ttl 256
    refused "--rate '-1'" --rate -1
    refused "--probe-rate 'fast'" --probe-rate fast
    refused "--burst '0'" --burst 0
    refused "--rounds 'many'" --rounds many
    refused "--sweep 'down'" --sweep down
    refused "--attempts '0'" --attempts 0
    refused "--hold-for '3'" --hold-for 3
    refused "--keepalive '-1s'" --keepalive -1s
    refused "--quality '10'" --quality 10
    refused "--quality-rate '0'" --quality-rate 0
}

@test "more probes than the prober's open files: said by role a, nothing is sent" {
    start_server
    both 300 --mode random --holes 10 --probes 290 --timeout 2s
    [ "$STATUS" != 0 ]
    grep -q "290 probes in 1 attempts need 354 open files, but the prober's limit is 300" "$DIR/a.err"
    jq -e '.outcome == "error" and (.b.packets // 0) == 0 and (.a.packets // 0) == 0' "$DIR/a.json"
}

@test "a held path without time for it" {
    start_server
    both 1024 --hold-for 8s --timeout 10s
    [ "$STATUS" != 0 ]
    grep -q -- "--timeout 10s leaves no time beside --hold-for 8s: make it 14s or more" "$DIR/a.err"
}

@test "a path to be measured without time for it" {
    start_server
    both 1024 --quality 2s --timeout 10s
    [ "$STATUS" != 0 ]
    grep -q -- "--timeout 10s leaves no time beside --quality 2s: make it 12s or more" "$DIR/a.err"
    both 1024 --hold-for 1s --quality 2s --timeout 10s
    grep -q -- "--timeout 10s leaves no time beside --hold-for 1s and --quality 2s: make it 16s or more" "$DIR/a.err"
}

@test "many sockets: the path is found, and they go with the trial" {
    start_server
    # Each hole is at a port where nobody is, but for the one that the prober's probes come from: they find the opener.
    both 1024 --mode random --holes 50 --probes 200 --trials 5 --timeout 5s
    [ "$STATUS" = 0 ]
    jq -e -s 'length == 5 and all(.[]; .outcome == "ok" and .path != null and .b.probes >= 1)
        and all(.[]; .b.open_files < 240)' "$DIR/a.json"
}
