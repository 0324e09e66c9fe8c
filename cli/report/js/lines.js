/* SPDX-License-Identifier: MIT */
/* The timelines, by uPlot, and the figures at the cursor. */

const lineKinds = [
    {title: "Break, and what is live", hint: "the highest in each column", value: shortBytes,
        of: s => s.line.brkMost, live: true, binary: true, height: 190},
    {title: "Fragmentation", hint: "bytes in holes, of all below the break", value: percent,
        of: s => s.line.share, height: 130},
    {title: "Largest hole", hint: "the largest free block below the last one in use",
        value: shortBytes, of: s => s.line.largest, binary: true, height: 130},
    {title: "Holes", hint: "how many free blocks", value: short, of: s => s.line.count, height: 130},
];

const binarySteps = Array.from({length: 45}, (_, i) => 2 ** i);
let plots = [], settingCursor = false;

function axis(values, size, more) {
    return {stroke: cssColour("--dim"), grid: {stroke: cssColour("--line"), width: 1},
        ticks: {show: false}, font: "11px system-ui, sans-serif", values, size, gap: 6, ...more};
}

function plotSeries(kind, trace) {
    const series = [{label: "operation"}];
    if (kind.live)
        series.push({label: "live", stroke: cssColour("--dim"), width: 1,
            fill: cssColour("--faint"), points: {show: false}});
    for (const s of trace.strategies)
        series.push({label: s.name, stroke: colourOf(s), width: 1.6, show: s.shown,
            points: {show: false}});
    return series;
}

function plotData(kind, trace) {
    const data = [trace.ends];
    if (kind.live)
        data.push(trace.line.most);
    for (const s of trace.strategies)
        data.push(kind.of(s));
    return data;
}

function plotOptions(kind, last, width) {
    return {
        width, height: kind.height + (last ? 26 : 0), legend: {show: false},
        padding: [8, 18, last ? 0 : 8, 0],
        scales: {x: {time: false, range: () => [state.zoom.from, state.zoom.to]},
            y: {range: (u, low, high) => [0, (high || 1) * 1.06]}},
        series: plotSeries(kind, state.trace),
        axes: [axis((u, v) => v.map(short), last ? 26 : 0, {show: last}),
            axis((u, v) => v.map(kind.value), 64, kind.binary ? {incrs: binarySteps} : {})],
        cursor: {y: false, points: {show: false}, drag: {x: true, y: false, setScale: false}},
        hooks: {
            setCursor: [u => {
                if (!settingCursor && u.cursor.left >= 0)
                    setOp(u.posToVal(u.cursor.left, "x"));
            }],
            setSelect: [u => {
                if (u.select.width > 4)
                    setZoom(u.posToVal(u.select.left, "x"),
                        u.posToVal(u.select.left + u.select.width, "x"));
                u.setSelect({left: 0, top: 0, width: 0, height: 0}, false);
            }],
        },
    };
}

function buildLines() {
    const box = $("lines"), width = box.clientWidth;
    plots.forEach(p => p.plot.destroy());
    box.replaceChildren();
    plots = lineKinds.map((kind, i) => {
        box.append(h("p", {class: "chart-title"}, kind.title + " ", h("span", null, kind.hint)));
        const plot = new uPlot(plotOptions(kind, i === lineKinds.length - 1, width),
            plotData(kind, state.trace), box);
        plot.over.ondblclick = zoomOut;
        plot.root.setAttribute("role", "img");
        plot.root.setAttribute("aria-label", kind.title + " over time, a line a strategy; " +
            "the table below has the figures");
        return {kind, plot};
    });
    moveLinesCursor();
}

function zoomLines() {
    for (const {plot} of plots)
        plot.setScale("x", {min: state.zoom.from, max: state.zoom.to});
    moveLinesCursor();
}

function showLines() {
    for (const {kind, plot} of plots)
        state.trace.strategies.forEach((s, i) =>
            plot.setSeries(i + 1 + (kind.live ? 1 : 0), {show: s.shown}));
}

function moveLinesCursor() {
    settingCursor = true;
    for (const {plot} of plots) {
        const left = plot.valToPos(state.op, "x");
        const inside = left >= 0 && left <= plot.over.clientWidth;
        plot.setCursor({left: inside ? left : -10, top: inside ? 1 : -10}, false);
    }
    settingCursor = false;
}

function resizeLines() {
    const width = $("lines").clientWidth;
    plots.forEach(({plot}) => plot.setSize({width, height: plot.height}));
    moveLinesCursor();
}

/* ---- The figures at the cursor: elements are made once and then only their text changes. ---- */

let readout = null;

function buildReadout() {
    const box = $("readout");
    readout = {op: h("div", {class: "op"}), sub: h("div", {class: "sub"}), ones: []};
    box.replaceChildren(h("h3", null, "After operation"), readout.op, readout.sub);
    for (const s of shownStrategies()) {
        const values = ["Break", "times live", "Fragmentation", "Largest hole", "Holes"].map(name =>
            ({name: h("dt", null, name), value: h("dd")}));
        box.append(h("div", {class: "one"},
            h("div", {class: "name"}, h("i", {class: "dot", "--c": colourOf(s)}), s.name),
            h("dl", null, ...values.flatMap(v => [v.name, v.value]))));
        readout.ones.push({s, values: values.map(v => v.value)});
    }
    updateReadout();
}

function updateReadout() {
    const t = state.trace, c = lineColumn();
    readout.op.textContent = count(t.ends[c] || 0);
    readout.sub.textContent = bytes(t.line.live[c] || 0) + " live in " +
        plural(t.line.blocks[c] || 0, "block");
    for (const {s, values} of readout.ones)
        [bytes(s.line.brk[c] || 0), times(s.line.brk[c] / t.line.live[c]),
            percent(s.line.share[c] || 0), bytes(s.line.largest[c] || 0),
            count(s.line.count[c] || 0)].forEach((text, i) => values[i].textContent = text);
}

on("trace theme", buildLines);
on("trace shown", buildReadout);
on("zoom", zoomLines);
on("shown", showLines);
on("op", moveLinesCursor);
on("op", updateReadout);
on("size", resizeLines);
