"""Secret keys of a client: what they are and how they are drawn (gateway.md 8.1).

Reprs never show a secret; nothing here knows how keys are stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..crypto.provider import Crypto
from ..errors import UsageError
from ..rand import RandomSource


def _check(name: str, value: bytes, length: int) -> None:
    if not isinstance(value, bytes) or len(value) != length:
        raise UsageError(f"{name} must be {length} bytes", code="bad_key")


@dataclass(frozen=True)
class IdentityKeys:
    """An Ed25519 pair: of a client (its address) or of a gateway. `seed` and `public` have 32 bytes each."""

    seed: bytes = field(repr=False)
    public: bytes

    def __post_init__(self) -> None:
        _check("identity seed", self.seed, 32)
        _check("identity public key", self.public, 32)

    @classmethod
    def from_seed(cls, crypto: Crypto, seed: bytes) -> IdentityKeys:
        return cls(seed, crypto.ed25519_public(seed))


@dataclass(frozen=True)
class ClientKeys:
    """The three long-term secrets of a mixnet client, all drawn at random and independent of each other."""

    identity_seed: bytes = field(repr=False)  # 32, Ed25519
    encryption_secret: bytes = field(repr=False)  # 32, X25519, kept unclamped
    ack_key: bytes = field(repr=False)  # 16, AES-128

    def __post_init__(self) -> None:
        _check("identity seed", self.identity_seed, 32)
        _check("encryption secret", self.encryption_secret, 32)
        _check("ack key", self.ack_key, 16)

    @classmethod
    def generate(cls, rng: RandomSource) -> ClientKeys:
        return cls(rng.bytes(32), rng.bytes(32), rng.bytes(16))

    def identity(self, crypto: Crypto) -> IdentityKeys:
        return IdentityKeys.from_seed(crypto, self.identity_seed)
