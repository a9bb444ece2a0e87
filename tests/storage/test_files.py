"""The vault under CPython: modes, atomic writes, the lock between tunnels and processes, strange things in its way."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from smolmix_web.errors import StateError, StorageError
from smolmix_web.host.vault import Derivation
from smolmix_web.storage import files
from smolmix_web.storage.envelope import MAX_RECORD
from smolmix_web.storage.files import FileVault, data_folder, derive, folder_name

pytestmark = pytest.mark.cpython


@asynccontextmanager
async def vault_in(base: Path, client_id: str = "me") -> AsyncIterator[FileVault]:
    vault = await FileVault.open(client_id, base)
    try:
        yield vault
    finally:
        vault.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_written_read_and_nobody_else_may(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        async with vault_in(tmp_path) as vault:
            assert await vault.read() is None
            await vault.write(b"first")
            await vault.write(b"second")
            assert await vault.read() == b"second"
            await vault.own_key(create=True)
    finally:
        os.umask(old)
    folder = tmp_path / "smolmix-web" / "me"
    assert mode(folder) == mode(folder.parent) == 0o700
    assert {path.name: mode(path) for path in folder.iterdir()} == {"identity": 0o600, "key": 0o600, "lock": 0o600}


async def test_modes_that_others_loosened_are_tightened(tmp_path: Path) -> None:
    async with vault_in(tmp_path) as vault:
        await vault.write(b"record")
        await vault.own_key(create=True)
    for path in (vault.folder / "identity", vault.folder / "key"):
        path.chmod(0o644)
    vault.folder.chmod(0o755)
    async with vault_in(tmp_path) as vault:
        assert await vault.read() == b"record"
        assert await vault.own_key(create=False) is not None
    assert mode(vault.folder) == 0o700
    assert mode(vault.folder / "identity") == mode(vault.folder / "key") == 0o600


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
async def test_a_write_that_fails_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    async with vault_in(tmp_path) as vault:
        await vault.write(b"old")

        def full(*args: object) -> None:
            raise OSError(errno.ENOSPC, "no space left", "disk")

        with monkeypatch.context() as patch:
            patch.setattr(files.os, call, full)
            with pytest.raises(StorageError) as raised:
                await vault.write(b"new")
        assert raised.value.code == "store_unavailable" and "no space left" in raised.value.message
        assert await vault.read() == b"old"
        assert sorted(path.name for path in vault.folder.iterdir()) == ["identity", "lock"]


async def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    async with vault_in(tmp_path) as vault:
        await vault.write(b"old")
        (vault.folder / ".new-0123").write_bytes(b"half a rec")
    async with vault_in(tmp_path) as vault:
        assert await vault.read() == b"old"
        assert not list(vault.folder.glob(".new-*"))


async def test_set_aside_keeps_the_newest_three(tmp_path: Path) -> None:
    async with vault_in(tmp_path) as vault:
        for number, second in enumerate([1_800_000_000, 1_800_000_000, 1_700_000_000, 1_900_000_000, 1_900_000_001]):
            await vault.write(f"record {number}".encode())
            place = Path(await vault.set_aside(second))
            assert place.read_bytes() == f"record {number}".encode() and mode(place) == 0o600
            assert await vault.read() is None
        kept = sorted(path.read_bytes() for path in vault.folder.glob("*.aside"))
    assert kept == [b"record 1", b"record 3", b"record 4"]


async def test_the_key_is_made_once_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    async with vault_in(tmp_path) as vault:
        assert await vault.own_key(create=False) is None
        first, second = await vault.own_key(create=True), await vault.own_key(create=True)
        assert first is not None and second is not None
        sealed = await first.seal(bytes(12), b"text", b"head")
        assert await second.open(bytes(12), sealed, b"head") == b"text"
        assert await second.open(bytes(12), sealed, b"heap") is None
        assert await second.open(bytes(12), b"", b"head") is None
        (vault.folder / "key").write_bytes(bytes(31))
        assert await vault.own_key(create=False) is None
        third = await vault.own_key(create=True)
        assert third is not None and await third.open(bytes(12), sealed, b"head") is None


def test_argon2id_vector() -> None:
    """The same bytes as libsodium makes in a page: crypto_pwhash of this passphrase, salt and costs."""
    key = derive("pässword", Derivation(bytes([7]) * 16))
    sealed = files.AESGCM(key).encrypt(bytes(12), b"hello", bytes([1, 2]))
    assert sealed.hex() == "03bb1634c7994d58d7bfeba016c66db8bdff051267"


# -- the lock


async def test_one_tunnel_at_a_time_and_the_next_one_waits_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await FileVault.open("me", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(files, "LOCK_PATIENCE", 0.1)
        with pytest.raises(StateError) as raised:
            await FileVault.open("me", tmp_path)
    assert raised.value.code == "client_id_in_use" and "'me'" in raised.value.message
    async with vault_in(tmp_path, "another"):
        pass
    opening = asyncio.create_task(FileVault.open("me", tmp_path))
    await asyncio.sleep(0.1)
    assert not opening.done()
    first.close()
    (await opening).close()


async def test_a_write_under_way_at_the_close_ends_before_the_lock(tmp_path: Path) -> None:
    vault = await FileVault.open("me", tmp_path)
    writing = asyncio.create_task(vault.write(bytes(60_000)))
    await asyncio.sleep(0)
    writing.cancel()
    vault.close()
    vault.close()
    async with vault_in(tmp_path) as after:
        assert await after.read() == bytes(60_000)


HOLD = """
import asyncio, pathlib, sys
from smolmix_web.storage.files import FileVault
async def hold():
    vault = await FileVault.open("me", pathlib.Path(sys.argv[1]))
    print("held", flush=True)
    sys.stdin.readline()
asyncio.run(hold())
"""


async def test_the_lock_holds_between_processes_and_dies_with_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOCK_PATIENCE", 0.1)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            with pytest.raises(StateError):
                await FileVault.open("me", tmp_path)
        finally:
            process.kill()
    async with vault_in(tmp_path):
        pass


# -- places


def test_folder_names() -> None:
    names = ["me", "ME", ".", "..", "a/b", "a\\b", "~root", "a b", "größe", "-", "%2E", "\0", "x" * 500, "x" * 501]
    made = [folder_name(name) for name in names]
    assert len(set(made)) == len(names)
    for name in made:
        assert 0 < len(name) <= 120 and not set(name) & set("/\\.~\0 ") and name.isascii()
    assert folder_name("smolmix-wasm_1") == "smolmix-wasm_1"
    assert folder_name("..") == "%2E%2E"


def test_the_data_folder_of_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    for value, expected in (
        ("/data", "/data"),
        ("", "/home/somebody/.local/share"),
        ("rel", "/home/somebody/.local/share"),
    ):
        monkeypatch.setenv("XDG_DATA_HOME", value)
        assert data_folder() == Path(expected)
    monkeypatch.delenv("XDG_DATA_HOME")
    assert data_folder() == Path("/home/somebody/.local/share")


async def test_a_path_stays_below_the_base(tmp_path: Path) -> None:
    async with vault_in(tmp_path / "base", "../../outside") as vault:
        await vault.write(b"record")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


async def test_strange_things_in_the_place_of_the_record(tmp_path: Path) -> None:
    async with vault_in(tmp_path) as vault:
        os.mkfifo(vault.folder / "identity", 0o600)
        began = time.monotonic()
        with pytest.raises(StorageError, match="not a file"):
            await vault.read()
        assert time.monotonic() - began < 2
        (vault.folder / "identity").unlink()
        (vault.folder / "identity").mkdir()
        with pytest.raises(StorageError):
            await vault.read()
        (vault.folder / "identity").rmdir()
        (vault.folder / "identity").write_bytes(bytes(MAX_RECORD * 4))
        assert len(await vault.read() or b"") == MAX_RECORD + 1, "not read to its end"


async def test_no_place_at_all(tmp_path: Path) -> None:
    (tmp_path / "smolmix-web").write_text("a file where the folder should be")
    with pytest.raises(StorageError):
        await FileVault.open("me", tmp_path)


async def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StorageError, match="not implemented"):
        await FileVault.open("me", tmp_path)
