"""`build.py release --check`: content with what is right, and one line for each thing that is wrong."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from buildtools import release
from buildtools.common import ROOT
from buildtools.release import (
    IN_GUEST_WHEEL,
    IN_TARBALL,
    IN_WHEEL,
    check_changelog,
    check_lists,
    check_metadata,
    check_tarball,
    check_tree,
    check_versions,
    check_wheels,
    versions,
)
from buildtools.sbom import BILL, SUMS, write_sums

pytestmark = pytest.mark.cpython
METADATA = "Metadata-Version: 2.4\nName: smolmix-web\nVersion: 1.2.3\nSummary: x\n"


def checkout(root: Path, **different: str) -> Path:
    """A checkout in small; `different`: versions that are not 1.2.3."""

    def at(place: str) -> str:
        return different.get(place, "1.2.3")

    (root / "smolmix_web").mkdir()
    (root / "pyproject.toml").write_text(f'[project]\nname = "x"\nversion = "{at("project")}"\n')
    (root / "package.json").write_text(json.dumps({"version": at("package")}))
    lock = {"version": at("lock"), "packages": {"": {"version": at("inner")}}}
    (root / "package-lock.json").write_text(json.dumps(lock))
    (root / "smolmix_web" / "__init__.py").write_text(f'__version__ = "{at("python")}"\n')
    return root


def test_one_version(tmp_path: Path) -> None:
    assert list(check_versions(checkout(tmp_path))) == []


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("package", "package.json"),
        ("lock", "package-lock.json"),
        ("inner", "package-lock.json (packages"),
        ("python", "smolmix_web/__init__.py"),
    ],
)
def test_another_version(tmp_path: Path, place: str, named: str) -> None:
    (line,) = check_versions(checkout(tmp_path, **{place: "1.2.4"}))
    assert line.startswith(named) and "1.2.4" in line and line.endswith("write 1.2.3 there")


def test_no_semantic_version(tmp_path: Path) -> None:
    lines = list(check_versions(checkout(tmp_path, project="1.2")))
    assert lines[0] == "pyproject.toml: 1.2 is no semantic version: write X.Y.Z"


def test_versions_of_this_checkout_agree() -> None:
    assert len(set(versions(ROOT).values())) == 1


@pytest.mark.parametrize("head", ["## 1.2.3 (2026-01-31)", "## 1.2.3 (unreleased)", "## 1.2.3 (Unreleased)"])
def test_changelog(head: str) -> None:
    assert list(check_changelog(f"# Changelog\n\n{head}\n\n* Something.\n\n## 1.2.2 (2025-01-01)\n", "1.2.3")) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# Changelog\n", "begins with"),
        ("## 1.2.2 (2026-01-31)\n* Something.\n", 'write "## 1.2.3'),
        ("## 1.2.3\n* Something.\n", "YYYY-MM-DD"),
        ("## 1.2.3 (soon)\n* Something.\n", "YYYY-MM-DD"),
        ("## 1.2.3 (unreleased)\n\n## 1.2.2 (2026-01-31)\n* Something.\n", "is empty"),
    ],
)
def test_changelog_that_lacks_something(text: str, words: str) -> None:
    assert any(words in line for line in check_changelog(text, "1.2.3"))


def pack(folder: Path, *names: str, version: str = "1.2.3") -> Path:
    path = folder / "smolmix-web-1.2.3.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            data = json.dumps({"version": version}).encode()
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def test_tarball(tmp_path: Path) -> None:
    assert list(check_tarball(pack(tmp_path, *IN_TARBALL), "1.2.3")) == []


def test_tarball_that_is_missing_or_wrong(tmp_path: Path) -> None:
    (line,) = check_tarball(tmp_path / "smolmix-web-1.2.3.tgz", "1.2.3")
    assert line.endswith("run `python3 build.py npm`")
    names = [name for name in IN_TARBALL if name != "dist/worker.js"]
    missing, extra, other = check_tarball(pack(tmp_path, *names, "dist/worker.js.map", version="1.2.2"), "1.2.3")
    assert "has no dist/worker.js" in missing and "dist/worker.js.map" in extra and "1.2.2" in other


def wheel(folder: Path, tag: str, names: tuple[str, ...], metadata: str = METADATA) -> Path:
    path = folder / f"smolmix_web-1.2.3-{tag}.whl"
    info = "smolmix_web-1.2.3.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (*names, f"{info}/RECORD", f"{info}/licenses/LICENSE"):
            archive.writestr(name, b"")
        archive.writestr(f"{info}/METADATA", metadata)
    return path


def test_wheels(tmp_path: Path) -> None:
    wheel(tmp_path, "py3-none-any", IN_WHEEL)
    wheel(tmp_path, "cp311-abi3-pyemscripten_2026_0_wasm32", IN_GUEST_WHEEL)
    assert list(check_wheels(tmp_path, "1.2.3")) == []


def test_wheels_that_are_missing_or_wrong(tmp_path: Path) -> None:
    wheel(tmp_path, "py3-none-any", IN_WHEEL[1:], METADATA.replace("1.2.3", "1.2.2"))
    lacking, other, missing = check_wheels(tmp_path, "1.2.3")
    assert "has no smolmix_web/__init__.py" in lacking and "1.2.2" in other and "0 wheels" in missing


def test_metadata_that_the_index_would_refuse(tmp_path: Path) -> None:
    good = wheel(tmp_path, "py3-none-any", (), METADATA + "Description-Content-Type: text/markdown\n\n# Text\n")
    assert list(check_metadata([good])) == []
    bad = wheel(tmp_path, "py2-none-any", (), METADATA.replace("Version: 1.2.3", "Version: one"))
    (line,) = check_metadata([bad])
    assert "twine check" in line and "\n" not in line


def test_lists(tmp_path: Path) -> None:
    (tmp_path / "index.js").write_bytes(b"1")
    (line, other) = check_lists(tmp_path, lambda folder: "a bill")
    assert BILL in line and SUMS in other and "missing" in line
    (tmp_path / BILL).write_text("a bill")
    write_sums(tmp_path)
    assert list(check_lists(tmp_path, lambda folder: "a bill")) == []
    (line,) = check_lists(tmp_path, lambda folder: "another")
    assert BILL in line
    (tmp_path / "index.js").write_bytes(b"2")
    (line,) = check_lists(tmp_path, lambda folder: "a bill")
    assert SUMS in line


def test_the_tree_is_clean(tmp_path: Path) -> None:
    (line,) = check_tree(tmp_path)
    assert "no git checkout" in line
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    assert list(check_tree(tmp_path)) == []
    (tmp_path / "new.py").write_text("")
    assert list(check_tree(tmp_path)) == ["new.py is not committed: commit it, or take it away"]


def test_the_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(release, "complaints", lambda: iter(["one thing", "another"]))
    assert release.check() == 1
    assert capsys.readouterr().out == "one thing\nanother\n"
    monkeypatch.setattr(release, "complaints", lambda: iter(()))
    assert release.check() == 0
    assert "may be released" in capsys.readouterr().err
