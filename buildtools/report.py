"""What ships: every file of dist/ with its size, raw and compressed, and the sum of what a first page load fetches.

The build ends with an error when that sum is above the budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .common import DIST, TaskError

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
# Bytes that a first page load may fetch, by content coding.
BUDGET = {"gzip": 4_900_000, "brotli": 3_900_000}
# The documentation site: it lies in dist/ (docs.py), and no list of what is shipped has it.
DOCS = "docs"
# What each file is also there as, for servers that send it so (docs/deploying.md).
CODINGS = {"gzip": ".gz", "brotli": ".br"}


@dataclass(frozen=True)
class Shipped:
    """Sizes in bytes; a coding that does not make a file smaller has its raw size."""

    name: str
    raw: int
    gzip: int
    brotli: int
    first_load: bool


def shipped_files(folder: Path = DIST) -> list[Shipped]:
    """Every file below `folder`, sorted by name, with the sizes of the compressed files beside it."""
    files = []
    for path in source_files(folder):
        name = path.relative_to(folder).as_posix()
        raw = path.stat().st_size
        gzip, brotli = (_size(path.with_name(path.name + suffix), raw) for suffix in CODINGS.values())
        files.append(Shipped(name, raw, gzip, brotli, name in FIRST_LOAD))
    return files


def source_files(folder: Path) -> list[Path]:
    """What is served below a folder, without the compressed forms."""
    suffixes = tuple(CODINGS.values())
    return [path for path in files_of(folder) if not path.name.endswith(suffixes)]


def files_of(folder: Path) -> list[Path]:
    """Every file of a dist/, sorted; not those of the documentation site."""
    site = folder / DOCS
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and site not in path.parents]


def _size(path: Path, raw: int) -> int:
    return path.stat().st_size if path.exists() else raw


def check_budget(files: list[Shipped], budget: Mapping[str, int] = BUDGET) -> None:
    """`TaskError` when a first page load fetches more than it may."""
    first = summary(files)["first_load"]
    for coding, limit in budget.items():
        if first[coding] > limit:
            raise TaskError(f"a first page load fetches {first[coding]:,} bytes of {coding}, {limit:,} are allowed")


def summary(files: list[Shipped]) -> dict[str, Any]:
    """The object of `build --json`; sizes in bytes."""
    first = [file for file in files if file.first_load]
    return {
        "files": [asdict(file) for file in files],
        "first_load": {
            "files": len(first),
            "raw": sum(f.raw for f in first),
            "gzip": sum(f.gzip for f in first),
            "brotli": sum(f.brotli for f in first),
        },
    }


def sentence(files: list[Shipped]) -> str:
    """The sum in megabytes, as docs/deploying.md says it (a test compares them)."""
    first = summary(files)["first_load"]
    brotli, gzip, raw = (f"{first[form] / 1e6:.1f} MB" for form in ("brotli", "gzip", "raw"))
    return f"A first visit loads {brotli} with brotli, {gzip} with gzip; uncompressed {raw}."


def table(files: list[Shipped]) -> str:
    """The same for people."""
    width = max((len(file.name) for file in files), default=0)
    lines = [f"{'file':<{width}}  {'raw':>10}  {'gzip':>10}  {'brotli':>10}  first load"]
    lines += [
        f"{file.name:<{width}}  {file.raw:>10,}  {file.gzip:>10,}  {file.brotli:>10,}"
        f"  {'yes' if file.first_load else ''}".rstrip()
        for file in files
    ]
    total = summary(files)["first_load"]
    lines.append(
        f"{'sum of a first page load':<{width}}  {total['raw']:>10,}  {total['gzip']:>10,}  {total['brotli']:>10,}"
    )
    return "\n".join(lines)
