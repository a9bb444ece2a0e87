"""Licences of everything that the package carries, as their owners ask: one text file, made from what is shipped."""

from __future__ import annotations

import json
from pathlib import Path

from .common import NODE_MODULES, ROOT, TaskError
from .javascript import NODE_LIBRARIES
from .libraries import fetch_libraries
from .parts import wheel_metadata
from .wheels import read_zip

LINE = "=" * 100
# Pyodide's npm package brings no texts along. PSF and MPL are written out further below, where libraries bring them.
INTERPRETER = """\
The interpreter (pyodide.asm.wasm, its scripts inside worker.js, the standard library inside python.zst) is Pyodide
{version}, Mozilla Public License 2.0, https://github.com/pyodide/pyodide, with parts taken out and otherwise unchanged.
It contains:

CPython 3.14 and its standard library: Copyright (c) 2001 Python Software Foundation; All Rights Reserved. Licensed
  under the PSF License Agreement, https://docs.python.org/3/license.html, which names the parts of others in it.
Emscripten and its system libraries: MIT and University of Illinois/NCSA licences, https://emscripten.org.
musl (MIT), LLVM's compiler-rt (Apache-2.0 with LLVM exception), libffi (MIT), HACL* (MIT), zlib (zlib licence),
  Zstandard (BSD-3-Clause, Copyright (c) Meta Platforms, Inc. and affiliates), libmpdec (BSD-2-Clause),
  hiwire (Mozilla Public License 2.0, https://github.com/hoodmane/hiwire).

The source of what is under the Mozilla Public License is at the addresses named."""


def notices() -> str:
    """Name, version, licence and the texts of every library in the package."""
    version = json.loads((NODE_MODULES / "pyodide" / "package.json").read_text())["version"]
    parts = ["smolmix-web carries the work of others.", INTERPRETER.format(version=version)]
    dependencies = json.loads((ROOT / "package.json").read_text())["dependencies"]
    for name in sorted({*dependencies, *NODE_LIBRARIES} - {"pyodide"}):
        folder = NODE_MODULES / name
        about = json.loads((folder / "package.json").read_text())
        texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("LICEN[CS]E*"))]
        parts.append(section(name, about["version"], about["license"], texts))
    for name, wheel in sorted(fetch_libraries().items()):
        parts.append(wheel_section(name, wheel))
    return f"\n\n{LINE}\n\n".join(parts) + "\n"


def wheel_section(name: str, wheel: Path) -> str:
    files = read_zip(wheel)
    info = {path: data for path, data in files.items() if ".dist-info/" in path}
    about = wheel_metadata(files)
    licence = about["License-Expression"] or about["License"] or "see below"
    texts = [data.decode() for path, data in sorted(info.items()) if Path(path).name.startswith(("LICENSE", "NOTICE"))]
    return section(name, about["Version"], licence, texts)


def section(name: str, version: str, licence: str, texts: list[str]) -> str:
    if not texts:
        raise TaskError(f"{name} has no text of its licence: update buildtools/notices.py")
    return "\n\n".join([f"{name} {version} ({licence})", *(text.strip() for text in texts)])
