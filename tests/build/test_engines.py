"""Engines are found, or it is said what to install."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildtools import debian, engines
from buildtools.common import TaskError


def program(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no program but those that a test puts into this folder."""
    monkeypatch.setattr(os, "environ", {"PATH": str(tmp_path)})
    monkeypatch.setattr(engines, "FIREFOX_ON_A_MAC", tmp_path / "none")
    monkeypatch.setattr(engines, "MINI_BROWSERS", ("nowhere/MiniBrowser",))
    return tmp_path


def test_firefox_is_found(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engines.find_firefox() is None
    path = program(bare, "firefox")
    assert engines.find_firefox() == str(path) and engines.missing("firefox") is None
    monkeypatch.setenv("FIREFOX", str(bare / "other"))
    with pytest.raises(TaskError, match="FIREFOX="):
        engines.find_firefox()


def test_webkit_needs_all_its_parts(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(bare, "WebKitWebDriver")
    assert engines.find_webkit() is None
    program(bare, "Xvfb")
    assert engines.find_webkit() is None
    monkeypatch.setattr(engines, "MINI_BROWSERS", ("bin/env",))
    found = engines.find_webkit()
    assert found is not None and found.driver == str(bare / "WebKitWebDriver")


@pytest.mark.parametrize(("engine", "package"), [("firefox", "firefox-esr"), ("webkit", "webkit2gtk-driver")])
def test_what_is_missing_is_named(bare: Path, engine: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "may_install", lambda: False)
    with pytest.raises(TaskError, match=package):
        engines.ensure_engine(engine)


def test_the_others_may_be_missing(
    bare: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(debian, "may_install", lambda: False)
    program(bare, "chromium")
    engines.ensure_what_can_be_had()
    said = capsys.readouterr().err
    assert "firefox-esr" in said and "xvfb" in said and said.count("skipped") == 2
