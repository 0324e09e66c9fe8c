#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The hmm command: what it prints, what it refuses, and its exit codes. Speaks TAP.
# HMM: the command (default: hmm in the build folder).

. "$(dirname "$0")/tap.sh"
skip_under_valgrind

HMM=${HMM:-${top_builddir:-.}/hmm}
top=${top_srcdir:-${srcdir:-.}}
# Where the sanitizers are in: they must not pass for one of our exit codes.
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}exitcode=97 UBSAN_OPTIONS=exitcode=97
export ASAN_OPTIONS UBSAN_OPTIONS

# hmm ARGUMENT...: runs it; leaves $code, $dir/out and $dir/err.
hmm() {
    "$HMM" "$@" >"$dir/out" 2>"$dir/err"
    code=$?
}

# refuses LINE ARGUMENT...: exit code 2, nothing on stdout, exactly this line on stderr.
refuses() {
    line=$1
    shift
    hmm "$@"
    printf '%s\n' "$line" >"$dir/want"
    [ "$code" -eq 2 ] && [ ! -s "$dir/out" ] && cmp -s "$dir/want" "$dir/err"
    report $? "refused: $line"
}

# prints NAME PATTERN ARGUMENT...: exit code 0, nothing on stderr, a line of stdout like this.
prints() {
    name=$1 pattern=$2
    shift 2
    hmm "$@"
    [ "$code" -eq 0 ] && [ ! -s "$dir/err" ] && grep -Eq -e "$pattern" "$dir/out"
    report $? "$name"
}

# Whether $dir/out is JSON objects, a line each, and if $1 is given of replays.
is_json() {
    if command -v python3 >/dev/null 2>&1; then
        python3 -c '
import json, sys
keys = "trace strategy ops ns_per_op peak_live peak_break footprint failed".split()
for line in sys.stdin:
    o = json.loads(line)
    assert isinstance(o, dict)
    assert len(sys.argv) < 2 or list(o)[:8] == keys, list(o)
' "$@" <"$dir/out" 2>>"$dir/err"
    elif command -v jq >/dev/null 2>&1; then
        jq -e 'type == "object"' <"$dir/out" >/dev/null 2>>"$dir/err"
    else
        ! grep -Evq '^\{"[a-z]+":.*\}$' "$dir/out"
    fi
}

# The example's bytes, from printf's format.
file() {
    # shellcheck disable=SC2059
    printf "$2" >"$dir/$1"
}

file good.trace '# hmm-trace 1\na 0 100\na 1 200\nm 2 4096 50\nr 0 300\nf 1\na 1 20\nr 1 0\nf 2\n'
file empty.trace '# hmm-trace 1\n'
file large.trace '# hmm-trace 1\na 0 1000\na 1 100000\nr 1 5\nf 1\nr 0 200000\nf 0\na 1 10\n'
good=$dir/good.trace

hmm strategies --format json
names=$(sed 's/^{"name":"\([^"]*\)".*/\1/' "$dir/out" | tr '\n' ',' | sed 's/,$//; s/,/, /g')
strategies=$(wc -l <"$dir/out")
plain_options='--strategy, --format, --heap, --runs, --smallest, --cache, --check, --help'

# ---- Help and version ----

prints '--version' '^hmm [0-9]+\.[0-9]+\.[0-9]+$' --version
prints '-V too' '^hmm [0-9]+\.[0-9]+\.[0-9]+$' -V
prints 'COMMAND -V too' '^hmm [0-9]+\.[0-9]+\.[0-9]+$' replay -V
prints '--help lists the commands' '^  replay  ' --help
prints '-h too' '^  strategies  ' -h
prints 'help does' '^  replay  ' help
prints 'help COMMAND' '^Usage: hmm replay ' help replay
prints 'help help' '^Usage: hmm help ' help help
prints 'help --help' '^Usage: hmm help ' help --help
prints 'COMMAND --help lists the options' '^  --heap SIZE ' replay --help
prints 'COMMAND --help anywhere' '^Usage: hmm strategies ' strategies --format json --help
hmm
[ "$code" -eq 2 ] && [ ! -s "$dir/out" ] && grep -q '^Usage: hmm COMMAND' "$dir/err"
report $? 'no command: the usage on stderr, exit code 2'

# ---- Completion ----

# completes LINE WANT...: what bash offers for the last word.
completes() {
    line=$1
    shift
    bash -c '. "$1"; shift; line=$1; hmm=$2; COMP_WORDS=($line); COMP_WORDS[0]=$hmm
        case $line in *" ") COMP_WORDS+=("") ;; esac
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _hmm "$hmm"; printf "%s\n" "${COMPREPLY[@]}"' \
        bash "$top/scripts/completion/bash/hmm" "$line" "$HMM" >"$dir/out" 2>"$dir/err"
    printf '%s\n' "$@" >"$dir/want"
    cmp -s "$dir/want" "$dir/out" && [ ! -s "$dir/err" ]
    report $? "bash completes '$line'"
}

if command -v bash >/dev/null 2>&1; then
    completes 'hmm rep' replay report
    completes 'hmm help strat' strategies
    completes 'hmm replay --sm' --smallest
    completes 'hmm replay --strategy b' best-fit
    completes 'hmm strategies --format ' table json
    completes 'hmm record -' -o --output --no-follow --stacks --strip-paths -h --help -V --version
else
    skip 'bash completes' 'there is no bash'
fi

# ---- Typing errors ----

commands="Allowed: $("$HMM" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1,/p' |
    tr '\n' ' ')--help, --version"
refuses "hmm: unknown command 'repaly'; did you mean 'replay'? $commands" repaly "$good"
refuses "hmm: unknown command 'strat'; did you mean 'strategies'? $commands" strat
refuses "hmm: unknown command 'xyzzy'; a${commands#A}" xyzzy
refuses "hmm: unknown option '--versoin'; did you mean '--version'? $commands" --versoin
refuses "hmm: unknown command 'reply'; did you mean 'replay'? $commands" help reply
for typo in strategy:startegy format:fromat heap:heep runs:rums smallest:smalest cache:cahce \
    check:chekc help:hepl; do
    meant="did you mean '--${typo%:*}'?"
    refuses "hmm replay: unknown option '--${typo#*:}'; $meant Allowed: $plain_options" \
        replay "--${typo#*:}" "$good"
done
refuses "hmm replay: unknown option '-q'; allowed: $plain_options" replay -q "$good"
refuses "hmm replay: unknown option '--quux'; allowed: $plain_options" replay --quux=1 "$good"
meant="did you mean '--format'?"
refuses "hmm strategies: unknown option '--formt'; $meant Allowed: --format, --help" \
    strategies --formt json
refuses "hmm strategies: takes no argument: 'all'" strategies all

run_options='--strategy, --heap, --stats, --help'
for typo in strategy:startegy heap:heep stats:stast help:hepl; do
    meant="did you mean '--${typo%:*}'?"
    refuses "hmm run: unknown option '--${typo#*:}'; $meant Allowed: $run_options" \
        run "--${typo#*:}" true
done
refuses "hmm run: unknown option '-q'; allowed: $run_options" run -q true
usage='hmm run [OPTION]... [--] COMMAND [ARGUMENT]...'
refuses "hmm run: no command given: $usage" run
refuses "hmm run: no command given: $usage" run --stats --

record_options='--output, --no-follow, --stacks, --strip-paths, --help'
for typo in output:ouptut no-follow:no-folow help:hepl; do
    meant="did you mean '--${typo%:*}'?"
    refuses "hmm record: unknown option '--${typo#*:}'; $meant Allowed: $record_options" \
        record "--${typo#*:}" true
done
refuses "hmm record: unknown option '-q'; allowed: $record_options" record -q true
refuses "hmm record: option '--output' needs a value: --output FILE" record -o
prints 'record --help: short options too' '^  -o, --output FILE ' record --help
hmm record -o "$dir/t.trace" -- true
if grep -q 'this build cannot record' "$dir/err"; then
    : # and says so in place of what follows
else
    usage='hmm record [OPTION]... [--] COMMAND [ARGUMENT]...'
    refuses "hmm record: no command given: $usage" record
    refuses "hmm record: no command given: $usage" record -o t.trace --
    refuses "hmm record: --output: the name is empty" record -o '' true
    refuses "/nowhere/t.trace: cannot write: No such file or directory" \
        record -o/nowhere/t.trace true
fi

# ---- Options' values ----

plugin="or a plug-in's path, with a '/'"
meant="did you mean 'best-fit'?"
refuses "hmm replay: unknown strategy 'bets-fit'; $meant Allowed: all, $names, $plugin" \
    replay --strategy bets-fit "$good"
refuses "hmm replay: unknown strategy 'slab'; allowed: all, $names, $plugin" \
    replay --strategy first-fit,slab "$good"
refuses "hmm replay: unknown strategy ''; allowed: all, $names, $plugin" replay --strategy= "$good"
refuses "hmm replay: strategy './nowhere.so' cannot be loaded: there is no such plug-in" \
    replay --strategy ./nowhere.so "$good"
refuses "hmm run: unknown strategy 'bets-fit'; did you mean 'best-fit'? Allowed: $names, $plugin" \
    run --strategy bets-fit true
refuses "hmm run: unknown strategy 'all'; allowed: $names, $plugin" run --strategy all true
refuses "hmm run: strategy './nowhere.so' cannot be loaded: there is no such plug-in" \
    run --strategy=./nowhere.so true
refuses "hmm run: --heap: '12X' is not a size: a whole number of bytes, or with K, M or G (64K, 8M)" \
    run --heap 12X true
refuses "hmm run: --heap: '4095' is too small: at least 4K" run --heap 4095 true
refuses "hmm run: option '--strategy' needs a value: --strategy NAME" run --strategy
refuses "hmm replay: unknown format 'jsno'; did you mean 'json'? Allowed: table, json" \
    replay --format jsno "$good"
refuses "hmm strategies: unknown format 'xml'; allowed: table, json" strategies --format xml
size="is not a size: a whole number of bytes, or with K, M or G (64K, 8M)"
for bad in '' K 12X 1.M .5M 1.5 1.5X -1 64KB 64iB 64Ki 64KiBs 0x10 ' 1' 12,34 1,0000 ,100 1,024,K 16BK 1.5B '1  K' '1 '; do
    refuses "hmm replay: --heap: '$bad' $size" replay --heap "$bad" "$good"
done
for size in 1572864 1536K 1.5M 1.5MiB 1536KiB 1,572,864 '1.50 MiB' '1572864 B' '1,536 KiB'; do
    hmm replay --heap "$size" --runs 1 --strategy best-fit --format json "$good"
    sed 's/"ns_per_op":[^,]*,//' "$dir/out" >"$dir/as-$size"
    [ "$code" -eq 0 ] && cmp -s "$dir/as-$size" "$dir/as-1572864"
    report $? "--heap $size"
done
refuses "hmm replay: --heap: '0' is too small: at least 1" replay --heap 0 "$good"
hmm replay --heap 65G "$good"
[ "$code" -eq 2 ] && grep -q "^hmm replay: --heap: '65G' is too large: " "$dir/err"
report $? '--heap: above what a heap can use'
hmm replay --heap 99999999999999999999999G "$good"
[ "$code" -eq 2 ] && grep -q "is too large: " "$dir/err"
report $? '--heap: a number that overflows'
for bad in 0 -1 1001 x 3x '' 99999999999999999999; do
    refuses "hmm replay: --runs: '$bad' is not a number from 1 to 1000" replay --runs "$bad" "$good"
done
refuses "hmm replay: option '--heap' needs a value: --heap SIZE" replay "$good" --heap
refuses "hmm replay: option '--smallest' takes no value" replay --smallest=1 "$good"
refuses "hmm replay: --heap and --smallest cannot be combined" \
    replay --heap 1M --smallest "$good"
refuses "hmm replay: no trace given: hmm replay [OPTION]... TRACE..." replay --format json

# ---- Bad traces ----

refuses "$dir/missing: cannot open: No such file or directory" replay "$dir/missing"
refuses "$dir: cannot read: Is a directory" replay "$dir"

# bad FORMAT LINE REASON: a trace of these bytes.
bad() {
    file bad.trace "$1"
    refuses "$dir/bad.trace:$2: $3" replay "$dir/bad.trace"
}

bad '' 1 'not a trace: the file is empty'
bad 'hello\n' 1 "not a trace: the first line must be '# hmm-trace 1'"
bad '# hmm-trace 2\n' 1 "trace format '2' is not known, only 1"
bad '# hmm-trace 1\na 0 1\nf' 3 'truncated: the last line does not end with a newline'
bad '# hmm-trace 1\n# note\nq 0 1\n' 3 "unknown operation 'q': it is one of a, m, r, f"
bad '# hmm-trace 1\na 0\n' 2 'SIZE is missing'
bad '# hmm-trace 1\na 0 1 2\n' 2 "more fields than 'a' has: '2'"
bad '# hmm-trace 1\na 0 99999999999999999999\n' 2 'SIZE is too large: 99999999999999999999'
bad '# hmm-trace 1\nm 0 3 8\n' 2 'ALIGN is not a power of two: 3'
bad '# hmm-trace 1\na 0 1\nf 0\nf 0\n' 4 'ID 0 is freed twice'
bad '# hmm-trace 1\na 0 1\nf 7\n' 3 'ID 7 is freed but was never allocated'
bad '# hmm-trace 1\na 0 1\nf 0\nr 0 2\n' 4 'ID 0 is resized after it was freed'
bad '# hmm-trace 1\na 0 1\na 0 1\n' 3 'ID 0 is allocated while it is live'
bad '# hmm-trace 1\na 9999999 1\n' 2 \
    'ID 9999999 is out of proportion: after 0 operations at most 1048576'

set -- "$top"/examples/traces/*.zst
example=$1
"$HMM" replay --runs 1 --strategy best-fit "$example" >/dev/null 2>"$dir/err"
if grep -q 'cannot read: rebuild it with libzstd' "$dir/err"; then
    zstd=no
else
    zstd=yes
    head -c 100000 "$example" >"$dir/cut.zst"
    hmm replay "$dir/cut.zst"
    [ "$code" -eq 1 ] && [ "$(wc -l <"$dir/err")" -eq 2 ] && grep -q 'best-fit' "$dir/out" &&
        grep -Eq "^$dir/cut.zst:[0-9]+: truncated: the zstd data ends in the middle of a frame\$" \
            "$dir/err" && grep -Eq ': of this trace only the first [0-9,]+ operations are replayed$' "$dir/err"
    report $? 'truncated zstd: what is whole is replayed, the cut is named, exit status 1'
    head -c 20 "$example" >"$dir/cut.zst"
    refuses "$dir/cut.zst:1: truncated: the zstd data ends in the middle of a frame" \
        replay "$dir/cut.zst"
fi

hmm replay "$good" "$dir/missing" "$dir/bad.trace"
[ "$code" -eq 2 ] && [ ! -s "$dir/out" ] && [ "$(wc -l <"$dir/err")" -eq 2 ]
report $? 'one bad trace of several: each is named, none is replayed'

# ---- Replays ----

prints 'a table' '^first-fit +[0-9.]+ +[0-9.]+ B ' replay "$good"
[ "$(grep -Ec '^[a-z-]+ .* 0$' "$dir/out")" -eq "$strategies" ]
report $? 'a line for each strategy'
prints 'the peak of the live bytes' ': 8 operations, peak live 550 B in 3 blocks$' replay "$good"
prints 'json' '"trace":".*good.trace","strategy":"best-fit","ops":8,.*"peak_live":550,' \
    replay --format json "$good"
is_json replay
report $? 'json: every line is an object with the keys in order'
[ "$(wc -l <"$dir/out")" -eq "$strategies" ]
report $? 'json: a line for each strategy'
prints 'several strategies' '"strategy":"best-fit"' \
    replay --strategy=first-fit,best-fit --strategy first-fit --format=json "$good"
[ "$(wc -l <"$dir/out")" -eq 2 ]
report $? 'several strategies: each once'
prints 'several traces: means' '^Geometric means over 2 traces$' replay "$good" "$dir/large.trace"
prints 'options after traces, and --' 'good.trace' replay --runs 1 "$good" --format json -- "$good"
[ "$(wc -l <"$dir/out")" -eq $((2 * strategies)) ] && is_json replay
report $? 'several traces: json'
prints 'a trace without operations' '"ops":0,"ns_per_op":null,"peak_live":0,' \
    replay --format json "$dir/empty.trace"
is_json replay
report $? 'a trace without operations: json'
prints 'a trace without operations: table' '^best-fit +- +0 B .* - ' replay "$dir/empty.trace"
cp "$good" "$dir/odd \"name\"
é.trace"
hmm replay --format json "$dir/odd \"name\"
é.trace"
[ "$code" -eq 0 ] && is_json replay
report $? 'json: a file name with a quote and a newline'
prints '--check' '"failed":0' replay --check --format json "$good" "$dir/large.trace"
prints 'without --cache, json says so' '"cache":false}$' replay --format json "$good"
hmm replay --cache "$good"
if [ "$code" -eq 2 ] && grep -qx 'hmm replay: --cache: this build has no cache' "$dir/err"; then
    : # and nothing of what follows
else
    # Many small blocks, so that there are runs.
    awk 'BEGIN {
        print "# hmm-trace 1"
        for (i = 0; i < 9000; i++) print "a", i, i * 7 % 90 + 10
        for (i = 0; i < 9000; i += 2) print "f", i
        for (i = 1; i < 9000; i += 2) print "r", i, i * 11 % 2000
        for (i = 0; i < 9000; i += 4) print "m", i, 64, 40
    }' >"$dir/small.trace"
    prints '--cache: table' ' operations, peak live .* blocks, with a cache$' replay --cache "$good"
    prints '--cache: means' '^Geometric means over 2 traces, with a cache$' \
        replay --cache "$good" "$dir/small.trace"
    prints '--cache: json' '"failed":0,.*"cache":true}$' replay --cache --format json "$good"
    is_json replay
    report $? '--cache: json is well-formed'
    prints '--cache: with --check and --smallest' '"cache":true,"smallest":[1-9][0-9]*}$' \
        replay --cache --check --smallest --format json "$dir/small.trace"
    [ "$(grep -c '"failed":0,.*"cache":true' "$dir/out")" -eq "$strategies" ]
    report $? '--cache: on every strategy'
    cached=$(sed -n 's/.*"best-fit".*"smallest":\([0-9]*\).*/\1/p' "$dir/out")
    prints '--cache: a heap of that size completes the trace' '"failed":0' \
        replay --cache --strategy best-fit --heap "$cached" --format json "$dir/small.trace"
    hmm replay --smallest --strategy best-fit --format json "$dir/small.trace"
    [ -n "$cached" ] && ! grep -q "\"smallest\":$cached}" "$dir/out"
    report $? '--cache: which is not that without it'
    refuses 'hmm replay: --cache: a heap of 64.00 KiB has none: at least 128K' \
        replay --cache --heap 64K "$good"
    refuses "hmm replay: option '--cache' takes no value" replay --cache=1 "$good"
fi
prints '--smallest' '"failed":0,.*"smallest":[1-9]' replay --smallest --format json "$good"
is_json replay
report $? '--smallest: json'
smallest=$(sed -n 's/.*"best-fit".*"smallest":\([0-9]*\).*/\1/p' "$dir/out")
prints '--smallest: a heap of that size completes the trace' '"failed":0' \
    replay --strategy best-fit --heap "$smallest" --format json "$good"
hmm replay --strategy best-fit --heap $((smallest - 16)) --format json "$good"
[ "$code" -eq 1 ] && grep -q '"failed":[1-9]' "$dir/out"
report $? '--smallest: one that is a granule smaller does not'
prints '--smallest: table' ' smallest +of live$' replay --smallest "$good"

# ---- A limited heap: 100000 fails, so ID 1's r and f are left out; r 0 fails and keeps 0. ----

# fails NAME PATTERN LINE ARGUMENT...: exit code 1, such a line on stdout, and one on stderr.
fails() {
    name=$1 pattern=$2 line=$3
    shift 3
    hmm "$@"
    [ "$code" -eq 1 ] && grep -Eq -e "$pattern" "$dir/out" && grep -Eq -e "$line" "$dir/err"
    report $? "$name"
}

unserved='large.trace:3: best-fit: no room for 100000 bytes in a heap of 65536; not served: 2 in all$'
fails '--heap: failures are counted' '"peak_live":1000,.*"failed":2,' "$unserved" \
    replay --heap 64K --format json "$dir/large.trace"
! grep -v '"failed":2,' "$dir/out" >/dev/null
report $? '--heap: on every strategy'
is_json replay && [ "$(grep -c ': no room for' "$dir/err")" -eq "$strategies" ]
report $? '--heap: a line on stderr for each strategy'
[ "$(grep -c ':   would help: [0-9]* bytes more: ' "$dir/err")" -eq "$strategies" ]
report $? '--heap: and what would have helped'
fails '--heap: several traces, of which one fails' 'Geometric means over 2' "$unserved" \
    replay --heap 64K "$dir/large.trace" "$good"
fails '--heap: table' ', heap limited to 64.00 KiB$' "$unserved" \
    replay --heap 64k "$dir/large.trace"
prints '--heap: large enough' '"peak_live":200000,.*"failed":0,' \
    replay --heap 1M --format json "$dir/large.trace"
fails '--heap: with --check' '"failed":2,' "$unserved" \
    replay --heap 64K --check --format json "$dir/large.trace"
fails '--heap: too small for any heap' '"ns_per_op":null,"peak_live":0,.*"failed":3,' \
    'large.trace: best-fit: no heap can be made in 16 bytes: the index alone takes [0-9]+ of them$' \
    replay --heap 16 --check --format json "$dir/large.trace"
file commented.trace '# hmm-trace 1\n# one\na 0 10\n# two\n# three\nr 0 90000\n# four\nf 0\n'
fails 'a line below comments' '"failed":1,' 'commented.trace:6: next-fit: no room for 90000 bytes' \
    replay --heap 32K --format json "$dir/commented.trace"
file giant.trace '# hmm-trace 1\na 0 16\na 1 9663676416\nf 0\n'
# Where it is more than the machine can count, it is no size.
if "$HMM" replay "$dir/giant.trace" 2>&1 | grep -q 'SIZE is too large: 9663676416'; then
    echo '# 32 bits: a block of 9 GiB is refused by the reader'
else
    fails 'a block above what hmm can serve' '"failed":1,' \
        'giant.trace:3: first-fit: a block of 9663676416 bytes; hmm.s limit for one is [0-9.]+ [GM]iB .[0-9]+ bytes.$' \
        replay --runs 1 --format json "$dir/giant.trace"
    fails 'the line above the table says that what was not served is in it' \
        'peak live 9.00 GiB in 2 blocks, with what was not served$' \
        'a block of 9663676416 bytes' replay --runs 1 "$dir/giant.trace"
fi

# ---- Strategies that crash, never return or answer wrongly ----

file bad.trace '# hmm-trace 1\na 0 100\na 1 100\nf 0\na 0 50\n'

for fault in 'crashes:abort();' 'does not return within:for (;;) pause();' \
    'operation 4. find answers none although:' 'operation 2. find answers a block that is:return hmm_block_first(h);'; do
    printf '#include <hmm-strategy.h>\n#include <stdlib.h>\n#include <unistd.h>\nstatic size_t s(size_t c) { (void)c; return 0; }
static hmm_ref f(struct hmm_heap *h, void *t, uint32_t g) { (void)h, (void)t, (void)g; %s return 0; }
static void i(struct hmm_heap *h, void *t, hmm_ref r) { (void)h, (void)t, (void)r; }
const struct hmm_strategy hmm_plugin_strategy = {.abi = HMM_STRATEGY_ABI, .name = "own",
.state_size = s, .find = f, .insert = i, .remove = i };\n' "${fault#*:}" >"$dir/bad.c"
    # shellcheck disable=SC2086
    ${CC:-cc} ${TEST_CPPFLAGS:-} -I"$top/lib" -shared -fPIC -o "$dir/bad.so" "$dir/bad.c" \
        2>"$dir/err" || continue
    hmm replay --check --strategy "$dir/bad.so" "$dir/bad.trace"
    [ "$code" -eq 2 ] && grep -q 'no plug-ins' "$dir/err" && continue
    [ "$code" -eq 1 ] && grep -q "bad.trace: own: ${fault%%:*}" "$dir/err"
    report $? "--check: a strategy that ${fault%%:*}"
done

# ---- The traces that ship ----

if [ "$zstd" = yes ]; then
    prints 'the shipped traces' '^Geometric means over 3 traces$' replay --runs 1 "$@"
    prints 'a shipped trace, checked' '"failed":0' replay --check --runs 1 --format json "$example"
    hmm replay --heap 1M --runs 1 --check --format json "$example"
    [ "$code" -eq 1 ] && is_json replay && ! grep -q '"failed":0' "$dir/out"
    report $? 'a shipped trace in a heap that is too small'
fi

# ---- The strategies ----

prints 'strategies' '^best-fit +\(default\) ' strategies
[ "$(grep -c '(default)' "$dir/out")" -eq 1 ]
report $? 'strategies: one default'
prints 'strategies as json' '^{"name":"best-fit","summary":".*","default":true}$' \
    strategies --format=json
is_json
report $? 'strategies: json'

# ---- Running programs; tests/preload.sh has the rest. ----

prints 'run --help' '^Usage: hmm run ' run --help
if [ -e "${top_builddir:-.}/.libs/libhmm-preload.so" ]; then
    hmm run nowhere-to-be-found
    [ "$code" -eq 127 ] &&
        grep -qx "hmm run: cannot run 'nowhere-to-be-found': No such file or directory" "$dir/err"
    report $? 'run: no such command'
    hmm run --stats "$good"
    [ "$code" -eq 126 ] && grep -q "^hmm run: cannot run '.*': Permission denied$" "$dir/err"
    report $? 'run: a file that cannot be run'
fi

if [ -c /dev/full ]; then
    "$HMM" strategies >/dev/full 2>"$dir/err"
    code=$?
    : >"$dir/out"
    [ "$code" -eq 1 ] && grep -q '^hmm: cannot write the output: ' "$dir/err"
    report $? 'output that cannot be written: exit code 1'
fi

finish
