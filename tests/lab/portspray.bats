#!/usr/bin/env bats
# needs: root
# The UDP search through NATs whose ports move. Pins: a search that does not find, or only by luck; one that goes on
# after success; an opener that stays with the prober's old address; a stranger's datagrams that change the outcome or
# go uncounted; a dead path that is called alive.

bats_require_minimum_version 1.5.0
load lab

# campaign NATS-A NATS-B TRIALS RTT TIMEOUT TECHNIQUE-LINES...: a line "LABEL = USE OPTIONS" each.
campaign() {
    local label use options labels=
    : >"$DIR/t"
    for line in "${@:6}"; do
        read -r label _ use options <<<"$line"
        labels=$labels${labels:+, }$label
        printf '[technique %s]\nuse = portspray:%s\n' "$label" "$use" >>"$DIR/t"
        [ -z "$options" ] || echo "options = $options" >>"$DIR/t"
    done
    printf '[campaign]\nname = t\nseed = 5\ntrials = %s\ntimeout = %s\nnats-a = %s\nnats-b = %s\ntechniques = %s\n[link]\nrtt = %s\n' \
        "$3" "$5" "$1" "$2" "$labels" "$4" >"$DIR/c.ini"
    cat "$DIR/t" >>"$DIR/c.ini"
    rm -rf "$DIR/out"
    "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out"
}

# profiles of the test's own: a folder of data with one more profile, NAME, from lines.
profile() {
    [ -d "$DIR/data" ] || cp -r "$ROOT/bench" "$DIR/data"
    printf '%s\n' "${@:2}" >"$DIR/data/profiles/$1.ini"
    export PUNCHBENCH_DATA=$DIR/data
}

# all JQ: holds for every trial.
all() {
    jq -c '[.cell, .trial, .outcome, .a.errors, .b.errors]' "$DIR/out/trials.jsonl"
    jq -e -s "length > 0 and all(.[]; $1)" "$DIR/out/trials.jsonl"
}

@test "random and full find a random port, and stop when they have" {
    run -0 campaign linux-strict "linux-random, sym-random" 3 20ms 10s \
        "random = random --target 99.99%" "full = full --order probes"
    jq -e -s 'def of(n): map(select(.cell | contains(n)));
        (of("/random/") | length == 6 and all(.[]; .outcome == "ok" and .predicted_p > 0.999 and .path == "direct"
            and .a.holes <= 2000 and .b.probes <= 2000 and .a.packets > 100))
        and (of("/full/") | length == 6 and all(.[]; .outcome == "ok" and .a.holes <= 65535 and .b.probes == 1))' "$DIR/out/trials.jsonl"
    # Not all of the ports were needed every time: the sweep ends with the answer.
    jq -e -s 'map(select(.cell | contains("/full/")) | .a.holes) | min < 65535' "$DIR/out/trials.jsonl"
}

@test "a window meets the NAT that counts, and misses the one that draws" {
    run -0 campaign linux-strict "sym-seq-quiet, linux-random" 4 20ms 3s "window = window --window 1,40 --probes 4"
    jq -e -s 'def of(n): map(select(.cell | contains(n)));
        (of("sym-seq-quiet") | length == 4 and all(.[]; .outcome == "ok" and .a.holes == 40 and .predicted_p > 0.9))
        and (of("linux-random") | length == 4 and all(.[]; .predicted_p < 0.1))
        and (of("linux-random") | map(select(.outcome == "predict_miss")) | length >= 3)' "$DIR/out/trials.jsonl"
    # Spent is spent: nobody waits for the deadline.
    all '.total_ns < 2.5e9'
}

@test "the opener aims anew where the first attempt was too small: on a pool of addresses, and where the NAT answers" {
    run -0 campaign linux-strict "mobile-sym-random, linux-random-rst" 3 20ms 20s \
        "aim = random --holes 200 --probes 200 --attempts 9"
    all '.outcome == "ok"'
    jq -e -s 'any(.[]; .a.aimed_anew >= 1 and .a.holes > 200 and .b.probes > 200)' "$DIR/out/trials.jsonl"
}

@test "100,000 datagrams of garbage change neither outcome nor path, and are counted" {
    cat >"$DIR/s" <<EOF
"$BIN/rendezvous" --listen 192.0.2.1:3478 --listen 192.0.2.1:3481 2>"$DIR/s.err" &
"$BUILD/tests/flood" 198.51.100.1:30000 100000 1 >"$DIR/sent"
touch "$DIR/flooded"
wait
EOF
    cat >"$DIR/ready" <<'EOF'
for _ in $(seq 400); do grep -q ready "$1" 2>/dev/null && exit 0; sleep 0.05; done
exit 1
EOF
    # An endpoint-independent filter lets everybody in. The path is held while the flood goes on.
    run -0 "$BIN/bench" lab -a full-cone -b sym-random --rtt 20ms --run-s "bash $DIR/s" \
        --run-a "bash $DIR/ready $DIR/s.err && $BIN/portspray --server 192.0.2.1:3478 --session t --role a --mode random --holes 800 --probes 800 --ports 30000-30000 --hold-for 4s --timeout 20s --json >$DIR/a.json" \
        --run-b "bash $DIR/ready $DIR/s.err && $BIN/portspray --server 192.0.2.1:3478 --session t --role b --quiet"
    jq -c . "$DIR/a.json"
    [ -e "$DIR/flooded" ] && [ "$(cat "$DIR/sent")" = 100000 ]
    jq -e -s 'length == 1 and .[0].outcome == "ok" and .[0].path == "direct" and .[0].a.hold_alive and .[0].b.hold_alive
        and .[0].a.errors.strangers > 10000 and .[0].b.probes > 10' "$DIR/a.json"
}

@test "a path held in silence is alive before the NAT's timer, and dead after it" {
    profile forgets "backend = emulated" "source = proposal (a NAT with a short timer)" "mapping = endpoint-independent" \
        "filtering = address-and-port-dependent" "ports = preserve" "udp-timeout = 2" "tcp-timeout = 120/3600" \
        "unsolicited-syn = drop" "tcp-window-check = none"
    run -0 campaign linux-strict forgets 1 20ms 11s "short = punch --hold-for 1s" "long = punch --hold-for 4s" \
        "by-b = punch --hold-for 4s --hold-by b"
    all '.outcome == "ok" and .a.hold_ns == .b.hold_ns and .a.hold_alive == .b.hold_alive and .a.connect_ns < 1e9 and .total_ns < 3e9'
    # Who comes out of the NAT that forgot opens it anew: the Linux router still remembers.
    jq -e -s 'all(.[]; .a.hold_alive == (.cell | contains("/long/") | not))' "$DIR/out/trials.jsonl"
}

@test "the same over TCP; and with --hold-dead fail a dead path is a failed trial, over both" {
    profile forgets "backend = emulated" "source = proposal (a NAT with a short timer)" "mapping = endpoint-independent" \
        "filtering = address-and-port-dependent" "ports = preserve" "udp-timeout = 2" "tcp-timeout = 2/2" \
        "unsolicited-syn = drop" "tcp-window-check = none"
    cat >"$DIR/c.ini" <<'EOF'
[campaign]
name = t
trials = 1
timeout = 11s
nats-a = linux-strict
nats-b = forgets
techniques = short, long, by-b, udp
[link]
rtt = 20ms
[technique short]
use = simopen
options = --hold-for 1s --hold-dead fail
[technique long]
use = simopen
options = --hold-for 4s --hold-dead fail
[technique by-b]
use = simopen
options = --hold-for 4s --hold-dead fail --hold-by b
[technique udp]
use = portspray:punch
options = --hold-for 4s --hold-dead fail
[expect]
*/*/* = 100%
*/*/long = 0%
*/*/udp = 0%
EOF
    run -0 "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out"
    all 'if .outcome == "ok" then .a.hold_alive and .b.hold_alive
         else .outcome == "timeout" and .phase == "verify" and .a.why == "path_died" and .a.hold_alive == false end'
}
