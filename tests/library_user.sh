#!/bin/sh
# SPDX-License-Identifier: MIT
# The historic names work from the library, as this build has it. Speaks TAP.
. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${top_builddir:?}" "${CC:=cc}"

skip_under_valgrind

cat >"$dir/user.c" <<'END'
#include "heap_memory_manager.h"
int main() { int *array = (int *)HmmAlloc(10 * sizeof(int)); HmmFree(array); return 0; }
END

user() {
    # shellcheck disable=SC2086,SC2154
    cd "$dir" && $LIBTOOL --mode=compile $CC $TEST_CFLAGS -I"$top_srcdir/lib" -c user.c &&
        $LIBTOOL --mode=link $CC $TEST_CFLAGS -o user user.lo "$top_builddir/libhmm.la" && ./user
}
check "a user's program with libhmm" user
finish
