"""Equal sources give equal bytes, whatever the folder, time, zone, locale, umask and seed of hashes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from buildtools.common import BUILD, DIST, NODE_MODULES, ROOT, VENV
from buildtools.javascript import bundle
from buildtools.report import files_of
from buildtools.sbom import SUMS
from buildtools.wheels import own_files, write_wheel

pytestmark = [
    pytest.mark.cpython,
    pytest.mark.skipif(not (DIST / SUMS).exists(), reason="dist/ is not built"),
]
NOT_SOURCES = (".git", ".venv", "node_modules", "build", "dist", "__pycache__", ".*_cache", ".hypothesis")
LONG_AGO = 981_173_106  # seconds: February 2001


def linked(source: Path, target: Path) -> None:
    """A copy of a tree without its bytes, where the file system can; links by name would lead back to the first one."""

    def link(old: str, new: str) -> None:
        try:
            os.link(old, new)
        except OSError:
            shutil.copy2(old, new)

    shutil.copytree(source.resolve(), target, symlinks=True, copy_function=link)


def test_the_worker_bundled_in_another_folder(tmp_path: Path) -> None:
    other = tmp_path / "another place"
    shutil.copytree(ROOT / "javascript", other / "javascript")
    shutil.copy2(ROOT / "tsconfig.json", other)
    for name in ("@noble", "libsodium-sumo"):
        linked(NODE_MODULES / name, other / "node_modules" / name)
    target = other / "build" / "dist" / "worker.js"
    bundle(other / "javascript" / "worker" / "worker.js", target)
    for name in ("worker.js", "worker.js.map"):
        assert target.with_name(name).read_bytes() == (DIST / name).read_bytes()


def test_our_wheel_made_again(tmp_path: Path) -> None:
    name, version, files = own_files()
    wheel = write_wheel(tmp_path, dict(reversed(files.items())), name=name, version=version, tag="py3-none-any")
    assert wheel.read_bytes() == (DIST / wheel.name).read_bytes()


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_dist_made_again_somewhere_else(tmp_path: Path) -> None:
    """Everything, from nothing but the sources and the downloaded wheels."""
    other = tmp_path / "another place" / "of other depth" / "checkout"
    shutil.copytree(ROOT, other, ignore=shutil.ignore_patterns(*NOT_SOURCES))
    for path in other.rglob("*"):
        if path.is_file():
            os.utime(path, (LONG_AGO, LONG_AGO))
    linked(NODE_MODULES, other / "node_modules")
    (other / ".venv").symlink_to(VENV.resolve())
    shutil.copytree(BUILD / "wheels", other / "build" / "wheels")
    (other / "build" / "stamps").mkdir()
    shutil.copyfile(BUILD / "stamps" / "wheels", other / "build" / "stamps" / "wheels")
    different = {
        "TZ": "Pacific/Kiritimati",
        "LC_ALL": "C",
        "LANG": "C",
        "PYTHONHASHSEED": "4242",
        "SOURCE_DATE_EPOCH": "1000000000",
    }
    subprocess.run(
        [sys.executable, "build.py", "build"],
        cwd=other,
        env={**os.environ, **different, "PYTHONPATH": ""},
        umask=0o077,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    ours, theirs = (
        {path.relative_to(folder).as_posix(): path for path in files_of(folder)} for folder in (DIST, other / "dist")
    )
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name].read_bytes() != theirs[name].read_bytes()] == []
