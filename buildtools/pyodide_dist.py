"""Assemble dist/pyodide: Pyodide's core from npm, its standard library and our wheels as bytecode, our own lock file."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .common import BUILD, NODE_MODULES, ROOT, run, say
from .libraries import LIBRARIES, PURE, fetch_libraries, library_files
from .stamps import Stamp, fingerprint
from .wheels import Files, own_files, read_folder, read_zip, write_folder, write_wheel, write_zip

CORE = NODE_MODULES / "pyodide"
CORE_FILES = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm")
STDLIB_LOCATION = "/lib/python314.zip"
SITE_PACKAGES = "/lib/python3.14/site-packages"
COMPILER = [ROOT / "buildtools" / name for name in ("bytecode.py", "bytecode.mjs")]


@dataclass(frozen=True)
class Package:
    """One package of the distribution, compiled, with its dist-info."""

    name: str
    version: str
    tag: str
    files: Files
    depends: tuple[str, ...] = ()

    @property
    def imports(self) -> list[str]:
        return sorted({name.split("/")[0] for name in self.files if ".dist-info/" not in name})


def compile_files(sources: Sequence[tuple[Files, str]]) -> list[Files]:
    """Each (source files, import location) with .py replaced by .pyc, by the interpreter that is shipped."""
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="bytecode-") as scratch:
        jobs = []
        for index, (files, location) in enumerate(sources):
            source, target = Path(scratch, f"source{index}"), Path(scratch, f"target{index}")
            write_folder(source, files)
            target.mkdir()
            jobs.append({"source": str(source), "target": str(target), "location": location})
        listing = Path(scratch, "jobs.json")
        listing.write_text(json.dumps(jobs))
        run(["node", COMPILER[1], CORE, listing])
        return [read_folder(Path(job["target"])) for job in jobs]


def compiled_stdlib() -> Files:
    """The whole standard library of Pyodide as bytecode; made once per Pyodide version."""
    path = BUILD / "stdlib.zip"
    stamp = Stamp("stdlib", [CORE / "package.json", *COMPILER])
    if not stamp.current(path):
        say("compiling the standard library")
        stamp.clear()
        files = {k: v for k, v in read_zip(CORE / "python_stdlib.zip").items() if k.endswith(".py")}
        write_zip(path, compile_files([(files, STDLIB_LOCATION)])[0])
        stamp.write()
    return read_zip(path)


def compiled_packages() -> list[Package]:
    """Our package and the libraries it needs, compiled."""
    sources: list[tuple[str, str, str, Files, tuple[str, ...]]] = []
    for name, wheel in fetch_libraries().items():
        version, files = library_files(name, wheel)
        sources.append((name, version, LIBRARIES[name].tag, files, ()))
    own_name, own_version, files = own_files()
    files = {name: data for name, data in files.items() if not name.endswith("py.typed")}
    sources.append((own_name, own_version, PURE, files, tuple(sorted(LIBRARIES))))
    compiled = compile_files([(files, SITE_PACKAGES) for *_, files, _ in sources])
    return [
        Package(name, version, tag, files, depends)
        for (name, version, tag, _, depends), files in zip(sources, compiled, strict=True)
    ]


def write_distribution(folder: Path, stdlib: Files, packages: Sequence[Package]) -> None:
    """Core, standard library, wheels and lock file: `loadPyodide({indexURL, packages: ["smolmix-web"]})` works on it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CORE_FILES:
        shutil.copyfile(CORE / name, folder / name)
    write_zip(folder / "python_stdlib.zip", stdlib)
    entries = {}
    for package in packages:
        wheel = write_wheel(folder, package.files, name=package.name, version=package.version, tag=package.tag)
        entries[package.name] = lock_entry(wheel, package)
    info = json.loads((CORE / "pyodide-lock.json").read_text())["info"]
    (folder / "pyodide-lock.json").write_text(json.dumps({"info": info, "packages": entries}, indent=1, sort_keys=True))


def lock_entry(wheel: Path, package: Package) -> dict[str, object]:
    """What pyodide-lock.json says of one wheel; names and versions as Pyodide wants them."""
    return {
        "name": package.name,
        "version": package.version,
        "file_name": wheel.name,
        "install_dir": "site",
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "package_type": "package",
        "imports": package.imports,
        "depends": list(package.depends),
        "unvendored_tests": False,
    }


def distribution_inputs() -> str:
    """Fingerprint of everything the distribution is made of."""
    return fingerprint(
        [
            ROOT / "smolmix_web",
            ROOT / "buildtools",
            ROOT / "pyproject.toml",
            ROOT / "package-lock.json",
            ROOT / "requirements" / "pyodide.lock",
            ROOT / "README.md",
        ]
    )
