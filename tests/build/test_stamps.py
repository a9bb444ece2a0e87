"""Stamps: a step is skipped only while what it reads and what it makes are as they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildtools.stamps import Stamp, files_below, fingerprint


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a.py").write_text("a")
    (source / "sub" / "b.py").write_text("b")
    return source


def test_life_of_a_stamp(tmp_path: Path, tree: Path) -> None:
    output = tmp_path / "output"
    stamps = tmp_path / "stamps"

    def stamp() -> Stamp:
        return Stamp("step", [tree, "option"], folder=stamps)

    assert not stamp().current(output)
    stamp().write()
    assert not stamp().current(output)
    output.write_text("made")
    assert stamp().current(output)
    (tree / "a.py").write_text("changed")
    assert not stamp().current(output)
    (tree / "a.py").write_text("a")
    assert stamp().current(output)
    stamp().clear()
    assert not stamp().current(output)
    stamp().clear()


def test_fingerprint_sees_names_contents_and_borders(tree: Path) -> None:
    first = fingerprint([tree])
    (tree / "a.py").rename(tree / "c.py")
    renamed = fingerprint([tree])
    assert renamed != first
    (tree / "c.py").rename(tree / "a.py")
    assert fingerprint([tree]) == first
    (tree / "sub" / "b.py").unlink()
    assert fingerprint([tree]) != first
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])


def test_fingerprint_does_not_see_times_caches_or_places(tmp_path: Path, tree: Path) -> None:
    first = fingerprint([tree])
    os.utime(tree / "a.py", (1, 1))
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__" / "a.cpython-314.pyc").write_bytes(b"x")
    assert fingerprint([tree]) == first
    assert [p.name for p in files_below(tree)] == ["a.py", "b.py"]
    moved = tmp_path / "elsewhere"
    tree.rename(moved)
    assert fingerprint([moved]) == first


def test_a_missing_input_is_a_state_of_its_own(tree: Path) -> None:
    empty = tree / "empty"
    gone = fingerprint([empty])
    empty.write_text("")
    assert fingerprint([empty]) != gone
