"""Echo requests of our own: one `Ping` per request, with its round-trip time or its error."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import SmolmixError, TimeoutExpired
from .addresses import IpAddress

INFINITY = float("inf")


class Ping:
    """Made by `Stack.ping`. Done when `rtt` (seconds) or `error` is set; then `on_event` is called."""

    __slots__ = (
        "_forget",
        "address",
        "deadline",
        "error",
        "heap_at",
        "identifier",
        "notified",
        "on_event",
        "payload",
        "ring",
        "rtt",
        "sent_at",
        "sequence",
    )

    def __init__(
        self,
        address: IpAddress,
        identifier: int,
        sequence: int,
        payload: bytes,
        sent_at: float,
        timeout: float,
        forget: Callable[[Ping], None],
    ) -> None:
        self.address = address
        self.identifier = identifier
        self.sequence = sequence
        self.payload = payload
        self.sent_at = sent_at
        self.deadline = sent_at + timeout
        self.rtt: float | None = None
        self.error: SmolmixError | None = None
        self.on_event: Callable[[], None] | None = None
        self._forget = forget
        self.ring = 0
        self.heap_at = INFINITY
        self.notified = False

    @property
    def done(self) -> bool:
        return self.rtt is not None or self.error is not None

    def cancel(self) -> None:
        """Stop waiting; no event follows."""
        self.on_event = None
        self.deadline = INFINITY
        self._forget(self)

    def finish(self, rtt: float | None, error: SmolmixError | None) -> None:
        self.rtt = rtt
        self.error = error
        self.deadline = INFINITY
        self._forget(self)

    # -- scheduler

    def urgency(self) -> int:
        return 0

    def produce(self, now: float) -> bytes | None:
        return None

    def on_timers(self, now: float) -> None:
        self.finish(None, TimeoutExpired(f"{self.address}: no echo reply", code="ping_timeout", phase="ping"))
