"""What is shipped, by name: libraries of npm and of Python, and what the interpreter is made of.

The bill of materials (sbom.py) is made from it. Of npm's libraries those count whose files esbuild took, as the source
maps name them: not what package.json asks for, but what is there.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

from .common import NODE_MODULES, ROOT, TaskError
from .wheels import Files

PYODIDE = "pyodide"
# Of the interpreter, beside CPython and Emscripten, whose versions Pyodide's lock tells. Its npm package names no other
# version, nor these parts; notices.py has their licences in words.
INTERPRETER_PARTS = {
    "musl": "MIT",
    "compiler-rt": "Apache-2.0 WITH LLVM-exception",
    "libffi": "MIT",
    "HACL*": "MIT",
    "zlib": "Zlib",
    "Zstandard": "BSD-3-Clause",
    "libmpdec": "BSD-2-Clause",
    "hiwire": "MPL-2.0",
}
# Of wheels whose metadata has no expression: the old field is a text, or empty.
LICENCES = {"certifi": "MPL-2.0", "hyperframe": "MIT", "rtls": "MIT"}


@dataclass(frozen=True)
class Part:
    """A library as its registry has it. `digest`: algorithm as CycloneDX names it, and the hash in hex."""

    name: str
    version: str
    licence: str
    purl: str
    digest: tuple[str, str]


def bundled_packages(folder: Path) -> list[str]:
    """Names of the npm packages that the scripts in `folder` were made of; Pyodide's own are no bundles."""
    found: set[str] = set()
    for path in folder.glob("*.js.map"):
        for source in json.loads(path.read_text(encoding="utf-8"))["sources"]:
            match = re.search(r"(?:^|/)node_modules/((?:@[^/]+/)?[^/]+)/", source)
            if match:
                found.add(match[1])
    return sorted(found)


def npm_part(name: str) -> Part:
    """What package-lock.json pins; the licence as the package itself says."""
    entry = json.loads((ROOT / "package-lock.json").read_text())["packages"].get(f"node_modules/{name}")
    if entry is None:
        raise TaskError(f"{name} is in the scripts, but not in package-lock.json: run `npm install`")
    about = json.loads((NODE_MODULES / name / "package.json").read_text())
    algorithm, _, digest = entry["integrity"].partition("-")
    if algorithm != "sha512":
        raise TaskError(f"package-lock.json has no SHA-512 of {name}: update buildtools/parts.py")
    purl = f"pkg:npm/{name.replace('@', '%40')}@{entry['version']}"
    return Part(name, entry["version"], about["license"], purl, ("SHA-512", base64.b64decode(digest).hex()))


def wheel_metadata(files: Files) -> Message:
    text = next(data for path, data in files.items() if path.endswith(".dist-info/METADATA"))
    return Parser().parsestr(text.decode())


def wheel_part(name: str, files: Files, sha256: str) -> Part:
    """A library of the Python index, from the files of its wheel."""
    about = wheel_metadata(files)
    licence = about["License-Expression"] or LICENCES.get(name)
    if not licence:
        raise TaskError(f"{name} names no licence by its SPDX identifier: update LICENCES in buildtools/parts.py")
    return Part(name, about["Version"], licence, f"pkg:pypi/{name}@{about['Version']}", ("SHA-256", sha256))


def crates(files: Files) -> list[dict[str, Any]]:
    """Components of the bill that a wheel brings along for what is compiled into it."""
    kept = ("type", "name", "version", "hashes", "licenses", "purl")
    found = []
    for path, data in sorted(files.items()):
        if "/sboms/" in path and path.endswith(".json"):
            for component in json.loads(data)["components"]:
                found.append({key: component[key] for key in kept if key in component})
    return sorted(found, key=lambda one: (one["name"], one["version"]))


def interpreter_parts() -> list[tuple[str, str | None, str]]:
    """Name, version where it is known, and licence."""
    info = json.loads((NODE_MODULES / PYODIDE / "pyodide-lock.json").read_text())["info"]
    emscripten = info["platform"].removeprefix("emscripten_").replace("_", ".")
    known: list[tuple[str, str | None, str]] = [
        ("CPython", info["python"], "PSF-2.0"),
        ("Emscripten", emscripten, "MIT OR NCSA"),
    ]
    return [*known, *((name, None, licence) for name, licence in INTERPRETER_PARTS.items())]
