"""Thousands of URLs read as Node reads them, where it is there (the build needs it)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from tests.http.url_cases import ASK, Case, cases, differences

pytestmark = pytest.mark.cpython

NODE = shutil.which("node")


def as_node(case: Case, ours: list[str], theirs: list[str]) -> list[str]:
    """Nodes of several years differ among themselves: in which international names are valid, in `^` within a path, in
    the empty query of a base, and in dot segments after a name that ends in a dot."""
    text, base = case
    international = not text.isascii() or "xn--" in text.lower()
    excused = international or "^" in text or (base or "").endswith("?") or re.search(r"[^./]\./\.", text)
    return theirs if excused else ours


@pytest.mark.skipif(NODE is None, reason="there is no node")
def test_urls_are_read_as_node_reads_them() -> None:
    given = cases()
    script = f"const cases = JSON.parse(require('fs').readFileSync(0)); console.log(JSON.stringify(({ASK})(cases)))"
    assert NODE is not None
    run = subprocess.run([NODE, "-e", script], input=json.dumps(given), capture_output=True, text=True, timeout=60)
    answers = json.loads(run.stdout)
    compared = [case for case, answer in zip(given, answers, strict=True) if answer and not as_node(case, [], answer)]
    assert len(compared) > 3000
    found = differences(given, answers, as_node)
    assert not found, (len(found), found[:20])
