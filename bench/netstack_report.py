"""Tables, the document and the plot of the TCP benchmark (bench/netstack.py). The SVG is written by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

# smoltcp's own simulation, 32 KB buffers (docs/protocol/ipr.md names the releases), and what is asked of us beside it.
SMOLTCP = {"0": 322_945, "1": 219_671, "5": 76_626, "10": 37_775, "20": 6_079, "30": 1_156}
MULTIPLE = {"0": 1.0, "1": 1.2, "5": 2.0, "10": 2.0, "20": 10.0, "30": 10.0}
FRACTION = {0.0: 0.90, 0.01: 0.85, 0.05: 0.70}
SEGMENTS = {"cpython": 15_000, "chromium": 6_000}
FIRST = 5.0
FAIRNESS = 0.95


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _verdict(ok: bool) -> str:
    return "yes" if ok else "NO"


def _queue(case: dict[str, Any]) -> tuple[object, ...]:
    return case["path"], case["rate"], f"{case['longer']:.2f}", f"{case['used']:.1%}"


def tables(result: dict[str, Any]) -> str:
    goodput = result["smoltcp_setting"]
    parts = [
        "## Goodput by loss",
        "10 MB over a round trip of 100 ms with buffers of 32 KB, packets of 1500 bytes, independent loss in both\n"
        "directions, the handshake counted, the median of three runs; beside the published row of smoltcp's own\n"
        "simulation.",
        table(
            ("loss", "smoltcp, bytes/s", "ours, bytes/s", "times", "asked", "reached"),
            (
                (
                    f"{loss} %",
                    SMOLTCP[loss],
                    goodput[loss],
                    f"{goodput[loss] / SMOLTCP[loss]:.2f}",
                    MULTIPLE[loss],
                    _verdict(goodput[loss] >= MULTIPLE[loss] * SMOLTCP[loss]),
                )
                for loss in SMOLTCP
            ),
        ),
        "## A mix network",
        "The part of a 250 kB/s link that arrives as data, over 60 s after a warm-up of 30 s. Each packet has a delay\n"
        "of its own (exponential, a tenth of the round trip); one in five comes a tenth of a round trip later still.",
        table(
            ("round trip", "loss", "of the link", "asked", "reached"),
            (
                (
                    f"{case['rtt']} s",
                    f"{case['loss']:.0%}",
                    f"{case['fraction']:.1%}",
                    f"{FRACTION[case['loss']]:.0%}",
                    _verdict(case["fraction"] >= FRACTION[case["loss"]]),
                )
                for case in result["mixnet_setting"]
            ),
        ),
        "## The first 200 KB of a fresh connection",
        "In round trips, without loss, over the same link; at most 5 are asked. At 0.3 s the link takes 2.8 for them,\n"
        "the handshake 1 and the way of the last byte 0.5; the rest is the wait for the first acknowledgement.",
        table(
            ("round trip", "since ESTABLISHED", "since `tcp_connect`", "reached"),
            (
                (
                    f"{case['rtt']} s",
                    case["since_established"],
                    case["since_connect"],
                    _verdict(case["since_connect"] <= FIRST),
                )
                for case in result["first_200kb"]
            ),
        ),
        "## The queue before a link",
        "A greedy flow: its smoothed round trip as a multiple of that of the path (below 1.5 is wanted), and the part\n"
        "of the link that arrives as data. In the last row each packet has an exponential delay of its own, each way.",
        table(
            ("path", "link, bytes/s", "round trip", "of the link"),
            (_queue(case) for case in result["standing_queue"]),
        ),
        "### Of a download from a server that knows only loss",
        "The same paths with a sender under CUBIC. Our half only receives; the window it announces keeps what waits\n"
        "on the way near a target. The tunnel has this one for all its downloads.",
        table(
            ("target of the receiver", "path", "link, bytes/s", "round trip", "of the link"),
            (
                (f"{row['limit']} s" if row["limit"] else "none", *_queue(case))
                for row in result["queue_of_a_download"]
                for case in row["cases"]
            ),
        ),
        "## Congestion controllers",
        "The mixnet setting under each controller, and Jain's index of 8 flows of one client over a round trip of\n"
        f"0.3 s (at least {FAIRNESS} is asked of the default, the path model). The path model at other round trips: "
        + ", ".join(f"{case['index']} at {case['rtt']} s" for case in result["fairness_at"])
        + ".",
        table(
            ("controller", *(f"{c['rtt']} s, {c['loss']:.0%}" for c in result["mixnet_setting"]), "fairness"),
            (
                (row["name"], *(f"{fraction:.0%}" for fraction in row["fractions"]), row["fairness"])
                for row in result["controllers"]
            ),
        ),
        "## ACK economy",
        "A download of 1 MB through a tunnel: 250 kB/s and reordering as above down, one packet each 20 ms up.",
        table(
            ("round trip", "packets down", "packets up", "up for each down", "seconds"),
            (
                (f"{case['rtt']} s", case["down"], case["up"], f"{case['ratio']:.3f}", f"{case['seconds']:.1f}")
                for case in result["ack_economy"]
            ),
        ),
        "## Segments per second",
        "Full segments through receive and ACK, and through send, on one core of the machine that wrote this.",
        table(
            ("runtime", "receive + ACK", "send", "asked", "reached"),
            (
                (
                    runtime,
                    rates["receive"],
                    rates["send"],
                    SEGMENTS[runtime],
                    _verdict(min(rates.values()) >= SEGMENTS[runtime]),
                )
                for runtime, rates in result["segments_per_s"].items()
            ),
        ),
    ]
    return "\n\n".join(parts)


def document(result: dict[str, Any]) -> str:
    return (
        "# The TCP stack, measured\n\n"
        "`python3 build.py bench netstack` writes this page. All but the last table is simulated in virtual time and\n"
        "repeats exactly from its seeds (`bench/netstack_scenarios.py`, `tests/netsim`).\n\n"
        "![Goodput by loss, and the part of the link that is used](netstack.svg)\n\n" + tables(result) + "\n"
    )


# -- the plot

WIDTH, HEIGHT = 860, 330
LEFT, TOP, PLOT_W, PLOT_H = 70, 40, 320, 230
SECOND = 500
COLOURS = {"ours": "#1b6ca8", "smoltcp": "#b0413e", "asked": "#888888"}


def _text(x: float, y: float, words: str, *, anchor: str = "middle", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{words}</text>'


def _line(points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'


def _goodput(result: dict[str, Any]) -> list[str]:
    """Logarithmic goodput over the six losses."""
    losses = list(SMOLTCP)
    low, high = 3.0, 6.0

    def at(index: int, value: float) -> tuple[float, float]:
        share = (math.log10(value) - low) / (high - low)
        return LEFT + PLOT_W * index / (len(losses) - 1), TOP + PLOT_H * (1 - share)

    out = [_text(LEFT + PLOT_W / 2, 22, "Goodput by loss: 100 ms, 32 KB buffers", size=14)]
    for exponent in (3, 4, 5, 6):
        y = TOP + PLOT_H * (1 - (exponent - low) / (high - low))
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + PLOT_W}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(_text(LEFT - 8, y + 4, ("1 kB/s", "10 kB/s", "100 kB/s", "1 MB/s")[exponent - 3], anchor="end"))
    for index, loss in enumerate(losses):
        out.append(_text(at(index, 1000)[0], TOP + PLOT_H + 18, f"{loss} %"))
    ours = [at(n, result["smoltcp_setting"][loss]) for n, loss in enumerate(losses)]
    asked = [at(n, SMOLTCP[loss] * MULTIPLE[loss]) for n, loss in enumerate(losses)]
    published = [at(n, SMOLTCP[loss]) for n, loss in enumerate(losses)]
    out += [
        _line(asked, COLOURS["asked"], dashed=True),
        _line(published, COLOURS["smoltcp"]),
        _line(ours, COLOURS["ours"]),
    ]
    for n, (name, words) in enumerate((("ours", "ours"), ("asked", "asked"), ("smoltcp", "smoltcp"))):
        x = LEFT + 20 + 100 * n
        out.append(_line([(x, HEIGHT - 22), (x + 24, HEIGHT - 22)], COLOURS[name], dashed=name == "asked"))
        out.append(_text(x + 30, HEIGHT - 18, words, anchor="start"))
    return out


def _fractions(result: dict[str, Any]) -> list[str]:
    """Bars: the part of the link, by round trip and loss, with the mark of what is asked."""
    cases = result["mixnet_setting"]
    step = PLOT_W / len(cases)
    out = [_text(SECOND + PLOT_W / 2, 22, "Part of a 250 kB/s link that is used", size=14)]
    for percent in (0, 25, 50, 75, 100):
        y = TOP + PLOT_H * (1 - percent / 100)
        out.append(f'<line x1="{SECOND}" y1="{y:.1f}" x2="{SECOND + PLOT_W}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(_text(SECOND - 8, y + 4, f"{percent} %", anchor="end"))
    for n, case in enumerate(cases):
        x = SECOND + step * n
        height = PLOT_H * case["fraction"]
        out.append(
            f'<rect x="{x + 4:.1f}" y="{TOP + PLOT_H - height:.1f}" width="{step - 8:.1f}" height="{height:.1f}" '
            f'fill="{COLOURS["ours"]}"/>'
        )
        y = TOP + PLOT_H * (1 - FRACTION[case["loss"]])
        out.append(_line([(x + 2, y), (x + step - 2, y)], COLOURS["asked"]))
        out.append(_text(x + step / 2, TOP + PLOT_H + 18, f"{case['loss']:.0%}"))
        if n % 3 == 1:
            out.append(_text(x + step / 2, TOP + PLOT_H + 36, f"{case['rtt']} s"))
    return out


def plot(result: dict[str, Any]) -> str:
    body = "\n".join(_goodput(result) + _fractions(result))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n'
    )
