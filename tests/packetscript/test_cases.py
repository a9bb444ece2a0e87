"""Packet-level cases: cases/*.pkt.txt, in the language of language.py. One test for each case."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packetscript.language import Case, load
from tests.packetscript.runner import CaseFailed, run_case

# A setting that is not there yet is a TypeError.
_MISSING = (CaseFailed, TypeError)
FILES = sorted((Path(__file__).parent / "cases").glob("*.pkt.txt"))


def _cases() -> list[object]:
    found = []
    for path in FILES:
        for case in load(path):
            marks = [] if case.xfail is None else [pytest.mark.xfail(strict=True, reason=case.xfail, raises=_MISSING)]
            found.append(pytest.param(case, id=f"{case.topic}-{case.name}", marks=marks))
    return found


@pytest.mark.parametrize("case", _cases())
def test_case(case: Case) -> None:
    run_case(case)


def test_there_are_many_cases_and_each_names_its_rfc() -> None:
    cases = [case for path in FILES for case in load(path)]
    assert len({(case.path, case.line) for case in cases}) >= 120  # as written, before `each` multiplies
    assert all("RFC" in case.rfc for case in cases)
