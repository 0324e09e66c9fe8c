# SPDX-License-Identifier: MIT
#
# From samples to figures: reduce.awk ALLOCATORS SAMPLES. Prints the cells, in the allocators'
# order: MEASURE, allocator, its kind, on, the least, the median, how many samples.

BEGIN { FS = OFS = "\t" }
FNR == NR {
    kind[$1] = $6
    order[++allocators] = $1
    next
}
{
    if (!(($1, $3) in seen)) {
        seen[$1, $3] = 1
        ons++
        measure[ons] = $1
        on[ons] = $3
    }
    n = ++count[$1, $2, $3]
    sample[$1, $2, $3, n] = $4
}

# Sorts the samples of a figure: they are few, and nearly all figures have one.
function sort(key,    i, j, x) {
    for (i = 2; i <= count[key]; i++) {
        x = sample[key, i]
        for (j = i - 1; j >= 1 && sample[key, j] + 0 > x + 0; j--)
            sample[key, j + 1] = sample[key, j]
        sample[key, j + 1] = x
    }
}
function median(key,    n) {
    n = count[key]
    return n % 2 ? sample[key, (n + 1) / 2] : (sample[key, n / 2] + sample[key, n / 2 + 1]) / 2
}

END {
    for (i = 1; i <= ons; i++) {
        for (a = 1; a <= allocators; a++) {
            key = measure[i] SUBSEP order[a] SUBSEP on[i]
            if (count[key] == 0)
                continue
            sort(key)
            print measure[i], order[a], kind[order[a]], on[i], sample[key, 1], median(key), \
                count[key]
        }
    }
}
