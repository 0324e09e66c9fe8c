/* SPDX-License-Identifier: MIT */
/* What the program asks for: requests by size, blocks by lifetime. */

/* bars: [{label, value, title}]; the length of a bar is its value's share of the largest. */
function histogram(bars, format) {
    const width = 640, height = 190, left = 46, bottom = 24, top = 6;
    const most = bars.reduce((a, b) => Math.max(a, b.value), 0) || 1;
    const w = (width - left) / (bars.length || 1), hh = height - bottom - top;
    const y = v => top + hh * (1 - v / most);
    const root = svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "img",
        "aria-label": "Histogram; the table below has the figures"});
    for (const part of [0, 0.5, 1]) {
        root.append(svg("line", {class: "axis", x1: left, x2: width, y1: y(most * part), y2: y(most * part)}),
            svg("text", {x: left - 6, y: y(most * part) + 4, "text-anchor": "end"}, format(most * part)));
    }
    const group = svg("g", {class: "bars"});
    bars.forEach((b, i) => group.append(svg("rect", {x: left + i * w + 0.75, y: y(b.value),
        width: Math.max(w - 1.5, 1), height: Math.max(top + hh - y(b.value), b.value ? 1 : 0), rx: 1.5},
        svg("title", null, b.title))));
    root.append(group);
    const every = Math.ceil(bars.length * 44 / (width - left));
    bars.forEach((b, i) => {
        if (b.label && i % every === 0)
            root.append(svg("text", {x: left + (i + 0.5) * w, y: height - 8, "text-anchor": "middle"}, b.label));
    });
    return root;
}

const classText = ([from, to]) => from === to ? count(from) : count(from) + " to " + count(to);

/* Those between the smallest and the largest which have none are there, too, by the doubling. */
function doublings(requests) {
    const sums = new Map();
    for (const [from, , n, total] of requests) {
        const k = from === 0 ? -1 : Math.floor(Math.log2(from));
        const was = sums.get(k) || [0, 0];
        sums.set(k, [was[0] + n, was[1] + total]);
    }
    const keys = [...sums.keys()], bars = [];
    for (let k = Math.min(...keys); k <= Math.max(...keys) && keys.length; k++)
        bars.push({k, n: (sums.get(k) || [0, 0])[0], total: (sums.get(k) || [0, 0])[1]});
    return bars;
}

function buildAsks() {
    const t = state.trace;
    $("requests").replaceChildren(histogram(doublings(t.requests).map(b => ({
        label: b.k < 0 ? "0" : shortBytes(2 ** b.k), value: b.n,
        title: (b.k < 0 ? "0" : count(2 ** b.k) + " to " + count(2 ** (b.k + 1) - 1)) + " bytes: " +
            plural(b.n, "request") + ", " + bytes(b.total) + " in all",
    })), short));
    const lives = new Map(t.lifetimes), longest = Math.max(0, ...lives.keys());
    $("lifetimes").replaceChildren(histogram(Array.from({length: longest + 1}, (_, k) => ({
        label: short(+(2 ** k).toPrecision(2)), value: lives.get(k) || 0,
        title: count(2 ** k) + " to " + count(2 ** (k + 1) - 1) + " operations: " +
            plural(lives.get(k) || 0, "block"),
    })), short));
    $("requests-table").replaceChildren(table(["Bytes", "Requests", "Bytes in all"],
        t.requests.map(r => [classText(r), count(r[2]), count(r[3])])));
    $("lifetimes-table").replaceChildren(table(["Operations", "Blocks"],
        [...t.lifetimes.map(([k, n]) => [count(2 ** k) + " to " + count(2 ** (k + 1) - 1), count(n)]),
            ["never freed", count(t.neverFreed)]]));
}

on("trace", buildAsks);
