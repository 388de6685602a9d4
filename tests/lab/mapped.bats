#!/usr/bin/env bats
# needs: root
# A mapped port against Debian's miniupnpd, in hand-made namespaces. Pins: a port that is asked for and not used, a
# mapping that outlives its trial or a Ctrl-C, a gateway that refuses, is silent or does not know the protocol and is
# waited for or misunderstood.

bats_require_minimum_version 1.5.0
load ../helpers

setup() {
    command -v miniupnpd >/dev/null || skip "miniupnpd is not installed: sudo make deps-dev"
    DIR=$(mktemp -d)
    BIN=$BUILD/bin
}

teardown() {
    [ -z "${DIR:-}" ] || rm -rf "$DIR"
}

# mapped RULE OPTIONS-OF-A [SCRIPT]: miniupnpd on a's router with this rule (none: not at all; stopped: it does not
# answer), and one pair of peers; SCRIPT is run instead of waiting for them. What the router has mapped is in DIR/during
# while SCRIPT runs (it says `look`), and in DIR/after in the end.
mapped() {
    cat >"$DIR/script" <<EOF
set -u
look() { ip netns exec ra nft list chain inet filter prerouting_miniupnpd | grep -c dnat; }
ip netns exec s "$BIN/rendezvous" --listen 192.0.2.1:3478 -q 2>"$DIR/s.err" &
for _ in \$(seq 100); do grep -q ready "$DIR/s.err" && break; sleep 0.1; done
# The daemon takes documentation addresses for private ones, and gives those out to nobody.
ip -n net route add 9.0.0.1/32 via 198.51.100.1
ip -n ra addr add 9.0.0.1/32 dev wan
ip netns exec ra nft -f - <<'NFT'
insert rule ip home forward iifname "wan" ct status dnat accept
table inet filter {
    chain miniupnpd { }
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
    chain forward { type filter hook forward priority 0; jump miniupnpd; }
    chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
    chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; }
}
NFT
rm -f "$DIR/pid"
printf '%s\n' ext_ifname=wan ${OUTSIDE-ext_ip=9.0.0.1} listening_ip=lan enable_natpmp=yes enable_upnp=no secure_mode=yes \
    min_lifetime=1 max_lifetime=86400 port=0 "$1" >"$DIR/conf"
case "$1" in
allow* | deny*) ip netns exec ra miniupnpd -d -f "$DIR/conf" -P "$DIR/pid" >"$DIR/daemon" 2>&1 & ;;
esac
for _ in \$(seq 100); do case "$1" in allow* | deny*) ip netns exec ra ss -Hlun sport = :5351 | grep -q . && break; sleep 0.1 ;; esac; done
[ "$1" != silent ] || ip netns exec ra nft insert rule ip home input iifname lan udp dport 5351 drop
ip netns exec b timeout 30 "$BIN/mapped" --server 192.0.2.1:3478 --session t --role b -q 2>"$DIR/b.err" &
ip netns exec a timeout 30 "$BIN/mapped" --server 192.0.2.1:3478 --session t --role a $2 >"$DIR/a.json" 2>"$DIR/a.err" &
PEER=\$!
${3:-}
wait \$PEER
echo \$? >"$DIR/status"
look >"$DIR/after"
EOF
    timeout 60 "$ROOT/tests/lab/handmade.sh" bash "$DIR/script" || true
    head -n 20 "$DIR/a.json" "$DIR/a.err" "$DIR/b.err" "$DIR/daemon" || true
}

# failed OUTCOME WHY TEXT: on both sides, and said.
failed() {
    jq -e -s "length == 1 and all(.[]; .outcome == \"$1\" and .a.why == \"$2\" and .b.why == \"$2\" and .path == null)" "$DIR/a.json"
    grep -qF "$3" "$DIR/a.err"
    [ "$(cat "$DIR/status")" = 2 ]
}

@test "a granted port connects, over UDP and TCP, and is taken back after each trial" {
    for mode in udp tcp; do
        mapped "allow 1024-65535 0.0.0.0/0 1024-65535" "--mode $mode --trials 3 --json"
        jq -e -s "length == 3 and all(.[]; .outcome == \"ok\" and .transport == \"$mode\" and .path == \"direct\"
            and .a.mapped_by == \"pcp\" and (.a.mapped_port | startswith(\"9.0.0.1:\")) and .a.mapped_ns > 0)" "$DIR/a.json"
        [ "$(cat "$DIR/status")" = 0 ]
        [ "$(cat "$DIR/after")" = 0 ]
    done
}

@test "after Ctrl-C nothing stays mapped" {
    # The pipe keeps the path, and so the mapping: the control is that it is there then.
    mapped "allow 1024-65535 0.0.0.0/0 1024-65535" "--mode udp --pipe" \
        "for _ in \$(seq 100); do grep -q 'trial 0' '$DIR/a.err' && break; sleep 0.1; done; look >'$DIR/during'; kill -INT \$(pgrep -P \$PEER -x mapped || echo \$PEER)"
    [ "$(cat "$DIR/during")" = 1 ]
    grep -qF "trial 0: ok" "$DIR/a.err"
    grep -qF interrupted "$DIR/a.err"
    [ "$(cat "$DIR/after")" = 0 ]
}

@test "a gateway that refuses: it has no public address itself" {
    OUTSIDE='' mapped "allow 1024-65535 0.0.0.0/0 1024-65535" "--mode udp --json"
    # It calls that NO_RESOURCES.
    failed refused map_resources "no port is left"
    jq -e '.a.map_code == 8' "$DIR/a.json"
}

@test "a gateway without the protocol, and one that is silent" {
    mapped none "--mode tcp --json"
    failed refused map_unreachable "nobody is there"
    mapped silent "--mode udp --json --timeout 4s"
    failed timeout map_no_answer "it does not answer"
}
