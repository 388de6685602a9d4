#!/usr/bin/env bats
# Coming back to S after a lost connection. Pins: a place that anybody gets who knows the key, or who knows the token; a
# peer that cannot come back to its own; a place of one that left; a peer whose session ends with its connection.

bats_require_minimum_version 1.5.0
load ../helpers

setup() {
    BIN=$BUILD/bin
    DIR=$(mktemp -d)
    PORT=$(free_port)
}

teardown() {
    [ -z "${SERVER:-}" ] || kill "$SERVER" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$DIR"
}

rejoiner() {
    "$BUILD/tests/rejoiner" "$PORT" "$1" "the key" "$2"
}

@test "a place belongs to who proves the key and knows the token, and to nobody else" {
    printf '%s' "the key" >"$DIR/key"
    "$BIN/rendezvous" --listen "127.0.0.1:$PORT" --key-file "$DIR/key" 2>"$DIR/server.err" 3>&- &
    SERVER=$!
    wait_for grep -q ready "$DIR/server.err"
    [ "$(rejoiner good good)" = "joined 1 0" ]
    [ "$(rejoiner twice twice)" = $'joined 1 0\njoined 1 0\nthe other one ended' ]
    [ "$(rejoiner wrong-key wrong-key)" = "error 1" ]
    [ "$(rejoiner wrong-token wrong-token)" = "error 10" ]
    [ "$(rejoiner no-token no-token)" = "error 10" ]
    [ "$(rejoiner other-place other-place)" = "error 10" ]
    [ "$(rejoiner left left)" = "error 10" ]
    # The place is kept: a stranger with the key, but without the token, does not get it.
    [ "$(rejoiner fresh fresh)" = "error 2" ]
}
