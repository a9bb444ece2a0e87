"""Fragments back to messages: any order, duplicates, chains of sets, bounded memory (sphinx 9, client-behaviour 4).

Set ids are 31-bit numbers drawn by each sender for itself, so they say nothing across senders. Everything here is
kept per `source`: whatever stands for one sender as seen from the decryption. Replies to us come under a new SURB key
each, so their source is the peer whom we gave those SURBs, not the key; all that came under our own public key has one
source, for nothing tells its senders apart. So no stranger can disturb the sets of a peer who answers by SURB.

A malformed fragment never changes a set. When memory runs out, the source that holds most loses its stalest set.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from ..errors import MessageError
from .fragments import MAX_SET, Fragment, unpad_message

INCOMPLETE_TIMEOUT = 1800.0  # seconds without a new fragment
SWEEP_INTERVAL = 10.0
DUPLICATE_PERIOD = 300.0  # finished ids are remembered for one to two periods
MAX_BUFFERED = 16 * 1024 * 1024
MAX_REMEMBERED = 32768  # ids per period

# What a buffered fragment and a set cost beyond their data: so that empty ones are bounded as well.
_FRAGMENT_COST = 96
_SET_COST = 512


@dataclass(slots=True)
class ReassemblyStatistics:
    """Counters since the start."""

    fragments: int = 0
    messages: int = 0
    duplicates: int = 0
    malformed: int = 0
    expired_sets: int = 0
    evicted_sets: int = 0


@dataclass(slots=True)
class _Set:
    total: int
    last: float
    parts: dict[int, bytes] = field(default_factory=dict)
    previous: int | None = None
    next: int | None = None
    cost: int = _SET_COST

    @property
    def complete(self) -> bool:
        return len(self.parts) == self.total


@dataclass(slots=True)
class _Source:
    # Ordered by the time of the last fragment: the first one is the stalest.
    sets: dict[int, _Set] = field(default_factory=dict)
    cost: int = 0


class _Finished:
    """Remembers ids of finished sets for one to two periods, in two generations of bounded size."""

    def __init__(self, period: float, limit: int) -> None:
        self._period = period
        self._limit = limit
        self._young: set[tuple[Hashable, int]] = set()
        self._old: set[tuple[Hashable, int]] = set()
        self._turn = 0.0

    def turn(self, now: float) -> None:
        if now >= self._turn:
            # After a long silence both generations are too old.
            self._old = self._young if now < self._turn + self._period else set()
            self._young = set()
            self._turn = now + self._period

    def add(self, key: tuple[Hashable, int]) -> None:
        if len(self._young) >= self._limit:
            self._old, self._young = self._young, set()
        self._young.add(key)

    def __contains__(self, key: tuple[Hashable, int]) -> bool:
        return key in self._young or key in self._old


class Reassembler:
    """Collects fragments until their message is whole.

    `max_buffered`: bytes of incomplete sets, overhead included, hence also the longest message. `timeout`: seconds
    after which an incomplete set without news is thrown away.
    """

    def __init__(
        self,
        *,
        max_buffered: int = MAX_BUFFERED,
        timeout: float = INCOMPLETE_TIMEOUT,
        duplicate_period: float = DUPLICATE_PERIOD,
        max_remembered: int = MAX_REMEMBERED,
    ) -> None:
        self._max_buffered = max_buffered
        self._timeout = timeout
        self._sources: dict[Hashable, _Source] = {}
        self._buffered = 0
        self._finished = _Finished(duplicate_period, max_remembered)
        self._next_sweep = 0.0
        self.statistics = ReassemblyStatistics()

    @property
    def buffered(self) -> int:
        """Bytes held for incomplete messages, overhead included."""
        return self._buffered

    def insert(self, source: Hashable, data: bytes, now: float) -> bytes | None:
        """Take one fragment (`data` with its header) from `source`.

        Returns the message, type byte first and without padding, when this fragment completes it; None when more is
        missing or the fragment is a duplicate. Raises MessageError `bad_fragment`, `fragment_mismatch`,
        `bad_set_chain` or `bad_padding`; the state stays sound in every case.
        """
        self.expire(now)
        self.statistics.fragments += 1
        try:
            return self._insert(source, Fragment.from_bytes(data), now)
        except MessageError:
            self.statistics.malformed += 1
            raise

    def expire(self, now: float) -> None:
        """Throw away what is too old; does something at most every 10 s. `insert` calls it."""
        self._finished.turn(now)
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_INTERVAL
        for key in list(self._sources):
            source = self._sources[key]
            stale = []
            for set_id, entry in source.sets.items():
                if entry.last + self._timeout > now:
                    break
                stale.append(set_id)
            self.statistics.expired_sets += len(stale)
            for set_id in stale:
                self._remove(key, source, set_id)

    def _insert(self, source_key: Hashable, fragment: Fragment, now: float) -> bytes | None:
        set_id = fragment.set_id
        if (source_key, set_id) in self._finished:
            self.statistics.duplicates += 1
            return None
        source = self._sources.get(source_key)
        entry = source.sets.get(set_id) if source is not None else None
        if entry is None:
            if fragment.total == 1 and fragment.previous_set is None:
                # By far the most frequent case, a message in one packet, touches no buffer.
                return self._deliver(source_key, [set_id], fragment.data)
            if source is None:
                source = self._sources[source_key] = _Source()
            entry = source.sets[set_id] = _Set(fragment.total, now)
            source.cost += _SET_COST
            self._buffered += _SET_COST
        assert source is not None
        if entry.total != fragment.total:
            raise MessageError(
                f"fragment: {fragment.total} in all at offset 4, but its set has {entry.total}",
                code="fragment_mismatch",
            )
        if fragment.position in entry.parts:
            self.statistics.duplicates += 1
            return None
        cost = len(fragment.data) + _FRAGMENT_COST
        entry.parts[fragment.position] = fragment.data
        entry.cost += cost
        source.cost += cost
        self._buffered += cost
        entry.last = now
        source.sets[set_id] = source.sets.pop(set_id)
        if fragment.position == 1:
            entry.previous = fragment.previous_set
        if fragment.position == MAX_SET:
            entry.next = fragment.next_set
        if entry.complete:
            chain = self._chain(source_key, source, set_id)
            if chain is not None:
                parts = [source.sets[member] for member in chain]
                message = b"".join([part.parts[at] for part in parts for at in range(1, part.total + 1)])
                for member in chain:
                    self._remove(source_key, source, member)
                return self._deliver(source_key, chain, message)
        if self._buffered > self._max_buffered:
            self._evict()
        return None

    def _chain(self, source_key: Hashable, source: _Source, set_id: int) -> list[int] | None:
        """The ids of all sets of the message in order, None while some are not complete."""
        backwards = self._follow(source_key, source, set_id, forwards=False)
        if backwards is None:
            return None
        forwards = self._follow(source_key, source, set_id, forwards=True)
        if forwards is None:
            return None
        return [*reversed(backwards), set_id, *forwards]

    def _follow(self, source_key: Hashable, source: _Source, start: int, *, forwards: bool) -> list[int] | None:
        seen: dict[int, None] = {}
        here = start
        while True:
            entry = source.sets[here]
            there = entry.next if forwards else entry.previous
            if there is None:
                return list(seen)
            neighbour = source.sets.get(there)
            gone = neighbour is None and (source_key, there) in self._finished
            if neighbour is not None and neighbour.complete:
                back = neighbour.previous if forwards else neighbour.next
                gone = back != here or there in seen
            if gone:
                # The link leads to a set that does not answer it: this message can never be whole.
                self._remove(source_key, source, start)
                raise MessageError(
                    "fragment: the linked sets of its message contradict each other", code="bad_set_chain"
                )
            if neighbour is None or not neighbour.complete:
                return None
            seen[there] = None
            here = there

    def _deliver(self, source_key: Hashable, ids: list[int], padded: bytes) -> bytes:
        for set_id in ids:
            self._finished.add((source_key, set_id))
        message = unpad_message(padded)
        self.statistics.messages += 1
        return message

    def _remove(self, source_key: Hashable, source: _Source, set_id: int) -> None:
        entry = source.sets.pop(set_id)
        source.cost -= entry.cost
        self._buffered -= entry.cost
        if not source.sets:
            del self._sources[source_key]

    def _evict(self) -> None:
        while self._buffered > self._max_buffered:
            key = max(self._sources, key=lambda name: self._sources[name].cost)
            source = self._sources[key]
            self._remove(key, source, next(iter(source.sets)))
            self.statistics.evicted_sets += 1
