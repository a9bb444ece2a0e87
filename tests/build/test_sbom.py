"""The bill of materials and the list of hashes: valid, complete, and the same for the same files."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource

from buildtools.common import DIST, REQUIREMENTS, ROOT
from buildtools.javascript import NODE_LIBRARIES
from buildtools.libraries import LIBRARIES
from buildtools.notices import INTERPRETER
from buildtools.parts import INTERPRETER_PARTS, bundled_packages, npm_part
from buildtools.report import files_of
from buildtools.sbom import BILL, SUMS, bill, bill_text, package_bill, sums, write_sums
from buildtools.setup import locked_packages

pytestmark = [
    pytest.mark.cpython,
    pytest.mark.skipif(not (DIST / BILL).exists(), reason="dist/ is not built"),
]
SCHEMAS = Path(__file__).parent / "cyclonedx"


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    registry: Registry[Any] = Registry()
    for path in SCHEMAS.glob("*.json"):
        schema = Resource.from_contents(json.loads(path.read_text()))
        registry = registry.with_resource(f"http://cyclonedx.org/schema/{path.name}", schema)
    return Draft7Validator(json.loads((SCHEMAS / "bom-1.6.SNAPSHOT.schema.json").read_text()), registry=registry)


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DIST / BILL).read_text())
    return found


def every(components: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for component in components for one in [component, *every(component.get("components", []))]]


def test_the_schema_is_content(validator: Draft7Validator, shipped: dict[str, Any]) -> None:
    assert [error.message for error in validator.iter_errors(shipped)] == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda found: found.pop("bomFormat"),
        lambda found: found["components"][0].update(type="thing"),
        lambda found: found["components"][0]["hashes"][0].update(content="zz"),
        lambda found: found["components"][0].update(licenses=[{"license": {"id": "Nobody-1.0"}}]),
    ],
)
def test_the_schema_complains(
    validator: Draft7Validator, shipped: dict[str, Any], damage: Callable[[dict[str, Any]], object]
) -> None:
    found = copy.deepcopy(shipped)
    damage(found)
    assert not validator.is_valid(found)


def test_references_are_unique_and_resolve(shipped: dict[str, Any]) -> None:
    refs = [one["bom-ref"] for one in every(shipped["components"])]
    assert len(set(refs)) == len(refs)
    root, *others = shipped["dependencies"]
    assert root["ref"] == shipped["metadata"]["component"]["bom-ref"]
    assert root["dependsOn"] == [one["ref"] for one in others] == [one["bom-ref"] for one in shipped["components"]]


def test_everything_shipped_is_named(shipped: dict[str, Any]) -> None:
    names = {one["name"] for one in shipped["components"]}
    asked_for = json.loads((ROOT / "package.json").read_text())["dependencies"]
    assert names == {"smolmix-web", *asked_for, *LIBRARIES}
    inside = {one["name"] for one in every(shipped["components"])}
    assert {"CPython", "Emscripten", "rustls", *INTERPRETER_PARTS} <= inside
    for component in shipped["components"]:
        assert component["purl"] and component["hashes"] and component["licenses"] and component["version"]


def test_parts_of_the_interpreter_are_those_of_the_notices() -> None:
    for name in INTERPRETER_PARTS:
        assert name in INTERPRETER


def test_hashes_are_those_of_the_locks_and_of_the_files(shipped: dict[str, Any]) -> None:
    locked = locked_packages(REQUIREMENTS / "pyodide.lock")
    for component in shipped["components"]:
        if component["name"] in LIBRARIES:
            assert f"sha256:{component['hashes'][0]['content']}" in locked[component["name"]]
        for file in component.get("externalReferences", []):
            assert file["hashes"][0]["content"] == hashlib.sha256((DIST / file["url"]).read_bytes()).hexdigest()
    assert len(npm_part("libsodium-sumo").digest[1]) == 128


def test_packages_are_those_of_the_source_maps(tmp_path: Path) -> None:
    sources = ["../../node_modules/@a/b/x.js", "../../node_modules/c/d/e.js", "../../javascript/page/f.js"]
    (tmp_path / "worker.js.map").write_text(json.dumps({"sources": sources}))
    assert bundled_packages(tmp_path) == ["@a/b", "c"]


def test_equal_files_give_an_equal_bill(shipped: dict[str, Any]) -> None:
    assert bill_text(DIST) == (DIST / BILL).read_text()
    assert "timestamp" not in shipped["metadata"]
    assert bill(DIST)["serialNumber"] == shipped["serialNumber"]


def test_the_bill_of_the_npm_package(validator: Draft7Validator, shipped: dict[str, Any], tmp_path: Path) -> None:
    """The same parts; of the files those that are there, by their own hash."""
    pack = tmp_path / "dist" / "pyodide" / "python.zst"
    pack.parent.mkdir(parents=True)
    pack.write_bytes(b"another one")
    found = package_bill(DIST, tmp_path)
    assert [error.message for error in validator.iter_errors(found)] == []
    *same, one, other = [part["bom-ref"] for part in found["components"]]
    assert same == [part["bom-ref"] for part in shipped["components"]]
    assert [ref.rpartition("@")[0] for ref in (one, other)] == [
        f"pkg:npm/{name.replace('@', '%40')}" for name in NODE_LIBRARIES
    ]
    files = [file for one in every(found["components"]) for file in one.get("externalReferences", [])]
    digest = hashlib.sha256(b"another one").hexdigest()
    assert [(file["url"], file["hashes"][0]["content"]) for file in files] == [("dist/pyodide/python.zst", digest)]
    assert found["serialNumber"] != shipped["serialNumber"]


def test_sha256sum_reads_the_list() -> None:
    lines = (DIST / SUMS).read_text().splitlines()
    names = [line.split("  ", 1)[1] for line in lines]
    assert names == sorted(names)
    assert set(names) == {path.relative_to(DIST).as_posix() for path in files_of(DIST)} - {SUMS}
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=DIST, check=True)


def test_the_list_changes_with_a_byte(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.js").write_bytes(b"1")
    write_sums(tmp_path)
    assert sums(tmp_path) == (tmp_path / SUMS).read_text()
    (tmp_path / "a" / "b.js").write_bytes(b"2")
    assert sums(tmp_path) != (tmp_path / SUMS).read_text()
