"""`build.py release --check`: whether what is there may be released. Each complaint is one line that says what to do.

It looks and makes nothing, so that a release is what was tested. CONTRIBUTING.md has the steps around it.
"""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable
from email.parser import Parser
from pathlib import Path

from .common import DIST, PYTHON, ROOT, say
from .dist import is_current
from .npm import package_stamp, tarball_of
from .sbom import BILL, SUMS, bill_text, sums

SOURCE_OF_VERSION = "pyproject.toml"
# A release, or a step before one: X.Y.Z or X.Y.Z-rc.1, as semver.org has it.
SEMANTIC = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")
IN_TARBALL = (
    "package.json", "README.md", "LICENSE", "THIRD-PARTY-NOTICES.txt", "dist/index.js", "dist/index.d.ts",
    "dist/globals.js", "dist/whole-page.js", "dist/service-worker.js", "dist/monitor.js", "dist/monitor.d.ts",
    "dist/worker.js", "dist/pyodide/pyodide.asm.wasm", "dist/pyodide/python.zst", "dist/single/smolmix.js",
    "dist/auto.js", "dist/node/index.js", "dist/node/worker.js", "dist/node/cli.js", "sbom.cdx.json",
)  # fmt: skip
NOT_IN_TARBALL = (".map", ".gz", ".br", ".py")
IN_WHEEL = ("smolmix_web/__init__.py", "smolmix_web/py.typed")
IN_GUEST_WHEEL = (*IN_WHEEL, "smolmix_web/pyodide/guest.js", "smolmix_web/pyodide/libraries/rtls/_rustls.wasm")


def versions(root: Path) -> dict[str, str | None]:
    """Where versions stand, and which; the first one is what the others have to be."""
    lock = json.loads((root / "package-lock.json").read_text())
    own = re.search(r'(?m)^__version__ = "([^"]+)"$', (root / "smolmix_web" / "__init__.py").read_text())
    return {
        SOURCE_OF_VERSION: tomllib.loads((root / SOURCE_OF_VERSION).read_text())["project"]["version"],
        "package.json": json.loads((root / "package.json").read_text()).get("version"),
        "package-lock.json": lock.get("version"),
        'package-lock.json (packages, "")': lock["packages"][""].get("version"),
        "smolmix_web/__init__.py": own[1] if own else None,
    }


def check_versions(root: Path) -> Iterable[str]:
    found = versions(root)
    wanted = found.pop(SOURCE_OF_VERSION)
    assert wanted is not None
    if not SEMANTIC.fullmatch(wanted):
        yield f"{SOURCE_OF_VERSION}: {wanted} is no semantic version: write X.Y.Z"
    for place, version in found.items():
        if version != wanted:
            yield f"{place} has the version {version}, {SOURCE_OF_VERSION} {wanted}: write {wanted} there"


def check_changelog(text: str, version: str) -> Iterable[str]:
    """The newest section is this version's, with a date or "unreleased", and says something."""
    sections = re.split(r"(?m)^## ", text)[1:]
    head, _, body = (sections[0] if sections else "").partition("\n")
    if not re.fullmatch(rf"{re.escape(version)} \((\d{{4}}-\d{{2}}-\d{{2}}|[Uu]nreleased)\)", head):
        yield f'CHANGELOG.md begins with "{head}": write "## {version} (YYYY-MM-DD)" or "## {version} (unreleased)"'
    if not body.strip():
        yield f"CHANGELOG.md: the section of {version} is empty: say what has changed"


def check_tarball(path: Path, version: str) -> Iterable[str]:
    """What `npm pack` put into it."""
    if not path.is_file():
        yield f"{path.name} is missing: run `python3 build.py npm`"
        return
    with tarfile.open(path) as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
        manifest = archive.extractfile("package/package.json") if "package.json" in names else None
        packed = json.loads(manifest.read())["version"] if manifest else None
    for name in IN_TARBALL:
        if name not in names:
            yield f"{path.name} has no {name}: mend buildtools/npm.py and run `python3 build.py npm`"
    for name in sorted(names):
        if name.endswith(NOT_IN_TARBALL):
            yield f"{path.name} has {name}, which is not for users: mend buildtools/npm.py"
    if packed is not None and packed != version:
        yield f"{path.name} says that it is {packed}, not {version}: run `python3 build.py npm`"


def check_wheels(folder: Path, version: str) -> Iterable[str]:
    """The plain wheel and that for a Pyodide of others."""
    for pattern, wanted in (("py3-none-any", IN_WHEEL), ("*abi3-pyemscripten*", IN_GUEST_WHEEL)):
        found = sorted(folder.glob(f"smolmix_web-{version}-{pattern}.whl"))
        if len(found) != 1:
            yield f"dist/ has {len(found)} wheels {version}-{pattern}, not one: run `python3 build.py build`"
            continue
        (path,) = found
        info = f"smolmix_web-{version}.dist-info"
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            for name in (*wanted, f"{info}/METADATA", f"{info}/RECORD", f"{info}/licenses/LICENSE"):
                if name not in names:
                    yield f"{path.name} has no {name}: mend buildtools/wheels.py or guest_wheel.py"
            if f"{info}/METADATA" in names:
                about = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
                if about["Version"] != version:
                    yield f"{path.name} says that it is {about['Version']}: run `python3 build.py build`"


def check_metadata(paths: list[Path]) -> Iterable[str]:
    """What the index would refuse: `twine check`, warnings included."""
    if not paths:
        return
    command = [str(PYTHON), "-m", "twine", "check", "--strict", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:] or ["no output"]
        yield f"`twine check` refuses the wheels ({last[0].strip()}): run `{' '.join(command[1:5])} dist/*.whl`"


def check_lists(folder: Path, text_of_bill: Callable[[Path], str] = bill_text) -> Iterable[str]:
    """The bill of materials and the hashes are those of what is there."""
    for name, made in ((BILL, text_of_bill), (SUMS, sums)):
        path = folder / name
        if not path.is_file():
            yield f"dist/{name} is missing: run `python3 build.py build`"
        elif path.read_text(encoding="utf-8") != made(folder):
            yield f"dist/{name} is not that of the files beside it: delete dist/ and run `python3 build.py build`"


def check_tree(root: Path) -> Iterable[str]:
    """Nothing is changed, nothing is new."""
    done = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        yield "this is no git checkout: release from one"
    for line in done.stdout.splitlines():
        yield f"{line[3:]} is not committed: commit it, or take it away"


def check_freshness(version: str) -> Iterable[str]:
    if not is_current():
        yield "dist/ is not made of these sources: run `python3 build.py build`"
    if not package_stamp().current(tarball_of(version)):
        yield "the npm package is not made of these sources: run `python3 build.py npm`"


def complaints() -> Iterable[str]:
    yield from check_versions(ROOT)
    version = versions(ROOT)[SOURCE_OF_VERSION]
    assert version is not None
    yield from check_changelog((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    yield from check_tree(ROOT)
    if not DIST.is_dir():
        yield "dist/ is missing: run `python3 build.py npm`"
        return
    yield from check_freshness(version)
    yield from check_tarball(tarball_of(version), version)
    yield from check_wheels(DIST, version)
    yield from check_metadata(sorted(DIST.glob("*.whl")))
    yield from check_lists(DIST)


def check() -> int:
    """Exit code: 0 when nothing is to be done."""
    found = list(complaints())
    for line in found:
        print(line)
    if not found:
        tarball = tarball_of(str(versions(ROOT)[SOURCE_OF_VERSION]))
        say(f"this may be released: {DIST.name}/ and {tarball.relative_to(ROOT)}")
    return 1 if found else 0
