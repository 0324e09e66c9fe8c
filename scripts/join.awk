# SPDX-License-Identifier: MIT
#
# Joins source files: each of our own headers goes in once, where it is first named; the system's
# stay as they are.
#
#     awk -v src=FOLDER -v skip="HEADER..." [-v known="NAME=VALUE ..."] [-v drop="NAME ..."] -f join.awk FILE...
#
# FILEs and HEADERs are relative to the folder. Headers in `skip` are left out. What #if, #elif and
# #ifdef ask of names in `known`, 0 or 1, is decided here, and what is left out by that is not
# written; a name in it may be `defined(NAME)`. Definitions of macros in `drop` are left out.

function fail(message) {
    print "join: " message > "/dev/stderr"
    exit 1
}

function readable(path,    line, found) {
    found = (getline line < path) >= 0
    close(path)
    return found
}

function say(line) {
    if (line != "" || !blank)
        print line
    blank = line == ""
}

# Where header `name`, named in `from`, is; relative to src.
function find(name, from,    i, n, folder, folders) {
    sub(/[^\/]*$/, "", from)
    n = split(from " lib/ strategies/", folders, " ")
    for (i = 1; i <= n; i++) {
        folder = folders[i]
        if (readable(src "/" folder name))
            return folder name
    }
    fail(from ": no such header: " name)
}

function include(name, from,    path) {
    path = find(name, from)
    if (path in done)
        return
    done[path] = 1
    if (!(path in skipped))
        add(path)
}

# ---- Conditions ----

function trimmed(text) {
    gsub(/^[ \t]+|[ \t]+$/, "", text)
    return text
}

# One factor, without && and ||: "0", "1", or as it is.
function decide(factor,    bare, not) {
    bare = factor = trimmed(factor)
    not = sub(/^!/, "", bare)
    if (bare == "0" || bare == "1")
        return not ? 1 - bare : bare
    if (!(bare in value))
        return factor
    return not ? 1 - value[bare] : value[bare]
}

# A condition: "0", "1", or what is left of it.
function simplify(cond,    terms, factors, n, m, i, j, f, term, whole) {
    cond = trimmed(cond)
    sub(/[ \t]*\/\*.*\*\/$/, "", cond)
    whole = cond
    gsub(/defined\([A-Za-z_0-9]+\)/, "", whole)
    if (whole ~ /\(/)
        return simplify_nested(cond)
    n = split(cond, terms, /\|\|/)
    whole = ""
    for (i = 1; i <= n; i++) {
        m = split(terms[i], factors, /&&/)
        term = ""
        for (j = 1; j <= m; j++) {
            f = decide(factors[j]) ""
            if (f == "0") {
                term = "0"
                break
            }
            if (f != "1")
                term = term (term == "" ? "" : " && ") f
        }
        if (term == "0")
            continue
        if (term == "")
            return "1"
        whole = whole (whole == "" ? "" : " || ") term
    }
    return whole == "" ? "0" : whole
}

# One with parentheses: A || ..., where A is 1, and A && (B || C).
function simplify_nested(cond,    at, left, right) {
    at = index(cond, " || ")
    left = substr(cond, 1, at - 1)
    if (at != 0 && left !~ /\(/ && simplify(left) == "1")
        return "1"
    at = index(cond, " && (")
    if (at == 0 || cond !~ /\)$/ || substr(cond, 1, at - 1) ~ /\(/)
        return cond
    left = simplify(substr(cond, 1, at - 1))
    right = simplify(substr(cond, at + 5, length(cond) - at - 5))
    if (left == "0" || right == "0")
        return "0"
    if (left == "1")
        return right
    return right == "1" ? left : left " && (" right ")"
}

# What stands in an open conditional is written iff live[depth]. state: "open" one that stays a
# conditional, "to come" one none of whose branches was taken yet, "over" one that was decided.
function condition(line,    word, cond) {
    word = line
    sub(/^[ \t]*#[ \t]*/, "", word)
    cond = word
    sub(/[^a-z].*$/, "", word)
    sub(/^[a-z]+/, "", cond)
    if (word == "if" || word == "ifdef" || word == "ifndef") {
        depth++
        live[depth] = live[depth - 1]
        state[depth] = "open"
        if (!live[depth])
            return
        if (word != "if")
            cond = (word == "ifndef" ? "!" : "") "defined(" trimmed(cond) ")"
        cond = simplify(cond)
        if (cond == "0" || cond == "1") {
            live[depth] = cond + 0
            state[depth] = cond == "1" ? "over" : "to come"
        } else {
            say(word == "if" ? "#if " cond : line)
        }
    } else if (word == "elif" || word == "else") {
        if (!live[depth - 1])
            return
        if (state[depth] == "over") {
            live[depth] = 0
            return
        }
        cond = word == "else" ? "1" : simplify(cond)
        if (cond == "0") {
            live[depth] = 0
        } else if (state[depth] == "to come") {
            live[depth] = 1
            state[depth] = cond == "1" ? "over" : "open"
            if (cond != "1")
                say("#if " cond)
        } else {
            live[depth] = 1
            say(cond == "1" ? "#else" : "#elif " cond)
        }
    } else if (word == "endif") {
        if (live[depth - 1] && state[depth] == "open")
            say("#endif")
        depth--
    }
}

# Whether the line defines a name that nothing asks for any more.
function is_known_define(line) {
    if (line !~ /^#[ \t]*define[ \t]/)
        return 0
    sub(/^#[ \t]*define[ \t]+/, "", line)
    sub(/[^A-Za-z_0-9].*$/, "", line)
    return line in dropped
}

# ---- Files ----

function add(path,    line, more, parts, config) {
    if (!readable(src "/" path))
        fail(path ": cannot be read")
    say("")
    say("/* ---- " path " ---- */")
    say("")
    while ((getline line < (src "/" path)) > 0) {
        if (line ~ /SPDX-License-Identifier/)
            continue
        if (line ~ /^#ifdef HAVE_CONFIG_H/)
            config = 1
        if (config) {
            if (line ~ /^#endif/)
                config = 0
            continue
        }
        if (known != "" && line ~ /^[ \t]*#[ \t]*(if|ifdef|ifndef|elif|else|endif)([^a-z]|$)/) {
            while (line ~ /\\$/ && (getline more < (src "/" path)) > 0)
                line = substr(line, 1, length(line) - 1) trimmed(more)
            gsub(/[ \t]+/, " ", line)
            condition(line)
        } else if (!live[depth]) {
            continue
        } else if (is_known_define(line)) {
            while (line ~ /\\$/ && (getline line < (src "/" path)) > 0)
                ;
        } else if (line ~ /^[ \t]*#[ \t]*include[ \t]*"/) {
            split(line, parts, "\"")
            include(parts[2], path)
        } else {
            say(line)
        }
    }
    close(src "/" path)
}

BEGIN {
    n = split(skip, list, " ")
    for (i = 1; i <= n; i++)
        skipped[list[i]] = 1
    n = split(known, list, " ")
    for (i = 1; i <= n; i++) {
        split(list[i], pair, "=")
        value[pair[1]] = pair[2]
    }
    n = split(drop, list, " ")
    for (i = 1; i <= n; i++)
        dropped[list[i]] = 1
    blank = 1
    depth = 0
    live[0] = 1
    for (i = 1; i < ARGC; i++)
        if (ARGV[i] ~ /\.h$/)
            include(ARGV[i], "lib/")
        else
            add(ARGV[i])
    exit 0
}
