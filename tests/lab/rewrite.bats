#!/usr/bin/env bats
# needs: root
# A gateway that rewrites payloads: wherever a packet that it lets out has the bytes of the host's own address, it puts
# its public one there (an ALG that knows no protocol). Pins: a private endpoint that crosses S in bytes that such a
# gateway can read, so that two hosts in one home are sent to an address that is not theirs.

bats_require_minimum_version 1.5.0
load lab

# Two hosts in one home: only the private path works, as its gateway does not hairpin.
setup() {
    lab_setup
    mkdir "$DIR/profiles"
    { cat "$ROOT/bench/profiles/port-restricted.ini" && echo "rewrite-payload = yes"; } >"$DIR/profiles/alg.ini"
    cp "$ROOT/bench/profiles/port-restricted.ini" "$DIR/profiles"
}

# told PROFILE MASK: host a tells host b, through s, its address of four bytes, each combined with MASK; prints what b
# makes of it.
told() {
    cat >"$DIR/tell" <<'END'
text=
for byte in 10 1 0 2; do text+="\\x$(printf %x $((byte ^ $1)))"; done
printf "$text" >"$2" # in one segment, later
END
    cat >"$DIR/hear" <<'END'
for byte in $(od -An -tu1); do printf '%d.' $((byte ^ $1)); done
END
    # A client that comes before its listener is refused, and tries again.
    timeout 60 "$BIN/bench" lab --profiles "$DIR/profiles" -a "@$1" -b "@$1" --rtt 2ms \
        --run-a "for i in \$(seq 200); do bash $DIR/tell $2 $DIR/own; nc -N -w 5 192.0.2.1 8000 <$DIR/own && break; sleep 0.05; done" \
        --run-b "for i in \$(seq 200); do nc -d -w 5 192.0.2.1 8001 >$DIR/heard && [ -s $DIR/heard ] && break; sleep 0.05; done; bash $DIR/hear $2 <$DIR/heard" \
        --run-s "nc -d -l 192.0.2.1 8000 >$DIR/said; nc -N -l 192.0.2.1 8001 <$DIR/said"
}

@test "an address in plain bytes is changed on its way, and b is sent to the gateway; a masked one arrives" {
    run -0 told alg 0
    [[ $output == *198.51.100.1.* ]]
    run -0 told alg 255
    [[ $output == *10.1.0.2.* ]]
    # The control: without the rewriting the plain one arrives, too.
    run -0 told port-restricted 0
    [[ $output == *10.1.0.2.* ]]
}

@test "two hosts behind it find each other on the private path: what our own messages say is not readable" {
    printf '[campaign]\nname = t\nseed = 3\ntrials = 5\ntimeout = 600ms\npairs = @alg / @alg, alg / alg\ntechniques = simopen, portspray:punch, none\n[link]\nrtt = 20ms\n[expect]\n*/*/* = 100%%\n*/*/none = 0%%\n' >"$DIR/c.ini"
    run -0 "$BIN/bench" run "$DIR/c.ini" --profiles "$DIR/profiles" --out "$DIR/out"
    jq -e -s 'map(select(.outcome == "ok")) | length == 20 and
        all(.[]; .path == (if .cell | startswith("@") then "private" else "direct" end))' "$DIR/out/trials.jsonl"
}
