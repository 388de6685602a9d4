#!/usr/bin/env bats
# bench report, compare and check on recorded results. Pins: a wrong number on the page or in a plot's data, text from
# records that becomes markup or a command, records that are counted although they are torn, doubled or newer, a report
# that destroys what was there when it fails, an exit status that says the opposite.

load ../helpers

setup()
{
    cd "$BATS_TEST_TMPDIR" || return 1
    export PUNCHBENCH_DATA=$ROOT/bench
    cp -r "$ROOT/tests/vectors/results-1" r
}

bench()
{
    "$BUILD/bin/bench" "$@"
}

needs_gnuplot()
{
    command -v gnuplot >/dev/null || skip "needs gnuplot"
}

one_line()
{
    [ "${#lines[@]}" = 1 ] || { printf '%s\n' "not one line:" "$output"; return 1; }
}

has()
{
    grep -qF -- "$1" "$2" || { echo "$2 lacks: $1"; return 1; }
}

# lacks GREP-OPTION PATTERN FILE...  (a bare `!` fails no test)
lacks()
{
    if grep -q"$1" -- "$2" "${@:3}"; then
        echo "found: $2"
        return 1
    fi
}

# What is in a folder, sorted, on one line.
names()
{
    find "$1" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | tr '\n' ' '
}

# trial CELL TRIAL END: a record.
trial()
{
    printf '{"schema":1,"type":"trial","cell":"%s","trial":%s,"seed":1,"technique":"simopen","mode":"plain","transport":"tcp",%s}\n' "$1" "$2" "$3"
}

# campaign DIR: a folder whose campaign has one cell, and no trial.
campaign()
{
    mkdir -p "$1"
    echo '{"schema":1,"type":"run","campaign":{"name":"one","techniques":[]},"cells":[{"cell":"a/b/simopen/rtt40","seed":1}]}' >"$1/run.json"
    : >"$1/trials.jsonl"
}

# ---- check ---------------------------------------------------------------------------------------

@test "check: a line for each cell that is not as expected, status 2; 0 when all are" {
    run bench check r
    [ "$status" = 2 ]
    [ "${#lines[@]}" = 2 ]
    [[ ${lines[0]} == "not as expected: home/phone/tcp-8x8/rtt40: 2 of 10 ok, but r says */*/tcp-8x8 = >= 50%" ]]
    [[ ${lines[1]} == "r: 10 cells, 0 without a trial, 5 with an expectation, 1 not as expected" ]]
    jq '.campaign.expect = ["*/*/none = 0%", "*/*/* = <= 100%"]' r/run.json >x && mv x r/run.json
    run bench check r
    [ "$status" = 0 ]
    # The last line that matches rules.
    jq '.campaign.expect = ["*/*/* = 0%", "*/*/* = <= 100%", "home/office/udp-8x8/rtt40 = 0%"]' r/run.json >x && mv x r/run.json
    run bench check r
    [ "$status" = 2 ]
    [[ ${lines[0]} == *"home/office/udp-8x8/rtt40: 10 of 10 ok"* ]]
}

@test "check: cells without a trial are counted, not judged; an unreadable expectation is an error" {
    campaign one
    jq '.campaign.expect = ["*/*/* = 100%"]' one/run.json >x && mv x one/run.json
    run bench check one r
    [ "$status" = 2 ]
    [[ ${lines[0]} == "one: 1 cells, 1 without a trial, 0 with an expectation, 0 not as expected" ]]
    jq '.campaign.expect = ["nonsense"]' one/run.json >x && mv x one/run.json
    run bench check one
    [ "$status" = 1 ]
    one_line
}

# ---- compare -------------------------------------------------------------------------------------

@test "compare --techniques: rates, Newcombe's interval, Fisher's test, medians; status 0" {
    run bench compare r --techniques tcp-8x8,udp-8x8 --csv
    [ "$status" = 0 ]
    [ "${#lines[@]}" = 3 ]
    # 8/10 - 10/10: Newcombe -0.5098 to 0.1124; Fisher 9/19; medians 64.5 and 45.5 ms.
    [[ ${lines[1]} == home/office/tcp-8x8/rtt40,home/office/udp-8x8/rtt40,10,8,10,10,0,-0.2,-0.509*,0.112*,0.47368421*,0.947*,19000000,* ]]
    run bench compare r --techniques tcp-8x8,udp-8x8
    [ "$status" = 0 ]
    [[ $output == *"-20.0 [-51.0, +11.2]"* && $output == *"2 compared"* && $output == *"Fisher"* ]]
    run bench compare r --techniques tcp-8x8,udp-8x8 --json
    [ "$(echo "$output" | jq -s 'length')" = 2 ]
    [ "$(echo "$output" | jq -s '.[0].a.ok, .[0].b.ok, .[0].median_difference_ns' | tr '\n' ' ')" = "8 10 19000000 " ]
    # Three successes do not bound a median: null, not a number.
    [ "$(echo "$output" | jq -s '.[1].median_difference_lo_ns')" = null ]
}

@test "compare --paired: the trials of one number are a pair" {
    run bench compare r --techniques udp-8x8,tcp-2x2 --paired --csv
    [ "$status" = 0 ]
    # 7 trials that only the first won, none that only the second won: p = 2 / 2^7.
    [[ ${lines[1]} == *,1,0.7,*,*,0.015625,0.03125,* ]]
}

@test "compare A B: the same run twice does not differ; status 0, and 2 when a cell does" {
    cp -r r s
    run bench compare r s
    [ "$status" = 0 ]
    [[ $output == *"10 compared; 0 differ"* ]]
    sed -i '/home.office.udp-8x8/s/"outcome":"ok","path":"direct","connect_ns":[0-9]*/"outcome":"timeout","connect_ns":null/' s/trials.jsonl
    run bench compare r s
    [ "$status" = 2 ]
    [[ $output == *"10 compared; 1 differ"* ]]
}

@test "compare A B names the cells that only one has; nothing in common is an error" {
    cp -r r s
    sed -i '/home.office.none/d' s/trials.jsonl
    run bench compare r s
    [ "$status" = 0 ]
    [[ $output == *"only in r: home/office/none/rtt40"* && $output == *"9 compared"* ]]
    campaign one
    trial a/b/simopen/rtt40 0 '"outcome":"timeout"' >one/trials.jsonl
    run bench compare r one
    [ "$status" = 1 ]
    [[ $output == *"nothing was compared"* ]]
}

@test "compare: bad command lines, and techniques that are not there" {
    for args in "compare" "compare r" "compare r r r" "compare r --techniques a" "compare r --techniques a,b,c" \
        "compare r r --techniques a,b" "compare r --techniques a,b --json --csv" "check" "report" "report r r"; do
        # shellcheck disable=SC2086
        run bench $args
        [ "$status" = 1 ]
    done
    run bench compare r --techniques tcp-8x8,nonsense
    [ "$status" = 1 ]
    one_line
    [[ $output == *"'nonsense'"*"tcp-2x2, tcp-8x8, udp-2x2, udp-8x8, none"* ]]
}

# ---- reading -------------------------------------------------------------------------------------

@test "a folder without run.json, none at all, and one without trials: one line, status 1, nothing written" {
    needs_gnuplot
    mkdir empty half
    cp r/run.json half/
    for d in empty half nowhere; do
        for c in report check; do
            run bench $c $d
            [ "$status" = 1 ]
            one_line
            [[ $output == *"$d"* ]]
        done
    done
    [ -z "$(names empty)" ]
    [ "$(names half)" = "run.json " ]
}

@test "a newer schema is refused, in run.json and in a record" {
    sed -i '1s/"schema":1/"schema":2/' r/trials.jsonl
    run bench check r
    [ "$status" = 1 ]
    one_line
    [[ $output == *"line 1"*"newer version"* ]]
    jq '.schema = 2' r/run.json >x && mv x r/run.json
    run bench check r
    [ "$status" = 1 ]
    one_line
    [[ $output == *"newer version"* ]]
}

@test "a torn last line does not count and is said; one in the middle is an error, as is a trial that is there twice" {
    head -c -20 r/trials.jsonl >x && cp x r/trials.jsonl
    run bench check r
    [ "$status" = 2 ]
    [[ ${lines[0]} == *"torn"* ]]
    # That was the last trial of home/phone/none.
    run bench compare r "$ROOT/tests/vectors/results-1" --csv
    [[ $output == *home/phone/none/rtt40,home/phone/none/rtt40,9,0,10,0,* ]]
    { cat x; echo; cat r/trials.jsonl; } >r/trials.jsonl.new && mv r/trials.jsonl.new r/trials.jsonl
    run bench check r
    [ "$status" = 1 ]
    one_line
    [[ $output == *"line 100: no trial record"* ]]
    cp "$ROOT/tests/vectors/results-1/trials.jsonl" r/
    head -1 "$ROOT/tests/vectors/results-1/trials.jsonl" >>r/trials.jsonl
    run bench check r
    [ "$status" = 1 ]
    one_line
    [[ $output == *"line 101: trial 0 of home/office/tcp-2x2/rtt40 is there twice"* ]]
}

@test "packed trials are read; a torn packing is an error" {
    gzip r/trials.jsonl
    run bench check r
    [ "$status" = 2 ]
    [[ $output == *"10 cells, 0 without a trial"* ]]
    head -c 500 r/trials.jsonl.gz >x && mv x r/trials.jsonl.gz
    run bench check r
    [ "$status" = 1 ]
    [[ $output == *"gzip"* ]]
}

# ---- the report ----------------------------------------------------------------------------------

@test "report: the page and every plot, with the right numbers" {
    needs_gnuplot
    run bench report r
    [ "$status" = 0 ]
    [ "$output" = "report: r/report.html" ]
    [ "$(names r)" = "plots report.html run.json trials.jsonl " ]
    # No plot is missing, none is empty, and each is on the page.
    [ "$(names r/plots | grep -o '\.svg ' | wc -l)" = 19 ]
    [ "$(names r/plots | grep -o '\.tsv ' | wc -l)" = 19 ]
    for f in r/plots/*.svg; do
        [ "$(grep -v '^$' "$f" | tail -1)" = "</svg>" ]
        has "${f#r/}" r/report.html
    done
    [ "$(grep -c '^<svg ' r/report.html)" = 19 ]
    # 3 of 10: Wilson 10.8 to 60.3.
    has '<td class="n">3/10</td><td class="n">30.0 [10.8, 60.3]</td><td class="n">35.0</td>' r/report.html
    # The median of 61 to 68 ms.
    has '<td class="n">64.5 [' r/report.html
    has '100 trials in 10 cells' r/report.html
    has '1 of 5 cells with an expectation are not as expected' r/report.html
    has '5 predict_miss, 1 refused, 1 timeout: window_check' r/report.html
    has 'Halkes, Pouwelse' r/report.html
    # The plots' data: x, y, percent, text, dark ground, no frame.
    [ "$(head -2 r/plots/heatmap-tcp-8x8.tsv)" = "$(printf '0\t0\t80.0000\t80\t0\t0\n1\t0\t20.0000\t20\t1\t0')" ]
    # A curve ends at the success rate: 10 of 20.
    [ "$(awk '/^tcp-8x8/ {on = 1} on && !NF {exit} on {last = $2} END {print last}' r/plots/cdf.tsv)" = 50 ]
    # The stacked bars are whole.
    for f in failures failures-cells; do
        [ "$(awk '$1 == 1 {sum += $3 - $2} END {print sum}' r/plots/$f.tsv)" = 100 ]
    done
    has "$(printf '64\t80\t49.016\t94.332')" r/plots/budget-home-office.tsv
    has "$(printf '85\t80\t49.016\t94.332')" r/plots/calibration.tsv
    has "$(printf '0\t-20.0000\t-50.98')" r/plots/difference-tcp-8x8-udp-8x8.tsv
    # The numbers stand in the picture, too.
    has '<text>80</text>' r/plots/heatmap-tcp-8x8.svg
}

@test "report: which techniques stand beside which is said, and can be asked for" {
    needs_gnuplot
    bench report r
    has '<li>tcp-2x2 (tcp) minus udp-2x2 (udp)</li>' r/report.html
    has '<li>tcp-8x8 (tcp) minus udp-8x8 (udp)</li>' r/report.html
    run bench report r --techniques tcp-2x2,udp-8x8 --out other
    [ "$status" = 0 ]
    has '<li>tcp-2x2 (tcp) minus udp-8x8 (udp)</li>' other/report.html
    has 'Without a counterpart: tcp-8x8, udp-2x2.' other/report.html
    [ -s other/plots/difference-tcp-2x2-udp-8x8.svg ]
    run bench report r --techniques tcp-2x2,nonsense
    [ "$status" = 1 ]
    one_line
    run bench report r --techniques tcp-2x2
    [ "$status" = 1 ]
}

@test "report: many NAT pairs: maps of differences and medians, what remains after adjustment, tables folded" {
    needs_gnuplot
    mkdir many
    # 36 pairs; over TCP n4/n4 fails and n0/n1 fails once, over UDP nothing does; UDP takes 40 ms, TCP 1.2 s.
    awk 'BEGIN {
        for (a = 0; a < 6; a++) for (b = 0; b < 6; b++) for (t = 0; t < 2; t++) for (i = 0; i < 20; i++) {
            lost = !t && ((a == 4 && b == 4) || (a == 0 && b == 1 && i == 7))
            end = lost ? "\"outcome\":\"timeout\"" : sprintf("\"outcome\":\"ok\",\"connect_ns\":%d", t ? 40000000 : 1200000000)
            printf "{\"schema\":1,\"type\":\"trial\",\"cell\":\"n%d/n%d/%s/rtt40\",\"trial\":%d,\"seed\":1,\"technique\":\"x\",\"mode\":\"auto\",\"transport\":\"%s\",%s}\n",
                a, b, t ? "udp-x" : "tcp-x", i, t ? "udp" : "tcp", end
        }
    }' >many/trials.jsonl
    echo '{"schema":1,"type":"run","campaign":{"name":"many","techniques":[{"label":"tcp-x","transport":"tcp"},{"label":"udp-x","transport":"udp"}]},"cells":[]}' >many/run.json
    run bench report many
    echo "$output"
    [ "$status" = 0 ]
    # x, y, points, text, ground, frame: 5 points are within chance, 100 are not.
    has "$(printf '1\t0\t-5.0000\t-5\t0\t0')" many/plots/tcp-udp.tsv
    has "$(printf '4\t4\t-100.0000\t-100\t1\t1')" many/plots/tcp-udp.tsv
    has "$(printf '0\t0\t0.0000\t0\t2\t0')" many/plots/tcp-udp.tsv
    has 'Of 36 NAT pairs the first is better in 0 and the second in 1 (95 % intervals' many/report.html
    has 'after Holm&#39;s adjustment (1; 1 after Benjamini and Hochberg&#39;s)' many/report.html
    has "$(printf '0\t0\t1200.0000\t1.2s\t1\t0')" many/plots/median-tcp-x.tsv
    has "$(printf '4\t4\t40.0000\t40\t0\t0')" many/plots/median-udp-x.tsv
    # No median where nothing succeeded; no curves of each pair.
    lacks E '^4[[:space:]]4[[:space:]]' many/plots/median-tcp-x.tsv
    [ -z "$(find many/plots -name 'cdf-pair*')" ]
    has '<details><summary>tcp-x, rtt40: 36 cells' many/report.html
    run bench compare many --techniques tcp-x,udp-x
    [[ $output == *"of 36 intervals 1 exclude 0 (0 above, 1 below), without any difference up to 2 would by chance; 1 differ after Holm"* ]]
}

@test "report, check and compare say the same of brief records, of packed ones, and in any order" {
    needs_gnuplot
    bench report r
    bench check r >checked || true
    bench compare r --techniques tcp-8x8,udp-8x8 >compared
    mkdir -p brief/r order/r
    cp r/run.json brief/r
    cp r/run.json order/r
    bench brief r | xz >brief/r/trials.jsonl.xz
    tac r/trials.jsonl >order/r/trials.jsonl
    for d in brief order; do
        bench report $d/r
        cmp r/report.html $d/r/report.html
        diff -r r/plots $d/r/plots
        (cd $d && bench check r) | cmp - checked
        (cd $d && bench compare r --techniques tcp-8x8,udp-8x8) | cmp - compared
    done
}

@test "brief: successes lose the sides' times and places, failures nothing; twice is once" {
    campaign one
    local side='{"role":"a","mapped":"192.0.2.1:9","holes":7,"connect_ns":5,"phases_ns":{"join":1},"errors":{}}'
    {
        trial a/b/simopen/rtt40 0 "\"outcome\":\"ok\",\"connect_ns\":41000000,\"predicted_p\":0.990025,\"phases_ns\":{\"join\":3},\"a\":$side,\"b\":null,\"nats\":[{}]"
        trial a/b/simopen/rtt40 1 "\"outcome\":\"timeout\",\"a\":$side,\"nats\":[{}]"
    } >one/trials.jsonl
    run bench brief one
    [ "$status" = 0 ]
    [ "${#lines[@]}" = 2 ]
    [ "${lines[0]}" = '{"schema":1,"type":"trial","cell":"a/b/simopen/rtt40","trial":0,"seed":1,"technique":"simopen","mode":"plain","transport":"tcp","outcome":"ok","connect_ns":41000000,"predicted_p":0.990025,"phases_ns":{"join":3},"a":{"role":"a","holes":7,"errors":{}},"b":null,"brief":true}' ]
    [ "${lines[1]}" = "$(tail -1 one/trials.jsonl)" ]
    bench brief one >x && cp x one/trials.jsonl
    bench brief one | cmp - x
    # What is no record is no success without details.
    echo '{"schema":1,"type":"trial"}' >>one/trials.jsonl
    run bench brief one
    [ "$status" = 1 ]
    [[ $output == *"line 3: no trial record"* ]]
    run bench brief nowhere
    [ "$status" = 1 ]
    one_line
    run bench brief
    [ "$status" = 1 ]
}

@test "check: of predicted cells, how many are as predicted, and which are not" {
    campaign one
    jq '.campaign.expect = ["*/*/* = predicted"]' one/run.json >x && mv x one/run.json
    for i in $(seq 0 19); do
        trial a/b/simopen/rtt40 "$i" '"outcome":"ok","connect_ns":41000000,"predicted_p":0.9'
        trial a/c/simopen/rtt40 "$i" '"outcome":"timeout","predicted_p":0.18'
        trial a/d/simopen/rtt40 "$i" '"outcome":"infeasible","predicted_p":0.001'
    done >one/trials.jsonl
    run bench check one
    [ "$status" = 0 ]
    [[ $output == *"0/20    0.0 %    0.0 -  16.1 %   18.00 %"*"yes  a/c/simopen/rtt40"* ]]
    [[ $output == *"as predicted: 1 of 2 cells (50.0 %) that are expected to be, 1 of 2 (50.0 %) of all"*"up to 0 lie outside"*"0 remain outside after Holm"* ]]
    [[ $output == *"1 further cells were called infeasible in every trial"* ]]
    # 40 % is too much for none of 20: 0.6^20 is 1 in 27,000.
    sed -i 's/"predicted_p":0.18/"predicted_p":0.4/' one/trials.jsonl
    run bench check one
    [ "$status" = 2 ]
    [[ $output == *"not as expected: a/c/simopen/rtt40"*"1 remain outside after Holm"* ]]
}

@test "report: self-contained, without scripts; a second one replaces the first" {
    needs_gnuplot
    bench report r
    sed 's#http://www.w3.org/[^"]*##g' r/report.html >page
    lacks iE '<script|<link|<img|@import|https?://' page
    cp r/report.html first.html
    echo mine >r/plots/notes.txt
    touch r/plots/old.svg
    run bench report r
    # What is not ours is not taken away, and the report says so.
    [ "$status" = 1 ]
    one_line
    [ -e r/plots/notes.txt ]
    rm -r r/plots
    bench report r
    cmp r/report.html first.html
    [ "$(names r)" = "plots report.html run.json trials.jsonl " ]
}

@test "report: text from records is text, in the page, in the plots and for gnuplot" {
    needs_gnuplot
    campaign one
    local evil='<script>alert(1)</script>\"'"'"'`touch pwned`\u0001$(touch pwned);\\n{/a^b_}%s#\t'
    {
        trial "a/b/simopen/rtt40" 0 '"outcome":"ok","connect_ns":41000000'
        trial "$evil/b/simopen/rtt40" 0 '"outcome":"ok","connect_ns":41000000'
        trial "x/y/$evil/rtt40" 0 '"outcome":"ok","connect_ns":41000000'
        trial "x/y/simopen/$evil" 0 "\"outcome\":\"timeout\",\"a\":{\"why\":\"$evil\"}"
        trial "$evil" 0 '"outcome":"ok","connect_ns":41000000'
    } >one/trials.jsonl
    jq --arg e '<b>&"' '.version = $e | .campaign.name = $e' one/run.json >x && mv x one/run.json
    run bench report one
    echo "$output"
    [ "$status" = 0 ]
    lacks i '<script' one/report.html one/plots/*.svg
    has '&lt;script&gt;alert(1)' one/report.html
    has '&lt;b&gt;&amp;&quot;' one/report.html
    [ -z "$(find . -name 'pwned*')" ]
    # Control characters are in neither.
    lacks P '[\x01-\x08]' one/report.html one/plots/*.svg
    # File names are plain.
    names one/plots >list
    lacks E '[^A-Za-z0-9._ -]' list
}

@test "report: no trial, one cell, one trial, all failures" {
    needs_gnuplot
    campaign none
    bench report none
    has '1 cells have no trial yet' none/report.html
    campaign one
    trial a/b/simopen/rtt40 0 '"outcome":"ok","connect_ns":41000000' >one/trials.jsonl
    bench report one
    has '<td class="n">1/1</td>' one/report.html
    campaign failed
    for i in 0 1 2; do trial a/b/simopen/rtt40 $i '"outcome":"timeout"'; done >failed/trials.jsonl
    bench report failed
    has 'No trial succeeded' failed/report.html
    has '3 timeout' failed/report.html
    # A campaign without a cell.
    campaign nothing
    jq '.cells = []' nothing/run.json >x && mv x nothing/run.json
    run bench report nothing
    echo "$output"
    [ "$status" = 0 ]
    has '0 trials in 0 cells' nothing/report.html
}

@test "report: several folders need --out, and stay apart" {
    needs_gnuplot
    campaign home
    trial home/office/tcp-8x8/rtt40 0 '"outcome":"ok","connect_ns":41000000' >home/trials.jsonl
    bench report r home --out both
    has 'r: rtt40' both/report.html
    has 'home: rtt40' both/report.html
    has '<td class="n">1/1</td>' both/report.html
    has '<td class="n">8/10</td>' both/report.html
    [ "$(names r)$(names home)" = "run.json trials.jsonl run.json trials.jsonl " ]
}

@test "report: without gnuplot, and with a folder that cannot be written: one line, status 1, nothing left over" {
    mkdir bin
    run env PATH="$PWD/bin" "$BUILD/bin/bench" report r
    [ "$status" = 1 ]
    one_line
    [[ $output == *"gnuplot is missing"*"gnuplot-nox"* ]]
    [ "$(names r)" = "run.json trials.jsonl " ]
    # gnuplot that fails.
    printf '#!/bin/sh\necho "\\"heat.gp\\" line 1: no good" >&2\nexit 1\n' >bin/gnuplot
    chmod +x bin/gnuplot
    run env PATH="$PWD/bin:$PATH" "$BUILD/bin/bench" report r
    [ "$status" = 1 ]
    one_line
    [[ $output == *"gnuplot failed"*"no good"* ]]
    [ "$(names r)" = "run.json trials.jsonl " ]
    run bench report r --out r/run.json
    [ "$status" = 1 ]
    one_line
}
