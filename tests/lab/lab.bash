# shellcheck shell=bash
# What the bats files of the lab share: a folder of the test's own, the programs, the profiles.
load ../helpers

lab_setup() {
    DIR=$(mktemp -d)
    # shellcheck disable=SC2034 # the tests use it
    BIN=$BUILD/bin
    export PUNCHBENCH_DATA=$ROOT/bench
}

setup() {
    lab_setup
}

teardown() {
    rm -rf "$DIR"
}
