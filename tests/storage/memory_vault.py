"""A vault in memory with faults on request, and a host on the running loop: for tests in virtual time."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.errors import StateError, StorageError
from smolmix_web.host.vault import Derivation, SealingKey
from smolmix_web.rand import SeededRandom
from smolmix_web.storage.files import AesKey

UNIX = 1_800_000_000


@dataclass
class Place:
    """What outlives a vault. `fails` and `hangs` name methods of the vault."""

    record: bytes | None = None
    key: bytes | None = None
    aside: list[bytes] = field(default_factory=list)
    holder: MemoryVault | None = None
    fails: set[str] = field(default_factory=set)
    hangs: set[str] = field(default_factory=set)
    writes: int = 0
    starts: int = 0
    derived: list[Derivation] = field(default_factory=list)

    async def meet(self, method: str) -> None:
        if method in self.hangs:
            await asyncio.sleep(1e6)
        if method in self.fails:
            raise StorageError(f"{method} fails on purpose")
        await asyncio.sleep(0.01)


class MemoryVault:
    def __init__(self, place: Place) -> None:
        self.place = place

    async def read(self) -> bytes | None:
        await self.place.meet("read")
        return self.place.record

    async def write(self, record: bytes) -> None:
        await self.place.meet("write")
        self.place.record = record
        self.place.writes += 1

    async def set_aside(self, unix_time: int) -> str:
        await self.place.meet("set_aside")
        assert self.place.record is not None and unix_time >= UNIX
        self.place.aside.append(self.place.record)
        self.place.record = None
        return "aside"

    async def own_key(self, *, create: bool) -> SealingKey | None:
        await self.place.meet("own_key")
        if self.place.key is None and create:
            self.place.key = bytes(range(32))
        return AesKey(self.place.key) if self.place.key is not None else None

    async def passphrase_key(self, passphrase: str, derivation: Derivation) -> SealingKey:
        """Quick, and different for every input, as Argon2id is."""
        await self.place.meet("passphrase_key")
        self.place.derived.append(derivation)
        return AesKey(hashlib.sha256(repr((passphrase, derivation)).encode()).digest())

    def close(self) -> None:
        if self.place.holder is self:
            self.place.holder = None


class StorageTestHost(LoopClock):
    """The part of a host that a store needs."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        place.starts += 1
        self.rng = SeededRandom(f"storage {place.starts}")

    def unix_time(self) -> float:
        return UNIX + 0.9

    async def open_vault(self, client_id: str) -> MemoryVault:
        assert client_id == "me"
        await self.place.meet("open_vault")
        if self.place.holder is not None:
            raise StateError("in use", code="client_id_in_use")
        self.place.holder = MemoryVault(self.place)
        return self.place.holder
