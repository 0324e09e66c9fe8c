# SPDX-License-Identifier: MIT
#
# RESULTS.md: every figure, and on what machine. Behind cells.awk; -v machine=FILE -v notes=FILE.

function print_list(file, pattern, replacement,    line) {
    while ((getline line < file) > 0) {
        sub(pattern, replacement, line)
        print "- " line
    }
    close(file)
}

function print_row(first, n, cells,    i) {
    printf "| %s |", first
    for (i = 1; i <= n; i++)
        printf " %s |", cells[i]
    printf "\n"
}

function print_rule(n,    i) {
    printf "| --- |"
    for (i = 1; i <= n; i++)
        printf " ---: |"
    printf "\n"
}

# mean_head: "" for no column of geometric means.
function section(m, mean_head,    i, a, n, cells) {
    if (!(m in ons))
        return
    printf "\n## %s\n\n", title[m]
    n = ons[m]
    for (i = 1; i <= n; i++)
        cells[i] = on_of[m, i]
    if (mean_head != "")
        cells[++n] = mean_head
    print_row("allocator", n, cells)
    print_rule(n)
    for (a = 1; a <= allocators; a++) {
        if (!((m, allocator[a]) in has))
            continue
        for (i = 1; i <= ons[m]; i++)
            cells[i] = figure(m, allocator[a], on_of[m, i])
        if (mean_head != "")
            cells[n] = mean_figure(m, allocator[a])
        print_row(allocator[a], n, cells)
    }
}

END {
    print "# Results of the benchmark\n"
    print "Written by `make bench BENCH_ARGS=--results`; " \
        "`bench/README.md` says what is measured and how.\n"
    print_list(machine, "$", "")
    while ((getline line < notes) > 0) {
        sub(/^bench: /, "", line)
        print "- note: " line
    }
    if ("ns_per_op" in ons && "resident" in ons) {
        print "\n![Time against memory, geometric means over the traces](results.svg)"
    }
    section("ns_per_op", "mean")
    section("ns_per_op_median", "mean")
    section("first_ns_per_op", "mean")
    section("instructions_per_op", "mean")
    section("resident", "mean")
    section("footprint", "mean")
    section("threads_ns_per_op", "mean")
    section("threads_wall_ns_per_op", "mean")
    section("threads_resident", "mean")
    section("instructions_per_pair", "")
    section("worst_of_pairs", "")
    section("instructions_per_pair_by_heap", "")
    section("worst_by_heap", "")
    section("worst_instructions", "")
}
