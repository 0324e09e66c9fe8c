# shellcheck shell=sh disable=SC2016
# SPDX-License-Identifier: MIT
#
# Running one process and keeping what it says. Part of bench/run.sh, which sets what is used here:
# for each line of the plan the allocator, as $name, $kind_of, $file, $strategy and $cache.
#
# A line of $dir/samples: MEASURE, allocator, what it was measured on, value. Several of the same
# measure, allocator and on are samples of one figure.

: "${dir:?}" "${build:?}" "${awk:?}" "${tab:?}"

# The trace's name without its folder and endings.
name_of() {
    label=${1##*/}
    label=${label%.zst}
    label=${label%.trace}
    printf '%s' "$label" | tr '\t\n /' '    ' | tr ' ' _
}

sample() {
    printf '%s\t%s\t%s\t%s\n' "$1" "${name:?}" "$2" "$3" >>"$dir/samples"
}

target() {
    case ${kind_of:?} in
    adapter) echo "${file:?}" ;;
    *) echo "$kind_of" ;;
    esac
}

# as_allocator COMMAND...: with the allocator in the place of malloc, and its settings.
as_allocator() {
    { (
        unset LD_PRELOAD
        case $kind_of,$file in
        malloc,[!-]*) export LD_PRELOAD="$file" ;;
        esac
        unset HMM_STRATEGY HMM_CACHE HMM_CHECK HMM_STATS HMM_VERBOSE HMM_HEAP_SIZE
        [ "${strategy:?}" = - ] || export HMM_STRATEGY="$strategy"
        [ "${cache:?}" = - ] || export HMM_CACHE="$cache"
        exec "$@" >"$dir/out"
    ); } 2>"$dir/err"
}

# worked STATUS ON: says so where it did not.
worked() {
    if [ "$1" -ne 0 ]; then
        note "$name on $2: $(grep -v '^==' "$dir/err" | tail -n 1 | grep . ||
            echo "ended with status $1")"
        return 1
    fi
    if grep -q '^failed ' "$dir/out"; then
        note "$name on $2: did not serve all requests"
        return 1
    fi
}

value_of() {
    sed -n "s/^$1 //p" "$dir/out"
}

# samples MEASURE ON WORD: each line that begins with the word.
samples() {
    for value in $(value_of "$3"); do
        sample "$1" "$2" "$value"
    done
}

# What the measuring program itself has resident where malloc is what is measured: own PROGRAM...
own() {
    [ "$kind_of" = malloc ] || {
        echo 0
        return
    }
    key=$dir/own.$(echo "$*" | tr -c 'a-zA-Z0-9\n' _)
    [ -e "$key" ] || "$@" >"$key" || exit 2
    sed -n 's/^resident //p' "$key"
}

have_valgrind() {
    command -v valgrind >/dev/null 2>&1 && return
    [ -e "$dir/no-valgrind" ] ||
        note "valgrind is not installed, so no $1 (Debian package: valgrind)"
    : >"$dir/no-valgrind"
    return 1
}

# Some 400 bytes for a free block, the live one behind it and what is kept of them.
enough_memory() {
    free=$(sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo)
    [ $(($1 * 2 / 5)) -lt "${free:-2000000}" ] && return
    note "growth: not enough memory for $1 free blocks"
    return 1
}

# ---- On a trace: NAME PACKED-TRACE [PEAK-LIVE] ----

measure_time() {
    as_allocator "$build/bench/replay" time "$(target)" "$2" 3
    worked $? "$1" || return 0
    samples ns_per_op "$1" warm
    samples first_ns_per_op "$1" first
}

measure_memory() {
    as_allocator "$build/bench/replay" memory "$(target)" "$2"
    worked $? "$1" || return 0
    mine=$(own "$build/bench/replay" memory nothing "$2")
    sample resident "$1" "$("$awk" -v v="$(value_of resident)" -v mine="$mine" -v live="$3" \
        'BEGIN { printf "%.5f", (v - mine) / live }')"
}

measure_footprint() {
    as_allocator "$build/bench/replay" fits "$(target)" "$2"
    worked $? "$1" || return 0
    sample footprint "$1" "$("$awk" -v v="$(value_of smallest)" -v live="$3" \
        'BEGIN { printf "%.5f", v / live }')"
}

# counted COMMAND...: under callgrind, what it has cost to run each function that begins with
# "measured_", each time, in $dir/totals.
counted() {
    rm -f "$dir/callgrind"
    as_allocator valgrind --tool=callgrind --combine-dumps=yes \
        --callgrind-out-file="$dir/callgrind" --toggle-collect='measured_*' \
        --dump-after=measured_nothing --dump-after=measured_nothing_adapted \
        --dump-after=measured_malloc --dump-after=measured_adapter --dump-after=measured_free "$@"
    status=$?
    sed -n 's/^totals: //p' "$dir/callgrind" >"$dir/totals" || status=1
    return $status
}

measure_instructions() {
    counted "$build/bench/replay" once "$(target)" "$2"
    worked $? "$1" || return 0
    sample instructions_per_op "$1" "$("$awk" -v ops="$(value_of operations)" '
        { cost[NR] = $1 }
        END { printf "%.4f", (cost[2] - cost[1]) / ops }' "$dir/totals")"
}

# ---- With threads: PATTERN THREADS ----

measure_threads() {
    as_allocator "$build/bench/threads" time "$(target)" "$1" "$2"
    worked $? "$1/$2" || return 0
    samples threads_ns_per_op "$1/$2" cpu
    samples threads_wall_ns_per_op "$1/$2" wall
}

measure_threads_memory() {
    as_allocator "$build/bench/threads" memory malloc "$1" "$2"
    worked $? "$1/$2" || return 0
    mine=$(own "$build/bench/threads" memory nothing "$1" "$2")
    sample threads_resident "$1/$2" $(($(value_of resident) - mine))
}

# ---- Many free blocks ----

# counted_operations ON ARGUMENT...: of bench/growth; "MEAN WORST WORST-AS" in $dir/costs.
counted_operations() {
    on=$1 at_start=yes
    shift
    ! grep -q '^#define HAVE_VALGRIND' "$build/config.h" || at_start=no
    counted --instr-atstart=$at_start "$build/bench/growth" "$(target)" "$@"
    worked $? "$on" || return 1
    paste "$dir/out" "$dir/totals" | "$awk" '
        $1 ~ /^nothing-/ { nothing[substr($1, 9)] = $2; next }
        $1 == "blocks" { next }
        { cost = $2 - nothing[$1]; sum += cost; n[$1]++ }
        cost > worst { worst = cost; as = $1 }
        END { if (n["malloc"] > 0) printf "%.3f %d %s\n", sum / n["malloc"], worst, as }' \
        >"$dir/costs"
    [ -s "$dir/costs" ]
}

measure_growth() {
    counted_operations "$1 free blocks" scattered "$1" || return 0
    read -r mean most _ <"$dir/costs"
    sample instructions_per_pair "$1" "$mean"
    sample worst_of_pairs "$1" "$most"
}

measure_heap() {
    counted_operations "a heap of $1" scattered 16 "$2" || return 0
    read -r mean most _ <"$dir/costs"
    sample instructions_per_pair_by_heap "$1" "$mean"
    sample worst_by_heap "$1" "$most"
}

measure_worst() {
    counted_operations "$1/$2" "$1" "$2" || return 0
    read -r _ most _ <"$dir/costs"
    sample worst_instructions "$1/$2" "$most"
}

# ---- Where it was measured ----

# package FILE: which version of which Debian package the file is of, where that can be known.
package() {
    real=$(readlink -f "$1") || return 0
    owner=$(dpkg-query -S "$real" 2>"$dir/err" ||
        dpkg-query -S "/usr$real" 2>"$dir/err") || return 0
    dpkg-query -W -f '${Package} ${Version}' "${owner%%: *}" 2>"$dir/err"
}

# "KEY: value" lines.
machine() {
    echo "hmm: $("$build/hmm" --version | sed 's/^hmm //')"
    echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sed -n 1p), $(
        getconf _NPROCESSORS_ONLN) processors, $(
        "$awk" '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)"
    echo "system: $(uname -srm)$(sed -n 's/^PRETTY_NAME="\(.*\)"/, \1/p' /etc/os-release)"
    echo "compiler: $(sed -n 's/^CC = //p' "$build/Makefile") $(
        sed -n 's/^CFLAGS = //p' "$build/Makefile"), $(
        $(sed -n 's/^CC = //p' "$build/Makefile") --version | sed -n 1p)"
    echo "huge pages: $(sed 's/.*\[\(.*\)\].*/\1/' /sys/kernel/mm/transparent_hugepage/enabled)"
    while IFS=$tab read -r name kind_of file strategy cache kind; do
        case $kind in
        peer)
            [ "$file" != - ] || file=$(malloc_of '')
            echo "$name: $(package "$file") (${file##*/})"
            ;;
        own | adapter) echo "$name: ${file##*/}" ;;
        esac
    done <"$dir/allocators"
    echo "date: $(date -u +%Y-%m-%d)"
}
