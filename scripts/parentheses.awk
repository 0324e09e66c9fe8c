# SPDX-License-Identifier: MIT
#
# Writes out the precedence of operators (MISRA C:2012, 12.1): an operand that is an operation of
# higher precedence gets parentheses. Nothing else of the file changes.
#
#     awk -f parentheses.awk FILE
#
# The file is laid out by clang-format. Lines of the preprocessor stay as they are.

BEGIN {
    n = split("*:12 /:12 %:12 +:11 -:11 <<:10 >>:10 <:9 >:9 <=:9 >=:9 ==:8 !=:8 &:7 ^:6 |:5 " \
              "&&:4 ||:3 ?:2 ::2", list, " ")
    for (i = 1; i <= n; i++) {
        at = length(list[i])
        while (substr(list[i], at, 1) != ":")
            at--
        precedence[substr(list[i], 1, at - 1)] = substr(list[i], at + 1) + 0
    }
    type = "^(const )?(struct [a-z_0-9]+|unsigned|int|char|bool|void|short|long|[a-z_]+_word|" \
        "[a-z_0-9]+_t|hmm_ref|[a-z_]+_entry)( const)?( ?[*])*( const)?$"
}

# Cuts `text` into token[1..tokens], each with the blanks and comments before it in gap[].
function cut(text,    t, g) {
    tokens = 0
    while (text != "") {
        g = ""
        while (match(text, /^([ \t\n]+|\/\*([^*]|\*+[^*\/])*\*+\/)/)) {
            g = g substr(text, 1, RLENGTH)
            text = substr(text, RLENGTH + 1)
        }
        if (text == "") {
            rest = g
            return
        }
        if (match(text, /^([A-Za-z_0-9]+|"([^"\\]|\\.)*"|'([^'\\]|\\.)*'|<<=|>>=|\.\.\.|->|\+\+|--|<<|>>|&&|\|\||[-+*\/%&|^<>=!]=)/))
            t = substr(text, 1, RLENGTH)
        else
            t = substr(text, 1, 1)
        token[++tokens] = t
        gap[tokens] = g
        before[tokens] = after[tokens] = ""
        text = substr(text, length(t) + 1)
    }
    rest = ""
}

# The token that closes the one at i.
function closing(i,    depth) {
    for (depth = 0; i <= tokens; i++) {
        if (token[i] ~ /^[(\[{]$/)
            depth++
        else if (token[i] ~ /^[)\]}]$/ && --depth == 0)
            return i
    }
    return 0
}

# Whether the parentheses that end at i are a cast's.
function is_cast(i,    depth, text) {
    for (depth = 0; i > 0; i--) {
        if (token[i] == ")")
            depth++
        else if (token[i] == "(" && --depth == 0)
            break
        if (!(token[i] == ")" && depth == 1))
            text = token[i] (text ~ /^[A-Za-z_]/ && token[i] ~ /[A-Za-z_0-9]$/ ? " " : "") text
    }
    return text ~ type && (i == 1 || token[i - 1] !~ /^[A-Za-z_]/ || token[i - 1] == "return")
}

# Whether token i is an operator with two operands.
function is_binary(i, from) {
    if (!(token[i] in precedence) || i == from)
        return 0
    if (token[i] ~ /^[-+*&]$/)
        return token[i - 1] ~ /^([A-Za-z_0-9]+|\)|\]|"[^"]*"|'.*'|\+\+|--)$/ &&
               token[i - 1] !~ /^(return|sizeof)$/ && !(token[i - 1] == ")" && is_cast(i - 1))
    return 1
}

# Tokens from..to are one expression: each of its operands that is an operation gets parentheses.
function operands(from, to,    i, start, lowest, any) {
    lowest = 99
    for (i = from; i <= to; i++) {
        if (token[i] ~ /^[(\[{]$/)
            i = closing(i)
        else if (is_binary(i, from) && precedence[token[i]] < lowest)
            lowest = precedence[token[i]]
    }
    start = from
    any = 0
    for (i = from; i <= to + 1; i++) {
        if (i <= to && token[i] ~ /^[(\[{]$/) {
            i = closing(i)
        } else if (i > to || (is_binary(i, from) && precedence[token[i]] == lowest)) {
            if (any) {
                before[start] = before[start] "("
                after[i - 1] = ")" after[i - 1]
                operands(start, i - 1)
            }
            start = i + 1
            any = 0
        } else if (is_binary(i, from)) {
            any = 1
        }
    }
}

# The same, and what is in its brackets.
function expression(from, to,    i, end) {
    for (i = from; i <= to; i++)
        if (token[i] ~ /^[(\[{]$/) {
            end = closing(i)
            region(i + 1, end - 1)
            i = end
        }
    operands(from, to)
}

# Tokens from..to: expressions between separators.
function region(from, to,    i, start) {
    start = from
    for (i = from; i <= to; i++) {
        if (token[i] ~ /^([,;{}]|=|[-+*\/%&|^]=|<<=|>>=|return|case|else|do)$/) {
            expression(start, i - 1)
            start = i + 1
        } else if (token[i] ~ /^[(\[]$/) {
            i = closing(i)
            if (i == 0)
                return
        }
    }
    expression(start, to)
}

function flush_chunk(    i, out) {
    if (chunk == "")
        return
    cut(chunk)
    region(1, tokens)
    out = ""
    for (i = 1; i <= tokens; i++)
        out = out gap[i] before[i] token[i] after[i]
    print out rest
    chunk = ""
}

/^[ \t]*#/ || in_directive {
    flush_chunk()
    in_directive = /\\$/
    print
    next
}

in_comment || /^ *\/\*/ {
    flush_chunk()
    in_comment = !/\*\//
    print
    next
}

{
    chunk = chunk == "" ? $0 : chunk "\n" $0
    code = $0
    sub(/[ \t]*\/\*.*$/, "", code)
    if (code ~ /^ *$|[;{}:]$/ && ($0 !~ /\/\*/ || $0 ~ /\*\//)) {
        s = chunk
        gsub(/'\\?.'|"([^"\\]|\\.)*"/, "", s)
        if (gsub(/[(\[]/, "", s) <= gsub(/[)\]]/, "", s))
            flush_chunk()
    }
}

END {
    flush_chunk()
}
