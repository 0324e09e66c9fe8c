#!/bin/sh
# SPDX-License-Identifier: MIT
#
# hmm map: what it draws, where, and what it refuses. Speaks TAP.
# HMM: the command (default: hmm in the build folder).

. "$(dirname "$0")/tap.sh"
skip_under_valgrind

HMM=${HMM:-${top_builddir:-.}/hmm}
top=${top_srcdir:-${srcdir:-.}}
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}exitcode=97 UBSAN_OPTIONS=exitcode=97
export ASAN_OPTIONS UBSAN_OPTIONS
unset COLUMNS NO_COLOR

map() {
    "$HMM" map "$@" >"$dir/out" 2>"$dir/err"
    code=$?
}

# refuses LINE ARGUMENT...: exit code 2, nothing on stdout, exactly this line on stderr.
refuses() {
    line=$1
    shift
    map "$@"
    printf '%s\n' "$line" >"$dir/want"
    [ "$code" -eq 2 ] && [ ! -s "$dir/out" ] && cmp -s "$dir/want" "$dir/err"
    report $? "refused: $line"
}

# The trace's heap after operation 6: 1,000 large blocks' room in use, one hole in their midst.
cat >"$dir/hole.trace" <<'END'
# hmm-trace 1
a 0 100000
a 1 200000
a 2 100000
a 3 100000
f 1
a 4 10
r 4 20
f 0
f 2
END
hole=$dir/hole.trace
strategies=$("$HMM" strategies --format json | wc -l)

# ---- What is where ----

map --at 5 "$hole"
[ "$code" -eq 0 ] && [ ! -s "$dir/err" ] &&
    [ "$(grep -c ' times live; 1 hole of 195.3 KiB, the largest 195.3 KiB$' "$dir/out")" -eq \
        "$strategies" ]
report $? 'after operation 5 there is one hole on each strategy, the freed block'

map --at 5 --strategy best-fit "$hole"
# Two fifths of the letters, or one more or fewer, are the hole, in one piece a fifth from the start.
awk '/^[#.:+*=]+$/ { all = all $0 }
    END {
        n = length(all)
        first = index(all, ".")
        holes = gsub(/\./, "", all)
        exit !(n > 400 && first > 0.17 * n && first < 0.23 * n && holes > 0.37 * n && holes < 0.43 * n)
    }' "$dir/out"
report $? 'the hole is drawn where it is and as long as it is'

map --at 4 --strategy best-fit "$hole"
# But for what is above the last block.
! grep -q '^[#:+*=]*\.\.*#' "$dir/out" && grep -q '; 0 holes of 0 B' "$dir/out"
report $? 'before it there is none'

map "$hole"
tr '\n' ' ' <"$dir/out" | grep -q 'after operation 4 of 9, when most is live: 488.3 KiB live in 4 blocks'
report $? 'without --at it is the peak'

map --at peak "$hole" && cp "$dir/out" "$dir/peak" && map "$hole" && cmp -s "$dir/peak" "$dir/out"
report $? '--at peak is the same'

# A heap that only grows ends at its peak break.
awk 'BEGIN { print "# hmm-trace 1"; for (i = 0; i < 3000; i++) print "a", i, 1 + i * 37 % 900 }' \
    >"$dir/grows.trace"
"$HMM" replay --runs 1 "$dir/grows.trace" >"$dir/replayed"
map --at 3000 "$dir/grows.trace"
awk 'NR == FNR { if ($1 ~ /-fit|segregated/) brk[$1] = $5 " " $6; next }
    / break / { sub(":", "", $1); sub(",", "", $4); n++; bad += brk[$1] != $3 " " $4 }
    END { exit !(n > 3 && bad == 0) }' "$dir/replayed" "$dir/out"
report $? 'the break is what hmm replay says'

map --strategy first-fit,best-fit "$hole"
[ "$(grep -c ' break ' "$dir/out")" -eq 2 ]
report $? '--strategy chooses'

printf '# hmm-trace 1\n' >"$dir/empty.trace"
map "$dir/empty.trace"
[ "$code" -eq 0 ] && grep -q 'after operation 0 of 0' "$dir/out"
report $? 'a trace without operations has a map'

head -c 20000 "$top/examples/traces/jq-json.trace.zst" >"$dir/cut.trace.zst"
map "$dir/cut.trace.zst"
if [ "$code" -eq 2 ] && grep -q 'this build of hmm cannot read' "$dir/err"; then
    skip 'a trace that is cut' 'this build reads no zstd'
else
    grep -q ': truncated: the zstd data ends in the middle of a frame$' "$dir/err"
    report $? 'a trace that is cut is said to be, and drawn to the cut'
fi
for trace in "$top"/examples/traces/*.zst; do
    map "$trace"
    [ "$code" -eq 0 ] || { [ "$code" -eq 2 ] && grep -q 'zstd' "$dir/err"; }
    report $? "a map of ${trace##*/}"
done

printf '# hmm-trace 1\nm 0 4096 0\nm 1 4096 8\nr 0 100\nr 1 9\nr 0 0\n' >"$dir/aligned.trace"
map --at 5 "$dir/aligned.trace"
[ "$code" -eq 0 ] && [ ! -s "$dir/err" ] && grep -q ': 9 B live in 2 blocks' "$dir/out"
report $? 'an aligned block of no bytes can be resized'

# ---- Where it is drawn ----

map "$hole"
! LC_ALL=C grep -q '[^ -~]' "$dir/out"
report $? 'plain ASCII where the output is no terminal'

COLUMNS=33 "$HMM" map "$hole" >"$dir/out" 2>"$dir/err"
awk '/^[#.:+*=]+$/ { n++; if (length($0) > 33) bad = 1; if (length($0) == 33) full = 1 }
    END { exit bad || !full }' "$dir/out"
report $? 'COLUMNS is the width'

# in_terminal COLUMNS LOCALE: what a terminal gets, in $dir/out.
cat >"$dir/terminal.py" <<'END'
import fcntl, os, pty, struct, sys, termios
columns, command = int(sys.argv[1]), sys.argv[2:]
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    os.execvp(command[0], command)
said = b""
while True:
    try:
        more = os.read(fd, 65536)
    except OSError:
        break
    if not more:
        break
    said += more
sys.stdout.buffer.write(said.replace(b"\r\n", b"\n"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
if python3 -c 'import os, pty; os.waitstatus_to_exitcode' 2>/dev/null; then
    LC_ALL=C.UTF-8 TERM=xterm python3 "$dir/terminal.py" 50 "$HMM" map "$hole" >"$dir/out" 2>"$dir/err"
    code=$?
    [ "$code" -eq 0 ] && grep -q '█' "$dir/out" && grep -q "$(printf '\033')\[36m" "$dir/out"
    report $? 'a terminal in UTF-8 gets shades in colour'
    sed "s/$(printf '\033')\[[0-9]*m//g" "$dir/out" | LC_ALL=C.UTF-8 awk '
        /^[█▓▒░·≡]+$/ { n++; if (length($0) > 50) bad = 1; if (length($0) == 50) full = 1 }
        END { exit bad || !full || n < 8 }'
    case $? in
    0) report 0 'as wide as it is' ;;
    *)
        # An awk that counts bytes cannot tell.
        if [ "$(printf '█' | LC_ALL=C.UTF-8 awk '{ print length($0) }')" = 1 ]; then
            report 1 'as wide as it is'
        else
            skip 'as wide as it is' 'this awk counts bytes'
        fi
        ;;
    esac
    NO_COLOR=1 LC_ALL=C.UTF-8 TERM=xterm python3 "$dir/terminal.py" 50 "$HMM" map "$hole" \
        >"$dir/out" 2>"$dir/err"
    grep -q '█' "$dir/out" && ! grep -q "$(printf '\033')" "$dir/out"
    report $? 'NO_COLOR: no colour'
    LC_ALL=C TERM=dumb python3 "$dir/terminal.py" 50 "$HMM" map "$hole" >"$dir/out" 2>"$dir/err"
    ! LC_ALL=C grep -q '[^ -~]' "$dir/out" && grep -q '^#' "$dir/out"
    report $? 'a terminal that is not in UTF-8 gets ASCII'
else
    for name in 'a terminal in UTF-8 gets shades in colour' 'as wide as it is' \
        'NO_COLOR: no colour' 'a terminal that is not in UTF-8 gets ASCII'; do
        skip "$name" 'there is no python3 to make a terminal'
    done
fi

# ---- SVG ----

map --format svg -o "$dir/map.svg" --at 5 "$hole"
[ "$code" -eq 0 ] && [ ! -s "$dir/out" ] && [ ! -s "$dir/err" ] && [ -s "$dir/map.svg" ]
report $? '-o writes a file'
cat >"$dir/svg.py" <<'END'
import re, sys
import xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
ns = "{http://www.w3.org/2000/svg}"
assert root.tag == ns + "svg" and root.find(ns + "title").text
area = {}
for path in root.iter(ns + "path"):
    widths = [int(w) for w in re.findall(r"h(\d+)v", path.get("d"))]
    area[path.get("class")] = area.get(path.get("class"), 0) + sum(widths)
share = area["free"] / sum(area.values())
assert 0.37 < share < 0.43, area
END
if command -v python3 >/dev/null 2>&1; then
    python3 "$dir/svg.py" "$dir/map.svg" 2>"$dir/err"
    report $? 'the SVG is XML, and the hole has its share of it'
else
    skip 'the SVG is XML, and the hole has its share of it' 'there is no python3'
fi
! grep -q 'https\{0,1\}://' "$dir/map.svg" || [ "$(grep -c 'https\{0,1\}://' "$dir/map.svg")" -eq 1 ]
report $? 'and it fetches nothing'

# ---- What it refuses ----

refuses 'hmm map: no trace given: hmm map [OPTION]... TRACE'
refuses "hmm map: one trace at a time: 'b'" a b
refuses "hmm map: --at: 'end' is neither the number of an operation, from 1, nor 'peak' or 'break'" --at end a
refuses "hmm map: --at: '0' is neither the number of an operation, from 1, nor 'peak' or 'break'" --at 0 a
refuses 'hmm map: --at: the trace has 9 operations' --at 10 "$hole"
refuses "hmm map: unknown format 'svx'; did you mean 'svg'? Allowed: text, svg" --format svx a
refuses "$dir/none: cannot open: No such file or directory" "$dir/none"
map -o "$dir/no/such" "$hole"
[ "$code" -eq 1 ] && grep -q '^hmm map: .*/no/such: cannot write: No such file' "$dir/err"
report $? 'a file that cannot be written: exit code 1'

finish
