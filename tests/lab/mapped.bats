#!/usr/bin/env bats
# needs: root
# A mapped port against Debian's miniupnpd, by PCP, NAT-PMP and UPnP-IGD. Pins: a port that is asked for and not used; a
# mapping that outlives its trial, a Ctrl-C or a kill; a gateway that refuses, is silent, does not know the protocol or
# disappears, and is waited for or misunderstood; a campaign whose routers map nothing, or that begins without the daemon.
#
# The hand-made homes and the campaign all run side by side from the start: they mostly wait.

bats_require_minimum_version 1.5.0
load ../helpers

PROTOCOLS="pcp nat-pmp upnp"

setup_file() {
    command -v miniupnpd >/dev/null || return 0
    export D=$BATS_FILE_TMPDIR PUNCHBENCH_DATA=$ROOT/bench
    # libminiupnpc reads numbers out of a buffer that does not end in a zero; none of them reaches its end.
    export ASAN_OPTIONS=${ASAN_OPTIONS-}:strict_string_checks=0
    local protocol
    for protocol in $PROTOCOLS; do
        # The pipe keeps the path, and so the mapping: the control is that it is there then.
        homes "$protocol" <<EOF
gateway
pair udp "--protocol $protocol --mode udp --trials 2 --json"
pair tcp "--protocol $protocol --mode tcp --trials 2 --json"
begin int "--protocol $protocol --mode udp --pipe" && through int; stop INT; finish int
begin gone "--protocol $protocol --mode udp --pipe" && through gone; gateway_dies; stop INT; finish gone
EOF
    done
    homes killed <<EOF
gateway
begin killed "--protocol upnp --mode udp --pipe" && through killed; stop KILL; finish killed
for _ in \$(seq 100); do [ "\$(look)" = 0 ] && break; sleep 0.1; done
look >killed.after
nobody
gateway old
pair old "--protocol upnp --mode tcp --json"
nobody
gateway denies
pair denied "--protocol upnp --json"
EOF
    homes refusing <<EOF
gateway private
for protocol in $PROTOCOLS; do pair "private-\$protocol" "--protocol \$protocol --json"; done
EOF
    homes absent <<EOF
pair absent-auto "--mode tcp --json --timeout 6s"
pair absent-upnp "--protocol upnp --json --timeout 6s"
gateway
ip netns exec ra nft insert rule ip home input iifname lan udp dport 5351 drop
pair silent "--protocol nat-pmp --json --timeout 2s"
pair fallback "--json --timeout 8s"
EOF
    campaign
}

# In the background: $D/campaign, campaign.log, and in the end campaign.done with its status.
campaign() {
    cat >"$D/c.ini" <<'EOF'
[campaign]
name = t
seed = 3
trials = 2
timeout = 10s
pairs = linux-strict / linux-random, linux-random / linux-strict, full-cone / linux-strict, linux-strict@cgn-block / linux-strict
techniques = mapped:udp, mapped:tcp, mapped-nat-pmp, mapped-upnp
[technique mapped-nat-pmp]
use = mapped:tcp
options = --protocol nat-pmp
[technique mapped-upnp]
use = mapped:udp
options = --protocol upnp
[link]
rtt = 10ms
[expect]
*/*/* = 100%
full-cone/*/* = 0%
linux-strict@cgn-block/*/* = 0%
EOF
    (
        status=0
        "$BUILD/bin/bench" run "$D/c.ini" --out "$D/campaign" >"$D/campaign.log" 2>&1 </dev/null 3>&- || status=$?
        echo $status >"$D/campaign.done"
    ) >/dev/null 2>&1 3>&- &
}

# homes NAME: a script on stdin, run in the background in hand-made homes, in the folder $D/NAME; NAME.done is there in
# the end. It has:
#   gateway [private|old|denies]   miniupnpd on a's router; private: it has no public address; old: as
#                              InternetGatewayDevice:1; denies: that, and its rules refuse all. (Asked by PCP or NAT-PMP
#                              such rules make it search for a port for ever.) nobody: it ends
#   gateway_dies               and takes nothing along
#   pair RUN OPTIONS           two peers, OPTIONS are a's: RUN.out, RUN.err (a's), RUN.status; what is mapped in the end:
#                              RUN.after
#   begin, through, stop, finish RUN   the same in steps; through: the path stands, RUN.during is what is mapped then
#   look                       how many ports are mapped
homes() {
    mkdir "$D/$1"
    {
        printf "cd '%s'\nBIN='%s'\n" "$D/$1" "$BUILD/bin"
        cat <<'EOF'
set -u
look() { ip netns exec ra nft list chain inet filter prerouting_miniupnpd | grep -c dnat; }
gateway() {
    local outside=ext_ip=9.0.0.1 rule="allow 1024-65535 0.0.0.0/0 1024-65535" old=no
    case ${1-} in
    private) outside= ;;
    old) old=yes ;;
    denies) old=yes rule="deny 0-65535 0.0.0.0/0 0-65535" ;;
    esac
    # One that died leaves its file.
    rm -f pid
    printf '%s\n' ext_ifname=wan "$outside" listening_ip=lan enable_natpmp=yes enable_upnp=yes secure_mode=yes \
        min_lifetime=1 max_lifetime=86400 port=0 force_igd_desc_v1=$old "$rule" >conf
    ip netns exec ra miniupnpd -d -f conf -P "$PWD/pid" >>daemon 2>&1 &
    DAEMON=$!
    for _ in $(seq 100); do ip netns exec ra ss -Hlun sport = :5351 | grep -q . && break; sleep 0.05; done
}
nobody() { kill "$DAEMON"; wait "$DAEMON"; }
gateway_dies() { kill -KILL "$DAEMON"; wait "$DAEMON"; } 2>/dev/null
begin() {
    ip netns exec b timeout 40 "$BIN/mapped" --server 192.0.2.1:3478 --session "$1" --role b -q 2>"$1.b.err" &
    OTHER=$!
    ip netns exec a timeout 40 "$BIN/mapped" --server 192.0.2.1:3478 --session "$1" --role a $2 >"$1.out" 2>"$1.err" &
    PEER=$!
}
through() {
    for _ in $(seq 200); do grep -q 'trial 0' "$1.err" && break; sleep 0.05; done
    look >"$1.during"
}
stop() { kill "-$1" $(pgrep -P $PEER -x mapped); }
finish() {
    wait $PEER
    echo $? >"$1.status"
    look >"$1.after"
    kill $OTHER
    wait $OTHER
} 2>/dev/null
pair() { begin "$@"; finish "$1"; }
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
ip netns exec s "$BIN/rendezvous" --listen 192.0.2.1:3478 -q 2>s.err &
for _ in $(seq 200); do grep -q ready s.err && break; sleep 0.05; done
EOF
        cat
    } >"$D/$1/script"
    (
        timeout 120 "$ROOT/tests/lab/handmade.sh" bash "$D/$1/script" >"$D/$1/log" 2>&1 </dev/null 3>&- || true
        : >"$D/$1.done"
    ) >/dev/null 2>&1 3>&- &
}

setup() {
    command -v miniupnpd >/dev/null || skip "miniupnpd is not installed: sudo make deps-mapped"
}

# there NAME: those homes have done all they had to. What they said is shown where the test fails.
there() {
    wait_for test -e "$D/$1.done" || wait_for test -e "$D/$1.done"
    cd "$D/$1" || return
    head -n 12 log ./*.err ./*.out
}

# failed RUN OUTCOME WHY TEXT: on both sides, and said; and nothing is mapped.
failed() {
    jq -e -s "length == 1 and all(.[]; .outcome == \"$2\" and .a.why == \"$3\" and .b.why == \"$3\" and .path == null)" "$1.out"
    grep -qF "$4" "$1.err"
    [ "$(cat "$1.status")" = 2 ]
    [ "$(cat "$1.after")" = 0 ]
}

@test "a granted port connects, over UDP and TCP, by each protocol, and is taken back after each trial" {
    local protocol mode
    for protocol in $PROTOCOLS; do
        there "$protocol"
        for mode in udp tcp; do
            jq -e -s "length == 2 and all(.[]; .outcome == \"ok\" and .transport == \"$mode\" and .path == \"direct\"
                and .a.mapped_by == \"$protocol\" and (.a.mapped_port | startswith(\"9.0.0.1:\")) and .a.mapped_ns > 0
                and (\"$protocol\" == \"upnp\") == ((.a.gateway_ns // 0) > 0))" "$mode.out"
            [ "$(cat $mode.status)" = 0 ]
            [ "$(cat $mode.after)" = 0 ]
        done
    done
}

@test "after Ctrl-C nothing stays mapped" {
    local protocol
    for protocol in $PROTOCOLS; do
        there "$protocol"
        [ "$(cat int.during)" = 1 ]
        grep -qF "trial 0: ok" int.err
        grep -qF interrupted int.err
        [ "$(cat int.after)" = 0 ]
    done
}

@test "a gateway of the first version" {
    there killed
    jq -e -s 'length == 1 and all(.[]; .outcome == "ok" and .a.mapped_by == "upnp")' old.out
    [ "$(cat old.after)" = 0 ]
}

@test "after SIGKILL nothing stays mapped by UPnP-IGD" {
    there killed
    [ "$(cat killed.during)" = 1 ]
    [ "$(cat killed.after)" = 0 ]
}

@test "a gateway that disappears with the mapping: said in one line, and not waited for" {
    local protocol
    for protocol in $PROTOCOLS; do
        there "$protocol"
        [ "$(cat gone.during)" = 1 ]
        grep -qF "trial 0: ok" gone.err
        [ "$(grep -c "does not say that the mapped port is closed" gone.err)" = 1 ]
        # The control: what was not taken back is still there.
        [ "$(cat gone.after)" = 1 ]
    done
}

@test "a gateway that refuses: by its rules, or because it has no public address itself" {
    there killed
    failed denied refused map_refused "it is not allowed"
    jq -e '.a.map_code == 606' denied.out
    there refusing
    # PCP: it calls that NO_RESOURCES.
    failed private-pcp refused map_resources "no port is left"
    jq -e '.a.map_code == 8' private-pcp.out
    failed private-nat-pmp refused map_network "no address outside"
    failed private-upnp refused map_network "no address outside"
}

@test "a gateway without a protocol, and one that is silent" {
    there absent
    failed absent-auto refused map_unreachable "nobody is there"
    failed absent-upnp timeout map_no_answer "it does not answer"
    failed silent timeout map_no_answer "it does not answer"
    jq -e -s 'length == 1 and all(.[]; .outcome == "ok" and .a.mapped_by == "upnp")' fallback.out
    [ "$(cat fallback.after)" = 0 ]
}

@test "in a campaign the Linux routers map ports, and the emulated ones do not" {
    wait_for test -e "$D/campaign.done" || wait_for test -e "$D/campaign.done"
    cat "$D/campaign.log"
    [ "$(cat "$D/campaign.done")" = 0 ]
    cd "$D/campaign" || return
    jq -e -s 'length == 32 and all(.[] | select(.outcome == "ok"); .path == "direct"
        and (.a.mapped_port | startswith("9.0.0.1:")))' trials.jsonl
    jq -e -s 'all(.[] | select(.cell | test("^linux-(strict|random)/.*/mapped-(udp|tcp)/")); .a.mapped_by == "pcp")' trials.jsonl
    jq -e -s 'all(.[] | select(.cell | test("/mapped-(tcp|nat-pmp)/")); .transport == "tcp")' trials.jsonl
    jq -e -s 'all(.[] | select(.cell | test("^full-cone/.*/mapped-(udp|tcp|nat-pmp)/")); .outcome == "refused"
        and .a.why == "map_unreachable")' trials.jsonl
}

@test "a campaign that needs miniupnpd, where there is none, says so before anything is made" {
    printf '[campaign]\nname = t\nseed = 3\ntrials = 1\nnats = %s\ntechniques = mapped:udp\n[link]\nrtt = 10ms\n' \
        linux-strict >"$BATS_TEST_TMPDIR/c.ini"
    run -1 --separate-stderr env PATH="$BATS_TEST_TMPDIR" "$BUILD/bin/bench" run "$BATS_TEST_TMPDIR/c.ini" --out "$BATS_TEST_TMPDIR/out"
    [ "${#stderr_lines[@]}" = 1 ]
    [[ $stderr == *miniupnpd-nftables* ]]
    [ ! -e "$BATS_TEST_TMPDIR/out" ]
}
