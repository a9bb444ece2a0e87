"""The vault in a browser: IndexedDB, Web Locks and WebCrypto behind the functions of javascript/worker/storage.js.

Without a passphrase the key is a WebCrypto key that no script can read, made and kept by the browser; with one it comes
from Argon2id. Either way IndexedDB holds sealed bytes only. Imported under Pyodide only.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from pyodide.ffi import JsException, JsProxy, to_js

from ..errors import StateError, StorageError
from ..host.vault import LOCK_PATIENCE, MAX_SET_ASIDE, Derivation, SealingKey


async def _ask(promise: Awaitable[Any]) -> Any:
    """The value of a promise; what the browser complains of as `StorageError`."""
    try:
        return await promise
    except JsException as error:
        raise StorageError(str(error)) from None


class BrowserKey:
    """A `CryptoKey` as `SealingKey`."""

    def __init__(self, key: JsProxy, storage: Any) -> None:
        self._key = key
        self._storage = storage

    async def seal(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        sealed = await _ask(self._storage.seal(self._key, to_js(nonce), to_js(data), to_js(associated)))
        return bytes(sealed.to_bytes())

    async def open(self, nonce: bytes, sealed: bytes, associated: bytes) -> bytes | None:
        plain = await _ask(self._storage.open(self._key, to_js(nonce), to_js(sealed), to_js(associated)))
        return bytes(plain.to_bytes()) if plain is not None else None


class IndexedDbVault:
    """See the module and `vault.Vault`."""

    def __init__(self, client_id: str, storage: Any) -> None:
        self._client_id = client_id
        self._storage = storage

    @classmethod
    async def open(cls, client_id: str, storage: Any) -> IndexedDbVault:
        vault = cls(client_id, storage)
        try:
            free = await _ask(storage.lock(client_id, round(LOCK_PATIENCE * 1000)))
        except BaseException:
            vault.close()
            raise
        if not free:
            raise StateError(
                f"clientId {client_id!r} is in use by another tunnel of this site",
                code="client_id_in_use",
                phase="setup",
            )
        return vault

    async def read(self) -> bytes | None:
        record = await _ask(self._storage.read(self._client_id))
        return bytes(record.to_bytes()) if record is not None else None

    async def write(self, record: bytes) -> None:
        await _ask(self._storage.write(self._client_id, to_js(record)))

    async def set_aside(self, unix_time: int) -> str:
        return str(await _ask(self._storage.setAside(self._client_id, unix_time, MAX_SET_ASIDE)))

    async def own_key(self, *, create: bool) -> SealingKey | None:
        key = await _ask(self._storage.ownKey(self._client_id, create))
        return BrowserKey(key, self._storage) if key is not None else None

    async def passphrase_key(self, passphrase: str, derivation: Derivation) -> SealingKey:
        text = to_js(passphrase.encode("utf-8", "surrogatepass"))
        key = await _ask(
            self._storage.passphraseKey(text, to_js(derivation.salt), derivation.memory, derivation.passes)
        )
        return BrowserKey(key, self._storage)

    def close(self) -> None:
        self._storage.unlock()
