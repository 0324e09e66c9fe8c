#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Real programs under the preload library: each does the same small work without hmm and then under
# every strategy, and what it prints, its exit status and the files it leaves must be the same.
# A program that is not installed is skipped. Speaks TAP.
# With arguments: only the works of these names. RESULTS: a folder to keep what came out.
# shellcheck disable=SC2086,SC2016  # $under is a command's first words; awk has a $ too

. "$(dirname "$0")/tap.sh"
skip_if_essential

top=${top_srcdir:-${srcdir:-.}}

# elf_class FILE: 1 for 32 bits, 2 for 64.
elf_class() {
    od -An -tu1 -j4 -N1 "$1" | tr -d ' '
}

# absolute FILE: its name from the root, as the works have a folder of their own.
absolute() {
    (cd "$(dirname "$1")" && echo "$PWD/$(basename "$1")")
}

use_preload_library
if [ "$(elf_class "$PRELOAD")" != "$(elf_class "$(command -v sort)")" ]; then
    skip_all "the programs of this system are of another word size"
fi

HMM=$(absolute "$HMM") PRELOAD=$(absolute "$PRELOAD") top=$(cd "$top" && pwd)

# python3 may be a script that finds the interpreter.
python=$(python3 -c 'import sys; print(sys.executable)' 2> "$dir/python.log") || python=python3

# Nothing of the caller's may change what the programs do.
unset LD_PRELOAD HMM_STRATEGY HMM_HEAP_SIZE HMM_CACHE HMM_CHECK HMM_STATS HMM_VERBOSE HMM_FOREIGN
unset MAKEFLAGS MFLAGS JAVA_TOOL_OPTIONS NODE_OPTIONS PERL5OPT PYTHONPATH PYTHONSTARTUP
export LC_ALL=C TZ=UTC HOME="$dir" TMPDIR="$dir" PERL_HASH_SEED=0 PYTHONHASHSEED=0
# Python keeps small objects to itself unless told not to.
export GIT_CONFIG_NOSYSTEM=1 PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1
# shellcheck disable=SC3045  # where it is unknown, there may be a core file to remove
ulimit -c 0 2> "$dir/ulimit.log"

# ---- The works ----
# work_NAME: works in an empty folder, the same path each time; $in holds the input. Every program
# that counts is run as "$under program ...". What it prints and leaves must not depend on the time
# or on addresses. needs_NAME: the program, if its name is another.

in=$dir/in
mkdir "$in"

awk 'BEGIN {
    for (x = i = 1; i <= 20000; i++) {
        x = (x * 1103515245 + 12345) % 2147483648
        print x, "key" x % 977, substr("abcdefghijklmnopqrstuvwxyz", x % 20 + 1, x % 7 + 1), i
    }
}' > "$in/lines"

work_sort() {
    # In memory, by two threads; then in pieces that are written and merged.
    $under sort --parallel=2 -k2,2 -k1,1n "$in/lines" > memory || return
    $under sort --parallel=2 -S 256K -k2,2 -k1,1n "$in/lines" > pieces || return
    cmp memory pieces
}

work_gawk() {
    $under gawk '
        { count[$2]++; words[$3] = words[$3] $4 ","; gsub(/[aeiou]/, "<&>"); length_of += length }
        END {
            n = asorti(count, keys)
            for (i = 1; i <= n; i++) printf "%s %d\n", keys[i], count[keys[i]]
            for (w in words) size[w] = split(words[w], part, ",")
            n = asorti(size, keys)
            for (i = 1; i <= n; i++) print keys[i], size[keys[i]]
            print length_of
        }' "$in/lines"
}

work_xz() {
    $under xz -2 -T2 --block-size=500KiB -k -c "$in/lines" > lines.xz || return
    $under xz -d -T2 -c lines.xz > lines || return
    cmp lines "$in/lines"
}

cat > "$in/work.pl" << 'END'
use strict;
use warnings;
my (%by_key, @all);
while (<>) {
    chomp;
    my @field = split / /;
    push @{$by_key{$field[1]}}, {id => $field[0], word => "$field[2]x$field[3]"};
    push @all, join '-', reverse @field;
}
for my $key (sort keys %by_key) {
    my $words = join ',', map { $_->{word} } sort { $a->{id} <=> $b->{id} } @{$by_key{$key}};
    (my $less = $words) =~ s/([a-m]+)x(\d)/$2$1/g;
    print "$key ", length $less, ' ', substr($less, 0, 40), "\n";
}
@all = sort grep { !/7/ } @all;
print scalar @all, " $all[0] $all[-1]\n";
$| = 1;
for my $n (1 .. 5) {
    my $child = open(my $pipe, '-|') // die;
    if (!$child) { print join ' ', map { $_ x $n } 1 .. 2000; exit $n }
    my $text = <$pipe>;
    close $pipe;
    print length $text, ' ', $? >> 8, "\n";
}
exit 3;
END
work_perl() {
    $under perl "$in/work.pl" "$in/lines"
}

cat > "$in/work.py" << 'END'
import collections, hashlib, json, pickle, re, subprocess, sys, threading

rows = [line.split() for line in open(sys.argv[1])]
groups = collections.defaultdict(list)
for number, key, word, index in rows:
    groups[key].append({"n": int(number), "word": word, "at": [int(index)] * 3})
text = json.dumps(groups, sort_keys=True, indent=1)
assert pickle.loads(pickle.dumps(json.loads(text))) == groups
print(len(text), hashlib.sha256(text.encode()).hexdigest())
print(len(re.sub(r'"word": "([a-m]+)"', r"\1", text)))

done = {}
def work(n):
    parts = [str(i) * (i % 50) for i in range(n * 1000, n * 1000 + 6000)]
    done[n] = hashlib.sha256("".join(sorted(parts)).encode()).hexdigest()
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for t in threads: t.start()
print(subprocess.run([sys.executable, "-c", "print(sum(map(len, map(str, range(20000)))))"],
                     capture_output=True))
for t in threads: t.join()
print(sorted(done.items()), 3 ** 5000 % 10 ** 40, len(bytearray(50_000_000)))
sys.exit(4)
END
work_python3() {
    $under "$python" "$in/work.py" "$in/lines"
}

# Python's own tests; how long they took is not compared.
needs_python3_tests() {
    have python3 "$python" -c 'import test.test_dict' || why="no tests are installed with python3"
}
work_python3_tests() {
    $under "$python" -m test test_dict test_heapq test_memoryview > log 2>&1
    status=$?
    sed -n '/^0:/d; /[Dd]uration/d; /^Using random seed/d; /tests OK\|passed\|failed/p' log
    [ $status -eq 0 ] || cat log
    rm log
    return $status
}

# A history of 80 commits, made by git itself, read and packed.
awk 'BEGIN {
    for (i = 1; i <= 80; i++) {
        print "commit refs/heads/master\nmark :" i
        print "committer Nobody <nobody@example.com>", 1600000000 + i * 1000, "+0000"
        message = "Change " i "\n"
        printf "data %d\n%s\n", length(message), message
        for (f = 1; f <= 4; f++) {
            text = ""
            for (j = 0; j < 200; j++)
                text = text "line " j ((j * 7 + f) % 80 == i ? " changed" : "") " " (j < i) "\n"
            printf "M 100644 inline dir%d/file%d\ndata %d\n%s\n", f % 2, (i * f) % 9, length(text), text
        }
    }
}' > "$in/history"
work_git() {
    $under git init -q -b master . || return
    $under git fast-import --quiet < "$in/history" || return
    $under git reset -q --hard || return
    $under git log --stat -p > changes || return
    $under git -c pack.threads=2 gc --quiet --aggressive --prune=now || return
    $under git fsck --full --strict || return
    $under git log --stat -p > again && cmp changes again || return
    $under git blame dir0/file4 | cksum
    $under git status --short
    $under git rev-parse HEAD
    rm -rf .git
}

# Our own sources, into objects.
compile_c() {
    for source in heap/allocate.c heap/realloc.c heap/verify.c process/entry.c; do
        $under "$1" -std=gnu11 -O2 -g -I "$top/lib" -I "$top" -c "$top/lib/$source" || return
    done
    # The compilers' complaints too.
    $under "$1" -fsyntax-only -Wall "$in/wrong.c"
    echo "exit status $?"
}
echo 'int f(int *p) { int unused; return p + g(p; }' > "$in/wrong.c"
work_gcc() {
    compile_c gcc
}
work_clang() {
    compile_c clang
}

cat > "$in/work.cc" << 'END'
#include "hmm.h"
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

int main()
{
    std::map<std::string, std::vector<std::shared_ptr<std::string>>> words;
    for (int i = 0; i < 20000; i++)
        words[std::to_string(i % 301)].push_back(std::make_shared<std::string>(i % 90, 'x'));
    std::size_t sum = 0;
    for (auto &entry : words) {
        std::sort(entry.second.begin(), entry.second.end(), [](auto &a, auto &b) { return *a < *b; });
        sum += entry.second.back()->size();
    }
    std::cout << HMM_VERSION << ' ' << words.size() << ' ' << sum << '\n';
    try {
        std::vector<char> all(std::size_t(1) << 62);
        std::cout << all.size() << '\n';
    } catch (const std::bad_alloc &) {
        std::cout << "out of memory\n";
    }
}
END
# The compiler, the linker, and the program that they made.
work_gxx() {
    $under g++ -std=c++17 -O1 -I "$top/lib" -o program "$in/work.cc" && $under ./program
}
needs_gxx() {
    have g++ g++ --version
}

work_sqlite3() {
    $under sqlite3 base.db << 'END'
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price REAL);
CREATE INDEX item_name ON item (name);
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
    INSERT INTO item SELECT i, printf('item %d', i * 7919 % 10007), i * 0.5 FROM n;
SELECT count(*), sum(price) FROM item;
SELECT a.name, count(*), max(b.price) FROM item a JOIN item b ON a.name = b.name
    GROUP BY a.name ORDER BY 3 DESC, 1 LIMIT 20;
UPDATE item SET name = name || group_name FROM (SELECT id AS i, hex(zeroblob(id % 60)) AS group_name
    FROM item) WHERE i = id;
DELETE FROM item WHERE id % 3 = 0;
VACUUM;
SELECT length(group_concat(name)) FROM item;
PRAGMA integrity_check;
SELECT no_such_column FROM item;
END
}

cat > "$in/work.js" << 'END'
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto'), fs = require('fs'), zlib = require('zlib');
function digest(text) { return crypto.createHash('sha256').update(text).digest('hex'); }
const lines = fs.readFileSync(process.argv[2] || workerData, 'latin1').split('\n');
const groups = {};
for (const [n, key, word] of lines.map((line) => line.split(' ')))
    (groups[key] = groups[key] || []).push({ n, word, bytes: Buffer.from(word || '') });
const text = JSON.stringify(groups);
const packed = zlib.gzipSync(text, { level: 1 });
const result = [text.length, digest(text), zlib.gunzipSync(packed).toString() === text];
if (isMainThread) {
    console.log('main', result.join(' '));
    for (let i = 0; i < 2; i++)
        new Worker(__filename, { workerData: process.argv[2] }).on('message', (m) => console.log(m));
    process.exitCode = 5;
} else {
    parentPort.postMessage('worker ' + result.join(' '));
}
END
work_node() {
    $under node "$in/work.js" "$in/lines"
}

cat > "$in/Work.java" << 'END'
import java.util.*;
import java.util.zip.*;

public class Work {
    public static void main(String[] arguments) throws Exception {
        Thread[] threads = new Thread[4];
        long[] sums = new long[threads.length];
        for (int t = 0; t < threads.length; t++) {
            final int n = t;
            threads[t] = new Thread(() -> {
                Map<String, List<Integer>> map = new TreeMap<>();
                for (int i = 0; i < 50000; i++)
                    map.computeIfAbsent("key" + i * n % 1009, k -> new ArrayList<>()).add(i);
                // The deflater's memory is the C library's.
                for (int i = 0; i < 8; i++) {
                    Deflater deflater = new Deflater(1);
                    deflater.setInput(map.toString().getBytes());
                    deflater.finish();
                    byte[] out = new byte[1 << 16];
                    while (!deflater.finished()) sums[n] += deflater.deflate(out);
                    deflater.end();
                }
            });
            threads[t].start();
        }
        for (Thread t : threads) t.join();
        System.out.println(Arrays.toString(sums));
        System.exit(6);
    }
}
END
work_java() {
    $under java -Xmx256m -XX:TieredStopAtLevel=1 "$in/Work.java"
}
needs_java() {
    have java java -version || return
    java --list-modules 2>&1 | grep -q '^jdk.compiler' || why="this java has no compiler"
}

# cli ARGUMENT...: asks the server.
cli() {
    $under redis-cli -p "$port" "$@"
}

# await COMMAND...: until it succeeds, at most some seconds.
await() {
    tries=0
    until "$@" > await.log 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 50 ] || return
        sleep 0.1
    done
}

# Another's server may have the port; ours says that it is ready only if it got it.
ready_or_dead() {
    grep -q 'Ready to accept' log || ! kill -0 "$server"
}
saved() {
    redis-cli -p "$port" info persistence | grep -q 'rdb_bgsave_in_progress:0'
}

# Starts a server on a port that nobody has; leaves $server and $port.
start_server() {
    for try in 1 2 3 4 5 6 7 8; do
        port=$((20000 + ($$ * 8 + try * 1009) % 12000))
        $under redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir . \
            --enable-debug-command yes --daemonize no > log 2>&1 &
        server=$!
        await ready_or_dead
        if grep -q 'Ready to accept' log; then return 0; fi
        kill "$server" 2> await.log
        wait "$server"
        server=
    done
    echo "no server came up"
    cat log
    return 1
}
work_redis() {
    server=
    # The work has a shell of its own: its end is this one's.
    trap 'if [ -n "$server" ]; then kill "$server"; fi' EXIT
    start_server || return
    $under redis-benchmark -p "$port" -q -n 4000 -c 20 -P 8 -d 200 \
        -t set,get,incr,lpush,rpop,sadd,hset,zadd,lrange_100,mset > bench.log 2>&1 ||
        { cat bench.log; return 1; }
    $under redis-cli -p "$port" eval "$(cat "$in/fill.lua")" 0
    cli bgsave
    cli dbsize
    cli llen mylist
    cli debug digest
    # The child that was forked writes what the parent holds.
    await saved
    redis-cli -p "$port" info persistence | grep 'rdb_last_bgsave_status' | tr -d '\r'
    cli debug reload
    cli debug digest
    cli flushall
    cli shutdown nosave
    wait "$server"
    status=$?
    server=
    echo "the server's exit status: $status"
    [ $status -eq 0 ] || cat log
    rm -f log bench.log await.log dump.rdb
}
needs_redis() {
    have redis-server redis-server --version && have redis-benchmark redis-benchmark --version
}
cat > "$in/fill.lua" << 'END'
for i = 1, 20000 do redis.call('set', 'n' .. i, string.rep('v', i % 300)) end
for i = 1, 20000, 3 do redis.call('del', 'n' .. i) end
for i = 1, 5000 do redis.call('hset', 'h' .. i % 50, 'f' .. i, string.rep('w', i % 90)) end
return redis.call('dbsize')
END

# ---- How they are run and compared ----

# have NAME COMMAND...: whether the command works; else says in $why that NAME is not there.
have() {
    name=$1
    shift
    "$@" > "$dir/have.log" 2>&1 && return
    why="$name is not installed"
    return 1
}

# run NAME RESULT: the work in a new folder, then into RESULT all that can be compared.
run() {
    rm -rf "$dir/run"
    mkdir "$dir/run"
    (cd "$dir/run" && "work_$1") > "$dir/out" 2>&1
    code=$?
    {
        cat "$dir/out"
        echo "exit status $code"
        (cd "$dir/run" && find . -type f -exec cksum {} + | sort -k3)
    } > "$2"
}

# without: the next works run without hmm. with STRATEGY: under it.
without() {
    under="timeout -k 5 60"
}
with() {
    if [ -n "$hmm_run" ]; then
        under="timeout -k 5 60 $HMM run --strategy $1 --"
    else
        under="timeout -k 5 60 env LD_PRELOAD=$PRELOAD HMM_STRATEGY=$1"
    fi
}

# Whether hmm run is there and finds this build's library.
hmm_run=
if HMM_VERBOSE=1 "$HMM" run -- true 2>&1 | grep -q '^hmm: preload library: '; then hmm_run=yes; fi

# active STRATEGY PROGRAM ARGUMENT...: the program really has hmm's allocator, on this strategy.
active() {
    with "$1"
    strategy=$1
    shift
    HMM_VERBOSE=1 $under "$@" > "$dir/out" 2>&1
    grep -q "^hmm: preload library: strategy $strategy," "$dir/out"
}


# program NAME: what to ask for its version.
program() {
    case $1 in
    python3*) echo "$python" ;;
    gxx) echo g++ ;;
    redis) echo redis-server ;;
    *) echo "$1" ;;
    esac
}

strategies=$("$HMM" strategies --format json | sed 's/^{"name":"\([^"]*\)".*/\1/')
works=${*:-"sort gawk xz perl python3 python3_tests git gcc gxx clang sqlite3 node java redis"}

for work in $works; do
    why=
    if command -v "needs_$work" > "$dir/have.log"; then
        "needs_$work"
    else
        have "$work" "$(program "$work")" --version
    fi
    if [ -n "$why" ]; then
        skip "$work" "$why"
        continue
    fi
    without
    run "$work" "$dir/want"
    began=$(date +%s)
    for strategy in $strategies; do
        with "$strategy"
        run "$work" "$dir/got"
        diff -u "$dir/want" "$dir/got" > "$dir/differences" &&
            active "$strategy" "$(program "$work")" --version
        report $? "$work, $strategy" "$dir/differences"
    done
    echo "# $work: $(($(date +%s) - began)) s"
    if [ -n "${RESULTS:-}" ]; then cp "$dir/want" "$RESULTS/$work"; fi
done

finish
