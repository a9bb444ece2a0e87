"""What counts as a difference, what excuses one, and that the page has the facts and reasons of the code."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from bench import privacy_report
from bench.privacy_facts import DRAWN, EXACT, RATES
from bench.privacy_reasons import REASONS
from bench.privacy_records import Recording
from localnet.observed import Seen
from tests.bench.test_privacy_wire import OPTIONS, tcp4

pytestmark = pytest.mark.cpython


def user(sequence: int, *, options: bytes = OPTIONS) -> Recording:
    """One SYN, with a timestamp that is as new as its sequence number."""
    options = options.replace(b"\x08\x0a\0\0\0\1", b"\x08\x0a" + (sequence * 100_000_000).to_bytes(4, "big"))
    return Recording([Seen("exit", "up", "tag", 1.0, tcp4(2, sequence, options=options))])


def busy(rate: int) -> Recording:
    """Idle at 50 packets a second, at `rate` in a download."""
    phases = {"idle": (0.0, 10.0), "download": (10.0, 20.0), "upload": (20.0, 30.0)}
    steps = [(0.0, 50), (10.0, rate), (20.0, 50)]
    times = [start + number / each for start, each in steps for number in range(10 * each)]
    nonce = iter(range(10_000 * rate, 10_000 * rate + 10_000))
    seen = [Seen("gateway", "binary", "1", at, b"\2\1" + next(nonce).to_bytes(12, "big")) for at in times]
    return Recording(seen, phases)


def activities(gap: float, other: float) -> Recording:
    """Nothing and chatter, with gaps of about so many seconds."""
    phases, seen = {"nothing": (0.0, 20.0), "chatter": (20.0, 40.0)}, []
    for start, step in ((0.0, gap), (20.0, other)):
        times = [start + number * step * (1 + number % 3) / 3 for number in range(200)]
        seen += [Seen("line", "binary", "1", at, b"") for at in sorted(times)]
    return Recording(seen, phases)


def names(found: list[privacy_report.Difference]) -> set[tuple[str, str]]:
    return {(one.fact, one.between) for one in found}


def test_equal_users_have_no_difference() -> None:
    recordings = {"ours": [user(1), user(2)], "official": [user(3), user(4)]}
    assert privacy_report.differences(recordings) == []


def test_clients_are_told_apart_and_a_reason_excuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = {"ours": [user(1), user(2)], "official": [user(3, options=OPTIONS[:4]), user(4, options=OPTIONS[:4])]}
    monkeypatch.setattr(privacy_report, "REASONS", {})
    report = privacy_report.report(recordings)
    differences = {one["fact"] for one in report["differences"]}
    assert {"tcp.syn.options", "tcp.syn.scale", "tcp.timestamps"} <= differences
    assert privacy_report.unexplained(report) == report["differences"]
    monkeypatch.setattr(privacy_report, "REASONS", dict.fromkeys(differences, ("by design", "a server")))
    assert privacy_report.unexplained(privacy_report.report(recordings)) == []
    assert "reasons without a difference" not in privacy_report.text(report)
    assert "tcp.syn.options (clients): not looked into" in privacy_report.text(report)


def test_a_reason_that_no_run_shows_any_more_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy_report, "REASONS", {"tls.alpn": ("it was so once", "a server")})
    recordings = {"ours": [user(1), user(2)], "official": [user(3), user(4)]}
    assert "reasons without a difference: tls.alpn" in privacy_report.text(privacy_report.report(recordings))


def test_users_of_ours_must_be_alike_whatever_the_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy_report, "REASONS", dict.fromkeys([*EXACT, *DRAWN, *RATES], ("by design", "a server")))
    one, other = user(1), user(2, options=OPTIONS[:4])
    report = privacy_report.report({"ours": [one, other], "official": [one, other]})
    assert ("tcp.syn.options", "users") in {(d["fact"], d["between"]) for d in privacy_report.unexplained(report)}


def test_what_must_be_new_is_missed_when_it_comes_back() -> None:
    recordings = {"ours": [user(1), user(1)], "official": [user(3), user(4)]}
    assert ("once.isn", "users") in names(privacy_report.differences(recordings))


def test_one_clock_for_two_users_is_noticed_although_packets_are_late() -> None:
    users = [user(1), user(1)]
    users[1].seen[0] = replace(users[1].seen[0], at=1.4)
    recordings = {"ours": users, "official": [user(3), user(4)]}
    assert ("once.timestamps", "users") in names(privacy_report.differences(recordings))


def test_activity_that_shows_is_a_difference() -> None:
    quiet = {"ours": [busy(50), busy(51)], "official": [busy(52), busy(53)]}
    assert not {one for one in names(privacy_report.differences(quiet)) if one[1] == "activities"}
    loud = {**quiet, "ours": [busy(90), busy(91)]}
    assert ("rate.download", "activities") in names(privacy_report.differences(loud))


def test_times_of_a_busy_machine_prove_nothing_and_are_no_success_either() -> None:
    recordings = {"ours": [busy(90), busy(91)], "official": [busy(52), busy(53)]}
    recordings["ours"][0].load = 2 * privacy_report.QUIET
    report = privacy_report.report(recordings)
    assert {one["reason"] for one in report["differences"] if one["fact"] == "rate.download"} == {privacy_report.BUSY}
    assert "the machine was busy" in privacy_report.text(report) and report["load"] > privacy_report.QUIET
    assert "busy machine" in privacy_report.page(report)


def test_activities_that_can_be_told_apart_by_their_gaps_are_a_difference() -> None:
    alike = {
        "ours": [activities(0.02, 0.02), activities(0.02, 0.02)],
        "official": [activities(0.02, 0.02), activities(0.02, 0.02)],
    }
    assert ("gaps", "activities") not in names(privacy_report.differences(alike))
    apart = {**alike, "ours": [activities(0.02, 0.04), activities(0.02, 0.04)]}
    assert ("gaps", "activities") in names(privacy_report.differences(apart))
    assert "nothing, chatter" in privacy_report.page(privacy_report.report(apart))
    gaps = [one.reason for one in privacy_report.differences(apart) if one.fact == "gaps"]
    assert gaps == [privacy_report.NOT_LOOKED_INTO]


def test_a_machine_that_is_late_is_known_by_the_control_group() -> None:
    """Where the official client's are told apart as often, although it sends by its clock alone, the machine did it."""
    apart = {client: [activities(0.02, 0.04), activities(0.02, 0.04)] for client in ("ours", "official")}
    assert {one.reason for one in privacy_report.differences(apart) if one.fact == "gaps"} == {privacy_report.BLURRED}


def test_the_page_has_exactly_the_facts_and_differences_that_the_report_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy_report, "REASONS", {"tcp.syn.options": ("by design", "a server")})
    recordings = {"ours": [user(1), user(2)], "official": [user(3, options=OPTIONS[:4]), user(4, options=OPTIONS[:4])]}
    report = privacy_report.report(recordings)
    tables, _, reasons = privacy_report.page(report).partition("## Why they differ")
    rows = re.findall(r"^\| `([a-z0-9.]+)` \|.*\| (yes|no) \|$", tables, re.M)
    assert sorted(name for name, _ in rows) == sorted({*EXACT, *DRAWN, *RATES})
    assert {name for name, same in rows if same == "no"} == {one["fact"] for one in report["differences"]}
    assert "| `tcp.syn.options` | by design | a server |" in reasons


def test_a_reason_is_of_a_fact_and_says_something() -> None:
    assert set(REASONS) <= {*EXACT, *DRAWN, *RATES}
    for reason, use in REASONS.values():
        assert len(reason) > 20 and use and "|" not in reason + use and reason != privacy_report.NOT_LOOKED_INTO


def test_what_was_not_seen_of_ours_is_told() -> None:
    recordings = {"ours": [user(1), user(2)], "official": [user(3), user(4)]}
    missing = privacy_report.report(recordings)["missing"]
    assert {"page.asked", "tls.ciphers", "once.dns", "rate.gaps"} <= set(missing)
    assert "tcp.syn.options" not in missing and "once.isn" not in missing


def test_the_report_is_json() -> None:
    recordings = {"ours": [user(1), user(2)], "official": [user(3), user(4)]}
    report = json.loads(json.dumps(privacy_report.report(recordings)))
    assert {"vantage", "differences"} <= set(report) and "server" in report["vantage"]
    assert privacy_report.page(report).startswith("# Privacy, measured")
