"""Deterministic archives and wheels: our own and the repacked libraries."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from buildtools.common import TaskError
from buildtools.libraries import LIBRARIES, fetch_libraries, library_files
from buildtools.wheels import own_files, project_table, read_zip, write_wheel, write_zip


def test_equal_contents_give_equal_bytes(tmp_path: Path) -> None:
    files = {"b.py": b"x = 1\n" * 100, "a/c.py": b"", "a-1.dist-info/METADATA": b"Name: a\n"}
    write_zip(tmp_path / "one.zip", files)
    write_zip(tmp_path / "two.zip", dict(reversed(files.items())))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert read_zip(tmp_path / "one.zip") == files


def test_stored_zip_is_not_compressed(tmp_path: Path) -> None:
    write_zip(tmp_path / "x.zip", {"a": bytes(1000)}, compress=False)
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        (entry,) = archive.infolist()
    assert (entry.compress_type, entry.compress_size) == (zipfile.ZIP_STORED, 1000)


@pytest.fixture(scope="module")
def own_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    name, version, files = own_files()
    return write_wheel(tmp_path_factory.mktemp("wheel"), files, name=name, version=version, tag="py3-none-any")


def test_own_wheel_is_complete(own_wheel: Path) -> None:
    files = read_zip(own_wheel)
    project = project_table()
    assert own_wheel.name == f"smolmix_web-{project['version']}-py3-none-any.whl"
    root = Path(__file__).resolve().parents[2]
    sources = {p.relative_to(root).as_posix() for p in (root / "smolmix_web").rglob("*.py")}
    assert sources <= files.keys()
    assert "smolmix_web/py.typed" in files
    assert not [name for name in files if "__pycache__" in name or name.startswith("tests")]


def test_own_metadata(own_wheel: Path) -> None:
    info = own_wheel.name.rsplit("-", 3)[0] + ".dist-info"
    text = read_zip(own_wheel)[f"{info}/METADATA"].decode()
    project = project_table()
    assert f"\nName: {project['name']}\n" in text
    dependencies = project["dependencies"]
    assert isinstance(dependencies, list)
    for requirement in dependencies:
        assert f"\nRequires-Dist: {requirement}\n" in text
    assert "\nRequires-Dist: cryptography>=" in text
    assert "extra == 'cpython'" in text


def test_record_has_every_file(own_wheel: Path) -> None:
    files = read_zip(own_wheel)
    (record,) = [name for name in files if name.endswith("/RECORD")]
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(files[record].decode()))}
    assert rows.keys() == files.keys()
    for name, data in files.items():
        if name != record:
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert rows[name] == [f"sha256={digest}", str(len(data))]


def test_a_wheel_without_metadata_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no METADATA"):
        write_wheel(tmp_path, {"a.py": b""}, name="a", version="1", tag="py3-none-any")


@pytest.mark.parametrize("name", sorted(LIBRARIES))
def test_libraries_ship_their_licence_and_no_dead_weight(name: str) -> None:
    version, files = library_files(name, fetch_libraries()[name])
    info = f"{name}-{version}.dist-info/"
    metadata = [file for file in files if file.startswith(info)]
    assert f"{info}METADATA" in metadata
    assert any("LICENSE" in file or "NOTICE" in file for file in metadata)
    assert f"{LIBRARIES[name].package}/__init__.py" in files
    assert not [file for file in files if file.endswith((".pyi", ".c", ".so")) or "/tests/" in file]


def test_certificates_survive_the_removal_of_comments() -> None:
    wheel = fetch_libraries()["certifi"]
    before = read_zip(wheel)["certifi/cacert.pem"]
    after = library_files("certifi", wheel)[1]["certifi/cacert.pem"]
    begin = b"-----BEGIN CERTIFICATE-----"
    assert after.count(begin) == before.count(begin) > 100
    assert b"#" not in after

    def blocks(pem: bytes) -> list[bytes]:
        return [block.split(b"-----END")[0] for block in pem.split(begin)[1:]]

    assert blocks(after) == blocks(before)
