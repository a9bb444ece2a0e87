"""`build.py test` and `lint`: linters, types, then the test groups; a table and one closing line at the end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .chromium import ensure_chromium
from .common import NODE_MODULES, PYTHON, ROOT, TaskError, say, tool_environment
from .dist import ensure_dist
from .engines import ensure_engine, ensure_what_can_be_had
from .setup import ensure_node, ensure_venv

TESTS = ROOT / "tests"
# Folders of the groups that are not `unit`; unit is everything else below tests/.
FOLDERS = {
    "faults": "engine",
    "linux": "linux",
    "integration": "integration",
    "browser": "browser",
    "interop": "interop",
    "docs": "docs",
    "node": "node",
    "consumers": "consumers",
}
GROUPS = ("unit", *FOLDERS)
# Run only when named: their projects download hundreds of megabytes of other people's tools.
NAMED_ONLY = {"consumers"}
BROWSER_GROUPS = {"browser", "interop", "docs", "consumers"}
COUNTS = re.compile(r"(\d+) (?:subtests )?(passed|failed|skipped|error)")


@dataclass
class Outcome:
    """One row of the table: counts of a group, or nothing but pass or fail for a checker."""

    name: str
    code: int
    seconds: float
    counts: dict[str, int]

    @property
    def ok(self) -> bool:
        return self.code == 0


def lint_commands() -> list[tuple[str, list[str | Path]]]:
    python: list[str | Path] = [PYTHON, "-m"]
    tsc: list[str | Path] = [NODE_MODULES / ".bin" / "tsc", "-p"]
    return [
        ("ruff check", [*python, "ruff", "check", "."]),
        ("ruff format", [*python, "ruff", "format", "--check", "."]),
        ("mypy", [*python, "mypy"]),
        ("lint-imports", [PYTHON.with_name("lint-imports"), "--no-cache", "--no-logo"]),
        ("tsc --checkJs", [*tsc, "tsconfig.json"]),
        # Each side alone, with what is shared: what imports the other side does not compile.
        *((f"tsc {side}", [*tsc, f"javascript/{side}"]) for side in ("page", "service", "worker", "shared", "node")),
    ]


def lint() -> list[Outcome]:
    """Style and types of everything; each checker runs even when an earlier one complains."""
    ensure_venv()
    ensure_node()
    outcomes = []
    for name, command in lint_commands():
        say(f"== {name}")
        began = time.monotonic()
        code = subprocess.call(
            [str(part) for part in command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno()
        )
        outcomes.append(Outcome(name, code, time.monotonic() - began, {}))
    return outcomes


def group_paths(group: str) -> list[str]:
    """The test paths of a group that have tests in them, relative to the checkout."""
    if group in FOLDERS:
        folders = [TESTS / FOLDERS[group]]
    else:
        folders = [p for p in sorted(TESTS.iterdir()) if p.name not in FOLDERS.values()]
    paths = []
    for path in folders:
        if (path.is_dir() and any(path.rglob("test_*.py"))) or (path.is_file() and path.name.startswith("test_")):
            paths.append(str(path.relative_to(ROOT)))
    return paths


def run_group(group: str, arguments: Sequence[str], *, everything: bool, engine: str | None = None) -> Outcome:
    """One pytest process for a group; its output is shown as it comes and its closing counts are kept.

    Without `everything`, tests marked `long` are left out. `engine` is another one than Chromium for the browser tests.
    """
    command: list[str | Path] = [PYTHON, "-m", "pytest", "-p", "no:cacheprovider", *group_paths(group)]
    if not everything:
        command += ["-m", "not long"]
    # Tests that measure rates stand among the long ones; two processes would disturb them.
    parallel = group in ("unit", "faults", "integration", "node") or (group == "linux" and not everything)
    if parallel and not any(argument.startswith("-n") for argument in arguments):
        command += ["-n", str(min(2, os.cpu_count() or 1))]
    command += ["--durations=5", *arguments]
    env = tool_environment()
    if group == "browser":
        if engine is None:
            ensure_what_can_be_had()
        else:
            ensure_engine(engine)
            command += ["--engine", engine]
    if group in BROWSER_GROUPS:
        env["CHROMIUM"] = ensure_chromium()
    say(f"== tests: {group}")
    began = time.monotonic()
    process = subprocess.Popen(
        [str(part) for part in command], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    last = ""
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        if COUNTS.search(line) and " in " in line:
            last = line
    code = process.wait()
    counts: dict[str, int] = {}
    for number, kind in COUNTS.findall(last):
        counts[kind] = counts.get(kind, 0) + int(number)
    return Outcome(group, code, time.monotonic() - began, counts)


def test(groups: Sequence[str], arguments: Sequence[str], *, engine: str | None = None) -> int:
    """Run `groups`; 0 when all passed. When none is named: lint and all but `NAMED_ONLY`, without `long` tests."""
    began = time.monotonic()
    named = list(groups)
    for group in named:
        if not group_paths(group):
            raise TaskError(f"no tests in group {group}")
    ensure_venv()
    ensure_node()
    outcomes = [] if named else lint()
    usual = [group for group in GROUPS if group not in NAMED_ONLY and group_paths(group)]
    chosen = [group for group in GROUPS if group in (named or usual)]
    ensure_dist()
    for group in chosen:
        outcomes.append(run_group(group, arguments, everything=bool(named), engine=engine))
    print(report(outcomes, time.monotonic() - began))
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def report(outcomes: Sequence[Outcome], seconds: float) -> str:
    """The table, and a closing line in pytest's words; a checker that complains counts as one failure."""
    lines = ["", f"{'group':<16} {'result':<8} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}"]
    passed = failed = skipped = 0
    for outcome in outcomes:
        bad = outcome.counts.get("failed", 0) + outcome.counts.get("error", 0)
        if not outcome.ok and not bad:
            bad = 1
        good = outcome.counts.get("passed", 0)
        out = outcome.counts.get("skipped", 0)
        passed, failed, skipped = passed + good, failed + bad, skipped + out
        shown = [str(good), str(bad), str(out)] if outcome.counts or not outcome.ok else ["", "", ""]
        verdict = "ok" if outcome.ok else "FAILED"
        lines.append(
            f"{outcome.name:<16} {verdict:<8} {shown[0]:>7} {shown[1]:>7} {shown[2]:>8} {outcome.seconds:>8.1f}"
        )
    parts = [f"{failed} failed"] if failed else []
    parts.append(f"{passed} passed")
    if skipped:
        parts.append(f"{skipped} skipped")
    lines.append(f"===== {', '.join(parts)} in {seconds:.2f}s =====")
    return "\n".join(lines)
