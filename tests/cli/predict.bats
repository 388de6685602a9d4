#!/usr/bin/env bats
# The program predict. Pins: a bad trace that crashes, hangs, fills the memory, or is taken without a word; a wrong exit
# status; JSON that is no JSON; results that a seed does not repeat.

load ../helpers

setup()
{
    cd "$BATS_TEST_TMPDIR" || return 1
    {
        echo time,local,remote,mapped
        for i in 0 1 2 3 4 5 6 7; do
            echo "0.$((i))40000,10.0.0.2:$((40000 + 37 * i)),192.0.2.1:$((3478 + i)),198.51.100.7:$((23000 + 2 * i))"
        done
    } >good.csv
}

predict()
{
    timeout -k 5 60 "$BUILD/bin/predict" "$@"
}

@test "help teaches, and every command has its own" {
    run predict --help
    [ "$status" = 0 ]
    [[ $output == *evaluate* && $output == *time,local,remote,mapped* ]]
    for command in ports simulate evaluate; do
        run predict $command --help
        [ "$status" = 0 ]
        [[ $output == *"predict $command"* ]]
    done
    run predict --version
    [ "$status" = 0 ]
    [ -n "$output" ]
}

@test "usage errors are one or two clear lines and exit 1" {
    for args in "" "nonsense" "ports" "ports a b" "ports missing.csv" "ports good.csv --probes 0" "ports good.csv --after -1" \
        "ports good.csv --predictor magic" "ports good.csv --local nowhere" "simulate 7" "simulate --range 9-3" \
        "simulate --range 0-3" "simulate --step 0" "simulate --rate nan" "simulate --holes 0" \
        "simulate --ports block --range 1-10 --probes 11" "evaluate" "evaluate missing.csv" "evaluate good.csv --max 0"; do
        # shellcheck disable=SC2086
        run predict $args
        [ "$status" = 1 ] || { echo "'$args': exit $status"; false; }
        [ -n "$output" ]
        [ "${#lines[@]}" -le 3 ] || { echo "'$args': $output"; false; }
    done
}

@test "ports: the next port of a sequence, for people and as JSON" {
    run predict ports good.csv
    [ "$status" = 0 ]
    [[ $output == *sequential* && $output == *"step       +2"* ]]
    predict ports good.csv --json --top 3 >out.json
    jq -e '.behaviour.ports.value == "sequential" and .behaviour.step == 2 and (.candidates | length) == 3
           and .candidates[0].endpoint == "198.51.100.7:23016" and .candidates[0].p > 0.3 and .holes >= 1' out.json
    predict ports good.csv --json --probes 32 --after 10ms >out.json
    jq -e '.candidates[0].p > 0.98' out.json
    predict ports - --json <good.csv | jq -e '.behaviour.samples == 8'
}

@test "a bad trace is refused with its line" {
    while IFS='|' read -r line says; do
        { cat good.csv; printf '%b\n' "$line"; } >bad.csv
        for command in ports evaluate; do
            run predict $command bad.csv
            [ "$status" = 1 ] || { echo "$line: exit $status"; false; }
            [[ $output == *"line 10: "*"$says"* ]] || { echo "$line: $output"; false; }
        done
    done <<'END'
0.9,10.0.0.2:1,192.0.2.1:2,198.51.100.7:65536|1 to 65535
0.9,10.0.0.2:1,192.0.2.1:2,198.51.100.7:0|1 to 65535
0.9,10.0.0.2:1,192.0.2.1:2|four fields
0.9,10.0.0.2:1,192.0.2.1:2,198.51.100.7:5,6|four fields
soon,10.0.0.2:1,192.0.2.1:2,198.51.100.7:5|seconds
0.9,10.0.0.2:1,nobody,198.51.100.7:5|remote
|four fields
END
    head -c 100000 /dev/zero | tr '\0' x >>good.csv
    run predict evaluate good.csv
    [ "$status" = 1 ]
    [[ $output == *"longer than any sample"* ]]
    head -c 5000 /dev/urandom >noise.csv
    run predict ports noise.csv
    [ "$status" = 1 ]
    : >empty.csv
    run predict ports empty.csv
    [ "$status" = 1 ]
    echo time,local,remote,mapped >bare.csv
    run predict ports bare.csv
    [ "$status" = 1 ]
    [[ $output == *"no samples"* ]]
    run predict ports .
    [ "$status" = 1 ]
}

@test "duplicates, time that goes back, long gaps and a second family are told, counted, and survived" {
    {
        cat good.csv
        tail -n 1 good.csv
        echo "1.0,[fd00::2]:1,[2001:db8::1]:2,[2001:db8::7]:4000"
        echo "0.1,10.0.0.2:40000,192.0.2.1:3478,198.51.100.7:30000"
        echo "0.2,10.0.0.2:40000,192.0.2.1:3479,198.51.100.7:30001"
        echo "9000.1,10.0.0.2:40000,192.0.2.1:3479,198.51.100.7:50000"
        echo "9000.2,10.0.0.2:40000,192.0.2.1:3478,198.51.100.7:50001"
    } >odd.csv
    predict evaluate odd.csv --json >out.json 2>err
    jq -e '.samples == 12 and .duplicates == 1 and .restarts == 1 and .gaps == 1 and .other_family == 1 and .predictions == 9' out.json
    grep -q "line 10: the same sample" err
    grep -q "line 11: .*other family" err
    grep -q "line 12: time goes back" err
    grep -q "line 14: more than an hour" err
    # The last recording is what is predicted from.
    predict ports odd.csv --json 2>/dev/null | jq -e '.behaviour.samples == 2'
}

@test "evaluate: every predictor's hits, bits and calibration" {
    predict evaluate good.csv --json >out.json
    jq -e '.predictions == 7 and (.predictors | length) == 10
           and .predictors.mixture.hits["50"] == 7 and .predictors["+50"].hits["10"] == 7
           and .predictors["+50"].hits["1"] == 0 and .predictors.mixture.bits < 8
           and ([.predictors.mixture.calibration[].n] | add) == 7' out.json
    run predict evaluate good.csv
    [ "$status" = 0 ]
    [[ $output == *"hits @1"* && $output == *mixture* ]]
}

@test "a million lines: in seconds, in bounded memory" {
    awk 'BEGIN { print "time,local,remote,mapped"; for (i = 0; i < 1000000; i++)
        printf "%.3f,10.0.0.2:%d,192.0.2.1:3478,198.51.100.7:%d\n", i / 1000, 20000 + i % 9973, 1024 + i % 64512 }' >long.csv
    # Address space, in KB: the sanitizers need terabytes of it.
    grep -qa __asan_init "$BUILD/bin/predict" || ulimit -v 65536
    predict evaluate long.csv --max 200 --json | jq -e '.samples == 1000000 and .predictions == 200'
    predict ports long.csv --json | jq -e '.behaviour.ports.value == "sequential"'
}

@test "simulate: the closed form lies in the interval, and a seed repeats a run" {
    predict simulate --ports random --range 1024-2047 --holes 16 --probes 64 --window best --trials 200000 --json >a.json
    jq -e '.wilson99_lo < .closed and .closed < .wilson99_hi and (.closed - 0.647 | fabs) < 0.001' a.json
    predict simulate --rate 100 --after 200ms --window best --holes 16 --trials 200000 --json >b.json
    jq -e '.wilson99_lo < .closed and .closed < .wilson99_hi and (.closed - 0.927 | fabs) < 0.001' b.json
    predict simulate --trials 50 --seed 4 --json >one.json
    predict simulate --trials 50 --seed 4 --json >two.json
    predict simulate --trials 50 --seed 5 --json >three.json
    cmp one.json two.json
    run cmp -s one.json three.json
    [ "$status" = 1 ]
    run predict simulate --trials 50
    [[ $output == *"predicted"* && $output == *"closed form"* ]]
}

@test "simulate --compare: a row for every cell" {
    predict simulate --compare --trials 4 --json >rows.json
    # 2 budgets, 2 steps; rate 0 once, four rates with three kinds of traffic.
    [ "$(wc -l <rows.json)" = 52 ]
    jq -es 'all(.hits | length == 5) and all(.trials == 4)' rows.json
    run predict simulate --compare --trials 2
    [ "$status" = 0 ]
    [ "${#lines[@]}" = 54 ]
}
