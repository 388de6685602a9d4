#!/usr/bin/env bats
# needs: root
# Anybody's commands as a technique (use = exec). Pins: an outcome that is not what the programs said, a time without
# their start, a program that outlives its trial, floods the memory, holds the campaign up, or reaches out of its host.

bats_require_minimum_version 1.5.0
load lab

# campaign TRIALS TIMEOUT NATS TECHNIQUES, the sections on stdin: measured into $DIR/out.
campaign() {
    {
        printf '[campaign]\nname = x\ntrials = %s\ntimeout = %s\nnats = %s\ntechniques = %s\n' "$@"
        cat
        printf '[link]\nrtt = %s\n' "${RTT:-0}"
    } >"$DIR/x.ini"
    timeout 60 "$BIN/bench" run "$DIR/x.ini" --out "$DIR/out" --parallel 4 --trials "$1" 2>&1
}

# outcomes TECHNIQUE: "outcome why-of-a why-of-b", one line each kind.
outcomes() {
    jq -r "select(.cell | split(\"/\")[2] == \"$1\") | \"\(.outcome) \(.a.why) \(.b.why)\"" "$DIR/out/trials.jsonl" | sort -u
}

@test "the shipped example: netcat and a foreign simopen connect where ports are kept, and nowhere else" {
    run -0 timeout 100 "$BIN/bench" run exec-example --out "$DIR/out" --trials 3 --parallel 4
    [ "$(jq -r 'select(.outcome == "ok") | .cell' "$DIR/out/trials.jsonl" | sort | uniq -c | awk '{print $2, $1}')" = \
        "linux-strict/linux-strict/foreign-simopen/rtt40 3
linux-strict/linux-strict/netcat/rtt40 3
linux-strict/linux-strict/simopen/rtt40 3" ]
    # At least the way there; and starting, joining and sampling are in the foreign one's time.
    [ "$(jq -s 'map(select(.outcome == "ok").connect_ns) | min > 20e6' "$DIR/out/trials.jsonl")" = true ]
    [ "$(jq -s 'map(select(.technique == "exec" and .transport == "tcp" and .outcome == "ok").connect_ns) | min > 100e6' \
        "$DIR/out/trials.jsonl")" = true ]
    [ "$(jq -r '.campaign.techniques[0].exec.run.a' "$DIR/out/run.json" | grep -c PUNCHBENCH_PEER)" = 1 ]
    grep -q '^linux-strict/linux-strict/netcat/rtt40,linux-strict,linux-strict,exec,plain,udp,rtt40,40,3,3,' "$DIR/out/summary.csv"
}

@test "how commands end: outcomes, exit statuses and output; nothing is left over" {
    mark=$RANDOM
    # shellcheck disable=SC2016
    run -0 campaign 2 1s open "forever, dies, quits, daemon, killer, late, oneside, never" <<END
[technique forever]
use = exec
transport = udp
run-a = exec sleep 31$mark
run-b = trap '' TERM INT HUP;while :;do sleep 31$mark;done
success = ok
[technique dies]
use = exec
transport = udp
run-a = echo cannot do that >&2;exit 3
run-b = sleep 31$mark
success = ok
[technique quits]
use = exec
transport = udp
run-a = exit 7
run-b = sleep 31$mark
gave-up = 7
success = ok
[technique daemon]
use = exec
transport = udp
run-a = setsid sleep 31$mark & echo ok
run-b = printf ok
success = ok
[technique killer]
use = exec
transport = udp
run-a = echo ok;kill -9 0
run-b = sleep 0.2;echo ok
success = ok
[technique late]
use = exec
transport = udp
start = b-first
ready-b = listening
delay = 100ms
run-a = echo ok
run-b = sleep 0.2;echo listening;sleep 30
success-a = ok
[technique oneside]
use = exec
transport = udp
run-a = echo no >&2;sleep 0.1;echo yes
run-b = true
success-a = ^yes$
[technique never]
use = exec
transport = udp
start = a-first
ready-a = listening
run-a = sleep 31$mark
run-b = echo ok
success-b = ok
END
    [ "$(outcomes forever)" = "timeout null null" ]
    [ "$(outcomes dies)" = "error exit_status other_side" ]
    [ "$(jq -r 'select(.cell | test("dies")) | "\(.a.exit_status) \(.a.output[0]) \(.b.exit_status)"' "$DIR/out/trials.jsonl" | sort -u)" = "3 cannot do that null" ]
    [ "$(outcomes quits)" = "timeout gave_up other_side" ]
    [ "$(outcomes daemon)" = "ok null null" ]
    [ "$(outcomes killer)" = "ok null null" ]
    [ "$(jq 'select(.cell | test("killer")) | .a.signal' "$DIR/out/trials.jsonl" | sort -u)" = 9 ]
    [ "$(outcomes late)" = "ok null null" ]
    [ "$(jq -s 'map(select(.cell | test("late")).connect_ns) | min > 300e6' "$DIR/out/trials.jsonl")" = true ]
    [ "$(outcomes oneside)" = "ok null null" ]
    [ "$(outcomes never)" = "timeout null null" ]
    [ "$(jq -r 'select(.cell | test("never")) | .b.phase' "$DIR/out/trials.jsonl" | sort -u)" = join ]
    run -1 pgrep -f "sleep 31$mark"
}

@test "a flood of output, binary too: kept short, and the records stay whole" {
    run -0 campaign 2 500ms open flood <<'END'
[technique flood]
use = exec
transport = udp
run-a = exec yes 'a line that comes again and again'
run-b = exec cat /dev/urandom
success = ^this never comes$
END
    [ "$(outcomes flood)" = "timeout null null" ]
    [ "$(wc -c <"$DIR/out/trials.jsonl")" -lt 40000 ]
    [ "$(jq -r '.a.output[-1]' "$DIR/out/trials.jsonl" | sort -u)" = "a line that comes again and again" ]
}

@test "what cannot be run is said in one line, and the others are measured" {
    run -2 campaign 2 500ms open "nosuch, noserver, good" <<'END'
[technique nosuch]
use = exec
transport = udp
run-a = no-such-program
run-b = sleep 5
success = ok
[technique noserver]
use = exec
transport = udp
run-a = echo ok
run-b = echo ok
run-s = echo no room here >&2;exit 4
ready-s = ready
success = ok
[technique good]
use = exec
transport = udp
run-a = echo ok
run-b = echo ok
success = ok
END
    [[ $output == *"open/open/nosuch/rtt0: the command (a) ended with status 127"*"no-such-program: not found"* ]]
    [[ $output == *"open/open/noserver/rtt0: the command (s) ended with status 4 without having said what 'ready-s' waits for; no room here"* ]]
    [ "$(outcomes good)" = "ok null null" ]
    [ "$(outcomes nosuch)" = "error null null" ]
}

@test "commands know where they are; bench lab tells them the same" {
    # shellcheck disable=SC2016
    run -0 campaign 2 5s linux-strict env <<'END'
[technique env]
use = exec
transport = tcp
run-s = echo up;exec nc -k -l $PUNCHBENCH_SERVER 7000
ready-s = up
server = cell
run-a = echo "$PUNCHBENCH_ROLE $PUNCHBENCH_ADDR $PUNCHBENCH_PEER $PUNCHBENCH_A $PUNCHBENCH_SESSION $PUNCHBENCH_TIMEOUT"
run-b = for i in $(seq 50);do nc -z $PUNCHBENCH_SERVER 7000 && echo "reached $PUNCHBENCH_TRIAL of $PUNCHBENCH_SEED";sleep 0.05;done
success-a = ^a 10\.1\.0\.2 203\.0\.113\.1 198\.51\.100\.1 trial-[01] 5\.000$
success-b = ^reached [01] of [0-9]+$
END
    [ "$(outcomes env)" = "ok null null" ]
    # shellcheck disable=SC2016
    run -0 timeout 20 "$BIN/bench" lab -a linux-strict -b open --run-b 'echo "$PUNCHBENCH_ROLE $PUNCHBENCH_ADDR $PUNCHBENCH_PEER $PUNCHBENCH_SERVER"; test -x $PUNCHBENCH_BIN/bench'
    [ "$output" = "b 203.0.113.1 198.51.100.1 192.0.2.1" ]
}
