"""Reply SURBs as the side that replies: the stock per peer, when to ask for more (client-behaviour 5.1 to 5.6).

    need  = waiting fragments and retransmissions + reserve + buffer
    have  = fresh SURBs + those asked for and not received
    ask   if have < ceiling and have < need, for min(50, max(waiting + buffer, 10))

Fresh SURBs go first, then those of the last key rotation, which nodes still accept for one epoch. A peer that gives
nothing any more is asked again every 10 s, five times; then what waits for it is dropped.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..sphinx.surb import ReplySurb
from .fragments import FragmentIdentifier
from .rotation import ROTATION_UNKNOWN
from .traffic import TrafficConfig

if TYPE_CHECKING:
    from .jobs import Owner, ReplyFragment
    from .retransmission import PendingFragment

INSPECTION_INTERVAL = 5.0
PURGE_INTERVAL = 60.0
DEFAULT_OVERLAP = 3600.0  # one epoch, when its length is not known
DEFAULT_LIFETIME = 25 * 3600.0


@dataclass(slots=True, eq=False)
class PeerStock:
    """What we hold of one sender tag. SURBs are kept with the time they came."""

    tag: bytes
    last_received: float
    fresh: deque[tuple[ReplySurb, float]] = field(default_factory=deque)
    stale: deque[tuple[ReplySurb, float]] = field(default_factory=deque)
    requested: int = 0
    last_request: float = float("-inf")
    rerequests: int = 0
    queue: deque[ReplyFragment] = field(default_factory=deque)
    waiting: dict[FragmentIdentifier, PendingFragment[Owner]] = field(default_factory=dict)

    @property
    def available(self) -> int:
        return len(self.fresh) + len(self.stale)

    def take(self, keep: int) -> ReplySurb | None:
        """One SURB, unless no more than `keep` are there."""
        if self.available <= keep:
            return None
        return (self.fresh or self.stale).popleft()[0]


class ReplyStock:
    """All peers that may be replied to; the one heard of longest ago is forgotten beyond a bound."""

    def __init__(self, config: TrafficConfig) -> None:
        self._config = config
        self._peers: OrderedDict[bytes, PeerStock] = OrderedDict()
        self._rotation = ROTATION_UNKNOWN
        self._drop_stale_at: float | None = None
        self._lifetime = DEFAULT_LIFETIME
        self._next_inspection: float | None = None
        self._next_purge = 0.0
        self._lost: list[PeerStock] = []  # evicted, and what waits for them must go too
        self.dropped = 0  # SURBs

    def __iter__(self) -> Iterator[PeerStock]:
        return iter(self._peers.values())

    def get(self, tag: bytes) -> PeerStock | None:
        return self._peers.get(tag)

    def receive(self, tag: bytes, surbs: Iterable[ReplySurb], answer: bool, now: float) -> PeerStock:
        """Store SURBs that came with a message of `tag`; `answer`: it was a message of additional SURBs."""
        peer = self._peers.get(tag)
        if peer is None:
            peer = self._peers[tag] = PeerStock(tag, now)
            if len(self._peers) > self._config.max_peers:
                evicted = self._peers.popitem(last=False)[1]
                self.dropped += evicted.available
                self._lost.append(evicted)
                self.watch(now)
        else:
            self._peers.move_to_end(tag)
        count = 0
        for surb in surbs:
            count += 1
            # Of the rotation before or not: a peer that has not heard of the new one cannot give others, and must not
            # be asked again and again.
            peer.fresh.append((surb, now))
        if count:
            peer.last_received = now
            peer.rerequests = 0
            if answer:
                peer.requested = max(0, peer.requested - count)
        while peer.stale and len(peer.fresh) > self._config.surb_reserve and peer.available > self._config.surb_ceiling:
            peer.stale.popleft()
            self.dropped += 1
        while peer.available > self._config.surb_store_max:
            (peer.stale or peer.fresh).popleft()
            self.dropped += 1
        return peer

    def request_size(self, peer: PeerStock) -> int:
        """SURBs to ask for now, 0 for none."""
        config = self._config
        waiting = len(peer.queue) + len(peer.waiting)
        have = len(peer.fresh) + peer.requested
        if have >= config.surb_ceiling or have >= waiting + config.surb_reserve + config.surb_buffer:
            return 0
        return min(config.surb_request_max, max(waiting + config.surb_buffer, config.surb_request_min))

    def requested(self, peer: PeerStock, amount: int, now: float) -> None:
        """A request has been made."""
        peer.requested += amount
        peer.last_request = now

    # -- time ---------------------------------------------------------------------------------------------

    def watch(self, now: float) -> None:
        """Something waits for SURBs: inspections must run."""
        if self._next_inspection is None:
            self._next_inspection = now + INSPECTION_INTERVAL

    def next_deadline(self) -> float | None:
        return self._next_inspection

    def inspect(self, now: float) -> tuple[list[PeerStock], list[PeerStock]]:
        """At the deadline: peers to ask again (their requested count is reset), and peers that are lost.

        What waits for a lost peer will never leave; the owner drops it.
        """
        self._purge(now)
        if self._next_inspection is None or now < self._next_inspection:
            return [], []
        ask: list[PeerStock] = []
        lost, self._lost = self._lost, []
        config = self._config
        for peer in self._peers.values():
            if not peer.queue and not peer.waiting:
                continue
            silence = now - peer.last_received
            if peer.rerequests > config.surb_max_rerequests or silence > config.surb_drop_wait:
                lost.append(peer)
            elif silence > config.surb_rerequest_wait and now - peer.last_request >= config.surb_rerequest_wait:
                peer.rerequests += 1
                peer.requested = 0
                ask.append(peer)
        busy = any(peer.queue or peer.waiting for peer in self._peers.values() if peer not in lost)
        self._next_inspection = now + INSPECTION_INTERVAL if busy else None
        return ask, lost

    def rotate(self, rotation: int, now: float, *, epoch: float | None, validity_epochs: int | None) -> bool:
        """The topology's rotation byte; True when it changed, so that stocks must be looked at again."""
        if epoch is not None:
            self._lifetime = ((validity_epochs or 24) + 1) * epoch
        previous, self._rotation = self._rotation, rotation
        if rotation in (previous, ROTATION_UNKNOWN):
            return False
        for peer in self._peers.values():
            everything = [*peer.stale, *peer.fresh]
            usable = (ROTATION_UNKNOWN, rotation)
            peer.fresh = deque(entry for entry in everything if entry[0].rotation in usable)
            peer.stale = deque(entry for entry in everything if entry[0].rotation not in usable)
        if previous == ROTATION_UNKNOWN:
            return False
        self._drop_stale_at = now + (epoch if epoch is not None else DEFAULT_OVERLAP)
        return True

    def _purge(self, now: float) -> None:
        """Drop SURBs no node would accept. Runs with polls; memory needs no deadline of its own."""
        if self._drop_stale_at is not None and now >= self._drop_stale_at:
            self._drop_stale_at = None
            for peer in self._peers.values():
                before = peer.available
                peer.stale.clear()
                usable = (ROTATION_UNKNOWN, self._rotation)
                peer.fresh = deque(entry for entry in peer.fresh if entry[0].rotation in usable)
                self.dropped += before - peer.available
        if now < self._next_purge:
            return
        self._next_purge = now + PURGE_INTERVAL
        for peer in self._peers.values():
            for pile in (peer.fresh, peer.stale):
                while pile and now - pile[0][1] > self._lifetime:
                    pile.popleft()
                    self.dropped += 1
