"""Replying with SURBs: fragments wait for SURBs, SURBs are asked for, lost peers are dropped (client-behaviour 5)."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import StateError
from ..rand import RandomSource
from ..sphinx.surb import ReplySurb
from .addresses import Recipient
from .delivery import Delivery
from .fragments import split_message
from .jobs import Owner, ReplyFragment
from .lanes import Lane
from .messages import encode_reply, encode_surb_request
from .outbox import Outbox
from .reply_stock import PeerStock, ReplyStock
from .retransmission import PendingFragment
from .statistics import MixnetStatistics
from .topology import Topology
from .traffic import TrafficConfig


class ReplySender:
    """The replying side of a client."""

    def __init__(self, rng: RandomSource, config: TrafficConfig, outbox: Outbox, statistics: MixnetStatistics) -> None:
        self._rng = rng
        self._config = config
        self._outbox = outbox
        self._statistics = statistics
        self._stock = ReplyStock(config)

    def send(
        self,
        own: Recipient,
        tag: bytes,
        data: bytes,
        lane: Lane,
        limit: int | None,
        lifetime: float | None,
        delivery: Delivery | None,
        now: float,
        *,
        urgent: bool = False,
    ) -> None:
        """See `MixnetClient.send_reply`."""
        peer = self._stock.get(tag)
        if peer is None:
            raise StateError("no message came from this sender tag", code="unknown_sender_tag", phase="reply")
        fragments = split_message(self._rng, encode_reply(data))
        if peer.queue and len(peer.queue) + len(fragments) > self._config.reply_queue_limit:
            raise StateError("too many replies wait for SURBs of this peer", code="queue_full", phase="reply")
        limit = self._config.reply_retransmissions if limit is None else limit
        self._statistics.messages_sent += 1
        self._statistics.bytes_sent += len(data)
        lifetime = self._config.message_lifetime if lifetime is None else lifetime
        if delivery is not None:
            delivery.expect(len(fragments))
        replies = [
            ReplyFragment(peer, fragment, lane, limit, lifetime, may_empty=urgent, delivery=delivery)
            for fragment in fragments
        ]
        while urgent and replies and (surb := peer.take(0)) is not None:
            self._outbox.push_reply(replies.pop(0), surb)
        peer.queue.extend(replies)
        self._serve(own, peer, now)

    def room(self, tag: bytes) -> int:
        peer = self._stock.get(tag)
        return 0 if peer is None else max(0, self._config.reply_queue_limit - len(peer.queue))

    def waiting(self, tag: bytes) -> int:
        """Fragments that wait for a SURB of this tag."""
        peer = self._stock.get(tag)
        return 0 if peer is None else len(peer.queue)

    def available(self, tag: bytes) -> int:
        """SURBs held of a tag."""
        peer = self._stock.get(tag)
        return 0 if peer is None else peer.available

    def received(self, own: Recipient, tag: bytes, surbs: Iterable[ReplySurb], answer: bool, now: float) -> None:
        """SURBs came, or only a message of `tag`."""
        surbs = tuple(surbs)
        self._statistics.surbs_received += len(surbs)
        peer = self._stock.receive(tag, surbs, answer, now)
        self._serve(own, peer, now)
        self._statistics.surbs_dropped = self._stock.dropped

    def rotate(self, own: Recipient, topology: Topology, now: float) -> None:
        """There is a new topology, maybe of another key rotation."""
        clock = topology.key_rotation
        changed = self._stock.rotate(
            topology.rotation,
            now,
            epoch=None if clock is None else clock.epoch_duration,
            validity_epochs=None if clock is None else clock.validity_epochs,
        )
        if changed:
            for peer in self._stock:
                self._check_request(own, peer, now)

    # -- time ---------------------------------------------------------------------------------------------

    def starved(self, own: Recipient, peers: Iterable[PeerStock], now: float) -> None:
        """Retransmissions to these peers lack SURBs."""
        for peer in peers:
            self._stock.watch(now)
            self._check_request(own, peer, now)

    def inspect(self, own: Recipient, now: float) -> None:
        """Run the timers: ask again, or drop what waits for a peer that gives nothing any more."""
        ask, lost = self._stock.inspect(now)
        for peer in ask:
            self._check_request(own, peer, now)
        for peer in lost:
            self._statistics.replies_dropped += len(peer.queue) + len(peer.waiting)
            for reply in peer.queue:
                self._outbox.give_up(reply, "no_surbs")
            self._outbox.abandon(list(peer.waiting.values()), "no_surbs")
            peer.queue.clear()
            peer.waiting.clear()
        self._statistics.surbs_dropped = self._stock.dropped

    def next_deadline(self) -> float | None:
        return self._stock.next_deadline()

    # -- the rules -----------------------------------------------------------------------------------------

    def _serve(self, own: Recipient, peer: PeerStock, now: float) -> None:
        """Give SURBs to what waits: retransmissions first, then replies in order, down to the reserve."""
        reserve = self._config.surb_reserve
        while peer.waiting and (surb := peer.take(reserve)) is not None:
            pending: PendingFragment[Owner] = peer.waiting.pop(next(iter(peer.waiting)))
            self._outbox.push_again(pending, surb)
        while peer.queue and (surb := peer.take(reserve)) is not None:
            self._outbox.push_reply(peer.queue.popleft(), surb)
        if peer.queue or peer.waiting:
            self._stock.watch(now)
        self._check_request(own, peer, now)

    def _check_request(self, own: Recipient, peer: PeerStock, now: float) -> None:
        amount = self._stock.request_size(peer)
        if not amount:
            return
        surb = peer.take(0)
        if surb is None:
            return  # nothing can be done until the peer sends some
        (fragment,) = split_message(self._rng, encode_surb_request(own, amount))
        request = ReplyFragment(
            peer,
            fragment,
            Lane.SURBS,
            self._config.reply_retransmissions,
            self._config.message_lifetime,
            may_empty=True,
        )
        self._outbox.push_reply(request, surb)
        self._stock.requested(peer, amount, now)
        self._statistics.surb_requests_sent += 1
