# SPDX-License-Identifier: MIT
#
# Puts declarations of a header into another text: a line of FILE that is only the comment
# "hmm.h: NAME" becomes what the header declares by that name, a function, a struct or a macro.
#
#     awk -v header=HEADER -f declarations.awk FILE
#
# HEADER is laid out by clang-format: a declaration begins in the first column, and ends with the
# first line that ends with a semicolon, of a struct in the first column.

function fail(message) {
    print "declarations: " message > "/dev/stderr"
    failed = 1
    exit 1
}

# The name that this text declares.
function name_of(text) {
    if (text ~ /^struct [a-z_]+ \{/) {
        sub(/^struct /, "", text)
        sub(/ .*/, "", text)
    } else if (text ~ /^#define /) {
        sub(/^#define /, "", text)
        sub(/[^A-Za-z_0-9].*/, "", text)
    } else {
        sub(/\(.*/, "", text)
        sub(/^.*[^A-Za-z_0-9]/, "", text)
    }
    return text
}

BEGIN {
    text = ""
    while ((getline line < header) > 0) {
        if (text == "" && line !~ /^([a-z].*(\(|\{$)|#define )/)
            continue
        if (text == "" && line ~ /^typedef|^static|^extern "C"/)
            continue
        text = text == "" ? line : text "\n" line
        if (text ~ /^#define / || (text ~ /^struct [a-z_]+ \{/ ? line ~ /^};/ : line ~ /;$/)) {
            declared[name_of(text)] = text
            text = ""
        }
    }
}

/^\/\* hmm\.h: [A-Za-z_]+ \*\/$/ {
    if (!($3 in declared))
        fail(header " declares no " $3)
    print declared[$3]
    next
}

{ print }
