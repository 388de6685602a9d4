# shellcheck shell=bash
# The program bench with stand-ins for rendezvous and the peers, beside which it is copied; c.ini is a campaign of eight
# cells. $FAKE says what goes wrong, $FAKE_DELAY how long a trial takes.

setup_file()
{
    export FAKE_DIR=$BATS_FILE_TMPDIR/bin
    mkdir -p "$FAKE_DIR"
    # Programs are looked for beside the binary itself.
    cp "$BUILD/bin/bench" "$FAKE_DIR/bench"
    fake_server >"$FAKE_DIR/rendezvous"
    fake_peer >"$FAKE_DIR/simopen"
    cp "$FAKE_DIR/simopen" "$FAKE_DIR/portspray"
    chmod +x "$FAKE_DIR"/*
}

setup()
{
    cd "$BATS_TEST_TMPDIR" || return 1
    export PUNCHBENCH_DATA=$ROOT/bench
    unset FAKE FAKE_DELAY
    mkdir -p state
    cat >c.ini <<END
[campaign]
name = c
trials = 6
timeout = 50ms
nats = open, linux-strict
techniques = simopen, none
[link]
rtt = 0
END
}

bench()
{
    "$FAKE_DIR/bench" "$@"
}

needs_root()
{
    [ "$(id -u)" = 0 ] || skip "needs root"
}

# The stand-ins of one cell meet in a file that is named after what they share: the cell's PID namespace.
fake_peer()
{
    cat <<'END'
#!/bin/bash
while [ $# -gt 0 ]; do
    case $1 in --session) s=$2 ;; --first-trial) f=$2 ;; --role) r=$2 ;; --trials) n=$2 ;; esac
    shift
done
state=state/$(readlink /proc/self/ns/pid)
if [ "$r" = a ]; then
    echo "peer $s $f $n" >>peers.log
    echo "$s $f $n" >"$state.tmp" && mv "$state.tmp" "$state"
fi
case $FAKE in peer-dies) echo "simopen: no way" >&2; exit 1 ;; esac
while [ ! -e "$state.end" ]; do sleep 0.02; done
END
}

fake_server()
{
    cat <<'END'
#!/bin/bash
[ "$FAKE" = never-ready ] && { echo "rendezvous: address in use" >&2; exit 1; }
state=state/$(readlink /proc/self/ns/pid) i=0
rm -f "$state"*  # the kernel gives the numbers of dead namespaces again
echo "rendezvous: ready" >&2
while read -r _; do
    until [ -e "$state" ]; do sleep 0.01; done
    read -r cell first n <"$state"
    t=$((first + i)) i=$((i + 1))
    [ $i = "$n" ] && touch "$state.end"
    # Once: the second run of the cell goes well. (mkdir is atomic.)
    if [ "$t" = 3 ] && [ -n "$FAKE" ] && { [[ $FAKE == *-always ]] || mkdir "once-${cell//\//_}" 2>/dev/null; }; then
        case $FAKE in
        dies*) echo "rendezvous: I die" >&2; exit 7 ;;
        wrong*) t=4 ;;
        garbage*) echo "no record"; continue ;;
        esac
    fi
    [ -n "$FAKE_DELAY" ] && sleep "$FAKE_DELAY"
    case $cell in
    */none/*) end='"outcome":"timeout","connect_ns":null' ;;
    *) end="\"outcome\":\"ok\",\"connect_ns\":$((40000000 + t))" ;;
    esac
    echo "{\"schema\":1,\"type\":\"trial\",\"cell\":\"$cell\",\"trial\":$t,\"seed\":1,$end}"
done
END
}

# every_trial_once DIR CELLS TRIALS
every_trial_once()
{
    [ "$(wc -l <"$1/trials.jsonl")" = $(($2 * $3)) ]
    [ "$(jq -r '"\(.cell) \(.trial)"' "$1/trials.jsonl" | sort -u | wc -l)" = $(($2 * $3)) ]
}

one_line()
{
    # shellcheck disable=SC2154 # run sets them
    [ "${#lines[@]}" = 1 ] || { printf '%s\n' "not one line:" "$output"; return 1; }
}
