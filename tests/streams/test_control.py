"""The record that two peers of ours exchange: vectors, every truncation, every trailing byte, every round trip."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import MessageError
from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.streams.control import MAX_RANGES, MAX_TEXT, Control, Reset

ADDRESS = Recipient(bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96)))
VECTORS = [
    (Control(0, 0), "00 0000000000000000 0000000000000000 00"),
    (Control(5, 0x100000), "00 0000000000000005 0000000000100000 00"),
    (Control(5, 7, ((6, 8), (11, 12)), ask=True), "10 0000000000000005 0000000000000007 02 0001 0002 0003 0001"),
    (Control(1, 2, final=9, heard=True), "03 0000000000000001 0000000000000002 00 0000000000000009"),
    (Control(1, 2, reset=Reset(258, "no")), "04 0000000000000001 0000000000000002 00 0102 02 6e6f"),
    (
        Control((1 << 64) - 1, 2, moves=3, address=ADDRESS),
        "08 ffffffffffffffff 0000000000000002 00 0003" + bytes(range(96)).hex(),
    ),
    (
        Control(1, 2, ((3, 4),), 9, True, Reset(1), 1, ADDRESS, True),
        "1f 0000000000000001 0000000000000002 01 0002 0001 0000000000000009 0001 00 0001" + bytes(range(96)).hex(),
    ),
]


@pytest.mark.parametrize(("record", "data"), VECTORS)
def test_vectors(record: Control, data: str) -> None:
    assert record.to_bytes() == bytes.fromhex(data)
    assert Control.from_bytes(bytes.fromhex(data)) == record


@pytest.mark.parametrize(("record", "data"), VECTORS)
def test_every_truncation_and_trailing_bytes_are_refused(record: Control, data: str) -> None:
    whole = bytes.fromhex(data)
    for end in range(len(whole)):
        with pytest.raises(MessageError, match="stream control: "):
            Control.from_bytes(whole[:end])
    for more in (b"\0", b"\xff" * 40):
        with pytest.raises(MessageError, match=f"{len(more)} bytes too many at offset {len(whole)}"):
            Control.from_bytes(whole + more)


def test_bad_fields_are_named() -> None:
    good = Control(5, 7, ((6, 8),)).to_bytes()
    for flags in (32, 64, 128):
        with pytest.raises(MessageError, match=f"unknown flags {flags:#x} at offset 0"):
            Control.from_bytes(bytes((flags,)) + good[1:])
    with pytest.raises(MessageError, match="65 ranges at offset 17"):
        Control.from_bytes(good[:17] + bytes((MAX_RANGES + 1,)) + bytes.fromhex("00010001") * 65)
    for empty in ("00000001", "00010000"):
        with pytest.raises(MessageError, match="empty gap or range at offset 18"):
            Control.from_bytes(good[:18] + bytes.fromhex(empty))


numbers = st.integers(0, 1 << 62)


@st.composite
def records(draw: st.DrawFn) -> Control:
    received = draw(numbers)
    ranges, at = [], received
    for gap, length in draw(st.lists(st.tuples(st.integers(1, 0xFFFF), st.integers(1, 0xFFFF)), max_size=MAX_RANGES)):
        ranges.append((at + gap, at + gap + length))
        at += gap + length
    moves = draw(st.integers(0, 0xFFFF))
    address = draw(st.none() | st.just(ADDRESS))
    text = draw(st.text(st.characters(codec="utf-8"), max_size=60))
    return Control(
        received,
        draw(numbers),
        tuple(ranges),
        draw(st.none() | numbers),
        draw(st.booleans()),
        draw(st.none() | st.builds(Reset, st.integers(0, 0xFFFF), st.just(text))),
        moves if address is not None else 0,
        address,
        draw(st.booleans()),
    )


@given(records())
def test_round_trips(record: Control) -> None:
    assert Control.from_bytes(record.to_bytes()) == record


@given(st.binary(max_size=200))
def test_garbage_is_read_or_refused(data: bytes) -> None:
    try:
        record = Control.from_bytes(data)
    except MessageError as error:
        assert error.code == "bad_control"
    else:
        assert Control.from_bytes(record.to_bytes()) == record


def test_what_is_too_much_is_cut_where_it_can_be() -> None:
    many = tuple((number, number + 1) for number in range(2, 400, 2))
    assert Control.from_bytes(Control(0, 0, many).to_bytes()).ranges == many[:MAX_RANGES]
    far = ((10, 12), (100_000, 100_001), (100_005, 100_006))
    assert Control.from_bytes(Control(0, 0, far).to_bytes()).ranges == far[:1]
    long = Control.from_bytes(Control(0, 0, reset=Reset(300, "ä" * 200)).to_bytes()).reset
    assert long is not None and long.text == "ä" * (MAX_TEXT // 2)
