"""What a runtime offers to keep one record: a place held by one tunnel at a time, and keys for AES-256-GCM.

Every method that waits may raise `StorageError` (code `store_unavailable`) and is given a deadline by its caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

MAX_SET_ASIDE = 3  # records set aside per client; the oldest go
LOCK_PATIENCE = 2.0  # s; a tunnel that just ended may not have let go yet


@dataclass(frozen=True)
class Derivation:
    """How a key comes from a passphrase. The default costs are RFC 9106's second recommendation with one lane."""

    salt: bytes  # 16
    memory: int = 65_536  # KiB
    passes: int = 3

    # What a damaged or hostile record may cost: a quarter of a gigabyte and some seconds.
    MIN_MEMORY = 8
    MAX_MEMORY = 262_144
    MAX_PASSES = 16

    @property
    def acceptable(self) -> bool:
        return self.MIN_MEMORY <= self.memory <= self.MAX_MEMORY and 1 <= self.passes <= self.MAX_PASSES


class SealingKey(Protocol):
    """A 256-bit key of AES-GCM. Where the runtime can, nobody ever sees its bytes."""

    async def seal(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        """Ciphertext and tag."""
        ...

    async def open(self, nonce: bytes, sealed: bytes, associated: bytes) -> bytes | None:
        """Inverse of `seal`; None when the tag does not check."""
        ...


class Vault(Protocol):
    """The place of one client id. Opened by `Host.open_vault`, which gives it to one tunnel at a time."""

    async def read(self) -> bytes | None:
        """The record, or None when there is none."""
        ...

    async def write(self, record: bytes) -> None:
        """Put a record in the place of the old one: after a crash it is the one or the other, whole."""
        ...

    async def set_aside(self, unix_time: int) -> str:
        """Move the record out of the way and keep it, with at most `MAX_SET_ASIDE`; says where it is now."""
        ...

    async def own_key(self, *, create: bool) -> SealingKey | None:
        """The runtime's own key for this client id; None when there is none and none is to be made."""
        ...

    async def passphrase_key(self, passphrase: str, derivation: Derivation) -> SealingKey:
        """The key that Argon2id makes of a passphrase."""
        ...

    def close(self) -> None:
        """Let go of the place, after what was begun has ended. Idempotent."""
        ...
