/* SPDX-License-Identifier: MIT */
/* Which call sites hold the waste, if the trace knows who asks. */

function blameText(s) {
    if (!s.waste)
        return s.name + ": there is none.";
    const sites = s.few === 1 ? "this call site holds " : "these " + count(s.few) + " call sites hold ";
    return s.name + ": " + sites + percent(s.held / s.waste) + " of the waste, " + bytes(s.waste) + " in " +
        plural(s.wasteHoles, "hole") + ": " +
        s.blame.slice(0, s.few).map(([by]) => siteName(by) || "(not known)").join(", ") + ".";
}

/* A site a row, the one first that holds the largest share on any strategy. */
function blameTable(shown) {
    const sites = new Map();
    for (const s of shown)
        for (const [by, held, blocks] of s.blame) {
            const row = sites.get(by) || {by, most: 0, parts: new Map()};
            row.parts.set(s, {held, blocks});
            row.most = Math.max(row.most, held / s.waste);
            sites.set(by, row);
        }
    const rows = [...sites.values()].sort((a, b) => b.most - a.most).slice(0, 12);
    const cell = (row, s) => {
        const part = row.parts.get(s);
        return part ? percent(part.held / s.waste) + " (" + bytes(part.held) + ", " +
            plural(part.blocks, "block") + ")" : "–";
    };
    return table(["Call site", ...shown.map(s => s.name)],
        rows.map(row => [siteName(row.by) || "(not known)", ...shown.map(s => cell(row, s))]));
}

function buildBlame() {
    const t = state.trace, shown = shownStrategies();
    $("blame").hidden = !t.names;
    if (!t.names)
        return;
    $("blame-text").replaceChildren(...shown.flatMap(s =>
        [h("i", {class: "dot", "--c": colourOf(s)}), " " + blameText(s), h("br")]));
    $("blame-table").replaceChildren(blameTable(shown));
}

on("trace shown", buildBlame);
