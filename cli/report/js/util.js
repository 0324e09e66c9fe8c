/* SPDX-License-Identifier: MIT */
/* Elements, numbers and colours. */

const $ = id => document.getElementById(id);

/* h("td", {class: "x", onclick: f}, "text", element...) */
function h(tag, attributes, ...children) {
    const e = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
        if (name.startsWith("on"))
            e[name] = value;
        else if (name.startsWith("--") || name === "width" || name === "left" || name === "background")
            e.style.setProperty(name, value);
        else if (value !== undefined && value !== false)
            e.setAttribute(name, value === true ? "" : value);
    }
    e.append(...children.filter(c => c !== null && c !== undefined));
    return e;
}

function svg(tag, attributes, ...children) {
    const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes || {}))
        e.setAttribute(name, value);
    e.append(...children);
    return e;
}

const wholes = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
const count = n => wholes.format(n);

function bytes(n) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0, value = n;
    for (; value >= 1024 && unit < units.length - 1; unit++)
        value /= 1024;
    return (unit === 0 ? count(value) : value.toFixed(value < 100 ? 2 : 1)) + " " + units[unit];
}

/* For axes: no more digits than there must be. */
function shortBytes(n) {
    const units = ["", "K", "M", "G", "T"];
    let unit = 0, value = n;
    for (; value >= 1024 && unit < units.length - 1; unit++)
        value /= 1024;
    return +value.toFixed(value < 10 ? 1 : 0) + " " + units[unit] + (unit ? "iB" : "B");
}

function short(n) {
    const units = ["", "k", "M", "G"];
    let unit = 0, value = n;
    for (; value >= 1000 && unit < units.length - 1; unit++)
        value /= 1000;
    return +value.toFixed(value < 10 && unit ? 2 : value < 100 && unit ? 1 : 0) + units[unit];
}

const percent = share => (share * 100).toFixed(share < 0.1 ? 2 : 1) + " %";
const times = ratio => Number.isFinite(ratio) ? "×" + ratio.toFixed(3) : "–";
const plural = (n, noun) => count(n) + " " + noun + (n === 1 ? "" : "s");
const fileName = path => path.replace(/^.*\//, "");

/* Told apart by those who do not see all colours, on light and on dark. */
const strategyColours = ["#3b82c4", "#d8515f", "#1f9d78", "#b65fc8", "#c2453d", "#8a8f2a", "#5f6fd8",
    "#7a8794"];
const colourOf = s => strategyColours[s.index % strategyColours.length];

const cssColour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function rgb(hex) {
    const n = parseInt(hex.slice(1), 16);
    return [n >> 16, n >> 8 & 255, n & 255];
}

const mix = (a, b, share) => a.map((v, i) => Math.round(v + (b[i] - v) * share));

/* A colour for each of 256 values between the stops. */
function rampOf(stops) {
    const ramp = [];
    for (let i = 0; i < 256; i++) {
        const at = i / 255 * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
        ramp.push(mix(rgb(stops[low]), rgb(stops[low + 1]), at - low));
    }
    return ramp;
}

/* The index of the first that is not below x; the last one's if there is none. */
function indexAt(ends, x) {
    let low = 0, high = ends.length - 1;
    while (low < high) {
        const middle = (low + high) >> 1;
        if (ends[middle] < x)
            low = middle + 1;
        else
            high = middle;
    }
    return Math.max(low, 0);
}

/* Sizes are asked for once in a layout: asking makes the browser lay the page out. */
let layout = 0;
const sizes = new WeakMap();

/* A canvas as sharp as the screen; returns its context, in CSS pixels, and its size. */
function fit(canvas) {
    const ratio = window.devicePixelRatio || 1, known = sizes.get(canvas);
    if (known && known.layout === layout && known.ratio === ratio) {
        known.context.setTransform(ratio, 0, 0, ratio, 0, 0);
        return known;
    }
    const width = canvas.clientWidth, height = canvas.clientHeight;
    const w = Math.round(width * ratio), hh = Math.round(height * ratio);
    if (canvas.width !== w || canvas.height !== hh) {
        canvas.width = w;
        canvas.height = hh;
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const made = {context, width, height, ratio, layout};
    sizes.set(canvas, made);
    return made;
}

/* table(["a", "b"], [[1, 2], ...]): the first cell of a row is its heading. */
function table(heads, rows) {
    return h("table", null,
        h("thead", null, h("tr", null, ...heads.map(t => h("th", {scope: "col"}, t)))),
        h("tbody", null, ...rows.map(cells => h("tr", null, ...cells.map((cell, i) =>
            i === 0 ? h("th", {scope: "row"}, cell) : h("td", null, cell))))));
}
