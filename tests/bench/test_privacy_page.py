"""docs/privacy.md is of this code: its facts and reasons, and what it says of ours where that can be had without a
browser. The rest of its numbers are of the runs that it was made from."""

from __future__ import annotations

import json
import re

import pytest

from bench import privacy_reasons, privacy_report
from bench.privacy_facts import DRAWN, EXACT, RATES
from bench.privacy_report import PAGE
from buildtools.common import NODE_MODULES
from tests.bench.privacy_shapes import OFFICIAL, SHAPE

pytestmark = pytest.mark.cpython

ROW = re.compile(r"^\| `([a-z0-9.]+)` \| (.*) \| (yes|no|not known) \|$", re.M)


def rows() -> dict[str, tuple[str, str, str, str]]:
    """What, ours, official, same."""
    tables = PAGE.read_text(encoding="utf-8").partition("## What the gateway can tell")[0]
    found = {}
    for name, cells, same in ROW.findall(tables):
        what, ours, official = (cell.strip() for cell in re.split(r"(?<!\\)\|", cells))
        found[name] = (what, ours, official, same)
    return found


def test_it_has_all_facts_and_their_words() -> None:
    facts = {**EXACT, **DRAWN, **RATES}
    assert {name: row[0] for name, row in rows().items()} == {name: fact.what for name, fact in facts.items()}


def test_it_has_all_reasons_and_each_difference_has_one() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, (reason, use) in privacy_reasons.REASONS.items():
        assert f"| `{name}` | {reason} | {use} |\n" in text
    different = {name for name, (_, _, _, same) in rows().items() if same == "no"}
    assert different <= set(privacy_reasons.REASONS)
    for part in ("SHOWS_STILL", "DIRECTORY", "FINGERPRINT", "NOT_MEASURED"):
        assert getattr(privacy_reasons, part) in text, part


def test_what_it_says_of_ours_and_of_the_official_client_still_holds() -> None:
    """`tests/integration/test_privacy.py` holds the same of a client of this process."""
    page = rows()
    assert {name: page[name][1] for name in SHAPE} == {name: privacy_report._cell(SHAPE[name]) for name in SHAPE}
    official = {name: page[name][2] for name in OFFICIAL}
    assert official == {name: privacy_report._cell(OFFICIAL[name]) for name in OFFICIAL}


def test_it_is_of_the_official_client_that_is_installed() -> None:
    version = json.loads((NODE_MODULES / "@nymproject" / "mix-tunnel" / "package.json").read_text())["version"]
    assert f"`@nymproject/mix-tunnel` {version}," in PAGE.read_text(encoding="utf-8")
