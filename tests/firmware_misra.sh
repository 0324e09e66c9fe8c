#!/bin/sh
# SPDX-License-Identifier: MIT
#
# make firmware and MISRA C:2012: each rule that is violated has a record in doc/misra.md, and what
# is written for the rules changes no instruction. Speaks TAP.
# shellcheck source=tests/firmware_common.sh
. "$(dirname "$0")/firmware_common.sh"

# What is written out for MISRA changes no instruction.
same_code() {
    for chosen in $strategies; do
        for parts in '' "$all"; do
            cd "$(made "$chosen" "$parts")" || return 1
            # shellcheck disable=SC2086
            (cd "$top_srcdir" && PLAIN=yes sh scripts/firmware . "$dir/plain" "$chosen" "$parts" \
                $firmware_parts) || return 1
            cmp -s hmm.c "$dir/plain/hmm.c" && return 1
            for level in -Os -O2; do
                $CC $level -S -o whole.s hmm.c && $CC $level -S -o plain.s "$dir/plain/hmm.c" &&
                    cmp whole.s plain.s || return 1
            done
        done
    done
}

# cppcheck, once for each text: what it says of hmm.c and hmm.h does not depend on the records.
cat >"$dir/cppcheck" <<END
#!/bin/sh
said=$dir/cppcheck-\$(cat hmm.c hmm.h | cksum | tr " " -)
[ -e "\$said" ] || { cppcheck "\$@" >"\$said.new" 2>&1 && mv "\$said.new" "\$said"; } || exit
cat "\$said"
END
chmod +x "$dir/cppcheck"

# Each rule of MISRA C:2012 that is violated has a record, and one that has none is named.
misra() {
    # shellcheck disable=SC2086
    CPPCHECK=$dir/cppcheck sh "$top_srcdir/scripts/firmware-misra" "$top_srcdir" $firmware_parts
}

misra_without_a_record() {
    mkdir -p "$dir/other/doc" && for folder in lib scripts strategies; do
        ln -s "$(cd "$top_srcdir" && pwd)/$folder" "$dir/other/$folder"
    done
    cp "$top_srcdir/COPYING" "$top_srcdir/doc/firmware.md" "$dir/other/" &&
        mv "$dir/other/firmware.md" "$dir/other/doc/" &&
        sed '/^| 11.4 |/d; s/^| 15.5 | [0-9]*/| 15.5 | 2/' "$top_srcdir/doc/misra.md" \
            >"$dir/other/doc/misra.md" && echo '| 21.6 | 3 | x | y |' >>"$dir/other/doc/misra.md" || return 1
    # shellcheck disable=SC2086
    CPPCHECK=$dir/cppcheck sh "$top_srcdir/scripts/firmware-misra" "$dir/other" $firmware_parts >said
    [ $? -eq 1 ] && cat said && grep -q '^rule 11.4 has hits and no record' said &&
        grep -q '^rule 15.5 has [0-9]* hits; its record .* 2$' said &&
        grep -q '^rule 21.6 has a record in doc/misra.md and no hits' said &&
        [ "$(grep -c '^rule' said)" -eq 3 ]
}

check "what is written out for MISRA changes no instruction" same_code
if command -v cppcheck >/dev/null; then
    check "each MISRA rule that is violated has a record" misra
    check "one without a record, or beyond it, is named" misra_without_a_record
else
    skip "MISRA" "no cppcheck"
fi
finish
