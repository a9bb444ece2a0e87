"""What stands between Playwright and Firefox forgives one thing, and changes nothing else."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from browserkit.firefox_relay import Forgiving, write_starter


def asked(method: str, number: int = 7, **params: str) -> str:
    return json.dumps({"id": number, "method": method, "params": params})


def answered(number: int = 7, error: str = "unknown command") -> str:
    return json.dumps({"type": "error", "id": number, "error": error, "message": "m"})


def test_emulation_that_is_unknown_is_done() -> None:
    forgiving = Forgiving()
    forgiving.command(asked("emulation.setSomething"))
    assert forgiving.answer(answered(8)) == answered(8)
    assert json.loads(forgiving.answer(answered())) == {"type": "success", "id": 7, "result": {}}
    assert forgiving.answer(answered()) == answered()  # once


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("emulation.setSomething", "invalid argument"),
        ("network.setCacheBehavior", "unknown command"),
        ("script.evaluate", "unknown command"),
    ],
)
def test_other_errors_stay(method: str, error: str) -> None:
    forgiving = Forgiving()
    forgiving.command(asked(method, expression='"emulation."'))
    assert forgiving.answer(answered(error=error)) == answered(error=error)


def test_an_event_passes() -> None:
    forgiving = Forgiving()
    forgiving.command(asked("emulation.setSomething"))
    event = json.dumps({"type": "event", "method": "log.entryAdded", "params": {}})
    assert forgiving.answer(event) == event


def test_a_browser_that_does_not_start_is_told(tmp_path: Path) -> None:
    """Its words and its exit code, through an executable whose path has a space."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    browser = folder / "browser"
    browser.write_text('#!/bin/sh\necho "no display for $1" >&2\nexit 3\n')
    browser.chmod(0o755)
    done = subprocess.run(
        [write_starter(folder, str(browser)), "--headless"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (3, "no display for --headless\n")
