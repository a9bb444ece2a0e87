"""Reply SURBs: a ready header and the payload keys of its route, given away so that another may answer (sphinx 8.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..crypto.provider import Crypto
from ..errors import CryptoError, SphinxError, UsageError
from ..rand import RandomSource
from . import constants as c
from .header import Hop, bad_node_key, plan_header
from .payload import seal_payload

ENCRYPTION_KEY = 16
SURB_BASE = ENCRYPTION_KEY + c.HEADER + c.ADDRESS  # 396: what comes before the key material


@dataclass(frozen=True, slots=True, repr=False)
class ReplySurb:
    """One reply block. `rotation` is the rotation byte of the node keys it was made with, 0 when unknown.

    `key_material` in route order: 16-byte seeds (version 259, lists V2) or 192-byte keys (version 258, lists V1).
    """

    encryption_key: bytes  # 16
    header: bytes  # 348
    first_hop: bytes  # 32, zero-padded
    key_material: bytes
    rotation: int = 0

    def __repr__(self) -> str:
        return f"ReplySurb(hops={self.hops}, seeds={self.uses_seeds}, rotation={self.rotation})"

    @property
    def uses_seeds(self) -> bool:
        return len(self.key_material) < c.PAYLOAD_KEY

    @property
    def hops(self) -> int:
        return len(self.key_material) // (c.PAYLOAD_SEED if self.uses_seeds else c.PAYLOAD_KEY)

    def key_digest(self, crypto: Crypto) -> bytes:
        """BLAKE3(K), 32 bytes: by this the creator finds the key of a reply again."""
        return crypto.blake3(self.encryption_key)

    def to_bytes(self) -> bytes:
        """396 bytes and the key material; the rotation is written by the list that holds the SURB."""
        return b"".join((self.encryption_key, self.header, self.first_hop, self.key_material))

    @classmethod
    def from_bytes(cls, data: bytes, rotation: int = 0) -> ReplySurb:
        """Inverse of `to_bytes`; SphinxError `bad_surb` unless there are 1 to 5 whole seeds or full keys."""
        length = len(data) - SURB_BASE
        if length <= 0:
            raise SphinxError(f"SURB: {len(data)} bytes, more than {SURB_BASE} expected", code="bad_surb")
        unit = c.PAYLOAD_SEED if length < c.PAYLOAD_KEY else c.PAYLOAD_KEY
        if length % unit or length // unit > c.MAX_HOPS:
            raise SphinxError(
                f"SURB: {length} bytes of key material at offset {SURB_BASE} are not 1 to {c.MAX_HOPS} keys",
                code="bad_surb",
            )
        header_end = ENCRYPTION_KEY + c.HEADER
        return cls(
            data[:ENCRYPTION_KEY],
            data[ENCRYPTION_KEY:header_end],
            data[header_end:SURB_BASE],
            data[SURB_BASE:],
            rotation,
        )

    def apply(self, crypto: Crypto, plaintext: bytes, payload_size: int = c.REGULAR.payload) -> bytes:
        """The packet that carries `plaintext` (exactly `payload_size` - 17 bytes) back; send it to `first_hop`."""
        if len(plaintext) != payload_size - c.PAYLOAD_OVERHEAD:
            raise UsageError(
                f"a SURB of this size takes exactly {payload_size - c.PAYLOAD_OVERHEAD} bytes", code="bad_payload_size"
            )
        unit = c.PAYLOAD_SEED if self.uses_seeds else c.PAYLOAD_KEY
        keys = [self.key_material[at : at + unit] for at in range(0, len(self.key_material), unit)]
        if self.uses_seeds:
            keys = crypto.payload_keys(keys)
        return self.header + seal_payload(crypto, keys, plaintext, payload_size)


def build_surb(
    crypto: Crypto,
    rng: RandomSource,
    route: Sequence[Hop],
    delays_ns: Sequence[int],
    destination: bytes,
    rotation: int,
    *,
    version: int = c.DEFAULT_VERSION,
    initial_secret: bytes | None = None,
    padding: bytes | None = None,
) -> ReplySurb:
    """A SURB whose packets arrive at `destination` (own identity, 32) by `route`. One border crossing.

    Version 259 gives seeds; 258 gives full keys (for peers that only know V1 lists). Errors as `build_packet`.
    """
    plan = plan_header(
        rng,
        route,
        delays_ns,
        destination,
        version=version,
        initial_secret=initial_secret,
        padding=padding,
    )
    try:
        header, material = crypto.sphinx_header(*plan)
    except CryptoError as error:
        raise bad_node_key() from error
    return ReplySurb(rng.bytes(ENCRYPTION_KEY), header, route[0].address, material, rotation)
