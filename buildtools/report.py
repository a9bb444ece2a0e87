"""What ships: every file of dist/ with its raw and gzip size, and the sum of what a first page load fetches."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .common import DIST

# What the page API, the worker and Pyodide fetch on a first load, in this order; the browser tests compare it with
# the requests of a real page.
FIRST_LOAD = (
    "index.js",
    "worker.js",
    "pyodide/pyodide.mjs",
    "pyodide/pyodide-lock.json",
    "pyodide/pyodide.asm.mjs",
    "pyodide/pyodide.asm.wasm",
    "pyodide/python.zst",
)


@dataclass(frozen=True)
class Shipped:
    name: str
    raw: int
    gzip: int
    first_load: bool


def shipped_files(folder: Path = DIST) -> list[Shipped]:
    """Every file below `folder`, sorted by name. gzip is level 9 without a name or time in its header."""
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            data = path.read_bytes()
            files.append(Shipped(name, len(data), _gzip_size(data), name in FIRST_LOAD))
    return files


def _gzip_size(data: bytes) -> int:
    return len(gzip.compress(data, 9, mtime=0))


def summary(files: list[Shipped]) -> dict[str, Any]:
    """The object of `build --json`; sizes in bytes."""
    first = [file for file in files if file.first_load]
    return {
        "files": [{"name": f.name, "raw": f.raw, "gzip": f.gzip, "first_load": f.first_load} for f in files],
        "first_load": {"files": len(first), "raw": sum(f.raw for f in first), "gzip": sum(f.gzip for f in first)},
    }


def table(files: list[Shipped]) -> str:
    """The same for people."""
    width = max((len(file.name) for file in files), default=0)
    lines = [f"{'file':<{width}}  {'raw':>10}  {'gzip':>10}  first load"]
    lines += [
        f"{file.name:<{width}}  {file.raw:>10,}  {file.gzip:>10,}  {'yes' if file.first_load else ''}".rstrip()
        for file in files
    ]
    total = summary(files)["first_load"]
    lines.append(f"{'sum of a first page load':<{width}}  {total['raw']:>10,}  {total['gzip']:>10,}")
    return "\n".join(lines)
