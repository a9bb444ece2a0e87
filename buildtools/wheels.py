"""Deterministic zip files and wheels: ours from the source tree, and repacked ones of the libraries the browser needs.

Wheel format: PyPA "binary distribution format" 1.0. Equal contents give equal bytes: fixed time stamps, sorted names.
"""

from __future__ import annotations

import base64
import hashlib
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from .common import ROOT, TaskError
from .stamps import files_below

EPOCH = (1980, 1, 1, 0, 0, 0)
Files = dict[str, bytes]


def write_zip(path: Path, files: Mapping[str, bytes], *, compress: bool = True) -> None:
    """Write `files` (archive name to content) sorted by name; .dist-info last, as wheels recommend."""
    path.parent.mkdir(parents=True, exist_ok=True)
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method, compresslevel=9) as archive:
        for name in sorted(files, key=lambda name: (".dist-info/" in name, name)):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = method
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[name])


def read_zip(path: Path) -> Files:
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist() if not entry.is_dir()}


def read_folder(folder: Path) -> Files:
    """Every file below `folder` by its relative POSIX name."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()
    }


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def write_wheel(folder: Path, files: Files, *, name: str, version: str, tag: str) -> Path:
    """Write a wheel of `files` (with METADATA among them) into `folder`; WHEEL and RECORD are made here."""
    stem = name.replace("-", "_")
    info = f"{stem}-{version}.dist-info"
    if f"{info}/METADATA" not in files:
        raise TaskError(f"wheel {name}: no METADATA")
    pure = "true" if tag.endswith("-any") else "false"
    contents = {key: data for key, data in files.items() if key not in (f"{info}/RECORD", f"{info}/WHEEL")}
    contents[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: smolmix-web build\nRoot-Is-Purelib: {pure}\nTag: {tag}\n".encode()
    )
    record = [f"{key},sha256={_record_hash(data)},{len(data)}" for key, data in sorted(contents.items())]
    contents[f"{info}/RECORD"] = ("\n".join([*record, f"{info}/RECORD,,"]) + "\n").encode()
    path = folder / f"{stem}-{version}-{tag}.whl"
    write_zip(path, contents)
    return path


def _record_hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def project_table() -> dict[str, object]:
    """The [project] table of pyproject.toml."""
    with open(ROOT / "pyproject.toml", "rb") as handle:
        table: dict[str, object] = tomllib.load(handle)["project"]
    return table


def own_files() -> tuple[str, str, Files]:
    """Name, version and wheel contents (without WHEEL and RECORD) of smolmix_web itself."""
    project = project_table()
    name, version = str(project["name"]), str(project["version"])
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    package = ROOT / "smolmix_web"
    files = {f"smolmix_web/{file.relative_to(package).as_posix()}": file.read_bytes() for file in files_below(package)}
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {name}",
        f"Version: {version}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        "License-File: LICENSE",
        f"Requires-Python: {project['requires-python']}",
    ]
    dependencies = project["dependencies"]
    extras = project["optional-dependencies"]
    assert isinstance(dependencies, list) and isinstance(extras, dict)
    lines += [f"Requires-Dist: {requirement}" for requirement in dependencies]
    for extra, requirements in sorted(extras.items()):
        lines.append(f"Provides-Extra: {extra}")
        for requirement in requirements:
            bare, _, marker = requirement.partition(";")
            condition = f"({marker.strip()}) and " if marker else ""
            lines.append(f"Requires-Dist: {bare.strip()} ; {condition}extra == '{extra}'")
    readme = ROOT / "README.md"
    lines.append("Description-Content-Type: text/markdown")
    body = readme.read_text() if readme.exists() else ""
    files[f"{info}/METADATA"] = ("\n".join(lines) + "\n\n" + body).encode()
    files[f"{info}/licenses/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    return name, version, files
