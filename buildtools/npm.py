"""`build.py npm`: the package `smolmix-web` as `npm pack` makes it, below build/npm/.

Unlike dist/ its worker has Pyodide's scripts inside and names every other file by `new URL(..., import.meta.url)`, so
that bundlers find them, and only what the worker loads is in it. The page's entries are those of dist/. `npm/` holds
what is written by hand: the manifest and the README for JavaScript people.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from .common import BUILD, DIST, ROOT, TaskError, build_lock, run, say
from .dist import PYTHON_INPUTS, SCRIPT_INPUTS, ensure_dist
from .javascript import (
    ENTRIES,
    PAGE,
    SERVICE_MODULE,
    SERVICE_SCRIPT,
    SHARED,
    WORKER,
    bundle,
    bundle_node,
    bundle_official,
    bundle_package_worker,
    bundle_service,
    declare_node_types,
    meanings,
)
from .libraries import LIBRARIES
from .notices import notices
from .sbom import write_package_bill
from .stamps import Stamp

SOURCE = ROOT / "npm"
FOLDER = BUILD / "npm"
PACKAGE = FOLDER / "package"
PARTS = ("pyodide.asm.wasm", "python.zst")


def tarball_of(version: str) -> Path:
    return FOLDER / f"smolmix-web-{version}.tgz"


def package_stamp() -> Stamp:
    names = ("npm.py", "node_package.mjs", "notices.py", "sbom.py", "package_worker.mjs", "pyodide_inside.mjs")
    makers = [ROOT / "buildtools" / name for name in names]
    return Stamp("npm", [*PYTHON_INPUTS, *SCRIPT_INPUTS, *makers, SOURCE, ROOT / "package.json", origin() or ""])


def ensure_package() -> Path:
    """The tarball, made anew when one of its inputs has changed."""
    ensure_dist()
    with build_lock("npm"):
        version = json.loads((ROOT / "package.json").read_text())["version"]
        tarball = tarball_of(version)
        stamp = package_stamp()
        if not stamp.current(tarball):
            say("packing smolmix-web for npm")
            stamp.clear()
            shutil.rmtree(FOLDER, ignore_errors=True)
            write_package(PACKAGE, version)
            run(["npm", "pack", "--ignore-scripts", "--loglevel=error", "--pack-destination", FOLDER], cwd=PACKAGE)
            stamp.write()
    return tarball


def write_package(folder: Path, version: str) -> None:
    """Everything that is packed."""
    target = folder / "dist"
    (target / "pyodide").mkdir(parents=True)
    for name in ENTRIES:
        bundle(PAGE / f"{name}.js", target / f"{name}.js", [*SHARED, meanings()])  # without the hashes of dist/
        shutil.copyfile(DIST / f"{name}.d.ts", target / f"{name}.d.ts")
        unmapped(target / f"{name}.js")
    bundle_service(target)
    for name in (SERVICE_SCRIPT, SERVICE_MODULE):
        unmapped(target / name)
    shutil.copyfile(DIST / "service-worker.d.ts", target / "service-worker.d.ts")
    shutil.copytree(DIST / "types", target / "types", ignore=shutil.ignore_patterns("*.gz", "*.br"))
    lock = json.loads((DIST / "pyodide" / "pyodide-lock.json").read_text())
    lock["packages"] = {name: entry for name, entry in lock["packages"].items() if on_demand(name)}
    wheels = [entry["file_name"] for entry in lock["packages"].values()]
    for name in (*PARTS, *wheels):
        shutil.copyfile(DIST / "pyodide" / name, target / "pyodide" / name)
    parts = FOLDER / "own-files.js"
    parts.write_text(parts_module(lock, wheels), encoding="utf-8")
    bundle_package_worker(parts, target / "worker.js")
    bundle_node(parts_module(lock, wheels, "../pyodide"), target / "node")
    declare_node_types(target)
    bundle_official(target)
    for path in (target / "official").glob("*.js"):
        unmapped(path)
    (target / "single").mkdir()
    for name in ("smolmix.js", "smolmix.d.ts"):
        shutil.copyfile(DIST / "single" / name, target / "single" / name)
    (folder / "package.json").write_text(json.dumps(manifest(version), indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(SOURCE / "README.md", folder / "README.md")
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")
    (folder / "THIRD-PARTY-NOTICES.txt").write_text(notices(), encoding="utf-8")
    write_package_bill(DIST, folder)


def on_demand(name: str) -> bool:
    return name in LIBRARIES and LIBRARIES[name].on_demand


def parts_module(lock: dict[str, Any], wheels: list[str], folder: str = "./pyodide") -> str:
    """In the place of javascript/worker/own-files.js: bundlers follow each `new URL`, if it is written out."""

    def address(name: str) -> str:
        return f'new URL("{folder}/{name}", import.meta.url).href'

    lines = [f"  {json.dumps(name)}: {address(name)}," for name in wheels]
    return "\n".join(
        [
            f'import {{ scriptsInside }} from "{WORKER}/distribution.js";',
            f'import * as loader from "{DIST}/pyodide/pyodide.mjs";',
            f'import * as script from "{DIST}/pyodide/pyodide.asm.mjs";',
            f"const lock = {json.dumps(lock)};",
            "const wheels = {",
            *lines,
            "};",
            f"const program = {address(PARTS[0])};",
            f"const pack = {address(PARTS[1])};",
            "export const distribution = scriptsInside({ lock, loader, script, program, pack, wheels });",
            "",
        ]
    )


def unmapped(path: Path) -> None:
    """Without its source map, which stays at home."""
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"\n//# sourceMappingURL=.*\n?", "\n", text), encoding="utf-8")
    path.with_name(f"{path.name}.map").unlink()


def manifest(version: str) -> dict[str, Any]:
    """`npm/package.json` with the version of the checkout, and the repository that it was cloned from."""
    written: dict[str, Any] = json.loads((SOURCE / "package.json").read_text())
    head = {"name": written.pop("name"), "version": version}
    url = origin()
    if url:
        head["repository"] = {"type": "git", "url": f"git+{url.removesuffix('.git')}.git"}
    return {**head, **written}


def origin() -> str | None:
    """Address of the repository, where it is one that others can reach."""
    asked = subprocess.run(
        ["git", "remote", "get-url", "origin"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    url = asked.stdout.strip()
    url = re.sub(r"^git@([^:]+):", r"https://\1/", url)
    return url if url.startswith("https://") and "@" not in url else None


def check_entries(folder: Path = PACKAGE) -> None:
    """`TaskError` when the manifest names a file that is not there."""
    found = json.loads((folder / "package.json").read_text())
    for entry, targets in found["exports"].items():
        for target in targets.values() if isinstance(targets, dict) else [targets]:
            if "*" not in target and not (folder / target).is_file():
                raise TaskError(f"the package's entry {entry} has no {target}")
