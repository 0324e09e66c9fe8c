# shellcheck shell=sh disable=SC2034
# SPDX-License-Identifier: MIT
#
# What the scripts about `make firmware` share, to be sourced: how its files are made, compiled and
# looked at.
. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${top_builddir:?}" "${CC:=cc}" "${NM:=nm}"

skip_if_essential
skip_under_valgrind

all='realloc aligned calloc regions images checks messages stats walk locks trace process'
strategies='first-fit next-fit best-fit segregated'
strict='-Wall -Wextra -Wshadow -Wconversion -Werror'
log=$dir/log
levels='-Os -O0 -O2' choices="$strategies first-fit,segregated"
call_graph=$(cd "$top_srcdir" && pwd)/scripts/call-graph
target=$(cd "$top_srcdir" && pwd)/tests/target
top_builddir=$(cd "$top_builddir" && pwd)

# firmware STRATEGIES PARTS: makes the two files in $dir/STRATEGIES.
firmware() {
    # shellcheck disable=SC2086,SC2154
    (cd "$top_srcdir" && sh scripts/firmware . "$dir/$1" "$1" "$2" $firmware_parts)
}

# absent PATTERN FILE: no line of the file matches; an error of grep's fails too.
absent() {
    grep -nE "$1" "$2"
    [ $? -eq 1 ]
}

# needs OBJECT NM: nothing but these three; ARM's own names of them too.
needs() {
    $2 -u "$1" | sed 's/^ *[Uw] //' >undefined
    grep -vxE 'memcpy|memmove|memset|__aeabi_mem(cpy|move|set|clr)[48]?' undefined
    [ $? -eq 1 ]
}

# made STRATEGIES PARTS: prints the folder that has these two files; they are made once.
made() {
    folder=$dir/made-$(echo "$*" | tr ' ,' '__')
    # shellcheck disable=SC2086
    [ -d "$folder" ] || (cd "$top_srcdir" &&
        sh scripts/firmware . "$folder" "$1" "$2" $firmware_parts) || return 1
    echo "$folder"
}

# compiles COMPILER ARGUMENT...: with no part and with all, each strategy, two of them, with
# plug-ins; no warning, and nothing is wanted but three functions. $names: how to list symbols.
compiles() {
    for chosen in $choices; do
        for parts in '' "$all" "$all plugins"; do
            cd "$(made "$chosen" "$parts")" || return 1
            for level in $levels; do
                # shellcheck disable=SC2086
                "$@" $level $strict -std=c11 -c hmm.c || return 1
                # shellcheck disable=SC2154
                needs hmm.o "$names" || {
                    echo "$chosen with $parts, $level"
                    return 1
                }
            done
        done
    done
}

# As compiles: of a C library with what it defines.
has() {
    command -v "$1" >/dev/null && echo 'int main(void) { return 0; }' >"$dir/probe.c" &&
        "$@" -c -o "$dir/probe.o" "$dir/probe.c" >"$log" 2>&1
}

# constant STRATEGY: as the constant is named in C.
constant() {
    echo "HMM_$1" | tr 'a-z-' 'A-Z_'
}

# with PART...: the options for them. Images take the checks.
with() {
    case "$*" in
    *IMAGES*) printf ' -DHMM_WITH_CHECKS=1' ;;
    esac
    printf ' -DHMM_WITH_%s=1' "$@"
}

# alone COMPILER ARGUMENT...: each part with each strategy.
alone() {
    for strategy in $strategies; do
        cd "$(made "$strategy" '')" || return 1
        for one in $(echo "$all plugins" | tr "[:lower:]" "[:upper:]"); do
            # shellcheck disable=SC2086,SC2046
            if ! "$@" -Os -DHMM_PANIC_HANDLED $(with "$one") $strict -std=c11 -c hmm.c ||
                ! needs hmm.o "$names"; then
                echo "$strategy with $one"
                return 1
            fi
        done
    done
}

# library OPTION...: compiles the library as one file, once for these options, in a folder, whose
# name it prints.
library() {
    folder=$dir/library$(echo "$*" | tr -c 'a-zA-Z0-9\n' _)
    if [ ! -d "$folder" ]; then
        # shellcheck disable=SC2086,SC2154
        mkdir "$folder" && (cd "$top_srcdir" &&
            sh scripts/single-file . "$folder" $single_file_parts) &&
            $CC -O1 "$@" -DHMM_NO_MAIN -c -o "$folder/whole.o" "$folder/heap_memory_manager.c" ||
            return 1
    fi
    echo "$folder"
}
