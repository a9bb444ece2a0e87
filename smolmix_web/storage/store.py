"""`IdentityStore`: one client's stored identity while a tunnel uses it, from the first read to the last write.

What cannot be opened is set aside and a fresh identity starts, with a warning; so a store is never a dead end. Only a
passphrase that is wrong or missing is refused (`OptionError`), since the record may be fine. A place that cannot be
read or written costs a warning and what it would have kept, never the tunnel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from ..edge.deadline import Clock, Deadline
from ..errors import OptionError, SmolmixError, StorageError, TimeoutExpired
from ..host.vault import LOCK_PATIENCE, Derivation, SealingKey, Vault
from ..rand import RandomSource
from .envelope import NONCE_LENGTH, SALT_LENGTH, Envelope, header
from .identity import StoredIdentity

IO_TIMEOUT = 5.0  # s for each read or write
KEY_TIMEOUT = 30.0  # s; Argon2id takes half a second on a desktop and some seconds on a phone

_UNUSABLE = ("store_damaged", "store_foreign", "store_newer")

Warn = Callable[[SmolmixError], None]
T = TypeVar("T")


class StorageHost(Clock, Protocol):
    """The part of `Host` that a store needs."""

    rng: RandomSource

    def unix_time(self) -> float: ...

    async def open_vault(self, client_id: str) -> Vault: ...


async def open_store(host: StorageHost, client_id: str, passphrase: str | None, warn: Warn) -> IdentityStore | None:
    """The store of `client_id`, its identity loaded; None (and a warning) where this runtime cannot keep one.

    `StateError` code `client_id_in_use` while another tunnel uses it, `OptionError` for the passphrase.
    """
    vault: Vault | None = None
    try:
        async with Deadline(host, LOCK_PATIENCE + IO_TIMEOUT, "storage"):
            vault = await host.open_vault(client_id)
        store = IdentityStore(host, vault, passphrase, warn)
        await store.load()
        return store
    except (StorageError, TimeoutExpired) as error:
        if vault is not None:
            vault.close()
        warn(_unavailable("the stored identity cannot be used, this one lives in memory only", error))
        return None
    except BaseException:
        if vault is not None:
            vault.close()
        raise


class IdentityStore:
    """See the module. `identity` is what was found, or None; `keep` says what is to be found next time."""

    def __init__(self, host: StorageHost, vault: Vault, passphrase: str | None, warn: Warn) -> None:
        self._host = host
        self._vault = vault
        self._passphrase = passphrase
        self._warn = warn
        self.identity: StoredIdentity | None = None
        self.writes = 0
        self._saved: StoredIdentity | None = None  # what the record holds, sealed as it should be
        self._wanted: StoredIdentity | None = None
        self._saving: asyncio.Task[None] | None = None
        self._key: SealingKey | None = None
        self._derivation: Derivation | None = None
        self._complained = False
        self._closed = False

    async def _within(self, seconds: float, work: Awaitable[T]) -> T:
        async with Deadline(self._host, seconds, "storage"):
            return await work

    # -- reading ------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read and open the record. See `open_store` for errors; besides `StorageError` and `TimeoutExpired`."""
        record = await self._within(IO_TIMEOUT, self._vault.read())
        if record is not None:
            await self._take(record)
        if self._key is None and self._passphrase is not None:
            # Now, since Argon2id stops everything else in a browser's worker for its time.
            self._derivation = Derivation(self._host.rng.bytes(SALT_LENGTH))
            self._key = await self._derive(self._passphrase, self._derivation)

    async def _take(self, record: bytes) -> None:
        try:
            envelope = Envelope.from_bytes(record)
            self.identity = StoredIdentity.from_bytes(await self._open(envelope))
        except StorageError as error:
            if error.code not in _UNUSABLE:
                raise
            # Where this fails nothing may be written either: it would destroy what somebody may still need.
            place = await self._within(IO_TIMEOUT, self._vault.set_aside(int(self._host.unix_time())))
            self._key = self._derivation = None
            self._warn(
                StorageError(
                    f"{error.message}; it was set aside ({place}) and a new identity starts",
                    code=error.code,
                    phase="storage",
                )
            )
        else:
            # A passphrase that is new seals the record anew, even though nothing in it has changed.
            if self._key is not None:
                self._saved = self._wanted = self.identity

    async def _open(self, envelope: Envelope) -> bytes:
        derivation = envelope.derivation
        if derivation is None:
            key = await self._within(IO_TIMEOUT, self._vault.own_key(create=False))
            plain = await self._unseal(key, envelope) if key is not None else None
            if plain is None:
                raise StorageError("the stored record was sealed with another key", code="store_foreign")
            if self._passphrase is None:
                self._key = key
            return plain
        if self._passphrase is None:
            raise OptionError("storagePassphrase", "the identity stored for this clientId needs its passphrase")
        key = await self._derive(self._passphrase, derivation)
        plain = await self._unseal(key, envelope)
        if plain is None:
            raise OptionError("storagePassphrase", "it does not open the identity stored for this clientId")
        default = Derivation(derivation.salt)
        if derivation.memory >= default.memory and derivation.passes >= default.passes:
            self._key, self._derivation = key, derivation
        return plain

    async def _derive(self, passphrase: str, derivation: Derivation) -> SealingKey:
        return await self._within(KEY_TIMEOUT, self._vault.passphrase_key(passphrase, derivation))

    async def _unseal(self, key: SealingKey, envelope: Envelope) -> bytes | None:
        return await self._within(IO_TIMEOUT, key.open(envelope.nonce, envelope.sealed, envelope.header))

    # -- writing ------------------------------------------------------------------------------------

    def keep(self, identity: StoredIdentity) -> None:
        """Write `identity` in the background, unless the record holds just that."""
        if self._closed or identity == self._wanted:
            return
        self._wanted = identity
        if self._saving is None:
            self._saving = asyncio.get_running_loop().create_task(self._save())

    async def _save(self) -> None:
        try:
            while (wanted := self._wanted) is not None and wanted != self._saved:
                record = await self._seal(wanted)
                await self._within(IO_TIMEOUT, self._vault.write(record))
                self._saved = wanted
                self.writes += 1
        except (StorageError, TimeoutExpired) as error:
            self._wanted = self._saved  # the next change tries again
            if not self._complained:
                self._complained = True
                self._warn(_unavailable("the identity could not be stored", error))
        finally:
            self._saving = None

    async def _seal(self, identity: StoredIdentity) -> bytes:
        if self._key is None:
            self._key = await self._within(IO_TIMEOUT, self._vault.own_key(create=True))
            if self._key is None:
                raise StorageError("there is no key to seal the identity with")
        nonce = self._host.rng.bytes(NONCE_LENGTH)
        work = self._key.seal(nonce, identity.to_bytes(), header(self._derivation))
        sealed = await self._within(IO_TIMEOUT, work)
        return Envelope(self._derivation, nonce, sealed).to_bytes()

    async def flush(self, limit: float) -> None:
        """Wait for a write under way, `limit` seconds at most."""
        if self._saving is not None:
            await asyncio.wait({self._saving}, timeout=limit)

    def close(self) -> None:
        """No more writes; the place is free for the next tunnel. Idempotent."""
        self._closed = True
        if self._saving is not None:
            self._saving.cancel()
        self._vault.close()


def _unavailable(what: str, error: SmolmixError) -> StorageError:
    return StorageError(f"{what}: {error.message}", code="store_unavailable", phase="storage")
