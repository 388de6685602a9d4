#!/usr/bin/env bats
# The server S on loopback, with its own clients and with coturn's. Pins: bad usage without a clear line; foreign STUN
# clients that get wrong answers; garbage, floods and crowds that harm anybody else; records lost at a restart.

bats_require_minimum_version 1.5.0
load ../helpers

setup() {
    DIR=$(mktemp -d)
    BIN=$BUILD/bin
    ASKER=$BUILD/tests/asker
    STARTED=()
}

teardown() {
    for pid in "${STARTED[@]}"; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$DIR"
}

# start [options]: rendezvous on $PORT, ready when this returns. $FEED, if set, becomes its stdin.
start() {
    PORT=${PORT:-$(free_port)}
    : >"$DIR/err"
    "$BIN/rendezvous" --listen "${ADDR:-127.0.0.1}:$PORT" "$@" <"${FEED:-/dev/null}" >"$DIR/out" 2>"$DIR/err" 3>&- &
    SERVER=$!
    STARTED+=("$SERVER")
    await 'ready: listening on' "$DIR/err"
}

await() {
    for _ in $(seq 200); do
        grep -q -- "$1" "$2" && return
        sleep 0.05
    done
    cat "$2" >&2
    return 1
}

alive() {
    kill -0 "$SERVER"
    run -0 "$ASKER" stun-tcp "127.0.0.1:$PORT" 1
    [[ $output == *"answered 1 of 1"* ]]
}

one_line() {
    local status=$1 pattern=$2
    shift 2
    run --separate-stderr "-$status" timeout 10 "$@"
    echo "stderr: $stderr"
    [[ $stderr =~ $pattern ]]
    [ "$(grep -c . <<<"$stderr")" = 1 ]
}

# pair SESSION TRIALS [options]: two simopen peers on loopback.
pair() {
    local session=$1 trials=$2
    shift 2
    timeout 60 "$BIN/simopen" --server "127.0.0.1:$PORT" --session "$session" --trials "$trials" "$@" -q \
        >/dev/null 2>"$DIR/a.err" 3>&- &
    local a=$!
    timeout 60 "$BIN/simopen" --server "127.0.0.1:$PORT" --session "$session" --trials "$trials" "$@" -q 2>"$DIR/b.err"
    wait "$a"
}

# ---- usage --------------------------------------------------------------------------------------

@test "usage: no --listen, bad addresses and numbers, bad key files" {
    one_line 1 "--listen is needed, as: rendezvous --listen 192.0.2.1:3478" "$BIN/rendezvous"
    one_line 1 "--listen 'here': ADDR:PORT is needed" "$BIN/rendezvous" --listen here
    one_line 1 "--listen '127.0.0.1:0'" "$BIN/rendezvous" --listen 127.0.0.1:0
    one_line 1 "--alternate '1.2.3.4:5': an address" "$BIN/rendezvous" --listen 127.0.0.1:1 --alternate 1.2.3.4:5
    one_line 1 "--sample-ports '257': N or N@FIRST is needed, N from 0 to 256" "$BIN/rendezvous" --listen 127.0.0.1:1 --sample-ports 257
    one_line 1 "--sample-ports '4@0'" "$BIN/rendezvous" --listen 127.0.0.1:1 --sample-ports 4@0
    one_line 1 "beyond 65535" "$BIN/rendezvous" --listen 127.0.0.1:1 --sample-ports 4@65533
    one_line 1 "overlap a --listen port" "$BIN/rendezvous" --listen 127.0.0.1:40001 --sample-ports 4@40000
    one_line 1 "--stun-rate '-1': a number from 0" "$BIN/rendezvous" --listen 127.0.0.1:1 --stun-rate -1
    one_line 1 "--max-sessions '0': a number from 1" "$BIN/rendezvous" --listen 127.0.0.1:1 --max-sessions 0
    one_line 1 "unexpected argument 'x'" "$BIN/rendezvous" --listen 127.0.0.1:1 x
    one_line 1 "cannot read the key file .*: No such file" "$BIN/rendezvous" --listen 127.0.0.1:1 --key-file "$DIR/no"
    one_line 1 "cannot read the key file .*: Is a directory" "$BIN/rendezvous" --listen 127.0.0.1:1 --key-file "$DIR"
    echo >"$DIR/empty"
    one_line 1 "the key file .* is empty" "$BIN/rendezvous" --listen 127.0.0.1:1 --key-file "$DIR/empty"
    run -1 "$BIN/rendezvous" --frobnicate
}

@test "--help teaches with an example, --version names the build" {
    run -0 "$BIN/rendezvous" --help
    [[ $output == *"rendezvous --listen 192.0.2.1:3478"* && $output == *"simopen --server"* ]]
    run -0 "$BIN/rendezvous" --version
    [[ $output == "rendezvous (punchbench) "* ]]
}

@test "what cannot be listened on: one line that says why" {
    start
    one_line 1 "cannot listen on 127.0.0.1:$PORT over TCP: something else listens" "$BIN/rendezvous" --listen "127.0.0.1:$PORT"
    one_line 1 "does not have that address" "$BIN/rendezvous" --listen 192.0.2.1:3478
    one_line 1 "there twice" "$BIN/rendezvous" --listen 127.0.0.1:3478 --listen 127.0.0.1:3478
    one_line 1 "another address" "$BIN/rendezvous" --listen 127.0.0.1:3478 --alternate 127.0.0.1
    one_line 1 "one of its own|address of its own" "$BIN/rendezvous" --listen 0.0.0.0:3478 --alternate 127.0.0.2
    one_line 1 "one family" "$BIN/rendezvous" --listen 127.0.0.1:3478 --alternate ::1
    one_line 1 "cannot write records to /proc/nothing" "$BIN/rendezvous" --listen "127.0.0.1:$((PORT + 1))" --record /proc/nothing
}

@test "SIGTERM and SIGINT end it with status 0; it comes back on the same port at once" {
    start
    "$ASKER" drip "127.0.0.1:$PORT" # a connection that S closes first stays in TIME_WAIT
    kill -TERM "$SERVER"
    wait "$SERVER"
    start
    alive
    # A background process of a shell ignores SIGINT; S takes it all the same.
    kill -INT "$SERVER"
    wait "$SERVER"
}

# ---- STUN ---------------------------------------------------------------------------------------

@test "coturn's stunclient and natdiscovery get right answers" {
    command -v turnutils_stunclient >/dev/null && command -v turnutils_natdiscovery >/dev/null ||
        skip "coturn's clients are not installed (make deps-dev)"
    start --alternate 127.0.0.2
    local local_port other="127.0.0.2:$((PORT + 1))"
    local_port=$(free_port)
    run -0 timeout 10 turnutils_stunclient -p "$PORT" 127.0.0.1
    [[ $output == *"UDP reflexive addr: 127.0.0.1:"* && $output == *"Response origin: : $other"* ]]
    local padding
    for padding in "" -P; do
        run timeout 20 turnutils_natdiscovery -m $padding -L 127.0.0.1 -l "$local_port" -p "$PORT" 127.0.0.1
        echo "$output"
        [[ $output == *"Endpoint Independent Mapping"* && $output == *"Other addr: : $other"* ]]
        [[ $output == *"Response origin: : 127.0.0.2:$PORT"* ]]
        run timeout 20 turnutils_natdiscovery -f $padding -L 127.0.0.1 -l "$local_port" -p "$PORT" 127.0.0.1
        echo "$output"
        [[ $output == *"Endpoint Independent Filtering"* ]]
    done
}

@test "several STUN requests on one TCP connection; UDP beside it; several ports" {
    start --listen "127.0.0.1:$(($(free_port) + 300))"
    run -0 "$ASKER" stun-tcp "127.0.0.1:$PORT" 200
    [[ $output == *"answered 200 of 200"* && $output == *"mapped 127.0.0.1:"* ]]
    local second
    second=$(sed -n 's/.*listening on [^ ]* //p' "$DIR/err")
    run -0 "$ASKER" stun-udp "$second" 3
    [[ $output == *"from $second mapped 127.0.0.1:"* && $output == *"answered 3 of 3"* ]]
}

@test "a wildcard socket answers from the address that was asked" {
    ADDR=0.0.0.0 start
    local addr
    for addr in 127.0.0.1 127.0.0.9 127.1.2.3; do
        run -0 "$ASKER" stun-udp "$addr:$PORT"
        [[ $output == *"from $addr:$PORT mapped"* ]]
    done
}

@test "IPv6" {
    [ -e /proc/net/if_inet6 ] && grep -q '^0\{31\}1 ' /proc/net/if_inet6 || skip "no IPv6 loopback"
    ADDR='[::1]' start
    run -0 "$ASKER" stun-udp "[::1]:$PORT"
    [[ $output == *"from [::1]:$PORT mapped [::1]:"* ]]
    run -0 "$ASKER" stun-tcp "[::1]:$PORT" 2
    [[ $output == *"answered 2 of 2"* ]]
}

@test "sampling ports: a peer samples as many as it asks for, at once" {
    start --sample-ports 40 --record "$DIR/record"
    grep -q "and 40 sampling endpoints from port $((PORT + 1))" "$DIR/err"
    pair many 2 --samples 30
    run -0 jq -s 'map(.a.samples, .b.samples, .outcome)' -c "$DIR/record/trials.jsonl"
    [ "$output" = '[30,30,"ok",30,30,"ok"]' ]
    timeout 60 "$BIN/portspray" --server "127.0.0.1:$PORT" --session udp -q 2>&1 3>&- &
    run -0 timeout 60 "$BIN/portspray" --server "127.0.0.1:$PORT" --session udp --samples 30 --json
    [ "$(jq .a.samples <<<"$output")" = "$(jq .b.samples <<<"$output")" ]
}

@test "rates: a flood is cut, another address is not" {
    start --stun-rate 5 --join-rate 1
    run -0 "$ASKER" stun-tcp "127.0.0.1:$PORT" 1
    run -0 "$ASKER" stun-udp "127.0.0.1:$PORT" 14
    local answered
    answered=$(sed -n 's/answered \([0-9]*\) of.*/\1/p' <<<"$output")
    # A burst of 10, and 5 a second while the unanswered ones are waited for.
    ((answered >= 9 && answered < 14))
    "$ASKER" drip "127.0.0.1:$PORT"
    "$ASKER" drip "127.0.0.1:$PORT"
    run -0 "$ASKER" drip "127.0.0.1:$PORT"
    [[ $output == *"error 6 too many joins"* ]]
}

# ---- bad company --------------------------------------------------------------------------------

@test "garbage, oversized, early and foreign frames: refused with the reason, nobody else harmed" {
    start
    run -0 "$ASKER" send "127.0.0.1:$PORT" 474554202f20485454502f312e310d0a
    [ "${lines[0]}" = "error 7 not a frame" ]
    [ "${lines[1]}" = closed ]
    run -0 "$ASKER" send "127.0.0.1:$PORT" b50100017fffffff00000000
    [[ $output == *"error 7 an oversized frame"* ]]
    run -0 "$ASKER" send "127.0.0.1:$PORT" b50100010000200000000000 # 8 KB, before any proof
    [[ $output == *"error 7 an oversized frame"* ]]
    run -0 "$ASKER" send "127.0.0.1:$PORT" b50100090000000000000000
    [[ $output == *"error 8 another version"* ]]
    run -0 "$ASKER" send "127.0.0.1:$PORT" b50900010000000000000000 # REPORT, before HELLO
    [[ $output == *"error 7 a frame before its time"* ]]
    run -0 "$ASKER" send "127.0.0.1:$PORT" b50100010000000000000000 # an empty HELLO
    [[ $output == *"error 7 a session name"* ]]
    run -0 "$ASKER" send "127.0.0.1:$PORT" b5010001000000060000000000010000ffff
    [[ $output == *"error 7 a frame that cannot be read"* ]]
    run -0 "$ASKER" send "127.0.0.1:$PORT" 000100032112a442000000000000000000000000 # STUN with a bad length
    [ "$output" = closed ]
    head -c 200000 /dev/urandom | "$ASKER" send "127.0.0.1:$PORT" - >/dev/null
    run -0 "$ASKER" drip "127.0.0.1:$PORT" # a HELLO byte by byte is one all the same
    [ "$output" = "frame 2" ]
    alive
    pair good 2
}

@test "the seeds of the fuzz targets, thrown at the real server" {
    start
    local seed askers=()
    for seed in tests/fuzz/corpus/{frame,stun,path}/*; do
        timeout 10 "$ASKER" send "127.0.0.1:$PORT" - <"$ROOT/$seed" >/dev/null &
        askers+=($!)
    done
    wait "${askers[@]}"
    alive
}

@test "out of descriptors: one line, those who are in go on, others come later" {
    PORT=$(free_port)
    (ulimit -n 40 && exec "$BIN/rendezvous" --listen "127.0.0.1:$PORT" --join-rate 0 2>"$DIR/err" </dev/null 3>&-) &
    SERVER=$!
    STARTED+=("$SERVER")
    await ready "$DIR/err"
    mkfifo "$DIR/hold"
    "$ASKER" crowd "127.0.0.1:$PORT" 40 <"$DIR/hold" >"$DIR/crowd" 2>&1 3>&- &
    STARTED+=($!)
    exec 7>"$DIR/hold"
    await "cannot accept connections" "$DIR/err"
    run -0 "$ASKER" stun-udp "127.0.0.1:$PORT" 2
    [[ $output == *"answered 2 of 2"* ]]
    exec 7>&-
    await "stopped at" "$DIR/crowd"
    [ "$(grep -c 'cannot accept' "$DIR/err")" = 1 ]
    alive
}

@test "a crowd: 1,000 sessions at once, in less than 20 KB each; --max-sessions holds" {
    start --join-rate 0 --max-sessions 1000
    mkfifo "$DIR/hold"
    local before after
    before=$(awk '/^VmRSS/ {print $2}' "/proc/$SERVER/status")
    "$ASKER" crowd "127.0.0.1:$PORT" 1000 <"$DIR/hold" >"$DIR/crowd" 3>&- &
    STARTED+=($!)
    exec 7>"$DIR/hold"
    await "joined 1000" "$DIR/crowd"
    after=$(awk '/^VmRSS/ {print $2}' "/proc/$SERVER/status")
    echo "$before $after"
    # The sanitizers keep more beside each allocation than it holds.
    [[ $BUILD == *asan* ]] || ((after - before < 20000))
    run -0 "$ASKER" crowd "127.0.0.1:$PORT" 1 # joins its first session: there already, with two peers
    [[ $output == *"error 3"* ]]
    run -1 timeout 10 "$BIN/simopen" --server "127.0.0.1:$PORT" --session one-too-many
    [[ $output == *"as many sessions as it may"* ]]
    exec 7>&-
    alive
}

# ---- trials and records -------------------------------------------------------------------------

@test "records: on stdout with --json and in DIR, appended after a restart, a torn line is closed" {
    start --json --record "$DIR/deep/er"
    pair one 2
    kill "$SERVER"
    wait "$SERVER"
    cmp "$DIR/out" "$DIR/deep/er/trials.jsonl"
    jq -c "[.cell, .trial, .outcome, .technique, .transport]" "$DIR/out" >"$DIR/got"
    cat "$DIR/got" "$DIR/err"
    [ "$(tr -d "\n" <"$DIR/got")" = '["one",0,"ok","simopen","tcp"]["one",1,"ok","simopen","tcp"]' ]
    printf '{"torn' >>"$DIR/deep/er/trials.jsonl"
    start --record "$DIR/deep/er"
    pair two 1
    [ "$(wc -l <"$DIR/deep/er/trials.jsonl")" = 4 ]
    [ "$(tail -n 1 "$DIR/deep/er/trials.jsonl" | jq -r .cell)" = two ]
}

@test "--step: a trial begins when a line comes; the end of stdin ends the server with status 0" {
    mkfifo "$DIR/feed"
    sleep 600 >"$DIR/feed" 3>&- & # holds the other end open while the server opens its own
    STARTED+=($!)
    FEED=$DIR/feed start --step --json
    exec 8>"$DIR/feed"
    kill "${STARTED[0]}"
    timeout 30 "$BIN/simopen" --server "127.0.0.1:$PORT" --session s --trials 2 -q 2>/dev/null 3>&- 8>&- &
    timeout 30 "$BIN/simopen" --server "127.0.0.1:$PORT" --session s --trials 2 -q 2>/dev/null 3>&- 8>&- &
    await "peer b joined" "$DIR/err"
    await "peer a joined" "$DIR/err"
    sleep 0.3
    [ ! -s "$DIR/out" ]
    echo >&8
    await '"trial":0' "$DIR/out"
    sleep 0.3
    [ "$(wc -l <"$DIR/out")" = 1 ]
    echo >&8
    await '"trial":1' "$DIR/out"
    exec 8>&-
    wait "$SERVER"
}

@test "with a key: who has it joins, who has not is told so" {
    printf 'secret\n' >"$DIR/key"
    printf 'secret' >"$DIR/same"
    start --key-file "$DIR/key"
    pair keyed 1 --key-file "$DIR/same"
    run -1 timeout 10 "$BIN/simopen" --server "127.0.0.1:$PORT" --session keyed
    run -0 "$ASKER" crowd "127.0.0.1:$PORT" 1
    [[ $output == *"error 1 wrong key"* ]]
}

@test "--quiet: nothing after ready, unless something is wrong" {
    start --quiet
    pair hush 1
    [ "$(wc -l <"$DIR/err")" = 1 ]
}
