"""What a sender's Sphinx header says: the routing block of each hop, laid out for `Crypto` (sphinx 2.3, 2.8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..crypto.onion import header_mac as header_mac
from ..crypto.provider import Crypto
from ..errors import SphinxError, UsageError
from ..rand import RandomSource
from . import constants as c


class Hop(NamedTuple):
    """One node of a route."""

    address: bytes  # NodeAddressBytes: 32 bytes, zero-padded
    public_key: bytes  # X25519, 32 bytes


def xor(left: bytes, right: bytes) -> bytes:
    """XOR of two byte strings of the same length."""
    return (int.from_bytes(left, "little") ^ int.from_bytes(right, "little")).to_bytes(len(left), "little")


class HeaderPlan(NamedTuple):
    """The inputs of `Crypto.sphinx_header`."""

    initial_secret: bytes
    public_keys: list[bytes]
    routing: bytes
    explicit_keys: bool


def plan_header(
    rng: RandomSource,
    route: Sequence[Hop],
    delays_ns: Sequence[int],
    destination: bytes,
    *,
    version: int = c.DEFAULT_VERSION,
    identifier: bytes = bytes(c.IDENTIFIER),
    initial_secret: bytes | None = None,
    padding: bytes | None = None,
) -> HeaderPlan:
    """The header for a route of 1 to 5 hops.

    `delays_ns` has one value per hop; the last is never used. `initial_secret` (32) and `padding` (what is left of
    the last block: 248 - 60(hops - 1) bytes) are drawn from `rng` unless given.
    Raises UsageError for wrong lengths, SphinxError `unsupported_version`.
    """
    hops = len(route)
    pad_length = c.BETA - c.SLOT * (hops - 1) - c.FINAL_META
    check_version(version)
    if not 1 <= hops <= c.MAX_HOPS:
        raise UsageError(f"a route has 1 to {c.MAX_HOPS} hops, not {hops}", code="bad_route")
    if len(delays_ns) != hops:
        raise UsageError(f"{len(delays_ns)} delays for {hops} hops", code="bad_route")
    for hop in route:
        if len(hop.address) != c.ADDRESS or len(hop.public_key) != c.ALPHA:
            raise UsageError("a hop needs a 32-byte address and a 32-byte key", code="bad_route")
    if len(destination) != c.ADDRESS or len(identifier) != c.IDENTIFIER:
        raise UsageError("the destination has 32 bytes and the identifier 16", code="bad_destination")
    if initial_secret is None:
        initial_secret = rng.bytes(32)
    if padding is None:
        padding = rng.bytes(pad_length)
    elif len(padding) != pad_length:
        raise UsageError(f"the padding of {hops} hops has {pad_length} bytes", code="bad_padding")

    tag = version.to_bytes(3, "big")
    forward = b"\x01" + tag
    blocks: list[bytes] = []
    for hop, delay in zip(route[1:], delays_ns, strict=False):
        blocks += (forward, hop.address, delay.to_bytes(c.DELAY, "big"))
    routing = b"".join((*blocks, b"\x02", tag, destination, identifier, padding))
    return HeaderPlan(initial_secret, [hop.public_key for hop in route], routing, version == c.EXPLICIT_KEYS_VERSION)


def bad_node_key() -> SphinxError:
    """What `CryptoError` of a key of low order means here."""
    return SphinxError("header: a node key of the route is not usable", code="bad_node_key")


def check_version(version: int) -> None:
    """Only 258 and 259 are built; SphinxError `unsupported_version` otherwise."""
    if version not in (c.EXPLICIT_KEYS_VERSION, c.KEY_SEEDS_VERSION):
        raise SphinxError(f"header: version {version} is not built here", code="unsupported_version")


def payload_keys(crypto: Crypto, secrets: Sequence[bytes], version: int) -> list[bytes]:
    """The LIONESS key (192) of each expanded secret by the rule of sphinx 2.3; at most one crossing."""
    if version == c.EXPLICIT_KEYS_VERSION:
        return [secret[c.FULL_KEY] for secret in secrets]
    return crypto.payload_keys([secret[c.SEED] for secret in secrets])
