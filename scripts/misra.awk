# SPDX-License-Identifier: MIT
#
# Writes out what C leaves implicit, as MISRA C:2012 asks, where that can be done line by line:
# braces around every body (15.6), one declaration and one expression a statement (12.3), literals
# of unsigned operands with their suffix (10.4), `static` at definitions (8.8), a result that is not
# used (17.7). HMM_ASSERT, which
# the sanitizer builds evaluate, is left out. It changes no instruction: tests/firmware_misra.sh
# compares the machine code.
#
#     awk -f misra.awk FILE
#
# The file is laid out by clang-format, on whose indentation this relies. Lines of the preprocessor
# stay as they are.

function indent_of(line) {
    match(line, /^ */)
    return RLENGTH
}

function spaces(n,    s) {
    s = ""
    while (n-- > 0)
        s = s " "
    return s
}

# The line without the comment that ends it; `tail` is that comment and the blanks before it.
function code_of(line) {
    tail = ""
    if (match(line, /[ \t]*\/\*.*$/)) {
        tail = substr(line, RSTART)
        line = substr(line, 1, RSTART - 1)
    }
    return line
}

# Opening less closing parentheses, outside of literals.
function depth_of(code,    s, open) {
    s = code
    gsub(/'\\?.'|"([^"\\]|\\.)*"/, "", s)
    open = gsub(/[(\[{]/, "", s)
    return open - gsub(/[)\]}]/, "", s)
}

# ---- Braces ----

# Ends the bodies that a line with this indentation is not part of. `line` returns merged with the
# last of them where it is an else.
function close_bodies(indent, line,    merged) {
    while (bodies > 0 && indent <= body[bodies]) {
        merged = indent == body[bodies] && line ~ /^ *else( |$)/
        if (merged) {
            sub(/else/, "} else", line)
            bodies--
            return line
        }
        print spaces(body[bodies]) "}"
        bodies--
    }
    return line
}

function is_control(code) {
    return code ~ /^ *(} )?else$/ || code ~ /^ *((} )?else )?(if|for|while) \(/
}

# ---- Literals ----

# Whether the text before a literal, or after it, ends or begins with an operator whose other
# operand is unsigned in these sources.
function is_operand(before, after) {
    if (before ~ /(==|!=|<=|>=|<|>|[^-+*\/%&|^=(,] [-+*\/%&|^]|[-+*\/%&|]=|[?:]) $/)
        return before !~ /<< $|>> $|return -$/
    return after ~ /^ (==|!=|<=|>=|<[^<]|>[^>]|[-+*\/%&|^] |<<|:)/
}

function with_suffixes(code,    done, before, literal, after, ch) {
    if (code ~ /"|'|-1|^ *case |(^|[^A-Za-z_0-9])int([^A-Za-z_0-9]|$)/)
        return code
    done = ""
    while (match(code, /[0-9]+/)) {
        before = done substr(code, 1, RSTART - 1)
        literal = substr(code, RSTART, RLENGTH)
        after = substr(code, RSTART + RLENGTH)
        if (before !~ /[A-Za-z_0-9.]$/ && after !~ /^[A-Za-z_0-9.]/ && is_operand(before, after))
            literal = literal "u"
        done = before literal
        code = after
    }
    return done code
}

# ---- One a statement ----

# The declarators or expressions of `text`, split at commas outside of parentheses, into part[].
function split_at_commas(text,    i, c, depth, n) {
    n = 1
    part[1] = ""
    depth = 0
    for (i = 1; i <= length(text); i++) {
        c = substr(text, i, 1)
        if (c ~ /[(\[{]/)
            depth++
        else if (c ~ /[)\]}]/)
            depth--
        if (c == "," && depth == 0) {
            part[++n] = ""
            i++
            while (substr(text, i, 1) == " ")
                i++
            i--
        } else {
            part[n] = part[n] c
        }
    }
    return n
}

# Prints the statement, which ends with a semicolon, as one or several.
function say_statement(code, comment,    i, n, start, rest, type) {
    if (code ~ /^ *\(void\)[a-z_]+,/) {
        start = spaces(indent_of(code))
        n = split_at_commas(substr(code, 1, length(code) - 1))
        sub(/^ */, "", part[1])
    } else if (match(code, /^ +(const )?(struct [a-z_0-9]+|unsigned|char|bool|size_t|u?int[0-9]+_t|hmm_ref|hmm__word|bits_word|address_entry|[a-z_]+_callback) \**[a-z_]+( =|,|\[|;)/)) {
        match(code, /^ +(const )?(struct [a-z_0-9]+|[a-z_0-9]+) /)
        start = substr(code, 1, RLENGTH)
        rest = substr(code, RLENGTH + 1)
        n = split_at_commas(substr(rest, 1, length(rest) - 1))
    } else {
        n = 1
    }
    if (n == 1)
        return 0
    for (i = 1; i <= n; i++)
        print with_suffixes(start part[i] ";") (i == n ? comment : "")
    return 1
}

# ---- Lines ----

/^[ \t]*#/ || in_directive {
    if (!in_directive && bodies > 0 && complete)
        close_bodies(0, "")
    in_directive = /\\$/
    print
    next
}

in_comment || /^ *\/\*/ {
    if (!in_comment && complete)
        close_bodies(indent_of($0), "")
    in_comment = !/\*\//
    print
    next
}

/^ *$/ {
    print
    next
}

{
    code = code_of($0)
    comment = tail
    in_comment = comment != "" && comment !~ /\*\//
    if (held == "" && open_depth == 0)
        code = close_bodies(indent_of(code), code)
}

# What these return is not used: 17.7.
code ~ /^ +(memcpy|memmove|memset)\(/ {
    match(code, /^ */)
    code = substr(code, 1, RLENGTH) "(void)" substr(code, RLENGTH + 1)
    $0 = substr($0, 1, RLENGTH) "(void)" substr($0, RLENGTH + 1)
}

# The head of a control statement, up to its last line.
is_control(code) || in_head {
    if (!in_head)
        head_indent = indent_of(code)
    head_depth += depth_of(code)
    in_head = head_depth - (code ~ /[{]$/ ? 1 : 0) > 0
    if (!in_head) {
        head_depth = 0
        if (code !~ /[{;]$/) {
            body[++bodies] = head_indent
            code = code " {"
        }
        complete = 0
    }
    print with_suffixes(code) comment
    next
}

/^ *HMM_ASSERT\(/ || in_assertion {
    in_assertion = code !~ /;$/
    next
}

# Declarations of several lines are held until they end.
{
    if (held != "") {
        sub(/^ */, " ", code)
        code = held code
        lines = lines "\n" $0
    } else {
        lines = $0
    }
    if (held != "" || code ~ /^ +(const )?(struct [a-z_0-9]+|unsigned|char|bool|size_t|u?int[0-9]+_t|hmm_ref|hmm__word|bits_word|address_entry) \**[a-z_]+( =|,|$)/) {
        if (code !~ /;$/ && comment == "" && depth_of(code) >= 0 && code !~ /[{]$/) {
            held = code
            next
        }
    }
    held = ""
    complete = code ~ /[;}]$/
    if (code ~ /^[a-z].* \**hmm__[a-z_0-9]+\(/ && code !~ /^(static|extern|typedef|enum)|;$/)
        code = "static " code
    if (code ~ /;$/ && depth_of(code) == 0 && say_statement(code, comment))
        next
    n = split(lines, line, "\n")
    if (n == 1) {
        print with_suffixes(code) comment
        next
    }
    for (i = 1; i <= n; i++) {
        tail = ""
        code = code_of(line[i])
        print with_suffixes(code) tail
    }
}
