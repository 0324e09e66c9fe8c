#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The benchmark: every strategy beside the allocators that are installed. `make bench` runs it.
# First it makes a plan, a line for each process that is to be run; then it carries the plan out,
# with each line adding samples; then report.py makes of the samples what is shown.

usage() {
    cat <<'END'
Usage: bench/run.sh [OPTION]... TRACE...
Measure the time and the memory that hmm takes, and other allocators, on recorded traces, with
several threads, and with growing numbers of free blocks.

  --only LIST        of time, memory, footprint, instructions, threads, growth, worst: only these
  --instructions     count instructions on the traces too, by callgrind (takes longer)
  --strategies LIST  of hmm (default: all); a plug-in by its path
  --hmm LIST         of front, plain, cached, bare, or none (default: all)
  --peers LIST       of glibc, jemalloc, mimalloc, tcmalloc, or none (default: all found)
  --adapter FILE     measure the allocator of this adapter too (bench/adapter.h); may be repeated
  --preload FILE     measure this malloc library too; may be repeated
  --threads LIST     numbers of threads (default 1,2,4,8)
  --growth LIST      numbers of free blocks (default 10,1000,100000,1000000,10000000)
  --worst LIST       the same for the search for the worst operation (default 1000,100000)
  --heaps LIST       heap sizes, with K, M or G (default 1K,64K,1M,64M,1G,16G)
  --rounds N         how often times are taken; allocators take turns (default 5)
  --json             print one JSON object for each figure, and no table
  --output FOLDER    where the files go (default bench-results)
  --results          write bench/RESULTS.md and bench/results.svg in the source folder as well
  --help             show this

Lists have commas between. bench/README.md says what the figures mean.

Environment: top_builddir, where the build is (default: .); AWK; PYTHON.
END
}

die() {
    echo "bench: $*" >&2
    exit 2
}

# What could not be measured. In the beginning only kept, since the run may still be refused.
note() {
    echo "bench: $*" >>"$dir/notes"
    [ "$planning" = yes ] || { tell ''; echo "bench: $*" >&2; }
}

tell() {
    if [ -t 2 ]; then printf '\r\033[K%s' "$*" >&2; fi
}

export LC_ALL=C
build=${top_builddir:-.}
source=${0%/*}
awk=${AWK:-awk}
python=${PYTHON:-python3}
planning=yes json=no results=no output=bench-results
parts=time,memory,footprint,threads,growth,worst
hmm=front,plain,cached,bare strategies='' peers=glibc,jemalloc,mimalloc,tcmalloc
adapters='' preloads=''
threads=1,2,4,8 growth=10,1000,100000,1000000,10000000 heaps=1K,64K,1M,64M,1G,16G rounds=5
worst=1000,100000
tab=$(printf '\t')
newline='
'

words() { echo "$1" | tr , ' '; }

while [ $# -gt 0 ]; do
    case $1 in
    --help)
        usage
        exit 0
        ;;
    --json) json=yes ;;
    --results) results=yes ;;
    --instructions) parts=$parts,instructions ;;
    --only | --hmm | --strategies | --peers | --adapter | --preload | --threads | \
        --growth | --worst | --heaps | --rounds | --output)
        [ $# -gt 1 ] || die "option '$1' needs a value"
        case $1 in
        --only) parts=$2 ;;
        --adapter) adapters=$adapters$2$newline ;;
        --preload) preloads=$preloads$2$newline ;;
        *) eval "${1#--}=\$2" ;;
        esac
        shift
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

command -v "$python" >/dev/null || die "$python is needed to show results. Debian package: python3"

# ---- What was asked for ----

# one_of OPTION LIST WORD...: every item of the list is one of the words.
one_of() {
    option=$1 list=$2
    shift 2
    [ -n "$list" ] || die "--$option: is empty"
    for item in $(words "$list"); do
        case " $* " in
        *" $item "*) ;;
        *) die "--$option: '$item' is none of $(echo "$*" | sed 's/ /, /g')" ;;
        esac
    done
}

# numbers OPTION LIST MOST
numbers() {
    [ -n "$2" ] || die "--$1: is empty"
    for item in $(words "$2"); do
        case $item in
        *[!0-9]* | 0* | ????????*?) false ;;
        *) [ "$item" -le "$3" ] ;;
        esac || die "--$1: '$item' is not a number from 1 to $3"
    done
}

# bytes SIZE: as a number.
bytes() {
    case $1 in
    *K) echo $((${1%K} * 1024)) ;;
    *M) echo $((${1%M} * 1048576)) ;;
    *G) echo $((${1%G} * 1073741824)) ;;
    *) echo "$1" ;;
    esac
}

one_of only "$parts" time memory footprint instructions threads growth worst
one_of hmm "$hmm" front plain cached bare none
one_of peers "$peers" glibc jemalloc mimalloc tcmalloc none
numbers rounds "$rounds" 1000
numbers threads "$threads" 64
numbers growth "$growth" 100000000
numbers worst "$worst" 10000000
for item in $(words "$threads"); do
    [ $((item % 2)) -eq 0 ] || [ "$item" = 1 ] ||
        die "--threads: '$item' is not 1 or an even number"
done
for item in $(words "$heaps"); do
    case ${item%[KMG]} in
    '' | *[!0-9]* | 0* | ????????*?) die "--heaps: '$item' is not a size" ;;
    esac
done
for program in hmm bench/replay bench/pack bench/threads bench/growth; do
    [ -x "$build/$program" ] || die "no $build/$program: run it by make bench"
done
known=$("$build/hmm" strategies --format json | sed 's/^{"name":"\([^"]*\)".*/\1/')
[ -n "$strategies" ] || strategies=$(echo "$known" | tr '\n' ',')
for strategy in $(words "$strategies"); do
    case $strategy in
    */*) [ -r "$strategy" ] || die "--strategies: cannot read the plug-in $strategy" ;;
    *)
        echo "$known" | grep -qxF -e "$strategy" ||
            die "--strategies: '$strategy' is none of $(
                echo "$known" | paste -sd , | sed 's/,/, /g')"
        ;;
    esac
done

wanted() {
    case ,$parts, in
    *",$1,"*) return 0 ;;
    *) return 1 ;;
    esac
}

if wanted time || wanted memory || wanted footprint || wanted instructions; then
    [ $# -gt 0 ] || die 'no trace given; --help shows how'
fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/hmm-bench-XXXXXX") || exit 2
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM HUP
: >"$dir/samples"
: >"$dir/notes"
: >"$dir/allocators"
: >"$dir/plan"

# shellcheck source=bench/allocators.sh
. "$source/allocators.sh"
# shellcheck source=bench/measure.sh
. "$source/measure.sh"

# ---- The plan ----

# plan WEIGHT FUNCTION ALLOCATOR-LINE ARGUMENT...: weights are milliseconds, roughly.
plan() {
    printf '%s\t%s' "$1" "$2" >>"$dir/plan"
    shift 2
    printf '\t%s' "$@" >>"$dir/plan"
    echo >>"$dir/plan"
}

# for_all KINDS WEIGHT FUNCTION ARGUMENT...: for each allocator of these kinds.
for_all() {
    kinds=$1 weight=$2 function=$3
    shift 3
    while read -r allocator; do
        case " $kinds " in
        *" ${allocator##*"$tab"} "*) plan "$weight" "$function" "$allocator" "$@" ;;
        esac
    done <"$dir/allocators"
}

thread_patterns="local larson exchange pipeline scratch large"
all_kinds="front plain cached bare peer own adapter"

# The traces, packed; three warm passes a process.
n=0
for trace in "$@"; do
    wanted time || wanted memory || wanted footprint || wanted instructions || break
    n=$((n + 1)) name=$(name_of "$trace")
    tell "reading $name"
    "$build/bench/pack" "$trace" "$dir/trace.$n" >"$dir/pack" || exit 2
    read -r ops live _ <"$dir/pack"
    [ "$live" -gt 0 ] || die "$trace: has nothing to measure"
    cost=$((ops / 8000 + 10))
    if wanted time; then
        for _ in $(seq "$rounds"); do
            for_all "$all_kinds" "$cost" measure_time "$name" "$dir/trace.$n"
        done
    fi
    if wanted memory; then
        for_all "$all_kinds" $((cost + 200)) measure_memory "$name" "$dir/trace.$n" "$live"
    fi
    if wanted footprint; then
        for_all "cached bare adapter" $((cost * 2)) measure_footprint "$name" "$dir/trace.$n" \
            "$live"
    fi
    if wanted instructions && have_valgrind instructions; then
        for_all "$all_kinds" $((cost * 5 + 400)) measure_instructions "$name" "$dir/trace.$n"
    fi
done
if wanted threads; then
    for _ in $(seq "$rounds"); do
        for pattern in $thread_patterns; do
            for count in $(words "$threads"); do
                for_all "front plain peer own loop" $((count * 30 + 10)) measure_threads \
                    "$pattern" "$count"
            done
        done
    done
    for pattern in $thread_patterns; do
        for count in $(words "$threads"); do
            for_all "front plain peer own" $((count * 20 + 10)) measure_threads_memory \
                "$pattern" "$count"
        done
    done
fi
if wanted growth && have_valgrind growth; then
    for count in $(words "$growth"); do
        kinds="front cached bare peer own adapter"
        [ "$count" -le 1000000 ] || kinds="cached bare adapter"
        enough_memory "$count" || continue
        for_all "$kinds" $((count / 1000 + 700)) measure_growth "$count"
    done
    for size in $(words "$heaps"); do
        for_all "front cached bare adapter" 700 measure_heap "$size" "$(bytes "$size")"
    done
fi
if wanted worst && have_valgrind worst; then
    for pattern in rising comb same alternating burst; do
        for count in $(words "$worst"); do
            for_all "front cached bare peer own adapter" 1000 measure_worst "$pattern" "$count"
        done
    done
fi

# ---- Carrying it out ----

tell ''
cat "$dir/notes" >&2
planning=no
# shellcheck disable=SC2016
total=$("$awk" '{ n += $1 } END { print n + 0 }' "$dir/plan")
past=0 began=$(date +%s)
[ ! -t 2 ] || tell "about $((total / 60000 + 1)) minutes"
# shellcheck disable=SC2034  # they are read in measure.sh
while IFS=$tab read -r weight function name kind_of file strategy cache kind arguments <&3; do
    left=$((total - past)) spent=$(($(date +%s) - began))
    [ "$spent" -lt 5 ] || left=$((spent * 1000 * (total - past) / (past + 1)))
    tell "$((past * 100 / (total + 1))) %, $((left / 60000)) min $((left / 1000 % 60)) s left:" \
        "${function#measure_} $(echo "$arguments" | cut -f 1), $name"
    IFS=$tab
    # shellcheck disable=SC2086
    set -- $arguments
    unset IFS
    "$function" "$@"
    past=$((past + weight))
done 3<"$dir/plan"
tell ''

# ---- What it shows ----

"$python" "$source/report.py" cells "$dir/allocators" "$dir/samples" >"$dir/cells" || exit 2
[ -s "$dir/cells" ] || die 'nothing could be measured'
mkdir -p "$output" || exit 2
machine >"$dir/machine"
# write FILE HOW [FILE]...
write() {
    to=$output/$1
    how=$2
    shift 2
    "$python" "$source/report.py" "$how" "$dir/cells" "$@" >"$to" || exit 2
}
write results.json json
write results.svg svg
write results.txt table
write RESULTS.md markdown "$dir/machine" "$dir/notes"
[ -s "$output/results.svg" ] || rm -f "$output/results.svg"
if [ "$results" = yes ]; then
    cp "$output/RESULTS.md" "$source/RESULTS.md"
    [ ! -e "$output/results.svg" ] || cp "$output/results.svg" "$source/results.svg"
fi
if [ "$json" = yes ]; then
    cat "$output/results.json"
else
    cat "$output/results.txt"
    echo "In $output: RESULTS.md with every figure, results.svg, results.json."
fi
