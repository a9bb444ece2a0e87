"""Lock files: everything pinned with hashes, no host names, and the same versions everywhere."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from buildtools.common import REQUIREMENTS, ROOT
from buildtools.setup import locked_packages
from buildtools.wheels import project_table

LOCKS = sorted(REQUIREMENTS.glob("*.lock"))
PROJECTS = [ROOT, ROOT / "buildtools" / "site"]
MANIFESTS = [folder / name for folder in PROJECTS for name in ("package-lock.json", "package.json")]


@pytest.mark.parametrize("path", [*LOCKS, *MANIFESTS], ids=lambda p: f"{p.parent.name}/{p.name}")
def test_no_hosts_and_no_machine_paths(path: Path) -> None:
    text = path.read_text()
    for line in text.splitlines():
        # npm notes where one can donate to an author, in a field or in a list.
        if '"url":' in line or re.fullmatch(r'\s+"https://[^"]*",?', line):
            continue
        assert not re.search(r"https?://|git\+|file:", line), line
    for folder in ("/home/", "/root", "/tmp/", "/work/", "/usr/"):
        assert folder not in text
    assert '"resolved"' not in text


@pytest.mark.parametrize("path", LOCKS, ids=lambda p: p.name)
def test_python_packages_are_exact_and_hashed(path: Path) -> None:
    packages = locked_packages(path)
    assert packages
    for name, stanza in packages.items():
        assert re.match(rf"{re.escape(name)}==[0-9][^ ]* ", stanza), stanza.splitlines()[0]
        assert "--hash=sha256:" in stanza


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda p: p.name)
def test_npm_packages_are_exact_and_hashed(folder: Path) -> None:
    lock = json.loads((folder / "package-lock.json").read_text())["packages"]
    manifest = json.loads((folder / "package.json").read_text())
    for name, version in {**manifest.get("dependencies", {}), **manifest["devDependencies"]}.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
        assert lock[f"node_modules/{name}"]["version"] == version
    assert all(entry["integrity"].startswith("sha512-") for name, entry in lock.items() if name)


def version_of(stanza: str) -> str:
    return stanza.split("==")[1].split()[0]


def test_the_page_and_cpython_have_the_same_versions() -> None:
    dev, page, tests = (locked_packages(REQUIREMENTS / f"{n}.lock") for n in ("dev", "pyodide", "pyodide-test"))
    for other in (page, tests):
        for name, stanza in other.items():
            assert version_of(stanza) == version_of(dev[name])


def test_locks_cover_pyproject() -> None:
    project = project_table()
    dependencies, extras = project["dependencies"], project["optional-dependencies"]
    assert isinstance(dependencies, list) and isinstance(extras, dict)
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    tools, site = groups["dev"], locked_packages(REQUIREMENTS / "docs.lock")
    for text in groups["docs"]:
        requirement = Requirement(text)
        assert version_of(site[canonicalize_name(requirement.name)]) in requirement.specifier, text
    dev = locked_packages(REQUIREMENTS / "dev.lock")
    for text in [*dependencies, *(one for extra in extras.values() for one in extra), *tools]:
        requirement = Requirement(text)
        if requirement.name != project["name"]:
            assert version_of(dev[canonicalize_name(requirement.name)]) in requirement.specifier, text
    page = locked_packages(REQUIREMENTS / "pyodide.lock")
    for text in dependencies:
        assert Requirement(text).name in page


def test_whoever_installs_us_is_given_ranges() -> None:
    project = project_table()
    dependencies, extras = project["dependencies"], project["optional-dependencies"]
    assert isinstance(dependencies, list) and isinstance(extras, dict)
    for text in [*dependencies, *(one for extra in extras.values() for one in extra)]:
        assert not [one for one in Requirement(text).specifier if one.operator in ("==", "===", "~=")], text
