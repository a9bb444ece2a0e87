"""The book of a soak and its verdict."""

from __future__ import annotations

from typing import Any

import pytest

from bench.soak_ledger import RECOVERY, Ledger


def record(outcome: str = "ok", ms: int = 100, **more: Any) -> dict[str, Any]:
    return {"kind": "fetch", "outcome": outcome, "ms": ms, **more}


def test_rows_are_by_minute_and_client() -> None:
    ledger = Ledger()
    ledger.record("a", record(bytes=5), 59.9)
    ledger.record("a", record(ms=300, bytes=7), 60.0)
    ledger.record("a", record(ms=200), 61.0)
    ledger.record("b", record("failed", code="exit_dead"), 61.0)
    rows = {(row["minute"], row["client"]): row for row in ledger.report()["minutes"]}
    assert set(rows) == {(0, "a"), (1, "a"), (1, "b")}
    assert (rows[0, "a"]["ok"], rows[0, "a"]["bytes"]) == (1, 5)
    assert (rows[1, "a"]["ok"], rows[1, "a"]["bytes"], rows[1, "a"]["longest_ms"]) == (2, 7, 300)
    assert rows[1, "b"]["failures"] == {"fetch: exit_dead": 1}


@pytest.mark.parametrize("outcome", ["hung", "wrong"])
def test_nothing_excuses_what_hangs_or_is_wrong(outcome: str) -> None:
    ledger = Ledger()
    ledger.record("a", record(), 1)
    assert ledger.clean
    ledger.incident("exit_restart", 100)
    ledger.record("a", record(outcome), 101)
    assert not ledger.clean and ledger.report()["operations"][outcome] == 1


@pytest.mark.parametrize(
    ("ended", "took", "excused"),
    [
        (99.0, 10_000, False),  # over before the restart
        (100.5, 10_000, True),
        (100 + RECOVERY, 1_000, True),
        (100 + RECOVERY + 30, 29_000, False),  # began after the recovery
        (100 + RECOVERY + 30, 31_000, True),
    ],
)
def test_failures_are_excused_around_the_restart_of_an_exit_only(ended: float, took: int, excused: bool) -> None:
    ledger = Ledger()
    ledger.record("a", record(), 1)
    ledger.incident("gateway_cut", ended - 1)
    ledger.incident("exit_restart", 100)
    ledger.record("a", record("failed", took, code="exit_dead"), ended)
    assert ledger.clean is excused
    assert len(ledger.report()["unexpected"]) == (not excused)


def test_a_run_in_which_nothing_was_done_is_not_clean() -> None:
    assert not Ledger().clean


def test_outcomes_have_four_names() -> None:
    with pytest.raises(ValueError, match="fine"):
        Ledger().record("a", record("fine"), 0)


def test_memory_at_the_start_after_a_minute_and_at_the_end() -> None:
    ledger = Ledger()
    for at, megabytes in ((10, 50.0), (40, 60.0), (70, 64.0), (130, 63.0)):
        ledger.memory("a", megabytes, at)
    assert ledger.report()["memory"] == {"a": {"start_mb": 50.0, "warm_mb": 64.0, "end_mb": 63.0, "most_mb": 64.0}}
