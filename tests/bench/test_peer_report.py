"""Made-up runs of both clients: medians and ratios, what is said of failures, and the page that is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import peer_report
from bench.peer import Measured
from bench.peer_plan import CLIENTS, FIGURES, GROUPS, MODES, Condition, Plan
from bench.peer_results import LATE, Figures, Results, medians
from bench.physical_limits import Facts

pytestmark = pytest.mark.cpython

FACTS = Facts(
    network_packets=1500.0,
    build_packet_us=1000.0,
    receive_reply_us=500.0,
    build_surb_us=450.0,
    x25519_us=90.0,
    x25519_base_us=40.0,
)
SHIPPED = {"ours": {"raw": 3000, "gzip": 900, "brotli": 800}, "official": {"raw": 6000, "gzip": 1000, "brotli": 500}}
WHOLE: Figures = {name: 2.0 + number for number, name in enumerate(FIGURES)}


def a_report(monkeypatch: pytest.MonkeyPatch, *conditions: Condition, minutes: float | None = None) -> dict[str, Any]:
    """As `bench.peer` would have measured it: ours takes half of everything."""
    monkeypatch.setattr(peer_report, "shipped", lambda: SHIPPED)
    plan = Plan(3, tuple(MODES), frozenset(GROUPS), conditions, 0.0, 300.0, minutes)
    measured = Measured(plan, facts=FACTS, chromium="156.0")
    for condition in conditions:
        for mode in MODES:
            if minutes is None:
                results = measured.results[condition, mode] = Results()
                for _ in range(3):
                    results.runs["official"].append(dict(WHOLE))
                    results.runs["ours"].append({name: (value or 0.0) / 2 for name, value in WHOLE.items()})
            else:
                counted = {"fetches": 12, "failed": 1, "reconnects": 2, "small median": 0.5, "states": [[5, "ready"]]}
                measured.long[condition, mode] = {client: dict(counted) for client in CLIENTS}
    report: dict[str, Any] = json.loads(json.dumps(measured.report()))
    return report


def test_a_failure_counts_as_worse_than_any_number() -> None:
    runs: list[Figures] = [{"ready": 1.0, "speed": 50.0}, {"ready": 3.0, "speed": 70.0}, {"ready": LATE, "speed": None}]
    assert medians(runs) == {"ready": 3.0, "speed": 50.0}
    assert medians(runs[1:]) == {"ready": None, "speed": None}
    assert medians([{"ready": 1.0}, {}]) == {"ready": 1.0}


def test_results_tell_ratios_and_how_many_runs_failed() -> None:
    results = Results()
    results.runs["ours"] += [{"ready": 1.0, "upload": LATE}, {"ready": 2.0, "upload": None}, {"ready": None}]
    results.runs["official"] += [{"ready": 4.0, "upload": 8.0}]
    found = results.report()
    assert found["ratio"] == {"ready": 0.5, "upload": None}
    assert found["failed"] == {"ours": {"upload": 2, "ready": 1}, "official": {}}
    assert found["late"] == {"ours": {"upload": 1}, "official": {}}
    json.loads(json.dumps(found, allow_nan=False))
    assert found["runs"] == {"ours": 3, "official": 1}


def test_the_terminal_shows_what_never_happened_and_what_was_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    report = a_report(monkeypatch, Condition(cpu=0.25))
    del report["sections"][1:]
    (section,) = report["sections"]
    section["ours"]["ready"] = section["ratio"]["ready"] = None
    section["ours"]["together"] = section["ratio"]["together"] = None
    section["failed"]["ours"] = {"ready": 3, "upload": 1, "together": 2}
    section["late"]["ours"] = {"ready": 1}
    del section["official"]["upload"]
    shown = {line.strip().split("   ")[0]: line.split() for line in peer_report.lines(report)}
    assert shown["page open to ready, first visit, s"][-5:] == ["2", "never", "(300", "s)", "-"]
    assert shown["6 fetches of 20 kB at once, s"][-2:] == ["failed", "-"]
    upload = f"{section['ours']['upload']:g}"
    assert shown["upload of 200 kB, s"][-7:] == ["-", upload, "(1", "of", "3", "failed)", "0.5"]
    assert shown["download of 0.5 MB, kB/s"][-1] == "0.5"


def test_the_page_has_tables_limits_failures_and_how_to_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    report = a_report(monkeypatch, Condition(), Condition(line=100, line_delay=0.03), Condition(cpu=0.25))
    report["failures"] = ["0.25 of a core; defaults; ours: ready: not within 300 s"]
    report["limited_by"] = ["control group v1"]
    page = peer_report.page(report)
    for heading in ("Defaults, no limit", "Switches off, a line of 100 kB/s and 30 ms", "Defaults, 0.25 of a core"):
        assert page.count(f"## {heading}\n") == 1
    assert page.count("What sets the limits of ours:") == 6
    assert "| page open to ready, first visit, s | 2 | 1 | 0.5 |" in page
    assert "| gzip | 1,000 | 900 | 0.90 |" in page
    assert "* 0.25 of a core; defaults; ours: ready: not within 300 s" in page
    assert "control group v1" in page and "Chromium 156.0" in page and "python3 build.py bench peer" in page
    assert "@nymproject/mix-tunnel` 0." in page
    for line in page.splitlines():
        if line.startswith("|"):
            assert line.count("|") in (3, 5, 7) and line.endswith("|")
        else:
            assert len(line) <= 200 or line.startswith("Chromium")


def test_the_long_run_is_a_table_too(monkeypatch: pytest.MonkeyPatch) -> None:
    report = a_report(monkeypatch, Condition(cpu=0.25), minutes=10.0)
    assert report["sections"] == [] and report["shipped"] is None
    page = peer_report.page(report)
    assert "## 10 minutes, defaults, 0.25 of a core" in page and "| false reconnects | 2 | 2 |" in page
    assert any("false reconnects" in line for line in peer_report.lines(report))


def test_the_picture_is_well_formed_and_has_a_bar_for_each_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    report = a_report(monkeypatch, Condition())
    report["sections"][0]["ratio"]["ready"] = 5.0
    report["sections"][1]["ratio"]["ready"] = None
    root = ElementTree.fromstring(peer_report.picture(report))
    bars = [e for e in root if e.tag.endswith("rect")][1:]
    assert len(bars) == 9 + 8
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert widths[0] == 440 and set(widths[1:]) == {110.0}
    assert "5.00" in [e.text for e in root]


def test_several_reports_make_one_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for number, report in enumerate(
        [
            a_report(monkeypatch, Condition()),
            a_report(monkeypatch, Condition(cpu=0.5)),
            a_report(monkeypatch, Condition(cpu=0.5), minutes=3.0),
        ]
    ):
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(f"some progress\n{json.dumps(report)}\n")
    monkeypatch.setattr(peer_report, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(peer_report, "PICTURE", tmp_path / "picture.svg")
    monkeypatch.setattr(sys, "argv", ["peer_report", *map(str, files)])
    assert peer_report.main() == 0
    page = (tmp_path / "page.md").read_text()
    assert page.count("## Defaults, no limit") == page.count("## Defaults, 0.5 of a core") == 1
    assert page.count("## 3 minutes, defaults, 0.5 of a core") == 1
    ElementTree.parse(tmp_path / "picture.svg")
    files[0].write_text("no report")
    with pytest.raises(SystemExit):
        peer_report.main()
    assert "not a report" in capsys.readouterr().err
