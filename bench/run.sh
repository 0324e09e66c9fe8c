#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The benchmark: what each strategy costs, in instructions, time and memory. `make bench` runs it.

usage() {
    cat <<'END'
Usage: bench/run.sh [OPTION]... TRACE...
Measure every strategy, on recorded traces and with growing numbers of free blocks.

  --json             one JSON object a line, for each figure and each geometric mean
  --only LIST        of instructions, time, footprint, growth: only these, with commas between
  --strategies LIST  only these, with commas between; a plug-in by its path
  --growth LIST      numbers of free blocks (default 100,1000,10000,100000,1000000)
  --rounds N         how often the time is taken; strategies take turns (default 5)
  --help             show this

instructions  an operation of a trace on the bare core, by callgrind, net of the replay loop
time          the same in nanoseconds: the least of the rounds, and their median
footprint     the smallest region in which the trace completes, over the peak of its live bytes
growth        a malloc and a free among so many scattered free blocks, in instructions

Environment: top_builddir, where hmm and the programs of bench/ are (default: .).
END
}

die() {
    echo "bench: $*" >&2
    exit 2
}

build=${top_builddir:-.}
hmm=$build/hmm
json=no
only=instructions,time,footprint,growth
strategies=
growth=100,1000,10000,100000,1000000
rounds=5

while [ $# -gt 0 ]; do
    case $1 in
    --help)
        usage
        exit 0
        ;;
    --json) json=yes ;;
    --only | --strategies | --growth | --rounds)
        [ $# -gt 1 ] || die "option '$1' needs a value"
        option=${1#--}
        shift
        eval "$option=\$1"
        ;;
    --)
        shift
        break
        ;;
    -*) die "unknown option '$1'; --help names all" ;;
    *) break ;;
    esac
    shift
done

for part in $(echo "$only" | tr , ' '); do
    case $part in
    instructions | time | footprint | growth) ;;
    *) die "--only: '$part' is none of instructions, time, footprint, growth" ;;
    esac
done
case $rounds in
'' | *[!0-9]* | 0*) die "--rounds: '$rounds' is not a number from 1 on" ;;
esac
[ -x "$hmm" ] || die "no $hmm: run it by make bench"
if [ -z "$strategies" ]; then
    strategies=$("$hmm" strategies --format json | sed 's/^{"name":"\([^"]*\)".*/\1/' | tr '\n' ',')
    strategies=${strategies%,}
fi
[ "$only" = growth ] || [ $# -gt 0 ] || die 'no trace given; --help shows how'

dir=$(mktemp -d "${TMPDIR:-/tmp}/hmm-bench-XXXXXX") || exit 2
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM HUP
: >"$dir/cells"
tab=$(printf '\t')

wanted() {
    case ,$only, in
    *",$1,"*) return 0 ;;
    *) return 1 ;;
    esac
}

tell() {
    if [ -t 2 ]; then printf '\r\033[K%s' "$*" >&2; fi
}

# cell MEASURE STRATEGY ON VALUE
cell() {
    printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$dir/cells"
}

# The trace's name without its folder and endings.
name_of() {
    name=${1##*/}
    name=${name%.zst}
    name=${name%.trace}
    printf '%s' "$name" | tr '\t\n' '  '
}

# of_callgrind MEASURE ON PROGRAM ARGUMENT...: a cell for each strategy that the program measures.
of_callgrind() {
    measure=$1 on=$2
    shift 2
    rm -f "$dir"/cg*
    # shellcheck disable=SC2046
    valgrind --tool=callgrind --callgrind-out-file="$dir/cg" --toggle-collect='measured_*' \
        --dump-after=measured_nothing --dump-after=measured_heap "$@" $(echo "$strategies" | tr , ' ') \
        >"$dir/lines" 2>"$dir/err" || {
        tail -n 5 "$dir/err" >&2
        die "$1 did not work"
    }
    n=0
    while read -r strategy count failed; do
        n=$((n + 1))
        cost=$(sed -n 's/^totals: //p' "$dir/cg.$n")
        echo "$strategy $count $failed $cost"
    done <"$dir/lines" >"$dir/costs"
    awk -v measure="$measure" -v on="$on" '
        $1 == "nothing" { nothing = $4; next }
        { value[$1] = ($4 - nothing) / $2; failed[$1] = $3; if (!seen[$1]++) order[++n] = $1 }
        END {
            for (i = 1; i <= n; i++)
                printf "%s\t%s\t%s\t%.2f\n", measure, order[i], on, value[order[i]]
        }' "$dir/costs" >>"$dir/cells"
}

have_valgrind() {
    command -v valgrind >/dev/null 2>&1 && return
    echo "bench: $1 skipped: valgrind is not installed (Debian package: valgrind)" >&2
    return 1
}

# replayed TRACE OPTION...: what hmm replay says of all strategies, as STRATEGY FIELD lines.
replayed() {
    field=$1 trace=$2
    shift 2
    "$hmm" replay --format json "$@" -- "$trace" >"$dir/json" || die "hmm replay did not work"
    sed -n 's/.*"strategy":"\([^"]*\)".*"'"$field"'":\([0-9.]*\).*/\1 \2/p' "$dir/json"
}

measure_footprint() {
    tell "footprint: $2"
    replayed smallest "$1" --smallest --runs 1 --strategy "$strategies" >"$dir/smallest"
    live=$(sed -n '1s/.*"peak_live":\([0-9]*\).*/\1/p' "$dir/json")
    while read -r strategy smallest; do
        cell footprint "$strategy" "$2" \
            "$(awk -v s="$smallest" -v l="$live" 'BEGIN { printf "%.4f", s / l }')"
    done <"$dir/smallest"
}

# The strategies take turns, and another one begins in each round.
measure_time() {
    round=0
    turn=$strategies
    : >"$dir/times"
    while [ "$round" -lt "$rounds" ]; do
        round=$((round + 1))
        tell "time: $2, round $round of $rounds"
        replayed ns_per_op "$1" --runs 1 --strategy "$turn" >>"$dir/times"
        case $turn in
        *,*) turn=${turn#*,},${turn%%,*} ;;
        esac
    done
    sort -k 1,1 -k 2,2n "$dir/times" | awk -v on="$2" '
        function end() {
            if (n == 0) return
            middle = n % 2 ? t[(n + 1) / 2] : (t[n / 2] + t[n / 2 + 1]) / 2
            printf "ns_per_op\t%s\t%s\t%.2f\n", s, on, t[1]
            printf "ns_per_op_median\t%s\t%s\t%.2f\n", s, on, middle
        }
        $1 != s { end(); s = $1; n = 0 }
        { t[++n] = $2 }
        END { end() }' >>"$dir/cells"
}

# ---- What it measures ----

if wanted instructions && have_valgrind instructions; then
    for trace in "$@"; do
        name=$(name_of "$trace")
        tell "instructions: $name"
        of_callgrind instructions_per_op "$name" "$build/bench/replay_cost" "$trace"
    done
fi
if wanted time; then
    for trace in "$@"; do
        measure_time "$trace" "$(name_of "$trace")"
    done
fi
if wanted footprint; then
    for trace in "$@"; do
        measure_footprint "$trace" "$(name_of "$trace")"
    done
fi
if wanted growth && have_valgrind growth; then
    for blocks in $(echo "$growth" | tr , ' '); do
        tell "growth: $blocks free blocks"
        of_callgrind instructions_per_pair "$blocks" "$build/bench/growth_cost" "$blocks"
    done
fi
tell ''

# ---- What it prints ----

# Strategies in the order asked for; a plug-in goes by the name it gives itself.
awk -F "$tab" -v json="$json" -v first="$strategies" \
    -v version="$("$hmm" --version)" -v host="$(uname -srm)" \
    -v cpu="$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)" '
function quote(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); return "\"" s "\"" }
function digits(m) { return m == "footprint" ? 3 : 1 }
function figure(m, s, on, v) {
    if (json == "yes")
        printf "{\"measure\":%s,\"strategy\":%s,\"on\":%s,\"value\":%s}\n",
            quote(m), quote(s), quote(on), v
}
# The geometric mean over all that it was measured on; 0 where something is missing.
function mean(m, s,    i, sum) {
    for (i = 1; i <= ons[m]; i++) {
        if (value[m, s, on[m, i]] <= 0) return 0
        sum += log(value[m, s, on[m, i]])
    }
    return exp(sum / ons[m])
}
function cell_of(m, v) { return v > 0 ? sprintf("%." digits(m) "f", v) : "-" }
function table(title, m, last,    i, j, s, w, wide) {
    if (!(m in ons)) return
    wide = 10
    for (i = 1; i <= strategy_count; i++)
        if (length(strategy[i]) > wide) wide = length(strategy[i])
    printf "%s\n%-*s", title, wide, "strategy"
    for (j = 1; j <= ons[m]; j++) printf "  %*s", width(on[m, j]), on[m, j]
    printf "  %s\n", last
    for (i = 1; i <= strategy_count; i++) {
        s = strategy[i]
        printf "%-*s", wide, s
        for (j = 1; j <= ons[m]; j++)
            printf "  %*s", width(on[m, j]), cell_of(m, value[m, s, on[m, j]])
        printf "  %*s\n", length(last), last_of(m, s)
    }
    printf "\n"
}
function width(text) { return length(text) < 6 ? 6 : length(text) }
# What has grown: the most over the first.
function growth(s,    i, most, m) {
    m = "instructions_per_pair"
    for (i = 1; i <= ons[m]; i++)
        if (value[m, s, on[m, i]] > most) most = value[m, s, on[m, i]]
    return ons[m] > 0 && value[m, s, on[m, 1]] > 0 ? most / value[m, s, on[m, 1]] : 0
}
function last_of(m, s) {
    if (m == "instructions_per_pair") return sprintf("%.2f", growth(s))
    return cell_of(m, mean(m, s))
}
{
    if (!(($1, $3) in seen)) { seen[$1, $3] = 1; on[$1, ++ons[$1]] = $3 }
    if (!($2 in known)) { known[$2] = 1; strategy[++strategy_count] = $2 }
    value[$1, $2, $3] = $4
    figure($1, $2, $3, $4)
}
END {
    if (json == "yes") {
        for (i = 1; i <= strategy_count; i++) {
            s = strategy[i]
            for (m in ons) {
                if (m == "instructions_per_pair")
                    figure("growth", s, "most over first", sprintf("%.3f", growth(s)))
                else
                    figure(m, s, "geometric mean", sprintf("%.4f", mean(m, s)))
            }
        }
        exit
    }
    printf "%s on %s%s\n\n", version, host, cpu != "" ? ", " cpu : ""
    table("Instructions an operation, bare core, net of the replay loop", "instructions_per_op",
          "geometric mean")
    table("Nanoseconds an operation, net of the replay loop, the least of the rounds", "ns_per_op",
          "geometric mean")
    table("Nanoseconds an operation, median of the rounds", "ns_per_op_median", "geometric mean")
    table("Footprint: smallest region over peak live", "footprint", "geometric mean")
    table("Instructions a malloc and free, by the number of free blocks", "instructions_per_pair",
          "most / first")
    printf "%-10s  %15s  %11s  %15s  %11s  %9s  %8s\n", "strategy", "instructions/op", "ns/op",
        "ns/op, median", "footprint", "at fewest", "growth"
    for (i = 1; i <= strategy_count; i++) {
        s = strategy[i]
        m = "instructions_per_pair"
        printf "%-10s  %15s  %11s  %15s  %11s  %9s  %8s\n", s,
            summary("instructions_per_op", s), summary("ns_per_op", s),
            summary("ns_per_op_median", s), summary("footprint", s),
            m in ons ? cell_of(m, value[m, s, on[m, 1]]) : "-",
            m in ons ? sprintf("%.2f", growth(s)) : "-"
    }
}
function summary(m, s) { return m in ons ? cell_of(m, mean(m, s)) : "-" }
' "$dir/cells"
