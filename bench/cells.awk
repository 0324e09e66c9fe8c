# SPDX-License-Identifier: MIT
#
# Reads the cells for what shows them, and knows what each measure is called.

BEGIN {
    FS = "\t"
    title["ns_per_op"] = "Nanoseconds an operation: the least"
    title["ns_per_op_median"] = "Nanoseconds an operation: the median"
    title["first_ns_per_op"] = "Nanoseconds an operation in the first pass of a process"
    title["instructions_per_op"] = "Instructions an operation"
    title["resident"] = "Peak of resident memory over peak live"
    title["footprint"] = "Smallest region over peak live"
    title["threads_ns_per_op"] = \
        "Nanoseconds of processor time an operation, gross, by pattern and threads"
    title["threads_wall_ns_per_op"] = \
        "Nanoseconds an operation, all threads together, by pattern and threads"
    title["threads_resident"] = "Resident MiB, by pattern and threads"
    title["instructions_per_pair"] = "Instructions a malloc and a free, by number of free blocks"
    title["worst_of_pairs"] = "Instructions of the worst of them, by number of free blocks"
    title["instructions_per_pair_by_heap"] = "Instructions a malloc and a free, by size of the heap"
    title["worst_by_heap"] = "Instructions of the worst of them, by size of the heap"
    title["worst_instructions"] = "Instructions of the worst operation, by pattern and free blocks"
    digits["ns_per_op"] = digits["ns_per_op_median"] = digits["first_ns_per_op"] = 1
    digits["threads_ns_per_op"] = digits["threads_wall_ns_per_op"] = digits["threads_resident"] = 1
    digits["resident"] = digits["footprint"] = 3
    digits["instructions_per_op"] = 1
}

function keep(m, a, on, v) {
    if (!((m, on) in known_on)) {
        known_on[m, on] = 1
        on_of[m, ++ons[m]] = on
    }
    value[m, a, on] = v
    has[m, a] = 1
}

{
    if (!($2 in kind)) {
        kind[$2] = $3
        allocator[++allocators] = $2
    }
    keep($1, $2, $4, $1 == "threads_resident" ? $5 / 1048576 : $5)
    if ($1 == "ns_per_op")
        keep("ns_per_op_median", $2, $4, $6)
}

# The figure as text, "-" where there is none.
function figure(m, a, on) {
    return (m, a, on) in value ? sprintf("%." (digits[m] + 0) "f", value[m, a, on]) : "-"
}

# The geometric mean over everything that it was measured on, of those whose name ends so. 0 where
# one is missing, which would make it a mean of other things than the next allocator's. What is
# net may come out as nothing; it then counts as a hundredth.
function mean(m, a, ending,    i, n, v, sum) {
    for (i = 1; i <= ons[m]; i++) {
        on = on_of[m, i]
        if (ending != "" && substr(on, length(on) - length(ending) + 1) != ending)
            continue
        if (!((m, a, on) in value))
            return 0
        v = value[m, a, on]
        sum += log(v > 0.01 ? v : 0.01)
        n++
    }
    return n > 0 ? exp(sum / n) : 0
}

function mean_figure(m, a, ending,    v) {
    v = mean(m, a, ending)
    return v > 0 ? sprintf("%." (digits[m] + 0) "f", v) : "-"
}

# The different endings after the '/' in what a measure was measured on, in order: "1 2 4 8".
function endings(m,    i, on, list) {
    for (i = 1; i <= ons[m]; i++) {
        on = on_of[m, i]
        sub(/.*\//, "", on)
        if (index(" " list " ", " " on " ") == 0)
            list = list (list == "" ? "" : " ") on
    }
    return list
}
