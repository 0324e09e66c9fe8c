/* SPDX-License-Identifier: MIT */
/* The heap map: address against time, a canvas for each strategy, and what is under the pointer. */

const mapModes = {
    use: {name: "In use or free", of: useColours},
    age: {name: "Age", of: ageColours},
    site: {name: "Call site", of: siteColours, needs: t => t.names},
};
/* The same on light and dark; the first is for all other sites. */
const sitePalette = ["#9aa3ad", "#3b82c4", "#e0803a", "#2f9e6e", "#d24d62", "#8a63c9", "#b08a2e", "#d66fb0",
    "#3aa6b9", "#7fb23a", "#5b6bd6", "#c2603d", "#4f9f9a", "#a0527f", "#c9b23c", "#6f8f5f"];
const mapInset = {left: 62, right: 6, top: 4, bottom: 20};
const headerBytes = 4; /* before what a block's address is */
let maps = [], palette = null;

/* ---- Colours ---- */

function makePalette() {
    const free = rgb(cssColour("--free")), used = rgb(cssColour("--used"));
    palette = {
        above: rgb(cssColour("--above")), control: rgb(cssColour("--control")),
        panel: cssColour("--panel"), free, plain: rgb(cssColour("--plain")),
        use: Array.from({length: 256}, (_, i) => i === 0 ? free : mix(free, used, 0.25 + 0.75 * i / 255)),
        site: sitePalette.map(rgb),
        age: rampOf(["#fde725", "#7ad151", "#22a884", "#2a788e", "#414487", "#440154"]),
    };
}

function useColours(s) {
    return i => palette.use[s.fillMap[i]];
}

/* The young are bright; what is free is grey. */
function ageColours(s, trace) {
    const rows = trace.rows;
    return i => {
        const fill = s.fillMap[i];
        if (fill === 0)
            return palette.plain;
        const now = trace.mapEnds[Math.floor(i / rows)] / trace.ops * 255;
        const age = Math.min(Math.max(Math.round(now - s.bornMap[i]), 0), 255);
        return fill === 255 ? palette.age[age] : mix(palette.plain, palette.age[age], 0.25 + 0.75 * fill / 255);
    };
}

/* What is free is plain; what is partly in use is paler. */
function siteColours(s) {
    return i => s.fillMap[i] === 0 ? palette.plain
        : mix(palette.plain, palette.site[s.whoMap[i]], 0.35 + 0.65 * s.fillMap[i] / 255);
}

const modesOf = t => Object.entries(mapModes).filter(([, mode]) => !mode.needs || mode.needs(t));
const siteName = by => by ? state.trace.names[by - 1] : null;

/* A pixel a cell, the lowest address at the bottom. */
function drawPicture(map) {
    const {s, picture} = map, t = state.trace, rows = t.rows, columns = t.mapColumns;
    picture.width = Math.max(columns, 1);
    picture.height = rows;
    const context = picture.getContext("2d"), image = context.createImageData(picture.width, rows);
    const colour = mapModes[state.mode].of(s, t), pixels = image.data;
    for (let c = 0; c < columns; c++) {
        const brk = s.line.brk[indexAt(t.ends, t.mapEnds[c])];
        const inside = Math.ceil(brk / t.rowBytes);
        for (let row = 0; row < rows; row++) {
            const [r, g, b] = row < inside ? colour(c * rows + row) : palette.above;
            const at = ((rows - 1 - row) * columns + c) * 4;
            pixels[at] = r;
            pixels[at + 1] = g;
            pixels[at + 2] = b;
            pixels[at + 3] = 255;
        }
    }
    context.putImageData(image, 0, 0);
}

/* ---- Where things are ---- */

function mapFrame(width, height) {
    return {x: mapInset.left, y: mapInset.top, w: width - mapInset.left - mapInset.right,
        h: height - mapInset.top - mapInset.bottom};
}

const opToX = (f, op) => f.x + (op - state.zoom.from) / (state.zoom.to - state.zoom.from) * f.w;
const xToOp = (f, x) => state.zoom.from + (x - f.x) / f.w * (state.zoom.to - state.zoom.from);
const addressToY = (f, address) => f.y + f.h - address / state.trace.top * f.h;
const yToAddress = (f, y) => (f.y + f.h - y) / f.h * state.trace.top;

/* ---- Drawing ---- */

function drawAxes(context, f, width) {
    const t = state.trace;
    context.fillStyle = cssColour("--dim");
    context.strokeStyle = cssColour("--line");
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.textAlign = "right";
    const step = 2 ** Math.ceil(Math.log2(t.top / 5));
    for (let a = 0; a <= t.top; a += step) {
        const y = addressToY(f, a);
        context.fillText(a === 0 ? "0" : shortBytes(a), f.x - 7, Math.max(y, f.y + 6));
    }
    context.textBaseline = "top";
    const span = state.zoom.to - state.zoom.from, rough = span / 6;
    const power = 10 ** Math.floor(Math.log10(rough || 1));
    const every = [1, 2, 5, 10].map(n => n * power).find(n => n >= rough) || 1;
    for (let op = Math.ceil(state.zoom.from / every) * every; op <= state.zoom.to; op += every) {
        const x = opToX(f, op);
        context.textAlign = x > width - 24 ? "right" : "center";
        context.fillText(short(op), x, f.y + f.h + 5);
    }
}

function drawBreak(context, f, s) {
    const t = state.trace;
    context.save();
    context.beginPath();
    context.rect(f.x, f.y, f.w, f.h);
    context.clip();
    context.beginPath();
    for (let c = 0; c < t.ends.length; c++)
        context.lineTo(opToX(f, t.ends[c]), addressToY(f, s.line.brk[c]));
    context.strokeStyle = colourOf(s);
    context.lineWidth = 1.5;
    context.stroke();
    context.fillStyle = cssColour("--control");
    const y = addressToY(f, s.control);
    context.fillRect(f.x, y, f.w, f.y + f.h - y);
    context.restore();
}

function drawMap(map) {
    const {context, width, height} = fit(map.canvas), f = mapFrame(width, height), t = state.trace;
    context.clearRect(0, 0, width, height);
    const perOp = t.mapColumns / (t.ops || 1);
    const sx = state.zoom.from * perOp, sw = (state.zoom.to - state.zoom.from) * perOp;
    context.imageSmoothingEnabled = sw > f.w;
    context.imageSmoothingQuality = "high";
    if (t.mapColumns)
        context.drawImage(map.picture, sx, 0, sw, t.rows, f.x, f.y, f.w, f.h);
    drawBreak(context, f, map.s);
    drawAxes(context, f, width);
}

function drawOverlay(map) {
    const {context, width, height} = fit(map.overlay), f = mapFrame(width, height);
    context.clearRect(0, 0, width, height);
    context.save();
    context.beginPath();
    context.rect(f.x, f.y, f.w, f.h);
    context.clip();
    if (map.drag) {
        context.fillStyle = cssColour("--accent") + "44";
        context.fillRect(Math.min(map.drag.from, map.drag.to), f.y,
            Math.abs(map.drag.to - map.drag.from), f.h);
    }
    const hovered = state.hover && state.hover.s === map.s ? state.hover : null;
    if (hovered && hovered.block)
        outline(context, f, hovered.block);
    context.strokeStyle = cssColour("--cross");
    context.globalAlpha = 0.7;
    context.setLineDash([4, 3]);
    context.beginPath();
    const x = Math.round(opToX(f, state.op)) + 0.5;
    context.moveTo(x, f.y);
    context.lineTo(x, f.y + f.h);
    if (hovered) {
        const y = Math.round(addressToY(f, hovered.address)) + 0.5;
        context.moveTo(f.x, y);
        context.lineTo(f.x + f.w, y);
    }
    context.stroke();
    context.restore();
}

function outline(context, f, b) {
    const x = opToX(f, b.since), y = addressToY(f, b.address + b.size);
    const w = Math.max(opToX(f, b.until) - x, 2), hh = Math.max(addressToY(f, b.address) - y, 2);
    context.lineWidth = 3;
    context.strokeStyle = cssColour("--panel");
    context.strokeRect(x, y, w, hh);
    context.lineWidth = 1.5;
    context.strokeStyle = cssColour("--cross");
    context.strokeRect(x, y, w, hh);
}

/* ---- What is under the pointer ---- */

/* The block at an address after an operation, of those that the page has. */
function blockAt(s, op, address) {
    let found = null;
    for (const b of s.blockList) {
        if (b.since > op)
            break;
        const begin = b.address - headerBytes;
        const end = begin + Math.max(Math.ceil((b.size + headerBytes) / 16) * 16, 16);
        if ((op < b.until || b.end === "lasts") && address >= begin && address < end)
            found = b;
    }
    return found;
}

function explain(s, op, address) {
    const t = state.trace, c = lineColumn(), column = mapColumn();
    const row = Math.min(Math.floor(address / t.rowBytes), t.rows - 1);
    const fill = s.fillMap[column * t.rows + row], born = s.bornMap[column * t.rows + row];
    const where = "at " + bytes(address) + " from the start, after operation " + count(op);
    if (address >= s.line.brk[c])
        return {title: "Above the break", lines: [where, "The heap has not taken this memory."]};
    if (address < s.control)
        return {title: "Control structures", lines: [where,
            bytes(s.control) + " in all: the heap's own, and the index of " + s.name]};
    const block = blockAt(s, op, address);
    if (block)
        return {block, title: "A block of " + plural(block.size, "byte"), lines: blockLines(block)};
    const cell = "a cell of the map: " + bytes(t.rowBytes);
    if (fill === 0)
        return {title: "Free", lines: [where, "Nothing is in use in " + cell + "."]};
    const age = Math.max(op - born / 255 * t.ops, 0), near = blockNear(s, op, address);
    return {title: percent(fill / 255) + " in use", block: near, lines: [where,
        "in " + cell + "; on the average allocated " + count(age) + " operations ago.",
        ...cellSite(s, column * t.rows + row),
        ...near ? ["For example, a block of " + plural(near.size, "byte") + ":", ...blockLines(near)]
            : ["Blocks here are too small for this page to know each."]]};
}

function cellSite(s, cell) {
    const by = s.whoMap && s.whoMap[cell] ? siteName(state.trace.coloured[s.whoMap[cell] - 1]) : null;
    return by ? ["most of it asked for by " + by] : [];
}

/* Of the blocks that the page has and that live then, the one next to an address, not too far off. */
function blockNear(s, op, address) {
    let best = null, least = state.trace.rowBytes * 8;
    for (const b of s.blockList) {
        if (b.since > op)
            break;
        const off = Math.abs(b.address + b.size / 2 - address);
        if ((op < b.until || b.end === "lasts") && off < least) {
            best = b;
            least = off;
        }
    }
    return best;
}

function blockLines(b) {
    const born = "Allocated by operation " + count(b.born);
    const moved = b.since !== b.born ? "has been here and of this size since operation " + count(b.since) : null;
    const end = {freed: "freed by operation ", resized: "resized by operation ",
        lasts: "never freed; the trace ends with operation "}[b.end] + count(b.until);
    const by = siteName(b.by);
    return ["at " + bytes(b.address) + " from the start", by && "asked for by " + by, born, moved, end,
        "lives " + plural(b.until - b.born, "operation") + (b.end === "lasts" ? " so far" : "")]
        .filter(l => l);
}

function showTip(event, what) {
    const tip = $("tip");
    tip.replaceChildren(h("b", null, what.title), ...what.lines.map(l => h("span", null, l)));
    tip.hidden = false;
    const box = tip.getBoundingClientRect(), gap = 16;
    const left = event.clientX + gap + box.width > innerWidth ? event.clientX - gap - box.width : event.clientX + gap;
    const above = event.clientY + gap + box.height > innerHeight;
    tip.style.left = Math.max(left, 4) + "px";
    tip.style.top = (above ? event.clientY - gap - box.height : event.clientY + gap) + "px";
}

function point(map, event) {
    const box = map.overlay.getBoundingClientRect(), f = mapFrame(box.width, box.height);
    const x = Math.min(Math.max(event.clientX - box.left, f.x), f.x + f.w);
    const y = Math.min(Math.max(event.clientY - box.top, f.y), f.y + f.h);
    if (map.drag)
        map.drag.to = x;
    setOp(xToOp(f, x));
    const address = Math.min(Math.max(yToAddress(f, y), 0), state.trace.top - 1);
    const what = explain(map.s, state.op, address);
    state.hover = {s: map.s, address, block: what.block};
    showTip(event, what);
    change("hover");
}

function leave() {
    state.hover = null;
    $("tip").hidden = true;
    change("hover");
}

function endDrag(map) {
    const drag = map.drag, box = map.overlay.getBoundingClientRect(), f = mapFrame(box.width, box.height);
    map.drag = null;
    if (drag && Math.abs(drag.to - drag.from) > 5)
        setZoom(xToOp(f, Math.min(drag.from, drag.to)), xToOp(f, Math.max(drag.from, drag.to)));
    change("hover");
}

/* ---- Building ---- */

function buildMap(s) {
    const canvas = h("canvas", {role: "img", "aria-label": "The heap of " + s.name +
        ", address against time; the tables below have the figures"});
    const overlay = h("canvas", {"aria-hidden": "true"});
    const map = {s, canvas, overlay, picture: document.createElement("canvas"), drag: null};
    map.root = h("div", {class: "map"},
        h("h3", null, h("i", {class: "dot", "--c": colourOf(s)}), s.name,
            h("small", null, "break up to " + bytes(s.peakBreak))),
        h("div", {class: "stack"}, canvas, overlay));
    overlay.onpointermove = e => point(map, e);
    overlay.onpointerleave = leave;
    overlay.ondblclick = zoomOut;
    overlay.onpointerdown = e => {
        overlay.setPointerCapture(e.pointerId);
        const x = e.clientX - overlay.getBoundingClientRect().left;
        map.drag = {from: x, to: x};
    };
    overlay.onpointerup = () => endDrag(map);
    return map;
}

function buildMaps() {
    if (!modesOf(state.trace).some(([key]) => key === state.mode))
        state.mode = "use";
    maps = shownStrategies().map(buildMap);
    $("maps").replaceChildren(...maps.map(m => m.root));
    const t = state.trace;
    const every = t.ops / (t.mapColumns || 1);
    $("maps-note").textContent = "All to one scale; the line is the break. A cell is " +
        bytes(t.rowBytes) + " high and " + (every > 1 ? "shows the heap after every " +
        count(every) + " operations" : "one operation wide") + ". " +
        (t.strategies.every(s => s.allBlocks) ? "The page knows every block."
            : "Of single blocks the page knows " + count(t.strategies[0].blockCount) +
            " of each strategy: those that take most of the picture, and examples from all over it.");
    paintMaps();
}

function paintMaps() {
    makePalette();
    maps.forEach(drawPicture);
    drawMaps();
    drawRamp();
}

function drawMaps() {
    maps.forEach(drawMap);
    drawOverlays();
}

const drawOverlays = () => maps.forEach(drawOverlay);

function rampScale(css) {
    const ramp = state.mode === "use" ? palette.use : palette.age;
    const stops = Array.from({length: 9}, (_, i) => css(ramp[Math.min(i * 32, 255)])).join(",");
    const scale = h("i", {class: "scale", background: "linear-gradient(90deg," + stops + ")"});
    const ends = state.mode === "use" ? ["partly in use", "all in use"] : ["new", "old"];
    return h("span", null, ends[0], scale, ends[1]);
}

function siteSwatches(swatch) {
    const named = state.trace.coloured.map((by, i) => by && swatch(sitePalette[i + 1], siteName(by)));
    return [...named.filter(e => e), swatch(sitePalette[0], "all others")];
}

function drawRamp() {
    const css = c => "rgb(" + c.join(",") + ")";
    const swatch = (colour, text) => h("span", null,
        h("i", {class: "swatch", background: colour}), text);
    const plain = swatch(css(state.mode === "use" ? palette.free : palette.plain), "free");
    const meanings = state.mode === "site" ? siteSwatches(swatch) : [rampScale(css)];
    $("ramp").replaceChildren(plain, ...meanings,
        swatch("var(--control)", "control structures"), swatch(css(palette.above), "above the break"));
    $("modes").replaceChildren(...modesOf(state.trace).map(([key, mode]) =>
        h("button", {type: "button", "aria-pressed": String(key === state.mode),
            onclick: () => setMode(key)}, mode.name)));
}

function setMode(mode) {
    state.mode = mode;
    change("mode");
}

on("trace shown", buildMaps);
on("mode theme", paintMaps);
on("zoom size", drawMaps);
on("op hover", drawOverlays);
