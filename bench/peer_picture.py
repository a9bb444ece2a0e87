"""The picture of docs/performance.md: bars of the ratios ours / official, one block for each section."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from bench.peer_plan import FIGURES

# Shown are what a user feels or pays; the others are in the tables.
SHOWN = (
    "ready",
    "ready again",
    "first fetch",
    "together",
    "upload",
    "download",
    "cpu per MB",
    "idle cpu",
    "peak memory",
)
WIDTH, LEFT, UNIT, HEIGHT, GAP = 860, 400, 220, 22, 30
LONGEST = 2.0  # official clients' lengths; a longer bar is cut, its number is not


def picture(report: Mapping[str, Any]) -> str:
    """Better is shorter; the line is the official client. A figure without a ratio has no bar."""
    parts, top = [], 10
    for section in report["sections"]:
        bars = [(name, ratio) for name in SHOWN if (ratio := section["ratio"].get(name)) is not None]
        if not bars:
            continue
        title = escape(f"{section['mode']}, {section['condition']}")
        parts.append(f'<text x="10" y="{top + 15}" fill="#222" font-weight="600">{title}</text>')
        top += GAP
        begin = top
        for name, ratio in bars:
            figure = FIGURES[name]
            length = ratio if figure.better == "less" else 1 / ratio
            parts += _bar(figure.text.format(**section["sizes"]), length, top)
            top += HEIGHT
        parts.append(f'<path d="M{LEFT + UNIT} {begin - 4}V{top}" stroke="#222" stroke-dasharray="4 3"/>')
        top += GAP // 2
    parts.append(f'<text x="{LEFT + UNIT}" y="{top + 12}" text-anchor="middle" fill="#222">official client</text>')
    height = top + 24
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="13">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>', *parts, "</svg>"]) + "\n"


def _bar(text: str, length: float, top: int) -> list[str]:
    colour = "#2a7f62" if length <= 1 else "#b4552d"
    return [
        f'<text x="{LEFT - 8}" y="{top + 14}" text-anchor="end" fill="#222">{escape(text)}</text>',
        f'<rect x="{LEFT}" y="{top + 2}" width="{min(length, LONGEST) * UNIT:.0f}" height="15" fill="{colour}"/>',
        f'<text x="{LEFT + min(length, LONGEST - 0.25) * UNIT + 6:.0f}" y="{top + 14}" fill="#222">{length:.2f}</text>',
    ]
