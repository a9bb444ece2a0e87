"""Two checkouts in turns: medians, ratios, and what is said when one cannot be measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import packets

pytestmark = pytest.mark.cpython

REPORTS = """
import json, pathlib, sys
turn = pathlib.Path("turn")
number = int(turn.read_text()) if turn.exists() else 0
turn.write_text(str(number + 1))
print("progress")
print(json.dumps({"cpython": {"build_packet_us": 1000 + 10 * number, "hop_us": 300}, "other": {"x_us": 1}}))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "packets.py").write_text(REPORTS)
    return tmp_path


def test_both_are_measured_in_turns(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    real = packets.one_turn

    def one_turn(where: Path, *, chromium: bool) -> dict[str, packets.Costs]:
        asked.append(where)
        if where == checkout:
            return real(where, chromium=chromium)
        return {"cpython": {"build_packet_us": 505, "build_surb_us": 400}}

    monkeypatch.setattr(packets, "one_turn", one_turn)
    report = packets.beside(checkout, chromium=False)
    here = packets.ROOT
    assert asked == [here, checkout, checkout, here, here, checkout]
    assert report == {
        "cpython": {"build_packet_us": 505, "build_surb_us": 400},
        "beside": {"cpython": {"build_packet_us": 1010, "hop_us": 300}},
        "ratio": {"cpython": {"build_packet": 0.5}},
    }
    shown = [line.split() for line in packets.lines(report)]
    assert shown == [
        ["cpython", "build_packet", "505", "us", "1010", "us", "there", "0.50"],
        ["cpython", "build_surb", "400", "us"],
    ]


def test_a_checkout_that_cannot_be_measured_says_why(checkout: Path) -> None:
    (checkout / "bench" / "packets.py").write_text("raise SystemExit('dist/pyodide does not exist')")
    with pytest.raises(packets.TurnFailed, match="dist/pyodide does not exist"):
        packets.one_turn(checkout, chromium=False)
