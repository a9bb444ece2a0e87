"""One direction of a stream as it leaves: bytes into frames, no more than the other side can hold, and again if lost.

The mixnet repeats packets until the recipient's gateway has them. What is lost after that (a gateway that restarts, a
peer that moved) only the peer can notice: a frame that its gateway has, and that the peer has not acknowledged for
longer than such acknowledgements take, is sent again. With a peer that acknowledges nothing, its gateway's word has to
do: then a frame is done when it is delivered, and one that is not ends the stream.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

INITIAL_CREDIT = 256 * 1024  # bytes that a peer of ours takes before it has said anything
# Frames beyond the oldest one on its way: to a peer that acknowledges; to one that skips at 256; and before its gateway
# has the Open, for what overtakes that is kept up to 32.
FRAMES_TRUSTED, FRAMES_UNKNOWN, FRAMES_OPENING = 1024, 192, 24
RTO_FIRST, RTO_MIN, RTO_MAX = 6.0, 2.0, 30.0  # s from a frame's delivery to its acknowledgement
SETTLING = 1.0  # s by which frames overtake each other after their gateway had them, at most
_GAIN, _DEVIATION_GAIN = 1 / 8, 1 / 4


@dataclass(slots=True, eq=False)
class Flight:
    """A frame that is not done. `delivered`: when its gateway had it, None while the mixnet works on it."""

    number: int
    payload: bytes
    delivered: float | None = None
    repeats: int = 0
    lost: bool = False


class Sender:
    """`buffer`: bytes that may wait to be cut into frames. `trusted`: the peer acknowledges by itself, see `trust`;
    with one that does not, `settle`. `opening`: its gateway may not have the Open yet."""

    def __init__(self, buffer: int) -> None:
        self.trusted = False
        self.opening = False
        self.credit: float = INITIAL_CREDIT
        self.next = 0  # number of the next new frame
        self.sent = 0  # bytes of payload in all frames so far
        self.finished = False
        self.repeated = 0
        self._limit = buffer
        self._buffer = bytearray()
        self._flights: dict[int, Flight] = {}  # in the order of their numbers
        self._lost: list[int] = []
        self._kept: dict[int, Flight] = {}  # taken for done because nobody acknowledges
        self._oldest = 0  # all before are done
        self._trip: float | None = None
        self._deviation = 0.0
        self._backoff = 0
        self._newest = float("-inf")  # when the last one was delivered of those that are acknowledged
        self._probe_at = float("-inf")
        self._earliest: float | None = None  # no frame on its way was delivered before
        self._settled = False  # nobody acknowledges
        self.progress = 0.0  # when the oldest frame changed

    @property
    def space(self) -> int:
        return 0 if self.finished else self._limit - len(self._buffer)

    @property
    def unsent(self) -> int:
        return len(self._buffer)

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    @property
    def final(self) -> int | None:
        """Frames in all, once that is known."""
        return self.next if self.finished and not self._buffer else None

    @property
    def done(self) -> bool:
        """Everything written has arrived."""
        return not self._buffer and not self._flights

    def write(self, data: bytes | memoryview) -> int:
        """Take as much as there is room for."""
        taken = data[: max(0, self.space)]
        self._buffer += taken
        return len(taken)

    def clear(self) -> None:
        self._buffer.clear()
        self._flights.clear()
        self._lost.clear()
        self._kept.clear()
        self._oldest = self.next

    # -- out ----------------------------------------------------------------------------------------------

    def ready(self, size: int) -> bool:
        """Would `take` give a frame?"""
        return bool(self._lost) or self._room(size) > 0

    def take(self, size: int, now: float) -> Flight | None:
        """The next frame of at most `size` bytes, lost ones first."""
        while self._lost:
            flight = self._flights.get(self._lost.pop(0))
            if flight is not None and flight.lost:
                flight.lost = False
                flight.repeats += 1
                self.repeated += 1
                return flight
        room = self._room(size)
        if room <= 0:
            return None
        payload = bytes(self._buffer[:room])
        del self._buffer[:room]
        if not self._flights:
            self.progress = now
        flight = self._flights[self.next] = Flight(self.next, payload)
        self.next += 1
        self.sent += len(payload)
        return flight

    def _room(self, size: int) -> int:
        if not self._buffer or self.next - self._oldest >= self._frames:
            return 0
        wanted = min(size, len(self._buffer))
        left = self.credit - self.sent
        if left >= wanted:
            return wanted
        # A rest of the credit waits for more of it, unless nothing is on its way that would bring it.
        return 0 if self._flights else max(0, int(left))

    @property
    def _frames(self) -> int:
        if self.opening:
            return FRAMES_OPENING
        return FRAMES_TRUSTED if self.trusted else FRAMES_UNKNOWN

    @property
    def blocked(self) -> bool:
        """Only the peer's credit is missing."""
        return bool(self._buffer) and self.credit - self.sent < 1

    # -- what became of frames ----------------------------------------------------------------------------

    def delivered(self, flight: Flight, now: float) -> None:
        """The peer's gateway has it."""
        if self._flights.get(flight.number) is not flight:
            return
        flight.delivered = now
        if self._settled:
            self._keep(flight)
            self._advance(now)
            return
        self._earliest = now if self._earliest is None else self._earliest

    def undelivered(self, flight: Flight) -> None:
        """The mixnet gave up."""
        if self._flights.get(flight.number) is flight:
            self._lose(flight)

    def reroute(self) -> None:
        """The peer is elsewhere: what is on its way goes where it was."""
        for flight in self._flights.values():
            self._lose(flight)
        self._earliest, self._backoff, self._probe_at = None, 0, float("-inf")

    def settle(self, now: float) -> None:
        """The peer acknowledges nothing, it seems: what its gateway has is done."""
        self._settled = True
        self.credit = float("inf")
        for flight in [flight for flight in self._flights.values() if flight.delivered is not None]:
            self._keep(flight)
        self._advance(now)

    def _keep(self, flight: Flight) -> None:
        """The last ones are kept, in case that the peer has only been slow to show what it is."""
        del self._flights[flight.number]
        self._kept[flight.number] = flight
        if len(self._kept) > FRAMES_UNKNOWN:
            del self._kept[next(iter(self._kept))]

    def trust(self, credit: int) -> None:
        """The peer acknowledges by itself, and takes no more than `credit` bytes in all."""
        self.credit = max(self.credit, credit) if self.trusted else max(INITIAL_CREDIT, credit)
        self.trusted, self._settled = True, False
        if self._kept:
            self._flights = dict(sorted({**self._kept, **self._flights}.items()))
            self._kept.clear()
            times = (flight.delivered for flight in self._flights.values() if flight.delivered is not None)
            self._earliest = min(times, default=None)
            self._oldest = next(iter(self._flights))

    def acknowledge(self, received: int, ranges: Iterable[tuple[int, int]], now: float) -> bool:
        """The peer has everything before `received`, and `ranges`. False: that cannot be true."""
        if received > self.next or any(end > self.next for _, end in ranges):
            return False
        before = len(self._flights)
        for number in list(self._flights):
            if number >= received:
                break
            self._acknowledged(number, now)
        for first, end in ranges:
            for number in [number for number in self._flights if first <= number < end]:
                self._acknowledged(number, now)
        if len(self._flights) < before:
            self._backoff, self._probe_at = 0, float("-inf")
        self._advance(now)
        return True

    def lacks(self, received: int) -> bool:
        """Does a peer that has everything before `received` wait for a frame that is not there any more?"""
        return received < self._oldest

    def _acknowledged(self, number: int, now: float) -> None:
        flight = self._flights.pop(number, None)
        if flight is None or flight.delivered is None:
            return
        self._newest = max(self._newest, flight.delivered)
        if not flight.repeats:
            self._measure(max(0.0, now - flight.delivered))

    def _measure(self, trip: float) -> None:
        if self._trip is None:
            self._trip, self._deviation = trip, trip / 2
        else:
            self._deviation += _DEVIATION_GAIN * (abs(trip - self._trip) - self._deviation)
            self._trip += _GAIN * (trip - self._trip)

    def _advance(self, now: float) -> None:
        oldest = next(iter(self._flights), self.next)
        if oldest != self._oldest:
            self._oldest, self.progress = oldest, now

    @property
    def timeout(self) -> float:
        """Seconds from a frame's delivery to when it counts as lost."""
        rto = RTO_FIRST if self._trip is None else self._trip + max(1.0, 4 * self._deviation)
        return min(RTO_MAX, max(RTO_MIN, rto) * 1.5 ** min(self._backoff, 8))

    def poll(self, now: float) -> None:
        """Find what is lost: what is overdue although the peer has what was delivered later. While it has nothing
        newer it may only be slow, and one frame at a time asks for it, more and more seldom."""
        if not self.trusted:
            return
        due = self.next_deadline()
        if due is None or now < due:
            return
        limit = now - self.timeout
        delivered = [(flight.delivered, flight) for flight in self._flights.values() if flight.delivered is not None]
        overdue = [(when, flight) for when, flight in delivered if when <= limit]
        known = [flight for when, flight in overdue if when < self._newest - SETTLING]
        for flight in known:
            self._lose(flight)
        if overdue and not known and now >= self._probe_at:
            self._lose(overdue[0][1])
            self._backoff += 1
            self._probe_at = now + self.timeout
        left = (flight.delivered for flight in self._flights.values() if flight.delivered is not None)
        self._earliest = min(left, default=None)

    def _lose(self, flight: Flight) -> None:
        flight.delivered = None
        if not flight.lost:
            flight.lost = True
            self._lost.append(flight.number)

    def next_deadline(self) -> float | None:
        if not self.trusted or self._earliest is None:
            return None
        due = self._earliest + self.timeout
        return due if self._earliest < self._newest - SETTLING else max(due, self._probe_at)
