"""Links in virtual time: latency, jitter, loss, duplicates, reordering, corruption and a rate, changeable at any time.

One `Link` is one direction between two ends. A datagram link may lose, copy and reorder; a stream link (a WebSocket)
keeps the order and loses nothing: there a lossy line shows as delay, as with TCP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from smolmix_web.rand import SeededRandom

from .events import EventQueue


@dataclass
class LinkConditions:
    """How bad a kind of link is. Seconds, bytes per second, probabilities; may be changed while the network runs."""

    latency: float = 0.010
    jitter: float = 0.0  # mean of an exponential delay on top
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0  # held back by `reorder_delay`
    reorder_delay: float = 0.05
    corrupt: float = 0.0  # one bit of the packet is flipped
    rate: float = 0.0  # 0: unlimited
    queue: int = 1 << 20  # bytes waiting for the rate; a datagram beyond is lost
    buffer: int = 0  # of those of a stream: so many are out of the sender's sight, in its system and on the way
    retransmission: float = 0.2  # what a loss costs on a stream link
    down: bool = False  # nothing passes


class Link:
    """One direction with the conditions of its kind. `deliver` happens later, or never."""

    def __init__(self, queue: EventQueue, rng: SeededRandom, conditions: LinkConditions, *, stream: bool) -> None:
        self._queue = queue
        self._rng = rng
        self._stream = stream
        self._free_at = 0.0  # when the rate allows the next byte
        self._last_arrival = 0.0
        self.conditions = conditions
        self.sent = 0
        self.lost = 0

    def backlog(self) -> int:
        """Bytes that wait for the rate."""
        rate = self.conditions.rate
        return int(max(0.0, self._free_at - self._queue.now) * rate) if rate else 0

    def visible(self) -> int:
        """Those of them that the sender's socket shows."""
        return max(0, self.backlog() - self.conditions.buffer)

    def send(self, data: bytes, deliver: Callable[..., object], *args: object, delay: float = 0.0) -> None:
        """`deliver(data, *args)` at the far end; `delay` is spent before the link is entered."""
        conditions, rng, queue = self.conditions, self._rng, self._queue
        self.sent += 1
        if conditions.down or (not self._stream and conditions.loss and rng.uniform() < conditions.loss):
            self.lost += 1
            return
        when = queue.now + delay
        if conditions.rate:
            start = max(when, self._free_at)
            if not self._stream and (start - when) * conditions.rate > conditions.queue:
                self.lost += 1
                return
            when = self._free_at = start + len(data) / conditions.rate
        if self._stream:
            arrival = when + conditions.latency + (rng.exponential(conditions.jitter) if conditions.jitter else 0.0)
            if conditions.loss and rng.uniform() < conditions.loss:
                arrival += conditions.retransmission
            self._last_arrival = max(arrival, self._last_arrival)
            queue.at(self._last_arrival, deliver, data, *args)
            return
        copies = 2 if conditions.duplicate and rng.uniform() < conditions.duplicate else 1
        for _ in range(copies):
            arrival = when + conditions.latency
            if conditions.jitter:
                arrival += rng.exponential(conditions.jitter)
            if conditions.reorder and rng.uniform() < conditions.reorder:
                arrival += conditions.reorder_delay
            queue.at(arrival, deliver, self._spoiled(data) if conditions.corrupt else data, *args)

    def _spoiled(self, data: bytes) -> bytes:
        if not data or self._rng.uniform() >= self.conditions.corrupt:
            return data
        return flip_bit(self._rng, data)


def flip_bit(rng: SeededRandom, data: bytes) -> bytes:
    """`data` with one random bit changed."""
    at = rng.below(len(data))
    return data[:at] + bytes((data[at] ^ (1 << rng.below(8)),)) + data[at + 1 :]
