"""What waits in the lanes: messages, replies and retransmissions, each with its owner's limits.

Packets are made only when their turn comes: a job keeps the message, not its packets, so queues are cheap, SURBs and
routes are as fresh as can be, and the work is spread over the ticks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ..sphinx.surb import ReplySurb
from .delivery import Delivery
from .fragments import Fragment
from .lanes import Lane
from .messages import ContentKind
from .reply_keys import SurbAccount
from .reply_stock import PeerStock
from .retransmission import PendingFragment
from .topology import Topology


@dataclass(slots=True, eq=False)
class OutgoingMessage:
    """A repliable or plain message to a known recipient. `surbs` are built when its first packet is made; as long as
    none has left, they can be made anew. All its packets take the topology of its SURBs, but those that are repeated.
    """

    account: SurbAccount
    kind: ContentKind | None  # None: a plain message, without sender tag
    surbs: int
    data: bytes
    lane: Lane
    remaining: int
    max_retransmissions: int | None
    lifetime: float
    delivery: Delivery | None = None
    fragments: deque[Fragment] | None = None
    given_up: bool = False
    packets: int = field(init=False)
    topology: Topology | None = None
    begun: bool = False  # a packet has left

    def __post_init__(self) -> None:
        self.packets = self.remaining


@dataclass(slots=True, eq=False)
class ReplyFragment:
    """One fragment of a reply; it has its SURB when it enters a lane."""

    peer: PeerStock
    fragment: Fragment
    lane: Lane
    max_retransmissions: int | None
    lifetime: float
    may_empty: bool = False  # it may take the last SURB: a request for others, or what brings them
    surb: ReplySurb | None = None
    remaining: int = 1
    delivery: Delivery | None = None
    given_up: bool = field(default=False)


Owner = OutgoingMessage | ReplyFragment


@dataclass(slots=True, eq=False)
class Retransmission:
    """A fragment to send again; a reply needs a new SURB for it."""

    pending: PendingFragment[Owner]
    surb: ReplySurb | None = None
    remaining: int = 1


OutgoingJob = OutgoingMessage | ReplyFragment | Retransmission
