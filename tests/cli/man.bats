#!/usr/bin/env bats
# The manual pages against the programs. Pins: an option, default, choice or command that --help shows and the page does
# not; one that the page still shows and the program no longer has; a key of campaigns likewise; a program without a
# page; markup that a formatter warns of; a page that `make install` forgets or `make uninstall` leaves.
#
# The pages' lists are made from --help in a form that suits a script; here stands --help as a user sees it.

load ../helpers

setup()
{
    cd "$ROOT" || return 1
    unset ARGP_HELP_FMT
}

# page NAME: as plain text in one line, without what the formatter makes bold.
page()
{
    mandoc -T ascii -O width=999 "$BUILD/man/$1" | sed 's/.\x08//g' | squeeze
}

squeeze()
{
    tr -s '[:space:]' ' '
}

# The programs that have commands, with each of them; and the others.
subjects()
{
    echo rendezvous
    echo simopen
    echo synspray
    echo portspray
    echo relay
    echo mapped
    echo discover
    echo predict
    "$BUILD/bin/predict" --help | awk '/^Commands/ { on = 1; next } on && !NF { exit } on && /^  [a-z]/ { print "predict", $1 }'
    "$BUILD/bin/bench" --help | awk '$1 == "bench" && $2 ~ /^[a-z]+$/ { print "bench", $2 }'
}

# help SUBJECT: its --help.
help_of()
{
    local -a words
    read -ra words <<<"$1"
    "$BUILD/bin/${words[0]}" "${words[@]:1}" --help
}

# The long options in the option lines of a help.
options_in()
{
    grep -E '^ +(-., )?--[a-z]' | grep -oE -- '--[a-z][a-z-]*' | sort -u
}

@test "every program has a page, and nothing else has" {
    for program in "$BUILD"/bin/*; do
        [ -s "$BUILD/man/${program##*/}.1" ] || { echo "no page of ${program##*/}"; false; }
    done
    for file in bench/man/*.1; do
        name=${file##*/}
        [ -x "$BUILD/bin/${name%.1}" ] || { echo "$file is of no program"; false; }
    done
}

@test "the pages have no fault that a formatter warns of" {
    run mandoc -T lint -W warning "$BUILD"/man/*.[15]
    echo "$output"
    [ "$status" = 0 ]
    [ -z "$output" ]
}

@test "what --help says of an option stands in the page, with its default and choices" {
    subjects >"$BATS_TEST_TMPDIR/subjects"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/subjects")" -ge 12 ]
    while read -r subject; do
        text=$(page "${subject%% *}.1")
        help_of "$subject" >"$BATS_TEST_TMPDIR/help"
        # One line an option: what is indented further, or has no dash, goes on with the one before.
        awk '/^ +--?[^ ]/ { if (s) print s; s = $0; next }
             /^                    / && s { s = s " " $0; next }
             { if (s) print s; s = "" }
             END { if (s) print s }' "$BATS_TEST_TMPDIR/help" | squeeze_lines >"$BATS_TEST_TMPDIR/options"
        [ -s "$BATS_TEST_TMPDIR/options" ]
        while IFS= read -r option; do
            case $subject:$option in
            # Said once for all commands.
            *' '*:*--help\ * | *' '*:--usage\ * | *' '*:*--version\ *) option=$(grep -oE -- '--[a-z]+' <<<"$option") ;;
            esac
            [[ $text == *"$option"* ]] || { echo "man ${subject%% *} does not say: $option"; false; }
        done <"$BATS_TEST_TMPDIR/options"
    done <"$BATS_TEST_TMPDIR/subjects"
}

squeeze_lines()
{
    sed -E 's/[[:space:]]+/ /g; s/^ //; s/ $//'
}

@test "every option in a page exists" {
    for program in "$BUILD"/bin/*; do
        name=${program##*/}
        # A page may show other programs' command lines: all their options count there.
        case $name in
        bench | rendezvous | discover | predict) others=$(subjects) ;;
        *) others=$(subjects | grep -xE "$name|rendezvous") ;;
        esac
        while read -r subject; do
            help_of "$subject" | options_in
        done <<<"$others" | sort -u >"$BATS_TEST_TMPDIR/known"
        page "$name.1" | grep -oE -- '(^|[^a-z0-9-])--[a-z][a-z-]*' | grep -oE -- '--[a-z-]+' | sort -u >"$BATS_TEST_TMPDIR/shown"
        [ "$(wc -l <"$BATS_TEST_TMPDIR/shown")" -ge 4 ]
        run comm -23 "$BATS_TEST_TMPDIR/shown" "$BATS_TEST_TMPDIR/known"
        echo "in man $name, but nowhere else: $output"
        [ -z "$output" ]
    done
}

@test "every command has its section, and every section its command" {
    for program in bench predict; do
        subjects | sed -n "s/^$program //p" | sort >"$BATS_TEST_TMPDIR/commands"
        [ -s "$BATS_TEST_TMPDIR/commands" ]
        sed -nE "s/^\.Ss $program ([a-z]+).*/\1/p" "$BUILD/man/$program.1" | sort >"$BATS_TEST_TMPDIR/sections"
        diff "$BATS_TEST_TMPDIR/commands" "$BATS_TEST_TMPDIR/sections"
    done
}

@test "the modes that a page explains are the program's" {
    for program in synspray portspray relay mapped; do
        modes=$(sed -nE 's/^\.It Cm ([a-z-]+)$/\1/p' "bench/man/$program.1")
        [ -n "$modes" ]
        help=$("$BUILD/bin/$program" --help | squeeze)
        known=$(sed -E 's/.*--mode=MODE [^:]*: one of ([a-z, -]+) \(.*/\1/' <<<"${help/(the control): one of/: one of}")
        for mode in $modes; do
            [[ " ${known//,/ } " == *" $mode "* ]] || { echo "$program has no mode $mode: $known"; false; }
        done
    done
}

# keys_of SECTION: those that bench itself names when it refuses another one.
keys_of()
{
    printf '[%s]\nno-such-key = 1\n' "$1" >"$BATS_TEST_TMPDIR/bad.ini"
    "$BUILD/bin/bench" run "$BATS_TEST_TMPDIR/bad.ini" 2>&1 >/dev/null | sed -nE 's/.*use one of: ([^;]*).*/\1/p' |
        tr -d ' ' | tr ',' '\n' | sort
}

@test "punchbench-campaign(5) has the keys that bench takes, and no others" {
    for section in campaign link "technique x"; do
        keys_of "$section" >"$BATS_TEST_TMPDIR/keys"
        [ -s "$BATS_TEST_TMPDIR/keys" ]
        awk -v want="[${section% x}" '/^\.Ss / { on = index($0, want) > 0 } on && /^\.It Ic / { sub(/^\.It Ic /, ""); print }' \
            bench/man/punchbench-campaign.5 | tr -d ' ' | tr ',' '\n' | sort >"$BATS_TEST_TMPDIR/page"
        echo "[$section]: bench takes <, the page has >"
        diff "$BATS_TEST_TMPDIR/keys" "$BATS_TEST_TMPDIR/page"
    done
}

@test "make install installs every page, and make uninstall removes it" {
    # What they would do; the programs would have to be built once more to do it.
    run make -n --no-print-directory PREFIX=/p DESTDIR="$BATS_TEST_TMPDIR" install
    [ "$status" = 0 ]
    installs=$(grep -E '^install -m 644 .*/share/man/man[15]$' <<<"$output")
    run make -n --no-print-directory PREFIX=/p DESTDIR="$BATS_TEST_TMPDIR" uninstall
    [ "$status" = 0 ]
    for file in bench/man/*.[15]; do
        name=${file##*/}
        [[ $installs == *"/man/$name "* ]]
        [[ $output == *"$BATS_TEST_TMPDIR/p/share/man/man${name##*.}/$name"* ]]
    done
}
