"""Fragments in any order, more than once, forged, too many, too late."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.errors import MessageError
from smolmix_web.mixnet.fragments import Fragment, split_message
from smolmix_web.mixnet.reassembly import Reassembler
from smolmix_web.rand import SeededRandom

SIZE = 11  # 4 bytes in a fragment, 1 in a linked one: long chains from short messages


def shuffled(items, seed):
    rng = SeededRandom(f"shuffle {seed}")
    items = list(items)
    for at in range(len(items) - 1, 0, -1):
        other = rng.below(at + 1)
        items[at], items[other] = items[other], items[at]
    return items


def feed(reassembler, fragments, source="peer", now=0.0):
    out = [reassembler.insert(source, fragment.to_bytes(), now) for fragment in fragments]
    return [message for message in out if message is not None]


@settings(max_examples=40)
@given(length=st.integers(0, 4000), seed=st.integers(0, 10_000), data=st.data())
def test_any_order_with_duplicates(length, seed, data):
    message = SeededRandom(seed).bytes(length)
    fragments = split_message(SeededRandom(seed), message, SIZE)
    again = data.draw(st.lists(st.sampled_from(fragments), max_size=20))
    reassembler = Reassembler()
    assert feed(reassembler, shuffled(fragments + again, seed)) == [message]
    assert reassembler.statistics.duplicates == len(again)
    assert reassembler.buffered == 0
    # Everything that comes later is a duplicate.
    assert feed(reassembler, shuffled(fragments, seed + 1)) == []
    assert reassembler.buffered == 0


def test_chain_of_many_sets_in_reverse(rng):
    message = rng.bytes(10 * 255 * 4)
    fragments = split_message(rng, message, SIZE)
    assert len({fragment.set_id for fragment in fragments}) == 11
    assert feed(Reassembler(), reversed(fragments)) == [message]


def test_interleaved_messages_and_sources(rng):
    messages = [rng.bytes(50 + at) for at in range(6)]
    stream = []
    for at, message in enumerate(messages):
        stream += [(f"peer {at % 2}", fragment) for fragment in split_message(rng, message, SIZE)]
    reassembler = Reassembler()
    out = []
    for source, fragment in shuffled(stream, "mix"):
        got = reassembler.insert(source, fragment.to_bytes(), 0.0)
        out += [got] if got is not None else []
    assert sorted(out) == sorted(messages)


def test_the_same_set_id_from_two_sources(rng):
    first = [Fragment(7, 2, 1, b"a-one"), Fragment(7, 2, 2, b"\x01")]
    other = [Fragment(7, 3, 1, b"b-one"), Fragment(7, 3, 2, b"b-two"), Fragment(7, 3, 3, b"\x01")]
    reassembler = Reassembler()
    assert feed(reassembler, first[:1], "a") == []
    assert feed(reassembler, other[:2], "b") == []
    assert feed(reassembler, first[1:], "a") == [b"a-one"]
    assert feed(reassembler, other[2:], "b") == [b"b-oneb-two"]


# -- forged -------------------------------------------------------------------------------------------------


def test_another_total_is_refused_and_harms_nothing():
    reassembler = Reassembler()
    feed(reassembler, [Fragment(7, 3, 1, b"one")])
    for total, position in ((255, 200), (2, 2), (4, 1)):
        with pytest.raises(MessageError) as caught:
            feed(reassembler, [Fragment(7, total, position, b"evil")])
        assert caught.value.code == "fragment_mismatch"
    assert feed(reassembler, [Fragment(7, 3, 2, b"two"), Fragment(7, 3, 3, b"\x01")]) == [b"onetwo"]
    assert reassembler.statistics.malformed == 3


def test_a_single_fragment_message_does_not_replace_an_open_set():
    reassembler = Reassembler()
    feed(reassembler, [Fragment(7, 2, 1, b"one")])
    with pytest.raises(MessageError, match="its set has 2"):
        feed(reassembler, [Fragment(7, 1, 1, b"evil\x01")])
    assert feed(reassembler, [Fragment(7, 2, 2, b"\x01")]) == [b"one"]


def test_the_first_content_of_a_position_stays():
    reassembler = Reassembler()
    feed(reassembler, [Fragment(7, 2, 1, b"good"), Fragment(7, 2, 1, b"evil")])
    assert feed(reassembler, [Fragment(7, 2, 2, b"\x01")]) == [b"good"]
    assert reassembler.statistics.duplicates == 1


def test_malformed_fragments_are_counted():
    reassembler = Reassembler()
    for data in (b"", b"\x80\0\0\1\2\3\0", b"The cake is a lie!"):
        with pytest.raises(MessageError):
            reassembler.insert("peer", data, 0.0)
    assert reassembler.statistics.malformed == 3
    assert reassembler.buffered == 0


def test_bad_padding_is_refused_and_remembered():
    reassembler = Reassembler()
    with pytest.raises(MessageError) as caught:
        feed(reassembler, [Fragment(7, 1, 1, bytes(20))])
    assert caught.value.code == "bad_padding"
    assert feed(reassembler, [Fragment(7, 1, 1, bytes(20))]) == []
    assert reassembler.statistics.duplicates == 1


def full_set(set_id, previous=None, following=None):
    return [
        Fragment(
            set_id,
            255,
            number,
            b"x",
            previous if number == 1 else None,
            following if number == 255 else None,
        )
        for number in range(1, 256)
    ]


def test_a_claim_that_is_not_answered():
    """Set 9 says it follows set 7, but set 7 goes on with set 8."""
    reassembler = Reassembler()
    assert feed(reassembler, full_set(7, None, 8)) == []
    with pytest.raises(MessageError) as caught:
        feed(reassembler, [Fragment(9, 1, 1, b"evil\x01", previous_set=7)])
    assert caught.value.code == "bad_set_chain"
    assert feed(reassembler, [Fragment(8, 1, 1, b"y\x01", previous_set=7)]) == [b"x" * 255 + b"y"]
    assert reassembler.buffered == 0


def test_a_claim_on_a_finished_message():
    reassembler = Reassembler()
    assert feed(reassembler, [Fragment(7, 1, 1, b"done\x01")]) == [b"done"]
    with pytest.raises(MessageError) as caught:
        feed(reassembler, [Fragment(9, 1, 1, b"more\x01", previous_set=7)])
    assert caught.value.code == "bad_set_chain"
    assert reassembler.buffered == 0


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_chain_without_beginning(count):
    """Sets in a ring: every link is answered, no message ever begins."""
    reassembler = Reassembler()
    with pytest.raises(MessageError) as caught:
        for at in range(count):
            feed(reassembler, full_set(10 + at, 10 + (at - 1) % count, 10 + (at + 1) % count))
    assert caught.value.code == "bad_set_chain"


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 4)), max_size=60))
def test_hostile_fragments_never_break_the_books(steps):
    """Small ids, totals and links: every collision there is. Memory counts stay exact, nothing but MessageError."""
    reassembler = Reassembler(max_buffered=3000)
    for set_id, total, position, link in steps:
        data = bytes.fromhex(f"8000000{set_id}0{total}0{position}") + (
            bytes.fromhex(f"8000000{link}") if link else b"\0"
        )
        try:
            reassembler.insert("peer", data + b"ab\x01", 0.0)
        except MessageError as error:
            assert error.code in ("bad_fragment", "fragment_mismatch", "bad_set_chain", "bad_padding")
        assert 0 <= reassembler.buffered <= 3000
    reassembler.expire(10_000.0)
    assert reassembler.buffered == 0


# -- bounds -------------------------------------------------------------------------------------------------


def test_incomplete_sets_expire_after_30_minutes_of_silence():
    reassembler = Reassembler()
    feed(reassembler, [Fragment(7, 3, 1, b"one")], now=0.0)
    feed(reassembler, [Fragment(9, 3, 1, b"one")], now=10.0)
    feed(reassembler, [Fragment(7, 3, 2, b"two")], now=1700.0)
    reassembler.expire(1800.0)
    assert reassembler.statistics.expired_sets == 0
    reassembler.expire(1820.0)
    assert reassembler.statistics.expired_sets == 1
    assert feed(reassembler, [Fragment(9, 3, 2, b"two"), Fragment(9, 3, 3, b"\x01")], now=1821.0) == []
    assert feed(reassembler, [Fragment(7, 3, 3, b"\x01")], now=1821.0) == [b"onetwo"]
    reassembler.expire(9000.0)
    assert reassembler.buffered == 0


def test_eviction_takes_the_set_without_news():
    reassembler = Reassembler(max_buffered=4000)
    for number in (1, 2, 3):
        feed(reassembler, [Fragment(number, 3, 1, bytes(500))])
    feed(reassembler, [Fragment(1, 3, 2, b"news"), Fragment(4, 3, 1, bytes(500))])
    assert reassembler.statistics.evicted_sets == 1
    assert feed(reassembler, [Fragment(1, 3, 3, b"\x01")]) == [bytes(500) + b"news"]
    assert feed(reassembler, [Fragment(2, 3, 2, b"a"), Fragment(2, 3, 3, b"\x01")]) == []


def test_memory_is_bounded_and_the_greatest_source_pays():
    reassembler = Reassembler(max_buffered=200_000)
    feed(reassembler, [Fragment(1, 2, 1, b"precious")], source="peer", now=0.0)
    for number in range(1, 400):
        feed(reassembler, [Fragment(number, 3, 1, bytes(1604))], source="flood", now=1.0)
        assert reassembler.buffered <= 200_000
    assert reassembler.statistics.evicted_sets > 250
    assert feed(reassembler, [Fragment(1, 2, 2, b"\x01")], source="peer", now=2.0) == [b"precious"]
    # The stalest sets of the flood went, its last ones are there.
    assert feed(reassembler, [Fragment(399, 3, 2, b"a"), Fragment(399, 3, 3, b"b\x01")], source="flood", now=2.0) == [
        bytes(1604) + b"ab"
    ]


def test_empty_fragments_cost_memory_too():
    reassembler = Reassembler(max_buffered=100_000)
    for number in range(1, 2000):
        feed(reassembler, [Fragment(number, 255, 2, b"")])
    assert reassembler.buffered <= 100_000
    assert reassembler.statistics.evicted_sets > 1500


def test_a_message_larger_than_the_bound_is_dropped():
    reassembler = Reassembler(max_buffered=5000)
    fragments = split_message(SeededRandom(0), bytes(20_000), 1611)
    assert feed(reassembler, fragments) == []
    assert reassembler.buffered <= 5000
    assert feed(reassembler, split_message(SeededRandom(1), b"small", 1611)) == [b"small"]


def test_duplicates_are_forgotten_after_one_to_two_periods():
    reassembler = Reassembler(duplicate_period=300.0)
    single = Fragment(7, 1, 1, b"hi\x01")
    assert feed(reassembler, [single], now=1000.0) == [b"hi"]
    for now in (1001.0, 1299.0, 1301.0, 1590.0):
        assert feed(reassembler, [single], now=now) == []
    assert feed(reassembler, [single], now=1902.0) == [b"hi"]
    # A long sleep forgets all at once.
    assert feed(reassembler, [single], now=9000.0) == [b"hi"]


def test_the_duplicate_memory_is_bounded():
    reassembler = Reassembler(max_remembered=100)
    for number in range(1, 1001):
        assert feed(reassembler, [Fragment(number, 1, 1, b"m\x01")]) == [b"m"]
    # At least the newest hundred are known, the oldest are not.
    assert feed(reassembler, [Fragment(number, 1, 1, b"m\x01") for number in range(901, 1001)]) == []
    assert feed(reassembler, [Fragment(1, 1, 1, b"m\x01")]) == [b"m"]
