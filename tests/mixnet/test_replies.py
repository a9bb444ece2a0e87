"""Reply SURBs in both roles: stocks, requests, rate limits, rotation, lost peers; alone and between two clients."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import StateError
from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.mixnet.client import Delivery, MixnetClient, ReceivedMessage, TrafficConfig
from smolmix_web.mixnet.reply_keys import MAX_ACCOUNTS, Accounts, ReplyKeys, TokenBucket
from smolmix_web.mixnet.reply_stock import ReplyStock
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx.surb import ReplySurb

EXIT = TrafficConfig.for_exit()
PEER = Recipient(b"i" * 32, b"e" * 32, b"g" * 32)


def surb(number: int, rotation: int = 1) -> ReplySurb:
    return ReplySurb(number.to_bytes(16, "big"), bytes(348), bytes(32), bytes(64), rotation)


# -- the giving side alone ----------------------------------------------------------------------------------


def test_accounts_keep_one_tag_per_recipient() -> None:
    accounts = Accounts(SeededRandom(1))
    account = accounts.get(PEER)
    assert accounts.get(PEER) is account and len(account.tag) == 16
    other = accounts.get(PEER._replace(identity=bytes(32)))
    assert other.tag != account.tag
    for number in range(MAX_ACCOUNTS):
        accounts.get(PEER)
        accounts.get(PEER._replace(identity=number.to_bytes(32, "big") + b""))
    assert len(list(accounts)) == MAX_ACCOUNTS and accounts.find(PEER) is account
    accounts.forget(PEER)
    assert accounts.get(PEER).tag != account.tag


def test_reply_keys_are_spent_once_and_expire(crypto: Crypto) -> None:
    keys = ReplyKeys(crypto, replace(EXIT, max_reply_keys=5))
    account = Accounts(SeededRandom(1)).get(PEER)
    surbs = [surb(number) for number in range(6)]
    for number, each in enumerate(surbs):
        keys.add(each, account, float(number))
    assert len(keys) == 5 and (account.given, account.held) == (6, 5)
    digest = [each.key_digest(crypto) for each in surbs]
    assert keys.take(digest[0]) is None  # the oldest made room
    assert not keys.was_used(digest[1])
    assert keys.take(digest[1]) == (surbs[1].encryption_key, account)
    assert keys.take(digest[1]) is None and keys.was_used(digest[1])
    assert (account.used, account.held) == (1, 4)
    keys.expire(24 * 3600.0 + 3.0)
    assert len(keys) == 2 and account.held == 2
    keys.outdate()
    account.held = 0
    keys.add(surb(9), account, 5.0)
    assert keys.take(digest[5]) is not None and account.held == 1  # a late reply opens, but was not counted any more
    assert keys.take(surb(9).key_digest(crypto)) is not None and account.held == 0


def test_token_bucket() -> None:
    bucket = TokenBucket(10.0, 50, 0.0)
    assert bucket.take(40, 0.0) == 40 and bucket.take(40, 0.0) == 10 and bucket.take(40, 0.0) == 0
    assert bucket.take(40, 1.0) == 10 and bucket.take(1, 0.5) == 0
    assert bucket.take(500, 1000.0) == 50
    bucket.earn(7.5)
    assert bucket.take(500, 1000.0) == 7
    bucket.earn(1000.0)
    assert bucket.take(500, 1000.0) == 50


# -- the stock alone ------------------------------------------------------------------------------------------


def stock(**change: Any) -> ReplyStock:
    held = ReplyStock(replace(EXIT, **change))
    held.rotate(1, 0.0, epoch=3600.0, validity_epochs=24)
    return held


def test_requests_follow_need_and_have() -> None:
    held = stock()
    peer = held.receive(b"t" * 16, [], False, 0.0)
    assert held.request_size(peer) == 50  # buffer 50, nothing waits
    held.requested(peer, 50, 0.0)
    assert held.request_size(peer) == 50  # 50 < 60
    held.requested(peer, 50, 0.0)
    assert held.request_size(peer) == 0
    held.receive(b"t" * 16, map(surb, range(50)), True, 1.0)
    assert peer.requested == 50 and peer.available == 50
    held.receive(b"t" * 16, map(surb, range(200)), False, 1.0)
    assert held.request_size(peer) == 0
    small = stock(surb_buffer=0)
    peer = small.receive(b"t" * 16, map(surb, range(9)), False, 0.0)
    assert small.request_size(peer) == 10
    peer.queue = deque([None] * 30)  # type: ignore[list-item]
    assert small.request_size(peer) == 30
    peer.queue = deque([None] * 300)  # type: ignore[list-item]
    assert small.request_size(peer) == 50
    small.receive(b"t" * 16, map(surb, range(200)), False, 0.0)
    assert small.request_size(peer) == 0  # the ceiling


def test_stock_is_bounded_per_peer_and_in_peers() -> None:
    held = stock(surb_store_max=100, max_peers=3)
    peer = held.receive(b"a" * 16, map(surb, range(150)), False, 0.0)
    assert peer.available == 100 and held.dropped == 50
    first = peer.take(0)
    assert first is not None and first.encryption_key == (50).to_bytes(16, "big")  # the oldest were dropped
    for name in (b"b", b"c", b"d"):
        held.receive(name * 16, [], False, 1.0)
    assert held.get(b"a" * 16) is None and held.get(b"b" * 16) is not None


def test_reserve() -> None:
    held = stock()
    peer = held.receive(b"t" * 16, map(surb, range(12)), False, 0.0)
    assert [peer.take(10) is not None for _ in range(4)] == [True, True, False, False]
    assert peer.take(0) is not None and peer.available == 9


def test_rotation_makes_surbs_stale_and_drops_them_after_an_epoch() -> None:
    held = stock()
    peer = held.receive(b"t" * 16, [surb(1), surb(2), surb(3, rotation=0)], False, 0.0)
    assert not held.rotate(1, 10.0, epoch=100.0, validity_epochs=24)
    assert held.rotate(2, 20.0, epoch=100.0, validity_epochs=24)
    assert (len(peer.fresh), len(peer.stale)) == (1, 2)
    held.receive(b"t" * 16, [surb(4, rotation=2), surb(5, rotation=1)], False, 21.0)
    assert (len(peer.fresh), len(peer.stale)) == (3, 2)
    taken = [each.rotation for _ in range(2) if (each := peer.take(0))]
    assert taken == [0, 2]
    held.inspect(119.0)
    assert peer.available == 3
    held.inspect(120.0)
    assert peer.available == 0 and held.dropped == 3


def test_old_surbs_are_dropped_by_age() -> None:
    held = stock()
    peer = held.receive(b"t" * 16, [surb(1, rotation=0)], False, 0.0)
    held.inspect(25 * 3600.0 - 1)
    assert peer.available == 1
    held.inspect(25 * 3600.0 + 61)
    assert peer.available == 0


def test_inspections_run_only_while_something_waits() -> None:
    held = stock()
    peer = held.receive(b"t" * 16, [], False, 0.0)
    assert held.next_deadline() is None
    peer.queue.append(None)  # type: ignore[arg-type]
    held.watch(0.0)
    asked, lost, now = 0, 0, 0.0
    while (deadline := held.next_deadline()) is not None:
        assert deadline > now
        now = deadline
        ask, gone = held.inspect(now)
        for each in ask:
            held.requested(each, 50, now)
        asked, lost = asked + len(ask), lost + len(gone)
        if gone:
            peer.queue.clear()
    assert (asked, lost) == (6, 1) and now < 90.0


@given(st.lists(st.tuples(st.sampled_from(["give", "take", "rotate", "ask"]), st.integers(0, 60)), max_size=40))
def test_any_order_keeps_the_stock_sound(events: list[tuple[str, int]]) -> None:
    held = stock(surb_store_max=100)
    peer = held.receive(b"t" * 16, [], False, 0.0)
    rotation, now, given, taken = 1, 0.0, 0, 0
    for event, amount in events:
        now += amount * 10.0
        if event == "give":
            held.receive(b"t" * 16, [surb(given + number, rotation) for number in range(amount)], True, now)
            given += amount
        elif event == "take":
            taken += sum(peer.take(10) is not None for _ in range(amount))
        elif event == "rotate":
            rotation = 3 - rotation
            held.rotate(rotation, now, epoch=100.0, validity_epochs=24)
        elif size := held.request_size(peer):
            held.requested(peer, size, now)
        held.inspect(now)
        assert given == taken + peer.available + held.dropped and peer.available <= 100 and peer.requested >= 0


# -- two clients -------------------------------------------------------------------------------------------------


def echo(network: Any, station: Any, times: int = 1, size: int = 0) -> None:
    """Answer every message `times` times."""

    def answer(message: ReceivedMessage) -> None:
        for number in range(times):
            reply = message.data + bytes((number,)) + bytes(size)
            station.client.send_reply(message.sender_tag, reply, now=network.now)

    station.on_message = answer


def test_a_reply_comes_back_and_says_from_whom(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", EXIT, gateway=1)
    echo(network, b)
    a.client.send(b.client.address, b"ping", surbs=12, now=network.now)
    network.run(5.0)
    (message,) = b.messages
    assert message.data == b"ping" and len(message.sender_tag) == 16 and message.source is None
    assert a.messages == [ReceivedMessage(b"ping\0", None, b.client.address)]
    account = a.client.surb_account(b.client.address)
    assert account.used == 1 + b.client.statistics.surb_requests_sent
    # The mirror agrees with the pile.
    assert account.held == b.client.surbs_held(message.sender_tag)
    assert account.given == a.client.statistics.surbs_given == b.client.statistics.surbs_received


def test_an_exhausted_pile_is_replenished_until_everything_is_there(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", EXIT, gateway=1)
    echo(network, b, times=1, size=300_000)
    a.client.send(b.client.address, b"big", surbs=3, now=network.now)
    network.run(120.0, until=lambda: len(a.messages) == 1)
    assert len(a.messages[0].data) == 300_004
    assert a.client.statistics.surb_requests_received >= 4
    assert b.client.statistics.surb_requests_sent == a.client.statistics.surb_requests_received
    network.run(30.0)
    assert b.client.in_flight == 0 and a.client.in_flight == 0
    assert b.client.surbs_held(b.messages[0].sender_tag) <= 200


def test_replies_survive_loss(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", EXIT, gateway=1)
    echo(network, b, times=3, size=4000)
    good = network.fate
    network.fate = lambda kind, now: replace(good(kind, now), copies=int(network.rng.uniform() > 0.04))
    for number in range(8):
        a.client.send(b.client.address, bytes((number,)), surbs=10, now=network.now)
    network.run(300.0, until=lambda: len(a.messages) == 24 and b.client.in_flight == 0)
    assert len(a.messages) == 24 and len({message.data for message in a.messages}) == 24
    assert b.client.statistics.retransmitted > 0
    assert b.client.statistics.surbs_spent == b.client.statistics.packets_sent


def test_replies_with_no_retransmission_are_sent_once(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", EXIT, gateway=1)
    a.client.send(b.client.address, b"hi", surbs=100, now=network.now)
    network.run(5.0)
    good = network.fate
    network.fate = lambda kind, now: replace(good(kind, now), copies=0)
    before = b.client.statistics.packets_sent
    gone = Delivery()
    b.client.send_reply(b.messages[0].sender_tag, b"gone", max_retransmissions=0, delivery=gone, now=network.now)
    network.run(60.0)
    assert b.client.statistics.packets_sent == before + 1
    assert gone.failure == "not_acknowledged"


def test_what_waits_for_a_silent_peer_is_dropped(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", EXIT, gateway=1)
    a.client.send(b.client.address, b"hi", surbs=2, now=network.now)
    network.run(2.0)
    good = network.fate
    network.fate = lambda kind, now: replace(good(kind, now), copies=0)
    tag = b.messages[0].sender_tag
    assert b.client.surbs_held(tag) > 2
    a.frozen = True
    b.client.send_reply(tag, bytes(400_000), delivery=(long := Delivery()), now=network.now)
    network.run(3600.0, until=lambda: b.client.next_deadline() is None)
    assert b.client.next_deadline() is None and b.client.in_flight == 0
    assert b.client.statistics.replies_dropped > 0
    assert long.failure == "no_surbs"


def test_replies_to_nobody_and_too_many_are_refused(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", replace(EXIT, reply_queue_limit=4), gateway=1)
    with pytest.raises(StateError) as caught:
        b.client.send_reply(bytes(16), b"?", now=network.now)
    assert caught.value.code == "unknown_sender_tag" and b.client.reply_room(bytes(16)) == 0
    a.client.send(b.client.address, b"hi", now=network.now)  # no SURBs at all
    network.run(2.0)
    tag = b.messages[0].sender_tag
    assert b.client.reply_room(tag) == 4
    for _ in range(4):
        b.client.send_reply(tag, b"x", now=network.now)
    with pytest.raises(StateError) as caught:
        b.client.send_reply(tag, b"x", now=network.now)
    assert caught.value.code == "queue_full" and b.client.reply_room(tag) == 0
    a.client.send(b.client.address, b"here", surbs=14, now=network.now)
    network.run(2.0)
    assert len(a.messages) == 4


def test_unasked_top_ups_keep_the_pile_between_its_marks(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", replace(EXIT, surb_buffer=0), gateway=1)
    a.client.send(b.client.address, b"hi", surbs=3, now=network.now)
    a.client.keep_stock(b.client.address, 40, 80, network.now)
    network.run(3.0)
    tag = b.messages[0].sender_tag
    lowest = 1000
    for _ in range(150):
        b.client.send_reply(tag, bytes(1000), now=network.now)
        network.run(0.05)
        lowest = min(lowest, b.client.surbs_held(tag))
    network.run(5.0)
    assert len(a.messages) == 150 and b.client.statistics.surb_requests_sent == 0
    assert lowest > 15 and 40 <= b.client.surbs_held(tag) <= 80
    account = a.client.surb_account(b.client.address)
    assert account.held == b.client.surbs_held(tag)
    a.client.keep_stock(b.client.address, 0, 0, network.now)
    given = account.given
    for _ in range(40):
        b.client.send_reply(tag, b"x", now=network.now)
        network.run(0.2)
    assert account.given == given + 10 * b.client.statistics.surb_requests_sent


def test_requests_cost_no_more_than_the_rate(network: Any, quiet: TrafficConfig) -> None:
    """A greedy peer asks for 500 SURBs again and again."""
    a = network.station("a", replace(quiet, surb_answer_rate=20.0, lane_limit=10_000))
    b = network.station(
        "b",
        replace(
            EXIT,
            surb_request_min=500,
            surb_request_max=500,
            surb_ceiling=10**6,
            surb_store_max=10**5,
            surb_buffer=10**6,
        ),
        gateway=1,
    )
    a.client.send(b.client.address, b"hi", surbs=50, now=network.now)
    network.run(10.0)
    assert a.client.statistics.surb_requests_refused > 0
    assert 500 <= a.client.statistics.surbs_given <= 50 + 500 + 20 * 11


def test_a_request_by_a_stranger_is_refused(network: Any, quiet: TrafficConfig) -> None:
    from smolmix_web.mixnet.messages import SurbRequest

    a, b = network.station("a", quiet), network.station("b", EXIT, gateway=1)
    a.client.send(b.client.address, b"hi", surbs=0, now=network.now)
    account = a.client.surb_account(b.client.address)
    giver = a.client._giver
    giver.answer(SurbRequest(b.client.address, 10), None, network.now)
    giver.answer(SurbRequest(PEER, 10), account, network.now)
    assert a.client.statistics.surb_requests_refused == 2 and account.queued == 0
    giver.answer(SurbRequest(b.client.address, 0), account, network.now)
    giver.answer(SurbRequest(b.client.address, 7), account, network.now)
    assert account.queued == 7
    # The same request again, while the answer still waits to leave, gives nothing twice.
    giver.answer(SurbRequest(b.client.address, 7), account, network.now)
    giver.answer(SurbRequest(b.client.address, 10**9), account, network.now)
    assert account.queued <= 500


def test_key_rotation_between_two_clients(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", EXIT, gateway=1)
    echo(network, b)
    a.client.send(b.client.address, b"1", surbs=20, now=network.now)
    a.client.keep_stock(b.client.address, 30, 60, network.now)
    network.run(5.0)
    tag = b.messages[0].sender_tag
    network.rotate()
    for station in (b, a):
        station.client.set_topology(network.topology(), network.now)
    requests = b.client.statistics.surb_requests_sent
    assert requests >= 1
    assert a.client.surb_account(b.client.address).held == 0
    assert a.client.surb_account(b.client.address).queued == 60
    network.run(5.0)
    stale = len(b.client._replies._stock.get(tag).stale)
    assert stale > 0
    a.client.send(b.client.address, b"2", now=network.now)
    network.run(5.0)
    assert [message.data for message in a.messages] == [b"1\0", b"2\0"]
    network.run(1100.0)  # an epoch later
    b.client.poll(network.now)
    assert len(b.client._replies._stock.get(tag).stale) == 0
    a.client.send(b.client.address, b"3", now=network.now)
    network.run(5.0)
    assert len(a.messages) == 3 and network.refused == []


def test_replies_wait_out_an_old_topology(network: Any, quiet: TrafficConfig) -> None:
    """SURBs of the previous rotation still bring replies home while nodes keep the old keys."""
    a, b = network.station("a", quiet), network.station("b", EXIT, gateway=1)
    a.client.send(b.client.address, b"1", surbs=20, now=network.now)
    network.run(5.0)
    network.rotate()
    b.client.set_topology(network.topology(), network.now)
    b.client.send_reply(b.messages[0].sender_tag, b"late", now=network.now)
    network.run(20.0)
    assert a.data() == [b"late"] and network.refused == []
    # What a peer without the news gives counts as an answer: it is not asked without end.
    assert b.client.statistics.surb_requests_sent <= 5


def restarted(network: Any, before: Any) -> Any:
    """A new process with the keys, the gateway and the memory of `before`."""
    after = MixnetClient(
        before._crypto, SeededRandom("restarted"), before._keys, before.address.gateway, None, EXIT, network.now
    )
    after.succeed(before, network.now)
    return after


def test_a_restarted_client_replies_with_surbs_of_the_last_rotation(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", EXIT, gateway=1)
    network.rotate()
    b.client.set_topology(network.topology(), network.now)
    b.client = restarted(network, restarted(network, b.client))
    # `a` has not heard of the rotation.
    a.client.send(b.client.address, b"1", surbs=20, now=network.now)
    network.run(5.0)
    b.client.send_reply(b.messages[0].sender_tag, b"late", now=network.now)
    network.run(5.0)
    assert a.data() == [b"late"] and network.refused == []
    assert b.client.statistics.retransmitted == 0


def test_a_restarted_client_spends_no_surb_twice(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", EXIT, gateway=1)
    echo(network, b)
    good = network.fate
    # No ack arrives: `a` repeats what has arrived.
    network.fate = lambda kind, now: replace(good(kind, now), copies=int(kind != "ack"))
    a.client.send(b.client.address, b"1", surbs=12, max_retransmissions=1, now=network.now)
    network.run(1.0)
    assert a.data() == [b"1\0"] and a.client.statistics.retransmitted == 0
    b.client = restarted(network, b.client)
    network.run(20.0)
    assert a.client.statistics.retransmitted >= 1
    assert len(b.messages) == 1 and b.client.surbs_held(b.messages[0].sender_tag) == 0 and network.refused == []


@pytest.mark.cpython  # for its length: half a minute of three clients' packets
@pytest.mark.parametrize("ahead", [False, True], ids=["made at their ticks", "made ahead"])
def test_turns_that_nothing_wants_fill_the_pile(network: Any, ahead: bool) -> None:
    """In the place of cover: not one packet more leaves, and none at another time."""
    a, idle, b = network.station("a"), network.station("idle"), network.station("b", EXIT, gateway=1)
    for station in (a, idle):
        station.client.send(b.client.address, b"hi", surbs=3, now=network.now)
        if ahead:
            station.client.prepare(network.now)
    network.run(1.0)
    a.client.keep_stock(b.client.address, 30, 54, network.now)
    network.run(10.0)
    held = [b.client.surbs_held(message.sender_tag) for message in b.messages]
    account = a.client.surb_account(b.client.address)
    ceiling = a.client.config.surb_fill_ceiling
    asked = min(held)  # what the peer asked the other one for
    assert max(held) == ceiling == account.held > asked
    sent = a.client.statistics
    given = sent.surb_packets_sent
    assert given - idle.client.statistics.surb_packets_sent <= (ceiling - asked) / 3 + 1 and sent.retransmitted == 0
    turns = sent.real_sent + sent.main_cover_sent
    others = idle.client.statistics.real_sent + idle.client.statistics.main_cover_sent
    assert abs(turns - others) < 5 * others**0.5, "as many as the stream has turns"
    network.run(20.0)
    assert sent.surb_packets_sent == given, "a full pile stays as it is"
    b.client.send_reply(b.messages[0].sender_tag, b"x", now=network.now)
    b.client.send_reply(b.messages[1].sender_tag, b"x", now=network.now)
    network.run(2.0)
    assert b.client.surbs_held(account.tag) == ceiling


def test_an_unpaced_client_fills_no_pile(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", replace(EXIT, surb_buffer=0), gateway=1)
    a.client.send(b.client.address, b"hi", surbs=40, now=network.now)
    network.run(1.0)
    a.client.keep_stock(b.client.address, 30, 54, network.now)
    network.run(60.0)
    assert a.client.statistics.surb_packets_sent == 0 and b.client.surbs_held(b.messages[0].sender_tag) == 40
