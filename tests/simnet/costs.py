"""What a client's work costs on a machine that is slow, and the line it hangs on.

    host = SimHost(network); host.load = 2.0      # default traffic takes twice the time there is
    thin_line(network, 40, buffer=64 << 10)       # 40 kB/s each way between every client and its gateway

Work takes time where it is done: in a client's cryptography and in each event that its loop is given. Meanwhile the
rest of the world goes on, and what comes for the client waits in its loop's queue. A load of 1.0 is a machine that
default traffic, all of it cover, takes whole; the same cost per packet counts for any traffic. The rest of a simulation
costs nothing. Only one machine of a network may be slow: the work of two would add up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from smolmix_web.crypto.provider import Crypto

if TYPE_CHECKING:
    from .network import SimNetwork

DEFAULT_RATE = 55.0  # packets per second of the two streams
LARGE = 1000  # bytes: a packet, not an ack

# Shares of what one cover packet costs in all: made, sealed, sent; it (known unopened), its ack and the gateway's
# answer come.
HEADER = 0.15  # of a packet, an ack or a SURB
PAYLOAD = 0.225
SEAL = 0.05
EVENT = 0.03  # a frame handed over by the host, whatever is in it
OPEN, OPEN_ACK = 0.10, 0.08
BODY, BODY_REPLY, BODY_ACK = 0.16, 0.06, 0.02
WHOLE = 2 * HEADER + PAYLOAD + SEAL + 3 * EVENT + OPEN + OPEN_ACK + 2 * BODY_ACK


class CostlyCrypto:
    """A client's cryptography: that of its network, and each step of a packet's life calls `spend` with its share."""

    def __init__(self, crypto: Crypto, spend: Callable[[float], None]) -> None:
        self._crypto = crypto
        self._spend = spend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._crypto, name)

    def sphinx_header(self, *args: Any) -> tuple[bytes, bytes]:
        self._spend(HEADER)
        return self._crypto.sphinx_header(*args)

    def sphinx_packet(self, *args: Any) -> bytes:
        payload = args[3]
        self._spend(HEADER + (PAYLOAD if len(payload) > LARGE else 0.0))
        return self._crypto.sphinx_packet(*args)

    def aes256_gcm_siv_seal(self, key: bytes, nonce: bytes, plaintext: bytes) -> bytes:
        self._spend(SEAL)
        return self._crypto.aes256_gcm_siv_seal(key, nonce, plaintext)

    def aes256_gcm_siv_open(self, key: bytes, nonce: bytes, sealed: bytes) -> bytes:
        self._spend(OPEN if len(sealed) > LARGE else OPEN_ACK)
        return self._crypto.aes256_gcm_siv_open(key, nonce, sealed)

    def open_fragment(self, private_key: bytes, sealed: bytes) -> bytes:
        self._spend(BODY)
        return self._crypto.open_fragment(private_key, sealed)

    def lioness_decrypt(self, keys: Any, block: bytes) -> bytes:
        self._spend(BODY)
        return self._crypto.lioness_decrypt(keys, block)

    def aes128_ctr(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        self._spend(BODY_REPLY if len(data) > LARGE else BODY_ACK)
        return self._crypto.aes128_ctr(key, iv, data)


# A browser compiles code while it runs for the first time: so much slower it is at first, until it has done the work of
# so many cover packets.
COLDNESS, COLD_WORK = 3.0, 20.0


def seconds(share: float, load: float) -> float:
    """How long this share of a packet's work takes on such a machine."""
    return share / WHOLE * load / DEFAULT_RATE


def coldness(done: float) -> float:
    """How many times slower a machine is that has `done` shares of a packet's work since it began."""
    return 1 + (COLDNESS - 1) * max(0.0, 1 - done / WHOLE / COLD_WORK)


def thin_line(network: SimNetwork, rate: float, *, buffer: int = 64 << 10, delay: float = 0.030) -> None:
    """`rate` in kB/s each way, `delay` in seconds; up to `buffer` bytes wait where the client's socket does not show
    them."""
    network.impair(("client_up", "client_down"), rate=rate * 1000.0, buffer=buffer, latency=delay)
