"""The Sphinx header of a sender: shared secrets, filler, nested routing information, MACs (sphinx 2.6 to 2.8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..crypto.hashes import hmac_sha256
from ..crypto.provider import Crypto
from ..errors import CryptoError, SphinxError, UsageError
from ..rand import RandomSource
from . import constants as c

_ZERO_SLOT = bytes(c.SLOT)


class Hop(NamedTuple):
    """One node of a route."""

    address: bytes  # NodeAddressBytes: 32 bytes, zero-padded
    public_key: bytes  # X25519, 32 bytes


def xor(left: bytes, right: bytes) -> bytes:
    """XOR of two byte strings of the same length."""
    return (int.from_bytes(left, "little") ^ int.from_bytes(right, "little")).to_bytes(len(left), "little")


def header_mac(mu: bytes, beta: bytes) -> bytes:
    """The 16-byte MAC over the 300 bytes of routing information; alpha is not covered (sphinx 2.6)."""
    return hmac_sha256(mu, beta)[: c.MAC]


def build_header(
    crypto: Crypto,
    rng: RandomSource,
    route: Sequence[Hop],
    delays_ns: Sequence[int],
    destination: bytes,
    *,
    version: int = c.DEFAULT_VERSION,
    identifier: bytes = bytes(c.IDENTIFIER),
    initial_secret: bytes | None = None,
    padding: bytes | None = None,
) -> tuple[bytes, list[bytes]]:
    """The 348-byte header for a route of 1 to 5 hops, and each hop's expanded secret (288) in route order.

    `delays_ns` has one value per hop; the last is never used. `initial_secret` (32) and `padding` (what is left of
    the last block: 248 - 60(hops - 1) bytes) are drawn from `rng` unless given. Two border crossings.
    Raises UsageError for wrong lengths, SphinxError `unsupported_version` or `bad_node_key`.
    """
    hops = len(route)
    pad_length = c.BETA - c.SLOT * (hops - 1) - c.FINAL_META
    check_version(version)
    if not 1 <= hops <= c.MAX_HOPS:
        raise UsageError(f"a route has 1 to {c.MAX_HOPS} hops, not {hops}", code="bad_route")
    if len(delays_ns) != hops:
        raise UsageError(f"{len(delays_ns)} delays for {hops} hops", code="bad_route")
    if any(len(hop.address) != c.ADDRESS or len(hop.public_key) != c.ALPHA for hop in route):
        raise UsageError("a hop needs a 32-byte address and a 32-byte key", code="bad_route")
    if len(destination) != c.ADDRESS or len(identifier) != c.IDENTIFIER:
        raise UsageError("the destination has 32 bytes and the identifier 16", code="bad_destination")
    if initial_secret is None:
        initial_secret = rng.bytes(32)
    if padding is None:
        padding = rng.bytes(pad_length)
    elif len(padding) != pad_length:
        raise UsageError(f"the padding of {hops} hops has {pad_length} bytes", code="bad_padding")

    try:
        alpha, secrets = crypto.header_secrets(initial_secret, [hop.public_key for hop in route])
    except CryptoError as error:
        raise SphinxError("header: a node key of the route is not usable", code="bad_node_key") from error
    streams = crypto.keystreams([secret[c.RHO] for secret in secrets], c.KEYSTREAM)

    filler = b""
    for step in range(1, hops):
        filler = xor(filler + _ZERO_SLOT, streams[step - 1][c.KEYSTREAM - c.SLOT * step :])

    tag = version.to_bytes(3, "big")
    block = b"".join((b"\x02", tag, destination, identifier, padding))
    beta = xor(block, streams[-1][: len(block)]) + filler
    mac = header_mac(secrets[-1][c.MU], beta)
    for hop in range(hops - 2, -1, -1):
        delay = delays_ns[hop].to_bytes(c.DELAY, "big")
        block = b"".join((b"\x01", tag, route[hop + 1].address, delay, mac, beta[: c.BETA - c.SLOT]))
        beta = xor(block, streams[hop][: c.BETA])
        mac = header_mac(secrets[hop][c.MU], beta)
    return alpha + mac + beta, secrets


def check_version(version: int) -> None:
    """Only 258 and 259 are built; SphinxError `unsupported_version` otherwise."""
    if version not in (c.EXPLICIT_KEYS_VERSION, c.KEY_SEEDS_VERSION):
        raise SphinxError(f"header: version {version} is not built here", code="unsupported_version")


def payload_keys(crypto: Crypto, secrets: Sequence[bytes], version: int) -> list[bytes]:
    """The LIONESS key (192) of each expanded secret by the rule of sphinx 2.3; at most one crossing."""
    if version == c.EXPLICIT_KEYS_VERSION:
        return [secret[c.FULL_KEY] for secret in secrets]
    return crypto.payload_keys([secret[c.SEED] for secret in secrets])
