"""Acks and retransmission: which fragments wait for an ack, and how long (client-behaviour 3; C5, C6, C7).

The wait is `1.5 x D + addition`, D being the delays there and back that the packet itself carries. The addition starts
at 1.5 s and grows with what acks are measured to take beyond D (mean plus four mean deviations, as RFC 6298 does for
round trips); every retransmission of a fragment multiplies the wait by 1.5, up to 30 s. Acks of retransmitted
fragments are not measured, since they do not say which packet they confirm; instead the longest back-off so far holds
for new fragments too until one of them is measured, or a network slower than the first guess would never be known.

A fragment is entered before its packet leaves, and its timer starts when it does.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Generic, TypeVar

from .fragments import Fragment, FragmentIdentifier
from .traffic import TrafficConfig

_GAIN, _DEVIATION_GAIN = 1 / 8, 1 / 4
_SLOW_GAIN = 1 / 128  # losses show a second or more after the acks of the same time
_DROUGHT = 8  # acks in a row that are overdue
_BACKOFF_MAX = 6  # steps that new fragments take over
_EXPONENT_MAX = 16  # far beyond any cap; keeps the power finite


class AckClock:
    """How long an ack may take."""

    def __init__(self, config: TrafficConfig) -> None:
        self._config = config
        self.excess: float | None = None  # smoothed seconds that acks take beyond their delays
        self.round_trip: float | None = None  # smoothed seconds from leaving to the ack
        self.loss: float | None = None  # smoothed share of packets whose ack was not there in time
        self._deviation = 0.0
        self._backoff = 0

    def measure(self, excess: float, expected_delay: float = 0.0) -> None:
        """An ack came, `excess` seconds after the delays in the nodes."""
        self._backoff = 0
        trip = max(0.0, excess + expected_delay)
        self.round_trip = trip if self.round_trip is None else self.round_trip + _GAIN * (trip - self.round_trip)
        # No network takes longer than the cap; a machine that stood still might seem to.
        excess = min(max(0.0, excess), self._config.ack_wait_max)
        if self.excess is None:
            self.excess, self._deviation = excess, excess / 2
        else:
            self._deviation += _DEVIATION_GAIN * (abs(excess - self.excess) - self._deviation)
            self.excess += _GAIN * (excess - self.excess)

    def note_loss(self, lost: float) -> None:
        """1.0 for a packet whose ack was not there in time, 0.0 for one whose ack was."""
        self.loss = lost if self.loss is None else self.loss + _SLOW_GAIN * (lost - self.loss)

    def overdue(self, exponent: int) -> None:
        """A packet that was given this much back-off waited in vain."""
        self.note_loss(1.0)
        self._backoff = max(self._backoff, min(exponent + 1, _BACKOFF_MAX))

    def exponent(self, retransmissions: int) -> int:
        """The back-off of a packet that leaves now, `retransmissions` of its fragment having left before."""
        return max(min(retransmissions, _EXPONENT_MAX), self._backoff)

    def wait(self, expected_delay: float, exponent: int) -> float:
        """Seconds until a packet counts as lost; `expected_delay`: D."""
        config = self._config
        addition = config.ack_addition
        if self.excess is not None:
            addition = max(addition, min(self.excess + 4 * self._deviation, config.ack_wait_max))
        wait = config.ack_multiplier * expected_delay + addition
        return min(wait * config.ack_backoff**exponent, max(config.ack_wait_max, wait))


Owner = TypeVar("Owner")


@dataclass(slots=True, eq=False)
class PendingFragment(Generic[Owner]):
    """A fragment on its way. `owner`: the message it belongs to."""

    fragment: Fragment
    owner: Owner
    max_retransmissions: int | None
    give_up_at: float
    retransmissions: int = 0
    sent_at: float = 0.0
    expected_delay: float = 0.0
    exponent: int = 0
    measurable: bool = True  # its ack would say how long acks take
    deadline: float | None = None  # None while the packet waits to leave
    acknowledged: bool = False

    @property
    def identifier(self) -> FragmentIdentifier:
        return self.fragment.identifier


class AckController(Generic[Owner]):
    """All pending fragments and their timers."""

    def __init__(self, config: TrafficConfig) -> None:
        self.clock = AckClock(config)
        self.proven = float("-inf")  # when something left whose ack has come; the newest
        self.droughts = 0  # times that `_DROUGHT` acks in a row were overdue
        self._overdue = 0  # since the last ack
        self._pending: dict[FragmentIdentifier, PendingFragment[Owner]] = {}
        self._timers: list[tuple[float, int, PendingFragment[Owner]]] = []
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._pending)

    def enter(self, pending: PendingFragment[Owner]) -> None:
        """Before the packet leaves."""
        self._pending[pending.identifier] = pending

    def waits_for(self, pending: PendingFragment[Owner]) -> bool:
        return self._pending.get(pending.identifier) is pending

    def left(self, pending: PendingFragment[Owner], expected_delay: float, now: float) -> None:
        """The packet leaves now: start its timer."""
        pending.sent_at = now
        pending.measurable = pending.retransmissions == 0
        pending.expected_delay = expected_delay
        pending.exponent = self.clock.exponent(pending.retransmissions)
        self._set(pending, now + self.clock.wait(expected_delay, pending.exponent))

    def acknowledge(self, identifier: FragmentIdentifier, now: float) -> PendingFragment[Owner] | None:
        """The fragment that this ack confirms; None for one that is not waited for."""
        pending = self._pending.pop(identifier, None)
        if pending is None:
            return None
        pending.acknowledged = True
        self._overdue = 0
        if not pending.retransmissions:
            self.proven = max(self.proven, pending.sent_at)
        if pending.deadline is not None:
            self.clock.note_loss(0.0)
        if pending.measurable:
            self.clock.measure(now - pending.sent_at - pending.expected_delay, pending.expected_delay)
        pending.deadline = None
        return pending

    def forget(self, pending: PendingFragment[Owner]) -> None:
        if self._pending.get(pending.identifier) is pending:
            del self._pending[pending.identifier]
        pending.deadline = None

    def expired(self, now: float) -> list[PendingFragment[Owner]]:
        """Fragments whose ack is overdue; their timers stand still until `left` or `again`."""
        overdue = []
        while self._timers and self._timers[0][0] <= now:
            deadline, _, pending = heapq.heappop(self._timers)
            if pending.deadline == deadline:
                pending.deadline = None
                self.clock.overdue(pending.exponent)
                self._overdue += 1
                self.droughts += self._overdue % _DROUGHT == 0
                overdue.append(pending)
        return overdue

    def again(self, pending: PendingFragment[Owner], now: float) -> None:
        """Wait once more without sending: the packet could not be made now."""
        self._set(pending, now + self.clock.wait(pending.expected_delay, pending.exponent))

    def interrupt(self) -> None:
        """Time begins in which no ack can arrive, or is found to have gone by: nothing in flight tells how long acks
        take."""
        for pending in self._pending.values():
            pending.measurable = False

    def postpone(self, seconds: float) -> None:
        """After an interruption: all timers and lifetimes end later by that much."""
        self.interrupt()
        for pending in self._pending.values():
            pending.give_up_at += seconds
        running = [(deadline, pending) for deadline, _, pending in self._timers if pending.deadline == deadline]
        self._timers = []
        for deadline, pending in running:
            self._set(pending, deadline + seconds)

    def next_deadline(self) -> float | None:
        while self._timers and self._timers[0][2].deadline != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _set(self, pending: PendingFragment[Owner], deadline: float) -> None:
        pending.deadline = deadline
        self._sequence += 1
        heapq.heappush(self._timers, (deadline, self._sequence, pending))
        if len(self._timers) > 64 + 4 * len(self._pending):
            self._timers = [timer for timer in self._timers if timer[2].deadline == timer[0]]
            heapq.heapify(self._timers)
