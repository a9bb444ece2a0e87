"""A Pyodide of somebody else's, as its users have it: npm's package as it is, micropip in its lock file, and an index.

`write_site` makes a folder with `pyodide/` (what `loadPyodide({indexURL})` wants), `pyscript/` (also of npm), `simple/`
(an index, PEP 503), `wheels/` and `examples/`. Nothing of ours is in it but the wheels in the index, and the examples.

    python -m browserkit.guest FOLDER
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from buildtools.common import DIST, NODE_MODULES, ROOT
from buildtools.libraries import fetch_guest_packages
from buildtools.wheels import read_zip

CORE = NODE_MODULES / "pyodide"
CORE_FILES = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")
PYSCRIPT = NODE_MODULES / "@pyscript" / "core" / "dist"
IN_THE_LOCK = "micropip"
BLANK = '<!doctype html><meta charset="utf-8"><title>page</title><link rel="icon" href="data:,">\n'
WORKER = ROOT / "browserkit" / "guest_worker.js"


def write_site(folder: Path, own_wheels: Iterable[Path]) -> None:
    """An index of our wheels and those of requirements/pyodide-guest.lock; a blank page; a worker that runs Python."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(BLANK, encoding="utf-8")
    shutil.copyfile(WORKER, folder / "guest_worker.js")
    wheels = folder / "wheels"
    wheels.mkdir()
    listing: dict[str, list[Path]] = {}
    for wheel in [*own_wheels, *fetch_guest_packages()]:
        shutil.copyfile(wheel, wheels / wheel.name)
        listing.setdefault(wheel.name.split("-")[0].lower().replace("_", "-"), []).append(wheel)
    for name, files in listing.items():
        page = folder / "simple" / name / "index.html"
        page.parent.mkdir(parents=True)
        links = [f'<a href="../../wheels/{file.name}#sha256={_sha256(file)}">{file.name}</a>' for file in files]
        page.write_text(f"<!doctype html><title>{name}</title>{'<br>'.join(links)}\n", encoding="utf-8")
    _write_pyodide(folder / "pyodide", listing[IN_THE_LOCK][0])
    shutil.copytree(PYSCRIPT, folder / "pyscript", ignore=shutil.ignore_patterns("*.map"))
    shutil.copytree(ROOT / "examples" / "pyodide", folder / "examples")


def _write_pyodide(folder: Path, micropip: Path) -> None:
    folder.mkdir()
    for name in CORE_FILES:
        shutil.copyfile(CORE / name, folder / name)
    shutil.copyfile(micropip, folder / micropip.name)
    info = json.loads((CORE / "pyodide-lock.json").read_text())["info"]
    entry = {
        "name": IN_THE_LOCK,
        "version": micropip.name.split("-")[1],
        "file_name": micropip.name,
        "install_dir": "site",
        "sha256": _sha256(micropip),
        "package_type": "package",
        "imports": sorted({name.split("/")[0] for name in read_zip(micropip) if ".dist-info/" not in name}),
        "depends": [],
        "unvendored_tests": False,
    }
    (folder / "pyodide-lock.json").write_text(json.dumps({"info": info, "packages": {IN_THE_LOCK: entry}}))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    write_site(Path(sys.argv[1]), sorted(DIST.glob("*.whl")))
