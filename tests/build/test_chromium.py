"""Where Chromium is looked for, and what happens when it is nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildtools import chromium, debian
from buildtools.common import TaskError


def executable(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "browsers"))


def test_nothing_is_found_on_a_bare_machine() -> None:
    assert chromium.find_chromium() is None


def test_the_order_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = executable(tmp_path / "browsers" / "chromium-1000" / "chrome-linux" / "chrome")
    assert chromium.find_chromium() == old
    new = executable(tmp_path / "browsers" / "chromium-2000" / "chrome-linux64" / "chrome")
    assert chromium.find_chromium() == new
    google = executable(tmp_path / "bin" / "google-chrome")
    assert chromium.find_chromium() == google
    packaged = executable(tmp_path / "bin" / "chromium")
    assert chromium.find_chromium() == packaged
    named = executable(tmp_path / "own" / "browser")
    monkeypatch.setenv("CHROMIUM", named)
    assert chromium.find_chromium() == named


def test_a_wrong_name_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "/no/such/browser")
    with pytest.raises(TaskError, match="CHROMIUM=/no/such/browser is not an executable file"):
        chromium.ensure_chromium()


def test_root_gets_the_debian_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(tmp_path / "bin" / "apt-get")
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> None:
        commands.append([str(part) for part in command])
        if "install" in command:
            executable(tmp_path / "bin" / "chromium")

    monkeypatch.setattr(debian, "run", run)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert chromium.ensure_chromium() == str(tmp_path / "bin" / "chromium")
    assert [command[:2] for command in commands] == [["apt-get", "update"], ["apt-get", "install"]]


def test_others_get_playwrights_build_or_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(tmp_path / "bin" / "apt-get")
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> None:
        commands.append([str(part) for part in command])
        raise TaskError("no network")

    monkeypatch.setattr(chromium, "run", run)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(TaskError) as failure:
        chromium.ensure_chromium()
    assert str(failure.value) == chromium.ADVICE
    assert "\n" not in chromium.ADVICE
    assert [command[1:] for command in commands] == [["-m", "playwright", "install", "chromium"]]
