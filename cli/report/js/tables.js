/* SPDX-License-Identifier: MIT */
/* The summary, and every picture as a table. Tables that are closed are not filled. */

const tableRows = 32;

const footprint = s => (s.peakBreak || 0) / state.trace.peakLive;

function fact(name, value) {
    return h("div", {class: "fact"}, h("span", null, name), h("b", null, value));
}

function verdict(t) {
    if (!t.peakLive || t.strategies.length === 0)
        return "The trace asks for nothing.";
    const sorted = [...t.strategies].sort((a, b) => a.failed - b.failed || a.peakBreak - b.peakBreak);
    const best = sorted[0], worst = sorted[sorted.length - 1];
    let text = `${best.name} needs least: a break of ${bytes(best.peakBreak)} for ` +
        `${bytes(t.peakLive)} that are live at most (${times(footprint(best))}).`;
    if (best !== worst && worst.peakBreak <= best.peakBreak * 1.01)
        text += ` All the others need at most ${percent(worst.peakBreak / best.peakBreak - 1)} more.`;
    else if (best !== worst)
        text += ` ${worst.name} needs most: ${bytes(worst.peakBreak)} (${times(footprint(worst))}), ` +
            `${percent(worst.peakBreak / best.peakBreak - 1)} more.`;
    const failing = t.strategies.filter(s => s.failed);
    if (failing.length)
        text += ` Requests were not served on ${failing.map(s => s.name).join(", ")}.`;
    return text;
}

function comparison(t) {
    const most = Math.max(1, ...t.strategies.map(s => s.peakBreak));
    const c = t.peakOp ? indexAt(t.ends, t.peakOp) : 0;
    const least = Math.min(...t.strategies.map(s => s.peakBreak));
    const heads = ["Strategy", "Peak break", "Footprint", "Control", "Most fragmentation", "Most holes",
        "At the peak: holes", "their bytes", "the largest", "Not served"];
    const rows = t.strategies.map(s => [
        h("span", null, h("i", {class: "dot", "--c": colourOf(s)}), " " + s.name),
        h("span", {class: s.peakBreak === least ? "best" : ""}, bytes(s.peakBreak),
            h("span", {class: "bar"},
                h("i", {"--c": colourOf(s), width: s.peakBreak / most * 100 + "%"}),
                h("u", {left: t.peakLive / most * 100 + "%", title: "live at most"}))),
        h("span", {class: s.peakBreak === least ? "best" : ""}, times(footprint(s))),
        bytes(s.control), percent(s.mostShare), count(s.mostHoles), count(s.line.count[c] || 0),
        bytes(s.line.bytes[c] || 0), bytes(s.line.largest[c] || 0),
        h("span", {class: s.failed ? "worst" : ""}, count(s.failed))]);
    const made = table(heads, rows);
    made.querySelectorAll("tbody tr").forEach((tr, i) =>
        tr.classList.toggle("off", !t.strategies[i].shown));
    return made;
}

function buildSummary() {
    const t = state.trace;
    document.title = "hmm report: " + fileName(t.path);
    $("summary-title").textContent = fileName(t.path);
    $("verdict").textContent = verdict(t);
    $("facts").replaceChildren(
        fact("Operations", count(t.ops)), fact("Live at most", bytes(t.peakLive)),
        fact("by operation", count(t.peakOp)), fact("Blocks at most", count(t.peakBlocks)),
        fact("Allocations", count(t.allocations + t.aligned)), fact("aligned", count(t.aligned)),
        fact("Resizes", count(t.resizes)), fact("Frees", count(t.frees)),
        fact("Never freed", count(t.neverFreed)));
    $("comparison").replaceChildren(comparison(t));
    $("compared").hidden = !t.compared;
    if (t.compared)
        $("compared-table").replaceChildren(table(t.compared.heads, t.compared.rows));
    const advice = t.advice || [];
    $("advice").hidden = advice.length === 0;
    $("advice").replaceChildren(...advice.flatMap(line => [line, h("br")]));
}

/* ---- Pictures as tables ---- */

/* Evenly spread columns of the part that is zoomed to. */
function someColumns() {
    const ends = state.trace.ends, from = indexAt(ends, state.zoom.from);
    const to = indexAt(ends, state.zoom.to), n = Math.min(tableRows, to - from + 1);
    return Array.from({length: ends.length ? n : 0}, (_, i) =>
        n === 1 ? to : from + Math.round(i * (to - from) / (n - 1)));
}

function linesTable() {
    const t = state.trace, shown = shownStrategies();
    return table(["After operation", "Live bytes", "Live blocks", ...shown.flatMap(s =>
        [s.name + ": break", "holes", "bytes in them", "largest"])],
    someColumns().map(c => [count(t.ends[c]), count(t.line.live[c]), count(t.line.blocks[c]),
        ...shown.flatMap(s => [s.line.brk, s.line.count, s.line.bytes, s.line.largest].map(l => count(l[c])))]));
}

/* In use, of each band of addresses, in hundredths. */
function mapsTable() {
    const t = state.trace, bands = Math.min(12, t.rows), c = mapColumn();
    return table(["Addresses", ...shownStrategies().map(s => s.name + ": in use")],
        Array.from({length: t.mapColumns ? bands : 0}, (_, i) => {
            const from = Math.floor(i * t.rows / bands), to = Math.floor((i + 1) * t.rows / bands);
            return [bytes(from * t.rowBytes) + " to " + bytes(to * t.rowBytes),
                ...shownStrategies().map(s => {
                    const inside = Math.min(Math.ceil(s.line.brk[lineColumn()] / t.rowBytes), to);
                    if (inside <= from)
                        return "above the break";
                    let sum = 0;
                    for (let row = from; row < inside; row++)
                        sum += s.fillMap[c * t.rows + row] / 255;
                    return percent(sum / (inside - from));
                })];
        }));
}

function blocksTable() {
    const area = b => b.size * (b.until - b.since);
    const rows = shownStrategies().flatMap(s => [...s.blockList].sort((a, b) => area(b) - area(a))
        .slice(0, 25).map(b => [s.name, count(b.address), count(b.size), count(b.born), count(b.since),
            (b.end === "lasts" ? "never" : b.end + " by " + count(b.until))]));
    return table(["Strategy", "Address", "Bytes", "Allocated by", "There since", "Ends"], rows);
}

function momentTable() {
    const t = state.trace, shown = shownStrategies(), [low, high] = t.holeRange || holeRange();
    const at = holeColumn() * t.holeClasses;
    return table(["Holes of", ...shown.map(s => s.name)],
        Array.from({length: high - low + 1}, (_, i) => low + i).map(k =>
            [count(2 ** k) + " to " + count(2 ** (k + 1) - 1) + " bytes",
                ...shown.map(s => count(s.holeTable[at + k] || 0))]));
}

const pictureTables = {"lines-table": linesTable, "maps-table": mapsTable, "blocks-table": blocksTable,
    "moment-table": momentTable};

function fillTables() {
    for (const [id, make] of Object.entries(pictureTables))
        if ($(id).parentElement.open)
            $(id).replaceChildren(make());
}

on("trace shown", buildSummary);
on("trace shown op zoom", fillTables);
