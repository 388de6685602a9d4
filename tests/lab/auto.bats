#!/usr/bin/env bats
# needs: root
# Mode auto with real sockets, over TCP and UDP. Pins: a way that does not fit the pair, a pair that is called hopeless
# and is not, one that is tried and never had a chance, a retry that fails like the first attempt.

bats_require_minimum_version 1.5.0
load lab

# campaign TRIALS TIMEOUT RTT TECHNIQUES PAIRS
campaign() {
    printf '[campaign]\nname = t\nseed = 5\ntrials = %s\ntimeout = %s\ntechniques = %s\npairs = %s\n[link]\nrtt = %s\n' \
        "$1" "$2" "$4" "$5" "$3" >"$DIR/c.ini"
    rm -rf "$DIR/out"
    "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out"
}

# each JQ: holds of the list of all trials; prints them where it does not.
each() {
    jq -e -s "length > 0 and ($1)" "$DIR/out/trials.jsonl" && return
    jq -c '[.cell, .trial, .outcome, .predicted_p, .a.strategy, .b.strategy, .a.errors, .b.errors]' "$DIR/out/trials.jsonl"
    return 1
}

@test "both transports go the way that fits the pair" {
    run -0 campaign 2 3s 20ms "synspray:auto, portspray:auto" \
        "linux-strict / port-restricted, open / linux-random, linux-strict / linux-random, linux-strict / sym-seq-quiet, sym-seq-still / sym-seq-still, linux-strict / mobile-sym-random"
    each 'length == 24 and all(.[]; .outcome == "ok" and .mode == "auto" and .predicted_p > 0.9 and .a.strategy == .b.strategy)'
    each 'def of(n): map(select(.cell | startswith(n)) | .a.strategy) | unique;
        of("linux-strict/port-restricted/") == ["punch"] and of("open/linux-random/") == ["reversed"]
        and of("linux-strict/linux-random/") == ["random"] and of("linux-strict/sym-seq-quiet/") == ["predicted"]
        and of("sym-seq-still/sym-seq-still/") == ["meet"] and of("linux-strict/mobile-sym-random/") == ["random"]'
    # What was considered, in the article's order, up to what succeeded.
    each 'def of(n): map(select(.cell | startswith(n)) | .a.steps | map(.step + ":" + (.reason // .result))) | unique;
        def no: ["private:other_address", "hairpin:other_address", "reversed:none_reachable", "direct:filtered", "punch:moves"];
        of("linux-strict/port-restricted/") == [["private:beaten", "hairpin:other_address", "reversed:none_reachable", "direct:filtered", "punch:ok"]]
        and of("linux-strict/sym-seq-quiet/")[0] == no + ["predicted:ok"]
        and of("sym-seq-still/sym-seq-still/")[0][5] == "meet:ok"
        and (of("linux-strict/linux-random/") | all(.[]; .[:6] == no + ["predicted:not_predictable"] and (.[-1] | endswith(":ok"))))'
    each 'all(.[]; .b.steps == null and (.a.steps | last | .took_ns) > 0)'
    # Where one endpoint is reachable nothing is sprayed.
    each 'map(select(.cell | contains("/port-restricted/") or startswith("open/")) | .a.holes, .b.holes) | max < 40'
}

@test "one side is reachable: the hidden one connects to it, and it sends nothing of its own" {
    run -0 campaign 3 2s 20ms "simopen:auto, synspray:auto, portspray:auto" "open / linux-strict, linux-random / open"
    each 'length == 18 and all(.[]; .outcome == "ok" and .path == "reversed" and .a.strategy == "reversed" and .b.strategy == "reversed")'
    each 'all(.[]; ((if .cell | startswith("open/") then .a else .b end).holes // 0) == 0)'
    each 'all(.[]; .a.steps | map([.step, .result]) == [["private", "beaten"], ["hairpin", "skipped"], ["reversed", "ok"]])'
}

@test "two homes under one carrier meet by its hairpin, from either source, also where it has several addresses" {
    mkdir "$DIR/profiles"
    cp "$ROOT"/bench/profiles/*.ini "$DIR/profiles"
    sed 's/external-source/internal-source/' "$ROOT/bench/profiles/full-cone.ini" >"$DIR/profiles/inside.ini"
    sed 's/^hairpin/pool = 4 arbitrary\n&/' "$ROOT/bench/profiles/full-cone.ini" >"$DIR/profiles/pool.ini"
    PUNCHBENCH_DATA=$DIR run -0 campaign 8 1s 20ms "simopen:auto, portspray:auto, portspray:punch" \
        "full-cone@full-cone / full-cone@full-cone, full-cone@inside / full-cone@inside, linux-strict@cgn-block / linux-strict@cgn-block, full-cone@pool / full-cone@pool"
    each 'def of(n; t): map(select((.cell | contains(n)) and .technique == t));
        of("@full-cone/"; "simopen") + of("@full-cone/"; "portspray") + of("@cgn-block/"; "simopen") + of("@cgn-block/"; "portspray")
        + of("@inside/"; "portspray") + of("@pool/"; "portspray")
        | all(.[]; .outcome == "ok" and .path == "hairpin")'
    # Over TCP the answer to a SYN that shows an inside address goes there and not through the carrier (RFC 5382 REQ-8).
    each 'map(select((.cell | contains("@inside/")) and .technique == "simopen")) | length == 8 and all(.[]; .outcome == "timeout")'
    # With an address of its own for each neither could know, but the carrier.
    each 'any(.[]; .path == "hairpin" and .a.path == "direct")'
}

@test "simopen predicts a few ports from its one port, and gives up where it would take many" {
    run -0 campaign 2 2s 20ms "simopen:auto" "linux-strict / sym-seq-quiet, linux-strict / port-restricted, linux-strict / linux-random"
    each 'def of(n): map(select(.cell | contains(n)) | [.outcome, .a.strategy]) | unique;
        of("/sym-seq-quiet/") == [["ok", "predicted"]] and of("/port-restricted/") == [["ok", "punch"]]
        and of("/linux-random/") == [["infeasible", "infeasible"]]'
}

@test "what is hopeless is infeasible at once, and the control connects nobody" {
    run -0 campaign 2 1s 20ms "synspray:auto, portspray:auto, none" "linux-random / linux-random, sym-random / mobile-sym-random"
    each 'map(select(.mode == "auto")) | length == 8 and all(.[]; .outcome == "infeasible" and .predicted_p < 0.01
        and .a.strategy == "infeasible" and (.a.packets // 0) == 0 and (.b.packets // 0) == 0)'
    each 'map(select(.mode == "none")) | length == 4 and all(.[]; .outcome == "timeout")'
    # Nothing left either NAT but samples and the connection to S.
    each 'map(select(.mode == "auto") | .nats[].counters.out // 0) | max < 300'
}

@test "NATs that refuse probes and holes alike are overcome by a careful second attempt" {
    run -0 campaign 8 4s 40ms "portspray:auto" "linux-rst / linux-random-rst"
    each 'all(.[]; .outcome == "ok" and .predicted_p > 0.99) and any(.[]; .a.aimed_anew == 1)'
}

@test "a NAT that lets only the last destination answer is seen by the samples: one hole at a time" {
    run -0 campaign 2 3s 20ms "portspray:auto, synspray:auto" "picky / sym-seq-still, picky / linux-random"
    each 'all(.[]; .a.holes == null or .a.holes <= 4) and all(.[] | select(.cell | contains("linux-random")); .predicted_p < 0.1)'
    each 'map(select(.cell | contains("sym-seq-still"))) | length == 4 and all(.[]; .outcome == "ok")'
}

@test "a time to live that is to end before the other NAT passes all of one's own" {
    printf '[campaign]\nname = t\ntrials = 1\ntimeout = 4s\npairs = linux-strict@full-cone@cgn-block / linux-random-rst, linux-strict / linux-random-rst\ntechniques = low\n[technique low]\nuse = synspray:hold\noptions = --ttl auto\n[link]\nrtt = 20ms\n' >"$DIR/c.ini"
    run -0 "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out"
    # One hop each, and one of the internet.
    each 'all(.[]; .outcome == "ok" and .path == "direct" and .a.ttl == (if .cell | contains("@") then 4 else 2 end))'
}

@test "hosts with both families: IPv6 does where IPv4 is hopeless, and a search stays one of IPv4" {
    printf '[campaign]\nname = t\ntrials = 2\ntimeout = 2s\ntechniques = simopen:auto, portspray:auto, portspray:punch\npairs = linux-random / linux-random, open / linux-strict, linux-strict / linux-random\n[link]\nrtt = 20ms\nfamily = both\n' >"$DIR/c.ini"
    run -0 "$BIN/bench" run "$DIR/c.ini" --out "$DIR/out"
    each 'def of(n; m): map(select((.cell | startswith(n)) and (.cell | contains(m))) | [.outcome, .a.family]) | unique;
        of("linux-random/linux-random/"; "/") == [["ok", "ipv6"]] and of("linux-strict/linux-random/"; "portspray-auto") == [["ok", "ipv4"]]
        and of("linux-strict/linux-random/"; "portspray-punch") == [["ok", "ipv6"]]'
    # A router of IPv4 alone does not translate IPv6: the other side sees the very address.
    each 'all(.[] | select(.a.family == "ipv6"); (.a.remote | startswith("[2001:db8:b::2]:")) and (.b.remote | startswith("[2001:db8:a::2]:")))'
    each 'all(.[] | select(.cell | startswith("open/")); .outcome == "ok" and .path == (if .mode == "auto" then "reversed" else "direct" end))'
    sed -i 's/^pairs.*/pairs = double-nat \/ open/' "$DIR/c.ini"
    run -1 "$BIN/bench" run "$DIR/c.ini" --out "$DIR/bad"
    [[ $output == *"c.ini:9: double-nat / open: with family = both each side is a netfilter NAT"* ]]
}
