#!/usr/bin/env bats
# discover on loopback. Pins: bad usage without a clear line, a server that is not there, a wrong key that is not told, a
# trace that cannot be written, output that is not one JSON line.

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

start() {
    PORT=$((25000 + RANDOM % 5000))
    "$BIN/rendezvous" --listen "127.0.0.1:$PORT" --alternate 127.0.0.2 "$@" 2>"$DIR/s.err" 3>&- &
    SERVER=$!
    wait_for grep -q ready "$DIR/s.err"
}

one_line() {
    local status=$1 pattern=$2
    shift 2
    run --separate-stderr "-$status" timeout 20 "$@"
    echo "stderr: $stderr"
    [[ $stderr =~ $pattern ]]
    [ "$(grep -c . <<<"$stderr")" = 1 ]
}

@test "usage: each mistake has its line" {
    one_line 1 "--server is needed, as: discover --server" "$BIN/discover"
    one_line 1 "--server 'here': ADDR:PORT is needed" "$BIN/discover" --server here
    one_line 1 "--server '0.0.0.0:1'" "$BIN/discover" --server 0.0.0.0:1
    one_line 1 "--transport 'sctp': udp or tcp" "$BIN/discover" --server 127.0.0.1:1 --transport sctp
    one_line 1 "--samples '3': a number from 4 to 60" "$BIN/discover" --server 127.0.0.1:1 --samples 3
    one_line 1 "--lifetime is measured over UDP only" "$BIN/discover" --server 127.0.0.1:1 --transport tcp --lifetime
    one_line 1 "--count and --interval are about --trace" "$BIN/discover" --server 127.0.0.1:1 --count 3
    one_line 1 "--interval '5': a time with its unit" "$BIN/discover" --server 127.0.0.1:1 --trace x --interval 5
    one_line 1 "--ports '9-8': LO-HI" "$BIN/discover" --server 127.0.0.1:1 --ports 9-8
    one_line 1 "cannot read the key file .*: No such file" "$BIN/discover" --server 127.0.0.1:1 --key-file "$DIR/no"
    one_line 1 "unexpected argument 'x'" "$BIN/discover" --server 127.0.0.1:1 x
    one_line 1 "cannot write the trace /proc/nothing: " "$BIN/discover" --server 127.0.0.1:1 --trace /proc/nothing
    run -0 "$BIN/discover" --help
    [[ $output == *"discover --server 192.0.2.1:3478 --transport tcp --json"* ]]
    run -0 "$BIN/discover" --version
    [[ $output == "discover (punchbench) "* ]]
}

@test "nobody there: one line, status 1" {
    one_line 1 "no answer from 127.0.0.1:1 over UDP: is it a STUN server" "$BIN/discover" --server 127.0.0.1:1
    one_line 1 "no connection to 127.0.0.1:1: Connection refused" "$BIN/discover" --server 127.0.0.1:1 --transport tcp
}

@test "no NAT: said for people, and as one JSON line" {
    start
    local transport
    for transport in udp tcp; do
        run -0 --separate-stderr timeout 20 "$BIN/discover" --server "127.0.0.1:$PORT" --transport $transport
        echo "$output $stderr"
        [[ $output =~ "mapping "+none && $output =~ "filtering "+none && $output == *"Open Internet"* ]]
        [ -z "$stderr" ]
        run -0 --separate-stderr timeout 20 "$BIN/discover" --server "127.0.0.1:$PORT" --transport $transport --json
        [ "$(wc -l <<<"$output")" = 1 ]
        [ "$(jq -r '[.schema, .type, .transport, .nat, .rendezvous, .two_addresses] | @csv' <<<"$output")" = \
            "1,\"discovery\",\"$transport\",\"open\",true,true" ]
    done
}

@test "a key that differs: STUN still tells, and the reason is said" {
    echo right >"$DIR/right"
    echo wrong >"$DIR/wrong"
    start --key-file "$DIR/right"
    run -0 timeout 20 "$BIN/discover" --server "127.0.0.1:$PORT" --transport tcp --key-file "$DIR/wrong"
    echo "$output"
    [[ $output =~ "mapping "+none && $output =~ "filtering "+"unknown (the server has another key: check --key-file)" ]]
    run -0 timeout 20 "$BIN/discover" --server "127.0.0.1:$PORT" --transport tcp --key-file "$DIR/right"
    [[ $output =~ "filtering "+none ]]
}
