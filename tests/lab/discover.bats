#!/usr/bin/env bats
# needs: root
# discover against every profile, with servers that can tell less, and against lies. Pins: a property that is found
# wrong, or unknown where the server can tell; a guess where it cannot; a table that would not notice either; traces
# that a signal loses.
#
# All labs but the table's own run side by side from the start: they mostly wait.

bats_require_minimum_version 1.5.0
load ../helpers

setup_file() {
    export D=$BATS_FILE_TMPDIR TABLE=$ROOT/tests/lab/discover-table
    local two="--listen 192.0.2.1:3478 --listen 192.0.2.1:3479 --alternate 192.0.2.2"
    local one="--listen 192.0.2.1:3478 --listen 192.0.2.1:3479"
    mkdir "$D/profiles" "$D/lies"
    echo secret >"$D/key"
    sed 's/^udp-timeout.*/udp-timeout = 6/' "$ROOT/bench/profiles/port-restricted.ini" >"$D/profiles/short.ini"
    sed 's/^ports.*/ports = parity/; s/^step.*/step = 2/; /^cross/d' "$ROOT/bench/profiles/sym-seq-quiet.ini" >"$D/profiles/parity.ini"
    cp "$ROOT"/bench/profiles/*.ini "$D/profiles"
    for transport in udp tcp; do
        for profile in linux-strict linux-random full-cone; do
            lab "one-$profile-$transport" "$profile" "$one" "--transport $transport"
        done
        lab "key-$transport" port-restricted "$two --key-file $D/key" "--transport $transport"
    done
    for profile in linux-strict cgn-band; do
        SERVER_BEFORE="setpriv --bounding-set=-net_raw" lab "blind-$profile" "$profile" "$two" "--transport tcp"
    done
    lab keyed port-restricted "$two --key-file $D/key" "--transport udp --key-file $D/key"
    lab lifetime short "$two" "--lifetime=20"
    lab trace sym-seq-quiet "$two --sample-ports 8" "--trace $D/trace.csv --count 50 --interval 5ms"
    lab killed cgn-band "$two" "--transport tcp --trace $D/killed.csv --count 100000 --interval 20ms" "timeout -s INT 9"
}

# lab NAME PROFILE SERVER-OPTIONS DISCOVER-OPTIONS [BEFORE]: $SERVER_BEFORE goes before the server. In the background; then NAME.json, .err and .status are there.
lab() {
    local name=$1 profile=$2 server=$3 options=$4 before=${5-}
    (
        timeout 90 "$BUILD/bin/bench" lab -a "$profile" -b open --profiles "$D/profiles" \
            --run-s "exec ${SERVER_BEFORE-} '$BUILD/bin/rendezvous' $server -q 2>'$D/$name.s'" \
            --run-a "for i in \$(seq 100); do grep -q ready '$D/$name.s' && break; sleep 0.05; done
                     $before '$BUILD/bin/discover' --server 192.0.2.1:3478 --json $options 2>'$D/$name.said'
                     echo \$? >'$D/$name.exit'" >"$D/$name.out" 2>"$D/$name.err" </dev/null 3>&-
        mv "$D/$name.out" "$D/$name.json"
    ) >/dev/null 2>&1 3>&- &
}

# result NAME: waits for it; its JSON is in $JSON then.
result() {
    local end=$((SECONDS + 90))
    until [ -e "$D/$1.json" ] || [ $SECONDS -gt $end ]; do sleep 0.1; done
    JSON=$(head -n 1 "$D/$1.json")
    echo "$1: $JSON"
    cat "$D/$1.err" "$D/$1.said"
    STATUS=$(cat "$D/$1.exit")
}

# is PROPERTY VALUE [NOTE]
is() {
    [ "$(jq -r ".properties.$1.value" <<<"$JSON")" = "$2" ]
    [ -z "${3-}" ] || [[ $(jq -r ".properties.$1.note" <<<"$JSON") == *"$3"* ]]
}

@test "every profile, over UDP and TCP: what its file says" {
    run "$TABLE"
    # What is wrong first: a long output is read from its beginning.
    grep -E '!=|no result' <<<"$output" || true
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *" 0 wrong, 0 without a result" ]]
    # Nothing is unknown but what does not exist: a host without a NAT has no hairpin.
    [ "$(grep -vE '^(open|firewall6) ' <<<"$output" | grep -c unknown)" = 0 ]
}

@test "the table notices a profile that lies, and a discovery that does" {
    # Expected from copies that say something else than what the NATs were built from, one property each.
    cp "$ROOT"/bench/profiles/*.ini "$D/lies"
    sed -i 's/^filtering.*/filtering = endpoint-independent/' "$D/lies/port-restricted.ini"
    sed -i 's/^mapping.*/mapping = address-dependent/' "$D/lies/sym-random.ini"
    sed -i 's/^ports.*/ports = random/' "$D/lies/sym-seq-quiet.ini"
    sed -i 's/^unsolicited-syn.*/unsolicited-syn = drop/' "$D/lies/linux-rst.ini"
    sed -i 's/^tcp-window-check.*/tcp-window-check = none/' "$D/lies/linux-strict.ini"
    run -1 "$TABLE" --expect "$D/lies" port-restricted sym-random sym-seq-quiet linux-rst linux-strict full-cone
    echo "$output"
    [ "$(grep -c 'address-and-port-dependent!=endpoint-independent' <<<"$output")" = 2 ]
    [ "$(grep -c 'address-and-port-dependent!=address-dependent' <<<"$output")" = 2 ]
    [ "$(grep -c 'sequential+1!=random' <<<"$output")" = 2 ]
    [ "$(grep -c 'rst!=drop' <<<"$output")" = 1 ]
    [ "$(grep -c 'strict!=unchecked' <<<"$output")" = 1 ]
    [[ $output == *"6 profiles, 96 cells, 8 wrong, 0 without a result" ]]
    # A discovery that says the same of every NAT, and one that says nothing.
    result trace
    echo "$JSON" >"$D/always"
    printf '#!/bin/sh\ncat %s\n' "$D/always" >"$D/liar"
    chmod +x "$D/liar"
    run -1 "$TABLE" --discover "$D/liar" full-cone
    [[ $output == *"address-and-port-dependent!=endpoint-independent"*"sequential+1!=preserve"* ]]
    run -1 "$TABLE" --discover true full-cone
    [[ $output == *"2 without a result" ]]
}

@test "a machine that stops for half a second now and then: its silence is not the NAT's" {
    setsid "$TABLE" port-restricted linux-rst double-nat linux-liberal hostile firewall6 picky >"$D/stalled" 3>&- &
    local table=$!
    while kill -0 "$table" 2>/dev/null; do
        sleep 0.8
        pkill -STOP -s "$table" || break
        sleep 0.5
        pkill -CONT -s "$table"
    done
    cat "$D/stalled"
    [[ $(cat "$D/stalled") == *"7 profiles, 112 cells, "*" 0 without a result" ]]
    [ "$(grep -c ' last-destination-only!=' "$D/stalled")" = 0 ]
}

@test "a server with one address: what follows from it, and unknown with the reason for the rest" {
    for transport in udp tcp; do
        result "one-linux-strict-$transport"
        is mapping unknown "one address"
        is filtering address-and-port-dependent
        is ports preserve
        result "one-linux-random-$transport"
        is mapping address-and-port-dependent
        is filtering address-and-port-dependent
        result "one-full-cone-$transport"
        is mapping unknown "one address"
        is filtering unknown "one address"
    done
    is unsolicited_syn unknown "one address" # full-cone, tcp
    is tcp_window_check unchecked
    result one-linux-strict-tcp
    is unsolicited_syn drop
    is tcp_window_check strict
}

@test "without the server's key: what STUN tells, and why not more" {
    result key-udp
    is mapping endpoint-independent
    is filtering address-and-port-dependent
    [ "$(jq .rendezvous <<<"$JSON")" = false ]
    result key-tcp
    is mapping endpoint-independent
    is ports preserve
    is filtering unknown "another key"
    is tcp_window_check unknown "another key"
    [ "$STATUS" = 0 ]
    result keyed
    [ "$(jq .rendezvous <<<"$JSON")" = true ]
}

@test "a server without raw sockets: holes where one mapping serves all, unknown with the reason where it moves" {
    result blind-linux-strict
    [ "$(jq .sees_syns <<<"$JSON")" = false ]
    is tcp_window_check strict
    is rst closes
    result blind-cgn-band
    is mapping address-and-port-dependent "or connection-dependent: the server does not say where SYNs come from"
    is filtering address-and-port-dependent
    is unsolicited_syn drop
    is tcp_window_check unknown "CAP_NET_RAW"
    is rst unknown "CAP_NET_RAW"
}

@test "--lifetime brackets the profile's 6 s" {
    result lifetime
    jq -e '.lifetime_lo_s > 4.9 and .lifetime_lo_s <= 6 and .lifetime_hi_s >= 6 and .lifetime_hi_s - .lifetime_lo_s < 0.6' <<<"$JSON"
}

@test "--trace: a line a sample, in predict's format; a signal loses nothing" {
    result trace
    [ "$STATUS" = 0 ]
    [ "$(head -n 1 "$D/trace.csv")" = time,local,remote,mapped ]
    local classified
    classified=$(jq '.samples | length' <<<"$JSON")
    [ "$(wc -l <"$D/trace.csv")" = $((classified + 50 + 1)) ]
    run -0 "$BUILD/bin/predict" evaluate "$D/trace.csv"
    result killed
    [ "$STATUS" = 124 ] || [ "$STATUS" = 0 ]
    is mapping connection-dependent
    [ "$(wc -l <"$D/killed.csv")" -gt $(($(jq '.samples | length' <<<"$JSON") + 5)) ]
    [ -z "$(tail -c 1 "$D/killed.csv" | tr -d '\n')" ]
}
