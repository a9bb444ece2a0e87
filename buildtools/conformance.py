"""docs/conformance.md: every feature of the public interface with the tests that prove it, and the known deviations.

Features are the `feature(area, name)` marks of the tests, read by collecting them; deviations stand in
tests/conformance/<area>.toml, each with its reason. A test checks that the page is current.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path

from .common import PYTHON, ROOT, TaskError, tool_environment

PAGE = ROOT / "docs" / "conformance.md"
DEVIATIONS = ROOT / "tests" / "conformance"
AREAS = ("Fetch", "HTTP", "WebSocket", "DNS", "Sockets", "Worker", "Python")
GATHER = "SMOLMIX_GATHER_FEATURES"  # path of the file that tests/conftest.py writes

HEADER = """\
# Conformance

What of the Fetch, WebSocket, DNS and socket interfaces works, and the test that fails without it. Written by
`python3 build.py conformance` from the marks of the tests; a test checks that it is current.
"""


def gather() -> list[tuple[str, str, str]]:
    """(area, feature, test) of every mark, in the order of collection; parameters of a test are left out."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "features.json"
        done = subprocess.run(
            [str(PYTHON), "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"],
            cwd=ROOT,
            env={**tool_environment(), GATHER: str(target)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode or not target.exists():
            raise TaskError(f"the tests could not be collected:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return [(area, name, test) for area, name, test in json.loads(target.read_text())]


def deviations() -> dict[str, list[tuple[str, str]]]:
    """Area to (what differs, why)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(DEVIATIONS.glob("*.toml")):
        content = tomllib.loads(path.read_text())
        found[content["area"]] = [(item["what"], item["why"]) for item in content["deviation"]]
    return found


def render(features: list[tuple[str, str, str]], known: dict[str, list[tuple[str, str]]]) -> str:
    table: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for area, name, test in features:
        if area not in AREAS:
            raise TaskError(f"{test}: {area!r} is not one of {', '.join(AREAS)}")
        tests = table[area][name]
        if test not in tests:
            tests.append(test)
    parts = [HEADER]
    for area in AREAS:
        if area not in table and area not in known:
            continue
        parts.append(f"\n## {area}\n")
        if table[area]:
            parts.append("\n| feature | shown by |\n|---|---|\n")
        parts += [f"| {name} | {', '.join(map(_short, tests))} |\n" for name, tests in sorted(table[area].items())]
        if known.get(area):
            parts.append("\nKnown deviations:\n\n")
        parts += [f"* {what} Reason: {why}\n" for what, why in known.get(area, [])]
    return "".join(parts)


def _short(test: str) -> str:
    return f"`{test.removeprefix('tests/')}`"


def write() -> None:
    PAGE.write_text(render(gather(), deviations()))
