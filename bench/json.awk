# SPDX-License-Identifier: MIT
#
# The cells, one JSON object a line.

BEGIN { FS = "\t" }

function quote(s) {
    gsub(/\\/, "\\\\", s)
    gsub(/"/, "\\\"", s)
    return "\"" s "\""
}

{
    printf "{\"measure\":%s,\"allocator\":%s,\"kind\":%s,\"on\":%s,\"value\":%s", quote($1),
        quote($2), quote($3), quote($4), $5
    if ($7 > 1)
        printf ",\"median\":%s,\"samples\":%d", $6, $7
    print "}"
}
