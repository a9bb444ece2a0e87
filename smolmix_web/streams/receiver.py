"""One direction of a stream as it arrives: frames into order, into a bounded buffer, and what to tell the sender.

Every message of the mixnet takes its own route, so that neighbours overtake each other all the time; a number that is
missing says nothing about loss until time has passed.
"""

from __future__ import annotations

from enum import Enum, auto

MODULUS = 1 << 32
MAX_AHEAD = 4096  # frames beyond the one expected; more would be a sender that has lost count
FRAME_COST = 64  # bytes that a frame costs while it waits, besides its payload


class Arrival(Enum):
    """What became of a frame."""

    TAKEN = auto()
    KNOWN = auto()  # a duplicate, or older than the expected one
    REFUSED = auto()  # no room


class Receiver:
    """`capacity`: bytes that may wait for the reader; frames that came too early may hold as much again.

    `max_early`: number of frames that may wait out of order.
    """

    def __init__(self, capacity: int, max_early: int = MAX_AHEAD) -> None:
        self.expected = 0  # the number of the next frame in order: so many have arrived
        self.final: int | None = None  # frames there will be in all
        self.refused = 0
        self.max_early = max_early
        self._capacity = capacity
        self._taken = 0  # bytes that the reader took
        self._ready = bytearray()
        self._early: dict[int, bytes] = {}
        self._early_bytes = 0
        self._hole_since: float | None = None
        self._discards = False

    @property
    def available(self) -> int:
        """Bytes that can be read."""
        return len(self._ready)

    @property
    def early(self) -> int:
        """Frames that wait for one before them."""
        return len(self._early)

    @property
    def ended(self) -> bool:
        """All frames have arrived."""
        return self.final is not None and self.expected >= self.final

    @property
    def eof(self) -> bool:
        """All has been read."""
        return self.ended and not self._ready

    @property
    def credit(self) -> int:
        """Bytes that the sender may have sent in all."""
        return self._taken + self._capacity

    @property
    def hole_since(self) -> float | None:
        """Since when the expected frame has been missing although later ones are there."""
        return self._hole_since if self._early else None

    def number(self, sequence: int) -> int:
        """The number of a frame with these 32 bits: the one that is nearest to the expected."""
        ahead = (sequence - self.expected) % MODULUS
        return self.expected + (ahead if ahead < MODULUS // 2 else ahead - MODULUS)

    def prefix(self, payload: bytes) -> None:
        """Data of the Open itself, before all frames."""
        self._ready[:0] = payload

    def insert(self, number: int, payload: bytes, now: float) -> Arrival:
        """A frame arrived; `number` is that of `number()`."""
        if number < self.expected or number in self._early or (self.final is not None and number >= self.final):
            return Arrival.KNOWN
        if number > self.expected:
            size = len(payload) + FRAME_COST
            room = 2 * self._capacity - len(self._ready) - self._early_bytes
            if number - self.expected > MAX_AHEAD or len(self._early) >= self.max_early or size > room:
                self.refused += 1
                return Arrival.REFUSED
            if not self._early:
                self._hole_since = now
            self._early[number] = payload
            self._early_bytes += size
            return Arrival.TAKEN
        if len(self._ready) + len(payload) > self._capacity:
            self.refused += 1
            return Arrival.REFUSED
        self._append(payload)
        while self.expected in self._early:
            # These stand in the bound of the early ones, and the sender may have been told of them: they are kept.
            payload = self._early.pop(self.expected)
            self._early_bytes -= len(payload) + FRAME_COST
            self._append(payload)
        if self._early:
            self._hole_since = now
        return Arrival.TAKEN

    def _append(self, payload: bytes) -> None:
        self.expected += 1
        if self._discards:
            self._taken += len(payload)
        else:
            self._ready += payload

    def read(self, limit: int) -> bytes:
        """Up to `limit` bytes, in order."""
        piece = bytes(self._ready[:limit])
        del self._ready[:limit]
        self._taken += len(piece)
        return piece

    def discard(self) -> None:
        """Nobody reads any more: what is there and what comes is thrown away."""
        self.read(len(self._ready))
        self._discards = True

    def ranges(self, limit: int) -> tuple[tuple[int, int], ...]:
        """The first runs of early frames, as (first, end)."""
        runs: list[tuple[int, int]] = []
        for number in sorted(self._early):
            if runs and runs[-1][1] == number:
                runs[-1] = runs[-1][0], number + 1
            elif len(runs) == limit:
                break
            else:
                runs.append((number, number + 1))
        return tuple(runs)
