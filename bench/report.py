#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the benchmark shows: from samples to figures, and from figures to tables and a chart.

    report.py cells ALLOCATORS SAMPLES        the figures, a cell a line; the others read them
    report.py json CELLS                      one JSON object a line
    report.py table CELLS                     the table on the terminal
    report.py svg CELLS                       time against memory; nothing where one is missing
    report.py markdown CELLS MACHINE NOTES    RESULTS.md: every figure, and on what machine

All files are lines of fields with tabs between. A sample is MEASURE, allocator, what it was measured
on, value. A cell is MEASURE, allocator, its kind, on, the least of its samples, their median, how
many there are. Cells come in the order in which measures and what they are on were first sampled,
in each the allocators in their own order. Needs Python 3.6, and no module that is not part of it.
"""

import math
import sys

# Each measure, in the order of RESULTS.md: its title, its digits after the point, and whether its
# table has a column of means.
MEASURES = {
    "ns_per_op": ("Nanoseconds an operation: the least", 1, True),
    "ns_per_op_median": ("Nanoseconds an operation: the median", 1, True),
    "first_ns_per_op": ("Nanoseconds an operation in the first pass of a process", 1, True),
    "instructions_per_op": ("Instructions an operation", 1, True),
    "resident": ("Peak of resident memory over peak live", 3, True),
    "footprint": ("Smallest region over peak live", 3, True),
    "threads_ns_per_op": (
        "Nanoseconds of processor time an operation, gross, by pattern and threads", 1, True),
    "threads_wall_ns_per_op": (
        "Nanoseconds an operation, all threads together, by pattern and threads", 1, True),
    "threads_resident": ("Resident MiB, by pattern and threads", 1, True),
    "instructions_per_pair": (
        "Instructions a malloc and a free, by number of free blocks", 0, False),
    "worst_of_pairs": ("Instructions of the worst of them, by number of free blocks", 0, False),
    "instructions_per_pair_by_heap": (
        "Instructions a malloc and a free, by size of the heap", 0, False),
    "worst_by_heap": ("Instructions of the worst of them, by size of the heap", 0, False),
    "worst_instructions": (
        "Instructions of the worst operation, by pattern and free blocks", 0, False),
}


def lines_of(path):
    """The lines of a file. Bytes are characters, as nothing is known of their encoding."""
    with open(path, encoding="latin-1", newline="\n") as file:
        return [line.rstrip("\n") for line in file]


def fields_of(path):
    return [line.split("\t") for line in lines_of(path)]


# ---- From samples to cells ----


def number(value):
    """A number as text: whole ones without a point, others with six digits."""
    return "%d" % value if value == int(value) else "%.6g" % value


def median(samples):
    """Of sorted texts, as text."""
    middle = len(samples) // 2
    if len(samples) % 2:
        return samples[middle]
    return number((float(samples[middle - 1]) + float(samples[middle])) / 2)


def print_cells(allocators_file, samples_file):
    kind_of = {fields[0]: fields[5] for fields in fields_of(allocators_file)}
    samples_of = {}  # by measure and on, then by allocator
    for measure, allocator, on, value in fields_of(samples_file):
        samples_of.setdefault((measure, on), {}).setdefault(allocator, []).append(value)
    for (measure, on), by_allocator in samples_of.items():
        for allocator, kind in kind_of.items():
            samples = sorted(by_allocator.get(allocator, []), key=float)
            if samples:
                print(measure, allocator, kind, on, samples[0], median(samples), len(samples),
                      sep="\t")


def print_json(cells_file):
    def quote(text):
        return '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"')

    for measure, allocator, kind, on, least, middle, count in fields_of(cells_file):
        line = '{"measure":%s,"allocator":%s,"kind":%s,"on":%s,"value":%s' % (
            quote(measure), quote(allocator), quote(kind), quote(on), least)
        if int(count) > 1:
            line += ',"median":%s,"samples":%s' % (middle, count)
        print(line + "}")


class Figures:
    """The cells as numbers, by measure, allocator and on."""

    def __init__(self, cells_file):
        self.kind_of = {}  # by allocator, in order
        self.ons = {}  # by measure: all that it was measured on, in order
        self.values = {}
        for measure, allocator, kind, on, least, middle, _ in fields_of(cells_file):
            self.kind_of.setdefault(allocator, kind)
            scale = 1048576 if measure == "threads_resident" else 1
            self.keep(measure, allocator, on, float(least) / scale)
            if measure == "ns_per_op":
                self.keep("ns_per_op_median", allocator, on, float(middle))

    def keep(self, measure, allocator, on, value):
        ons = self.ons.setdefault(measure, [])
        if on not in ons:
            ons.append(on)
        self.values[measure, allocator, on] = value

    def has(self, measure, allocator):
        return any((measure, allocator, on) in self.values for on in self.ons.get(measure, []))

    def text(self, measure, allocator, on):
        """The figure as text, "-" where there is none."""
        value = self.values.get((measure, allocator, on))
        return "-" if value is None else "%.*f" % (MEASURES[measure][1], value)

    def mean(self, measure, allocator, ending=""):
        """The geometric mean over everything that it was measured on, of those whose name ends so.

        0 where one is missing, which would make it a mean of other things than the next
        allocator's. What is net may come out as nothing; it then counts as a hundredth.
        """
        total, count = 0.0, 0
        for on in self.ons.get(measure, []):
            if not on.endswith(ending):
                continue
            value = self.values.get((measure, allocator, on))
            if value is None:
                return 0
            total += math.log(max(value, 0.01))
            count += 1
        return math.exp(total / count) if count else 0

    def mean_text(self, measure, allocator, ending=""):
        value = self.mean(measure, allocator, ending)
        return "%.*f" % (MEASURES[measure][1], value) if value > 0 else "-"

    def endings(self, measure):
        """What stands after the last "/" of what it was measured on, each once."""
        return list(dict.fromkeys(on.rpartition("/")[2] for on in self.ons.get(measure, [])))


# ---- Tables ----


def print_table(figures, title, columns):
    """Columns are a head and a function from allocators to text. Leaves out empty rows."""
    if not columns:
        return
    allocators = list(figures.kind_of)
    texts = [[head] + [text(a) for a in allocators] for head, text in columns]
    widths = [max(len(text) for text in column) for column in texts]
    wide = max(len(name) for name in ["allocator"] + allocators)
    print(title)
    for i, name in enumerate(["allocator"] + allocators):
        row = [column[i] for column in texts]
        if i == 0 or any(text != "-" for text in row):
            print("".join([name.ljust(wide)] + ["  " + t.rjust(w) for t, w in zip(row, widths)]))
    print()


def print_tables(cells_file):
    figures = Figures(cells_file)

    def means(head, measure, ending=""):
        if measure not in figures.ons:
            return []
        return [(head, lambda a: figures.mean_text(measure, a, ending))]

    columns = means("ns/op", "ns_per_op")
    columns += means("median", "ns_per_op_median")
    columns += means("first pass", "first_ns_per_op")
    columns += means("instr/op", "instructions_per_op")
    columns += means("resident", "resident")
    columns += means("footprint", "footprint")
    for threads in figures.endings("threads_ns_per_op"):
        head = threads + (" thread" if threads == "1" else " threads")
        columns += means(head, "threads_ns_per_op", "/" + threads)
    print_table(figures, "Geometric means over traces; over patterns, ns/op, with threads", columns)

    for measure in ("instructions_per_pair", "instructions_per_pair_by_heap", "worst_by_heap",
                    "worst_instructions"):
        columns = [(on, lambda a, m=measure, on=on: figures.text(m, a, on))
                   for on in figures.ons.get(measure, [])]
        print_table(figures, MEASURES[measure][0], columns)


def print_section(figures, measure):
    title, _, with_mean = MEASURES[measure]
    ons = figures.ons[measure]

    def print_row(first, cells):
        print("| " + " | ".join([first] + cells) + " |")

    print("\n## %s\n" % title)
    heads = ons + (["mean"] if with_mean else [])
    print_row("allocator", heads)
    print_row("---", ["---:"] * len(heads))
    for allocator in figures.kind_of:
        if figures.has(measure, allocator):
            means = [figures.mean_text(measure, allocator)] if with_mean else []
            print_row(allocator, [figures.text(measure, allocator, on) for on in ons] + means)


def print_markdown(cells_file, machine_file, notes_file):
    figures = Figures(cells_file)
    print("# Results of the benchmark\n")
    print("Written by `make bench BENCH_ARGS=--results`; "
          "`bench/README.md` says what is measured and how.\n")
    for line in lines_of(machine_file):
        print("- " + line)
    for line in lines_of(notes_file):
        print("- note: " + (line[len("bench: "):] if line.startswith("bench: ") else line))
    if "ns_per_op" in figures.ons and "resident" in figures.ons:
        print("\n![Time against memory, geometric means over the traces](results.svg)")
    for measure in MEASURES:
        if measure in figures.ons:
            print_section(figures, measure)


# ---- The chart: time against memory, each allocator a point ----

WIDTH, HEIGHT = 880, 620
LEFT, RIGHT, TOP, BOTTOM = 64, WIDTH - 24, 88, HEIGHT - 56
LETTER = 7.2  # how wide a letter of a label is, about

LEGEND = {
    "front": "hmm with its cache",
    "plain": "without",
    "cached": "own heap with its cache",
    "bare": "without",
    "peer": "malloc libraries",
    "own": "given libraries",
}

STYLE = """<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 } .small { font-size: 12px; fill: #59636e }
  .back { fill: #ffffff } .grid { stroke: #d1d9e0 } .lead { stroke: #818b98 }
  .front { fill: #0969da } .plain { fill: #8250df } .bare { fill: #1a7f37 }
  .peer { fill: #bc4c00 } .own { fill: #59636e } .cached { fill: #0a7ea4 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .small { fill: #9198a1 } .back { fill: #0d1117 }
    .grid { stroke: #3d444d } .lead { stroke: #656c76 }
    .front { fill: #4493f8 } .plain { fill: #ab7df8 } .bare { fill: #3fb950 }
    .peer { fill: #f0883e } .own { fill: #9198a1 } .cached { fill: #39c5cf }
  }
</style>"""


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Axes:
    """Holds all points: memory in steps, time in doublings."""

    def __init__(self, memories, times):
        spread = max(memories) - min(memories)
        self.step = 0.05 if spread < 0.25 else 0.1 if spread < 1 else 0.25 if spread < 3 else 1
        self.x_min = int(min(memories) / self.step) * self.step
        self.x_max = (int(max(memories) / self.step) + 1) * self.step
        doublings = math.log(2)
        self.y_min = math.exp(doublings * math.floor(math.log(min(times) * 0.95) / doublings))
        self.y_max = math.exp(doublings * (math.floor(math.log(max(times) * 1.05) / doublings) + 1))

    def x(self, memory):
        return LEFT + (RIGHT - LEFT) * (memory - self.x_min) / (self.x_max - self.x_min)

    def y(self, time):
        return BOTTOM - (BOTTOM - TOP) * math.log(time / self.y_min) / math.log(
            self.y_max / self.y_min)

    def print(self):
        print('<text class="title" x="%d" y="26">Time against memory</text>' % LEFT)
        print('<text class="small" x="%d" y="44">%s</text>' % (
            LEFT, "Geometric means over the traces. Down and to the left is better."))
        n = 0
        while n * self.step <= self.x_max - self.x_min + self.step / 2:
            memory = self.x_min + n * self.step
            x = self.x(memory)
            print('<path class="grid" d="M%.1f %d V%d"/>' % (x, TOP, BOTTOM))
            print('<text class="small" text-anchor="middle" x="%.1f" y="%d">%.2f</text>' % (
                x, BOTTOM + 18, memory))
            n += 1
        time = self.y_min
        while time <= self.y_max * 1.01:
            y = self.y(time)
            print('<path class="grid" d="M%d %.1f H%d"/>' % (LEFT, y, RIGHT))
            print('<text class="small" text-anchor="end" x="%d" y="%.1f">%g</text>' % (
                LEFT - 8, y + 4, time))
            time *= 2
        print('<text class="small" text-anchor="middle" x="%d" y="%d">%s</text>' % (
            (LEFT + RIGHT) / 2, HEIGHT - 14, "peak of resident memory / peak of live bytes"))
        print('<text class="small" text-anchor="middle" '
              'transform="translate(18 %d) rotate(-90)">%s</text>' % (
                  (TOP + BOTTOM) / 2, "nanoseconds an operation"))


class Label:
    """A label beside the point (x, y): where its left end and its middle line are."""

    def __init__(self, x, y, wide, away, angle):
        self.point, self.wide, self.away = (x, y), wide, away
        edge = x + away * math.cos(angle)
        self.y = y + away * math.sin(angle)
        if math.cos(angle) > 0.2:
            self.x = edge
        elif math.cos(angle) < -0.2:
            self.x = edge - wide
        else:
            self.x = edge - wide / 2

    def box(self):
        return self.x - 2, self.y - 8, self.x + self.wide + 2, self.y + 8

    def lead_end(self):
        """Where a line from the point meets the label."""
        x, y = self.point
        end_x = (self.x - 2 if x < self.x else
                 self.x + self.wide + 2 if x > self.x + self.wide else x)
        end_y = self.y - 7 if y < self.y - 8 else self.y + 7 if y > self.y + 8 else self.y
        return end_x, end_y

    def lead(self):
        """Places along that line, 3 apart, but for those on the point itself."""
        (x, y), (end_x, end_y) = self.point, self.lead_end()
        dx, dy = end_x - x, end_y - y
        parts = int(math.sqrt(dx * dx + dy * dy) / 3)
        for i in range(parts):
            at_x, at_y = x + dx * i / parts, y + dy * i / parts
            if (at_x - x) * (at_x - x) + (at_y - y) * (at_y - y) >= 80:
                yield at_x, at_y


class Labels:
    """Finds for each label the place that is nearest to its point and free."""

    def __init__(self):
        self.boxes = []  # what is taken: points, labels and the lines from one to the other

    def take(self, x0, y0, x1, y1):
        self.boxes.append((x0, y0, x1, y1))

    def is_free(self, x0, y0, x1, y1):
        if x0 < LEFT or x1 > RIGHT or y0 < TOP or y1 > BOTTOM:
            return False
        return not any(x0 < b[2] and x1 > b[0] and y0 < b[3] and y1 > b[1] for b in self.boxes)

    def fits(self, label, strict):
        if not self.is_free(*label.box()):
            return False
        return (label.away <= 16 or not strict or
                all(self.is_free(x, y, x + 0.1, y + 0.1) for x, y in label.lead()))

    def find(self, x, y, wide):
        """None where there is no room. In a throng the line may have to cross something."""
        for strict in (True, False):
            for away in range(10, 200, 6):
                for direction in range(12):
                    label = Label(x, y, wide, away, direction * 3.14159265 / 6)
                    if self.fits(label, strict):
                        return label
        return None

    def print(self, x, y, text):
        label = self.find(x, y, len(text) * LETTER)
        if label is None:
            return
        if label.away > 16:
            for at_x, at_y in label.lead():
                self.take(at_x - 1, at_y - 1, at_x + 1, at_y + 1)
            print('<path class="lead" d="M%.1f %.1f L%.1f %.1f"/>' % ((x, y) + label.lead_end()))
        self.take(*label.box())
        print('<text x="%.1f" y="%.1f">%s</text>' % (label.x, label.y + 4.5, escape(text)))


def print_legend(groups):
    x = LEFT + 6
    for group, text in LEGEND.items():
        if group in groups:
            print('<circle class="%s" cx="%.1f" cy="66" r="5"/>' % (group, x))
            print('<text class="small" x="%.1f" y="70">%s</text>' % (x + 10, escape(text)))
            x += len(text) * 7 + 40


def print_chart(cells_file):
    figures = Figures(cells_file)
    points = []  # allocator, group, memory, time
    for allocator, kind in figures.kind_of.items():
        memory = figures.mean("resident", allocator)
        time = figures.mean("ns_per_op", allocator)
        if memory > 0 and time > 0:
            points.append((allocator, "own" if kind == "adapter" else kind, memory, time))
    if not points:
        return
    axes = Axes([p[2] for p in points], [p[3] for p in points])
    labels = Labels()
    print('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d">' % (
        WIDTH, HEIGHT, WIDTH, HEIGHT))
    print(STYLE)
    print('<rect class="back" width="%d" height="%d"/>' % (WIDTH, HEIGHT))
    axes.print()
    places = [(axes.x(memory), axes.y(time)) for _, _, memory, time in points]
    for x, y in places:
        labels.take(x - 7, y - 7, x + 7, y + 7)
    for (x, y), point in zip(places, points):
        labels.print(x, y, point[0])
    for (x, y), (allocator, group, memory, time) in zip(places, points):
        print('<circle class="%s" cx="%.1f" cy="%.1f" r="6"><title>%s: %.2f ns, %.3f</title>'
              '</circle>' % (group, x, y, escape(allocator), time, memory))
    print_legend({group for _, group, _, _ in points})
    print("</svg>")


# ---- The command ----

COMMANDS = {
    "cells": (print_cells, 2),
    "json": (print_json, 1),
    "table": (print_tables, 1),
    "svg": (print_chart, 1),
    "markdown": (print_markdown, 3),
}


def main(arguments):
    function, count = COMMANDS.get(arguments[0] if arguments else "", (None, 0))
    if function is None or len(arguments) != 1 + count:
        sys.exit(__doc__)
    sys.stdout = open(sys.stdout.fileno(), "w", encoding="latin-1", newline="\n", closefd=False)
    try:
        function(*arguments[1:])
        sys.stdout.flush()
    except OSError as error:
        sys.exit("bench: %s" % error)


if __name__ == "__main__":
    main(sys.argv[1:])
