"""Paths of the checkout, running of tools, and the one error that ends a task with one line."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
NODE_MODULES = ROOT / "node_modules"
BUILD = ROOT / "build"  # intermediate files and stamps; never shipped
DIST = ROOT / "dist"
REQUIREMENTS = ROOT / "requirements"


class TaskError(Exception):
    """A task cannot go on; the message is one line and says what to do."""


def say(text: str) -> None:
    """Progress goes to stderr: stdout belongs to results."""
    print(text, file=sys.stderr, flush=True)


def run(command: Sequence[str | Path], *, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> None:
    """Run a tool with our standard input closed; its output goes to stderr. `TaskError` when it fails."""
    arguments = [str(part) for part in command]
    try:
        done = subprocess.run(
            arguments, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno(), check=False
        )
    except FileNotFoundError as error:
        raise TaskError(f"{arguments[0]} is not installed") from error
    if done.returncode:
        raise TaskError(f"`{shlex.join(arguments[:6])}` failed with exit code {done.returncode}")


def call(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> int:
    """Run a task of the project in the foreground, all streams its own; its exit code."""
    try:
        return subprocess.call([str(part) for part in command], cwd=ROOT, env=env)
    except KeyboardInterrupt:
        return 130


@contextlib.contextmanager
def build_lock(name: str) -> Iterator[None]:
    """One process at a time per kind of work; the others wait and then find it done."""
    import fcntl

    BUILD.mkdir(exist_ok=True)
    with open(BUILD / f"{name}.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def tool_environment(**extra: str) -> dict[str, str]:
    """The environment for tools: ours, with the checkout importable and bytecode caches left on."""
    env = dict(os.environ)
    env.update(extra)
    env["PYTHONPATH"] = str(ROOT)
    return env
