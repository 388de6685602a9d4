#!/usr/bin/env bats
# needs: root
# results/record. Pins: a recording that an interruption leaves half done in the place of a whole one, that does not go on,
# or that later programs cannot read.

bats_require_minimum_version 1.5.0
load lab

setup() {
    lab_setup
    export RESULTS=$DIR/results
    RECORD=("$ROOT/results/record" quick --trials 1 --filter 'open/*/none/*' --parallel 1)
}

@test "an interrupted recording leaves what was there, goes on, and is whole in the end" {
    mkdir -p "$RESULTS/quick"
    echo old >"$RESULTS/quick/summary.csv"
    "${RECORD[@]}" >"$DIR/out" 2>"$DIR/err" 3>&- &
    recorder=$!
    wait_for lines_in "$RESULTS/.new/quick/trials.jsonl" 1 2>/dev/null
    pkill -TERM -P $recorder bench
    status=0
    wait $recorder || status=$?
    cat "$DIR/err"
    [ $status = 1 ]
    grep -q "the same command goes on" "$DIR/err"
    [ "$(cat "$RESULTS/quick/summary.csv")" = old ]

    run -0 "${RECORD[@]}"
    [ ! -e "$RESULTS/.new/quick" ]
    cd "$RESULTS/quick"
    [ -s run.json ] && [ -s summary.csv ] && [ -s latency.hlog ] && [ -s report.html ] && [ ! -e trials.jsonl ]
    grep -q "ok/trials" summary.txt
    # Each trial once, though two runs made them.
    xz -dc trials.jsonl.xz | jq -r '"\(.cell) \(.trial)"' | sort >"$DIR/trials"
    [ "$(wc -l <"$DIR/trials")" = "$(($(wc -l <summary.csv) - 1))" ]
    [ -z "$(uniq -d "$DIR/trials")" ]
    run -0 "$BIN/bench" check .
    [[ $output == *" 0 without a trial"* ]]
}

@test "--brief leaves out the details of successes, and nothing else" {
    run -0 "$ROOT/results/record" --brief quick --trials 1 --filter 'open/linux-strict/*/*' --parallel 1
    cd "$RESULTS/quick"
    xz -dc trials.jsonl.xz >"$DIR/trials"
    [ "$(wc -l <"$DIR/trials")" = "$(($(wc -l <summary.csv) - 1))" ]
    jq -s -e 'all((.outcome == "ok") == (.brief == true)) and any(.brief)' "$DIR/trials"
    jq -s -e 'all((.outcome == "ok") == (has("nats") | not))' "$DIR/trials"
    cp report.html "$DIR/report.html"
    run -0 "$BIN/bench" report .
    cmp report.html "$DIR/report.html"
}

@test "no such campaign, or none named: one line" {
    run -1 "$ROOT/results/record" nonsense
    [ "${#lines[@]}" = 1 ]
    run -1 "$ROOT/results/record"
    [[ ${#lines[@]} = 1 && $output == *quick* ]]
}
