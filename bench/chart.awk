# SPDX-License-Identifier: MIT
#
# Time against memory, each allocator a point: an SVG that is readable on light and on dark. Behind
# cells.awk. Prints nothing where one of the two was not measured.

BEGIN {
    width = 880; height = 620
    left = 64; right = width - 24; top = 88; bottom = height - 56
    shape["front"] = shape["plain"] = shape["cached"] = shape["bare"] = "hmm"
    legend = "front hmm with its cache|plain without|cached own heap with its cache|bare without|" \
        "peer malloc libraries|own given libraries"
}

function x_of(v) { return left + (right - left) * (v - x_least) / (x_most - x_least) }
function y_of(v) { return bottom - (bottom - top) * log(v / y_least) / log(y_most / y_least) }

function escape(s) {
    gsub(/&/, "\\&amp;", s)
    gsub(/</, "\\&lt;", s)
    gsub(/>/, "\\&gt;", s)
    return s
}

# The points, and axes that hold them: memory in steps, time in doublings.
function collect(    a, name) {
    x_most = y_most = 0
    x_least = y_least = 1e9
    for (a = 1; a <= allocators; a++) {
        name = allocator[a]
        if (mean("ns_per_op", name) <= 0 || mean("resident", name) <= 0)
            continue
        points++
        label[points] = name
        group[points] = kind[name] == "adapter" ? "own" : kind[name]
        memory[points] = mean("resident", name)
        time[points] = mean("ns_per_op", name)
        if (memory[points] < x_least) x_least = memory[points]
        if (memory[points] > x_most) x_most = memory[points]
        if (time[points] < y_least) y_least = time[points]
        if (time[points] > y_most) y_most = time[points]
    }
    x_range = x_most - x_least
    x_step = x_range < 0.25 ? 0.05 : x_range < 1 ? 0.1 : x_range < 3 ? 0.25 : 1
    x_least = int(x_least / x_step) * x_step
    x_most = (int(x_most / x_step) + 1) * x_step
    y_least = exp(log(2) * floor(log(y_least * 0.95) / log(2)))
    y_most = exp(log(2) * (floor(log(y_most * 1.05) / log(2)) + 1))
}

function floor(v) { return v >= 0 || v == int(v) ? int(v) : int(v) - 1 }

function style() {
    print "<style>"
    print "  text { font: 13px system-ui, sans-serif; fill: #1f2328 }"
    print "  .title { font-size: 16px; font-weight: 600 } .small { font-size: 12px; fill: #59636e }"
    print "  .back { fill: #ffffff } .grid { stroke: #d1d9e0 } .lead { stroke: #818b98 }"
    print "  .front { fill: #0969da } .plain { fill: #8250df } .bare { fill: #1a7f37 }"
    print "  .peer { fill: #bc4c00 } .own { fill: #59636e } .cached { fill: #0a7ea4 }"
    print "  @media (prefers-color-scheme: dark) {"
    print "    text { fill: #f0f6fc } .small { fill: #9198a1 } .back { fill: #0d1117 }"
    print "    .grid { stroke: #3d444d } .lead { stroke: #656c76 }"
    print "    .front { fill: #4493f8 } .plain { fill: #ab7df8 } .bare { fill: #3fb950 }"
    print "    .peer { fill: #f0883e } .own { fill: #9198a1 } .cached { fill: #39c5cf }"
    print "  }"
    print "</style>"
}

function axes(    v, n) {
    printf "<text class=\"title\" x=\"%d\" y=\"26\">Time against memory</text>\n", left
    printf "<text class=\"small\" x=\"%d\" y=\"44\">%s</text>\n", left,
        "Geometric means over the traces. Down and to the left is better."
    for (n = 0; n * x_step <= x_most - x_least + x_step / 2; n++) {
        v = x_least + n * x_step
        printf "<path class=\"grid\" d=\"M%.1f %d V%d\"/>\n", x_of(v), top, bottom
        printf "<text class=\"small\" text-anchor=\"middle\" x=\"%.1f\" y=\"%d\">%.2f</text>\n",
            x_of(v), bottom + 18, v
    }
    for (v = y_least; v <= y_most * 1.01; v *= 2) {
        printf "<path class=\"grid\" d=\"M%d %.1f H%d\"/>\n", left, y_of(v), right
        printf "<text class=\"small\" text-anchor=\"end\" x=\"%d\" y=\"%.1f\">%g</text>\n",
            left - 8, y_of(v) + 4, v
    }
    printf "<text class=\"small\" text-anchor=\"middle\" x=\"%d\" y=\"%d\">%s</text>\n",
        (left + right) / 2, height - 14, "peak of resident memory / peak of live bytes"
    printf "<text class=\"small\" text-anchor=\"middle\"" \
        " transform=\"translate(18 %d) rotate(-90)\">%s</text>\n",
        (top + bottom) / 2, "nanoseconds an operation"
}

# ---- Labels: the place for each that is nearest to its point and free. ----

# Boxes that are taken: points, labels and the lines from one to the other.
function take(x0, y0, x1, y1) {
    boxes++
    box_x0[boxes] = x0; box_y0[boxes] = y0
    box_x1[boxes] = x1; box_y1[boxes] = y1
}
function is_free(x0, y0, x1, y1,    i) {
    if (x0 < left || x1 > right || y0 < top || y1 > bottom)
        return 0
    for (i = 1; i <= boxes; i++)
        if (x0 < box_x1[i] && x1 > box_x0[i] && y0 < box_y1[i] && y1 > box_y0[i])
            return 0
    return 1
}

# A label of that width whose nearest edge is `away` from the point, in direction d of 12.
function try_place(p, wide, away, d, strict,    angle, x, y) {
    angle = d * 3.14159265 / 6
    x = px[p] + away * cos(angle)
    y = py[p] + away * sin(angle)
    place_x = cos(angle) > 0.2 ? x : cos(angle) < -0.2 ? x - wide : x - wide / 2
    place_y = y
    return is_free(place_x - 2, y - 8, place_x + wide + 2, y + 8) && \
        (away <= 16 || !strict || lead(p, wide, 0))
}
# In a throng the line may have to cross something.
function find_place(p, wide,    strict, d) {
    for (strict = 1; strict >= 0; strict--)
        for (away = 10; away < 200; away += 6)
            for (d = 0; d < 12; d++)
                if (try_place(p, wide, away, d, strict))
                    return 1
    return 0
}
function place(p,    wide) {
    wide = length(label[p]) * 7.2
    if (find_place(p, wide)) {
        if (away > 16)
            lead(p, wide, 1)
        take(place_x - 2, place_y - 8, place_x + wide + 2, place_y + 8)
        printf "<text x=\"%.1f\" y=\"%.1f\">%s</text>\n", place_x, place_y + 4.5,
            escape(label[p])
    }
}
# A line from the point's edge to the nearest place of the label's. Whether it meets nothing; draws
# it if `really`.
function lead(p, wide, really,    x, y, i, sx, sy, from, parts) {
    x = px[p] < place_x ? place_x - 2 : px[p] > place_x + wide ? place_x + wide + 2 : px[p]
    y = py[p] < place_y - 8 ? place_y - 7 : py[p] > place_y + 8 ? place_y + 7 : place_y
    parts = int(sqrt((x - px[p]) ^ 2 + (y - py[p]) ^ 2) / 3)
    for (i = 0; i < parts; i++) {
        sx = px[p] + (x - px[p]) * i / parts
        sy = py[p] + (y - py[p]) * i / parts
        if ((sx - px[p]) ^ 2 + (sy - py[p]) ^ 2 < 80)
            continue
        if (!really && !is_free(sx, sy, sx + 0.1, sy + 0.1))
            return 0
        if (really)
            take(sx - 1, sy - 1, sx + 1, sy + 1)
    }
    if (really)
        printf "<path class=\"lead\" d=\"M%.1f %.1f L%.1f %.1f\"/>\n", px[p], py[p], x, y
    return 1
}

function print_legend(    n, i, entry, name, x) {
    n = split(legend, entry, "|")
    x = left + 6
    for (i = 1; i <= n; i++) {
        name = substr(entry[i], 1, index(entry[i], " ") - 1)
        if (!(name in present))
            continue
        entry[i] = substr(entry[i], length(name) + 2)
        printf "<circle class=\"%s\" cx=\"%.1f\" cy=\"66\" r=\"5\"/>\n", name, x
        printf "<text class=\"small\" x=\"%.1f\" y=\"70\">%s</text>\n", x + 10, escape(entry[i])
        x += length(entry[i]) * 7 + 40
    }
}

END {
    if (!("ns_per_op" in ons) || !("resident" in ons))
        exit
    collect()
    if (points == 0)
        exit
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\"" \
        " viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">\n",
        width, height, width, height
    style()
    printf "<rect class=\"back\" width=\"%d\" height=\"%d\"/>\n", width, height
    axes()
    for (p = 1; p <= points; p++) {
        present[group[p]] = 1
        px[p] = x_of(memory[p])
        py[p] = y_of(time[p])
        take(px[p] - 7, py[p] - 7, px[p] + 7, py[p] + 7)
    }
    for (p = 1; p <= points; p++)
        place(p)
    for (p = 1; p <= points; p++)
        printf "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"6\">" \
            "<title>%s: %.2f ns, %.3f</title></circle>\n",
            group[p], px[p], py[p], escape(label[p]), time[p], memory[p]
    print_legend()
    print "</svg>"
}
