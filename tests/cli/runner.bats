#!/usr/bin/env bats
# tests/run itself. Pins: a crash, a hang, an unfinished plan or an empty run that counts as success; a skip that
# counts as a pass or hides its reason; sums that are not those of the test cases.

setup()
{
    TREE=$BATS_TEST_TMPDIR/tree
    mkdir -p "$TREE"/tests/{unit,cli,lab,fuzz/corpus/x} "$TREE"/build/{tests,fuzz-seeds}
    cp "$ROOT/tests/run" "$TREE/tests/run"
    printf '#!/bin/sh\n[ "$1" != --self-test ] || echo "ok one"\n' >"$TREE/tests/layering"
    chmod +x "$TREE/tests/layering"
    export BUILD=$TREE/build
}

# program SUITE NAME: a test program whose body is on stdin.
program()
{
    (echo '#!/bin/sh' && cat) >"$TREE/build/tests/$2"
    chmod +x "$TREE/build/tests/$2"
    touch "$TREE/tests/$1/$2.c"
}

last_line()
{
    [ "${lines[-1]}" = "$1" ]
}

@test "sums test cases, not programs" {
    program unit test_a <<<'echo "[  PASSED  ] 3 test(s)."'
    program unit test_b <<<'echo "[  PASSED  ] 4 test(s)."'
    run "$TREE/tests/run" unit
    [ "$status" = 0 ]
    last_line "9 passed, 0 failed, 0 skipped"
}

@test "a failing program shows its whole output" {
    program unit test_a <<<'echo "[  PASSED  ] 3 test(s)."; echo the cause; echo "[  FAILED  ] 2 test(s), listed below:"; exit 2'
    run "$TREE/tests/run" unit
    [ "$status" = 1 ]
    [[ $output == *"FAIL unit/test_a: 3 passed, 2 failed"* ]]
    [[ $output == *"the cause"* ]]
    last_line "5 passed, 2 failed, 0 skipped"
}

@test "a crash is a failure, and names its signal" {
    program unit test_a <<<'echo "[       OK ] first"; kill -SEGV $$'
    run "$TREE/tests/run" unit
    [ "$status" = 1 ]
    [[ $output == *"FAIL unit/test_a: 1 passed, 1 failed (signal 11)"* ]]
}

@test "a hang is a failure" {
    program unit test_a <<<'sleep 30'
    LIMIT_UNIT=1 run "$TREE/tests/run" unit
    [ "$status" = 1 ]
    [[ $output == *"1 failed (timed out or killed)"* ]]
}

@test "a bad exit status after passed tests is a failure" {
    program unit test_a <<<'echo "[  PASSED  ] 3 test(s)."; exit 1'
    run "$TREE/tests/run" unit
    [ "$status" = 1 ]
    [[ $output == *"3 passed, 1 failed (exit status 1)"* ]]
}

@test "a program that tests nothing is a failure" {
    program unit test_a <<<':'
    run "$TREE/tests/run" unit
    [ "$status" = 1 ]
    [[ $output == *"ran no test"* ]]
}

@test "a skip is no pass and names its reason" {
    program lab lab_a <<<'echo "skip: no TUN here"; echo "[  PASSED  ] 0 test(s)."; echo "[  SKIPPED ] 1 test(s), listed below:"'
    run "$TREE/tests/run" lab
    [ "$status" = 1 ]
    [[ $output == *"skip lab/lab_a: no TUN here"* ]]
    last_line "0 passed, 0 failed, 1 skipped"
}

@test "nothing to run is a failure" {
    run "$TREE/tests/run" cli
    [ "$status" = 1 ]
    last_line "0 passed, 0 failed, 0 skipped"
}

@test "a program whose source is gone does not run" {
    program unit test_a <<<'echo "[  PASSED  ] 3 test(s)."'
    rm "$TREE/tests/unit/test_a.c"
    run "$TREE/tests/run" unit
    last_line "2 passed, 0 failed, 0 skipped"
}

@test "bats files: passes, failures and skips are counted" {
    printf '@test "p" { true; }\n@test "s" { skip "not today"; }\n' >"$TREE/tests/cli/a.bats"
    run "$TREE/tests/run" cli
    [ "$status" = 0 ]
    [[ $output == *"skip cli/a.bats: s: not today"* ]]
    last_line "1 passed, 0 failed, 1 skipped"
    printf '@test "f" { echo the cause; false; }\n' >>"$TREE/tests/cli/a.bats"
    run "$TREE/tests/run" cli
    [ "$status" = 1 ]
    [[ $output == *"the cause"* ]]
    last_line "1 passed, 1 failed, 1 skipped"
}

@test "a bats file that cannot be read is a failure" {
    printf '@test "p" {\n' >"$TREE/tests/cli/a.bats"
    run "$TREE/tests/run" cli
    [ "$status" = 1 ]
}

@test "a fuzz target that dies on a seed, or has none, is a failure" {
    printf '#!/bin/sh\nfor f; do grep -q bad "$f" && kill -ABRT $$; done; exit 0\n' >"$TREE/build/fuzz-seeds/fuzz_x"
    chmod +x "$TREE/build/fuzz-seeds/fuzz_x"
    run "$TREE/tests/run" fuzz
    [ "$status" = 1 ]
    echo good >"$TREE/tests/fuzz/corpus/x/one"
    echo good >"$TREE/tests/fuzz/corpus/x/two"
    run "$TREE/tests/run" fuzz
    [ "$status" = 0 ]
    last_line "2 passed, 0 failed, 0 skipped"
    echo bad >"$TREE/tests/fuzz/corpus/x/three"
    run "$TREE/tests/run" fuzz
    [ "$status" = 1 ]
    [[ $output == *"signal 6"* ]]
}

@test "what needs root is skipped without it" {
    [ "$(id -u)" = 0 ] || skip "needs root to give it up"
    command -v setpriv >/dev/null || skip "no setpriv here"
    printf '# needs: root\n@test "p" { true; }\n' >"$TREE/tests/cli/a.bats"
    chmod -R a+rX "$TREE"
    chmod a+x "$BATS_RUN_TMPDIR" "${BATS_TEST_TMPDIR%/*}" "$BATS_TEST_TMPDIR"
    cd /
    run setpriv --reuid 65534 --regid 65534 --clear-groups env TMPDIR=/tmp HOME=/ "$TREE/tests/run" cli
    [[ $output == *"skip cli/a.bats: needs root"* ]]
    last_line "0 passed, 0 failed, 1 skipped"
    run "$TREE/tests/run" cli
    last_line "1 passed, 0 failed, 0 skipped"
}

@test "an unknown suite is named" {
    run "$TREE/tests/run" units
    [ "$status" = 1 ]
    [[ $output == *"no suite units"* ]]
}
