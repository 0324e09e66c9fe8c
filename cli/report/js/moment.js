/* SPDX-License-Identifier: MIT */
/* The heap after one operation: a strip of cells for each strategy, and its holes by size. */

const stripLines = 4;
let strips = [], player = null;

function buildMoment() {
    strips = shownStrategies().map(s => {
        const canvas = h("canvas", {role: "img", "aria-label": "The heap of " + s.name +
            " at the cursor; the table below has the figures"});
        const note = h("small");
        return {s, canvas, note, small: document.createElement("canvas"), root: h("div", {class: "strip"},
            h("h3", null, h("i", {class: "dot", "--c": colourOf(s)}), s.name, note), canvas)};
    });
    $("strips").replaceChildren(...strips.map(s => s.root));
    const scrub = $("scrub");
    scrub.max = Math.max(state.trace.ends.length - 1, 0);
    scrub.oninput = () => setOp(state.trace.ends[+scrub.value]);
    drawMoment();
}

function drawMoment() {
    const t = state.trace, scrub = $("scrub");
    scrub.value = lineColumn();
    const text = "operation " + count(state.op) + " of " + count(t.ops);
    scrub.setAttribute("aria-valuetext", text);
    $("moment-op").textContent = text;
    strips.forEach(drawStrip);
    drawHoles();
}

/* Addresses run along the lines, from the first line to the last. A pixel a cell, then enlarged. */
function drawStrip(strip) {
    const {context, width, height} = fit(strip.canvas), t = state.trace, s = strip.s;
    const column = mapColumn(), c = lineColumn(), perLine = Math.ceil(t.rows / stripLines);
    const small = strip.small, image = new ImageData(perLine, stripLines), pixels = image.data;
    const colour = mapModes[state.mode].of(s, t);
    const inside = Math.ceil((s.line.brk[c] || 0) / t.rowBytes);
    for (let row = 0; row < t.rows && t.mapColumns; row++) {
        const control = (row + 0.5) * t.rowBytes < s.control;
        const [r, g, b] = control ? palette.control
            : row < inside ? colour(column * t.rows + row) : palette.above;
        pixels.set([r, g, b, 255], row * 4);
    }
    small.width = perLine;
    small.height = stripLines;
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, width, height);
    context.drawImage(small, 0, 0, width, height);
    drawGaps(context, width, height, perLine);
    strip.note.textContent = bytes(s.line.brk[c] || 0) + ", " +
        plural(s.line.count[c] || 0, "hole") + " of " + bytes(s.line.bytes[c] || 0);
}

function drawGaps(context, width, height, perLine) {
    const w = width / perLine, hh = height / stripLines;
    context.strokeStyle = palette.panel;
    context.beginPath();
    for (let i = 1; w > 5 && i < perLine; i++) {
        context.moveTo(Math.round(i * w) - 0.5, 0);
        context.lineTo(Math.round(i * w) - 0.5, height);
    }
    context.lineWidth = 1;
    context.stroke();
    context.beginPath();
    for (let i = 1; i < stripLines; i++) {
        context.moveTo(0, Math.round(i * hh) - 1);
        context.lineTo(width, Math.round(i * hh) - 1);
    }
    context.lineWidth = 2;
    context.stroke();
}

/* ---- Holes by size ---- */

function holeRange() {
    const t = state.trace;
    let low = t.holeClasses, high = -1;
    for (const s of t.strategies)
        s.holeTable.forEach((n, i) => {
            if (n) {
                low = Math.min(low, i % t.holeClasses);
                high = Math.max(high, i % t.holeClasses);
            }
        });
    return low > high ? [4, 8] : [low, high];
}

function drawHoles() {
    const t = state.trace, {context, width, height} = fit($("holes"));
    if (!t.holeRange)
        t.holeRange = holeRange();
    const [low, high] = t.holeRange, shown = shownStrategies(), column = holeColumn();
    const f = {x: 62, y: 8, w: width - 70, h: height - 34};
    const of = (s, k) => s.holeTable[column * t.holeClasses + k] || 0;
    let most = 1;
    for (const s of shown)
        for (let k = low; k <= high; k++)
            most = Math.max(most, of(s, k));
    const y = n => f.h * (n ? Math.log10(1 + n) / Math.log10(1 + most) : 0);
    context.clearRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    const dim = cssColour("--dim"), line = cssColour("--line");
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (let n = 1; n <= most; n *= 10) {
        context.fillStyle = line;
        context.fillRect(f.x, f.y + f.h - y(n), f.w, 1);
        context.fillStyle = dim;
        context.fillText(short(n), f.x - 7, f.y + f.h - y(n));
    }
    const group = f.w / (high - low + 1), bar = Math.min((group - 6) / shown.length, 26);
    for (let k = low; k <= high; k++) {
        const x = f.x + (k - low) * group + (group - bar * shown.length) / 2;
        shown.forEach((s, i) => {
            context.fillStyle = colourOf(s);
            context.fillRect(x + i * bar, f.y + f.h - y(of(s, k)), bar - 1, y(of(s, k)));
        });
        context.fillStyle = dim;
        context.textAlign = "center";
        if (group > 44 || (k - low) % 2 === 0)
            context.fillText(shortBytes(2 ** k) + "…", f.x + (k - low + 0.5) * group, f.y + f.h + 14);
    }
    context.fillStyle = dim;
    context.fillRect(f.x, f.y + f.h, f.w, 1);
}

/* ---- Playing ---- */

function play() {
    if (player) {
        cancelAnimationFrame(player);
        player = null;
    } else {
        if (state.op >= state.trace.ops)
            setOp(0);
        let last = performance.now(), at = state.op;
        const tick = now => {
            at += (now - last) / 12000 * state.trace.ops;
            last = now;
            setOp(at);
            player = at < state.trace.ops ? requestAnimationFrame(tick) : null;
            showPlaying();
        };
        player = requestAnimationFrame(tick);
    }
    showPlaying();
}

function showPlaying() {
    const text = player ? "■ Stop" : "▶ Play";
    if ($("play").textContent !== text)
        $("play").textContent = text;
}

on("trace shown", buildMoment);
on("op mode theme size", drawMoment);
