#!/usr/bin/env bats
# needs: root
# A campaign of real trials that is killed at ten random moments. Pins: a trial that was written and is lost, or changed,
# by a later kill or resume; one that is there twice; one that no resumed run measures; derived files that do not agree
# with the trials.

load ../helpers

setup()
{
    cd "$BATS_TEST_TMPDIR" || return 1
    cat >c.ini <<'END'
[campaign]
name = resume
seed = 4
trials = 120
block = 7
warmup = 1
timeout = 5s
nats = open, linux-strict
techniques = simopen, portspray:punch
[link]
rtt = 2ms
END
}

# whole FILE: what of it are whole lines, without one that a kill tore.
whole()
{
    if [ -z "$(tail -c 1 "$1")" ]; then cat "$1"; else sed '$d' "$1"; fi
}

@test "kill -9 at ten random moments, then --resume: nothing written is lost, nothing is there twice" {
    local i pid resume=()
    # bash's generator, seeded: the same moments each time.
    RANDOM=11
    : >before
    for ((i = 0; i < 10; i++)); do
        "$BUILD/bin/bench" run c.ini --out out --parallel 4 "${resume[@]}" >/dev/null 2>>log 3>&- &
        pid=$!
        wait_for test -e out/trials.jsonl
        sleep "0.$(printf %03d $((100 + RANDOM % 600)))"
        kill -9 $pid
        wait $pid || true
        resume=(--resume)
        whole out/trials.jsonl >after
        cmp before <(head -c "$(stat -c %s before)" after)
        jq -es 'length == (map([.cell, .trial]) | unique | length)' after >/dev/null
        mv after before
    done
    # The kills fell amid the campaign.
    [ "$(wc -l <before)" -lt 960 ]
    [ "$(wc -l <before)" -gt 0 ]
    run "$BUILD/bin/bench" run c.ini --out out --parallel 4 --resume
    [ "$status" = 0 ] || { cat log; echo "$output"; false; }
    cmp before <(head -c "$(stat -c %s before)" out/trials.jsonl)
    [ "$(jq -r '"\(.cell) \(.trial)"' out/trials.jsonl | sort -u | wc -l)" = 960 ]
    [ "$(wc -l <out/trials.jsonl)" = 960 ]
    [ "$(jq -s 'map(.trial) | [min, max]' -c out/trials.jsonl)" = '[1,120]' ]
    [ "$(cut -d, -f9 out/summary.csv | sort -u | tr '\n' ' ')" = "120 trials " ]
    [ "$(grep -c ^Tag= out/latency.hlog)" = 8 ]
}
