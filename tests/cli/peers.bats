#!/usr/bin/env bats
# What the peers' programs do with bad input and bad company. Each case: one clear line, the right exit status, no
# crash, nothing lost. On loopback only.

bats_require_minimum_version 1.5.0
load ../helpers

setup() {
    DIR=$(mktemp -d)
    BIN=$BUILD/bin
    SERVERS=()
}

teardown() {
    for pid in "${SERVERS[@]}"; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$DIR"
}

# start_server [options]: rendezvous on $PORT, ready when this returns.
start_server() {
    set_port "${PORT:-$(free_port)}"
    "$BIN/rendezvous" --listen "127.0.0.1:$PORT" --record "$DIR/record" "$@" 2>"$DIR/server.err" 3>&- &
    SERVER=$!
    SERVERS+=("$SERVER")
    wait_for grep -q ready "$DIR/server.err"
}

# One line on stderr that says what to look for, and the status.
one_line() {
    local status=$1 pattern=$2
    shift 2
    run --separate-stderr "-$status" timeout 30 "$@"
    echo "stderr: $stderr"
    [[ $stderr =~ $pattern ]]
    [ "$(grep -c . <<<"$stderr")" -le 1 ]
}

# The command of a peer of session t, for "${PEER[@]}": new whenever the port is.
set_port() {
    PORT=$1
    PEER=("$BIN/simopen" --server "127.0.0.1:$PORT" --session t)
}

@test "usage: unknown option, bad address, bad values" {
    run --separate-stderr -1 "$BIN/simopen" --frobnicate
    [[ $stderr =~ "unrecognized option '--frobnicate'" ]]
    one_line 1 "--server 'here': ADDR:PORT is needed" "$BIN/simopen" --server here --session t
    one_line 1 "--server '192.0.2.1': ADDR:PORT" "$BIN/portspray" --server 192.0.2.1 --session t
    one_line 1 "--session NAME is needed" "$BIN/simopen" --server 127.0.0.1:1
    one_line 1 "--role 'c': a or b" "$BIN/simopen" --server 127.0.0.1:1 --session t --role c
    one_line 1 "--mode 'spray': one of plain, auto, none" "$BIN/simopen" --server 127.0.0.1:1 --session t --mode spray
    one_line 1 "--timeout '5': a time with its unit" "$BIN/portspray" --server 127.0.0.1:1 --session t --timeout 5
    one_line 1 "--trials '0'" "$BIN/simopen" --server 127.0.0.1:1 --session t --trials 0
    one_line 1 "--ports '9-2'" "$BIN/simopen" --server 127.0.0.1:1 --session t --ports 9-2
    one_line 1 "both want stdout" "$BIN/simopen" --server 127.0.0.1:1 --session t --json --pipe
    one_line 1 "cannot read the key file" "$BIN/simopen" --server 127.0.0.1:1 --session t --key-file /does/not/exist
    : >"$DIR/empty"
    one_line 1 "is empty" "$BIN/simopen" --server 127.0.0.1:1 --session t --key-file "$DIR/empty"
}

@test "--help teaches and --version tells" {
    for program in simopen portspray; do
        run -0 "$BIN/$program" --help
        [[ $output =~ "rendezvous --listen" && $output =~ "Exit status" && $output =~ "--timeout" ]]
        run -0 "$BIN/$program" --version
        [[ $output =~ punchbench ]]
    done
}

@test "an unreachable server" {
    set_port "$(free_port)"
    one_line 1 "cannot reach the server 127.0.0.1:$PORT: Connection refused" "${PEER[@]}"
}

@test "a wrong key on either side" {
    echo right >"$DIR/right"
    echo wrong >"$DIR/wrong"
    start_server --key-file "$DIR/right"
    one_line 1 "refused the key" "${PEER[@]}" --key-file "$DIR/wrong"
    one_line 1 "refused the key" "${PEER[@]}"
    kill -0 "$SERVER"
    "${PEER[@]}" --key-file "$DIR/right" --quiet &
    run -0 "${PEER[@]}" --key-file "$DIR/right"
    wait $!
}

@test "two peers with one role, and a third peer" {
    start_server
    "${PEER[@]}" --role a --wait 20s --trials 200 --quiet 2>"$DIR/a.err" &
    local a=$!
    wait_for grep -q "peer a joined" "$DIR/server.err"
    one_line 1 "role a of session 't' is taken" "${PEER[@]}" --role a
    # A session that runs for a while: the third peer finds it full.
    "${PEER[@]}" --role b --quiet 2>"$DIR/b.err" &
    local b=$!
    wait_for lines_in "$DIR/record/trials.jsonl" 1
    one_line 1 "has two peers already" "${PEER[@]}"
    wait "$a" "$b"
    [ "$(wc -l <"$DIR/record/trials.jsonl")" = 200 ]
}

@test "different programs on the two sides" {
    start_server
    "${PEER[@]}" --wait 5s --quiet 2>"$DIR/a.err" &
    local a=$!
    wait_for grep -q "peer a joined" "$DIR/server.err"
    run --separate-stderr -1 "$BIN/portspray" --server "127.0.0.1:$PORT" --session t
    [[ $stderr =~ "runs another program" ]]
    kill "$a"
    wait "$a" || true
}

@test "--skew lets one side begin later, and what it misses is in the other's time" {
    start_server
    for skew in 300ms -300ms; do
        timeout 30 "${PEER[@]}" --role b --json >"$DIR/b.json" &
        timeout 30 "${PEER[@]}" --role a --skew $skew --json >"$DIR/a.json"
        wait $!
        if [ $skew = 300ms ]; then early=a late=b; else early=b late=a; fi
        # The early side was refused until the other one listened.
        jq -e --arg early $early --arg late $late '.outcome == "ok" and .[$late].skew_ns == 300000000
            and (.[$early] | has("skew_ns") | not) and .[$early].connect_ns > 290000000
            and .[$late].connect_ns < .[$early].connect_ns and .connect_ns == .[$early].connect_ns' "$DIR/a.json"
    done
}

@test "nobody else comes" {
    start_server
    one_line 1 "no other peer joined session 't' within 1 s" "${PEER[@]}" --wait 1s
}

@test "the other peer dies at each step: said, recorded, exit 2" {
    start_server
    for program in simopen portspray; do
        for step in ready trial facts plan report; do
            rm -f "$DIR/json"
            "$BIN/$program" --server "127.0.0.1:$PORT" --session "$program-$step" --role a --timeout 1s --trials 3 --json \
                >"$DIR/json" 2>"$DIR/err" &
            local a=$!
            wait_for "$BUILD/tests/fakepeer" "$PORT" "$program-$step" "$program" b "$step" 2>/dev/null
            local status=0
            wait "$a" || status=$?
            cat "$DIR/err" "$DIR/json"
            [ "$status" = 2 ]
            grep -q "the other peer left" "$DIR/err"
            [ "$(grep -c . "$DIR/err")" = 1 ]
            # The trial that was cut off is in the record, as a failure.
            jq -e -s 'length == 1 and (.[0].outcome | . == "error" or . == "timeout") and .[0].trial == 0' "$DIR/json"
        done
    done
    kill -0 "$SERVER"
    # As role a it dies before it has planned.
    for step in trial facts; do
        "$BIN/simopen" --server "127.0.0.1:$PORT" --session "a-$step" --role b --json >"$DIR/json" 2>"$DIR/err" &
        local b=$!
        wait_for "$BUILD/tests/fakepeer" "$PORT" "a-$step" simopen a "$step" 2>/dev/null
        local status=0
        wait "$b" || status=$?
        [ "$status" = 2 ]
        grep -q "the other peer left" "$DIR/err"
        jq -e -s 'length == 1 and .[0].outcome == "error"' "$DIR/json"
    done
}

@test "the other peer dies before any trial: exit 1" {
    start_server
    "${PEER[@]}" --role a --json >"$DIR/json" 2>"$DIR/err" &
    local a=$! status=0
    wait_for grep -q "peer a joined" "$DIR/server.err"
    wait_for "$BUILD/tests/fakepeer" "$PORT" t simopen b joined 2>/dev/null
    wait "$a" || status=$?
    cat "$DIR/err"
    # READY and the first TRIAL may have been on their way: then a trial was lost.
    [ "$status" = 1 ] || [ "$status" = 2 ]
    grep -q "the other peer left" "$DIR/err"
}

@test "the server is killed in the middle and started again: nothing finished is lost" {
    start_server
    "${PEER[@]}" --trials 100000 --json >"$DIR/a.json" 2>"$DIR/a.err" &
    local a=$!
    "${PEER[@]}" --trials 100000 --json >"$DIR/b.json" 2>"$DIR/b.err" &
    local b=$! status=0
    wait_for lines_in "$DIR/a.json" 20
    kill -9 "$SERVER"
    wait "$a" || status=$?
    [ "$status" = 2 ]
    status=0
    wait "$b" || status=$?
    [ "$status" = 2 ]
    grep -q "lost the server" "$DIR/a.err"
    [ "$(grep -c . "$DIR/a.err")" = 1 ]
    # Every line is whole, the trials have no gap, and the last one at most is cut off.
    jq -e -s 'map(.trial) == [range(length)] and ([.[] | select(.outcome != "ok")] | length) <= 1' "$DIR/a.json"
    local before
    before=$(wc -l <"$DIR/record/trials.jsonl")
    start_server
    "${PEER[@]}" --quiet &
    run -0 "${PEER[@]}"
    wait $!
    [ "$(wc -l <"$DIR/record/trials.jsonl")" = $((before + 1)) ]
}

@test "a server that sends garbage, an oversized frame, or nothing" {
    for what in garbage oversize close; do
        set_port "$(free_port)"
        "$BUILD/tests/fakepeer" "serve-$what" "$PORT" >"$DIR/serve" 2>&1 3>&- &
        SERVERS+=("$!")
        wait_for grep -q ready "$DIR/serve"
        run --separate-stderr -1 timeout 20 "${PEER[@]}"
        echo "$what: $stderr"
        [[ $stderr =~ ("does not speak our protocol"|"lost the server") ]]
        [ "$(grep -c . <<<"$stderr")" = 1 ]
    done
}

@test "io_uring disabled, and an open-file limit that is too low" {
    set_port 1
    one_line 1 "io_uring is disabled here" "$BUILD/tests/without" io_uring "${PEER[@]}"
    one_line 1 "open-file limit is 20, at least" bash -c "ulimit -n 20; exec ${PEER[*]}"
}

@test "Ctrl-C ends both cleanly and keeps what was measured" {
    start_server
    "${PEER[@]}" --trials 100000 --json >"$DIR/a.json" 2>"$DIR/a.err" &
    local a=$!
    "${PEER[@]}" --trials 100000 --json >"$DIR/b.json" 2>"$DIR/b.err" &
    local b=$! status=0
    wait_for lines_in "$DIR/a.json" 5
    kill -INT "$a"
    wait "$a" || status=$?
    [ "$status" = 2 ]
    grep -q interrupted "$DIR/a.err"
    wait "$b" || true
    jq -e -s 'length >= 5 and map(.trial) == [range(length)]' "$DIR/a.json"
    jq -e -s 'length >= 5' "$DIR/record/trials.jsonl"
}
