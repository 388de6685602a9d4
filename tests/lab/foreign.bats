#!/usr/bin/env bats
# needs: root
# Programs of other people in the lab, unmodified, as Debian packages them. Pins: a lab that only its own programs can
# live in; a NAT that a stranger's client sees as something else than its profile says.

bats_require_minimum_version 1.5.0
load lab

setup() {
    lab_setup
    # ready FILE TEXT: until the file has the text; tries COMMAND...: until it succeeds. Both at most 20 s.
    cat >"$DIR/lib" <<'END'
ready() { for _ in $(seq 400); do grep -q "$2" "$1" 2>/dev/null && return 0; sleep 0.05; done; return 1; }
tries() { for _ in $(seq 400); do "$@" && return 0; sleep 0.05; done; return 1; }
END
}

# lab NAT-A NAT-B SCRIPT-A SCRIPT-B SCRIPT-S, each for bash with ready and tries.
lab() {
    local i=0 name
    for name in a b s; do
        i=$((i + 1))
        printf '. %s/lib\ncd %s\n%s\n' "$DIR" "$DIR" "${@:i+2:1}" >"$DIR/$name.sh"
    done
    timeout 60 "$BIN/bench" lab -a "$1" -b "$2" --rtt 4ms --run-a "bash $DIR/a.sh" --run-b "bash $DIR/b.sh" --run-s "bash $DIR/s.sh"
}

@test "netcat over TCP through a server: behind an emulated NAT and a Linux router" {
    head -c 300000 /dev/urandom | base64 >"$DIR/big"
    # One listener after the other; a client that comes too early is refused, and tries again.
    run -0 lab port-restricted linux-strict \
        'tries nc -N -w 20 192.0.2.1 8000 <big && tries nc -d -w 20 192.0.2.1 8003 >a.out' \
        'hello() { echo hello | nc -N -w 20 192.0.2.1 8002; }; tries nc -d -w 20 192.0.2.1 8001 >b.out && tries hello' \
        'nc -d -l 192.0.2.1 8000 >from-a; nc -N -l 192.0.2.1 8001 <from-a; nc -d -l 192.0.2.1 8002 >from-b; nc -N -l 192.0.2.1 8003 <from-b'
    cmp "$DIR/big" "$DIR/b.out"
    [ "$(cat "$DIR/a.out")" = hello ]
}

@test "netcat over UDP, punched by hand: both NATs preserve the port" {
    # Each sends to the other's public endpoint until it has heard it; the first ones only open the hole.
    # shellcheck disable=SC2016
    run -0 lab port-restricted linux-strict \
        'for i in $(seq 100); do echo "a $i"; sleep 0.05; done | timeout 5 nc -u -p 5000 203.0.113.1 6000 >a.out; ready a.out "^b"' \
        'for i in $(seq 100); do echo "b $i"; sleep 0.05; done | timeout 5 nc -u -p 6000 198.51.100.1 5000 >b.out; ready b.out "^a"' \
        true
    grep -q '^b [0-9]*$' "$DIR/a.out"
    grep -q '^a [0-9]*$' "$DIR/b.out"
}

@test "netcat over UDP does not get through a NAT whose ports are random" {
    # shellcheck disable=SC2016
    run -0 lab sym-random linux-strict \
        'for i in $(seq 20); do echo "a $i"; sleep 0.05; done | timeout 2 nc -u -p 5000 203.0.113.1 6000 >a.out; true' \
        'for i in $(seq 20); do echo "b $i"; sleep 0.05; done | timeout 2 nc -u -p 6000 198.51.100.1 5000 >b.out; true' \
        true
    [ ! -s "$DIR/a.out" ] && [ ! -s "$DIR/b.out" ]
}

@test "coturn's discovery finds what the profiles say" {
    command -v turnutils_natdiscovery >/dev/null || skip "coturn, which is only for development, is not installed"
    # Where nothing comes it waits for ever.
    local server="exec $BIN/rendezvous --listen 192.0.2.1:3478 --listen 192.0.2.1:3479 --alternate 192.0.2.2 2>s.err"
    run -0 lab full-cone sym-random \
        'ready s.err ready && timeout 10 turnutils_natdiscovery -m -f 192.0.2.1 >a.out' \
        'ready s.err ready && timeout 10 turnutils_natdiscovery -m 192.0.2.1 >b.out' "$server"
    grep -q 'NAT with Endpoint Independent Mapping' "$DIR/a.out"
    grep -q 'NAT with Endpoint Independent Filtering' "$DIR/a.out"
    grep -q 'reflexive addr: 198.51.100.1:' "$DIR/a.out"
    grep -q 'NAT with Address and Port Dependent Mapping' "$DIR/b.out"
    rm "$DIR"/s.err
    # Behind a home and a carrier: the outer address, and the harder of the two mappings.
    run -0 lab port-restricted@cgn-block-no-hairpin linux-random@cgn-block-no-hairpin \
        'ready s.err ready && timeout 10 turnutils_natdiscovery -m 192.0.2.1 >a.out' \
        'ready s.err ready && timeout 10 turnutils_natdiscovery -m 192.0.2.1 >b.out' "$server"
    grep -q 'NAT with Endpoint Independent Mapping' "$DIR/a.out"
    grep -q 'reflexive addr: 198.51.100.[12]:' "$DIR/a.out"
    grep -q 'NAT with Address and Port Dependent Mapping' "$DIR/b.out"
}
