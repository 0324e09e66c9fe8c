# shellcheck shell=sh
# SPDX-License-Identifier: MIT
#
# Which allocators there are. Part of bench/run.sh, which sets what is used here.
#
# A line of $dir/allocators: NAME, "malloc", "adapter" or "nothing", the library, the strategy,
# HMM_CACHE, and the kind, with tabs between; "-" where there is nothing. Kinds:
#
#     front    hmm's process heap in a program that is not changed
#     plain    the same with HMM_CACHE=0: nothing between the lock and the strategy
#     cached   a heap of one's own, with its cache: no lock, no threads
#     bare     a heap of one's own: nothing above the strategy either
#     peer     another malloc library
#     own      a malloc library that was given by --preload
#     adapter  an allocator that was given by --adapter
#     loop     what the patterns of bench/threads take by themselves

: "${dir:?}" "${build:?}" "${tab:?}" "${hmm:?}" "${strategies:?}" "${peers:?}"
# shellcheck disable=SC2154  # set in run.sh, and may be empty
: "$adapters" "$preloads"

# An absolute path, which the dynamic linker takes in whatever folder it is asked for.
absolute() {
    case $1 in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s/%s\n' "$PWD" "$1" ;;
    esac
}

# add NAME KIND_OF FILE STRATEGY CACHE KIND
add() {
    if cut -f 1 "$dir/allocators" | grep -qxF -e "$1"; then
        die "there are two allocators called $1"
    fi
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$@" >>"$dir/allocators"
}

# The file that malloc comes from where the library is preloaded. The dynamic linker only says so,
# and goes on, where it cannot load a library.
malloc_of() {
    LD_PRELOAD=$1 "$build/bench/replay" probe malloc 2>"$dir/err" | sed -n 's/^malloc //p'
}

# $preload: hmm's malloc library, empty where it cannot be used.
find_preload() {
    preload=
    for file in "$build/.libs/libhmm-preload.so" "$build/preload/.libs/libhmm-preload.so"; do
        [ ! -e "$file" ] || preload=$(absolute "$file")
    done
    case $preload,$(malloc_of "$preload") in
    ,*) note "no libhmm-preload.so in this build: hmm is measured as a heap of one's own only" ;;
    "$preload,$preload") ;;
    *)
        note "$preload cannot be preloaded: hmm is measured as a heap of one's own only"
        preload=
        ;;
    esac
}

# add_strategies KIND KIND_OF FILE CACHE: hmm in one of its kinds.
add_strategies() {
    for word in $(words "$strategies"); do
        case $word in */*) word=$(absolute "$word") ;; esac
        label=${word##*/}
        add "$1/${label%.so}" "$2" "$3" "$word" "$4" "$1"
    done
}

add_hmm() {
    case ,$hmm, in *,front,* | *,plain,*) find_preload ;; esac
    own=$(absolute "$build/bench/.libs/adapter_hmm.so")
    case ,$hmm, in *,cached,* | *,bare,*)
        [ -e "$own" ] || note "no $own: this build makes no shared objects"
        ;;
    esac
    for which in $(words "$hmm"); do
        case $which in
        front) [ -z "$preload" ] || add_strategies front malloc "$preload" 1 ;;
        plain) [ -z "$preload" ] || add_strategies plain malloc "$preload" 0 ;;
        cached) [ ! -e "$own" ] || add_strategies cached adapter "$own" 1 ;;
        bare) [ ! -e "$own" ] || add_strategies bare adapter "$own" 0 ;;
        esac
    done
}

# add_peer NAME PACKAGE SONAME...
add_peer() {
    peer=$1 package=$2
    shift 2
    for soname in "$@"; do
        found=$(malloc_of "$soname")
        case $found in
        */"$soname")
            add "$peer" malloc "$found" - - peer
            return
            ;;
        esac
    done
    note "$peer is not installed (Debian package: $package)"
}

add_peers() {
    for word in $(words "$peers"); do
        case $word in
        glibc) add glibc malloc - - - peer ;;
        jemalloc) add_peer jemalloc libjemalloc2 libjemalloc.so.2 ;;
        mimalloc) add_peer mimalloc libmimalloc2.0 libmimalloc.so.2.0 libmimalloc.so.2 \
            libmimalloc.so.3 ;;
        tcmalloc) add_peer tcmalloc libtcmalloc-minimal4 libtcmalloc_minimal.so.4 \
            libtcmalloc.so.4 ;;
        esac
    done
}

add_preload() {
    [ -r "$1" ] || die "--preload: cannot read $1"
    library=$(absolute "$1")
    [ "$(malloc_of "$library")" = "$library" ] || die "--preload: $1 brings no malloc"
    label=${1##*/}
    add "${label%%.so*}" malloc "$library" - - own
}

add_adapter() {
    [ -r "$1" ] || die "--adapter: cannot read $1"
    library=$(absolute "$1")
    # In braces, so that what the shell says of a crash goes to the file too.
    { "$build/bench/replay" probe "$library" >"$dir/out"; } 2>"$dir/err" || {
        grep -m 1 '^bench: ' "$dir/err" >&2 || die "adapter $1: crashes when it is tried out"
        exit 2
    }
    add "$(sed -n 's/^adapter //p' "$dir/out")" adapter "$library" - - adapter
}

# Each of these ends the whole run where one cannot be used, so they are not run in a subshell.
printf '%s' "$preloads" >"$dir/preloads"
printf '%s' "$adapters" >"$dir/adapters"
add_hmm
while read -r given; do add_adapter "$given"; done <"$dir/adapters"
while read -r given; do add_preload "$given"; done <"$dir/preloads"
add_peers
[ -s "$dir/allocators" ] || die 'there is no allocator to measure'
add loop-alone nothing - - - loop
