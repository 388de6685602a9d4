#!/usr/bin/env bats
# needs: root
# TCP against NATs whose ports move, in the lab. Pins: a hole whose answer the opener's NAT takes for a stranger's, a
# hole that a RST or an ICMP error closes, a success without a hole, a hopeless pair that is tried, sockets that stay, what
# a peer knows of its NAT and the plan does not.

bats_require_minimum_version 1.5.0
load lab

# campaign NATS-A NATS-B TRIALS, sections and expectations on stdin
campaign() {
    local labels
    sections=$(cat)
    labels=$(sed -n 's/^\[technique \(.*\)\]$/\1/p' <<<"$sections" | paste -sd, -)
    printf '[campaign]\nname = t\nseed = 3\ntrials = %s\ntimeout = %s\nnats-a = %s\nnats-b = %s\ntechniques = %s\n[link]\nrtt = 20ms\n%s\n' \
        "$3" "${TIMEOUT:-4s}" "$1" "$2" "$labels" "$sections" >"$DIR/c.ini"
    "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out"
}

@test "held holes get through a router that checks windows, a listener's answers do not" {
    # The control waits for its deadline.
    TIMEOUT=2s run -0 campaign "linux-strict" "linux-random" 4 <<'EOF'
[technique hold]
use = synspray:hold
[technique listen]
use = synspray:listen
options = --ttl off
[technique none]
use = synspray:none
[expect]
*/*/hold = 100%
*/*/listen = 0%
*/*/none = 0%
EOF
    jq -c 'select(.mode == "listen") | [.outcome, .a.why, .b.why, .a.half_open, .a.holes, .b.packets]' "$DIR/out/trials.jsonl"
    # What landed at the listener is why it failed, and both sides say so.
    jq -e -s 'all(.[] | select(.mode == "listen"); .outcome == "timeout" and .a.why == "window_check"
        and .a.half_open >= 1 and .a.holes == .b.packets)' "$DIR/out/trials.jsonl"
    # A success is a hole and a probe that met, within the plan's budget.
    jq -e -s 'all(.[] | select(.mode == "hold"); .a.landed >= 1 and .b.landed >= 1 and .a.holes <= 700
        and .b.packets <= 1100 and .predicted_p > 0.99)' "$DIR/out/trials.jsonl"
    jq -e -s 'all(.[] | select(.mode == "none"); (.a.packets // 0) == 0 and (.b.packets // 0) == 0)' "$DIR/out/trials.jsonl"
}

@test "where the prober's NAT answers with RST: low time to live, or probes first; holes first at full length fail" {
    run -0 campaign "linux-strict" "linux-random-rst" 6 <<'EOF'
[technique auto]
use = synspray:hold
options = --ttl auto
[technique off]
use = synspray:hold
options = --ttl off --order holes
[technique probes-first]
use = synspray:hold
options = --ttl off --order probes
[expect]
*/*/auto = 100%
*/*/off = 0%
*/*/probes-first = 100%
EOF
    jq -e -s 'map(select(.cell | contains("/auto/"))) | all(.a.ttl == 2)' "$DIR/out/trials.jsonl"
    jq -e -s 'map(select(.cell | contains("/off/"))) | all(.outcome == "refused" and .a.why == "refused"
        and .a.errors.refused == .a.holes)' "$DIR/out/trials.jsonl"
}

@test "a prober that begins late hears that the holes stand, and an opener that begins late is waited for" {
    run -0 campaign "linux-liberal" "linux-random" 2 <<'EOF'
[technique late]
use = synspray:listen
options = --ttl off --skew 1s
[technique early]
use = synspray:listen
options = --ttl off --skew -1s
[expect]
*/*/* = 100%
EOF
    jq -e -s 'all(.[]; .connect_ns > 1e9)
        and all(.[] | select(.cell | contains("/late/")); .b.skew_ns == 1e9 and (.a | has("skew_ns") | not))
        and all(.[] | select(.cell | contains("/early/")); .a.skew_ns == 1e9 and (.b | has("skew_ns") | not))' "$DIR/out/trials.jsonl"
}

@test "what cannot work is said at once, and a wrong window is a predicted miss" {
    run -0 campaign "linux-random" "linux-random" 2 <<'EOF'
[technique auto]
use = synspray
[expect]
*/*/* = 0%
EOF
    jq -e -s 'all(.[]; .outcome == "infeasible" and .phase == "plan" and .predicted_p < 0.01
        and (.a.packets // 0) == 0 and (.b.packets // 0) == 0)' "$DIR/out/trials.jsonl"
    rm -rf "$DIR/out"
    run -0 campaign "linux-strict" "linux-random" 2 <<'EOF'
[technique window]
use = synspray
options = --window -20,30 --probes 4
[expect]
*/*/* = <= 50%
EOF
    jq -e -s 'all(.[] | select(.outcome != "ok"); .outcome == "predict_miss" and .a.why == "predict_miss" and .a.holes == 51)' \
        "$DIR/out/trials.jsonl"
}

@test "narrow, sequential and known mappings need little" {
    run -0 campaign "linux-strict" "linux-strict, sym-seq-quiet, linux-range" 4 <<'EOF'
[technique auto]
use = synspray
[expect]
*/*/* = 100%
EOF
    jq -e -s 'all(.[]; .a.holes <= (if .cell | contains("linux-range") then 250 else 63 end))' "$DIR/out/trials.jsonl"
}

@test "a retry changes its strategy: what RSTs closed, probes that go first get through" {
    run -0 campaign "linux-strict" "linux-random-rst" 3 <<'EOF'
[technique retry]
use = synspray
options = --ttl off --order holes --attempts 2
[expect]
*/*/* = 100%
EOF
    jq -e -s 'all(.[]; .a.attempts | length == 1 and .[0].order == "holes" and .[0].refused > 0)' "$DIR/out/trials.jsonl"
}

@test "--discover in a campaign reaches both: no low time to live where SYNs are dropped, one hole at a time behind picky" {
    TIMEOUT=20s run -0 campaign "linux-strict, picky" "linux-random, sym-seq-quiet" 3 <<'EOF'
[technique discovered]
use = synspray:hold
options = --discover
[expect]
*/*/discovered = >= 60%
EOF
    # Only b knows that its NAT drops what it did not ask for.
    jq -e -s 'map(select(.cell | startswith("linux-strict/"))) | length == 6 and all(.a.ttl == null)' "$DIR/out/trials.jsonl"
    # 619 holes would be gone but one; those of a sequence are few.
    jq -e -s 'map(select(.cell | startswith("picky/"))) | length == 6 and all(.a.holes <= 500)' "$DIR/out/trials.jsonl"
}
