"""The mixnet client without I/O: messages in, mix packets out, and back (client-behaviour 1 to 5).

The owner calls `send` and `receive`, hands what `poll` returns to the gateway at once, polls at `next_deadline`, and
takes what arrived with `take_messages`. Nothing here knows what the messages mean.

    send, send_reply -> lanes -> poll: one packet per tick of the main stream, else cover -> gateway
    gateway -> receive: ack -> its timer stops | fragment -> message -> take_messages, SURBs -> the stock of their peer

Everything is bounded: lanes by `room`, packets in flight by `max_pending`, deliveries by dropping what nobody takes.
"""

from __future__ import annotations

from collections import deque

from ..crypto.provider import Crypto
from ..errors import CryptoError, MessageError, SphinxError
from ..rand import RandomSource
from ..sphinx.constants import ACK, EXTENDED32, KEY_PART
from ..sphinx.packet import Hop
from .acks import decrypt_ack
from .addresses import Recipient
from .body import open_body
from .delivery import Delivery
from .factory import PacketFactory
from .fragments import COVER_IDENTIFIER, FragmentIdentifier, plan_fragments
from .jobs import OutgoingMessage
from .keys import ClientKeys
from .lanes import Lane
from .made_ahead import MadeAhead
from .messages import (
    PLAIN_OVERHEAD,
    REPLIABLE_OVERHEAD,
    ContentKind,
    PlainMessage,
    ReceivedMessage,
    RepliableMessage,
    ReplyMessage,
    SurbRequest,
    decode_message,
    surb_length,
)
from .mix_packet import MixPacket
from .outbox import Outbox, unknown_gateway
from .preparer import PreparedPacket
from .reassembly import Reassembler
from .replies import ReplySender
from .reply_keys import Accounts, ReplyKeys, SurbAccount
from .statistics import MixnetStatistics
from .streams import Streams
from .surb_giver import SurbGiver
from .topology import Topology
from .traffic import TrafficConfig
from .work import ACK_CAME, COVER_CAME

LATE_TICK = 5.0  # seconds after which a late poll means that the machine slept
WAKING = 1.5  # seconds given to acks that wait in the socket of a machine that wakes up

NEWEST = 8  # packets that left and are remembered for people to look at
MAX_CHECKS = 8  # packets to ourselves whose way back is watched; beyond, the oldest is forgotten

__all__ = ["Delivery", "Lane", "MixnetClient", "ReceivedMessage", "TrafficConfig"]


class MixnetClient:
    """See the module. `gateway_identity`: Ed25519 identity (32) of our entry gateway, the third part of `address`."""

    def __init__(
        self,
        crypto: Crypto,
        rng: RandomSource,
        keys: ClientKeys,
        gateway_identity: bytes,
        topology: Topology | None,
        config: TrafficConfig | None = None,
        now: float = 0.0,
    ) -> None:
        self.config = config = config or TrafficConfig()
        self.statistics = statistics = MixnetStatistics()
        self._crypto = crypto
        self._rng = rng
        self._keys = keys
        self._topology: Topology | None = None
        self._usable = False
        self._paused_since: float | None = None
        self._awake_since = now
        self._now = now
        self._lag = 0.0
        public = crypto.x25519_base(keys.encryption_secret)
        address = Recipient(keys.identity(crypto).public, public, gateway_identity)
        self._factory = PacketFactory(crypto, rng, keys, address, config)
        self._accounts = Accounts(rng)
        self._reply_keys = ReplyKeys(crypto, config)
        self._outbox = Outbox(rng, self._factory, self._reply_keys, config, statistics)
        self._giver = SurbGiver(config, self._outbox, statistics, now)
        self._replies = ReplySender(rng, config, self._outbox, statistics)
        self._reassembler = Reassembler()
        self.streams = Streams(rng, config, statistics, now)
        self.making = 0.0  # s that it takes to make a packet, as far as the owner knows
        self.work_received: str | None = None  # what the newest body was of our own shape (work.py); None: else
        self._ahead = MadeAhead(
            self._factory, self._outbox, self.streams, self._fill_turn, main_stream=config.main_stream
        )
        self._newest: deque[tuple[int, str, tuple[Hop, ...]]] = deque(maxlen=NEWEST)
        self._kind = "cover"  # of the packet that leaves
        self._check_wanted = False
        self._checks: dict[FragmentIdentifier, float] = {}  # when they left
        self._check_back = float("-inf")
        self._messages: deque[ReceivedMessage] = deque()
        self._message_bytes = 0
        self.set_topology(topology, now)

    # -- state --------------------------------------------------------------------------------------------

    @property
    def address(self) -> Recipient:
        return self._factory.address

    @property
    def topology(self) -> Topology | None:
        return self._topology

    @property
    def usable(self) -> bool:
        """There is a topology, and our gateway is in it: packets and acks find their way."""
        return self._usable

    @property
    def ack_droughts(self) -> int:
        """How often many packets in a row went without an ack: the nodes may have other keys by now."""
        return self._outbox.acks.droughts

    @property
    def queue_length(self) -> int:
        """Real packets that wait for their turn."""
        return len(self._outbox) + len(self._ahead)

    @property
    def data_waiting(self) -> int:
        """The same without those that carry SURBs alone."""
        return self.queue_length - self._outbox.length(Lane.SURBS) - self._ahead.surbs

    @property
    def in_flight(self) -> int:
        """Fragments sent and not acknowledged yet."""
        return len(self._outbox.acks) - len(self._ahead)

    @property
    def ack_excess(self) -> float | None:
        """Smoothed seconds that acks take beyond the delays in the mix nodes; None before the first one."""
        return self._outbox.acks.clock.excess

    @property
    def round_trip(self) -> float | None:
        """Smoothed seconds from a packet's leaving to its ack; None before the first one."""
        return self._outbox.acks.clock.round_trip

    @property
    def loss(self) -> float | None:
        """Smoothed share of packets whose ack was not there in time; None before the first one."""
        return self._outbox.acks.clock.loss

    @property
    def proven(self) -> float:
        """When a packet left of which we know that it, or its ack, has come back; of several the newest."""
        return max(self._outbox.acks.proven, self._check_back)

    def check_path(self, now: float) -> None:
        """Let the next packet be one to ourselves whose return `proven` tells."""
        self._now = now
        self._check_wanted = True

    def queues(self) -> dict[str, int]:
        """Packets that wait: by lane, `ready` for their tick, and `in_flight` for their ack."""
        return {**self._outbox.lengths(), "ready": len(self._ahead), "in_flight": self.in_flight}

    def routes(self) -> tuple[list[bytes], list[tuple[int, str, list[bytes]]]]:
        """Identities of the nodes that the newest packet with data goes through; and of the newest packets of any kind
        that left, oldest first, number, kind and the same. Of a reply only its recipient knows them."""
        if self._topology is None:
            return [], []
        ways = [self._factory.last_route, *(route for _, _, route in self._newest)]
        last, *names = self._topology.identities_of(ways)
        return last, [(number, kind, way) for (number, kind, _), way in zip(self._newest, names, strict=True)]

    def room(self, lane: Lane) -> int:
        """Packets that `send` still takes on this lane."""
        return self._outbox.room(lane)

    def surb_account(self, recipient: Recipient) -> SurbAccount | None:
        """What we gave this peer and believe it holds; not to be changed."""
        return self._accounts.find(recipient)

    def set_topology(self, topology: Topology | None, now: float) -> None:
        """A new snapshot. Without one, or when it lacks our gateway, packets wait."""
        previous, was_usable = self._topology, self._usable
        self._now = now
        rotated = previous is not None and topology is not None and previous.rotation_id != topology.rotation_id
        self._ahead.drop(outdated=rotated)
        self._topology = topology
        self._usable = topology is not None and topology.knows(self.address.gateway)
        if self._usable and not was_usable:
            self._ahead.restart(now)
        if topology is None:
            return
        if rotated:
            self._factory.older = previous if previous is not None and previous.knows(self.address.gateway) else None
            self._outdate_surbs()
        self._replies.rotate(self.address, topology, now)
        for account in self._accounts:
            self._giver.top_up(account, now)

    def move_to_gateway(self, gateway_identity: bytes, now: float, *, new_tags: bool = False) -> None:
        """Our gateway, and so our address, is another one now: replies by the SURBs given so far are lost.

        Peers spend their old SURBs first, and the old gateway acknowledges what it cannot deliver: with the old tags
        as many replies are lost as each peer held SURBs. With `new_tags` none is, but peers take us for somebody new.
        """
        if gateway_identity == self.address.gateway:
            return
        self._factory.address = self.address._replace(gateway=gateway_identity)
        self._factory.older = None
        self._ahead.drop(outdated=True)
        self._outdate_surbs()
        if new_tags:
            self._accounts.renew_tags()
        self.set_topology(self._topology, now)

    def succeed(self, before: MixnetClient, now: float) -> None:
        """Be the same client after a restart of its process. What it knew of the network and which messages it has
        seen live on, or it would make acks that no node accepts for SURBs of the last key rotation (sphinx 4.3), and
        take SURBs that it has spent out of repeated messages. Its queues, SURBs and reply keys are gone."""
        self._reassembler = before._reassembler
        self.set_topology(before.topology, now)
        self._factory.older = before._factory.older

    def pause(self, now: float) -> None:
        """There is no gateway: nothing leaves, and no ack is waited for, until `resume`."""
        self._now = now
        if self._paused_since is None:
            self._paused_since = now
            self._outbox.acks.interrupt()

    def resume(self, now: float) -> None:
        """Go on where `pause` stopped, without a burst. The first time the streams begin once the messages that wait by
        then have been made."""
        self._now = now
        if self._paused_since is not None:
            self._outbox.acks.postpone(now - self._paused_since + WAKING)
            self._paused_since = None
            self._awake_since = now
            if self.streams.full_rate and not self.statistics.packets_sent:
                self._ahead.begin(now)
            else:
                self._ahead.restart(now)

    def take_made(self) -> float:
        """Units of work (work.py) in packets and SURBs made since the last call."""
        return self._factory.take_made()

    def go_on(self, now: float) -> None:
        """Packets may leave again after a time in which the line took none; the ticks of that time are void."""
        self._now = self._awake_since = now
        self._ahead.restart(now)

    def _outdate_surbs(self) -> None:
        self._reply_keys.outdate()
        self._accounts.outdate()

    # -- sending ------------------------------------------------------------------------------------------

    def send(
        self,
        recipient: Recipient,
        data: bytes,
        *,
        surbs: int | None = 0,
        fill: bool = False,
        lane: Lane = Lane.CONTROL,
        max_retransmissions: int | None = None,
        lifetime: float | None = None,
        delivery: Delivery | None = None,
        now: float,
    ) -> None:
        """Queue a repliable message under our sender tag for this recipient.

        `surbs`: reply SURBs to attach, None for a plain message without a sender tag; `fill`: as many more as fit into
        its last packet for free, unless the peer has plenty. `max_retransmissions` per fragment, None for no limit
        within `lifetime` seconds (default of the config). `delivery` hears what became of it. Raises `StateError`
        `queue_full` when the lane has no room; `DirectoryError` `gateway_unknown` when no route leads to the recipient.
        """
        self._now = now
        if self._topology is not None and not self._topology.knows(recipient.gateway):
            raise unknown_gateway(recipient.gateway)
        plain = surbs is None
        surbs = surbs or 0
        account = SurbAccount(recipient, b"") if plain else self._accounts.get(recipient)
        overhead = PLAIN_OVERHEAD if plain else REPLIABLE_OVERHEAD + surbs * surb_length()
        plan = plan_fragments(overhead + len(data) + 1)
        if fill and not plain:
            wanted = self.config.surb_fill_ceiling - account.expected - surbs
            surbs += max(0, min(plan.unused // surb_length(), wanted))
        lifetime = self.config.message_lifetime if lifetime is None else lifetime
        self._outbox.push(
            OutgoingMessage(
                account,
                None if plain else ContentKind.DATA,
                surbs,
                data,
                lane,
                plan.fragments,
                max_retransmissions,
                lifetime,
                delivery,
            )
        )
        if delivery is not None:
            delivery.expect(plan.fragments)
        # A pile that ran dry gives no replies that would show it.
        self._giver.top_up(account, now)

    def send_reply(
        self,
        sender_tag: bytes,
        data: bytes,
        *,
        lane: Lane = Lane.BULK,
        max_retransmissions: int | None = None,
        lifetime: float | None = None,
        delivery: Delivery | None = None,
        urgent: bool = False,
        now: float,
    ) -> None:
        """Reply to whoever is behind a sender tag; each packet costs a SURB, and waits for one if need be.

        `data` is not empty. `max_retransmissions`: None for the default of 10; `lifetime`, `delivery`: see `send`.
        `urgent`: the SURBs kept for asking for more are used too, for what makes the peer give some.
        Raises `StateError`: `unknown_sender_tag`, `queue_full`.
        """
        self._now = now
        self._replies.send(
            self.address, sender_tag, data, lane, max_retransmissions, lifetime, delivery, now, urgent=urgent
        )

    def reply_room(self, sender_tag: bytes) -> int:
        """Fragments that `send_reply` still takes for this tag; 0 for an unknown one."""
        return self._replies.room(sender_tag)

    def replies_waiting(self, sender_tag: bytes) -> int:
        """Fragments of replies to this tag that wait for a SURB."""
        return self._replies.waiting(sender_tag)

    def surbs_held(self, sender_tag: bytes) -> int:
        """SURBs we hold of a sender tag."""
        return self._replies.available(sender_tag)

    def keep_stock(self, recipient: Recipient, low: int, high: int, now: float, *, patience: float = 0.0) -> None:
        """From now on give SURBs unasked: up to `high` when the peer should hold fewer than `low` for `patience`
        seconds, in which a peer that asks by itself has asked. Turns of the main stream that nothing else wants fill it
        to `surb_fill_ceiling`. 0, 0 ends both."""
        self._now = now
        account = self._accounts.get(recipient)
        account.low, account.high, account.patience = low, high, patience
        self._giver.top_up(account, now)

    def restock(self, recipient: Recipient, now: float) -> None:
        """What this peer held may be spent on replies that were lost with our gateway: fill its pile at once."""
        self._now = now
        account = self._accounts.find(recipient)
        if account is not None:
            account.held = 0
            self._giver.give(account, account.high - account.expected)

    def note_missing(self, recipient: Recipient, count: int, now: float) -> None:
        """`count` replies of this peer in all have left and not arrived: the SURBs they took are not there any more,
        although nothing that arrived says so."""
        self._now = now
        account = self._accounts.find(recipient)
        if account is not None and count != account.missing:
            account.held = max(0, account.held - (count - account.missing))
            account.missing = count
            self._giver.top_up(account, now)

    def forget_recipient(self, recipient: Recipient) -> None:
        """The next message to it comes from a new sender tag, and nothing is known of the SURBs it holds."""
        account = self._accounts.forget(recipient)
        if account is not None:
            self._giver.forget(account)

    # -- packets out ----------------------------------------------------------------------------------------

    def poll(self, now: float, limit: int = 32) -> list[MixPacket]:
        """What is due now, at most `limit` packets, in the order to send them; also runs all timers."""
        self.run_timers(now)
        return self.take(now, limit)

    def run_timers(self, now: float, lag: float = 0.0) -> None:
        """`lag`: what came in the last so many seconds may not have been given to `receive` yet."""
        if self._paused_since is not None:
            return
        self._lag = lag
        self._notice_sleep(now)
        self._now = now
        starved = self._outbox.expire(now - lag, usable=self._usable)
        self._replies.starved(self.address, starved, now)
        self._replies.inspect(self.address, now)
        self._reply_keys.expire(now)
        self._giver.run_timers(now)

    def take(self, now: float, limit: int) -> list[MixPacket]:
        """What is due now, at most `limit` packets."""
        topology = self._topology
        if topology is None or not self._usable or self._paused_since is not None:
            return []
        self._now = now
        out: list[MixPacket] = []
        while len(out) < limit:
            prepared = self._next_due(topology, now)
            if prepared is None:
                break
            self.statistics.packets_sent += 1
            self._newest.append((self.statistics.packets_sent, self._kind, prepared.route))
            out.append(prepared.mix_packet())
        return out

    def due(self, now: float) -> bool:
        """Would `take` give something?"""
        if self._paused_since is not None or not self._usable:
            return False
        if self.streams.due(now):
            return True
        return self.streams.main is None and (self._check_wanted or bool(self._ahead) or self._outbox.has_packets)

    def _next_due(self, topology: Topology, now: float) -> PreparedPacket | None:
        self._kind = "cover"
        stream = self.streams.take(now)
        if stream is not None and stream is self.streams.cover:
            self.statistics.loop_cover_sent += 1
            return self._ahead.take_cover(topology)
        if self.streams.main is not None and stream is None:
            return None
        if self._check_wanted:
            self.statistics.main_cover_sent += 1
            return self._next_check(topology, now)
        outgoing = self._ahead.take_message(topology, now)
        if outgoing is not None:
            self._outbox.left(outgoing, now)
            self._kind = outgoing.kind
            return outgoing.prepared
        if not self.config.main_stream:
            return None
        self.statistics.main_cover_sent += 1
        return self._ahead.take_cover(topology)

    def _fill_turn(self) -> None:
        for account in self._accounts:
            if self._giver.fill_turn(account):
                break

    def _next_check(self, topology: Topology, now: float) -> PreparedPacket:
        """A cover packet like any other; only its ack has a name."""
        self._check_wanted = False
        identifier = FragmentIdentifier(1 + self._rng.below((1 << 31) - 1), 0)
        while len(self._checks) >= MAX_CHECKS:
            del self._checks[next(iter(self._checks))]
        self._checks[identifier] = now
        return self._factory.cover(topology, identifier)

    # -- packets made ahead ---------------------------------------------------------------------------------

    def prepare(self, now: float) -> bool:
        """Make one packet or SURB ahead of its time, if one is wanted; True when another one is.

        Call it after what `poll` gave has been sent. Then a tick only has to send what lies ready, and when a packet
        leaves does not depend on what it carries. Without it packets are made at their ticks.
        """
        topology = self._topology
        if topology is None or not self._usable or self._paused_since is not None:
            return False
        return self._ahead.prepare(topology, now, self.making)

    @property
    def unprepared(self) -> bool:
        """There is something to make, be it now or after the next tick."""
        return self._usable and self._paused_since is None and self._ahead.lacks_anything

    @property
    def lacks_packet(self) -> bool:
        """Nothing lies ready for the next tick, or cover alone while a message waits."""
        return self._ahead.lacks_packet

    def next_deadline(self) -> float | None:
        """When to poll although nothing happened; not later than the last call while packets could leave at once."""
        due = min(self.next_timer(), self.next_tick())
        return None if due == float("inf") else due

    def next_timer(self) -> float:
        """When to call `run_timers`; infinite when there is no need."""
        return float("inf") if self._paused_since is not None else self._earliest_timer()

    def next_tick(self) -> float:
        """When `take` gives something; infinite while nothing waits, not later than the last call if it would now."""
        if self._paused_since is not None or not self._usable:
            return float("inf")
        if self.streams.main is None and self.due(self._now):
            return self._now
        return self.streams.deadline

    def _earliest_timer(self) -> float:
        ack = self._outbox.acks.next_deadline()
        times = (None if ack is None else ack + self._lag, self._replies.next_deadline(), self._giver.next_deadline())
        return min((time for time in times if time is not None), default=float("inf"))

    def _notice_sleep(self, now: float) -> None:
        if now - self._now <= LATE_TICK:
            return
        # What was due in a pause or in an earlier sleep has been accounted for already.
        due = min(self._earliest_timer(), self.streams.deadline if self._usable else float("inf"))
        lateness = now - max(due, self._awake_since)
        if lateness > LATE_TICK:
            # Acks could not arrive meanwhile: they get the time back instead of all expiring at once.
            self.statistics.late_ticks += 1
            self._awake_since = now
            self._outbox.acks.postpone(lateness + WAKING)
            self._ahead.restart(now)

    # -- bodies in --------------------------------------------------------------------------------------------

    def receive(self, body: bytes, now: float) -> bool:
        """One payload that the gateway pushed. Never raises: what is malformed is counted. False for cover and its ack,
        which tell nothing."""
        if self._paused_since is None:
            self._notice_sleep(now)
        self._now = now
        self.work_received = None
        self.statistics.bodies_received += 1
        try:
            if len(body) == ACK.plaintext:
                return self._receive_ack(body, now)
            return self._receive_part(body, now)
        except (MessageError, SphinxError, CryptoError):
            self.statistics.bad_bodies += 1
            return True

    def take_messages(self) -> list[ReceivedMessage]:
        """Messages that became whole since the last call, in the order they did."""
        messages = list(self._messages)
        self._messages.clear()
        self._message_bytes = 0
        return messages

    def _receive_ack(self, body: bytes, now: float) -> bool:
        identifier = decrypt_ack(self._crypto, self._keys.ack_key, body)
        self.work_received = ACK_CAME
        if identifier == COVER_IDENTIFIER:
            self.statistics.acks_for_cover += 1
            return False
        if (left := self._checks.pop(identifier, None)) is not None:
            self.statistics.acks_for_cover += 1
            self._check_back = max(self._check_back, left)
        elif self._outbox.acknowledge(identifier, now):
            self.statistics.acks_received += 1
        else:
            self.statistics.acks_unknown += 1
        return True

    def _receive_part(self, body: bytes, now: float) -> bool:
        if len(body) > EXTENDED32.body:
            raise MessageError(f"body: {len(body)} bytes, at most {EXTENDED32.body}", code="bad_body")
        if self._factory.is_own_cover(body):
            self.statistics.cover_received += 1
            self.work_received = COVER_CAME
            return False
        if self._reply_keys.was_used(body[:KEY_PART]):
            # Without its key it would be opened as something else, and that is noise.
            self.statistics.duplicates += 1
            return True
        opened = open_body(self._crypto, self._keys.encryption_secret, self._reply_keys.take, body)
        if opened is None:
            self.statistics.cover_received += 1
            self.work_received = COVER_CAME
            return False
        self.statistics.fragments_received += 1
        account = opened.source if isinstance(opened.source, SurbAccount) else None
        if account is not None:
            self.statistics.surbs_used += 1
            self._giver.reply_came(account, now)
        duplicates = self._reassembler.statistics.duplicates
        whole = self._reassembler.insert(opened.source, opened.data, now)
        self.statistics.duplicates += self._reassembler.statistics.duplicates - duplicates
        if whole is not None:
            self._receive_message(whole, account, now)
        return True

    def _receive_message(self, whole: bytes, account: SurbAccount | None, now: float) -> None:
        match decode_message(whole):
            case PlainMessage(data):
                self._deliver(ReceivedMessage(data, None))
            case RepliableMessage(tag, kind, surbs, data):
                self._replies.received(self.address, tag, surbs, kind is ContentKind.ADDITIONAL_SURBS, now)
                if kind is ContentKind.DATA:
                    self._deliver(ReceivedMessage(data, tag))
            case ReplyMessage(data):
                self._deliver(ReceivedMessage(data, None, account.recipient if account else None))
            case SurbRequest() as request:
                self._giver.answer(request, account, now)

    def _deliver(self, message: ReceivedMessage) -> None:
        self.statistics.messages_received += 1
        self.statistics.bytes_received += len(message.data)
        full = len(self._messages) >= self.config.max_messages
        if full or self._message_bytes + len(message.data) > self.config.max_message_bytes:
            self.statistics.messages_dropped += 1
            return
        self._messages.append(message)
        self._message_bytes += len(message.data)
