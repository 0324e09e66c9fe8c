#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The manual pages name what there is and nothing else: the commands' options, the public functions,
# the hooks of a strategy, the environment variables; and their examples compile. Speaks TAP.

. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${top_builddir:?}" "${CC:=cc}"

skip_if_essential
skip_under_valgrind

LC_ALL=C
export LC_ALL
HMM=${HMM:-$top_builddir/hmm}
pages=$top_srcdir/doc/man
lib=$top_srcdir/lib

# empty NAME FILE: one test, which passes if the file is empty; else its lines say why not.
empty() {
    [ ! -s "$2" ]
    report $? "$1" "$2"
}

# compare NAME HAVE WANT: fails for what is in one list and not in the other. A list that came out
# empty fails too: then this script no longer finds what it is to look for.
compare() {
    sort -u "$2" >"$dir/have"
    sort -u "$3" >"$dir/want"
    comm -13 "$dir/have" "$dir/want" | sed 's/^/not in the page: /' >"$dir/why"
    comm -23 "$dir/have" "$dir/want" | sed 's/^/only in the page: /' >>"$dir/why"
    [ -s "$dir/want" ] || echo "nothing found to compare with" >>"$dir/why"
    empty "$1" "$dir/why"
}

# ---- What a page names: one a line. ----

# Options whose description is in the page: "--output", "-o".
options_of() {
    sed -n '/^\.It Fl /{ s/^\.It //; s/ , -/ , Fl -/g; p; }' "$1" | tr ',' '\n' |
        sed -n 's/^ *Fl \([A-Za-z-]*\).*/-\1/p'
}

functions_of() {
    sed -n 's/^\.\(It \)\{0,1\}F[no] \([A-Za-z_]*\).*/\2/p' "$1"
}

arguments_of() {
    sed -n 's/^\.\(It \)\{0,1\}Fa //p' "$1" | tr -s ' ,' '\n' | sed '/^$/d'
}

# ---- What there is ----

options_in_help() {
    sed '1,/^Options:/d' "$1" | grep -oE '^  (-[a-zA-Z], )?--[a-z-]+' | tr -d ' ' | tr ',' '\n'
}

# Declarations begin in the first column.
functions_in() {
    sed -n 's/^[a-z].*[ *]\([hH]mm_*[A-Za-z_]*\)(.*/\1/p' "$1"
}

# fields_in STRUCT HEADER: "name" for each member.
fields_in() {
    sed -n "/^struct $1 {/,/^};/p" "$2" | sed '1d; $d' |
        sed -n 's/^ *[a-z][a-z0-9_ *]*[ *]\([a-z_]*\);.*/\1/p'
}

hooks_in() {
    sed -n 's/^ *[a-z][a-z0-9_ ]* \**(\*\([a-z_]*\))(struct hmm_heap.*/\1/p
            s/^ *size_t (\*\([a-z_]*\))(size_t .*/\1/p' "$1"
}

variables_in_sources() {
    for folder in lib strategies trace cli preload record; do
        [ ! -d "$top_srcdir/$folder" ] || find "$top_srcdir/$folder" -name '*.[ch]' -exec cat {} +
    done | grep -o '"HMM_[A-Z][A-Z_]*"' | tr -d '"'
}

# ---- Commands and their options ----

"$HMM" --help >"$dir/help"
options_in_help "$dir/help" >"$dir/there"
options_of "$pages/hmm.1" | grep -x -e -h -e -V -e --help -e --version >"$dir/named"
compare 'hmm.1 describes the options that come without a command' "$dir/named" "$dir/there"
sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' "$dir/help" >"$dir/commands"
[ -s "$dir/commands" ] || echo "hmm --help lists none" >"$dir/why-none"
empty 'hmm --help lists commands' "$dir/why-none"

while read -r command; do
    grep -q "^\.It Cm $command\$" "$pages/hmm.1" || echo "no .It Cm $command" >"$dir/why-$command"
    empty "hmm.1 describes $command" "$dir/why-$command"
    "$HMM" "$command" --help >"$dir/help"
    options_in_help "$dir/help" >"$dir/there"
    if [ -e "$pages/hmm-$command.1" ]; then
        options_of "$pages/hmm-$command.1" >"$dir/named"
        compare "hmm-$command.1 describes its options" "$dir/named" "$dir/there"
    else
        options_of "$pages/hmm.1" | grep -Fx -f "$dir/there" >"$dir/named"
        compare "hmm.1 describes the options of $command" "$dir/named" "$dir/there"
    fi
done <"$dir/commands"

for page in "$pages"/hmm-*.1; do
    command=${page##*/hmm-}
    command=${command%.1}
    grep -qx "$command" "$dir/commands" ||
        skip "hmm-$command.1 describes its options" "this build has no command $command"
done

# ---- The library ----

cat "$lib/hmm.h" "$lib/heap_memory_manager.h" >"$dir/hmm.h"
functions_in "$dir/hmm.h" >"$dir/there"
functions_of "$pages/hmm.3" >"$dir/named"
compare 'hmm.3 has the functions of hmm.h and heap_memory_manager.h' "$dir/named" "$dir/there"
sed -n 's/^\.Nm \([^ ]*\).*/\1/p' "$pages/hmm.3" | sed '/^hmm$/d' >"$dir/named"
compare 'hmm.3 can be found by the name of each' "$dir/named" "$dir/there"

sed -n 's/.*const \(HMM_[A-Z_]*\);.*/\1/p' "$lib/hmm.h" >"$dir/there"
sed -n 's/^\.Va \(HMM_[A-Z_]*\).*/\1/p' "$pages/hmm.3" >"$dir/named"
compare 'hmm.3 has the built-in strategies' "$dir/named" "$dir/there"

fields_in hmm_stats "$lib/hmm.h" >"$dir/there"
fields_in hmm_block_info "$lib/hmm.h" >>"$dir/there"
arguments_of "$pages/hmm.3" | grep -Fx -f "$dir/there" >"$dir/named"
compare 'hmm.3 has the fields of the statistics and of a block' "$dir/named" "$dir/there"

functions_in "$lib/hmm-strategy.h" >"$dir/there"
functions_of "$pages/hmm-strategy.7" | grep -v -e '^hmm_init$' -e '^hmm_heap_create$' >"$dir/named"
compare 'hmm-strategy.7 has the functions of hmm-strategy.h' "$dir/named" "$dir/there"

hooks_in "$lib/hmm-strategy.h" >"$dir/there"
sed -n 's/^\.It Fa //p' "$pages/hmm-strategy.7" | tr -s ' ,' '\n' | sed '/^$/d' |
    grep -vx -e abi -e flags -e name -e summary >"$dir/named"
compare 'hmm-strategy.7 has the hooks of a strategy' "$dir/named" "$dir/there"

sed -n 's/^#define \(HMM_[A-Z_]*\) .*/\1/p; s/^ *\(HMM_[A-Z_]*\) = .*/\1/p' \
    "$lib/hmm-strategy.h" >"$dir/there"
sed -n 's/^\.Dv \(HMM_[A-Z_]*\).*/\1/p' "$pages/hmm-strategy.7" >"$dir/named"
compare 'hmm-strategy.7 has the constants' "$dir/named" "$dir/there"

# ---- The environment ----

variables_in_sources >"$dir/there"
cat "$pages"/*.[1-9] | grep -o 'Ev HMM_[A-Z_]*' | sed 's/Ev //' >"$dir/all-named"
for folder in preload record; do
    [ ! -d "$top_srcdir/$folder" ] || continue
    skip "the environment of $folder" 'its sources are not here'
    cp "$dir/all-named" "$dir/named"
    grep -Fx -f "$dir/there" "$dir/named" >"$dir/all-named"
done
compare 'the pages have the environment variables' "$dir/all-named" "$dir/there"

sed -n '/^static const char \*const variables/,/};/p' "$lib/process/env.c" |
    grep -o '"HMM_[A-Z][A-Z_]*"' | tr -d '"' >"$dir/known"
compare 'the library knows the variables of all parts' "$dir/known" "$dir/there"

# ---- The pages themselves ----

set -- "$pages"/*.[1-9]
for page in "$@"; do
    name=${page##*/}
    grep -q "/man/$name\( \\\\\)*\$" "$top_srcdir/doc/Makefile.inc" || echo "$name"
done >"$dir/why"
empty 'every page is in the Makefile' "$dir/why"

if command -v mandoc >/dev/null 2>&1; then
    mandoc -Tlint -Wwarning "$@" >"$dir/why" 2>/dev/null
    empty 'mandoc finds nothing' "$dir/why"
else
    skip 'mandoc finds nothing' 'there is no mandoc'
fi

# Each literal display that begins with an #include, as PREFIX1.c and so on.
examples() {
    awk -v prefix="$2" '
        /^\.Ed/ { on = 0 }
        on == 1 { on = 0; if (/^#include/) { n++; file = prefix n ".c"; on = 2 } }
        on == 2 { gsub(/\\e/, "\\"); print > file }
        /^\.Bd -literal/ { on = 1 }' "$1"
}

# The compiler may come with options.
# shellcheck disable=SC2086
syntax() {
    $CC -std=c11 -Wall -Wextra -Werror -fsyntax-only "-I$lib" "$1"
}

# shellcheck disable=SC2086
plugin() {
    $CC ${TEST_CFLAGS:-} -shared -fPIC "-I$lib" -o "$dir/strategy1.so" "$dir/strategy1.c"
}

examples "$pages/hmm.3" "$dir/program"
examples "$pages/hmm-strategy.7" "$dir/strategy"
for file in "$dir"/program*.c "$dir"/strategy*.c; do
    name=${file##*/}
    check "an example compiles: ${name%.c}" syntax "$file"
done

# Blocks of many sizes, holes between them, some of which melt, and again the other way round.
awk 'BEGIN {
    print "# hmm-trace 1"
    for (round = 0; round < 3; round++) {
        for (i = 0; i < 60; i++) print "a", i, 20 + i * (round + 37) % 300
        for (i = 0; i < 60; i += 2) print "f", i
        for (i = 1; i < 60; i += 6) print "f", i
        for (i = 0; i < 60; i += 4) print "a", i, 10 + i * 7 % 250
        for (i = 3; i < 60; i += 6) print "r", i, 400 - i
        for (i = 59; i >= 0; i--) if (i % 4 == 0 || i % 2 && i % 6 != 1) print "f", i
    }
}' >"$dir/t.trace"
# A list that is linked wrongly may have no end.
limit=
! command -v timeout >/dev/null 2>&1 || limit='timeout 30'
if "$HMM" replay --strategy "$dir/none.so" "$dir/t.trace" 2>&1 | grep -q 'has no plug-ins'; then
    skip 'the strategy of the example works' 'this build has no plug-ins'
elif plugin >"$dir/why" 2>&1; then
    # shellcheck disable=SC2086
    check 'the strategy of the example works' \
        $limit "$HMM" replay --check --strategy "$dir/strategy1.so" "$dir/t.trace"
else
    empty 'the strategy of the example works' "$dir/why"
fi

finish
