"""docs/conformance.md: every feature of the public interface with the tests that prove it, and the known deviations.

Features are the `feature(area, name)` marks of the tests, read by collecting them; deviations stand in
tests/conformance/<area>.toml, each with its reason. The section "Beside Chromium" counts the tables of tests/beside.
A test checks that the page is current.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from .common import PYTHON, ROOT, TaskError, tool_environment

PAGE = ROOT / "docs" / "conformance.md"
DEVIATIONS = ROOT / "tests" / "conformance"
AREAS = (
    "Fetch", "HTTP", "WebSocket", "DNS", "Sockets", "Worker", "Whole pages", "Isolation", "Messages", "Streams",
    "Programs", "Python", "Proxy", "Pyodide", "Packaging", "Monitor", "Demo",
)  # fmt: skip
GATHER = "SMOLMIX_GATHER_FEATURES"  # path of the file that tests/conftest.py writes

BESIDE = """
## Beside Chromium

What a raw server says, read by Chromium's own `fetch` and `WebSocket`, by `mixFetch` and `MixWebSocket` in the same
browser, and by the Python client: the tables of `tests/beside`.

| kind | cases | equal | different |
|---|---|---|---|
"""

HEADER = """\
# Conformance

What of the Fetch, WebSocket, DNS and socket interfaces works, and the test that fails without it. Written by
`python3 build.py conformance` from the marks of the tests; a test checks that it is current.
"""


@dataclass(frozen=True)
class Gathered:
    """What collecting the tests gives: (area, feature, test) of every mark, in the order of collection, parameters of
    a test left out; of the tables beside Chromium (kind, cases, different) and (kind, case, reason)."""

    features: list[tuple[str, str, str]]
    beside: list[tuple[str, int, int]] = field(default_factory=list)
    differences: list[tuple[str, str, str]] = field(default_factory=list)


def gather() -> Gathered:
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
        return Gathered(**{name: [tuple(row) for row in rows] for name, rows in json.loads(target.read_text()).items()})


def deviations() -> dict[str, list[tuple[str, str]]]:
    """Area to (what differs, why)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(DEVIATIONS.glob("*.toml")):
        content = tomllib.loads(path.read_text())
        found[content["area"]] = [(item["what"], item["why"]) for item in content["deviation"]]
    return found


def render(gathered: Gathered, known: dict[str, list[tuple[str, str]]]) -> str:
    table: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for area, name, test in gathered.features:
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
    if gathered.beside:
        parts.append(_beside(gathered))
    return "".join(parts)


def _beside(gathered: Gathered) -> str:
    total = sum(cases for _, cases, _ in gathered.beside)
    different = sum(other for _, _, other in gathered.beside)
    rows = [*gathered.beside, ("all", total, different)]
    return (
        BESIDE
        + "".join(f"| {kind} | {cases} | {cases - other} | {other} |\n" for kind, cases, other in rows)
        + ("\nDifferent on purpose:\n\n" if different else "")
        + "".join(f"* {kind}: {case}. Reason: {why}\n" for kind, case, why in gathered.differences)
    )


def _short(test: str) -> str:
    return f"`{test.removeprefix('tests/')}`"


def write() -> None:
    PAGE.write_text(render(gather(), deviations()))
