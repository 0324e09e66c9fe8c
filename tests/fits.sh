#!/bin/sh
# SPDX-License-Identifier: MIT
#
# hmm check and diff: does a trace fit into a heap, and if not, why; and what has grown? Speaks TAP.

. "$(dirname "$0")/compare_common.sh"

# ---- Does it fit? ----

hmm compare --runs 1 --allocators best-fit --format json made.trace
smallest=$(field smallest_heap "$(grep best-fit out | grep '"cache":false')")
hmm check --max-heap "$smallest" made.trace
[ "$code" -eq 0 ] && [ ! -s err ] && grep -q 'fits into' out
report $? 'check: fits'
hmm check --max-heap $((smallest - 16)) made.trace
[ "$code" -eq 1 ] && grep -q 'does not fit into' out
report $? 'check: does not fit'
hmm check --max-heap $((smallest - 16)) --format json made.trace
[ "$code" -eq 1 ] && grep -q "\"fits\":false,\"smallest_heap\":$smallest}" out
report $? 'check: JSON'
hmm check --max-heap 1M --cache made.trace
[ "$code" -eq 0 ] && grep -q 'with best-fit with a cache' out
report $? 'check: with the cache'

# Which is which depends on how large the control structures are; who is beside what does not.
hmm check --max-heap 3000 small.trace
cat >want <<'END'
hmm check: operation 5 (small.trace:6): 'a 3' of 2000 bytes is not served in 3000 bytes
END
head -n 1 err | cmp -s - want && grep -q 'free then: [0-9]* bytes in 2 holes, the largest 1' err &&
    grep -Eq 'below it: (no block, the heap begins there|block 2 of 300 bytes, born at operation 3)' err &&
    grep -Eq 'above it: (no block, the heap ends there|block 1 of 20 bytes, born at operation 2)' err &&
    grep -q 'would help: [0-9]* bytes more: best-fit completes in' err
report $? 'the post-mortem names the operation, its line, the hole and who is beside it'
more=$(sed -n 's/.*would help: \([0-9]*\) bytes more.*/\1/p' err)
hmm check --max-heap $((3000 + more)) small.trace
[ "$code" -eq 0 ]
report $? 'so many bytes more do help'

# The reader has numbers of its own: what is printed are the file's.
cat >ids.trace <<'END'
# hmm-trace 1
a 7 40
a 900 1500
a 12 60
f 900
a 44 5000
END
hmm check --max-heap 2600 ids.trace
grep -q 'below it: block 7 of 40 bytes, born at operation 1$' err &&
    grep -q 'above it: block 12 of 60 bytes, born at operation 3$' err &&
    grep -q "'a 44' of 5000 bytes" err
report $? 'blocks have the numbers of the file'

# What is piped cannot be read again for them.
"$HMM" check --max-heap 2600 - <ids.trace >out 2>err
grep -q "operation 5: 'a' of 5000 bytes" err && grep -q 'below it: block of 40 bytes, born at operation 1$' err
report $? 'blocks of standard input have no numbers'
if command -v timeout >/dev/null 2>&1 && mkfifo fifo; then
    timeout 20 cat ids.trace >fifo &
    timeout 20 "$HMM" check --max-heap 2600 fifo >out 2>err
    code=$?
    wait
    [ "$code" -eq 1 ] && grep -q 'below it: block of 40 bytes, born at operation 1$' err
    report $? 'nor have those of a FIFO, which is not waited for again'
else
    skip 'the post-mortem of a FIFO' 'there is no timeout or no mkfifo'
fi

# ---- diff ----

printf '# hmm-trace 1\na 0 100\na 1 20\na 2 33\nf 1\n' >old.trace
printf '# hmm-trace 1\na 0 100\na 1 20\na 2 3300\na 4 4000\nf 1\nf 2\n' >new.trace
hmm diff --format json old.trace new.trace
[ "$code" -eq 0 ] && grep -qx '{"what":"peak_live","old":153,"new":7420,"change":7267}' out &&
    grep -qx '{"what":"operations","old":4,"new":6,"change":2}' out &&
    grep -q '"what":"smallest_heap"' out &&
    grep -qx '{"what":"blocks of 33 to 64","old":1,"new":0,"change":-1}' out &&
    grep -qx '{"what":"blocks of 2049 to 4096","old":0,"new":2,"change":2}' out &&
    [ "$(wc -l <out)" -eq 7 ]
report $? 'diff: JSON'
hmm diff old.trace new.trace
[ "$code" -eq 0 ] && grep -Eq '^peak_live +153 +7,420 +\+7,267 +\+4749.7 %$' out &&
    grep -Eq '^blocks of 2049 to 4096 +0 +2 +\+2 +new$' out
report $? 'diff: a table'
printf '# hmm-trace 1\na 0 1\na 1 2\na 2 3\n' >tiny.trace
hmm diff tiny.trace tiny.trace
grep -q '^blocks of 0 to 1 ' out && grep -q '^blocks of 2  ' out && grep -q '^blocks of 3 to 4 ' out
report $? 'diff: a doubling of one size is named by it'
hmm diff made.trace made.trace
[ "$code" -eq 0 ] && ! grep -q '[+-][1-9]' out
report $? 'diff: nothing has changed'

# ---- What is refused ----

refuses 'none.trace: cannot open: No such file or directory' check --max-heap 1M none.trace
refuses 'hmm check: no --max-heap given: hmm check --max-heap SIZE [OPTION]... TRACE' check made.trace
refuses 'none.trace: cannot open: No such file or directory' diff made.trace none.trace
refuses 'hmm diff: two traces are needed: hmm diff [--format table|json] OLD NEW' diff made.trace

finish
