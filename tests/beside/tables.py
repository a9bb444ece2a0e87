"""All tables of cases, and what is compared between an outcome and what a case says."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .case import Closed, Fails, FetchCase, Read, WebSocketCase

Case = FetchCase | WebSocketCase
Outcome = Read | Fails | Closed


def all_cases() -> list[Case]:
    """The cases of every table, by table and in its order; their names are unique within a kind."""
    found: list[Case] = []
    for path in sorted(Path(__file__).parent.glob("cases_*.py")):
        module = importlib.import_module(f"tests.beside.{path.stem}")
        found += module.CASES
    names = [(case.kind, case.name) for case in found]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
    return found


def fetch_cases() -> list[FetchCase]:
    return [case for case in all_cases() if isinstance(case, FetchCase)]


def websocket_cases() -> list[WebSocketCase]:
    return [case for case in all_cases() if isinstance(case, WebSocketCase)]


def expected(case: Case, *, native: bool) -> Any:
    """What must come of it, `native`: with the browser's own."""
    return case.chromium if native or case.ours is None else case.ours


def as_seen(headers: Iterable[Sequence[str]]) -> list[tuple[str, str]]:
    """Headers as `Headers` shows them: in lower case, sorted, values of one name joined. Cookies no page sees."""
    joined: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return sorted((name, value) for name, value in joined.items() if name != "set-cookie")


def mismatch(want: Outcome, got: Outcome, *, codes: bool, partial: bool) -> list[str]:
    """What differs, in words. `codes`: errors have ours; `partial`: the part of a broken body is compared too."""
    if type(want) is not type(got):
        return [f"wanted {want}, got {got}"]
    if isinstance(want, Fails) and isinstance(got, Fails):
        return [f"code: wanted {want.code}, got {got.code}"] if codes and want.code != got.code else []
    names = ["messages", "code", "reason", "clean", "opened", "error"]
    if isinstance(want, Read) and isinstance(got, Read):
        names = ["status", "reason", "target", "broken"]
        if partial or not want.broken:
            names.append("body")
        if want.headers is not None and as_seen(want.headers) != as_seen(got.headers or ()):
            return [f"headers: wanted {as_seen(want.headers)}, got {as_seen(got.headers or ())}"]
    return [
        f"{name}: wanted {_value(want, name)!r}, got {_value(got, name)!r}"
        for name in names
        if _value(want, name) != _value(got, name)
    ]


def _value(outcome: Outcome, name: str) -> Any:
    value = getattr(outcome, name)
    return list(value) if isinstance(value, (tuple, list)) else value


def summary() -> list[tuple[str, int, int]]:
    """(kind, cases, those in which we differ from Chromium on purpose), for docs/conformance.md."""
    kinds: dict[str, list[Case]] = {}
    for case in all_cases():
        kinds.setdefault(case.kind, []).append(case)
    return [(kind, len(cases), sum(case.ours is not None for case in cases)) for kind, cases in sorted(kinds.items())]


def differences() -> list[tuple[str, str, str]]:
    """(kind, case, reason) of the cases that differ on purpose."""
    return [(case.kind, case.name, case.why) for case in all_cases() if case.ours is not None]
