#!/usr/bin/env bats
# needs: root
# --quality over links of a known rate and delay. Pins: a round trip under what light allows, a throughput above what the
# link or the cap lets through or far below it, a loss that is not one, a measurement that ends no trial, or counts as
# time to connect; a report without it; a pipe that gets what was measured
# with.
#
# What is asserted is the link's, with room for a machine that is busy.

bats_require_minimum_version 1.5.0
load lab

# campaign PARALLEL: one trial a cell; its pairs, techniques and links are on stdin.
campaign() {
    printf '%s\n' '[campaign]' 'name = t' 'seed = 3' 'trials = 1' 'warmup = 0' 'timeout = 15s' "parallel = $1" >"$DIR/c.ini"
    cat >>"$DIR/c.ini"
}

# all JQ: holds for every trial.
all() {
    jq -c '[.cell, .outcome, .path, .a.quality]' "$DIR/out/trials.jsonl"
    jq -e -s "length > 0 and all(.[]; $1)" "$DIR/out/trials.jsonl"
}

@test "direct and hairpin paths, TCP and UDP: round trips, throughput, the cap; and in the report" {
    campaign 6 <<EOF
pairs = linux-strict / linux-strict, port-restricted@full-cone / linux-strict@full-cone
techniques = tcp, udp, capped
[technique tcp]
use = simopen
options = --quality 1s
[technique udp]
use = portspray:punch
options = --quality 1s
[technique capped]
use = simopen
options = --quality 1s --quality-rate 2
[link]
rtt = 20ms
rate = 8mbit
EOF
    run -0 "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out"
    jq -e -s 'length == 6 and (map(.path) | unique) == ["direct", "hairpin"]' "$DIR/out/trials.jsonl"
    all '.outcome == "ok" and (.a.quality | has("why") | not) and .a.quality.time_ns == 1e9 and (.b | has("quality") | not)'
    all '.a.quality | .pings == 20 and .rtt_min_ns >= 20e6 and .rtt_min_ns <= .rtt_p50_ns and .rtt_p50_ns <= .rtt_max_ns'
    # Of whole packets the link carries 8 Mbit/s: what is in them is less.
    all '.a.quality | .up_bps <= 8e6 and .down_bps <= 8e6 and .up_bps >= 1e6 and .down_bps >= 1e6'
    all '(.cell | contains("/capped/") | not) or (.a.quality | .up_bps <= 2.1e6 and .down_bps <= 2.1e6)'
    all 'if .transport == "udp" then .a.quality | .up_sent > 100 and .up_lost < .up_sent / 2 and .down_sent > 100 and .down_lost < .down_sent / 2
         else .a.quality | has("up_sent") or has("down_lost") | not end'
    # Measuring is no part of the trial's time.
    all '.a | .total_ns - ([.phases_ns | .join, .sample, .exchange, .plan] | add) < 2e9'
    command -v gnuplot >/dev/null || skip "needs gnuplot for the rest"
    run -0 "$BIN/bench" report "$DIR/out"
    grep -q '<td>hairpin</td><td>port-restricted@full-cone</td>' "$DIR/out/report.html"
    [ "$(grep -c '<td>direct</td><td>linux-strict</td><td>linux-strict</td>' "$DIR/out/report.html")" = 3 ]
    [ -s "$DIR/out/plots/throughput.svg" ] && [ -s "$DIR/out/plots/round-trip.svg" ]
}

@test "a path that dies while it is measured: the trial stays a success, and says what is missing" {
    campaign 2 <<EOF
nats-a = linux-strict
nats-b = port-restricted
techniques = tcp, udp
[technique tcp]
use = simopen
options = --quality 500ms
[technique udp]
use = portspray:punch
options = --quality 500ms
[link]
rtt = 20ms
b-readdress = 250ms
EOF
    run -0 "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out"
    all '.outcome == "ok" and ([.nats[].restarts // 0] | add) == 1 and (.a.quality | (.why == "no_result" or .why == "path_lost")
        and .up_bps == null and .down_bps == null)'
}

@test "a relayed path beside the direct one, same pair, same link: one more host on the way" {
    command -v turnserver >/dev/null || skip "coturn is not installed: sudo make deps-relay"
    campaign 3 <<EOF
nats = linux-strict
techniques = udp, relay-udp, relay-tcp
[technique udp]
use = portspray:punch
options = --quality 500ms
[technique relay-udp]
use = relay:udp-channel
options = --quality 500ms
[technique relay-tcp]
use = relay:tcp
options = --quality 500ms
[link]
rtt = 20ms
rate = 8mbit
EOF
    run -0 "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out"
    all '.outcome == "ok" and .path == (if .technique == "relay" then "relay" else "direct" end)'
    all '.a.quality | .rtt_min_ns >= 20e6 and .up_bps <= 8e6 and .down_bps <= 8e6 and .up_bps >= 5e5 and .down_bps >= 5e5'
    all '.technique != "relay" or .a.quality.rtt_min_ns >= 40e6'
}

# ends PROGRAM A-OPTIONS: two peers on loopback, what they wrote in a and b.
ends() {
    local program=$1 b
    shift
    echo from-b | timeout 30 "$BIN/$program" --server "127.0.0.1:$PORT" --session "$program" --role b --pipe >"$DIR/b" 2>/dev/null 3>&- &
    b=$!
    echo from-a | timeout 30 "$BIN/$program" --server "127.0.0.1:$PORT" --session "$program" --role a --pipe --quality 50ms "$@" >"$DIR/a" 2>"$DIR/a.err" 3>&-
    wait "$b"
}

@test "a pipe begins where the measurement has ended; it comes after a held silence" {
    PORT=$(free_port)
    "$BIN/rendezvous" --listen "127.0.0.1:$PORT" --record "$DIR/record" 2>"$DIR/s.err" 3>&- &
    local server=$!
    wait_for grep -q ready "$DIR/s.err"
    for program in simopen portspray; do
        ends "$program" --hold-for 100ms --timeout 20s
        [ "$(cat "$DIR/a")" = from-b ]
        [ "$(cat "$DIR/b")" = from-a ]
    done
    kill "$server"
    jq -e -s 'length == 2 and all(.[]; .outcome == "ok" and .a.hold_alive and .a.quality.up_bps > 0 and .a.quality.down_bps > 0)' \
        "$DIR/record/trials.jsonl"
}
