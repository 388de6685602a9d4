#!/usr/bin/env bats
# bench run --shard and bench merge, with stand-ins for the programs. Pins: a trial that no shard measures or that two
# do; a merged folder that differs from the whole campaign's in counts, or cannot be resumed; folders of other campaigns,
# versions or schemas, corrupt ones, and ones with a trial twice, that are merged, or overwritten.

load ../helpers
load fakes

# shards N [ARGS]: runs all shards of c.ini into s1 ... sN.
shards()
{
    local n=$1 i
    shift
    for ((i = 1; i <= n; i++)); do
        bench run c.ini --shard "$i/$n" --out "s$i" "$@" >/dev/null
    done
}

# counts DIR: what of the summary does not depend on time.
counts()
{
    cut -d, -f1-13,18- "$1/summary.csv"
}

# refuses TEXT: one line with it, status 1, and no folder.
refuses()
{
    [ "$status" = 1 ] || { echo "status $status: $output"; return 1; }
    one_line
    [[ $output == *"$1"* ]] || { echo "$output"; return 1; }
    [ ! -e all ]
}

@test "shards, merged, are the whole campaign" {
    needs_root
    sed -i 's/^trials.*/trials = 6\nblock = 2\nwarmup = 1/' c.ini
    printf '%s\n' '[trials]' '*/*/none = 3' >>c.ini
    bench run c.ini --out whole >/dev/null
    shards 3
    [ "$(jq -c .shard s2/run.json)" = '{"index":2,"count":3}' ]
    [ "$(cat s?/trials.jsonl | wc -l)" = 36 ]
    [ "$(wc -l <s1/trials.jsonl)" -ge 9 ]
    run bench merge all s3 s1 s2
    [ "$status" = 0 ] || { echo "$output"; false; }
    [[ $output == *"results: all"* ]]
    counts all | cmp - <(counts whole)
    [ "$(jq -r '"\(.cell) \(.trial)"' all/trials.jsonl | sort | cmp - <(jq -r '"\(.cell) \(.trial)"' whole/trials.jsonl | sort))" = "" ]
    cmp <(grep ^Tag all/latency.hlog) <(grep ^Tag whole/latency.hlog)
    [ "$(jq -c '[.shard, (.merged | length), .merged[0].folder, .merged[0].shard.index]' all/run.json)" = '[null,3,"s3",3]' ]
    : >peers.log
    run bench run c.ini --out all --resume
    [ "$status" = 0 ] || { echo "$output"; false; }
    [ ! -s peers.log ]
}

@test "with until-width a cell is one shard's, and ends where it would have ended" {
    needs_root
    sed -i 's/^trials.*/trials = 30\nblock = 5\nuntil-width = 28%/' c.ini
    shards 2 --filter 'open/*'
    run bench merge all s1 s2
    [ "$status" = 0 ] || { echo "$output"; false; }
    every_trial_once all 4 10
}

@test "missing shards and trials are told: status 2, and --resume completes the merged folder" {
    needs_root
    sed -i 's/^trials.*/trials = 6\nblock = 2/' c.ini
    shards 4
    sed -i 1d s4/trials.jsonl
    run bench merge all s1 s2 s4
    [ "$status" = 2 ]
    [[ $output == *"13 trials of "*" are missing, with all of shard 3"* ]] || { echo "$output"; false; }
    run bench run c.ini --out all --resume
    [ "$status" = 0 ] || { echo "$output"; false; }
    every_trial_once all 8 6
    run bench merge all2 s1 s2 s3 s4
    [ "$status" = 2 ]
    [[ $output == *"1 trials of 1 cells are missing: a shard was not measured to its end"* ]]
}

@test "--resume of a shard completes that shard alone, and refuses another one" {
    needs_root
    sed -i 's/^trials.*/trials = 6\nblock = 2/' c.ini
    shards 2
    cp s1/trials.jsonl before
    sed -i 2,3d s1/trials.jsonl
    run bench run c.ini --out s1 --resume
    [ "$status" = 1 ]
    one_line
    [[ $output == *"it is shard 1/2 there and 0/0 here"* ]]
    run bench run c.ini --shard 1/2 --out s1 --resume
    [ "$status" = 0 ]
    cmp <(sort before) <(sort s1/trials.jsonl)
    for bad in 0/2 3/2 2 1/ x/2; do
        run bench run c.ini --shard $bad --out new
        [ "$status" = 1 ]
        [ ! -e new ]
    done
}

@test "what does not belong together is refused: one line, nothing written" {
    needs_root
    shards 2 --filter 'open/*'
    run bench merge all s1 s1
    refuses "s1 and s1 are both shard 1/2"
    bench run c.ini --filter 'open/*' --out whole >/dev/null
    run bench merge all s1 whole
    refuses "s1 is of 2 shards, whole of 0"
    cp -r whole again
    run bench merge all whole again
    refuses "again/trials.jsonl: line 1: trial "
    [[ $output == *"is in whole, too"* ]]
    bench run c.ini --filter 'open/*' --seed 9 --shard 2/2 --out other >/dev/null
    run bench merge all s1 other
    refuses "other holds another campaign than s1: campaign seed is 1 there and 9 here"
    cp -r s2 older
    sed 's/"version": "[^"]*"/"version": "v0.1"/' s2/run.json >older/run.json
    run bench merge all s1 older
    refuses "older by v0.1"
    cp -r s2 newer
    sed 's/"schema": 1/"schema": 2/' s2/run.json >newer/run.json
    run bench merge all s1 newer
    refuses "newer/run.json: of a newer version"
    run bench merge all s1 nowhere
    refuses "nowhere is no folder of results"
    mkdir empty
    run bench merge all s1 empty
    refuses "empty is no folder of results: run.json"
    run bench merge whole s1 s2
    [ "$status" = 1 ]
    one_line
    [[ $output == *"whole is not empty"* ]]
    every_trial_once whole 4 6
    run bench merge all
    [ "$status" = 1 ]
    run bench merge
    [ "$status" = 1 ]
    [ ! -e all ]
}

@test "corrupt folders: one line with the place, nothing written" {
    needs_root
    shards 2 --filter 'open/*'
    local good=s2.jsonl n
    cp s2/trials.jsonl $good
    n=$(wc -l <$good)
    { cat $good; echo garbage; } >s2/trials.jsonl
    run bench merge all s1 s2
    refuses "s2/trials.jsonl: line $((n + 1)): no trial record"
    { head -n1 $good | sed 's/"schema":1/"schema":2/'; cat $good; } >s2/trials.jsonl
    run bench merge all s1 s2
    refuses "s2/trials.jsonl: line 1: a record of a newer version"
    { cat $good; head -n1 $good; } >s2/trials.jsonl
    run bench merge all s1 s2
    refuses "line $((n + 1)): trial "
    { sed 's|open/open/|mars/open/|' $good; } >s2/trials.jsonl
    run bench merge all s1 s2
    refuses "has no cell 'mars/open/"
    head -c 100000 /dev/urandom >s2/trials.jsonl
    run bench merge all s1 s2
    refuses "s2/trials.jsonl: line 1: no trial record"
    rm s2/trials.jsonl
    run bench merge all s1 s2
    refuses "s2/trials.jsonl: No such file"
    cp $good s2/trials.jsonl
    cp s2/run.json run.json
    for bad in '{' '[]' '{"schema":1}' '{"schema":"x"}'; do
        echo "$bad" >s2/run.json
        run bench merge all s1 s2
        refuses "s2"
    done
    sed 's|"cell": "open/open/.*",|"cell": "nothing",|' run.json >s1/run.json
    cp s1/run.json s2/run.json
    run bench merge all s1 s2
    refuses "cell 1 is none"
    # A line that a kill tore is not counted, and said.
    cp run.json s2/run.json
    sed 's/"index": 2/"index": 1/' run.json >s1/run.json
    printf '{"schema":1,"ty' >>s2/trials.jsonl
    run bench merge all s1 s2
    [ "$status" = 0 ] || { echo "$output"; false; }
    [[ $output == *"torn by a kill"* ]]
    every_trial_once all 4 6
}

@test "a full disk: one line, and no half folder" {
    needs_root
    if ! unshare -m true 2>/dev/null; then skip "mount namespaces are not allowed here"; fi
    shards 2
    mkdir small
    run unshare -m bash -c "mount -t tmpfs -o size=8k none small && '$FAKE_DIR/bench' merge small/all s1 s2; echo status \$?
        ls -A small | wc -l"
    [ "${#lines[@]}" = 3 ] || { echo "$output"; false; }
    [[ ${lines[0]} == *"No space left on device"* && ${lines[1]} == "status 1" && ${lines[2]} == 0 ]] || { echo "$output"; false; }
}

@test "a folder that is being written to is not merged" {
    needs_root
    shards 1
    FAKE_DELAY=0.5 "$FAKE_DIR/bench" run c.ini --out live >/dev/null 2>&1 3>&- &
    local pid=$!
    wait_for lines_in live/trials.jsonl 1
    run bench merge all live
    refuses "a bench is still writing there"
    kill -INT $pid
    wait $pid || true
}
