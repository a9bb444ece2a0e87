"""From the runs of both clients to the figures: medians, ratios, and what never happened."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.peer_plan import CLIENTS, FIGURES

Figures = dict[str, float | None]  # None: its step failed, or came after one that did
LATE = math.inf  # its step took longer than the patience


@dataclass
class Results:
    """Of one mode under one condition. Every run that was begun is in it, however it ended."""

    runs: dict[str, list[Figures]] = field(default_factory=lambda: {client: [] for client in CLIENTS})

    def report(self) -> dict[str, Any]:
        """`ours` and `official`: medians; `ratio`: ours / official; `failed`: how many of the runs have no such figure;
        `late`: how many of these because the patience was over; `runs`: how many there were."""
        found: dict[str, Any] = {client: medians(runs) for client, runs in self.runs.items()}
        found["ratio"] = ratios(found["ours"], found["official"])
        found["failed"] = {client: failed(runs) for client, runs in self.runs.items()}
        found["late"] = {client: failed(runs, late=True) for client, runs in self.runs.items()}
        found["runs"] = {client: len(runs) for client, runs in self.runs.items()}
        return found


def medians(runs: Sequence[Figures]) -> Figures:
    """Of each figure over the runs that tried it. A failure counts as worse than any number; None where that is the
    median, so that a client which fails in half of its runs has no figure."""
    result: Figures = {}
    for name in dict.fromkeys(name for figures in runs for name in figures):
        worst = -math.inf if name in FIGURES and FIGURES[name].better == "more" else math.inf
        values = [worst if (value := run[name]) in (None, LATE) else value for run in runs if name in run]
        median = statistics.median(values)
        result[name] = median if math.isfinite(median) else None
    return result


def failed(runs: Sequence[Figures], *, late: bool = False) -> dict[str, int]:
    """Of each figure, in how many runs it was tried in vain, or only those that were late; only where it was."""
    counts: dict[str, int] = {}
    for figures in runs:
        for name, value in figures.items():
            if value == LATE or (value is None and not late):
                counts[name] = counts.get(name, 0) + 1
    return counts


def ratios(ours: Figures, official: Figures) -> Figures:
    """ours / official of what both have."""
    result: Figures = {}
    for name, value in ours.items():
        other = official.get(name)
        result[name] = value / other if value is not None and other else None
    return result
