# SPDX-License-Identifier: MIT
#
# The table on the terminal. Behind cells.awk.

# A column of the table under way.
function column(head,    a) {
    heads[++columns] = head
    for (a = 1; a <= allocators; a++)
        text[columns, a] = "-"
}
function column_of_means(head, m, ending,    a) {
    if (!(m in ons))
        return
    column(head)
    for (a = 1; a <= allocators; a++)
        text[columns, a] = mean_figure(m, allocator[a], ending)
}
function columns_of(m,    i, a) {
    for (i = 1; i <= ons[m]; i++) {
        column(on_of[m, i])
        for (a = 1; a <= allocators; a++)
            text[columns, a] = figure(m, allocator[a], on_of[m, i])
    }
}

function is_empty(a,    c) {
    for (c = 1; c <= columns; c++)
        if (text[c, a] != "-")
            return 0
    return 1
}

# Prints the columns, without allocators of which there is nothing to say, and forgets them.
function print_table(name,    a, c, wide, width) {
    if (columns > 0) {
        print name
        wide = length("allocator")
        for (a = 1; a <= allocators; a++)
            if (length(allocator[a]) > wide)
                wide = length(allocator[a])
        for (c = 1; c <= columns; c++) {
            width[c] = length(heads[c])
            for (a = 1; a <= allocators; a++)
                if (length(text[c, a]) > width[c])
                    width[c] = length(text[c, a])
        }
        printf "%-*s", wide, "allocator"
        for (c = 1; c <= columns; c++)
            printf "  %*s", width[c], heads[c]
        printf "\n"
        for (a = 1; a <= allocators; a++) {
            if (is_empty(a))
                continue
            printf "%-*s", wide, allocator[a]
            for (c = 1; c <= columns; c++)
                printf "  %*s", width[c], text[c, a]
            printf "\n"
        }
        printf "\n"
    }
    columns = 0
}

END {
    column_of_means("ns/op", "ns_per_op")
    column_of_means("median", "ns_per_op_median")
    column_of_means("first pass", "first_ns_per_op")
    column_of_means("instr/op", "instructions_per_op")
    column_of_means("resident", "resident")
    column_of_means("footprint", "footprint")
    n = split(endings("threads_ns_per_op"), count, " ")
    for (i = 1; i <= n; i++)
        column_of_means(count[i] (count[i] == 1 ? " thread" : " threads"), "threads_ns_per_op",
                        "/" count[i])
    print_table("Geometric means over traces; over patterns, ns/op, with threads")

    columns_of("instructions_per_pair")
    print_table(title["instructions_per_pair"])
    columns_of("instructions_per_pair_by_heap")
    print_table(title["instructions_per_pair_by_heap"])
    columns_of("worst_by_heap")
    print_table(title["worst_by_heap"])
    columns_of("worst_instructions")
    print_table(title["worst_instructions"])
}
