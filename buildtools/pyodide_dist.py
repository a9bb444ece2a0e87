"""Assemble dist/pyodide: Pyodide's core from npm, the standard library and our wheels as bytecode, our own lock."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .closure import Imports, check, left_out, module_name, needed_stdlib, read_imports
from .common import BUILD, NODE_MODULES, PYTHON, ROOT, run, say
from .libraries import LIBRARIES, PURE, fetch_libraries, library_files
from .stamps import Stamp, fingerprint
from .stdlib_edits import adapt_stdlib
from .trim import trimmed_interpreter
from .wheels import Files, own_files, read_folder, read_zip, write_folder, write_wheel, write_zip

CORE = NODE_MODULES / "pyodide"
CORE_FILES = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm")
STDLIB_LOCATION = "/lib/python314.zip"
SITE_PACKAGES = "/lib/python3.14/site-packages"
PRELOAD, CLASSES = "smolmix_web.bridge.preload", "smolmix_web/bridge/classes.bin"
COMPILER = [ROOT / "buildtools" / name for name in ("bytecode.py", "bytecode.mjs")]
EDITS = ROOT / "buildtools" / "stdlib_edits.py"
IMPORTER = ROOT / "buildtools" / "pack_importer.py"


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


def compile_files(
    sources: Sequence[tuple[Files, str]], *classes: str
) -> tuple[list[Files], list[dict[str, Imports]], set[str]]:
    """Compile each (source files, import location) with the interpreter that is shipped.

    `classes`: a module whose import shows which methods to compile beforehand, and the file for them in the last tree.
    Returns the trees with .py replaced by .pyc, the imports of each tree, and the interpreter's built-in modules.
    """
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="bytecode-") as scratch:
        jobs = []
        for index, (files, location) in enumerate(sources):
            source, target = Path(scratch, f"source{index}"), Path(scratch, f"target{index}")
            write_folder(source, files)
            target.mkdir()
            jobs.append({"source": str(source), "target": str(target), "location": location})
        listing, result = Path(scratch, "jobs.json"), Path(scratch, "result.json")
        listing.write_text(json.dumps(jobs))
        run(["node", COMPILER[1], CORE, listing, result, *classes])
        found = json.loads(result.read_text())
        trees = [read_folder(Path(job["target"])) for job in jobs]
        return trees, [read_imports(imports) for imports in found["imports"]], set(found["builtin"])


@dataclass(frozen=True)
class Stdlib:
    """The whole standard library of Pyodide, compiled."""

    files: Files
    imports: dict[str, Imports]
    builtin: set[str]

    def part(self, modules: set[str]) -> Files:
        return {name: data for name, data in self.files.items() if module_name(name) in modules}


def compiled_stdlib() -> Stdlib:
    """Made once per Pyodide version and kept in build/."""
    path, listing = BUILD / "stdlib.zip", BUILD / "stdlib.json"
    stamp = Stamp("stdlib", [CORE / "package.json", *COMPILER, EDITS])
    if not stamp.current(path, listing):
        say("compiling the standard library")
        stamp.clear()
        sources = {k: v for k, v in read_zip(CORE / "python_stdlib.zip").items() if k.endswith(".py")}
        (files,), (imports,), builtin = compile_files([(adapt_stdlib(sources), STDLIB_LOCATION)])
        write_zip(path, files)
        plain = {name: {"top": found.top, "deep": found.deep} for name, found in imports.items()}
        listing.write_text(json.dumps({"imports": plain, "builtin": sorted(builtin)}))
        stamp.write()
    found = json.loads(listing.read_text())
    return Stdlib(read_zip(path), read_imports(found["imports"]), set(found["builtin"]))


def compiled_packages() -> tuple[list[Package], dict[str, Imports]]:
    """Our package and the libraries it needs, compiled, and what their modules import."""
    sources: list[tuple[str, str, str, Files, tuple[str, ...]]] = []
    for name, wheel in fetch_libraries().items():
        version, files = library_files(name, wheel)
        sources.append((name, version, LIBRARIES[name].tag, files, ()))
    own_name, own_version, files = own_files()
    files = {k: v for k, v in files.items() if not left_out(module_name(k)) and not k.endswith("py.typed")}
    sources.append((own_name, own_version, PURE, files, tuple(sorted(LIBRARIES))))
    trees, imports, _ = compile_files([(files, SITE_PACKAGES) for *_, files, _ in sources], PRELOAD, CLASSES)
    packages = [
        Package(name, version, tag, tree, depends)
        for (name, version, tag, _, depends), tree in zip(sources, trees, strict=True)
    ]
    return packages, {module: found for tree in imports for module, found in tree.items()}


def write_pack(path: Path, stdlib: Files, packages: Sequence[Package]) -> None:
    """What a first page load fetches of Python, as one file: a zip of everything, not compressed inside, under zstd.

    Compressed as a whole it is a third smaller than wheels with each file compressed for itself. What imports from it
    is in it.
    """
    (importer,), _, _ = compile_files([({"sitecustomize.py": IMPORTER.read_bytes()}, STDLIB_LOCATION)])
    files = {**stdlib, **importer}
    for package in packages:
        if package.name in LIBRARIES and LIBRARIES[package.name].on_demand:
            continue
        files.update({name: data for name, data in package.files.items() if ".dist-info/" not in name})
    plain = BUILD / "python.zip"
    write_zip(plain, files, compress=False)
    run([PYTHON, "-c", COMPRESS, plain, path])


COMPRESS = """
import sys
try:
    from compression import zstd
except ImportError:
    from backports import zstd
options = {zstd.CompressionParameter.compression_level: 19, zstd.CompressionParameter.window_log: 23}
with open(sys.argv[1], "rb") as source, open(sys.argv[2], "wb") as target:
    target.write(zstd.compress(source.read(), options=options))
"""


def write_distribution(folder: Path) -> None:
    """Write everything of dist/pyodide.

    A complete distribution, on which plain `loadPyodide({indexURL, packages: ["smolmix-web"]})` works, and beside it
    the pack that javascript/worker/runtime.js loads instead of the standard library and the wheels.
    """
    stdlib = compiled_stdlib()
    packages, imports = compiled_packages()
    modules, complaints = needed_stdlib(stdlib.imports, imports, stdlib.builtin)
    check(complaints)
    folder.mkdir(parents=True, exist_ok=True)
    native = [data for package in packages for name, data in package.files.items() if name.endswith(".wasm")]
    trimmed = trimmed_interpreter(CORE, native)
    for name in CORE_FILES:
        shutil.copyfile(trimmed.get(name, CORE / name), folder / name)
    write_zip(folder / "python_stdlib.zip", stdlib.files)
    write_pack(folder / "python.zst", stdlib.part(modules), packages)
    entries = {}
    for package in packages:
        wheel = write_wheel(folder, package.files, name=package.name, version=package.version, tag=package.tag)
        entries[package.name] = lock_entry(wheel, package)
    info = json.loads((CORE / "pyodide-lock.json").read_text())["info"]
    info["on_demand"] = sorted(name for name, library in LIBRARIES.items() if library.on_demand)
    # What a kept memory snapshot belongs to (javascript/worker/snapshot.js).
    info["build"] = fingerprint([folder / name for name in (*CORE_FILES, "python.zst")])
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
