"""From queued messages to packets, and again when acks stay out: lanes, pending fragments, giving up.

The outbox decides which packet is next and makes it; when packets leave is the matter of the client's streams.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from ..errors import DirectoryError, MessageError, SphinxError, StateError
from ..rand import RandomSource
from ..sphinx.surb import ReplySurb
from .base58 import base58_encode
from .factory import PacketFactory
from .fragments import Fragment, FragmentIdentifier, split_message
from .jobs import OutgoingJob, OutgoingMessage, Owner, ReplyFragment, Retransmission
from .lanes import Lane, LaneQueue
from .messages import ContentKind, encode_plain, encode_repliable
from .preparer import PreparedPacket
from .reply_keys import ReplyKeys
from .reply_stock import PeerStock
from .retransmission import AckController, PendingFragment
from .statistics import MixnetStatistics
from .topology import Topology
from .traffic import TrafficConfig

_ALL_LANES = tuple(Lane)
_ONLY_RETRANSMISSIONS = (Lane.RETRANSMISSION,)


class OutgoingPacket(NamedTuple):
    """A packet of a queued message, made and not sent yet."""

    prepared: PreparedPacket
    pending: PendingFragment[Owner]

    @property
    def kind(self) -> str:
        """As the statistics count it."""
        if self.pending.retransmissions:
            return "retransmitted"
        return "surb" if _is_of_surbs(self.pending.owner) else "real"


def _is_of_surbs(job: OutgoingJob | Owner | None) -> bool:
    return isinstance(job, OutgoingMessage) and job.kind is ContentKind.ADDITIONAL_SURBS


def unknown_gateway(identity: bytes) -> DirectoryError:
    return DirectoryError(
        f"gateway {base58_encode(identity)} of the recipient is not listed", code="gateway_unknown", phase="route"
    )


class Outbox:
    """All that waits to leave and all that waits for its ack."""

    def __init__(
        self,
        rng: RandomSource,
        factory: PacketFactory,
        reply_keys: ReplyKeys,
        config: TrafficConfig,
        statistics: MixnetStatistics,
    ) -> None:
        self._rng = rng
        self._factory = factory
        self._reply_keys = reply_keys
        self._config = config
        self._statistics = statistics
        self._lanes: LaneQueue[OutgoingJob] = LaneQueue()
        self.acks: AckController[Owner] = AckController(config)
        self._spare_surbs: list[ReplySurb] = []  # of the present topology
        self._surbs_seen = False  # messages here do carry SURBs

    # -- in -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Packets queued."""
        return len(self._lanes)

    def lengths(self) -> dict[str, int]:
        """Packets queued, by lane."""
        return {lane.value: self.length(lane) for lane in Lane}

    def length(self, lane: Lane) -> int:
        return self._lanes.length(lane)

    def room(self, lane: Lane) -> int:
        return max(0, self._config.lane_limit - self.length(lane))

    def push(self, message: OutgoingMessage) -> None:
        """Queue a message. `StateError` `queue_full` when its lane has no room."""
        length = self._lanes.length(message.lane)
        # A message larger than the lane may enter an empty one, or it never could.
        if length and length + message.remaining > self._config.lane_limit:
            raise StateError(f"lane {message.lane.value} has {length} packets queued", code="queue_full", phase="send")
        message.account.queued += message.surbs
        self._lanes.push(message.lane, message)

    def push_reply(self, reply: ReplyFragment, surb: ReplySurb) -> None:
        """Queue a reply that has its SURB; the SURBs bound these."""
        reply.surb = surb
        self._lanes.push(reply.lane, reply)

    def push_again(self, pending: PendingFragment[Owner], surb: ReplySurb | None = None) -> None:
        """Queue a retransmission, for a reply with its new SURB."""
        self._lanes.push(Lane.RETRANSMISSION, Retransmission(pending, surb))

    # -- out ----------------------------------------------------------------------------------------------

    @property
    def has_packets(self) -> bool:
        """Would `next_packet` find something?"""
        return len(self._lanes) > 0 and any(self._lanes.length(lane) for lane in self._open_lanes())

    def _open_lanes(self) -> tuple[Lane, ...]:
        # What is in flight may be repeated, but nothing is added beyond the bound.
        return _ALL_LANES if len(self.acks) < self._config.max_pending else _ONLY_RETRANSMISSIONS

    def next_packet(self, topology: Topology, now: float) -> OutgoingPacket | None:
        """The packet to send next, entered among the pending ones; None when nothing waits. Tell `left` of it."""
        while (job := self._lanes.pop(self._open_lanes())) is not None:
            try:
                prepared = (
                    self._again(job, topology, now)
                    if isinstance(job, Retransmission)
                    else self._first(job, topology, now)
                )
            except (DirectoryError, MessageError, SphinxError):
                # The gateway is not listed any more, or a key or SURB is of no use whatever the topology.
                self._discard(job)
            else:
                if prepared is not None:
                    return prepared
        return None

    def left(self, packet: OutgoingPacket, now: float) -> None:
        """A packet leaves now: the timer of its ack runs."""
        if isinstance(packet.pending.owner, OutgoingMessage):
            packet.pending.owner.begun = True
            packet.pending.owner.data = b""
        # An older copy may have arrived while this one lay ready, or its message was given up.
        if self.acks.waits_for(packet.pending):
            self.acks.left(packet.pending, packet.prepared.expected_delay, now)

    def remake(self, packet: OutgoingPacket, *, outdated: bool) -> bool:
        """A packet made and not sent is of no use any more: its fragment will get another one, or, if the SURBs are
        `outdated` and nothing of it has left, the whole message. False for a reply, whose SURB is spent; it should be
        sent as it is."""
        owner = packet.pending.owner
        if isinstance(owner, ReplyFragment):
            return False
        if not outdated or owner.begun:
            self.push_again(packet.pending)
            return True
        self.acks.forget(packet.pending)
        self._statistics.real_sent -= 1
        if owner.fragments is not None and not owner.given_up:
            owner.fragments = None
            owner.account.queued += owner.surbs
            owner.account.held = max(0, owner.account.held - owner.surbs)
            self._statistics.surbs_given -= owner.surbs
            self._statistics.messages_sent -= 1
            self._statistics.bytes_sent -= len(owner.data)
            self._lanes.restore(owner.lane, owner, owner.packets)
        return True

    @property
    def gives_surbs_next(self) -> bool:
        """What `next_packet` makes carries SURBs alone."""
        return _is_of_surbs(self._lanes.peek(self._open_lanes()))

    def lacks_spare_surb(self, limit: int) -> bool:
        return self._surbs_seen and len(self._spare_surbs) < limit

    def lacks_surbs(self) -> bool:
        """The next message carries more SURBs than are made: made one by one, they hold nobody up."""
        job = self._lanes.peek(self._open_lanes())
        return isinstance(job, OutgoingMessage) and job.fragments is None and job.surbs > len(self._spare_surbs)

    def make_spare_surb(self, topology: Topology) -> None:
        """Make one of the SURBs that messages will carry; they must be dropped when the topology changes."""
        self._spare_surbs.append(self._factory.surb(topology))

    def drop_spare_surbs(self) -> None:
        self._spare_surbs.clear()

    def _first(self, job: OutgoingMessage | ReplyFragment, topology: Topology, now: float) -> OutgoingPacket:
        if isinstance(job, ReplyFragment):
            fragment = job.fragment
            prepared = self._reply(topology, job.surb, fragment)
        else:
            if not topology.knows(job.account.recipient.gateway):
                raise unknown_gateway(job.account.recipient.gateway)
            if job.fragments is None:
                self._open(job, topology, now)
            assert job.fragments is not None
            fragment = job.fragments.popleft()
            # A rotation tears no message: the keys of its first packets hold for as long as those of its SURBs.
            if job.topology is not None and job.topology.rotation_id != topology.rotation_id:
                topology = job.topology
            prepared = self._factory.data(topology, job.account.recipient, fragment)
            self._statistics.surb_packets_sent += job.kind is ContentKind.ADDITIONAL_SURBS
        pending: PendingFragment[Owner] = PendingFragment(fragment, job, job.max_retransmissions, now + job.lifetime)
        self.acks.enter(pending)
        self._statistics.real_sent += 1
        return OutgoingPacket(prepared, pending)

    def _open(self, job: OutgoingMessage, topology: Topology, now: float) -> None:
        surbs, self._spare_surbs = self._spare_surbs[: job.surbs], self._spare_surbs[job.surbs :]
        surbs += [self._factory.surb(topology) for _ in range(job.surbs - len(surbs))]
        self._surbs_seen = self._surbs_seen or bool(surbs)
        job.account.queued -= job.surbs
        for surb in surbs:
            self._reply_keys.add(surb, job.account, now)
        if job.kind is None:
            message = encode_plain(job.data)
        else:
            message = encode_repliable(job.account.tag, job.kind, surbs, job.data)
        self._statistics.surbs_given += job.surbs
        self._statistics.messages_sent += 1
        self._statistics.bytes_sent += len(job.data)
        job.fragments = deque(split_message(self._rng, message))
        job.topology = topology

    def _reply(self, topology: Topology, surb: ReplySurb | None, fragment: Fragment) -> PreparedPacket:
        assert surb is not None
        self._statistics.surbs_spent += 1
        return self._factory.reply(topology, surb, fragment)

    def _again(self, job: Retransmission, topology: Topology, now: float) -> OutgoingPacket | None:
        pending = job.pending
        owner = pending.owner
        if pending.acknowledged or owner.given_up:
            self.acks.forget(pending)
            if job.surb is not None and isinstance(owner, ReplyFragment):
                owner.peer.fresh.appendleft((job.surb, now))
            return None
        if isinstance(owner, ReplyFragment):
            prepared = self._reply(topology, job.surb, pending.fragment)
        else:
            prepared = self._factory.data(topology, owner.account.recipient, pending.fragment)
        pending.retransmissions += 1
        self._statistics.retransmitted += 1
        return OutgoingPacket(prepared, pending)

    # -- acks and their absence -----------------------------------------------------------------------------

    def acknowledge(self, identifier: FragmentIdentifier, now: float) -> bool:
        """An ack came; False when nobody waits for it."""
        pending = self.acks.acknowledge(identifier, now)
        if pending is None:
            return False
        if isinstance(pending.owner, ReplyFragment):
            pending.owner.peer.waiting.pop(identifier, None)
        if pending.owner.delivery is not None:
            pending.owner.delivery.acknowledged()
        return True

    def expire(self, now: float, *, usable: bool) -> list[PeerStock]:
        """Repeat or give up what is overdue. Returns peers whose replies lack SURBs to be repeated with.

        `usable`: packets can be made now; if not, the timers run once more.
        """
        starved: list[PeerStock] = []
        for pending in self.acks.expired(now):
            owner = pending.owner
            limit = pending.max_retransmissions
            if owner.given_up:
                self.acks.forget(pending)
            elif now >= pending.give_up_at or (limit is not None and pending.retransmissions >= limit):
                self._statistics.abandoned += 1
                self.acks.forget(pending)
                self.give_up(owner, "not_acknowledged")
            elif not usable:
                self.acks.again(pending, now)
            elif isinstance(owner, OutgoingMessage):
                self.push_again(pending)
            else:
                # What brings SURBs may use the last one; data leaves the reserve, less the one it takes.
                surb = owner.peer.take(0 if owner.may_empty else self._config.surb_reserve - 1)
                if surb is not None:
                    self.push_again(pending, surb)
                else:
                    owner.peer.waiting[pending.identifier] = pending
                    starved.append(owner.peer)
        return starved

    def give_up(self, owner: Owner, reason: str) -> None:
        """A message cannot become whole any more: nothing of it is sent or repeated."""
        if owner.given_up:
            return
        owner.given_up = True
        if owner.delivery is not None:
            owner.delivery.give_up(reason)
        if isinstance(owner, OutgoingMessage):
            if owner.fragments is None:
                owner.account.queued -= owner.surbs
            else:
                # Its SURBs will hardly have arrived; their keys are kept in case only the ack was lost.
                owner.account.held = max(0, owner.account.held - owner.surbs)
            self._lanes.drop(owner)

    def abandon(self, pendings: Iterable[PendingFragment[Owner]], reason: str) -> None:
        """Forget fragments that wait for something that will not come."""
        for pending in pendings:
            self.acks.forget(pending)
            self.give_up(pending.owner, reason)

    def _discard(self, job: OutgoingJob) -> None:
        owner: Owner
        if isinstance(job, Retransmission):
            owner = job.pending.owner
            self.acks.forget(job.pending)
        else:
            owner = job
        self._statistics.unroutable += 1 + job.remaining
        self.give_up(owner, "unroutable")
