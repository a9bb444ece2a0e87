"""`sbom.cdx.json`, the bill of materials (CycloneDX 1.6), and `dist/SHA256SUMS`: what is shipped, and its hashes.

Equal contents give equal bytes: there is no time in the bill, and its serial number is made of what it says.
Of each library the hash is that of the file in its registry, as the lock files pin it; where it is shipped as a file of
its own, changed by this build, that file and its hash are its `distribution`.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

from .javascript import CHECKED, NODE_LIBRARIES
from .libraries import LIBRARIES, fetch_libraries
from .parts import PYODIDE, Part, bundled_packages, crates, interpreter_parts, npm_part, wheel_part
from .report import files_of
from .wheels import project_table, read_zip

BILL = "sbom.cdx.json"
SUMS = "SHA256SUMS"
INTERPRETER_FILES = tuple(name for name in CHECKED if name.startswith("pyodide/pyodide."))
CHANGED = "Parts that a page does not use are left out; Python is compiled to bytecode. docs/deploying.md says more."


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def as_text(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def bill_text(folder: Path) -> str:
    return as_text(bill(folder))


def write_bill(folder: Path) -> None:
    """Of what is in `folder`, which has all but the compressed forms."""
    (folder / BILL).write_text(bill_text(folder), encoding="utf-8")


def bill(folder: Path) -> dict[str, Any]:
    project = project_table()
    name, version, licence = (str(project[key]) for key in ("name", "version", "license"))
    root = {
        "type": "library",
        "bom-ref": "smolmix-web",
        "name": name,
        "version": version,
        "description": "The files of dist/",
        "licenses": [{"expression": licence}],
        "purl": f"pkg:npm/{name}@{version}",
    }
    components = [own_package(folder, name, version, licence), interpreter(folder)]
    components += [component(npm_part(package)) for package in bundled_packages(folder)]
    components += [library(folder, package, wheel) for package, wheel in sorted(fetch_libraries().items())]
    refs = [one["bom-ref"] for one in components]
    found: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root, "lifecycles": [{"phase": "build"}]},
        "components": components,
        "dependencies": [{"ref": root["bom-ref"], "dependsOn": refs}, *({"ref": ref} for ref in refs)],
    }
    return numbered(found)


def write_package_bill(dist: Path, package: Path) -> None:
    (package / BILL).write_text(as_text(package_bill(dist, package)), encoding="utf-8")


def package_bill(dist: Path, package: Path) -> dict[str, Any]:
    """Of the npm package, which is made of what is in `dist`: the same parts, of the files those that it has, and
    what its entries for Node.js have besides."""
    found = bill(dist)
    more = [component(npm_part(name)) for name in NODE_LIBRARIES]
    found["components"] += more
    found["dependencies"][0]["dependsOn"] += [one["bom-ref"] for one in more]
    found["dependencies"] += [{"ref": one["bom-ref"]} for one in more]
    found["metadata"]["component"]["description"] = "The npm package"
    for one in found["components"]:
        named = [f"dist/{reference['url']}" for reference in one.pop("externalReferences", [])]
        if files := distributions(package, [name for name in named if (package / name).is_file()]):
            one["externalReferences"] = files
    return numbered(found)


def numbered(found: dict[str, Any]) -> dict[str, Any]:
    """With the serial number of what it says."""
    found.pop("serialNumber", None)
    text = json.dumps(found, sort_keys=True)
    return {**found, "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, text).urn}


def component(part: Part) -> dict[str, Any]:
    algorithm, digest = part.digest
    return {
        "type": "library",
        "bom-ref": part.purl,
        "name": part.name,
        "version": part.version,
        "licenses": [{"expression": part.licence}],
        "purl": part.purl,
        "hashes": [{"alg": algorithm, "content": digest}],
    }


def own_package(folder: Path, name: str, version: str, licence: str) -> dict[str, Any]:
    """The wheel for Python programs; in the page the same package is in the pack."""
    (wheel,) = folder.glob("*-none-any.whl")
    part = Part(name, version, licence, f"pkg:pypi/{name}@{version}", ("SHA-256", sha256(wheel)))
    guests = [path.name for path in folder.glob("*-abi3-*.whl")]
    inside = ["pyodide/python.zst", *(path.relative_to(folder).as_posix() for path in own_wheels(folder))]
    return {**component(part), "externalReferences": distributions(folder, [wheel.name, *guests, *inside])}


def own_wheels(folder: Path) -> list[Path]:
    return sorted((folder / "pyodide").glob("smolmix_web-*.whl"))


def interpreter(folder: Path) -> dict[str, Any]:
    """Pyodide, and what is linked into it as far as the build knows; parts of it are left out (trim.py)."""
    inside = []
    for name, version, licence in interpreter_parts():
        one: dict[str, Any] = {
            "type": "library",
            "bom-ref": f"pyodide/{name}",
            "name": name,
            "licenses": [{"expression": licence}],
        }
        if version:
            one["version"] = version
            one["purl"] = f"pkg:generic/{name.lower()}@{version}"
        inside.append(one)
    return {
        **component(npm_part(PYODIDE)),
        "pedigree": {"notes": CHANGED},
        "externalReferences": distributions(folder, [*INTERPRETER_FILES, "pyodide/python_stdlib.zip"]),
        "components": inside,
    }


def library(folder: Path, name: str, wheel: Path) -> dict[str, Any]:
    files = read_zip(wheel)
    found = component(wheel_part(name, files, sha256(wheel)))
    shipped = sorted((folder / "pyodide").glob(f"{name.replace('-', '_')}-*.whl"))
    found["pedigree"] = {"notes": CHANGED}
    found["externalReferences"] = distributions(folder, [path.relative_to(folder).as_posix() for path in shipped])
    when = "when first used" if LIBRARIES[name].on_demand else "first"
    found["properties"] = [{"name": "smolmix-web:loaded", "value": when}]
    compiled = [{**one, "bom-ref": f"{found['bom-ref']}/{one['purl']}"} for one in crates(files)]
    if compiled:
        found["components"] = compiled
    return found


def distributions(folder: Path, names: list[str]) -> list[dict[str, Any]]:
    return [
        {"type": "distribution", "url": name, "hashes": [{"alg": "SHA-256", "content": sha256(folder / name)}]}
        for name in names
    ]


def sums(folder: Path) -> str:
    """As sha256sum writes and reads it: every file that is shipped but this one, sorted by name."""
    files = {path.relative_to(folder).as_posix(): path for path in files_of(folder)}
    return "".join(f"{sha256(files[name])}  {name}\n" for name in sorted(files) if name != SUMS)


def write_sums(folder: Path) -> None:
    (folder / SUMS).write_text(sums(folder), encoding="utf-8")
