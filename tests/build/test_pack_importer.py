"""The pack's own importer: what it finds is what zipimport would, and is loaded as it would be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from buildtools.common import ROOT
from buildtools.wheels import write_zip

SOURCES = {
    "single.py": "VALUE = 1",
    "package/__init__.py": "from . import inner",
    "package/inner.py": "from .deep import last",
    "package/deep/__init__.py": "",
    "package/deep/last.py": "VALUE = __name__",
    "broken.py": "1 / 0",
}
DATA = {"package/data.txt": b"some data"}

# Prints what is asked of the modules; with the importer where the first argument names it.
PROGRAM = """
import importlib, json, sys, zipimport
archive, importer = sys.argv[1:3]
zipimport.zipimporter(archive)
sys.path.insert(0, archive)
if importer:
    exec(compile(open(importer).read(), importer, "exec"), {"__name__": "sitecustomize"})
finders = [finder for finder in sys.meta_path if hasattr(finder, "rest")]
assert len(finders) == bool(importer), finders
found = {}
for name in ["single", "package", "package.inner", "package.deep.last"]:
    module = importlib.import_module(name)
    for finder in finders:
        finder.rest()
    spec = module.__spec__
    found[name] = [
        module.__file__, spec.origin, spec.cached, spec.parent, list(getattr(module, "__path__", [])),
        module.__loader__.is_package(name), module.__loader__.get_filename(name), module.__loader__.prefix,
        module.__loader__.get_code(name).co_names,
        type(module.__loader__).__name__,
    ]
found["data"] = sys.modules["package"].__loader__.get_data(f"{archive}/package/data.txt").decode()
for name in ["absent", "package.absent", "single.absent"]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        found[name] = str(error)
try:
    importlib.import_module("broken")
except ZeroDivisionError:
    found["broken"] = "broken" in sys.modules
print(json.dumps(found))
"""
COMPILE = """
import importlib._bootstrap_external as external, json, sys
sources = json.loads(sys.argv[1])
codes = {name: compile(text, name, "exec") for name, text in sources.items()}
print(json.dumps({n + "c": external._code_to_hash_pyc(code, bytes(8), False).hex() for n, code in codes.items()}))
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    listed = subprocess.run([sys.executable, "-c", COMPILE, json.dumps(SOURCES)], capture_output=True, check=True)
    files = {name: bytes.fromhex(data) for name, data in json.loads(listed.stdout).items()}
    path = tmp_path_factory.mktemp("pack") / "pack.zip"
    write_zip(path, {**files, **DATA}, compress=False)
    return path


def imported(archive: Path, importer: str) -> dict[str, Any]:
    command = [sys.executable, "-c", PROGRAM, str(archive), importer]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_modules_are_as_zipimport_makes_them(archive: Path) -> None:
    ours = imported(archive, str(ROOT / "buildtools" / "pack_importer.py"))
    theirs = imported(archive, "")
    assert {name: facts[:-1] if isinstance(facts, list) else facts for name, facts in ours.items()} == {
        name: facts[:-1] if isinstance(facts, list) else facts for name, facts in theirs.items()
    }
    assert [ours[name][-1] for name in ("single", "package", "package.inner", "package.deep.last")] == [
        "PackLoader"
    ] * 4
    assert ours["broken"] is False
    assert set(ours) >= {"absent", "package.absent", "single.absent"}
