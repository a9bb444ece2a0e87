"""The `test` command: groups, counts, and the closing line."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from buildtools import checks
from buildtools.checks import Outcome, report
from buildtools.common import TaskError


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(checks, "TESTS", tmp_path / "tests")
    monkeypatch.setattr(checks, "ROOT", tmp_path)
    monkeypatch.setattr(checks, "PYTHON", Path(sys.executable))
    for name in ("crypto/test_a.py", "browser/test_b.py", "vectors/data.json", "integration/conftest.py", "helper.py"):
        path = tmp_path / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    # As in pyproject.toml.
    plugins = "-p no:pytest_pyodide -p no:pytest_pyodide_hook"
    (tmp_path / "pytest.ini").write_text(f"[pytest]\naddopts = {plugins}\n")
    return tmp_path


def test_groups_are_folders(tree: Path) -> None:
    assert checks.group_paths("unit") == ["tests/crypto"]
    assert checks.group_paths("browser") == ["tests/browser"]
    assert checks.group_paths("integration") == []


def test_an_empty_group_is_an_error_only_by_name(tree: Path) -> None:
    with pytest.raises(TaskError, match="no tests in group interop"):
        checks.test(["interop"], [])


SUITE = """
import pytest

def test_good(): pass
def test_bad(): assert False
def test_out(): pytest.skip("why")
def test_parts(subtests):
    for i in range(3):
        with subtests.test(i=i):
            assert i != 1
@pytest.fixture
def broken(): raise ValueError
def test_error(broken): pass
"""


def test_a_group_is_counted(tree: Path) -> None:
    (tree / "tests" / "crypto" / "test_a.py").write_text(SUITE)
    outcome = checks.run_group("unit", ["-n0", "-q"], everything=True)
    assert outcome.code == 1
    # The test whose subtest failed counts as failed too, as pytest has it.
    assert outcome.counts == {"failed": 3, "passed": 3, "skipped": 1, "error": 1}


def test_arguments_choose_tests(tree: Path) -> None:
    (tree / "tests" / "crypto" / "test_a.py").write_text(SUITE)
    outcome = checks.run_group("unit", ["-n0", "-k", "good"], everything=True)
    assert (outcome.ok, outcome.counts) == (True, {"passed": 1})


@pytest.mark.parametrize(
    ("outcomes", "closing"),
    [
        ([Outcome("ruff check", 0, 1, {}), Outcome("unit", 0, 2, {"passed": 7})], "7 passed"),
        (
            [Outcome("mypy", 1, 1, {}), Outcome("unit", 0, 2, {"passed": 7, "skipped": 2})],
            "1 failed, 7 passed, 2 skipped",
        ),
        ([Outcome("unit", 1, 2, {"passed": 7, "failed": 2, "error": 1})], "3 failed, 7 passed"),
        ([Outcome("browser", 4, 2, {})], "1 failed, 0 passed"),
    ],
)
def test_the_closing_line(outcomes: list[Outcome], closing: str) -> None:
    lines = report(outcomes, 12.345).splitlines()
    assert lines[-1] == f"===== {closing} in 12.35s =====" or lines[-1] == f"===== {closing} in 12.34s ====="
    for outcome, line in zip(outcomes, lines[2:], strict=False):
        assert re.match(rf"{outcome.name} +{'ok' if outcome.ok else 'FAILED'}\b", line)
