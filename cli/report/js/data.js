/* SPDX-License-Identifier: MIT */
/* From the bytes in the page to traces; their form is described in cli/report/encode.h. */

async function unpack(text) {
    const binary = atob(text.trim());
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++)
        bytes[i] = binary.charCodeAt(i);
    if (bytes[0] !== 0x1f || bytes[1] !== 0x8b)
        return bytes;
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
}

function parse(bytes) {
    const decoder = new TextDecoder();
    if (decoder.decode(bytes.subarray(0, 4)) !== "hmm1")
        throw new Error("the data in this page is damaged");
    const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
    const data = JSON.parse(decoder.decode(bytes.subarray(8, 8 + length)));
    data.section = ([begin, size]) => bytes.subarray(8 + length + begin, 8 + length + begin + size);
    return data;
}

/* Varints in a row. Numbers above 2^53 do not come up. */
class Reader {
    constructor(bytes) {
        this.bytes = bytes;
        this.at = 0;
    }
    number() {
        let value = 0, scale = 1, byte;
        do {
            byte = this.bytes[this.at++];
            value += (byte & 127) * scale;
            scale *= 128;
        } while (byte & 128);
        return value;
    }
    change() {
        const n = this.number();
        return n % 2 ? -(n + 1) / 2 : n / 2;
    }
}

/* The operation that ends a column, or the column that ends one of fewer. */
function columnEnd(all, columns, column) {
    return Math.floor(all / columns) * (column + 1) +
        Math.floor((all % columns) * (column + 1) / columns);
}

function columnEnds(trace, columns) {
    const ends = new Float64Array(columns);
    for (let i = 0; i < columns; i++)
        ends[i] = columnEnd(trace.ops, trace.columns, columnEnd(trace.columns, columns, i) - 1);
    return ends;
}

/* By column `names.length` numbers, each as its change. */
function readLines(bytes, columns, names) {
    const reader = new Reader(bytes), now = names.map(() => 0);
    const lines = names.map(() => new Float64Array(columns));
    for (let c = 0; c < columns; c++)
        for (let k = 0; k < names.length; k++)
            lines[k][c] = now[k] += reader.change();
    return Object.fromEntries(names.map((name, k) => [name, lines[k]]));
}

function readHoles(bytes, columns, classes) {
    const reader = new Reader(bytes), holes = new Float64Array(columns * classes);
    for (let i = 0; i < holes.length; i++)
        holes[i] = reader.change() + (i >= classes ? holes[i - classes] : 0);
    return holes;
}

function readMap(bytes, rows) {
    const map = Uint8Array.from(bytes);
    for (let i = rows; i < map.length; i++)
        map[i] += map[i - rows];
    return map;
}

function readBlocks(bytes, count, hasNames) {
    const reader = new Reader(bytes), blocks = [];
    let since = 0, address = 0, size = 0;
    for (let i = 0; i < count; i++)
        blocks.push({since: since += reader.number()});
    for (const b of blocks)
        b.address = address += reader.change();
    for (const b of blocks)
        b.size = size += reader.change();
    for (const b of blocks)
        b.born = b.since - reader.number();
    for (const b of blocks) {
        const n = reader.number();
        b.until = b.since + Math.floor(n / 4);
        b.end = ["freed", "resized", "lasts"][n % 4];
    }
    for (const b of hasNames ? blocks : [])
        b.by = reader.number();
    return blocks;
}

/* Everything that is shown of a trace; done once, when it is first looked at. */
function openTrace(data, trace) {
    if (trace.ends)
        return trace;
    trace.ends = columnEnds(trace, trace.lineColumns);
    trace.mapEnds = columnEnds(trace, trace.mapColumns);
    trace.holeEnds = columnEnds(trace, trace.holeColumns);
    trace.line = readLines(data.section(trace.live), trace.lineColumns, ["live", "most", "blocks"]);
    trace.top = trace.rows * trace.rowBytes;
    trace.strategies.forEach((s, index) => {
        s.index = index;
        s.shown = true;
        s.line = readLines(data.section(s.lines), trace.lineColumns,
            ["brk", "brkMost", "bytes", "count", "largest"]);
        s.line.share = s.line.bytes.map((bytes, i) => s.line.brk[i] ? bytes / s.line.brk[i] : 0);
        s.holeTable = readHoles(data.section(s.holes), trace.holeColumns, trace.holeClasses);
        s.fillMap = readMap(data.section(s.fill), trace.rows);
        s.bornMap = readMap(data.section(s.born), trace.rows);
        s.whoMap = trace.names ? readMap(data.section(s.who), trace.rows) : null;
        s.blockList = readBlocks(data.section(s.blocks), s.blockCount, Boolean(trace.names));
        s.mostHoles = s.line.count.reduce((a, b) => Math.max(a, b), 0);
        s.mostShare = s.line.share.reduce((a, b) => Math.max(a, b), 0);
    });
    return trace;
}
