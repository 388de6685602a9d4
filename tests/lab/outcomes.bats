#!/usr/bin/env bats
# needs: root
# The plain techniques through real Linux NATs in the lab, with the controls that must fail. Pins: a success that could
# not have failed, an ok without both sides' proof, a trial that leaves something behind.

bats_require_minimum_version 1.5.0
load lab

# campaign NATS TECHNIQUES TRIALS RTT [expect lines]
campaign() {
    printf '[campaign]\nname = t\nseed = 3\ntrials = %s\ntimeout = 600ms\nnats = %s\ntechniques = %s\n[link]\nrtt = %s\n' \
        "$3" "$1" "$2" "$4" >"$DIR/c.ini"
    shift 4
    [ $# = 0 ] || { echo "[expect]" && printf '%s\n' "$@"; } >>"$DIR/c.ini"
    "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out"
}

@test "plain punching works where RFC 5128 says so, and nowhere else" {
    run -0 campaign "open, linux-strict, linux-liberal, linux-random" "simopen, portspray:punch, none" 3 40ms \
        "open/*/* = 100%" "*/open/* = 100%" "linux-strict/linux-strict/* = 100%" "linux-strict/linux-liberal/* = 100%" \
        "linux-liberal/linux-strict/* = 100%" "linux-liberal/linux-liberal/* = 100%" \
        "linux-random/linux-*/* = 0%" "linux-*/linux-random/* = 0%" "*/*/none = 0%"
    [ "$(wc -l <"$DIR/out/trials.jsonl")" = 144 ]
    # An ok is both sides' word, each with the other's acknowledgement; a control sent nothing.
    jq -e -s 'all(.[]; (.outcome == "ok") == (.a.outcome == "ok" and .b.outcome == "ok" and .a.acked and .b.acked
        and .a.connect_ns > 0 and .b.connect_ns > 0))' "$DIR/out/trials.jsonl"
    jq -e -s 'all(.[] | select(.mode == "none"); (.a.packets // 0) == 0 and (.b.packets // 0) == 0)' "$DIR/out/trials.jsonl"
    # What the NATs did is there, and it is why: the packets that met no mapping are counted.
    jq -e -s 'all(.[]; (.nats | map(.behind[0])) - ["a", "b"] == [] and all(.nats[]; .counters.out > 0))' "$DIR/out/trials.jsonl"
    jq -e -s 'all(.[] | select(.cell | startswith("linux-strict/linux-random/portspray-punch"));
        [.nats[].counters["drop-unsolicited"]] | length == 2 and all(.[]; . > 0))' "$DIR/out/trials.jsonl"
    # No latency under what light allows: half a round trip more than nothing, 1 for UDP, 1.5 for TCP.
    jq -e -s 'all(.[] | select(.outcome == "ok"); .connect_ns >= (if .transport == "tcp" then 60e6 else 40e6 end) - 1e6)' \
        "$DIR/out/trials.jsonl"
}

@test "IPv6: two firewalls that translate nothing are crossed by both techniques, and not by the control" {
    printf '[campaign]\nname = t\nseed = 3\ntrials = 4\ntimeout = 600ms\npairs = firewall6 / firewall6, linux-strict / firewall6\ntechniques = simopen, portspray:punch, none\n[link]\nrtt = 20ms\n[expect]\n*/*/* = 100%%\n*/*/none = 0%%\n' >"$DIR/c.ini"
    run -0 "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out"
    jq -e -s 'length == 24 and all(.[]; .a.mapped | startswith("["))' "$DIR/out/trials.jsonl"
    # Without a translation the public endpoint is the host's own.
    jq -e -s 'all(.[]; (.b.mapped | startswith("[2001:db8:b::2]:")))' "$DIR/out/trials.jsonl"
}

@test "container networks: UDP gets in as through a full cone, a plain TCP punch does not" {
    command -v slirp4netns pasta >/dev/null || skip "slirp4netns or pasta is missing: make deps"
    printf '[campaign]\nname = t\nseed = 3\ntrials = 3\ntimeout = 600ms\npairs = slirp4netns / linux-random, pasta / slirp4netns\ntechniques = simopen, portspray:punch, none\n[link]\nrtt = 20ms\n[expect]\n*/*/* = 0%%\n*/*/portspray-punch = 100%%\n' >"$DIR/c.ini"
    run -0 "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out"
    jq -e -s 'length == 18' "$DIR/out/trials.jsonl"
}

@test "a campaign that mixes IPv6 with an emulated NAT is told so" {
    printf '[campaign]\nname = t\nseed = 3\ntrials = 1\npairs = full-cone / firewall6\ntechniques = none\n[link]\nrtt = 20ms\n' >"$DIR/c.ini"
    run -1 --separate-stderr "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out"
    [[ $stderr =~ "full-cone" ]] && [[ $stderr =~ "IPv" ]]
    [ ! -e "$DIR/out" ]
}

@test "an expectation that is wrong is found to be wrong" {
    run -2 campaign "linux-random" "portspray:punch" 2 10ms "linux-random/linux-random/* = 100%"
    [[ $output =~ "linux-random/linux-random" ]]
}

@test "routers that answer with RST: ports are preserved, so SYNs cross before the RST comes" {
    run -0 campaign "linux-rst" "simopen, portspray:punch" 5 40ms
    jq -e -s 'group_by(.technique) | all(.[]; length == 5)' "$DIR/out/trials.jsonl"
    jq -e -s 'all(.[]; .outcome != "error")' "$DIR/out/trials.jsonl"
}

@test "loss costs time, not the outcome, and no step of 1 s from the kernel's SYN retransmission" {
    printf '[campaign]\nname = t\nseed = 3\ntrials = 20\ntimeout = 5s\nnats = linux-strict\ntechniques = simopen, portspray:punch\n[link]\nrtt = 20ms\nloss = 5%%\n' >"$DIR/c.ini"
    run -0 "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out"
    jq -s 'map([.technique, .outcome, .connect_ns])' -c "$DIR/out/trials.jsonl"
    jq -e -s 'map(select(.outcome == "ok")) | length >= 38' "$DIR/out/trials.jsonl"
}

busy_port() {
    # A server on three of the six ports, TCP and UDP, is in the way. Nobody starts before the servers are ready.
    cat >"$DIR/ready" <<'EOF'
for _ in $(seq 400); do grep -q ready "$1" 2>/dev/null && exit 0; sleep 0.05; done
exit 1
EOF
    cat >"$DIR/busy" <<EOF
"$BIN/rendezvous" --listen 0.0.0.0:20000 --listen 0.0.0.0:20001 --listen 0.0.0.0:20002 2>"$DIR/busy.err" &
bash "$DIR/ready" "$DIR/busy.err" && bash "$DIR/ready" "$DIR/s.err" || exit 1
exec "$BIN/$1" --server 192.0.2.1:3478 --session t --role a --ports 20000-20005 --trials 6 --json --seed 4
EOF
    rm -f "$DIR"/*.err
    run -0 "$BIN/bench" lab -a linux-strict -b linux-strict --rtt 4ms \
        --run-s "$BIN/rendezvous --listen 192.0.2.1:3478 2>$DIR/s.err" \
        --run-a "bash $DIR/busy >$DIR/a.json" \
        --run-b "bash $DIR/ready $DIR/s.err && $BIN/$1 --server 192.0.2.1:3478 --session t --role b --quiet"
    jq -e -s 'length == 6 and all(.outcome == "ok") and all(.a.local_port | . >= 20003)' "$DIR/a.json"
}

@test "a busy port is left for a fresh one" {
    busy_port simopen
    busy_port portspray
}

@test "nothing of a trial stays: descriptors after 5 and after 205 trials" {
    "$BIN/rendezvous" --listen 127.0.0.1:18765 2>"$DIR/s.err" 3>&- &
    local server=$! a b
    wait_for grep -q ready "$DIR/s.err"
    for program in simopen portspray; do
        "$BIN/$program" --server 127.0.0.1:18765 --session "$program" --trials 100000 --json >"$DIR/a.json" 2>/dev/null 3>&- &
        a=$!
        "$BIN/$program" --server 127.0.0.1:18765 --session "$program" --trials 100000 --quiet 2>/dev/null 3>&- &
        b=$!
        local early late
        wait_for lines_in "$DIR/a.json" 5
        early=$(find "/proc/$a/fd" -type l 2>/dev/null | wc -l)
        wait_for lines_in "$DIR/a.json" 205
        # A trial under way has its own: the smallest of some looks counts.
        late=9999
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            local now
            now=$(find "/proc/$a/fd" -type l 2>/dev/null | wc -l)
            [ "$now" -ge "$late" ] || late=$now
        done
        echo "$program: $early, then $late"
        kill -INT "$a" "$b" || true
        wait "$a" "$b" || true
        [ "$late" -le $((early + 2)) ]
    done
    kill "$server"
}

@test "--pcap writes what passed each interface, as others can read it" {
    printf '[campaign]\nname = t\nseed = 3\ntrials = 2\ntimeout = 600ms\nnats-a = port-restricted\nnats-b = linux-strict\ntechniques = portspray:punch\n[link]\nrtt = 4ms\n' >"$DIR/c.ini"
    run -0 "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out" --pcap "$DIR/pcap"
    local cell=$DIR/pcap/port-restricted+linux-strict+portspray-punch+rtt4
    [ "$(cd "$cell" && echo *)" = "a-out.pcap a.pcap b-out.pcap s.pcap" ]
    # Nobody can make a folder there, not even root.
    run -1 "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out2" --pcap /proc/none
    [ "${#lines[@]}" = 1 ]
    [[ $output =~ "--pcap /proc/none cannot be written" ]]
    [ ! -e "$DIR/out2" ]
    run -1 "$BIN/bench" lab -a open -b open --run-a true --pcap /proc/none
    [ "${#lines[@]}" = 1 ]
    run -1 "$BIN/bench" lab -a open -b open --run-a true --pcap "$DIR/p" --pcap-limit 3x
    command -v tshark >/dev/null || skip "tshark, which is only for development, is not installed"
    for f in "$cell"/*.pcap; do
        tshark -r "$f" -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE 2>/dev/null >"$DIR/text"
        [ "$(wc -l <"$DIR/text")" -gt 20 ]
        [ "$(tshark -r "$f" -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE \
            -Y 'ip.checksum.status == Bad or tcp.checksum.status == Bad or udp.checksum.status == Bad or _ws.malformed' 2>/dev/null | wc -l)" = 0 ]
    done
}

@test "NATs that both sides are behind: the home's private path, the carrier's hairpin or nothing" {
    printf '[campaign]\nname = t\nseed = 3\ntrials = 3\ntimeout = 400ms\npairs = @port-restricted / @port-restricted,\n    port-restricted@full-cone / linux-strict@full-cone,\n    port-restricted@cgn-block-no-hairpin / port-restricted@cgn-block-no-hairpin\ntechniques = simopen, portspray:punch\n[link]\nrtt = 4ms\n' >"$DIR/c.ini"
    run -0 "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out" --pcap "$DIR/pcap"
    # Not by the names alone: what the NATs say of it.
    jq -e -s 'def of(n): map(select(.cell | startswith(n)));
        def shared: .nats[] | select(.behind == ["a", "b"]);
        length == 18
        and (of("@port-restricted/") | length == 6 and all(.outcome == "ok" and .path == "private" and (.nats | length) == 1
            and shared.level == 1 and (shared.counters.hairpinned // 0) == 0))
        and (of("port-restricted@full-cone/") | length == 6 and all(.outcome == "ok" and .path == "hairpin"
            and (.nats | length) == 3 and shared.level == 2 and shared.profile == "full-cone" and shared.counters.hairpinned >= 2))
        and (of("port-restricted@cgn") | length == 6 and all(.outcome != "ok"
            and (shared.counters.hairpinned // 0) == 0 and shared.counters["drop-hairpin"] >= 2))' "$DIR/out/trials.jsonl"
    [ "$(cd "$DIR/pcap/port-restricted@full-cone+linux-strict@full-cone+simopen+rtt4" && echo *)" = \
        "@full-cone-in.pcap @full-cone-out.pcap a-out.pcap a.pcap b-out.pcap s.pcap" ]
    run -0 timeout 30 "$BIN/bench" lab -a full-cone@linux-strict -b @linux-strict --pcap "$DIR/lab" --run-a true
    [ "$(cd "$DIR/lab" && echo *)" = "@linux-strict-in.pcap @linux-strict-out.pcap a-out.pcap a.pcap b.pcap s.pcap" ]
    jq -e '.profiles | has("full-cone") and has("cgn-block-no-hairpin") and has("linux-strict")' "$DIR/out/run.json"
    jq -e '.campaign.pairs[1] == ["port-restricted@full-cone", "linux-strict@full-cone"]' "$DIR/out/run.json"
    run -0 "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out" --resume
    [ "$(wc -l <"$DIR/out/trials.jsonl")" = 18 ]
}
