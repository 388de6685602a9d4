#!/usr/bin/env bats
# The program bench: its command line, and the coordinator with stand-ins for rendezvous and the peers. Pins: bad input
# that starts something or gives the wrong status; a trial lost, repeated or dropped from the denominator when programs
# die, hang or lie, when the campaign is killed, and when it is resumed.

load ../helpers
load fakes

# ---- command line --------------------------------------------------------------------------------

@test "no command: usage, status 1; --help and --version: status 0" {
    run bench
    [ "$status" = 1 ]
    run bench --help
    [ "$status" = 0 ]
    [[ $output == *"bench run"* && $output == *"bench lab"* && $output == *"bench list"* ]]
    run bench --version
    [ "$status" = 0 ]
    [[ $output == "bench "?* ]]
    for c in run lab list; do
        run bench $c --help
        [ "$status" = 0 ]
        [[ $output == "Usage: bench $c"* && $output == *"  bench $c "* ]]
    done
}

@test "an unknown command says which there are" {
    run bench frobnicate
    [ "$status" = 1 ]
    one_line
    [[ $output == *"'frobnicate'"*"run, lab, list"* ]]
}

@test "an unknown option, a missing and a second campaign: status 1" {
    for args in "run --frob c.ini" "run" "run c.ini c.ini" "run c.ini --trials 0" "run c.ini --trials x" \
        "run c.ini --parallel 0" "run c.ini --seed -1" "run c.ini --resume" "lab" "lab -a open" \
        "lab -a open -b open --rtt 40" "lab -a open -b open --loss 1" "lab -a open -b open --rate 1" \
        "lab -a open -b open --link a-rate" "lab -a open -b open --link c-rate=1mbit" "list --frob"; do
        # shellcheck disable=SC2086
        run bench $args
        [ "$status" = 1 ] || { echo "$args: status $status"; false; }
        [ ! -e results ]
    done
}

@test "list names profiles, campaigns and techniques; --json is one object" {
    run bench list
    [ "$status" = 0 ]
    [[ $output == *linux-strict* && $output == *quick* && $output == *portspray* ]]
    bench list --json >list.json
    [ "$(jq -r '.profiles[] | select(.name == "open") | .description' list.json)" != "" ]
    [ "$(jq -r '.campaigns[] | select(.name == "quick") | .name' list.json)" = quick ]
    [ "$(jq -r '.techniques[] | select(.name == "none") | .program' list.json)" = portspray ]
    mkdir empty
    PUNCHBENCH_DATA=empty run bench list
    [ "$status" = 0 ]
    [[ $output == *"(none)"* ]]
}

# ---- bad campaigns -------------------------------------------------------------------------------

# refused LINE-NUMBER TEXT: c.ini gives one line that names the place and holds the text; nothing is written.
refused()
{
    run bench run c.ini --out out
    [ "$status" = 1 ] || { echo "status $status: $output"; return 1; }
    one_line
    [[ $output == *"c.ini:$1: "*"$2"* ]] || { echo "$output"; return 1; }
    [ ! -e out ]
}

@test "bad campaign files: file, line, and what to do; nothing is started" {
    cp c.ini good.ini
    sed 's/^trials.*/trails = 6/' good.ini >c.ini && refused 3 "no key 'trails'; use one of:"
    sed 's/^trials.*/trials = many/' good.ini >c.ini && refused 3 "write a number"
    sed 's/^timeout.*/timeout = 50/' good.ini >c.ini && refused 4 "write a time like"
    sed 's/linux-strict/linux-nope/' good.ini >c.ini && refused 5 "no profile 'linux-nope'"
    sed 's/linux-strict/open/' good.ini >c.ini && refused 5 "listed twice"
    sed 's/, none/, telepathy/' good.ini >c.ini && refused 6 "no technique 'telepathy'; use one of:"
    sed 's/, none/, portspray:window9/' good.ini >c.ini && refused 6 "no mode 'window9'; use one of:"
    sed 's/^timeout.*/warmup = 101/' good.ini >c.ini && refused 4 "number from 0 to 100"
    sed 's/^timeout.*/block = 0/' good.ini >c.ini && refused 4 "number from 1"
    sed 's/^timeout.*/until-width = 5/' good.ini >c.ini && refused 4 "write a percentage"
    { cat good.ini; printf '%s\n' '[trials]' '*/none = 3'; } >c.ini && refused 10 "NAT-A/NAT-B/TECHNIQUE"
    { cat good.ini; printf '%s\n' '[trials]' '*/*/none = few'; } >c.ini && refused 10 "'few' is no number of trials"
    sed 's/^rtt.*/loss = 1/' good.ini >c.ini && refused 8 "percentage"
    sed 's/^\[link\]/[lnik]/' good.ini >c.ini && refused 8 "no section [lnik]"
    sed 's/^rtt.*//' good.ini >c.ini && refused 7 "'rtt' is missing in [link]"
    sed 's/^rtt/what is this/' good.ini >c.ini && refused 8 "no key"
    { cat good.ini; echo "gibberish"; } >c.ini && refused 9 "neither KEY = VALUE"
    printf '%s\n' '[expect]' 'open/simopen = 100%' >>good.ini
    cp good.ini c.ini && refused 10 "NAT-A/NAT-B/TECHNIQUE"
    sed 's|^open/simopen.*|*/*/* = most|' good.ini >c.ini && refused 10 "'most' is no rate"
}

@test "no such campaign, no such cell, a folder as campaign: one line, status 1" {
    run bench run nothing.ini
    [ "$status" = 1 ]
    one_line
    run bench run c.ini --filter 'mars/*'
    [ "$status" = 1 ]
    one_line
    run bench run .
    [ "$status" = 1 ]
    one_line
    [ ! -e results ]
}

@test "a companion program is missing: one line, status 1" {
    mkdir lonely && cp "$FAKE_DIR/bench" lonely/
    run lonely/bench run c.ini --out out
    [ "$status" = 1 ]
    one_line
    [[ $output == *"not beside this one"* ]]
    [ ! -e out ]
}

# ---- the coordinator, with stand-ins ----------------------------------------------------------------

@test "a campaign: run.json, every trial once, summary, table" {
    needs_root
    run bench run c.ini --out out
    [ "$status" = 0 ] || { echo "$output"; false; }
    every_trial_once out 8 6
    [ "$(jq -r .campaign.trials out/run.json)" = 6 ]
    [ "$(jq -r '.profiles["linux-strict"].backend' out/run.json)" = netfilter ]
    [ "$(jq -r '.cells | length' out/run.json)" = 8 ]
    jq -e '.loads | length == 1 and (.[0] | .paced and .trials == 48 and .workers_most >= 1 and .workers_mean <= .workers_most)' out/run.json
    [ "$(wc -l <out/summary.csv)" = 9 ]
    grep -q '^open/linux-strict/simopen/rtt0,open,linux-strict,simopen,plain,tcp,rtt0,0,6,6,1.000000,' out/summary.csv
    [[ $output == *"results: out"* && $output == *"6/6"* && $output == *"0/6"* ]]
}

@test "what sudo makes belongs to the user who called it" {
    needs_root
    SUDO_UID=12345 SUDO_GID=23456 run bench run c.ini --out new/out --pcap caught --filter 'open/open/simopen/*'
    [ "$status" = 0 ] || { echo "$output"; false; }
    [ "$(stat -c %u:%g new new/out new/out/trials.jsonl new/out/summary.csv caught caught/*/s.pcap | sort -u)" = 12345:23456 ]
    SUDO_UID=nobody SUDO_GID=23456 run bench run c.ini --out mine --filter 'open/open/simopen/*'
    [ "$(stat -c %u mine/run.json)" = 0 ]
}

@test "expectations: each violated one has a line, status 2" {
    needs_root
    printf '%s\n' '[expect]' '*/*/simopen = 100%' 'open/open/none = 100%' >>c.ini
    run bench run c.ini --out out
    [ "$status" = 2 ]
    [ "$(grep -c '^not as expected: ' <<<"$output")" = 1 ]
    [[ $output == *"open/open/none/rtt0: 0 of 6 ok, but c.ini:11 says open/open/none = 100%"* ]]
}

@test "a program that dies once: said with its last words, tried again, nothing missing" {
    needs_root
    FAKE=dies run bench run c.ini --out out --filter 'open/open/simopen/*'
    [ "$status" = 0 ] || { echo "$output"; false; }
    [[ $output == *"rendezvous (s) ended with status 7 in trial 3"*"I die"* ]]
    every_trial_once out 1 6
    # A second load only where something was measured.
    run bench run c.ini --out out --filter 'open/open/simopen/*' --resume
    [ "$status" = 0 ]
    jq -e '.loads | length == 1' out/run.json
    # The second run began where the first one ended.
    [ "$(cat peers.log)" = "$(printf 'peer open/open/simopen/rtt0 %s\n' '0 6' '3 3')" ]
}

@test "a program that dies always: what is missing counts as errors, status 2" {
    needs_root
    FAKE=dies-always run bench run c.ini --out out --filter 'open/open/simopen/*'
    [ "$status" = 2 ]
    every_trial_once out 1 6
    [ "$(jq -r 'select(.outcome == "error") | .trial' out/trials.jsonl | tr '\n' ' ')" = "3 4 5 " ]
    [[ $output == *"3/6"* ]]
    [ "$(wc -l <peers.log)" = 2 ]
}

@test "a record of another trial, and what is no record: refused, tried again" {
    needs_root
    FAKE=wrong run bench run c.ini --out out --filter 'open/open/simopen/*'
    [ "$status" = 0 ]
    [[ $output == *"wrote trial 4 of open/open/simopen/rtt0 where trial 3"* ]]
    every_trial_once out 1 6
    rm -r once-*
    FAKE=garbage run bench run c.ini --out out2 --filter 'open/open/simopen/*'
    [ "$status" = 0 ]
    [[ $output == *"something else than a record: no record"* ]]
    every_trial_once out2 1 6
}

@test "a server that cannot start: the campaign stops instead of trying every cell" {
    needs_root
    FAKE=never-ready run bench run c.ini --out out --parallel 2
    [ "$status" = 2 ]
    [[ $output == *"address in use"* && $output == *"no cell could be measured here"* ]]
    [ ! -s out/trials.jsonl ]
    run bench run c.ini --out out --resume
    [ "$status" = 0 ]
    every_trial_once out 8 6
}

@test "too few open files: one line before anything is started" {
    needs_root
    ulimit -n 32
    run bench run c.ini --out out
    [ "$status" = 1 ]
    one_line
    [[ $output == *"limit of open files is 32"*"ulimit -n"* ]]
    [ ! -e out ]
}

@test "a peer that cannot start is named, with its last words" {
    needs_root
    FAKE=peer-dies FAKE_DELAY=5 run bench run c.ini --out out --filter 'open/open/simopen/*'
    [ "$status" = 2 ] || { echo "$status: $output"; false; }
    [[ $output == *"simopen (a) ended with status 1 in trial 0; simopen: no way"* ]]
}

@test "budgets by cell, a warm-up that nobody gets, ranges: recorded, and numbered behind the warm-up" {
    needs_root
    sed -i 's/^trials.*/trials = 7\nwarmup = 2\nblock = 3/' c.ini
    printf '%s\n' '[trials]' '*/*/none = 2' 'open/open/none = 1' >>c.ini
    run bench run c.ini --out out
    [ "$status" = 0 ] || { echo "$output"; false; }
    [ "$(jq -r 'select(.cell | test("simopen")) | .trial' out/trials.jsonl | sort -n | uniq -c | tr -s ' \n' ' ')" = \
        " 4 2 4 3 4 4 4 5 4 6 4 7 4 8 " ]
    [ "$(jq -r 'select(.cell | test("none")) | .trial' out/trials.jsonl | sort -n | uniq -c | tr -s ' \n' ' ')" = " 4 2 3 3 " ]
    # Each range has its own warm-up before it.
    [ "$(grep -c 'peer open/open/simopen/rtt0 [036] [53]$' peers.log)" = 3 ]
    jq -e '.campaign | .warmup == 2 and .block == 3 and .until_width == null and (.budgets | length) == 2' out/run.json
    [ "$(jq -c '[.cells[].trials] | sort | unique' out/run.json)" = '[1,2,7]' ]
    # What --trials says, it says of each cell.
    run bench run c.ini --out out2 --trials 3 --filter 'open/open/*'
    [ "$(wc -l <out2/trials.jsonl)" = 6 ]
}

@test "until-width: a cell ends with the first block after which its interval is narrow enough, also when resumed" {
    needs_root
    sed -i 's/^trials.*/trials = 30\nblock = 5\nuntil-width = 28%/' c.ini
    run bench run c.ini --out out --filter 'open/*'
    [ "$status" = 0 ] || { echo "$output"; false; }
    # All of 10 and none of 10 are 27.75 % wide.
    every_trial_once out 4 10
    [ "$(jq -r .trial out/trials.jsonl | sort -n | uniq -c | awk '$1 != 4')" = "" ]
    jq -e '.campaign.until_width == 0.28' out/run.json
    : >peers.log
    run bench run c.ini --out out --filter 'open/*' --resume
    [ "$status" = 0 ]
    [ ! -s peers.log ]
    sed -i '/"trial":7,/d' out/trials.jsonl
    run bench run c.ini --out out --filter 'open/*' --resume
    every_trial_once out 4 10
}

@test "cells and their ranges are started in an order that the seed decides" {
    needs_root
    sed -i 's/^trials.*/trials = 6\nblock = 2/' c.ini
    for i in 1 2 3; do
        : >peers.log
        bench run c.ini --out out$i --parallel 1 --seed $((i < 3 ? 5 : 6)) >/dev/null
        cp peers.log order$i
        [ "$(wc -l <order$i)" = 24 ]
    done
    cmp order1 order2
    run cmp -s order1 order3
    [ "$status" = 1 ]
    # Not one cell after the other.
    [ "$(cut -d' ' -f2 order1 | uniq | wc -l)" -gt 12 ]
    # In rounds, of one range of each of the eight programs' cells.
    for round in '0 2' '2 2' '4 2'; do
        [ "$(head -n 8 order1 | grep -c " $round\$")" = 8 ]
        sed -i 1,8d order1
    done
}

@test "latency.hlog: made at the end, at an interrupt, and anew after --resume; the successes of each cell" {
    needs_root
    run bench run c.ini --out out --filter 'open/open/*'
    [ "$status" = 0 ]
    [ "$(grep -c '^Tag=open/open/' out/latency.hlog)" = 2 ]
    cp out/latency.hlog whole.hlog
    sed -i '/"trial":2,/d' out/trials.jsonl
    rm out/latency.hlog
    run bench run c.ini --out out --filter 'open/open/*' --resume
    cmp out/latency.hlog whole.hlog
    [ "$(ls out/*.new 2>/dev/null)" = "" ]
}

# ---- interrupting and resuming -----------------------------------------------------------------------

@test "SIGINT: keeps what is there, writes the summary, says how to go on; --resume completes it" {
    needs_root
    FAKE_DELAY=0.3 "$FAKE_DIR/bench" run c.ini --out out >log 2>&1 3>&- &
    local pid=$! status=0
    until [ "$(wc -l <out/trials.jsonl)" -ge 8 ]; do sleep 0.05; done
    kill -INT $pid
    wait $pid || status=$?
    [ "$status" = 2 ] || { cat log; false; }
    grep -q -- '--out out --resume' log
    [ -s out/summary.csv ]
    [ "$(grep -c ^Tag= out/latency.hlog)" = 8 ]
    [ "$(wc -l <out/trials.jsonl)" -lt 48 ]
    run bench run c.ini --out out --resume
    [ "$status" = 0 ] || { echo "$output"; false; }
    every_trial_once out 8 6
}

# Each time nothing stays behind, whole lines stay as they were, and the next run goes on after them.
@test "kill -9 at ten random moments, and --resume: no trial lost but those in flight, none twice" {
    needs_root
    local kill pid before=0 i resume=
    RANDOM=1
    for ((kill = 0; kill < 10; kill++)); do
        # shellcheck disable=SC2086 # none, or one
        FAKE_DELAY=0.2 "$FAKE_DIR/bench" run c.ini --trials 60 --out out $resume >>log 2>&1 3>&- &
        pid=$!
        # The first one is killed once there is something to resume.
        until [ -e out/run.json ] && [ -e out/trials.jsonl ]; do sleep 0.02; done
        resume=--resume
        sleep "0.$((RANDOM % 700 + 200))"
        kill -9 $pid
        wait $pid || true
        for ((i = 0; i < 100; i++)); do
            pgrep -f "$FAKE_DIR/" >/dev/null || break
            sleep 0.05
        done
        run pgrep -af "$FAKE_DIR/"
        [ "$status" = 1 ]
        [ "$(wc -l <out/trials.jsonl)" -ge "$before" ]
        head -n "$before" out/trials.jsonl | cmp - <(cat before.jsonl 2>/dev/null)
        before=$(wc -l <out/trials.jsonl)
        head -n "$before" out/trials.jsonl >before.jsonl
        jq -es 'all(.[]; .schema == 1)' before.jsonl >/dev/null
    done
    cat log
    [ "$before" -gt 20 ] && [ "$before" -lt 480 ]
    run bench run c.ini --trials 60 --out out --resume
    [ "$status" = 0 ] || { echo "$output"; false; }
    every_trial_once out 8 60
    head -n "$before" out/trials.jsonl | cmp - before.jsonl
}

@test "--resume fills gaps, and cuts off a torn line" {
    needs_root
    bench run c.ini --out out --filter 'open/open/*' >/dev/null
    cp out/trials.jsonl all.jsonl
    jq -c 'select(.trial != 1 and .trial != 4 and (.trial != 2 or (.cell | test("none") | not)))' all.jsonl \
        >out/trials.jsonl
    printf '{"schema":1,"type":"tri' >>out/trials.jsonl
    : >peers.log
    run bench run c.ini --out out --filter 'open/open/*' --resume
    [ "$status" = 0 ] || { echo "$output"; false; }
    [[ $output == *"torn"* ]]
    every_trial_once out 2 6
    [ "$(sort peers.log)" = "$(printf 'peer open/open/%s\n' 'none/rtt0 1 2' 'none/rtt0 4 1' 'simopen/rtt0 1 1' \
        'simopen/rtt0 4 1')" ]
    : >peers.log
    run bench run c.ini --out out --filter 'open/open/*' --resume
    [ "$status" = 0 ]
    [ ! -s peers.log ]
}

@test "--resume with more trials: only the added ones are measured, and run.json says the new number; of a shard it is refused" {
    needs_root
    bench run c.ini --out out --filter 'open/open/*' >/dev/null
    cp out/trials.jsonl before.jsonl
    : >peers.log
    run bench run c.ini --out out --filter 'open/open/*' --trials 8 --resume
    [ "$status" = 0 ] || { echo "$output"; false; }
    every_trial_once out 2 8
    cmp before.jsonl <(head -n 12 out/trials.jsonl)
    [ "$(sort peers.log)" = "$(printf 'peer open/open/%s\n' 'none/rtt0 6 2' 'simopen/rtt0 6 2')" ]
    [ "$(jq -c '[.campaign.trials, .cells[].trials]' out/run.json)" = '[8,8,8]' ]
    bench run c.ini --out part --filter 'open/open/*' --shard 1/2 >/dev/null
    run bench run c.ini --out part --filter 'open/open/*' --shard 1/2 --trials 8 --resume
    [ "$status" = 1 ]
    one_line
    [[ $output == *"campaign trials is 6 there and 8 here"* ]]
}

@test "results that are not ours stay as they are: one line, status 1" {
    needs_root
    bench run c.ini --out out --filter 'open/open/*' >/dev/null
    cp out/trials.jsonl all.jsonl
    run bench run c.ini --out out --filter 'open/open/*'
    [ "$status" = 1 ]
    one_line
    [[ $output == *"not empty"*"--resume"* ]]
    run bench run c.ini --out out --filter 'open/open/*' --trials 5 --resume
    [ "$status" = 1 ]
    one_line
    [[ $output == *"another campaign: campaign trials is 6 there and 5 here"* ]]
    mkdir foreign && echo x >foreign/notes
    run bench run c.ini --out foreign --resume
    [ "$status" = 1 ]
    one_line
    echo '{"schema":1,"type":"trial","cell":"mars","trial":0,"outcome":"timeout"}' >>out/trials.jsonl
    run bench run c.ini --out out --filter 'open/open/*' --resume
    [ "$status" = 1 ]
    one_line
    [[ $output == *"line 13: this campaign has no cell 'mars'"* ]]
    { cat all.jsonl; head -1 all.jsonl; } >out/trials.jsonl
    run bench run c.ini --out out --filter 'open/open/*' --resume
    [ "$status" = 1 ]
    [[ $output == *"line 13: "*"is there twice"* ]]
    { echo garbage; cat all.jsonl; } >out/trials.jsonl
    run bench run c.ini --out out --filter 'open/open/*' --resume
    [ "$status" = 1 ]
    [[ $output == *"line 1: no trial record"* ]]
    [ "$(wc -l <out/trials.jsonl)" = 13 ]
    { head -n 1 all.jsonl | sed 's/"schema":1/"schema":2/'; cat all.jsonl; } >out/trials.jsonl
    run bench run c.ini --out out --filter 'open/open/*' --resume
    [ "$status" = 1 ]
    one_line
    [[ $output == *"line 1: a record of a newer version"* ]]
    head -c 5000 /dev/urandom >out/trials.jsonl
    cp out/trials.jsonl noise
    run bench run c.ini --out out --filter 'open/open/*' --resume
    [ "$status" = 1 ]
    cmp out/trials.jsonl noise
    cp all.jsonl out/trials.jsonl
    cp out/run.json run.json
    for bad in '' '{' '[]' '{"schema":2}' '{"schema":1}' 'null'; do
        echo "$bad" >out/run.json
        run bench run c.ini --out out --filter 'open/open/*' --resume
        [ "$status" = 1 ] || { echo "$bad: $output"; false; }
        one_line
        [ "$(cat out/run.json)" = "$bad" ]
    done
    rm out/run.json
    run bench run c.ini --out out --filter 'open/open/*' --resume
    [ "$status" = 1 ]
    one_line
    [[ $output == *"cannot be resumed: run.json:"* ]]
    cmp out/trials.jsonl all.jsonl
}

@test "two at once in one folder: the second is refused" {
    needs_root
    FAKE_DELAY=0.3 "$FAKE_DIR/bench" run c.ini --out out >log 2>&1 3>&- &
    local pid=$!
    until [ -s out/trials.jsonl ]; do sleep 0.05; done
    run bench run c.ini --out out --resume
    kill -TERM $pid
    wait $pid || true
    [ "$status" = 1 ]
    one_line
    [[ $output == *"another bench is writing there"* ]]
}

@test "a full disk: one line, what is there stays, and --resume completes it once there is room" {
    needs_root
    mkdir small
    if ! unshare -m true 2>/dev/null; then skip "mount namespaces are not allowed here"; fi
    run unshare -m bash -c "mount -t tmpfs -o size=24k none small && cd small && ln -s ../state state &&
        '$FAKE_DIR/bench' run ../c.ini --out out --trials 200 --filter 'open/open/simopen/*' 2>../err; echo status \$?
        grep -c ^bench: ../err; cat ../err; ls out | tr '\n' ' '; jq -e .schema out/run.json; tail -c 1 out/trials.jsonl | od -An -c
        cp out/trials.jsonl ../before
        mount -o remount,size=4m \$PWD
        '$FAKE_DIR/bench' run ../c.ini --out out --trials 200 --filter 'open/open/simopen/*' --resume >/dev/null; echo then \$?
        cp -r out ../all"
    [[ $output == *"No space left on device"* && $output == *"status 2"* && $output != *" 0 of 200 trials"* ]] || { echo "$output"; false; }
    [ "$(sed -n '/^status 2/{n;p}' <<<"$output")" = 1 ] || { echo "$output"; false; }
    [[ $output == *"run.json trials.jsonl "* && $output == *'\n'* && $output == *"then 0"* ]] || { echo "$output"; false; }
    every_trial_once all 1 200
    cmp before <(head -c "$(stat -c %s before)" all/trials.jsonl)
    run unshare -m bash -c "mount -t tmpfs -o size=4k none small && cd small && '$FAKE_DIR/bench' run ../c.ini --out out; echo status \$?; find out -type f"
    [ "${#lines[@]}" = 2 ] || { echo "$output"; false; }
    [[ ${lines[0]} == *"out cannot be written: No space left on device" && ${lines[1]} == "status 1" ]]
}

@test "what is made of the trials cannot be written: one line, the old one stays" {
    needs_root
    bench run c.ini --out out --filter 'open/open/*' >/dev/null
    cp out/summary.csv out/latency.hlog .
    mkdir out/latency.hlog.new
    sed -i '/"trial":2,/d' out/trials.jsonl
    run bench run c.ini --out out --filter 'open/open/*' --resume
    [ "$status" = 2 ]
    [ "$(grep -c 'out/latency.hlog cannot be written: Is a directory' <<<"$output")" = 1 ]
    cmp out/latency.hlog latency.hlog
    every_trial_once out 2 6
}

# ---- bench lab -------------------------------------------------------------------------------------

@test "lab: commands run in their hosts; the worst status counts; s is stopped" {
    needs_root
    run timeout 60 "$FAKE_DIR/bench" lab -a linux-strict -b open --run-a 'echo a is here' --run-b 'echo b is here' \
        --run-s 'sleep 1000'
    [ "$status" = 0 ] || { echo "$output"; false; }
    [[ $output == *"a is here"* && $output == *"b is here"* ]]
    run timeout 60 "$FAKE_DIR/bench" lab -a open -b open --run-a true --run-b 'exit 3'
    [ "$status" = 2 ]
    [[ $output == *"b's command ended with status 3"* ]]
    run bench lab -a nothing -b open --run-a true
    [ "$status" = 1 ]
    one_line
}

@test "lab: without commands it says how to enter each host, and waits" {
    needs_root
    "$FAKE_DIR/bench" lab -a linux-strict -b open >doors 2>&1 3>&- &
    local pid=$! status=0 door
    until grep -q 'Ctrl-C' doors; do sleep 0.05; done
    grep -q '^a  10.1.0.2 ' doors && grep -q '^b  203.0.113.1 ' doors && grep -q '^s  192.0.2.1 ' doors
    door=$(sed -n 's/^b .* \(nsenter .*\) sh$/\1/p' doors)
    $door ip -o addr >addresses
    grep -q '203.0.113.1' addresses
    kill -INT $pid
    wait $pid || status=$?
    [ "$status" = 0 ]
}

# ---- with the real programs -------------------------------------------------------------------------

@test "the real programs: right outcomes, whole records, and exactly the missing trials after a kill -9" {
    needs_root
    cat >real.ini <<END
[campaign]
name = real
trials = 8
timeout = 300ms
nats = open, linux-strict
techniques = simopen, portspray:punch, none
[link]
rtt = 10ms
[expect]
*/*/* = 100%
*/*/none = 0%
END
    "$BUILD/bin/bench" run real.ini --out real >log 2>&1 3>&- &
    local pid=$! before
    until [ "$(wc -l <real/trials.jsonl)" -ge 20 ]; do sleep 0.02; done
    kill -9 $pid
    wait $pid || true
    before=$(grep -c '}$' real/trials.jsonl)
    [ "$before" -lt 96 ]
    head -n "$before" real/trials.jsonl >before.jsonl
    run "$BUILD/bin/bench" run real.ini --out real --resume
    [ "$status" = 0 ] || { echo "$output"; false; }
    every_trial_once real 12 8
    cmp before.jsonl <(head -n "$before" real/trials.jsonl)
    # Both sides vouch for every success; the control has none; one seed a cell, the one that run.json names.
    [ "$(jq -s 'map(select(.outcome == "ok")) | length' real/trials.jsonl)" = 64 ]
    [ "$(jq -s 'map(select(.outcome == "ok" and .a.acked and .b.acked and .a.outcome == "ok" and .b.outcome == "ok" and
        .connect_ns == ([.a.connect_ns, .b.connect_ns] | max) and .path == "direct")) | length' real/trials.jsonl)" = 64 ]
    [ "$(jq -s 'map(select(.mode == "none" and .outcome == "timeout" and .connect_ns == null)) | length' \
        real/trials.jsonl)" = 32 ]
    [ "$(jq -r '"\(.cell) \(.seed)"' real/trials.jsonl | sort -u)" = \
        "$(jq -r '.cells[] | "\(.cell) \(.seed)"' real/run.json | sort)" ]
}
