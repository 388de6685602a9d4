#!/usr/bin/env bats
# needs: root
# A campaign of real trials, split by GNU parallel. Pins: the script that is shipped for it; a merged folder whose trials
# are not those of the unsharded campaign, one by one, or whose summary counts otherwise.

load ../helpers

setup()
{
    cd "$BATS_TEST_TMPDIR" || return 1
    cat >c.ini <<'END'
[campaign]
name = shards
seed = 4
trials = 10
block = 4
warmup = 1
timeout = 5s
nats = open, linux-strict
techniques = simopen, portspray:punch
[link]
rtt = 10ms
[trials]
*/*/simopen = 6
END
}

@test "four shards by GNU parallel, merged, equal the unsharded campaign in counts" {
    "$BUILD/bin/bench" run c.ini --out whole --parallel 4 >/dev/null
    BENCH=$BUILD/bin/bench JOBS=2 run "$ROOT/bench/scripts/shards-parallel" 4 all c.ini --parallel 2
    [ "$status" = 0 ] || { echo "$output"; false; }
    local dirs=(all.shards/[1-4])
    [ ${#dirs[@]} = 4 ]
    [ "$(jq -c '.merged | map(.shard.index)' all/run.json)" = '[1,2,3,4]' ]
    # Cell and trials; every pair here connects each time.
    cut -d, -f1,9,10,18-23 all/summary.csv | diff - <(cut -d, -f1,9,10,18-23 whole/summary.csv)
    [ "$(cut -d, -f9 all/summary.csv | tail -n +2 | awk "{ n += \$1 } END { print n }")" = 64 ]
    jq -r '"\(.cell) \(.trial) \(.seed)"' all/trials.jsonl | sort | diff - <(jq -r '"\(.cell) \(.trial) \(.seed)"' whole/trials.jsonl | sort)
    [ "$(grep -c ^Tag= all/latency.hlog)" = 8 ]
    # The same command again: the folder is whole, and stays as it is.
    BENCH=$BUILD/bin/bench run "$ROOT/bench/scripts/shards-parallel" 4 all c.ini
    [ "$status" = 1 ]
}
