"""`bench start`: what becomes of the marks of a start."""

from __future__ import annotations

from pathlib import Path

from bench.start import STEPS, lines, medians

ROOT = Path(__file__).resolve().parents[2]


def test_medians_are_of_the_steps_that_every_run_has() -> None:
    runs = [{"script": 1.0, "ready": 5.0, "imports": 2.0}, {"script": 3.0, "ready": 6.0}, {"script": 2.0, "ready": 4.0}]
    assert medians(runs) == {"script": 2.0, "ready": 5.0}
    assert list(medians(runs)) == ["script", "ready"]


def test_the_table_shows_what_a_visit_does_not_have() -> None:
    first, second = {"script": 0.1, "imports": 0.75, "ready": 2.0}, {"script": 0.1, "ready": 1.0}
    shown = lines({"visits": {"first visit": first, "second visit": second}})
    assert len(shown) == len(STEPS) + 1
    assert next(line.split() for line in shown if line.startswith("modules imported")) == [
        "modules", "imported", "0.750", "-",
    ]  # fmt: skip


def test_every_mark_of_the_worker_has_a_name_here() -> None:
    sources = "".join((ROOT / "javascript" / "worker" / name).read_text() for name in ("worker.js", "runtime.js"))
    marked = {part.split('"')[0] for part in sources.split('mark("')[1:]}
    # The others are the steps of set-up, the files of the timeline, and the page's own.
    assert marked == set(STEPS) - {"files", "directory", "gateway", "exit", "ready", "settled"}
