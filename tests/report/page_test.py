# SPDX-License-Identifier: MIT
"""What the pages of `hmm report` show and do, in a headless Chromium. Run by tests/report.sh with the
folder of the pages. Prints "ok NAME" or "not ok NAME", and after that what was there instead."""
import json
import os
import sys
import time

from browser import Browser

folder = sys.argv[1]
part_name = "page"
ARROW_LEFT, ARROW_RIGHT, HOME, END, SHIFT = "\ue012", "\ue014", "\ue011", "\ue010", "\ue008"


def check(name, have, want=True):
    good = want(have) if callable(want) else have == want
    print(("ok " if good else "not ok ") + f"{part_name}: {name}")
    if not good:
        print(f"#   have: {have!r}"[:600])
        if not callable(want):
            print(f"#   want: {want!r}"[:600])


def page(browser, name):
    browser.open(os.path.join(folder, name))
    browser.wait_for("return document.documentElement.dataset.ready !== undefined ||"
                     " document.querySelector('p.note:not(noscript *)') !== null")


def replayed(name):
    with open(os.path.join(folder, name)) as file:
        return {o["strategy"]: o for o in map(json.loads, file)}


def figures(b):
    page(b, "churn.html")
    check("loads from disk without a complaint", b.complaints(), [])
    check("is drawn within three seconds", b.run("return +document.documentElement.dataset.ready"),
          lambda ms: 0 < ms < 3000)
    want = {name: o["peak_break"] for name, o in replayed("churn.json").items()}
    check("the peak breaks are those of hmm replay",
          b.run("return Object.fromEntries(state.trace.strategies.map(s => [s.name, s.peakBreak]))"), want)
    check("and so are the lines' highest points, if only for two operations",
          b.run("return Object.fromEntries(state.trace.strategies.map(s =>"
                "[s.name, s.line.brkMost.reduce((a, b) => Math.max(a, b))]))"), want)
    o = next(iter(replayed("churn.json").values()))
    check("operations and live bytes are, too", b.run("return [state.trace.ops, state.trace.peakLive,"
          "state.trace.line.most.reduce((a, b) => Math.max(a, b))]"), [o["ops"], o["peak_live"], o["peak_live"]])
    check("the most holes are not above hmm replay's, which looks at every operation",
          b.run("return state.trace.strategies.map(s => [s.name, s.mostHoles])"),
          lambda have: all(0 < n <= replayed("churn.json")[s]["free_blocks_max"] for s, n in have))
    check("each strategy has a row, a chip and a map", b.run(
        "return ['#comparison tbody tr', '#chips button', '.map'].map(q => document.querySelectorAll(q).length)"),
        [len(want)] * 3)


def cursor(b):
    page(b, "churn.html")
    x, y, w, h = b.box("#lines .u-over")
    b.move(x + w * 0.25, y + h / 2)
    op = b.run("return state.op")
    check("the cursor follows the pointer over the lines", op, lambda n: abs(n / 30000 - 0.25) < 0.02)
    check("all lines have it at the same place", b.run(
        "return plots.map(p => Math.round(p.plot.cursor.left - p.plot.valToPos(state.op, 'x')))"), [0] * 4)
    check("the figures beside them are of that moment", b.run(
        "return document.querySelector('#readout .op').textContent.replaceAll(',', '')"),
        lambda text: abs(int(text) - op) <= 30)
    check("so is the moment below", b.run("return document.getElementById('moment-op').textContent"),
          f"operation {op:,} of 30,000")
    before = b.run("return maps.map(m => m.overlay.toDataURL().length)")
    x, y, w, h = b.box(".map .stack")
    b.move(x + w * 0.7, y + h - 34)
    check("and over a map", b.run("return state.op"), lambda n: 0.6 < n / 30000 < 0.75)
    check("where what is under the pointer is explained",
          b.run("return document.getElementById('tip').hidden ? '' : document.getElementById('tip').innerText"),
          lambda text: "in use" in text or "block" in text or "Free" in text)
    check("the cursor is drawn on the maps", b.run("return maps.map(m => m.overlay.toDataURL().length)"),
          lambda now: len(now) == len(before) and now != before)
    x, y, w, h = b.box("#lines .u-over")
    b.drag((x + w * 0.4, y + 40), (x + w * 0.6, y + 40))
    check("dragging zooms the lines", b.run("return [state.zoom.from, state.zoom.to].map(n => n / 30000)"),
          lambda z: abs(z[0] - 0.4) < 0.02 and abs(z[1] - 0.6) < 0.02)
    check("all of them", b.run("return plots.every(p => p.plot.scales.x.min === state.zoom.from)"))
    x, y, w, h = b.box(".map .stack")
    b.drag((x + 100, y + 60), (x + 300, y + 60))
    check("dragging zooms from a map as well", b.run("return (state.zoom.to - state.zoom.from) / 30000"),
          lambda z: z < 0.15)
    check("without a complaint", b.complaints(), [])


def strategies(b):
    page(b, "churn.html")
    x, y, w, h = b.box("#chips button")
    b.click(x + w / 2, y + h / 2)
    check("a click on a strategy hides it", b.run(
        "return [document.querySelector('#chips button').getAttribute('aria-pressed'),"
        "state.trace.strategies[0].shown, plots[1].plot.series[1].show, maps.length ==="
        "state.trace.strategies.length - 1, strips.length === maps.length]"),
        ["false", False, False, True, True])
    b.click(x + w / 2, y + h / 2)
    check("another one shows it", b.run("return [state.trace.strategies[0].shown, plots[1].plot.series[1].show]"),
          [True, True])
    check("without a complaint", b.complaints(), [])


def keyboard(b):
    page(b, "churn.html")
    b.press(HOME)
    first = b.run("return state.op")
    b.press(ARROW_RIGHT, ARROW_RIGHT, ARROW_RIGHT)
    check("arrows move the cursor", b.run("return [arguments[0], lineColumn()]", first), [first, 3])
    b.press(ARROW_LEFT)
    check("both ways", b.run("return lineColumn()"), 2)
    b.press(END)
    check("End is the last operation", b.run("return state.op"), 30000)
    b.press("p")
    check("P is the peak", b.run("return state.op === state.trace.peakOp"))
    b.press("2")
    check("2 hides the second strategy", b.run("return state.trace.strategies.map(s => s.shown)[1]"), False)
    b.press("2")
    b.press("+", "+")
    check("+ zooms", b.run("return Math.round((state.zoom.to - state.zoom.from) / 300)"), 25)
    b.press("0")
    check("0 shows all of it", b.run("return [state.zoom.from, state.zoom.to]"), [0, 30000])
    theme = b.run("return document.documentElement.dataset.theme")
    b.press("t")
    check("T changes light and dark", b.run("return document.documentElement.dataset.theme"),
          "light" if theme == "dark" else "dark")
    was = b.run("return maps[0].picture.toDataURL()")
    b.press("c")
    check("C changes what the colours mean", b.run("return [state.mode, maps[0].picture.toDataURL() !== arguments[0]]",
                                                    was), ["age", True])
    b.press("?")
    check("? shows the keys", b.run("return document.getElementById('help').open"))
    b.press("\ue00c")
    b.press(HOME, " ")
    b.wait_for("return state.op > 1000", 15)
    b.press(" ")
    stopped = b.run("return state.op")
    time.sleep(0.2)
    check("the space bar plays and stops", b.run("return state.op - arguments[0]", stopped), 0)
    b.run("document.activeElement.blur()")
    b.press("\ue004")
    check("the first Tab leads to the summary", b.run("return document.activeElement.className"), "skip")
    check("without a complaint", b.complaints(), [])


def block(b):
    page(b, "hole.html")
    for s in range(b.run("return maps.length")):
        spot = b.run("""
            const map = maps[arguments[0]], block = map.s.blockList.find(b => b.size === 200000);
            map.overlay.scrollIntoView({block: "center", behavior: "instant"});
            const r = map.overlay.getBoundingClientRect(), f = mapFrame(r.width, r.height);
            return [r.left + opToX(f, 3), r.top + addressToY(f, block.address + 100000)];""", s)
        b.move(*spot)
        check(f"the block under the pointer is explained ({s + 1})",
              b.run("return document.getElementById('tip').innerText").split("\n"), lambda lines:
              lines[0] == "A block of 200,000 bytes" and "Allocated by operation 2" in lines and
              "freed by operation 5" in lines and "lives 3 operations" in lines)
    check("a resized block tells since when it is so", b.run(
        "return explain(state.trace.strategies[0], 9, state.trace.strategies[0].blockList"
        ".find(b => b.size === 20).address).lines.join()"),
        lambda text: "of this size since operation 7" in text and "never freed" in text)
    filled = """
        const t = state.trace; state.op = arguments[0];
        return t.strategies.map(s => {
            let used = 0;
            for (let row = 0; row < t.rows; row++)
                used += s.fillMap[mapColumn() * t.rows + row] / 255 * t.rowBytes;
            return Math.round(used / 1000); });"""
    n = b.run("return state.trace.strategies.length")
    check("what the map has in use is what lives: before", b.run(filled, 4), lambda k: all(abs(u - 500) <= 3 for u in k))
    check("and after a block was freed", b.run(filled, 5), lambda k: all(abs(u - 300) <= 3 for u in k))
    check("and at the end", b.run(filled, 9), lambda k: len(k) == n and all(abs(u - 100) <= 3 for u in k))
    check("the hole begins and ends where the block did", b.run("""
        const t = state.trace; state.op = 5;
        return t.strategies.map(s => {
            const block = s.blockList.find(b => b.size === 200000), at = mapColumn() * t.rows;
            const first = Math.ceil((block.address - 4) / t.rowBytes);
            const end = Math.floor((block.address + block.size) / t.rowBytes);
            return [first - 1, first, end - 1, end].map(row => s.fillMap[at + row] > 0).join(); });"""),
          ["true,false,false,true"] * n)
    check("where it is in use it was allocated when it was", b.run("""
        const t = state.trace, s = t.strategies[0], last = s.blockList.find(b => b.born === 4);
        const row = Math.floor((last.address + 50000) / t.rowBytes);
        return Math.round(s.bornMap[(t.mapColumns - 1) * t.rows + row] / 255 * t.ops);"""), 4)
    check("every block is known", b.run("return state.trace.strategies.every(s => s.allBlocks)"))
    check("what is freed is a hole", b.run(
        "state.op = 5; const s = state.trace.strategies[0], block = s.blockList.find(b => b.size === 200000);"
        "return [explain(s, 5, block.address + 100000).title, s.line.count[lineColumn()], s.line.largest[lineColumn()]]"),
        lambda have: have[0] == "Free" and have[1] == 1 and 200000 <= have[2] < 200100)
    check("without a complaint", b.complaints(), [])


def tables(b):
    page(b, "churn.html")
    b.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    b.wait_for("return document.querySelectorAll('#blocks-table tbody tr').length > 0")
    check("every picture is there as a table", b.run(
        "return ['lines', 'maps', 'blocks', 'moment', 'requests', 'lifetimes'].map(n =>"
        "document.querySelectorAll('#' + n + '-table tbody tr').length > 2)"), [True] * 6)
    check("its figures are the lines'", b.run(
        "const t = state.trace, cells = [...document.querySelector('#lines-table tbody tr:last-child').children];"
        "return cells.slice(0, 4).map(c => +c.textContent.replaceAll(',', '')).join() === "
        "[t.ops, t.line.live.at(-1), t.line.blocks.at(-1), t.strategies[0].line.brk.at(-1)].join()"))
    check("every canvas and picture says what it is", b.run(
        "return [...document.querySelectorAll('#main canvas, #main svg, .uplot')].filter(e =>"
        "!e.closest('[aria-label], [aria-hidden]')).length"), 0)
    pdf = b.command("Page.printToPDF")["data"]
    check("it prints", len(pdf) > 20000)
    check("without a complaint", b.complaints(), [])


def several(b):
    page(b, "three.html")
    check("several traces can be chosen from", b.run("return document.querySelectorAll('#which option').length"), 3)
    b.press("]")
    check("] is the next one", b.run("return [fileName(state.trace.path), state.trace.ops,"
                                     "document.getElementById('summary-title').textContent]"),
          ["other.trace", 5000, "other.trace"])
    check("with figures of its own", b.run("return state.trace.strategies.map(s => [s.name, s.peakBreak])"),
          [[n, o["peak_break"]] for n, o in replayed("other.json").items()])
    page(b, "twelve.html")
    check("with twelve there is less detail, and it is said", b.run(
        "return [state.trace.rows * state.trace.mapColumns < 1024 * 512,"
        "document.getElementById('maps-note').textContent]"),
        lambda have: have[0] and "shows the heap after every" in have[1])
    page(b, "empty.html")
    check("a page without operations says so", b.run("return document.getElementById('verdict').textContent"),
          "The trace asks for nothing.")
    check("without a complaint", b.complaints(), [])


def frames(b):
    page(b, "churn.html")
    b.box(".map .stack")
    n = b.later("""
        let frames = 0, began = performance.now();
        const over = maps[0].overlay, r = over.getBoundingClientRect();
        const tick = now => {
            frames++;
            const x = r.left + 70 + (frames * 7) % (r.width - 90);
            over.dispatchEvent(new PointerEvent("pointermove", {clientX: x, clientY: r.top + 100, bubbles: true}));
            if (now - began < 1500) requestAnimationFrame(tick);
            else done(Math.round(frames / (now - began) * 1000));
        };
        requestAnimationFrame(tick);""")
    cost = b.later("""
        const raf = requestAnimationFrame, times = [], map = maps[0], over = map.overlay;
        const r = over.getBoundingClientRect();
        let spent = 0, n = 0;
        window.requestAnimationFrame = f => raf(t => {
            const a = performance.now();
            f(t);
            spent += performance.now() - a;
        });
        const tick = () => {
            if (n > 10) times.push(spent);
            spent = 0;
            if (n++ === 130) {
                window.requestAnimationFrame = raf;
                times.sort((a, b) => a - b);
                done([times[60], times[113]]);
                return;
            }
            const a = performance.now(), x = r.left + 70 + n * 7 % (r.width - 90);
            over.dispatchEvent(new PointerEvent("pointermove", {clientX: x, clientY: r.top + 100, bubbles: true}));
            spent += performance.now() - a;
            raf(tick);
        };
        raf(tick);""")
    print(f"# a frame while the cursor moves: {cost[0]:.2f} ms, of twenty one {cost[1]:.2f} ms or more")
    check("a frame while the cursor moves leaves time for sixty a second", cost[0], lambda ms: ms < 16)
    # How many depends on what else the machine does.
    print(f"# {n} frames a second while the cursor moves")
    check("frames keep coming while the cursor moves", n, lambda rate: rate >= 5)


def blame(b):
    page(b, "frag.html")
    check("the trace knows who asks", b.run("return state.trace.names.length"), 2)
    check("who holds the waste comes first, on every strategy", b.run(
        "return [...new Set(state.trace.strategies.map(s => siteName(s.blame[0][0])))]"), ["pinned (frag.c:9)"])
    check("and holds all of it", b.run("return state.trace.strategies.map(s => s.held - s.waste)"),
          lambda have: all(n == 0 for n in have))
    check("it is said", b.run("return document.getElementById('blame').innerText"),
          lambda text: text.count("this call site holds 100.0 % of the waste") >= 4 and "pinned (frag.c:9)" in text)
    check("the map can be coloured by it", b.run(
        "setMode('site'); return [...document.querySelectorAll('#modes button')].map(e => e.textContent)"),
        ["In use or free", "Age", "Call site"])
    b.settle()
    check("the colours are named", b.run("return document.getElementById('ramp').innerText"),
          lambda text: "passing (frag.c:7)" in text and "pinned (frag.c:9)" in text)
    check("a block says who asked for it", b.run(
        "const s = state.trace.strategies[0], b = s.blockList.find(b => b.size === 4000);"
        "return explain(s, b.since, b.address).lines"),
        lambda lines: "asked for by passing (frag.c:7)" in lines)
    page(b, "churn.html")
    check("without call stacks there is no such thing", b.run(
        "return [document.getElementById('blame').hidden, document.querySelectorAll('#modes button').length]"),
        [True, 2])


def compared(b):
    page(b, "compared.html")
    with open(os.path.join(folder, "compared.json")) as file:
        lines = list(map(json.loads, file))
    rows = [o for o in lines if "ns_per_op" in o]
    check("hmm compare's rows are there", b.run("return state.trace.compared.rows.length"), len(rows))
    check("shown as a table", b.run(
        "return document.querySelectorAll('#compared-table tbody tr').length"), len(rows))
    check("its advice is shown", b.run("return document.getElementById('advice').innerText"),
          lambda text: "advice for memory: " in text and "hmm run --strategy" in text and "optimum: " in text)
    page(b, "churn.html")
    check("neither without --compare", b.run(
        "return [document.getElementById('compared').hidden, document.getElementById('advice').hidden]"),
        [True, True])


def cut(b):
    if not os.path.exists(os.path.join(folder, "cut.html")):
        return
    page(b, "cut.html")
    check("a page that was cut short has no complaint", b.complaints(), [])
    check("and ends where the replay did", b.run(
        "return [state.trace.ops < 4003000, state.trace.ends[state.trace.ends.length - 1] === state.trace.ops,"
        "state.trace.peakOp <= state.trace.ops, state.trace.strategies[0].peakBreak > 3000000]"), [True] * 4)


def narrow(b):
    page(b, "churn.html")
    check("nothing is wider than a narrow window", b.run(
        "return document.documentElement.scrollWidth - document.documentElement.clientWidth"), 0)
    check("it is dark where the reader likes it so", b.run("return document.documentElement.dataset.theme"), "dark")


def printed(b):
    # What A4 leaves between its margins. Landscape has more.
    b.command("Emulation.setEmulatedMedia", media="print")
    b.command("Emulation.setDeviceMetricsOverride", width=718, height=1047, deviceScaleFactor=1, mobile=False)
    for name in ("churn.html", "frag.html", "compared.html"):
        page(b, name)
        b.run("for (const e of document.querySelectorAll('details')) e.open = true")
        b.settle()
        check(f"no table of {name} is wider than the paper", b.run(
            "return [...document.querySelectorAll('table')].filter(t =>"
            "t.getBoundingClientRect().right > innerWidth).map(t => t.parentElement.id)"), [])
    b.command("Emulation.setEmulatedMedia", media="")
    b.command("Emulation.clearDeviceMetricsOverride")


def run(part, browser):
    global part_name
    part_name = part.__name__
    part(browser)


def main():
    browser = Browser()
    try:
        for part in (figures, cursor, strategies, keyboard, block, tables, several, blame, compared, cut, printed, frames):
            run(part, browser)
    finally:
        browser.close()
    browser = Browser(500, 900, dark=True)
    try:
        run(narrow, browser)
    finally:
        browser.close()


main()
