"""The vault under CPython: a folder of mode 0700 with files of mode 0600 below the user's data folder.

    <data folder>/smolmix-web/<client id>/     (the folder on Linux: $XDG_DATA_HOME or ~/.local/share)
        identity             the record
        key                  the key of a record without passphrase
        lock                 locked while a tunnel uses the folder
        identity.<time>.aside    records that could not be used

The key beside the record protects a copy of the record alone, and from nobody who can read the folder: there the file
modes are the protection, or a passphrase. All file work happens on one thread of the vault, in order, so that a slow
disk stops nobody and the lock is let go only when the last write has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import queue
import secrets
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import platformdirs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from filelock import BaseFileLock, FileLock, Timeout

from ..errors import StateError, StorageError
from ..host.vault import LOCK_PATIENCE, MAX_SET_ASIDE, Derivation, SealingKey
from .envelope import MAX_RECORD

RECORD, KEY, LOCK, ASIDE = "identity", "key", "lock", ".aside"
KEY_LENGTH = 32
LOCK_RETRY = 0.05  # s
MAX_NAME = 120  # characters of a folder's name

T = TypeVar("T")


def data_folder() -> Path:
    """Where programs keep data of this user; `StorageError` when there is no such place."""
    try:
        return platformdirs.user_data_path()
    except RuntimeError as error:
        raise StorageError(f"this user has no home folder: {error}") from None


def folder_name(client_id: str) -> str:
    """A client id as one path component: different ids get different names, none gets "." or a separator."""
    name = quote(client_id, safe="", errors="surrogatepass").replace(".", "%2E").replace("~", "%7E")
    if len(name) <= MAX_NAME:
        return name
    digest = hashlib.sha256(client_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name[: MAX_NAME - 65]}-{digest}"


class _Worker:
    """Runs calls on a daemon thread, one after another; a disk that hangs cannot keep the process from ending."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="smolmix-storage", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    async def call(self, work: Callable[[], T]) -> T:
        """The value of `work()`; `OSError` becomes `StorageError`. Cancelled, the work still comes to its end."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(value: Any, error: BaseException | None) -> None:
            if done.cancelled():
                return
            if error is None:
                done.set_result(value)
            else:
                done.set_exception(error)

        def run() -> None:
            value: T | None = None
            failure: BaseException | None = None
            try:
                value = work()
            except OSError as error:
                failure = StorageError(f"{error.strerror or error}: {error.filename}")
            except BaseException as error:
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(settle, value, failure)

        self._calls.put(run)
        return await done

    def finish(self, last: Callable[[], object]) -> None:
        """Run `last` after everything else, then end."""
        self._calls.put(last)
        self._calls.put(None)


class AesKey:
    """A `SealingKey` whose bytes this process holds."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    async def seal(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        return self._cipher.encrypt(nonce, data, associated)

    async def open(self, nonce: bytes, sealed: bytes, associated: bytes) -> bytes | None:
        try:
            return self._cipher.decrypt(nonce, sealed, associated)
        except InvalidTag:
            return None


class FileVault:
    """See the module and `vault.Vault`."""

    def __init__(self, folder: Path, client_id: str) -> None:
        self.folder = folder
        self._client_id = client_id
        self._worker = _Worker()
        self._lock: BaseFileLock | None = None
        self._closed = False

    @classmethod
    async def open(cls, client_id: str, base: Path | None = None) -> FileVault:
        """The folder of a client id, made where it is missing, and its lock. `base` stands for `data_folder()`."""
        vault = cls((base or data_folder()) / "smolmix-web" / folder_name(client_id), client_id)
        try:
            await vault._worker.call(vault._enter)
        except BaseException:
            vault.close()
            raise
        return vault

    def _enter(self) -> None:
        for folder in (self.folder.parent, self.folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(self.folder.stat().st_mode) & 0o077:
            self.folder.chmod(0o700)
        # A soft lock, of those who look for a file, would outlive a process that is killed.
        lock = FileLock(self.folder / LOCK, LOCK_PATIENCE, 0o600, poll_interval=LOCK_RETRY, fallback_to_soft=False)
        try:
            lock.acquire(cancel_check=lambda: self._closed)
        except Timeout:
            raise StateError(
                f"clientId {self._client_id!r} is in use by another tunnel", code="client_id_in_use", phase="setup"
            ) from None
        self._lock = lock
        for left in self.folder.glob(".new-*"):  # of a process that was killed while it wrote
            left.unlink(missing_ok=True)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._worker.finish(self._leave)

    def _leave(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # -- the record ---------------------------------------------------------------------------------

    async def read(self) -> bytes | None:
        return await self._worker.call(lambda: self._read(RECORD, MAX_RECORD + 1))

    async def write(self, record: bytes) -> None:
        await self._worker.call(lambda: self._write(RECORD, record))

    async def set_aside(self, unix_time: int) -> str:
        return await self._worker.call(lambda: self._set_aside(unix_time))

    def _read(self, name: str, limit: int) -> bytes | None:
        path = self.folder / name
        try:
            # Without O_NONBLOCK a pipe in the file's place would be waited for.
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise StorageError(f"not a file: {path}")
            if stat.S_IMODE(status.st_mode) & 0o077:
                os.fchmod(file, 0o600)
            data = b""
            while len(data) < limit and (piece := os.read(file, limit - len(data))):
                data += piece
            return data
        finally:
            os.close(file)

    def _write(self, name: str, data: bytes) -> None:
        """Written beside its place, flushed to the disk, then renamed: a crash leaves the old file or the new one."""
        beside = self.folder / f".new-{secrets.token_hex(8)}"
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(file, rest) :]
                os.fsync(file)
            finally:
                os.close(file)
            os.replace(beside, self.folder / name)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        self._sync_folder()

    def _sync_folder(self) -> None:
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _set_aside(self, unix_time: int) -> str:
        number = max(0, unix_time)
        while (place := self.folder / f"{RECORD}.{number:012d}{ASIDE}").exists():
            number += 1
        os.rename(self.folder / RECORD, place)
        self._sync_folder()
        others = sorted(path for path in self.folder.glob(f"{RECORD}.*{ASIDE}") if path != place)
        for old in others[: max(0, len(others) + 1 - MAX_SET_ASIDE)]:
            old.unlink(missing_ok=True)
        return str(place)

    # -- keys ---------------------------------------------------------------------------------------

    async def own_key(self, *, create: bool) -> SealingKey | None:
        key = await self._worker.call(lambda: self._own_key(create))
        return AesKey(key) if key is not None else None

    def _own_key(self, create: bool) -> bytes | None:
        key = self._read(KEY, KEY_LENGTH + 1)
        if key is not None and len(key) == KEY_LENGTH:
            return key
        if not create:
            return None
        key = secrets.token_bytes(KEY_LENGTH)
        self._write(KEY, key)
        return key

    async def passphrase_key(self, passphrase: str, derivation: Derivation) -> SealingKey:
        return AesKey(await self._worker.call(lambda: derive(passphrase, derivation)))


def derive(passphrase: str, derivation: Derivation) -> bytes:
    """Argon2id version 1.3, one lane, without secret or associated data (RFC 9106)."""
    function = Argon2id(
        salt=derivation.salt,
        length=KEY_LENGTH,
        iterations=derivation.passes,
        lanes=1,
        memory_cost=derivation.memory,
    )
    return function.derive(passphrase.encode("utf-8", "surrogatepass"))
