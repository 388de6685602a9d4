#!/usr/bin/env bats
# needs: root
# Campaigns between two lines: bench/field/peer in two hosts of the lab, rendezvous in the third, `bench field`. Pins: a
# drop-out of S or of a host that ends the campaign, loses a trial, or counts one twice; an order that the seed does not
# decide; results that bench cannot read as it reads the lab's.

bats_require_minimum_version 1.5.0
load lab

setup() {
    lab_setup
    cat >"$DIR/c.ini" <<'END'
[campaign]
name = line
trials = 6
timeout = 400ms
nats = open
techniques = simopen, few, portspray:punch, none
[technique few]
use = portspray:punch
options = --samples 2
[link]
rtt = 0
END
    NATS=(--nat-a home --nat-b office --block 2)
}

# Programs in a host see the outer /proc, where a leak checker does not find its own threads and dies of it.
no_leak_check="export ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0"

# peer ROLE: the command for that host.
peer() {
    echo "$no_leak_check; cd $DIR; exec $ROOT/bench/field/peer $1 --server 192.0.2.1:3478 --campaign c.ini ${NATS[*]} --state s$1 \
        --bin $BIN --wait 2 ${*:2}"
}

server() {
    echo "$no_leak_check; exec $BIN/rendezvous --listen 192.0.2.1:3478 --listen 192.0.2.1:3479 --record $DIR/rec 2>>$DIR/s.log"
}

# each_once FILE: every trial of the campaign is there, once.
each_once() {
    [ "$(wc -l <"$1")" = 24 ]
    [ "$(jq -r '"\(.cell) \(.trial)"' "$1" | sort -u | wc -l)" = 24 ]
}

@test "the plan: all trials, in rounds whose order the seed decides" {
    "$BIN/bench" field plan "$DIR/c.ini" "${NATS[@]}" >"$DIR/plan"
    [ "$(wc -l <"$DIR/plan")" = 12 ]
    [ "$(awk -F'\t' '{ n += $4 } END { print n }' "$DIR/plan")" = 24 ]
    [ "$(cut -f1 "$DIR/plan" | uniq -c | awk '{ print $1 }' | sort -u)" = 4 ]
    [ "$(cut -f1 "$DIR/plan" | uniq)" = "$(printf '0\n1\n2')" ]
    [ "$(awk -F'\t' '$2 ~ /few/' "$DIR/plan" | cut -f6,7,9 | sort -u)" = "$(printf 'portspray\tpunch\t--samples 2')" ]
    "$BIN/bench" field plan "$DIR/c.ini" "${NATS[@]}" | cmp - "$DIR/plan"
    local orders
    orders=$(for seed in 1 2 3 4 5; do
        "$BIN/bench" field plan "$DIR/c.ini" "${NATS[@]}" --seed $seed | cut -f2 | tr '\n' ' ' && echo
    done | sort -u | wc -l)
    [ "$orders" -gt 1 ]
}

@test "bad input: one line, status 1" {
    local args
    for args in "" "plan" "frob c.ini --nat-a x --nat-b y" "plan c.ini --nat-a x" "plan c.ini --nat-a a/b --nat-b y" \
        "plan c.ini more --nat-a x --nat-b y" "plan c.ini --nat-a x --nat-b y --block 0" "collect c.ini --nat-a x --nat-b y" \
        "plan nothing.ini --nat-a x --nat-b y" "collect c.ini --nat-a x --nat-b y --out r nothing.jsonl"; do
        # shellcheck disable=SC2086
        run -1 sh -c "cd $DIR; $BIN/bench field $args"
        [ ! -e "$DIR/r" ]
    done
    echo '{"schema":1,"type":"trial"}' >"$DIR/bad.jsonl"
    run -1 "$BIN/bench" field collect "$DIR/c.ini" "${NATS[@]}" --out "$DIR/r" "$DIR/bad.jsonl"
    [[ $output == *"bad.jsonl: line 1: no trial record"* ]]
    : >"$DIR/empty.jsonl"
    run -1 "$BIN/bench" field collect "$DIR/c.ini" "${NATS[@]}" --out "$DIR/r" "$DIR/empty.jsonl"
    [[ $output == *"no trial of this campaign"* ]]
    sed 's/simopen, few/exec-it/; s/^use.*/use = exec/; s/^options.*/run-a = x\nrun-b = x\nsuccess = x\ntransport = udp/; s/technique few/technique exec-it/' \
        "$DIR/c.ini" >"$DIR/exec.ini"
    run -1 "$BIN/bench" field plan "$DIR/exec.ini" "${NATS[@]}"
    [[ $output == *"exec-it runs commands in the lab"* ]]
    run -1 "$ROOT/bench/field/peer" c
    [[ $output == *"is no role"* ]]
    run -1 "$ROOT/bench/field/peer" a --server 192.0.2.1:3478
    [[ $output == *"are needed"* ]]
}

@test "S away for seconds, b killed in the middle, a interrupted and started anew: every trial once" {
    # S is killed, and comes back; so is b, and a is told to stop.
    run -0 timeout 120 "$BIN/bench" lab -a linux-strict -b linux-strict --rtt 10ms \
        --run-s "($(server)) & p=\$!; sleep 5; kill -9 \$p; sleep 2; $(server)" \
        --run-a "($(peer a --no-discover)) & p=\$!; sleep 9; kill -TERM \$p; wait \$p; echo \"ended with \$?\" >$DIR/a.end; $(peer a --no-discover)" \
        --run-b "($(peer b --no-discover)) & p=\$!; sleep 2; kill -9 \$p; sleep 1; $(peer b --no-discover)"
    [[ $output == *"done: 24 of 24 trials made"* ]]
    # It may have been done before that: then it had ended with 0.
    grep -q 'ended with [02]$' "$DIR/a.end"
    run -0 "$BIN/bench" field collect "$DIR/c.ini" "${NATS[@]}" --out "$DIR/res" "$DIR/rec/trials.jsonl"
    each_once "$DIR/res/trials.jsonl"
    [ "$(jq -r 'select(.a == null or .b == null) | .trial' "$DIR/res/trials.jsonl" | wc -l)" = 0 ]
    [ "$(jq -r 'select(.outcome == "ok") | .cell' "$DIR/res/trials.jsonl" | sort | uniq -c | awk '{ print $2, $1 }')" = \
        "home/office/few/field 6
home/office/portspray-punch/field 6
home/office/simopen/field 6" ]
    # A folder like the lab's.
    grep -q '^home/office/simopen/field,home,office,simopen,plain,tcp,field,1[0-9.]*,6,6,1.000000,' "$DIR/res/summary.csv"
    [ "$(grep -c '^Tag=' "$DIR/res/latency.hlog")" = 4 ]
    run -0 "$BIN/bench" merge "$DIR/again" "$DIR/res"
    cut -d, -f1-7,9- "$DIR/again/summary.csv" | cmp - <(cut -d, -f1-7,9- "$DIR/res/summary.csv")
    run -0 "$BIN/bench" compare "$DIR/res" "$DIR/again"
    # Nothing is written into a folder that holds something; what is missing is said.
    run -1 "$BIN/bench" field collect "$DIR/c.ini" "${NATS[@]}" --out "$DIR/res" "$DIR/rec/trials.jsonl"
    run -2 "$BIN/bench" field collect "$DIR/c.ini" "${NATS[@]}" --trials 7 --out "$DIR/more" "$DIR/rec/trials.jsonl"
    [[ $output == *"4 trials are missing"* ]]
    # A torn line with the next one behind it, and a record of a drop-out before the whole one.
    { tail -n 1 "$DIR/res/trials.jsonl" | jq -c '.b = null | .outcome = "error" | .connect_ns = null'
        head -n 1 "$DIR/res/trials.jsonl" | head -c 300; cat "$DIR/res/trials.jsonl"
        head -n 1 "$DIR/res/trials.jsonl"; } >"$DIR/torn.jsonl"
    run -0 "$BIN/bench" field collect "$DIR/c.ini" "${NATS[@]}" --out "$DIR/res2" "$DIR/torn.jsonl"
    cmp "$DIR/res/trials.jsonl" "$DIR/res2/trials.jsonl"
    [[ $output == *"2 trials were made again"* ]]
    # With another campaign the same state is refused.
    run -1 bash -c "$(peer a --no-discover --trials 7)"
    [[ $output == *"holds another campaign"* ]]
}

@test "what discovery said of the two NATs stands in run.json" {
    run -0 timeout 60 "$BIN/bench" lab -a port-restricted -b linux-strict --rtt 4ms --run-s "$(server)" \
        --run-a "$(peer a --trials 1)" --run-b "$(peer b --trials 1)"
    run -0 "$BIN/bench" field collect "$DIR/c.ini" "${NATS[@]}" --trials 1 --server "somewhere" --out "$DIR/res" \
        --discovered-udp-a "$DIR/sa/discovered-udp.json" --discovered-tcp-b "$DIR/sb/discovered-tcp.json" "$DIR/rec/trials.jsonl"
    [ "$(jq -r '.profiles.home["udp-ports"]' "$DIR/res/run.json")" = preserve ]
    [ "$(jq -r '.profiles.office["tcp-mapping"]' "$DIR/res/run.json")" = "$(jq -r .properties.mapping.value "$DIR/sb/discovered-tcp.json")" ]
    [ "$(jq -r '.field.server, .field.a[0].transport' "$DIR/res/run.json")" = "somewhere
udp" ]
    run -1 "$BIN/bench" field collect "$DIR/c.ini" "${NATS[@]}" --trials 1 --out "$DIR/x" --discovered-udp-a "$DIR/c.ini" "$DIR/rec/trials.jsonl"
    [[ $output == *"is not what 'discover --json' prints"* ]]
}
