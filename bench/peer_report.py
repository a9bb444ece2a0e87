"""What `bench.peer` found, as lines, as docs/performance.md and as a picture."""

from __future__ import annotations

import gzip
import os
import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from buildtools.common import DIST, NODE_MODULES, ROOT
from buildtools.report import FIRST_LOAD

PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "performance.svg"

# What the official client's modules are that a page loads for set-up and fetch.
OFFICIAL = ("mix-tunnel/dist/esm/index.js", "mix-fetch/dist/index.js")

# Figure -> (what it is, unit, whether less is better).
FIGURES: dict[str, tuple[str, str, bool]] = {
    "ready": ("page open to ready, first visit", "s", True),
    "ready again": ("page open to ready, second visit", "s", True),
    "first fetch": ("first small http fetch", "s", True),
    "second fetch": ("second small http fetch", "s", True),
    "together": ("12 fetches of 20 KB at once", "s", True),
    "upload": ("upload of 1 MB", "s", True),
    "download": ("download of 3 MB", "s", True),
    "speed": ("download of 3 MB", "kB/s", False),
    "cpu per MB": ("CPU of the renderer per MB", "s", True),
    "up per down": ("Sphinx packets up per packet down", "", True),
    "body per packet": ("bytes of body per packet down", "", False),
    "memory": ("memory of the renderer after it", "MB", True),
    "idle cpu": ("CPU of the idle tunnel", "of a core", True),
}


@cache
def _sizes(paths: tuple[Path, ...]) -> dict[str, int]:
    import brotli

    data = [path.read_bytes() for path in paths]
    return {
        "raw": sum(map(len, data)),
        "gzip": sum(len(gzip.compress(part, 9, mtime=0)) for part in data),
        "brotli": sum(len(brotli.compress(part, quality=11)) for part in data),
    }


def shipped() -> dict[str, dict[str, int]]:
    """Bytes that a first visit loads, whole and compressed file by file."""
    return {
        "ours": _sizes(tuple(DIST / name for name in FIRST_LOAD)),
        "official": _sizes(tuple(NODE_MODULES / "@nymproject" / name for name in OFFICIAL)),
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Of one mode: what the figure is, with its unit; the official client's, ours, and the ratio."""
    for name, (text, unit, _) in FIGURES.items():
        official, ours, ratio = (_number(found[side].get(name)) for side in ("official", "ours", "ratio"))
        yield f"{text}, {unit}" if unit else text, official, ours, ratio


def lines(report: dict[str, Any]) -> list[str]:
    """The same for a terminal."""
    shown = []
    for mode, found in report["modes"].items():
        shown.append(f"{mode:42}{'official':>10}{'ours':>10}{'ours / official':>18}")
        shown += [f"  {text:40}{official:>10}{ours:>10}{ratio:>18}" for text, official, ours, ratio in _rows(found)]
    for kind in ("gzip", "brotli"):
        official, ours = (report["shipped"][side][kind] for side in ("official", "ours"))
        shown.append(f"first load, {kind:30}{official:>10}{ours:>10}{ours / official:>18.3g}")
    return shown


def _table(found: dict[str, Any]) -> str:
    head = "| figure | official | ours | ours / official |\n|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in _rows(found))


def write(report: dict[str, Any]) -> None:
    """docs/performance.md and its picture."""
    PICTURE.write_text(picture(report), encoding="utf-8")
    sizes = "".join(
        f"| {kind} | {report['shipped']['official'][kind]:,} | {report['shipped']['ours'][kind]:,} "
        f"| {report['shipped']['ours'][kind] / report['shipped']['official'][kind]:.2f} |\n"
        for kind in ("raw", "gzip", "brotli")
    )
    modes = "".join(f"## {mode.capitalize()}\n\n{_table(found)}\n" for mode, found in report["modes"].items())
    failures = "".join(f"* {line}\n" for line in report["failures"]) or "None.\n"
    PAGE.write_text(
        f"""# Performance

The official client (`@nymproject/mix-tunnel` 0.2.1, unmodified) and this one, in turns, in fresh contexts of one
Chromium, on one local network without delay; `defaults` is with Poisson and cover traffic, `switches off` without both.
Medians of {report["rounds"]} rounds. Absolute times are this machine's; the ratios are what counts.

![Ratios to the official client](performance.svg)

Written by `python3 build.py bench peer` ({platform.system()} {platform.machine()}, {os.cpu_count()} cores,
Chromium {report["chromium"]}); nothing else should run meanwhile.

{modes}## Bytes of a first load

| | official | ours | ours / official |
|---|---|---|---|
{sizes}
## Steps that failed or took too long

{failures}""",
        encoding="utf-8",
    )


def picture(report: dict[str, Any]) -> str:
    """Bars of the ratios, better to the left; the line is the official client."""
    rows = []
    for mode, found in report["modes"].items():
        for name, (text, _, less) in FIGURES.items():
            ratio = found["ratio"].get(name)
            if ratio and name not in ("speed", "up per down", "body per packet"):
                rows.append((f"{text} ({mode})", ratio if less else 1 / ratio))
    width, left, unit, height = 860, 400, 220, 22
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height * len(rows) + 40}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height * len(rows) + 40}" fill="#fff"/>',
    ]
    for number, (text, ratio) in enumerate(rows):
        top = 10 + number * height
        colour = "#2a7f62" if ratio <= 1 else "#b4552d"
        parts.append(f'<text x="{left - 8}" y="{top + 14}" text-anchor="end" fill="#222">{text}</text>')
        parts.append(f'<rect x="{left}" y="{top + 2}" width="{min(ratio, 2) * unit:.0f}" height="15" fill="{colour}"/>')
        parts.append(
            f'<text x="{left + min(ratio, 1.75) * unit + 6:.0f}" y="{top + 14}" fill="#222">{ratio:.2f}</text>'
        )
    bottom = 10 + len(rows) * height
    parts.append(f'<path d="M{left + unit} 6V{bottom}" stroke="#222" stroke-dasharray="4 3"/>')
    parts.append(
        f'<text x="{left + unit}" y="{bottom + 16}" text-anchor="middle" fill="#222">official client</text></svg>'
    )
    return "\n".join(parts) + "\n"
