"""A whole Sphinx packet from the sender's side (sphinx 2.2, 2.7 to 2.9)."""

from __future__ import annotations

from collections.abc import Sequence

from ..crypto.provider import Crypto
from ..errors import CryptoError
from ..rand import RandomSource
from . import constants as c
from .header import Hop, bad_node_key, plan_header
from .payload import frame_payload

__all__ = ["Hop", "build_packet"]


def build_packet(
    crypto: Crypto,
    rng: RandomSource,
    route: Sequence[Hop],
    delays_ns: Sequence[int],
    destination: bytes,
    message: bytes,
    *,
    payload_size: int,
    version: int = c.DEFAULT_VERSION,
    identifier: bytes = bytes(c.IDENTIFIER),
    initial_secret: bytes | None = None,
    padding: bytes | None = None,
) -> bytes:
    """A packet of 348 + `payload_size` bytes, to be sent to `route[0]`.

    `message` has at most `payload_size` - 17 bytes. The other arguments and the errors are those of `plan_header`,
    and SphinxError `bad_node_key`. One border crossing.
    """
    plan = plan_header(
        rng,
        route,
        delays_ns,
        destination,
        version=version,
        identifier=identifier,
        initial_secret=initial_secret,
        padding=padding,
    )
    payload = frame_payload(message, payload_size)
    try:
        return crypto.sphinx_packet(plan.initial_secret, plan.public_keys, plan.routing, payload, plan.explicit_keys)
    except CryptoError as error:
        raise bad_node_key() from error
