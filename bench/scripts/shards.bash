# shellcheck shell=bash
# What the scripts that split a campaign share: finding bench, running one shard, putting them together.

# The program: $BENCH, or what was built here, or what is installed.
find_bench()
{
    local built
    built=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/bin/bench
    BENCH=${BENCH:-$([ -x "$built" ] && echo "$built" || command -v bench)} || true
    [ -x "$BENCH" ] || {
        echo "${0##*/}: no program bench: build it (make), or say where it is in \$BENCH" >&2
        exit 1
    }
    export BENCH
}

# run_shard I N OUT CAMPAIGN [OPTION...]: into OUT.shards/I, or on with what is there. Status 2 (an expectation that does
# not hold in this part) is no reason not to merge.
run_shard()
{
    local i=$1 n=$2 dir=$3.shards/$1 campaign=$4 status=0
    shift 4
    local resume=()
    [ -e "$dir/run.json" ] && resume=(--resume)
    "$BENCH" run "$campaign" --shard "$i/$n" --out "$dir" "${resume[@]}" "$@" || status=$?
    [ "$status" = 0 ] || [ "$status" = 2 ]
}

# merge_shards N OUT
merge_shards()
{
    local i dirs=()
    for ((i = 1; i <= $1; i++)); do
        [ -e "$2.shards/$i/run.json" ] && dirs+=("$2.shards/$i")
    done
    [ ${#dirs[@]} -gt 0 ] || {
        echo "${0##*/}: no shard has begun: see $2.shards" >&2
        return 1
    }
    "$BENCH" merge "$2" "${dirs[@]}"
}

# check_arguments N OUT CAMPAIGN
check_arguments()
{
    [[ ${1-} =~ ^[1-9][0-9]{0,3}$ ]] && [ -n "${2-}" ] && [ -n "${3-}" ] && [ ! -e "$2/run.json" ]
}
