#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Who includes whom: every file includes only what lib/LAYERS lets it. And that those who break it
# are found, in a tree that is made up. Speaks TAP.
. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}"

skip_under_valgrind

# layers FOLDER: what breaks FOLDER/lib/LAYERS in that tree, a line each.
layers() {
    (
        cd "$1" || exit 99
        folders=$(sed '/^ *#/d' lib/LAYERS | tr -s ' ' '\n' | sed -n 's|/.*||p' | sort -u)
        there=$(for folder in $folders; do [ ! -d "$folder" ] || echo "$folder"; done)
        # shellcheck disable=SC2086  # names of folders
        find $there -name '*.[ch]' | LC_ALL=C sort >"$dir/files"
        # shellcheck disable=SC2046
        awk '
            function regular(glob) {
                gsub(/\./, "[.]", glob)
                gsub(/\*/, "[^/]*", glob)
                return "^" glob "$"
            }
            # The number of the first layer that has the file; 0 if none has.
            function layer_of(file,    i) {
                for (i = 1; i <= patterns; i++)
                    if (file ~ pattern[i])
                        return layer[i]
                return 0
            }
            # A path without "." and "..".
            function plain(path) {
                while (sub(/(^|\/)[^.\/][^\/]*\/\.\.\//, "/", path))
                    ;
                gsub(/\/\.\//, "/", path)
                sub(/^\//, "", path)
                return path
            }
            # The file that a file means by this name: beside it, or the only one so called in any
            # folder that is not exempt. "" if there is none, "?" if there are several.
            function find(name, from,    folder, path, found) {
                folder = from
                sub(/[^\/]*$/, "", folder)
                if (plain(folder name) in exists)
                    return plain(folder name)
                for (path in exists)
                    if (!is_exempt(path) && ends_with(path, "/" name))
                        found = found == "" ? path : "?"
                return found
            }
            function ends_with(s, end) {
                return length(s) >= length(end) && substr(s, length(s) - length(end) + 1) == end
            }
            function is_exempt(file) {
                return name_of[layer_of(file)] == "exempt"
            }
            function say(what) {
                print FILENAME ":" FNR ": " what
            }
            FILENAME == "lib/LAYERS" {
                if ($0 ~ /^ *(#|$)/)
                    next
                name_of[++layers] = $1
                for (i = 2; i <= NF; i++) {
                    pattern[++patterns] = regular($i)
                    layer[patterns] = layers
                }
                next
            }
            FILENAME == list {
                exists[$0] = 1
                next
            }
            FNR == 1 {
                mine = layer_of(FILENAME)
                if (mine == 0)
                    say("is in no layer")
                exempt = mine == 0 || is_exempt(FILENAME)
            }
            exempt || !/^[ \t]*#[ \t]*include[ \t]*"/ { next }
            {
                split($0, part, "\"")
                path = find(part[2], FILENAME)
                if (path == "") {
                    if (part[2] != "config.h")
                        say("there is no " part[2])
                } else if (path == "?")
                    say("there are several called " part[2])
                else if (path ~ /\.c$/)
                    say("includes " path ", which is no header")
                else if (layer_of(path) > mine)
                    say(name_of[mine] " includes " path ", which is above it, in " \
                        name_of[layer_of(path)])
            }' list="$dir/files" lib/LAYERS "$dir/files" $(cat "$dir/files")
    )
}

# plant FILE LINE...: a file of the made-up tree.
plant() {
    file=$dir/tree/$1
    shift
    mkdir -p "${file%/*}"
    printf '%s\n' "$@" >"$file"
}

# A tree with a file in each folder, in which all is well.
make_tree() {
    rm -rf "$dir/tree"
    mkdir -p "$dir/tree/lib"
    cp "$top_srcdir/lib/LAYERS" "$dir/tree/lib"
    plant lib/hmm.h '#include <stddef.h>'
    plant lib/base/lock.h '#include "config.h"' '#include "hmm.h"'
    plant lib/heap/heap.h '#include "base/lock.h"' '#include "../base/lock.h"'
    plant lib/heap/heap.c '#include "heap.h"'
    plant strategies/bins.h '#include "heap/heap.h"'
    plant lib/cache/cache.h '#include "bins.h"' '  #  include "heap/heap.h"'
    plant lib/api/heap_api.c '#include "cache.h"' '#include "lock.h"'
    plant lib/process/process.h '#include "cache/cache.h"'
    plant preload/malloc.c '#include "process/process.h"'
    plant trace/trace.h '#include "hmm.h"'
    plant record/pool.h '#include "trace.h"'
    plant cli/cli.c '#include "pool.h"' '#include "heap.h"'
    plant tests/heap_test.c '#include "../lib/heap/heap.c"' '#include "cache.h"'
    plant tests/harness.h '#include "heap.h"'
    plant tests/preload/heap.h '#include "case.h"'
}

# none FOLDER: nothing in it breaks the layers.
none() {
    layers "$1" >"$dir/found"
    cat "$dir/found"
    [ ! -s "$dir/found" ]
}

# finds LINE FILE LINE-OF-FILE...: in the made-up tree with this file, that and nothing else breaks.
finds() {
    want=$1
    shift
    make_tree
    plant "$@"
    layers "$dir/tree" >"$dir/out"
    echo "$want" >"$dir/want"
    cmp -s "$dir/want" "$dir/out"
    report $? "found: $want"
}

make_tree
check 'a tree without a fault' none "$dir/tree"
finds 'lib/base/lock.h:2: base includes lib/heap/heap.h, which is above it, in heap' \
    lib/base/lock.h '#include "hmm.h"' '#include "heap/heap.h"'
finds 'lib/base/lock.h:1: base includes lib/heap/heap.h, which is above it, in heap' \
    lib/base/lock.h '#  include "../heap/heap.h"'
finds 'lib/heap/create.c:1: heap includes lib/cache/cache.h, which is above it, in cache' \
    lib/heap/create.c '#include "cache.h"'
finds 'lib/heap/create.c:1: heap includes strategies/bins.h, which is above it, in strategies' \
    lib/heap/create.c '#include "bins.h"'
finds 'strategies/bins.c:1: strategies includes lib/cache/cache.h, which is above it, in cache' \
    strategies/bins.c '#include "cache/cache.h"'
finds 'lib/cache/run.c:1: cache includes lib/process/process.h, which is above it, in process' \
    lib/cache/run.c '#include "process.h"'
finds 'lib/hmm.h:1: public includes lib/base/lock.h, which is above it, in base' \
    lib/hmm.h '#include "base/lock.h"'
finds 'trace/trace.h:1: trace includes record/pool.h, which is above it, in record' \
    trace/trace.h '#include "pool.h"'
finds 'preload/info.c:1: includes lib/heap/heap.c, which is no header' \
    preload/info.c '#include "../lib/heap/heap.c"'
finds 'lib/heap/heap.c:1: heap includes tests/harness.h, which is above it, in exempt' \
    lib/heap/heap.c '#include "../../tests/harness.h"'
finds 'lib/stray.c:1: is in no layer' lib/stray.c '#include "cache.h"'
finds 'lib/api/heap_api.c:1: there is no nowhere.h' lib/api/heap_api.c '#include "nowhere.h"'
finds 'lib/api/heap_api.c:2: there are several called lock.h' strategies/lock.h ''

check 'the tree' none "$top_srcdir"
finish
