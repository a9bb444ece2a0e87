"""`crypto: "pyca"` in a page: the package comes from the page's Pyodide distribution, or the option is refused by name.

The real wheel (and what it depends on) is on no registry that the build uses. Where a folder with wheels for this
Pyodide is at hand, name it in SMOLMIX_PYODIDE_WHEELS: they are added to a copy of the distribution, and the provider
must then give the bytes of tests/vectors/transcript.json. They need Pyodide's whole interpreter, which takes the place
of the trimmed one (docs/deploying.md). The way of loading is tested in any case, with a package made here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from browserkit.pyodide_page import PyodidePage
from browserkit.pytest_in_page import CHECKOUT, install_pytest
from buildtools.common import DIST
from buildtools.pyodide_dist import CORE, CORE_FILES

FETCH = """
from smolmix_web.crypto import load_crypto
from smolmix_web.crypto.distribution import fetch_pyca
from smolmix_web.errors import OptionError

try:
    await fetch_pyca()
    result = ["provider", load_crypto("pyca").name]
except OptionError as error:
    result = [error.option, error.message]
"""

TRANSCRIPT = """
import importlib.util
import json

from smolmix_web.crypto import load_crypto

spec = importlib.util.spec_from_file_location("transcript", arguments + "/tests/crypto/test_transcript.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
crypto = load_crypto("pyca")
expected = json.loads(module.DIGESTS.read_text())
found = {method.__name__: module.transcript(method, crypto) for method in module.METHODS}
result = [found, expected]
"""


def distribution_with(folder: Path, wheels: list[Path]) -> Path:
    """A copy of dist/ whose lock file also lists these wheels."""
    shutil.copytree(DIST, folder)
    lock_path = folder / "pyodide" / "pyodide-lock.json"
    lock = json.loads(lock_path.read_text())
    for wheel in wheels:
        shutil.copyfile(wheel, folder / "pyodide" / wheel.name)
        with zipfile.ZipFile(wheel) as archive:
            tops = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" not in name}
        name, version = wheel.name.split("-")[:2]
        name = name.lower().replace("_", "-")
        lock["packages"][name] = {
            **lock["packages"]["certifi"],
            "name": name,
            "version": version,
            "file_name": wheel.name,
            "imports": sorted(top.partition(".")[0] for top in tops),
            "depends": [],
            "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        }
    if "cryptography" in lock["packages"]:  # what lies beside it is there because it is needed
        others = {wheel.name.split("-")[0].lower().replace("_", "-") for wheel in wheels}
        lock["packages"]["cryptography"]["depends"] = sorted(others - {"cryptography"})
    lock_path.write_text(json.dumps(lock))
    return folder


def test_the_bundled_distribution_refuses_by_name(pyodide_page: PyodidePage) -> None:
    option, message = pyodide_page.run(FETCH)
    assert option == "crypto"
    assert "does not offer the package cryptography" in message


def test_a_package_of_the_distribution_is_loaded(tmp_path: Path) -> None:
    """A package of that name without the real contents: imported from the distribution, then found wanting."""
    wheel = tmp_path / "cryptography-0.0.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("cryptography/__init__.py", "import email.message\nMARK = 'from the distribution'\n")
        archive.writestr(
            "cryptography-0.0.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: cryptography\nVersion: 0.0.1\n"
        )
        archive.writestr(
            "cryptography-0.0.1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("cryptography-0.0.1.dist-info/RECORD", "")
    with PyodidePage(dist=distribution_with(tmp_path / "dist", [wheel])) as page:
        option, message = page.run(FETCH)
        assert option == "crypto"
        assert "cryptography.exceptions" in message
        assert page.run("import cryptography; cryptography.MARK") == "from the distribution"


def test_pyca_gives_the_same_bytes(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    named = os.environ.get("SMOLMIX_PYODIDE_WHEELS")
    wheels = sorted(Path(named).glob("*.whl")) if named else []
    if not any(wheel.name.startswith("cryptography-") for wheel in wheels):
        pytest.skip("no wheel of cryptography for this Pyodide at hand (SMOLMIX_PYODIDE_WHEELS names a folder)")
    dist = distribution_with(tmp_path / "dist", wheels)
    for name in CORE_FILES:
        shutil.copyfile(CORE / name, dist / "pyodide" / name)
    with PyodidePage(dist=dist) as page:
        assert page.run(FETCH) == ["provider", "pyca"]
        install_pytest(page, markers=request.config.getini("markers"), folders=["crypto"])
        found, expected = page.run(TRANSCRIPT, CHECKOUT)
        assert found == expected
