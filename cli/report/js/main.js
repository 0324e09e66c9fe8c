/* SPDX-License-Identifier: MIT */
/* Putting it together: strategies, traces, theme and keys. */

function buildChips() {
    $("chips").replaceChildren(...state.trace.strategies.map((s, i) =>
        h("button", {class: "chip", type: "button", "--c": colourOf(s), "aria-pressed": String(s.shown),
            title: s.summary + (i < 9 ? " (" + (i + 1) + ")" : ""), onclick: () => toggle(s)},
        h("i"), s.name)));
}

function buildWhich() {
    const traces = state.data.traces;
    if (traces.length === 1) {
        $("which").replaceChildren(fileName(traces[0].path));
        return;
    }
    const select = h("select", {"aria-label": "Trace", onchange: e => openTraceAt(+e.target.value)},
        ...traces.map((t, i) => h("option", {value: i, selected: t === state.trace}, fileName(t.path))));
    $("which").replaceChildren(select);
}

/* ---- Theme ---- */

function setTheme(theme) {
    document.documentElement.dataset.theme = theme;
    change("theme");
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function flipTheme() {
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
}

/* ---- Keys ---- */

function nextMode() {
    const keys = modesOf(state.trace).map(([key]) => key);
    setMode(keys[(keys.indexOf(state.mode) + 1) % keys.length]);
}

const keyActions = {
    ArrowLeft: e => stepBy(e.shiftKey ? -10 : -1),
    ArrowRight: e => stepBy(e.shiftKey ? 10 : 1),
    Home: () => setOp(0),
    End: () => setOp(state.trace.ops),
    p: () => setOp(state.trace.peakOp),
    " ": play,
    "+": () => zoomBy(0.5),
    "=": () => zoomBy(0.5),
    "-": () => zoomBy(2),
    0: zoomOut,
    c: nextMode,
    t: flipTheme,
    "?": () => $("help").showModal(),
    "[": () => openTraceAt(state.data.traces.indexOf(state.trace) - 1),
    "]": () => openTraceAt(state.data.traces.indexOf(state.trace) + 1),
};

function onKey(e) {
    const inside = e.target.closest("input, select, button, summary, dialog, a");
    const own = inside && (inside.matches("select, dialog, dialog *") || e.key === " " || e.key === "Enter" ||
        (inside.matches("input") && /^(Arrow|Home|End)/.test(e.key)));
    if (own || e.ctrlKey || e.altKey || e.metaKey)
        return;
    const strategy = /^[1-9]$/.test(e.key) ? state.trace.strategies[e.key - 1] : null;
    const action = strategy ? () => toggle(strategy) : keyActions[e.key.length === 1 ? e.key.toLowerCase() : e.key];
    if (action) {
        e.preventDefault();
        action(e);
    }
}

/* ---- For those who listen: where the cursor is, when it rests. ---- */

let saying = 0;
function say() {
    clearTimeout(saying);
    saying = setTimeout(() => {
        const t = state.trace, c = lineColumn();
        $("live").textContent = "After operation " + count(t.ends[c] || 0) + ": " +
            bytes(t.line.live[c] || 0) + " live. " + shownStrategies().map(s => s.name + ": break " +
            bytes(s.line.brk[c] || 0) + ", " + plural(s.line.count[c] || 0, "hole")).join(". ");
    }, 600);
}

/* ---- Start ---- */

function listen() {
    $("theme").onclick = flipTheme;
    $("keys").onclick = () => $("help").showModal();
    $("play").onclick = play;
    $("to-peak").onclick = () => setOp(state.trace.peakOp);
    document.addEventListener("keydown", onKey);
    document.querySelectorAll("details").forEach(d => d.ontoggle = fillTables);
    prefersDark.onchange = e => setTheme(e.matches ? "dark" : "light");
    let width = 0;
    new ResizeObserver(() => {
        if (innerWidth !== width)
            change("size");
        width = innerWidth;
    }).observe(document.body);
    let before = null;
    addEventListener("beforeprint", () => {
        before = document.documentElement.dataset.theme;
        document.documentElement.dataset.theme = "light";
        layout++;
        buildLines();
        paintMaps();
        drawMoment();
    });
    addEventListener("afterprint", () => setTheme(before));
}

async function start() {
    const began = performance.now();
    state.data = parse(await unpack($("data").textContent));
    $("data").remove();
    document.documentElement.dataset.theme = prefersDark.matches ? "dark" : "light";
    $("main").hidden = false;
    on("trace shown", buildChips);
    on("trace", buildWhich);
    on("op trace", say);
    listen();
    openTraceAt(0);
    requestAnimationFrame(() => requestAnimationFrame(() => {
        document.documentElement.dataset.ready = Math.round(performance.now() - began);
    }));
    $("foot").textContent = "Made by hmm " + state.data.hmm + ". Everything is in this file; nothing is fetched.";
}

start().catch(error => {
    $("main").hidden = true;
    document.body.append(h("p", {class: "note"}, "This report cannot be shown: " + error.message));
    throw error;
});
