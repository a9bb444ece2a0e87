"""`bench runtimes`: what becomes of one run, also of one that goes wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bench import runtimes
from bench.runtimes import FIGURES, RunFailed, figures, in_python, medians, table
from localnet.origin import body_sha256


async def ran(size: int) -> dict[str, Any]:
    return {"began": 1000.0, "ready": 2500.0, "loaded": 4500.0, "hash": body_sha256(size, 1)}


async def test_set_up_and_speed_are_the_programs_own() -> None:
    found = await figures(ran, 3_000_000)
    assert (found["setup"], found["speed"]) == (1.5, 1500.0)
    assert set(found) == set(FIGURES)


async def test_other_bytes_are_no_figure() -> None:
    async def wrong(size: int) -> dict[str, Any]:
        return {**await ran(size), "hash": body_sha256(size, 2)}

    with pytest.raises(RunFailed, match="other bytes"):
        await figures(wrong, 1000)


async def test_a_run_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(size: int) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr(runtimes, "LIMIT", 0.01)
    with pytest.raises(TimeoutError):
        await figures(hangs, 1)


async def test_a_program_that_fails_is_told_with_its_words() -> None:
    with pytest.raises(RunFailed, match="no_such_option"):
        await in_python({"noSuchOption": True})(1)


def test_the_table_has_a_line_for_each_that_ran() -> None:
    runs = [{"setup": 1.0, "speed": 100.0, "whole": 30.0}, {"setup": 3.0, "speed": 300.0, "whole": 10.0}]
    shown = table({"mode": "defaults", "figures": {"CPython": medians(runs), "Bun": medians([])}}).splitlines()
    assert shown[1].split() == ["CPython", "2", "200", "20"] and shown[2].split() == ["Bun"]
