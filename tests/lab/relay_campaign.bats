#!/usr/bin/env bats
# needs: root
# The relay in campaigns, as a technique and as the last resort of mode auto. Pins: a cell whose trials do not go through
# the relay, or are not called so; allocations that one trial leaves to the next; a TURN server that dies and takes the
# rest of its cell along; a last resort that does not come where punching is infeasible or has failed, or that comes where
# a punched path is to be had; a campaign that begins without the server that it needs.

bats_require_minimum_version 1.5.0
load lab

needs_turn() {
    command -v turnserver >/dev/null || skip "coturn is not installed: sudo make deps-dev"
}

# campaign TRIALS PAIRS TECHNIQUES: c.ini, which may be added to.
campaign() {
    cat >"$DIR/c.ini" <<END
[campaign]
name = relayed
trials = $1
timeout = 3s
parallel = 8
pairs = $2
techniques = $3
[link]
rtt = 20ms
END
}

run_campaign() {
    "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out" "$@"
}

# all CELL JQ: there are trials, and this holds for each.
all() {
    jq -se --arg cell "$1" "map(select(.cell | test(\$cell))) | length > 0 and all(.[]; $2)" "$DIR/out/trials.jsonl" ||
        { jq -c --arg cell "$1" 'select(.cell | test($cell))' "$DIR/out/trials.jsonl"; return 1; }
}

@test "a technique in every mode: all trials go through the relay, and each deletes its allocations" {
    needs_turn
    campaign 5 "linux-random / linux-random" "relay:udp-send, relay:udp-channel, relay:tcp, relay:tcp-both, relay:none"
    cat >>"$DIR/c.ini" <<'END'
[expect]
*/*/* = 100%
*/*/relay-none = 0%
END
    run -0 run_campaign --pcap "$DIR/pcap"
    all 'relay-(udp|tcp)' '.outcome == "ok" and .path == "relay" and .technique == "relay"'
    all 'relay-udp' '.transport == "udp"'
    all 'relay-tcp' '.transport == "tcp"'
    [ "$(wc -l <"$DIR/out/trials.jsonl")" = 25 ]
    command -v tshark >/dev/null || skip "tshark is not installed: sudo make deps-dev"
    local mode made deleted
    for mode in udp-send udp-channel tcp tcp-both; do
        made=$(turn "$mode" 'stun.type == 0x0103')
        deleted=$(turn "$mode" 'stun.type == 0x0104 && stun.att.lifetime == 0')
        echo "$mode: $made allocations, $deleted deletions"
        [ "$made" = "$([ "$mode" = tcp-both ] && echo 10 || echo 5)" ]
        [ "$deleted" = "$made" ]
    done
}

# turn MODE FILTER: how many such messages the server sent; the answer to a repetition is none more.
turn() {
    tshark -r "$DIR/pcap/linux-random+linux-random+relay-$1+rtt20/s.pcap" -d udp.port==4478,stun -d tcp.port==4478,stun \
        -Y "$2" -T fields -e stun.id 2>/dev/null | sort -u | wc -l
}

@test "the last resort of mode auto: where punching is infeasible, or has half of the deadline, and nowhere else" {
    needs_turn
    # Two that draw all their ports; two homes under a carrier that lets nothing back in; two that stay.
    campaign 2 "linux-random / linux-random, linux-strict@cgn-block-no-hairpin / linux-strict@cgn-block-no-hairpin,
    linux-strict / linux-strict" "udp, tcp, plain"
    cat >>"$DIR/c.ini" <<'END'
[technique udp]
use = portspray:auto
relay = yes
[technique tcp]
use = synspray:auto
relay = yes
[technique plain]
use = simopen:auto
relay = yes
[expect]
*/*/* = 100%
END
    run -0 run_campaign
    all '^linux-random/linux-random/' '.path == "relay" and .a.path == "relay" and .b.path == "relay"
        and (.a.steps | last | .step == "relay" and .result == "ok") and .a.strategy == "infeasible" and .a.resort_ns == 0 and .b.resort_ns == 0 and (.a.relayed | startswith("192.0.2.1:"))'
    all '^linux-strict@cgn' '.path == "relay" and .a.strategy != "infeasible" and .a.resort_ns >= 1.5e9
        and .a.resort_ns < .connect_ns and (.a.steps | .[-2].result == "failed" and .[-1].step == "relay" and .[-1].result == "ok")'
    all '^linux-strict/linux-strict/' '.path == "direct" and .a.resort_ns == null and .a.relayed == null
        and all(.a.steps[]; .step != "relay")'
}

@test "the last resort comes as soon as the attempts have failed" {
    needs_turn
    # One trial of twenty is a hit.
    campaign 3 "linux-strict / linux-random" "udp, tcp"
    cat >>"$DIR/c.ini" <<'END'
[technique udp]
use = portspray:auto
options = --holes 60 --probes 60 --attempts 1
relay = yes
[technique tcp]
use = synspray:auto
options = --holes 60 --probes 60 --attempts 1
relay = yes
[expect]
*/*/* = 100%
END
    run -0 run_campaign
    local which
    for which in udp tcp; do
        jq -se --arg which "$which" 'map(select(.cell | test("random/" + $which))) | length == 3
            and any(.[]; .path == "relay" and .a.resort_ns > 0 and .a.resort_ns < 1.4e9)
            and all(.[]; .path == "relay" or (.path == "direct" and .a.resort_ns == null))' "$DIR/out/trials.jsonl"
    done
}

@test "the TURN server dies: its trial says so, and the next one has a new one" {
    needs_turn
    campaign 8 "linux-random / linux-random" "relay:udp-channel"
    mkdir "$DIR/bin"
    # The first one lives for a moment only.
    cat >"$DIR/bin/turnserver" <<END
#!/bin/sh
echo >>'$DIR/starts'
[ "\$(wc -l <'$DIR/starts')" = 1 ] || exec $(command -v turnserver) "\$@"
exec timeout -s KILL 1 $(command -v turnserver) "\$@"
END
    chmod +x "$DIR/bin/turnserver"
    PATH=$DIR/bin:$PATH run -0 run_campaign
    [ "$(wc -l <"$DIR/starts")" = 2 ]
    # Who asked it something knows why; who only waited for data does not.
    all . '.outcome == "ok" or .outcome == "timeout" or .a.why == "turn_unreachable"'
    jq -se 'map(select(.outcome != "ok")) | length <= 1' "$DIR/out/trials.jsonl"
    jq -se 'last.outcome == "ok" and length == 8' "$DIR/out/trials.jsonl"
}

@test "without coturn one line says what is missing, before anything runs" {
    campaign 1 "open / open" "relay:tcp, simopen"
    local path=$DIR/empty
    mkdir "$path"
    run -1 env PATH="$path" "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out"
    [ "${#lines[@]}" = 1 ]
    [[ $output == *"there is no turnserver: install the package coturn"* ]]
    [ ! -e "$DIR/out" ]
}
