"""Stamps: a step is current when the hash of everything it reads equals the one noted when it last succeeded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from .common import BUILD

IGNORED = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "node_modules"}


def files_below(folder: Path) -> list[Path]:
    """Every source file below `folder`, sorted, without caches."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc" and IGNORED.isdisjoint(p.parts))


def fingerprint(inputs: Iterable[Path | str]) -> str:
    """SHA-256 over strings, file contents and folder trees (names relative to each folder), in the order given."""
    digest = hashlib.sha256()

    def add(label: str, data: bytes) -> None:
        digest.update(f"{label}\0{len(data)}\0".encode())
        digest.update(data)

    for item in inputs:
        if isinstance(item, str):
            add("text", item.encode())
        elif item.is_dir():
            for file in files_below(item):
                add(str(file.relative_to(item)), file.read_bytes())
        elif item.is_file():
            add(item.name, item.read_bytes())
        else:
            add(item.name, b"<missing>")
    return digest.hexdigest()


class Stamp:
    """Remembers one step's fingerprint in a file, by default below build/stamps."""

    def __init__(self, name: str, inputs: Iterable[Path | str], *, folder: Path | None = None) -> None:
        self.path = (folder or BUILD / "stamps") / name
        self.value = fingerprint(inputs)

    def current(self, *outputs: Path) -> bool:
        """True when the inputs are those of the last success and all `outputs` exist."""
        try:
            noted = self.path.read_text()
        except OSError:
            return False
        return noted == self.value and all(output.exists() for output in outputs)

    def clear(self) -> None:
        """Before the step starts: a step that dies half-way must not look current."""
        self.path.unlink(missing_ok=True)

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.value)
