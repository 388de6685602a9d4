#!/usr/bin/env bats
# What synspray does with bad input and bad company, on loopback. Pins: a plan that exceeds the open-file limit and is
# tried all the same, ports that others use taken for a peer's fault, a peer that waits for ever, descriptors that pile
# up over many trials.

bats_require_minimum_version 1.5.0
load ../helpers

setup() {
    DIR=$(mktemp -d)
    BIN=$BUILD/bin
    PIDS=()
    PORT=$((13000 + RANDOM % 6000))
    PEER=("$BIN/synspray" --server "127.0.0.1:$PORT" --session t)
}

teardown() {
    for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$DIR"
}

start_server() {
    "$BIN/rendezvous" --listen "127.0.0.1:$PORT" --record "$DIR/record" 2>"$DIR/server.err" 3>&- &
    PIDS+=($!)
    wait_for grep -q ready "$DIR/server.err"
}

one_line() {
    local pattern=$1
    shift
    run --separate-stderr -1 timeout 30 "$@"
    echo "stderr: $stderr"
    [[ $stderr =~ $pattern ]]
    [ "$(grep -c . <<<"$stderr")" -le 1 ]
}

@test "bad values: one line each" {
    one_line "--window '30,-20': off, or LO,HI with LO not above HI" "${PEER[@]}" --window=30,-20
    one_line "--window '-1,70000'" "${PEER[@]}" --window=-1,70000
    one_line "--window '-20'" "${PEER[@]}" --window=-20
    one_line "--ttl '0': off, auto or a number from 1 to 255 is needed" "${PEER[@]}" --ttl 0
    one_line "--ttl '256'" "${PEER[@]}" --ttl 256
    one_line "--holes '65536': auto or a number from 1 to 65535" "${PEER[@]}" --holes 65536
    one_line "--probes '0'" "${PEER[@]}" --probes 0
    one_line "--target '100%': a percentage between 0% and 100%" "${PEER[@]}" --target 100%
    one_line "--ports '80-90': LO-HI is needed, both from 1024" "${PEER[@]}" --ports 80-90
    one_line "--order 'backwards': one of auto, together, holes, probes" "${PEER[@]}" --order backwards
    one_line "--mode 'spray': one of hold, reuse, listen, auto, none" "${PEER[@]}" --mode spray
    one_line "--attempts '0'" "${PEER[@]}" --attempts 0
}

@test "more holes than files: said, and recorded as an error" {
    start_server
    (ulimit -n 512 && exec "${PEER[@]}" --role b --quiet) 2>"$DIR/b.err" &
    local b=$!
    run --separate-stderr -2 bash -c "ulimit -n 512 && exec timeout 30 ${PEER[*]} --role a --holes 1000 --json"
    echo "$stderr"
    [[ $stderr =~ "1000 holes need 1064 open files, but the opener's limit is 512: raise it with 'ulimit -n'" ]]
    echo "$output"
    jq -e '.outcome == "error" and .phase == "plan" and .a.errno_name == "EMFILE"' <<<"$output"
    wait "$b" || true
}

@test "more holes than may be in flight: said before anything is sent" {
    start_server
    "${PEER[@]}" --role b --quiet 2>"$DIR/b.err" &
    local b=$!
    run --separate-stderr -2 timeout 30 "${PEER[@]}" --role a --holes 3000 --json
    echo "$stderr"
    [[ $stderr =~ "3000 holes are more than --entries 2000 allows in flight" ]]
    jq -e '.outcome == "error" and .phase == "plan" and .a.errno_name == "E2BIG" and .errno_name == "E2BIG"
        and (.a.packets // 0) == 0' <<<"$output"
    wait "$b" || true
}

@test "privileged ports are refused, busy ones are an error of that side with its number" {
    one_line "--ports '1023-2000': LO-HI is needed, both from 1024" "${PEER[@]}" --ports 1023-2000
    start_server
    local first port b
    first=$(free_port)
    for port in "$first" $((first + 1)); do
        nc -l 127.0.0.1 "$port" 3>&- &
        PIDS+=($!)
    done
    wait_for eval '[ "$(ss -Hltn "sport >= :$first and sport <= :$((first + 1))" | wc -l)" = 2 ]'
    "${PEER[@]}" --role b --quiet 2>"$DIR/b.err" &
    b=$!
    run --separate-stderr -2 timeout 30 "${PEER[@]}" --role a --ports "$first-$((first + 1))" --json
    echo "$output"
    # Why it failed, and not what the other side was told of it.
    jq -e '.outcome == "error" and .phase == "sample" and .errno_name == "EADDRINUSE"
        and .a.errno_name == "EADDRINUSE" and .b.errno_name == "ECANCELED"' <<<"$output"
    wait "$b" || true
}

@test "a prober that never comes, an opener that dies while holes are open" {
    start_server
    one_line "no other peer joined session 't' within 1 s" "${PEER[@]}" --wait 1s
    "${PEER[@]}" --role b --quiet 2>"$DIR/b.err" &
    local b=$!
    "${PEER[@]}" --role a --opener a --holes 200 --probes 3 --trials 100000 --json 2>"$DIR/a.err" >"$DIR/a.json" &
    local a=$!
    wait_for lines_in "$DIR/a.json" 3
    kill -9 "$a"
    local status=0
    wait "$b" || status=$?
    cat "$DIR/b.err" "$DIR/server.err"
    [ "$status" = 2 ]
    grep -E "the other peer left|ended the session" "$DIR/b.err"
}

@test "--discover: learns before joining, and goes on without where it cannot" {
    start_server
    "${PEER[@]}" --role b --quiet --discover 2>"$DIR/b.err" &
    local b=$!
    run -0 --separate-stderr timeout 60 "${PEER[@]}" --role a --discover --json
    wait "$b"
    echo "$stderr"
    [[ $stderr =~ "this NAT: " ]]
    jq -e '.outcome == "ok"' <<<"$output"
    PORT=$((PORT + 1))
    run -1 --separate-stderr timeout 60 "$BIN/synspray" --server "127.0.0.1:$PORT" --session t --discover
    [[ $stderr =~ "could not be discovered" && $stderr =~ "cannot reach the server" ]]
}

@test "1,000 trials in one process leave neither memory nor descriptors" {
    start_server
    "${PEER[@]}" --role b --quiet 2>"$DIR/b.err" &
    PIDS+=($!)
    "${PEER[@]}" --role a --trials 1000 --holes 20 --probes 3 --ttl off --json --seed 1 >"$DIR/a.json" 2>"$DIR/a.err" &
    local a=$! early late
    wait_for lines_in "$DIR/a.json" 400 # allocators have warmed up
    early=$(awk '/VmRSS/ { print $2 }' "/proc/$a/status")
    wait_for lines_in "$DIR/a.json" 900
    late=$(awk '/VmRSS/ { print $2 }' "/proc/$a/status")
    echo "$early kB, then $late kB"
    wait "$a" || true
    [ "$(wc -l <"$DIR/a.json")" = 1000 ]
    run ! grep -h Sanitizer "$DIR/a.err" "$DIR/b.err"
    # What a side holds when it reports: its last hundred trials no more than its first.
    jq -e -s '[.[:100][].a.open_files] as $first | [.[900:][].a.open_files] as $last
        | ($last | max) <= ($first | max) + 4 and all(.[]; .outcome != "error")' "$DIR/a.json"
    # AddressSanitizer keeps what was freed for a while, and looks for leaks itself when the program ends.
    ldd "$BIN/synspray" | grep -q libasan || [ "$late" -le $((early + 512)) ]
}
