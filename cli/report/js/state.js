/* SPDX-License-Identifier: MIT */
/* What the reader looks at, and who is to be told when that changes. */

const state = {
    data: null,
    trace: null,
    op: 0,                 /* the cursor */
    zoom: null,            /* {from, to} in operations */
    mode: "use",           /* what the map's colours mean */
    hover: null,           /* {strategy, address} under the pointer */
    playing: false,
};

/* kinds: "trace", "op", "zoom", "mode", "shown", "theme", "hover", "size" */
const listeners = {};
const on = (kinds, tell) => kinds.split(" ").forEach(k => (listeners[k] = listeners[k] || []).push(tell));

/* At most once a frame, however much has changed. */
const changed = new Set();
function change(kind) {
    if (changed.size === 0)
        requestAnimationFrame(() => {
            const told = new Set();
            if (["trace", "shown", "size", "theme"].some(k => changed.has(k)))
                layout++;
            for (const k of changed)
                for (const tell of listeners[k] || [])
                    told.add(tell);
            changed.clear();
            told.forEach(tell => tell());
        });
    changed.add(kind);
}

const shownStrategies = () => state.trace.strategies.filter(s => s.shown);

function clampOp(op) {
    return Math.min(Math.max(Math.round(op), state.trace.ends[0] || 0), state.trace.ops);
}

function setOp(op) {
    const now = clampOp(op);
    if (now === state.op)
        return;
    state.op = now;
    change("op");
}

function setZoom(from, to) {
    const all = state.trace.ops, least = Math.min(all, Math.max(all / state.trace.lineColumns * 8, 4));
    let width = Math.min(Math.max(to - from, least), all);
    let begin = Math.min(Math.max(from, 0), all - width);
    state.zoom = {from: begin, to: begin + width};
    change("zoom");
}

/* Around the cursor; factor < 1: nearer. */
function zoomBy(factor) {
    const {from, to} = state.zoom;
    const at = Math.min(Math.max(state.op, from), to);
    setZoom(at - (at - from) * factor, at + (to - at) * factor);
}

const zoomOut = () => setZoom(0, state.trace.ops);

/* Columns of the cursor. */
const lineColumn = () => indexAt(state.trace.ends, state.op);
const mapColumn = () => indexAt(state.trace.mapEnds, state.op);
const holeColumn = () => indexAt(state.trace.holeEnds, state.op);

/* By the resolution of the lines, wherever the zoom is. */
function stepBy(columns) {
    const ends = state.trace.ends;
    const to = Math.min(Math.max(lineColumn() + columns, 0), ends.length - 1);
    setOp(ends[to]);
    const {from, to: until} = state.zoom, width = until - from;
    if (state.op < from || state.op > until)
        setZoom(state.op - width / 2, state.op + width / 2);
}

function toggle(strategy) {
    if (strategy.shown && shownStrategies().length === 1)
        return;
    strategy.shown = !strategy.shown;
    change("shown");
}

function openTraceAt(index) {
    const traces = state.data.traces;
    state.trace = openTrace(state.data, traces[(index + traces.length) % traces.length]);
    state.op = state.trace.peakOp;
    state.zoom = {from: 0, to: state.trace.ops};
    state.hover = null;
    change("trace");
}
