"""Padding, chunking, fragment headers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.errors import MessageError, UsageError
from smolmix_web.mixnet.fragments import (
    COVER_IDENTIFIER,
    Fragment,
    FragmentIdentifier,
    FragmentPlan,
    packets_needed,
    pad_message,
    plan_fragments,
    split_message,
    unpad_message,
)
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx.constants import EXTENDED8, EXTENDED16, EXTENDED32, REGULAR


def test_published_fragment_counts(nym_vectors):
    vector = nym_vectors["sphinx"]["fragment_counts"]
    checked = 0
    for p in vector["p_values"]:
        names = {"u": p - 7, "l": p - 10, "edge": 255 * (p - 7) - 3, "mid": 255 * (p - 7) - 6}
        for length, fragments, unused in vector["cases"]:
            values = [eval(formula, {"__builtins__": {}}, names) for formula in (length, fragments, unused)]
            plan = plan_fragments(values[0], p)
            assert [plan.fragments, plan.unused] == values[1:], (p, length)
            checked += 1
    assert checked == 70


def test_limits_of_a_regular_packet():
    assert plan_fragments(1604) == FragmentPlan(1, 1, 0)
    assert plan_fragments(1605) == FragmentPlan(2, 1, 1603)
    assert plan_fragments(255 * 1604) == FragmentPlan(255, 1, 0)
    assert plan_fragments(255 * 1604 + 1).sets == 2
    # Longest plain message in one packet 1602, with its type byte and the marker 1604.
    assert (packets_needed(1603), packets_needed(1604)) == (1, 2)
    assert (packets_needed(409019), packets_needed(409020)) == (255, 256)
    assert packets_needed(0) == 1


@pytest.mark.parametrize("size", [REGULAR, EXTENDED8, EXTENDED16, EXTENDED32], ids=lambda size: size.name)
def test_every_packet_size_is_filled(rng, size):
    for length in (0, 1, size.fragment - 8, size.fragment - 7, 3 * size.fragment):
        fragments = split_message(rng, bytes(length), size.fragment)
        assert {len(fragment.to_bytes()) for fragment in fragments} == {size.fragment}


# -- padding ----------------------------------------------------------------------------------------------


@given(message=st.binary(max_size=300), fragment_size=st.integers(11, 60))
def test_padding_round_trip(message, fragment_size):
    padded = pad_message(message, fragment_size)
    assert unpad_message(padded) == message
    assert padded[: len(message) + 1] == message + b"\x01"
    assert not any(padded[len(message) + 1 :])


def test_padding_without_end():
    for data in (b"", bytes(100), b"\x02" * 9):
        with pytest.raises(MessageError) as caught:
            unpad_message(data)
        assert caught.value.code == "bad_padding"


# -- chunking ---------------------------------------------------------------------------------------------


def check_chain(fragments, fragment_size):
    """The rules of sphinx 7.2 for a whole message; returns the padded bytes."""
    sets = []
    for fragment in fragments:
        if not sets or sets[-1][0].set_id != fragment.set_id:
            sets.append([])
        sets[-1].append(fragment)
    ids = [members[0].set_id for members in sets]
    assert len(set(ids)) == len(ids)
    for at, members in enumerate(sets):
        last = at == len(sets) - 1
        assert len(members) == members[0].total <= 255
        assert last or len(members) == 255
        for number, fragment in enumerate(members, 1):
            assert (fragment.position, fragment.total) == (number, len(members))
            assert 1 <= fragment.set_id < 2**31
            assert fragment.previous_set == (ids[at - 1] if number == 1 and at > 0 else None)
            assert fragment.next_set == (ids[at + 1] if number == 255 and not last else None)
            assert len(fragment.to_bytes()) == fragment_size
            assert Fragment.from_bytes(fragment.to_bytes()) == fragment
    return b"".join(fragment.data for fragment in fragments)


@settings(max_examples=40)
@given(length=st.integers(0, 9000), fragment_size=st.integers(11, 40), seed=st.integers(0, 99))
def test_split_follows_the_rules(length, fragment_size, seed):
    message = SeededRandom(seed).bytes(length)
    fragments = split_message(SeededRandom(seed), message, fragment_size)
    plan = plan_fragments(length + 1, fragment_size)
    assert len(fragments) == plan.fragments
    assert len({fragment.set_id for fragment in fragments}) == plan.sets
    assert unpad_message(check_chain(fragments, fragment_size)) == message


@pytest.mark.parametrize("around", [255 * 4, 2 * (255 * 4 - 3), 2 * (255 * 4 - 3) + 255 * 4 - 6])
def test_split_at_the_edges_of_sets(around):
    """Fragments of 11 bytes carry 4, linked ones 1: the smallest world with all three kinds of sets."""
    for total in range(around - 5, around + 6):
        message = bytes(total - 1)
        fragments = split_message(SeededRandom(total), message, 11)
        assert unpad_message(check_chain(fragments, 11)) == message


def test_set_ids_cover_their_range():
    ids = [split_message(SeededRandom(seed), b"")[0].set_id for seed in range(300)]
    assert len(set(ids)) == 300
    assert 0 < min(ids) < 2**26
    assert 2**31 - 2**26 < max(ids) < 2**31


def test_too_small_fragments():
    with pytest.raises(UsageError):
        split_message(SeededRandom(0), b"x", 10)


# -- header -----------------------------------------------------------------------------------------------


def test_header_examples():
    unlinked = Fragment(12345, 10, 5, b"data")
    assert unlinked.to_bytes() == bytes.fromhex("800030390a0500") + b"data"
    assert unlinked.identifier.to_bytes().hex() == "0000303905"
    linked = Fragment(12345, 255, 255, b"data", next_set=54321)
    assert linked.to_bytes() == bytes.fromhex("80003039ffff8000d431") + b"data"
    first = Fragment(54321, 1, 1, b"", previous_set=12345)
    assert first.to_bytes() == bytes.fromhex("8000d431010180003039")
    for fragment in (unlinked, linked, first):
        assert Fragment.from_bytes(fragment.to_bytes()) == fragment


@pytest.mark.parametrize("header", ["800030390a0500", "80003039ffff8000d431"])
def test_header_truncated_at_every_length(header):
    data = bytes.fromhex(header)
    for length in range(len(data)):
        with pytest.raises(MessageError) as caught:
            Fragment.from_bytes(data[:length])
        assert caught.value.code == "bad_fragment"


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ("000030390a0500", "top bit of the set id"),
        ("800000000a0500", "set id 0"),
        ("80003039000000", "number 0 at offset 5 of 0"),
        ("800030390a0000", "number 0"),
        ("800030390a0b00", "number 11 at offset 5 of 10"),
        ("80003039ffff0000d431", None),
        ("80003039ffff0100d431", "top bit of the linked"),
        ("80003039ffff80000000", "linked set id"),
        ("80003039ffff80003039", "linked set id"),
        ("800030390a058000d431", "cannot be linked"),
        ("800030390a0a8000d431", "cannot be linked"),
        ("80003039fffe8000d431", "cannot be linked"),
    ],
)
def test_header_rules(header, match):
    data = bytes.fromhex(header) + b"data"
    if match is None:
        # A zero at offset 6 ends the header, whatever follows.
        assert Fragment.from_bytes(data).data == bytes.fromhex("00d431") + b"data"
        return
    with pytest.raises(MessageError, match=match):
        Fragment.from_bytes(data)


@given(st.binary(max_size=40))
def test_noise_never_crashes(data):
    try:
        fragment = Fragment.from_bytes(data)
    except MessageError:
        return
    assert fragment.to_bytes() == data


# -- identifier ---------------------------------------------------------------------------------------------


@given(set_id=st.integers(0, 2**31 - 1), position=st.integers(0, 255))
def test_identifier_round_trip(set_id, position):
    identifier = FragmentIdentifier(set_id, position)
    assert FragmentIdentifier.from_bytes(identifier.to_bytes()) == identifier


def test_identifier_refused():
    assert COVER_IDENTIFIER.to_bytes() == bytes(5)
    for data in (b"", bytes(4), bytes(6), b"\x80" + bytes(4)):
        with pytest.raises(MessageError) as caught:
            FragmentIdentifier.from_bytes(data)
        assert caught.value.code == "bad_fragment_id"
