#!/bin/sh
# SPDX-License-Identifier: MIT
#
# hmm import: every operation of each format's sample is in the trace. The samples of mtrace and
# heaptrack are made here, by what writes them. Speaks TAP.
# HMM: the command (default: hmm in the build folder).

. "$(dirname "$0")/tap.sh"
skip_under_valgrind

HMM=${HMM:-${top_builddir:-.}/hmm}
top=${top_srcdir:-${srcdir:-.}}
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}exitcode=97 UBSAN_OPTIONS=exitcode=97
export ASAN_OPTIONS UBSAN_OPTIONS

import() {
    "$HMM" import "$@" >"$dir/out" 2>"$dir/err"
    code=$?
}

# gives NAME FILE [OPTION]...: exit code 0, and the trace is $dir/want, which hmm can read.
gives() {
    name=$1 file=$2
    shift 2
    rm -f "$dir/o.trace"
    import "$@" -o "$dir/o.trace" "$file"
    [ "$code" -eq 0 ] && [ ! -s "$dir/err" ] && grep -v '^#' "$dir/o.trace" | cmp -s - "$dir/want" &&
        "$HMM" replay --runs 1 "$dir/o.trace" >/dev/null 2>>"$dir/err"
    report $? "$name"
}

# refuses LINE ARGUMENT...: exit code 2, nothing on stdout, exactly this line on stderr, no trace.
refuses() {
    line=$1
    shift
    rm -f "$dir/o.trace"
    import "$@"
    printf '%s\n' "$line" >"$dir/want"
    [ "$code" -eq 2 ] && [ ! -s "$dir/out" ] && cmp -s "$dir/want" "$dir/err" && [ ! -e "$dir/o.trace" ]
    report $? "refused: $line"
}

said() {
    grep -qx "$1" "$dir/out"
    report $? "said: $1"
}

# file NAME LINE...: a file of these lines.
file() {
    name=$1
    shift
    printf '%s\n' "$@" >"$dir/$name"
}

# Without IDs: kinds and sizes, in order.
kinds() {
    grep -v '^#' "$1" | cut -d ' ' -f 1,3
}

# ---- ring: an image of it, and what is drained, in both byte orders ----

ringed=$dir/ringed
if ${CC:-cc} -std=c11 -Wall -Werror -I "$top/lib" -o "$ringed" "$top/tests/ringed.c" 2>"$dir/err"; then
    file want 'a 0 24' 'a 1 100' 'm 2 64 48' 'r 1 60' 'f 2' 'r 1 70' 'f 1' \
        'a 1 24' 'a 2 101' 'm 3 64 48' 'r 2 60' 'f 3' 'r 2 70' 'f 2'
    for order in little big; do
        for form in image stream; do
            "$ringed" $form $order 2 >"$dir/events"
            gives "ring: every event of an $form, $order-endian" "$dir/events"
            said 'left out: 2 requests that had failed'
        done
        gives "ring: named, $order-endian" "$dir/events" --from ring
    done
    "$ringed" stream little 20000 >"$dir/events"
    import -o "$dir/o.trace" "$dir/events"
    said "$dir/o.trace: 140,000 operations, of a device"
    # A dump that goes on behind the ring is not kept. Sanitizers need more address space than that.
    "$ringed" image little 2 >"$dir/events"
    # shellcheck disable=SC3045  # dash and bash have it
    if (ulimit -v 250000 && exec "$HMM" --version) >"$dir/out" 2>&1; then
        # shellcheck disable=SC3045
        { cat "$dir/events"; head -c 300000000 /dev/zero; } |
            (ulimit -v 250000 && exec "$HMM" import -o "$dir/o.trace" -) >"$dir/out" 2>"$dir/err"
        code=$?
        [ "$code" -eq 0 ] && grep -v '^#' "$dir/o.trace" | cmp -s - "$dir/want"
        report $? 'ring: what is behind it takes no memory'
    else
        skip 'ring: what is behind it takes no memory' 'hmm itself needs more'
    fi
    # The ring goes round many times; the newest events are there, and of the others their number.
    "$ringed" image little 1000 2000 overwrite >"$dir/events"
    import -o "$dir/o.trace" "$dir/events"
    [ "$code" -eq 0 ] && tail -n 4 "$dir/o.trace" | cut -d ' ' -f 1,3- >"$dir/kinds" &&
        printf '%s\n' 'r 60' f 'r 70' f | cmp -s - "$dir/kinds" &&
        "$HMM" replay --runs 1 "$dir/o.trace" >/dev/null 2>>"$dir/err"
    report $? 'ring: the newest events, when it overwrites'
    lost=$(sed -n 's/^missing: \([0-9,]*\) events .*/\1/p' "$dir/out" | tr -d ,)
    [ "${lost:-0}" -gt 7800 ] && [ "$lost" -lt 8000 ]
    report $? 'ring: and how many are gone'
    "$ringed" image big 1000 2000 >"$dir/events"
    import -o "$dir/o.trace" "$dir/events"
    [ "$code" -eq 0 ] && grep -v '^#' "$dir/o.trace" | head -n 7 | cut -d ' ' -f 1,3- >"$dir/kinds" &&
        printf '%s\n' 'a 24' 'a 100' 'm 64 48' 'r 60' f 'r 70' f | cmp -s - "$dir/kinds"
    report $? 'ring: the oldest events, when it does not'
    grep -q '^missing: 7,[0-9]* events that the device had no room for$' "$dir/out"
    report $? 'ring: and how many got no room'
    # Two runs of the device in one stream: the second one has no blocks at first.
    { "$ringed" stream little 1 && "$ringed" stream little 1; } >"$dir/events"
    file want 'a 0 24' 'a 1 100' 'm 2 64 48' 'r 1 60' 'f 2' 'r 1 70' 'f 1' 'f 0' \
        'a 0 24' 'a 1 100' 'm 2 64 48' 'r 1 60' 'f 2' 'r 1 70' 'f 1'
    gives 'ring: a device that starts anew' "$dir/events"

    "$ringed" stream little 1 >"$dir/whole"
    head -c 21 "$dir/whole" >"$dir/cut"
    refuses "$dir/cut: truncated: the last event is not whole" -o "$dir/o.trace" "$dir/cut"
    { head -c 24 "$dir/whole" && printf '\000\000\000\000\000\000\000\000'; } >"$dir/cut"
    refuses "$dir/cut: byte 24: damaged: no event begins so" -o "$dir/o.trace" "$dir/cut"
    "$ringed" image little 1 2000 >"$dir/whole"
    head -c 200 "$dir/whole" >"$dir/cut"
    refuses "$dir/cut: truncated: the ring has 264 words" -o "$dir/o.trace" "$dir/cut"
    head -c 20 "$dir/whole" >"$dir/cut"
    refuses "$dir/cut: truncated: a ring's head has 32 bytes" -o "$dir/o.trace" "$dir/cut"
    { head -c 4 "$dir/whole" && printf '\007' && tail -c +6 "$dir/whole"; } >"$dir/cut"
    refuses "$dir/cut: version 7 of the events is not known, only 1" -o "$dir/o.trace" "$dir/cut"
    { head -c 8 "$dir/whole" && printf '\007' && tail -c +10 "$dir/whole"; } >"$dir/cut"
    import -o "$dir/o.trace" "$dir/cut"
    [ "$code" -eq 2 ] && grep -q 'damaged: a ring of 263 words' "$dir/err"
    report $? 'refused: a ring of 263 words'
else
    report 1 'ring: its encoder compiles'
fi
file no.ring hello
refuses "$dir/no.ring: no ring, and no stream of events: its first words are neither's" \
    --from ring -o "$dir/o.trace" "$dir/no.ring"

# ---- rep ----

file lab.rep 20000 4 9 1 'a 0 512' 'a 1 128' 'r 0 640' 'a 2 16' 'f 1' 'f -1' 'r 2 8' 'f 0' 'f 2'
file want 'a 0 512' 'a 1 128' 'r 0 640' 'a 2 16' 'f 1' 'r 2 8' 'f 0' 'f 2'
gives 'rep: every operation' "$dir/lab.rep"
said "$dir/o.trace: 8 operations, of CS:APP's malloc lab"
said 'left out: 1 free of no block'
gives 'rep: named' "$dir/lab.rep" --from rep
printf '20000\r\n1\r\n2\r\n1\r\na 5 512\r\nf 5\r\n' >"$dir/dos.rep"
file want 'a 0 512' 'f 0'
gives 'rep: with carriage returns; IDs are dense' "$dir/dos.rep"
file short.rep 20000 1 3 1 'a 0 512' 'f 0'
refuses "$dir/short.rep:6: cut short: it announces 3 operations and has 2" -o "$dir/o.trace" "$dir/short.rep"
file bad.rep 20000 1 2 1 'a 0 5x2' 'f 0'
refuses "$dir/bad.rep:5: not an operation: a ID SIZE, r ID SIZE or f ID" -o "$dir/o.trace" "$dir/bad.rep"
file bad.rep 20000 1 2 1 'x 0 512' 'f 0'
refuses "$dir/bad.rep:5: 'x 0 512' is no operation: a ID SIZE, r ID SIZE or f ID" \
    -o "$dir/o.trace" "$dir/bad.rep"
printf 'x\033[31m%0200d\n' 0 >"$dir/control.rep"
refuses "$dir/control.rep:1: 'x\\x1b[31m$(printf %074d 0)' is no operation: a ID SIZE, r ID SIZE or f ID" \
    --from rep -o "$dir/o.trace" "$dir/control.rep"

# ---- mtrace ----

file log '= Start' '@ ./a b:(main+0x1d)[0x4011] + 0x1000 0x10' '@ ./p:[0x4012] + 0x2000 0' \
    '@ ./p:[0x4013] < 0x1000' '@ ./p:[0x4013] > 0x3000 0x80' '@ ./p:[0x4014] - 0x9000' \
    '@ ./p:[0x4015] ! 0x3000 0x4000000000000000' '@ ./p:[0x4016] + (nil) 0xffffffffffffffff' \
    '- 0x2000' '+ 0x1000 0x20' '@ ./p:[0x4018] + 0x1000 0x30' '= End'
file want 'a 0 16' 'a 1 0' 'r 0 128' 'f 1' 'a 1 32' 'f 1' 'a 1 48'
gives 'mtrace: every line' "$dir/log"
said "$dir/o.trace: 7 operations, of glibc's mtrace()"
said 'left out: 1 free of a block that is older than the log'
said 'left out: 2 requests that had failed'
said 'added: 1 free that the log had missed'
file bad '= Start' '@ ./p:[0x1] * 0x1000 0x10'
refuses "$dir/bad:2: not a line of mtrace()" -o "$dir/o.trace" "$dir/bad"
file bad '= Start' '@ ./p:[0x1] < 0x1000'
refuses "$dir/bad:2: cut short: a resize has begun and does not end" -o "$dir/o.trace" "$dir/bad"

# What the program asked for, by its own account, and what its log gives.
# shellcheck disable=SC2086
if ! ${CC:-cc} -O0 -o "$dir/mtraced" "$top/tests/mtraced.c" 2>"$dir/err"; then
    skip 'mtrace: a real log' 'this C library has no mtrace()'
else
    MALLOC_TRACE=$dir/real.log LD_PRELOAD=libc_malloc_debug.so.0 "$dir/mtraced" mtrace \
        >"$dir/asked" 2>"$dir/err"
    if [ ! -s "$dir/real.log" ]; then
        skip 'mtrace: a real log' 'libc_malloc_debug.so.0 is not there'
    else
        import -o "$dir/o.trace" "$dir/real.log"
        kinds "$dir/o.trace" >"$dir/have"
        [ "$code" -eq 0 ] && [ "$(wc -l <"$dir/asked")" -gt 900 ] && cmp -s "$dir/asked" "$dir/have"
        report $? 'mtrace: a real log has what its program asked for, in order'
        said 'left out: 1 free of a block that is older than the log'
    fi
fi

# ---- heaptrack ----

file raw 'v 10400 3' 'x 5 ./p' 'X ./p' 'I 1000 5e' 't 1000 0' '+ 10 1 aa0' '+ 20 1 bb0' 'c 5' '- aa0' \
    '+ 30 2 cc0' '- 999' 'R 100' '- bb0'
file want 'a 0 16' 'a 1 32' 'f 0' 'a 0 48' 'f 1'
gives 'heaptrack: raw' "$dir/raw"
said "$dir/o.trace: 5 operations, of heaptrack, raw or interpreted"
said 'left out: 1 free of a block that is older than the log'
file interpreted 'v 10400 3' 'X ./p' 's 4 main' 'i 55 1 2' 't 1 0' 'a 10 1' '+ 0' '+ 0' 'a 11c00 1' \
    '+ 1' '- 0' '+ 0' '- 0' '- 0' '- 0' '- 1'
file want 'a 0 16' 'a 1 16' 'a 2 72704' 'f 1' 'a 1 16' 'f 1' 'f 0' 'f 2'
gives 'heaptrack: interpreted; the youngest of a kind goes first' "$dir/interpreted"
file bad 'v 10400 3' 'a 10 1' '+ 7'
refuses "$dir/bad:3: not a line of heaptrack's" -o "$dir/o.trace" "$dir/bad"

# sorted FILE: a resize is a free and an allocation, so sizes are compared, not their order.
as_heaptrack() {
    awk '$1 == "r" { print "f"; print "a", $2; next } { print }' "$1"
}
if ! command -v heaptrack >/dev/null 2>&1; then
    skip 'heaptrack: a real file' 'there is no heaptrack (Debian package: heaptrack)'
elif [ ! -x "$dir/mtraced" ]; then
    skip 'heaptrack: a real file' 'the program to record was not built'
# It waits for ever for a program that does not load its library: of another architecture, of
# another C library, with a sanitizer.
elif ! timeout -k 1 20 heaptrack -o "$dir/real" "$dir/mtraced" >"$dir/asked" 2>"$dir/err"; then
    skip 'heaptrack: a real file' 'it cannot record what this build makes'
else
    timeout -k 1 20 heaptrack -r -o "$dir/real" "$dir/mtraced" >/dev/null 2>>"$dir/err"
    grep -E '^(a [0-9]+|r [0-9]+|f)$' "$dir/asked" >"$dir/asked.ops"
    as_heaptrack "$dir/asked.ops" >"$dir/want"
    for name in real.zst real.raw.zst; do
        if [ ! -s "$dir/$name" ]; then
            skip "heaptrack: a real $name" 'this heaptrack did not make it'
            continue
        fi
        import -o "$dir/o.trace" "$dir/$name"
        if grep -q 'zstd' "$dir/err"; then
            skip "heaptrack: a real $name" 'this build reads no zstd'
            continue
        fi
        # Without what is before and behind: libraries, the block of 77 bytes, stdio's buffer.
        kinds "$dir/o.trace" | awk '
            NR == FNR { want[++n] = $0; next }
            { have[++m] = $0 }
            END {
                for (start = 1; start + n - 1 <= m; start++) {
                    for (i = 1; i <= n && have[start + i - 1] == want[i]; i++);
                    if (i > n) exit 0
                }
                exit 1
            }' "$dir/want" -
        same=$?
        [ "$code" -eq 0 ] && [ "$(wc -l <"$dir/want")" -gt 900 ] && [ $same -eq 0 ]
        report $? "heaptrack: a real $name has what its program asked for, in order"
        "$HMM" replay --runs 1 "$dir/o.trace" >"$dir/out" 2>"$dir/err"
        report $? "heaptrack: and $name's trace can be replayed"
    done
fi

# ---- RMM ----

file log.csv 'Thread,Time,Action,Pointer,Size,Stream' \
    '140202,13:58:54:123456,allocate,0x7f8a40000000,1024,0x0' \
    '140202,13:58:54:123460,allocate,0x7f8a40000400,2048,0x7f8a38001020' \
    '140203,13:58:54:123470,allocate failure,(nil),99999999999,0x0' \
    '140202,13:58:54:123480,free,0x7f8a40000000,1024,0x0' \
    '140202,1634567890.345678,deallocate,0x7f8a40000400,2048,0x0' \
    '140202,1634567890.345679,allocate,0x7f8a40000000,512,0x0'
file want 'a 0 1024' 'a 1 2048' 'f 0' 'f 1' 'a 1 512'
gives 'rmm: every row' "$dir/log.csv"
said "$dir/o.trace: 5 operations, of RMM, the RAPIDS Memory Manager"
said 'left out: 1 request that had failed'
file other.csv 'Size,Action,Pointer,' '1024,allocate,7f00,' '1024,free,7f00,'
file want 'a 0 1024' 'f 0'
gives 'rmm: columns are found by their names' "$dir/other.csv" --from rmm
file null.csv 'Thread,Time,Action,Pointer,Size,Stream' '1,2,allocate,0x0,0,0x0' \
    '1,2,allocate,(nil),0,0x0' '1,2,allocate,0x1000,5,0x0' '1,2,free,0x0,0,0x0' '1,2,free,0x1000,5,0x0'
file want 'a 0 5' 'f 0'
gives 'rmm: requests for no bytes may get no block' "$dir/null.csv"
said 'left out: 2 requests for no bytes, which got no block'
said 'left out: 1 free of no block'
file bad.csv 'Thread,Time,Action,Pointer,Size,Stream' '1,2,grow,0x1,5,0x0'
refuses "$dir/bad.csv:2: unknown action 'grow'; allowed: allocate, allocate failure, free, deallocate" \
    -o "$dir/o.trace" "$dir/bad.csv"
file bad.csv 'Thread,Time,Action,Pointer,Size,Stream' '1,2,allocate,0x1'
refuses "$dir/bad.csv:2: 4 columns, where the heading has 6" -o "$dir/o.trace" "$dir/bad.csv"

# ---- All of them ----

file want '# hmm-trace 1' 'a 0 1024' 'f 0'
import -o - "$dir/other.csv" --from rmm
[ "$code" -eq 0 ] && cmp -s "$dir/want" "$dir/out" && grep -q '^-: 2 operations' "$dir/err"
report $? '-o - is standard output, with nothing but the trace'
"$HMM" import --from rmm -o - - <"$dir/other.csv" >"$dir/out" 2>"$dir/err"
cmp -s "$dir/want" "$dir/out"
report $? 'a file named - is standard input'

# Long enough that every buffer is refilled, with addresses that come again.
awk 'BEGIN {
    print "= Start"
    for (i = 0; i < 60000; i++) {
        a = 1 + i * 7919 % 5003
        if (a in live) { printf "@ ./program:[0x%x] - 0x%x\n", i, a * 16; delete live[a] }
        else { printf "@ ./program:[0x%x] + 0x%x 0x%x\n", i, a * 16, i % 999; live[a] = 1 }
    }
}' >"$dir/long"
import -o "$dir/o.trace" "$dir/long"
[ "$code" -eq 0 ] && grep -q ': 60,000 operations' "$dir/out" &&
    "$HMM" replay --runs 1 "$dir/o.trace" >"$dir/out" 2>"$dir/err"
report $? 'a long log'

# Keys that differ in their high bits only, as no program's addresses do.
awk 'BEGIN { for (i = 1; i <= 150000; i++) printf "@ ./p:[0x1] + 0x%x00000000000 0x10\n", i }' >"$dir/alike"
timeout 40 "$HMM" import -o "$dir/o.trace" "$dir/alike" >"$dir/out" 2>"$dir/err"
report $? 'a log of addresses that are made to be slow: takes no longer'

if env --default-signal=INT true 2>/dev/null; then
    mkfifo "$dir/pipe"
    for seconds in 1 3 9 27; do # until something has been read
        yes '@ ./p:[0x1] + 0x1000 0x10
@ ./p:[0x1] - 0x1000' >"$dir/pipe" 2>/dev/null &
        env --default-signal=INT "$HMM" import -o "$dir/o.ht2" "$dir/pipe" >"$dir/out" 2>"$dir/err" &
        sleep $seconds
        kill -INT $!
        wait $!
        code=$?
        held=$(sed -n "s,^$dir/o.ht2: \\([0-9][0-9\\,]*\\) operations.*,\\1,p" "$dir/out" | tr -d ,)
        [ "${held:-0}" -eq 0 ] || break
    done
    [ "$code" -eq 130 ] && grep -qx "hmm import: $dir/pipe: interrupted: the trace has what was read up to there" \
        "$dir/err" && "$HMM" stats --format json "$dir/o.ht2" 2>>"$dir/err" | grep -q "\"ops\":$held,"
    report $? 'Ctrl-C leaves a trace that is whole'
else
    skip 'Ctrl-C leaves a trace that is whole' 'env does not know --default-signal'
fi

refuses 'hmm import: no file given: hmm import [--from FORMAT] -o OUT FILE'
refuses 'hmm import: no file given for the trace: -o OUT' a
refuses "hmm import: one file at a time: 'b'" -o "$dir/o.trace" a b
refuses "hmm import: unknown format 'mtraec'; did you mean 'mtrace'? Allowed: rep, mtrace, heaptrack, rmm, ring" \
    --from mtraec -o "$dir/o.trace" a
refuses "$dir/none: cannot open: No such file or directory" -o "$dir/o.trace" "$dir/none"
file trace '# hmm-trace 1' 'a 0 1'
refuses "$dir/trace:1: this is a trace already" -o "$dir/o.trace" "$dir/trace"
file what hello
refuses "$dir/what:1: the first line does not tell what this is: name it with --from" \
    -o "$dir/o.trace" "$dir/what"
: >"$dir/nothing"
refuses "$dir/nothing: nothing in it" -o "$dir/o.trace" "$dir/nothing"
file huge '= Start' '@ ./p:[0x1] + 0x1000 0xffffffffffffffff'
refuses "$dir/huge:2: a block of 18446744073709551615 bytes, which no heap can have" \
    -o "$dir/o.trace" "$dir/huge"
file huge '= Start' '@ ./p:[0x1] + 0x1000 0x4000000000000000' '@ ./p:[0x1] < 0x1000' \
    '@ ./p:[0x1] > 0x1000 0x4000000000000001' '@ ./p:[0x1] + 0x2000 0x3fffffffffffffff'
if ${CC:-cc} -dM -E - </dev/null | grep -q '__LP64__ 1'; then
    refuses "$dir/huge:5: a block of 4611686018427387903 bytes: all live blocks would be above 9223372036854775807 bytes" \
        -o "$dir/o.trace" "$dir/huge"
else
    refuses "$dir/huge:2: a block of 4611686018427387904 bytes, which no heap can have" \
        -o "$dir/o.trace" "$dir/huge"
fi
import -o "$dir/no/such" "$dir/log"
[ "$code" -eq 1 ] && grep -q '^hmm import: .*/no/such: ' "$dir/err"
report $? 'a trace that cannot be written: exit code 1'

finish
