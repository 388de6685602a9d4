#!/usr/bin/env bats
# The programs without the lab: hand-made namespaces, veth and nftables only. Pins: a program that works only because
# the lab helps it, a record without its fields, a pipe that loses or adds bytes.

bats_require_minimum_version 1.5.0
load ../helpers

setup() {
    [ "$(id -u)" = 0 ] || skip "needs root for network namespaces"
    DIR=$(mktemp -d)
    export DIR BIN="$BUILD/bin"
}

teardown() {
    [ -z "${DIR:-}" ] || rm -rf "$DIR"
}

# Runs a script inside the hand-made internet, with rendezvous up at 192.0.2.1:3478 in s.
handmade() {
    cat >"$DIR/script" <<EOF
set -eu
ip netns exec s "$BIN/rendezvous" --listen 192.0.2.1:3478 --listen 192.0.2.1:3479 --alternate 192.0.2.2 --record "$DIR/record" 2>"$DIR/s.err" &
for _ in \$(seq 100); do grep -q ready "$DIR/s.err" && break; sleep 0.1; done
a() { ip netns exec a timeout 60 "\$@"; }
b() { ip netns exec b timeout 60 "\$@"; }
S="--server 192.0.2.1:3478 --session test"
$1
EOF
    timeout 100 env HANDMADE_IPV6="${SIX:-}" "$ROOT/tests/lab/handmade.sh" bash "$DIR/script"
}

@test "simopen, synspray and portspray connect in hand-made namespaces and print a record a trial" {
    for program in simopen synspray portspray; do
        rm -rf "$DIR/record"
        handmade "b $BIN/$program \$S --role b --json >$DIR/b.json & a $BIN/$program \$S --role a --trials 5 --json --seed 7 >$DIR/a.json; wait \$!"
        [ "$(wc -l <"$DIR/a.json")" = 5 ]
        cmp "$DIR/a.json" "$DIR/b.json"
        cmp "$DIR/a.json" "$DIR/record/trials.jsonl"
        # Every field that the format promises, with its type, in every line.
        jq -e -s 'length == 5 and all(.schema == 1 and .type == "trial" and .cell == "test" and .seed == 7
            and (.technique | type) == "string" and (.mode | type) == "string" and (.transport == "tcp" or .transport == "udp")
            and .outcome == "ok" and .path == "direct" and .connect_ns > 0 and .total_ns >= .connect_ns and .rtt_ns > 0
            and (.phases_ns | has("join") and has("sample") and has("exchange") and has("plan") and has("open")
                 and has("established") and has("verify"))
            and .a.open_files > 0 and (.a.errors | type) == "object" and .a.holes >= 1 and .a.packets >= 1
            and .a.role == "a" and .b.role == "b" and .a.acked and .b.acked
            and (.a.mapped | startswith("198.51.100.1:")) and (.b.mapped | startswith("203.0.113.1:")))' "$DIR/a.json"
        jq -e -s 'map(.trial) == [0, 1, 2, 3, 4]' "$DIR/a.json"
    done
}

@test "the control mode none sends nothing and never succeeds" {
    for program in simopen portspray; do
        run -2 handmade "b $BIN/$program \$S --role b --json >$DIR/b.json & a $BIN/$program \$S --role a --mode none --timeout 300ms --trials 2 --json >$DIR/a.json"
        jq -e -s 'length == 2 and all(.outcome == "timeout" and .mode == "none" and (.a.packets // 0) == 0
            and (.b.packets // 0) == 0)' "$DIR/a.json"
    done
}

@test "--pipe is a punched netcat, both ways, byte for byte" {
    head -c 3000000 /dev/urandom >"$DIR/big"
    handmade "b $BIN/simopen \$S --role b --pipe <$DIR/big >$DIR/b.out & echo hi | a $BIN/simopen \$S --role a --pipe >$DIR/a.out; wait \$!"
    [ "$(cat "$DIR/b.out")" = hi ]
    cmp "$DIR/a.out" "$DIR/big"
    handmade "echo there | b $BIN/portspray \$S --role b --pipe >$DIR/b.out & echo hi | a $BIN/portspray \$S --role a --pipe >$DIR/a.out; wait \$!"
    [ "$(cat "$DIR/b.out")" = hi ]
    [ "$(cat "$DIR/a.out")" = there ]
}

@test "two hosts in one home: the private path wins, where no hairpin is" {
    for program in simopen portspray; do
        handmade "ip netns exec a2 timeout 60 $BIN/$program \$S --role b --quiet & a $BIN/$program \$S --role a --trials 3 --json >$DIR/a.json; wait \$!"
        jq -e -s 'length == 3 and all(.outcome == "ok" and .path == "private"
            and (.a.mapped | startswith("198.51.100.1:")) and (.b.mapped | startswith("198.51.100.1:")))' "$DIR/a.json"
    done
}

@test "who has a public address and a firewall is not reachable: after some silence both open their filters" {
    for program in simopen synspray portspray; do
        # rb is the router itself: S sees the very address that it has, and its INPUT drops what nobody asked for.
        handmade "ip netns exec rb timeout 60 $BIN/$program \$S --role b --quiet & a $BIN/$program \$S --role a --mode auto --trials 2 --json >$DIR/a.json; wait \$!"
        jq -e -s 'length == 2 and all(.[]; .outcome == "ok" and .path == "direct" and .a.strategy == "reversed"
            and (.a.steps | map([.step, .result])) == [["private", "beaten"], ["hairpin", "skipped"], ["reversed", "failed"], ["punch", "ok"]]
            and .a.steps[3].start_ns > 290000000 and .connect_ns > 290000000)' "$DIR/a.json" || { cat "$DIR/a.json"; return 1; }
    done
}
# both FAMILY SCRIPT: what is said of IPv4 and IPv6, then all techniques that race them.
both() {
    for program in "simopen --mode plain" "simopen --mode auto" "portspray --mode punch" "portspray --mode auto"; do
        SIX=1 handmade "$2
            b $BIN/${program% --mode*} \$S --role b --quiet & a $BIN/$program \$S --role a --trials 3 --timeout 3s --json >$DIR/a.json; wait \$!"
        jq -e -s --arg family "$1" 'length == 3 and all(.[]; . as $t | .outcome == "ok" and .path == "direct" and .a.family == .b.family
            and (.a.family | test($family)) and (.a.remote | startswith(if $t.a.family == "ipv6" then "[2001:db8:b::2]:" else "203.0.113.1:" end)))' \
            "$DIR/a.json" || { jq -c '[.outcome, .path, .a.remote, .b.remote, .a.errors]' "$DIR/a.json"; return 1; }
    done
}

@test "IPv4 and IPv6 are raced: the one that works is taken, and the record says which" {
    both 'ipv[46]' ""
    # Between the homes one of them is cut; the server is there all the same.
    both ipv6 "ip netns exec net nft 'add table ip cut; add chain ip cut f { type filter hook forward priority filter; }; add rule ip cut f iifname ra oifname rb drop; add rule ip cut f iifname rb oifname ra drop'"
    both ipv4 "ip netns exec net nft 'add table ip6 cut; add chain ip6 cut f { type filter hook forward priority filter; policy drop; }'"
}
