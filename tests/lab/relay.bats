#!/usr/bin/env bats
# needs: root
# The relay against Debian's coturn. Pins: a relay that does not connect what punching cannot; a path that is called
# anything but relay; messages that do not go over the wire as RFC 8656 and RFC 6062 have them, or in another order; a
# wrong password, a full quota, no port left, a stale nonce, an allocation that expires, a silent, absent or vanishing
# server that end unclearly, or for one side only; an allocation that is left behind.
#
# All labs run side by side from the start: they mostly wait.

bats_require_minimum_version 1.5.0
load ../helpers

MODES="udp-send udp-channel tcp tcp-connect tcp-both"

setup_file() {
    command -v turnserver >/dev/null || return 0
    export D=$BATS_FILE_TMPDIR PUNCHBENCH_DATA=$ROOT/bench
    printf secret >"$D/right"
    printf guess >"$D/wrong"
    local mode
    for mode in $MODES; do
        # The server must be able to come to role b where it connects.
        relay "$mode" linux-random "$([ "$mode" = tcp-connect ] && echo open || echo linux-random)" "" "$D/right" "--mode $mode --trials 3"
    done
    relay overtcp linux-random linux-random "" "$D/right" "--mode udp-channel --turn-transport tcp --trials 2"
    relay wrong linux-random linux-random "" "$D/wrong" "--mode udp-send"
    relay wrongtcp linux-random linux-random "" "$D/wrong" "--mode tcp"
    relay quota linux-random linux-random "--user-quota=1" "$D/right" "--mode tcp-both"
    relay closed linux-random linux-strict "" "$D/right" "--mode tcp-connect --timeout 4s"
    TURN=stopped relay silent linux-random linux-random "" "$D/right" "--mode udp-send --timeout 4s"
    TURN=none relay absent linux-random linux-random "" "$D/right" "--mode udp-channel"
    IN="sleep 4; echo from-a" relay pipe linux-random linux-random "--stale-nonce=1" "$D/right" "--mode udp-channel --pipe"
    # shellcheck disable=SC2016 # the server's shell expands them
    local die='said ": new, " 1; kill -KILL $turn' age='said "error 401" 1; pause; said "error 438" 1; pause'
    # shellcheck disable=SC2016
    local outlive='said ": new, " 1; kill -STOP $(cat $a.pid); said ": delete: " 1; kill -CONT $(cat $a.pid)'
    # What happens between the allocation and the path has time for it: half a round trip.
    EVENTS=$die RTT=400ms relay vanished linux-random linux-random "" "$D/right" "--mode udp-channel"
    EVENTS=$die RTT=400ms relay vanishedtcp linux-random linux-random "" "$D/right" "--mode tcp"
    # Each nonce is two seconds old before the server looks at it.
    EVENTS=$age RTT=400ms \
        relay nonce linux-random linux-random "--stale-nonce=1" "$D/right" "--mode udp-send"
    # Role a sleeps until its allocation is gone.
    EVENTS=$outlive RTT=400ms \
        relay expired linux-random linux-random "--max-allocate-lifetime=2" "$D/right" "--mode udp-send"
    relay ports linux-random linux-random "--min-port=50000 --max-port=50000" "$D/right" "--mode tcp-both"
    TURN=none PROGRAM=simopen relay punched linux-random linux-random "" "$D/right" "--timeout 2s"
}

# relay NAME NAT-A NAT-B SERVER-OPTIONS PASSWORD-FILE OPTIONS-OF-A: in the background. Then NAME.done is there, and beside
# it NAME.a (stdout), NAME.b, .a.err, .b.err, the exit codes .a.exit and .b.exit, and the folder NAME.pcap. EVENTS are
# commands that go on beside the server $turn: "said TEXT N" waits until its log has that so often, "pause" stops it for
# two seconds.
relay() {
    local name=$1 a=$2 b=$3 server=$4 password=$5 options=$6 program=${PROGRAM-relay} turn=${TURN-runs} input=${IN-true} rtt=${RTT-20ms}
    local account="--turn 192.0.2.2:3478 --turn-user user --turn-password-file" first="--json" second="-q"
    local of_a="$account '$password'" of_b="$account '$D/right'"
    local join="'$BUILD/bin/$program' --server 192.0.2.1:3478 --session t"
    mkdir "$D/$name.pcap"
    [[ $options != *--pipe* ]] || first="" second="--pipe"
    [ "$program" = relay ] || of_a="" of_b=""
    cat >"$D/$name.s.sh" <<EOF
cd '$D/$name.pcap'
if [ $turn != none ]; then
    turnserver -n --lt-cred-mech -u user:secret -r lab.example --no-cli --no-tls --no-dtls -L 192.0.2.2 -E 192.0.2.2 -p 3478 \\
        -v -m 1 --log-file stdout --simple-log --pidfile '$D/$name.pid' --userdb '$D/$name.db' $server >'$D/$name.turn' 2>&1 &
    trap "kill -KILL \$!" EXIT
    for i in \$(seq 100); do ss -Hlun sport = :3478 | grep -q 192.0.2.2 && break; sleep 0.05; done
    [ $turn != stopped ] || kill -STOP \$!
    turn=\$! a='$D/$name.a'
    said() { for i in \$(seq 1000); do [ "\$(grep -c -- "\$1" '$D/$name.turn')" -ge "\$2" ] && return; sleep 0.01; done; }
    pause() { kill -STOP \$turn; sleep 2.2; kill -CONT \$turn; }
    { ${EVENTS-:}
    } &
fi
'$BUILD/bin/rendezvous' --listen 192.0.2.1:3478 -q 2>'$D/$name.s'
EOF
    local wait="for i in \$(seq 200); do grep -qs ready '$D/$name.s' && break; sleep 0.05; done"
    # A /proc of the lab's own processes: the sanitizer's leak check looks for itself there.
    cat >"$D/$name.a.sh" <<EOF
mount -t proc proc /proc
$wait
($input) | (echo \$BASHPID >'$D/$name.a.pid'; exec $join --role a $options $first $of_a) >'$D/$name.a' 2>'$D/$name.a.err'
echo \${PIPESTATUS[1]} >'$D/$name.a.exit'
EOF
    cat >"$D/$name.b.sh" <<EOF
mount -t proc proc /proc
$wait
$join --role b $second $of_b >'$D/$name.b' 2>'$D/$name.b.err' </dev/null
echo \$? >'$D/$name.b.exit'
EOF
    (
        timeout 120 "$BUILD/bin/bench" lab -a "$a" -b "$b" --rtt "$rtt" --pcap "$D/$name.pcap" --run-s "bash '$D/$name.s.sh'" \
            --run-a "unshare -m bash '$D/$name.a.sh'" --run-b "unshare -m bash '$D/$name.b.sh'" >"$D/$name.lab" 2>&1 </dev/null 3>&- || true
        : >"$D/$name.done"
    ) >/dev/null 2>&1 3>&- &
}

setup() {
    command -v turnserver >/dev/null || skip "coturn is not installed: sudo make deps-dev"
}

# result NAME: waits for it, and shows what was said.
result() {
    local end=$((SECONDS + 120))
    until [ -e "$D/$1.done" ] || [ $SECONDS -gt $end ]; do sleep 0.1; done
    cat "$D/$1.lab" "$D/$1.a" "$D/$1.a.err" "$D/$1.b.err" "$D/$1.s" || true
    [ -e "$D/$1.done" ]
}

# trials NAME N JQ: N records, and this holds for each.
trials() {
    result "$1"
    jq -e -s "length == $2 and all(.[]; $3)" "$D/$1.a"
}

# failed NAME OUTCOME WHY CODE LINE: so ended the one trial, on both sides, and so it was said.
failed() {
    trials "$1" 1 ".outcome == \"$2\" and .a.why == \"$3\" and .b.why == \"$3\" and .a.turn_code == $4 and .path == null"
    grep -qF "$5" "$D/$1.a.err"
    [ "$(cat "$D/$1.a.exit")" = 2 ]
    # The other side was told: it did not wait for the deadline.
    jq -e '.b.total_ns < 9e9' "$D/$1.a"
}

@test "punching cannot connect two NATs with random ports" {
    trials punched 1 '.outcome != "ok"'
}

@test "the relay does, in every mode, and calls it relay" {
    for mode in $MODES; do
        trials "$mode" 3 '.outcome == "ok" and .path == "relay" and .a.path == "relay" and .b.path == "relay"
            and (.a.relayed | startswith("192.0.2.2:")) and .a.allocated_ns > 0 and .a.permitted_ns > .a.allocated_ns'
        [ "$(cat "$D/$mode.a.exit") $(cat "$D/$mode.b.exit")" = "0 0" ]
    done
    jq -e -s 'all(.[]; .transport == "udp")' "$D/udp-send.a" "$D/udp-channel.a"
    jq -e -s 'all(.[]; .transport == "tcp")' "$D/tcp.a" "$D/tcp-connect.a" "$D/tcp-both.a"
    # Both ends of the relay are the server's: the path's price is at least the detour.
    jq -e -s 'all(.[]; .connect_ns > 60e6)' "$D/udp-send.a"
    trials overtcp 2 '.outcome == "ok" and .path == "relay" and .transport == "udp"'
}

# messages NAME: what passed the server's interface in the first trial, a token a line: FROM>TO and the type of a TURN
# message, "channel", "udp" for what is relayed, or "syn".
messages() {
    tshark -r "$D/$1.pcap/s.pcap" -Y 'ip.addr == 192.0.2.2 && !icmp && (stun || udp || (tcp.flags.syn == 1 && tcp.flags.ack == 0))' \
        -T fields -E separator=, -E occurrence=f -e ip.src -e ip.dst -e stun.type -e stun.channel -e udp.length -e tcp.flags.syn 2>/dev/null |
        awk -F, '{ what = $3 != "" ? $3 : $4 != "" ? "channel" : $5 != "" ? "udp" : "syn"; print $1 ">" $2, what }' |
        sed 's/198\.51\.100\.[0-9]*/a/g; s/203\.0\.113\.[0-9]*/b/g; s/192\.0\.2\.2/S/g; /S>a 0x0104/q'
}

# in_order NAME TOKEN...: they come in this order, whatever is between.
in_order() {
    local name=$1 token want
    shift
    messages "$name" >"$D/$name.messages"
    cat "$D/$name.messages"
    exec 4<"$D/$name.messages"
    for want in "$@"; do
        while :; do
            IFS= read -r token <&4 || {
                echo "$name: '$want' is missing, or comes too early" >&2
                exec 4<&-
                return 1
            }
            [ "$token" != "$want" ] || break
        done
    done
    exec 4<&-
}

# The first six steps of every flow: Allocate, 401, Allocate, success, CreatePermission, success.
FIRST=("a>S 0x0003" "S>a 0x0113" "a>S 0x0003" "S>a 0x0103" "a>S 0x0008" "S>a 0x0108")

@test "the messages of the five flows are on the wire, in order" {
    command -v tshark >/dev/null || skip "tshark is not installed: sudo make deps-dev"
    for mode in $MODES; do result "$mode" >/dev/null; done
    # Send indication, datagram to the peer; datagram from the peer, Data indication.
    in_order udp-send "${FIRST[@]}" "a>S 0x0016" "S>b udp" "b>S udp" "S>a 0x0017" "a>S 0x0004" "S>a 0x0104"
    # ChannelBind; channel data and datagram there; datagram and channel data back.
    in_order udp-channel "${FIRST[@]}" "a>S 0x0009" "S>a 0x0109" "a>S channel" "S>b udp" "b>S udp" "S>a channel" "a>S 0x0004" "S>a 0x0104"
    # Connect, the server's connection to the peer, success; a new connection, ConnectionBind.
    in_order tcp-connect "a>S syn" "${FIRST[@]}" "a>S 0x000a" "S>b syn" "S>a 0x010a" "a>S syn" "a>S 0x000b" "S>a 0x010b"
    # The peer's connection, ConnectionAttempt; a new connection, ConnectionBind.
    in_order tcp "a>S syn" "${FIRST[@]}" "b>S syn" "S>a 0x001c" "a>S syn" "a>S 0x000b" "S>a 0x010b"
    # Both allocate; Connect by the one, ConnectionAttempt at the other; both bind.
    in_order tcp-both "${FIRST[@]}" "a>S 0x000a" "S>a 0x010a" "a>S 0x000b" "S>a 0x010b"
    in_order tcp-both "${FIRST[@]//a/b}" "a>S 0x000a" "S>b 0x001c" "b>S 0x000b" "S>b 0x010b"
    # The control: a flow that is another mode's is not found.
    run ! in_order udp-send "${FIRST[@]}" "a>S 0x0009"
    run ! in_order tcp "a>S 0x000a"
}

@test "a wrong password, over UDP and TCP" {
    failed wrong auth_failed turn_wrong_credentials 401 "wrong user or password"
    failed wrongtcp auth_failed turn_wrong_credentials 401 "wrong user or password"
}

@test "a full quota" {
    # Either of the two may be the one too many.
    trials quota 1 '.outcome == "refused" and .a.why == "turn_quota" and .b.why == "turn_quota"
        and (.a.turn_code // .b.turn_code) == 486'
    grep -qF "this user has its quota" "$D/quota.a.err" "$D/quota.b.err"
}

@test "a server that is silent, one that is not there, and a peer that it cannot reach" {
    failed silent timeout turn_no_answer null "does not answer"
    failed absent refused turn_unreachable null "it cannot be reached"
    trials closed 1 '.outcome == "refused" and .a.why == "turn_peer_unreachable"'
    grep -qF "use --mode tcp" "$D/closed.a.err"
}

@test "no port is left: the second one of the two gets none" {
    trials ports 1 '.outcome == "refused" and .a.why == "turn_capacity" and .b.why == "turn_capacity"
        and (.a.turn_code // .b.turn_code) == 508'
    grep -qF "it has no relayed port left" "$D/ports.a.err" "$D/ports.b.err"
}

@test "a server that vanishes between the allocation and the path" {
    failed vanished refused turn_unreachable null "it cannot be reached"
    failed vanishedtcp timeout turn_no_answer null "does not answer"
}

@test "an allocation that expired, and nonces that all expire" {
    failed expired error turn_gone 437 "it does not know the allocation"
    failed nonce auth_failed turn_stale_nonce 438 "it calls each new nonce stale"
}

@test "a nonce that expires is replaced: the allocation is deleted all the same" {
    command -v tshark >/dev/null || skip "tshark is not installed: sudo make deps-dev"
    result pipe
    [ "$(cat "$D/pipe.a.exit") $(cat "$D/pipe.b.exit")" = "0 0" ]
    # What went through the pipe arrived; then Refresh, 438, Refresh, success.
    [ "$(cat "$D/pipe.b")" = from-a ]
    in_order pipe "${FIRST[@]}" "a>S channel" "a>S 0x0004" "S>a 0x0114" "a>S 0x0004" "S>a 0x0104"
    tshark -r "$D/pipe.pcap/s.pcap" -Y 'stun.type == 0x0114 && stun.att.error.class == 4 && stun.att.error == 38' 2>/dev/null | grep -q Refresh
}

@test "nothing is left on the server" {
    command -v tshark >/dev/null || skip "tshark is not installed: sudo make deps-dev"
    for mode in $MODES; do
        result "$mode" >/dev/null
        # Allocate success; and Refresh success with lifetime 0. What a busy machine repeats has the same transaction id.
        made=$(tshark -r "$D/$mode.pcap/s.pcap" -Y 'stun.type == 0x0103' -T fields -e stun.id 2>/dev/null | sort -u | wc -l)
        deleted=$(tshark -r "$D/$mode.pcap/s.pcap" -Y 'stun.type == 0x0104 && stun.att.lifetime == 0' -T fields -e stun.id 2>/dev/null | sort -u | wc -l)
        echo "$mode: $made allocations, $deleted deletions"
        [ "$made" = "$([ "$mode" = tcp-both ] && echo 6 || echo 3)" ]
        [ "$deleted" = "$made" ]
    done
}
