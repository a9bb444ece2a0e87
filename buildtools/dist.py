"""Make dist/: what is not current is made anew beside the old one and then takes its place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from .common import BUILD, DIST, ROOT, build_lock, run, say
from .guest_wheel import write_guest_wheel
from .javascript import ERRORS, SOURCES, bundle_all, bundle_single, declare_types
from .pyodide_dist import write_distribution
from .report import CODINGS, source_files
from .sbom import BILL, SUMS, write_bill, write_sums
from .setup import ensure_node, ensure_venv
from .stamps import Stamp
from .wheels import own_files, write_wheel

# What makes the Python half; the other tasks change nothing of it.
MAKERS = (
    "bytecode.mjs", "bytecode.py", "closure.py", "dist.py", "libraries.py", "loader_script.mjs", "pack_importer.py",
    "pyodide_dist.py", "stdlib_edits.py", "trim.py", "wasm.py", "wasm_code.py", "wasm_image.py",
    "wasm_reach.py", "wheels.py",
)  # fmt: skip
PYTHON_INPUTS = (
    ROOT / "smolmix_web",
    *(ROOT / "buildtools" / name for name in MAKERS),
    ROOT / "pyproject.toml",
    ROOT / "package-lock.json",
    ROOT / "requirements" / "pyodide.lock",
    ROOT / "README.md",
    ROOT / "LICENSE",
)
SCRIPT_INPUTS = (
    SOURCES,
    ROOT / "buildtools" / "javascript.py",
    ROOT / "buildtools" / "gzip.mjs",
    ROOT / "buildtools" / "precompress.mjs",
    ROOT / "buildtools" / "pyodide_inside.mjs",
    ROOT / "buildtools" / "single.mjs",
    ROOT / "buildtools" / "parts.py",
    ROOT / "buildtools" / "sbom.py",
    ROOT / "package-lock.json",
    ERRORS,
)


SCRIPT_OUTPUTS = tuple(DIST / name for name in ("index.js", "worker.js", "service-worker.js", BILL, SUMS))


def stamps() -> tuple[Stamp, Stamp]:
    """Of the Python half and of the rest."""
    return Stamp("dist-python", PYTHON_INPUTS), Stamp("dist-scripts", SCRIPT_INPUTS)


def is_current() -> bool:
    """Whether dist/ is there and made of the sources as they are."""
    python, scripts = stamps()
    return python.current(DIST / "pyodide") and scripts.current(*SCRIPT_OUTPUTS)


def ensure_dist() -> None:
    """Set-up and build, each part only when one of its inputs has changed."""
    ensure_venv()
    ensure_node()
    with build_lock("dist"):
        python, scripts = stamps()
        fresh_python = not python.current(DIST / "pyodide")
        # The page's API has the hashes of what Python needs.
        fresh_scripts = fresh_python or not scripts.current(*SCRIPT_OUTPUTS)
        if not fresh_python and not fresh_scripts:
            return
        say("building dist/")
        staging = BUILD / "dist"
        shutil.rmtree(staging, ignore_errors=True)
        if DIST.exists():
            shutil.copytree(DIST, staging)
        staging.mkdir(parents=True, exist_ok=True)
        if fresh_python:
            _remove(staging, "pyodide")
            write_distribution(staging / "pyodide")
        _remove(staging, "*.whl*")
        name, version, files = own_files()
        write_wheel(staging, files, name=name, version=version, tag="py3-none-any")
        write_guest_wheel(staging)
        if fresh_scripts:
            _remove(staging, "*.js*", "*.d.ts*", "types")
            bundle_all(staging)
            declare_types(staging)
        _remove(staging, "single")
        bundle_single(staging)
        # Of everything that was there: an old list must not be compressed as if it were new.
        _remove(staging, f"{BILL}*", f"{SUMS}*")
        write_bill(staging)
        precompress(staging)
        write_sums(staging)
        old = BUILD / "dist-old"
        shutil.rmtree(old, ignore_errors=True)
        if DIST.exists():
            DIST.rename(old)
        staging.rename(DIST)
        shutil.rmtree(old, ignore_errors=True)
        python.write()
        scripts.write()


def precompress(folder: Path) -> None:
    """A `.gz` and a `.br` beside each file that has none of its own age."""
    listing = BUILD / "precompress.json"
    paths = [path for path in source_files(folder) if not _compressed(path)]
    listing.write_text(json.dumps([str(path) for path in paths]))
    run(["node", ROOT / "buildtools" / "precompress.mjs", listing])


def _compressed(path: Path) -> bool:
    forms = [path.with_name(path.name + suffix) for suffix in CODINGS.values()]
    return all(form.exists() and form.stat().st_mtime_ns > path.stat().st_mtime_ns for form in forms)


def _remove(folder: Path, *patterns: str) -> None:
    for pattern in patterns:
        for path in folder.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
