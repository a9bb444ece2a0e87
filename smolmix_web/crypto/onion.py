"""A whole Sphinx header and packet from single primitives, for providers whose calls cost little (sphinx 2.4 to 2.9).

What is laid out above comes as plain routing blocks, one per hop, without the MAC and what is nested in it.
javascript/worker/crypto/packets.js does the same in one call. Lengths are bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..errors import CryptoError
from . import hashes

MAX_HOPS = hashes.MAX_HOPS
MAC = 16
FORWARD_META = 44  # flag, version, address, delay
SLOT = FORWARD_META + MAC  # what one hop takes from the routing information
BETA = MAX_HOPS * SLOT
KEYSTREAM = BETA + SLOT
HEADER = 32 + MAC + BETA

# The fields of an expanded shared secret (sphinx 2.4).
RHO = slice(0, 16)
MU = slice(16, 32)
FULL_KEY = slice(32, 224)
SEED = slice(32, 48)
BLINDING = slice(224, 256)
REPLAY_TAG = slice(256, 288)


def routing_length(hops: int) -> int:
    """Bytes of the routing blocks of a route: 44 for each hop that forwards, the final block fills the rest."""
    return FORWARD_META * (hops - 1) + BETA - SLOT * (hops - 1)


def header_mac(mu: bytes, beta: bytes) -> bytes:
    """The 16-byte MAC over the 300 bytes of routing information; alpha is not covered (sphinx 2.6)."""
    return hashes.hmac_sha256(mu, beta)[:MAC]


def check_routing(public_keys: Sequence[bytes], routing: bytes) -> None:
    """The input of `sphinx_header` and `sphinx_packet` that `header_secrets` does not check."""
    if len(routing) != routing_length(len(public_keys)):
        raise CryptoError("sphinx: the routing blocks do not have the length of this route", code="bad_length")


class _Primitives(Protocol):
    def header_secrets(self, initial_secret: bytes, public_keys: Sequence[bytes]) -> tuple[bytes, list[bytes]]: ...
    def keystreams(self, keys: Sequence[bytes], length: int) -> list[bytes]: ...
    def payload_keys(self, seeds: Sequence[bytes]) -> list[bytes]: ...
    def lioness_encrypt(self, keys: Sequence[bytes], block: bytes) -> bytes: ...


class OnionFromPrimitives:
    """`Crypto.sphinx_header` and `Crypto.sphinx_packet` for a class that has the smaller batches."""

    def sphinx_header(
        self: _Primitives, initial_secret: bytes, public_keys: Sequence[bytes], routing: bytes, explicit_keys: bool
    ) -> tuple[bytes, bytes]:
        header, secrets = _build(self, initial_secret, public_keys, routing)
        part = FULL_KEY if explicit_keys else SEED
        return header, b"".join([secret[part] for secret in secrets])

    def sphinx_packet(
        self: _Primitives,
        initial_secret: bytes,
        public_keys: Sequence[bytes],
        routing: bytes,
        payload: bytes,
        explicit_keys: bool,
    ) -> bytes:
        header, secrets = _build(self, initial_secret, public_keys, routing)
        if explicit_keys:
            keys = [secret[FULL_KEY] for secret in secrets]
        else:
            keys = self.payload_keys([secret[SEED] for secret in secrets])
        return header + self.lioness_encrypt(keys, payload)


def _build(
    crypto: _Primitives, initial_secret: bytes, public_keys: Sequence[bytes], routing: bytes
) -> tuple[bytes, list[bytes]]:
    """The header, and each hop's expanded secret (288), in route order."""
    check_routing(public_keys, routing)
    alpha, secrets = crypto.header_secrets(initial_secret, public_keys)
    streams = crypto.keystreams([secret[RHO] for secret in secrets], KEYSTREAM)
    numbers = [int.from_bytes(stream, "big") for stream in streams]
    last = len(secrets) - 1
    # The filler: what the hops before shift in behind the final block.
    filler = 0
    for step in range(1, last + 1):
        filler = filler << 8 * SLOT ^ numbers[step - 1] & (1 << 8 * SLOT * step) - 1
    final = routing[FORWARD_META * last :]
    plain = int.from_bytes(final, "big") ^ numbers[last] >> 8 * (KEYSTREAM - len(final))
    beta = (plain << 8 * SLOT * last | filler).to_bytes(BETA, "big")
    mac = header_mac(secrets[last][MU], beta)
    for hop in range(last - 1, -1, -1):
        block = routing[FORWARD_META * hop : FORWARD_META * (hop + 1)] + mac + beta[: BETA - SLOT]
        beta = (int.from_bytes(block, "big") ^ numbers[hop] >> 8 * SLOT).to_bytes(BETA, "big")
        mac = header_mac(secrets[hop][MU], beta)
    return alpha + mac + beta, secrets
