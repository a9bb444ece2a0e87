"""LP frames (ipr.md 4.2) and the bundle codec (ipr.md 3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import MessageError
from smolmix_web.exit.bundles import BundleEncoder, join, split
from smolmix_web.mixnet.lp_frame import DATA, HEADER_SIZE, OPEN, TYPES, LpFrame, is_stream_frame


def test_reference_frame() -> None:
    frame = LpFrame(0x0011223344556677, OPEN, 1, b"\xaa")
    assert frame.to_bytes() == bytes.fromhex("0300001122334455667700 00000001 00 AA")
    assert LpFrame.from_bytes(frame.to_bytes()) == frame
    assert is_stream_frame(frame.to_bytes())


@given(st.integers(0, (1 << 64) - 1), st.sampled_from(TYPES), st.integers(0, (1 << 32) - 1), st.binary(max_size=40))
def test_frames_round_trip(stream_id: int, message_type: int, sequence: int, payload: bytes) -> None:
    frame = LpFrame(stream_id, message_type, sequence, payload)
    data = frame.to_bytes()
    assert len(data) == HEADER_SIZE + len(payload)
    assert LpFrame.from_bytes(data) == frame


def test_bad_frames_name_the_fault() -> None:
    good = LpFrame(7, DATA, 9).to_bytes()
    for end in range(HEADER_SIZE):
        with pytest.raises(MessageError, match="LP frame at offset 0: 16 bytes"):
            LpFrame.from_bytes(good[:end])
        assert not is_stream_frame(good[:end])
    for kind in (0, 1, 2, 4, 8, 9, 0x0300):
        data = kind.to_bytes(2, "little") + good[2:]
        with pytest.raises(MessageError, match=f"LP frame kind at offset 0: {kind} "):
            LpFrame.from_bytes(data)
        assert not is_stream_frame(data)
    for message_type in (5, 0xC0, 0xC2, 255):
        with pytest.raises(MessageError, match="LP frame message type at offset 10"):
            LpFrame.from_bytes(good[:10] + bytes((message_type,)) + good[11:])


def test_the_reserved_byte_is_not_checked() -> None:
    data = bytearray(LpFrame(7, DATA, 9, b"x").to_bytes())
    data[15] = 0xFF
    assert LpFrame.from_bytes(bytes(data)) == LpFrame(7, DATA, 9, b"x", reserved=0xFF)


packets = st.lists(st.binary(min_size=1, max_size=700), max_size=12)


@given(packets)
def test_bundles_round_trip(items: list[bytes]) -> None:
    assert split(join(items)) == (items, True)


@given(packets.filter(bool))
def test_a_truncated_tail_costs_only_the_tail(items: list[bytes]) -> None:
    whole = join(items)
    for end in {0, 1, len(whole) - 1, len(whole) // 2}:
        found, clean = split(whole[:end])
        assert found == items[: len(found)]
        assert clean == (join(found) == whole[:end])


def test_a_length_of_zero_is_an_empty_packet() -> None:
    assert split(b"\x00\x00\x00\x01a") == ([b"", b"a"], True)


def test_what_cannot_be_bundled() -> None:
    for packet in (b"", bytes(65536)):
        with pytest.raises(ValueError, match="cannot be bundled"):
            join((packet,))
    assert len(join((bytes(65535),))) == 65537


def test_encoder_rules() -> None:
    encoder = BundleEncoder()
    assert encoder.flush() is None
    huge = bytes(1499)
    assert encoder.append(huge) == join((huge,))  # alone, at once
    assert len(encoder) == 0
    assert encoder.append(bytes(1498)) is None  # exactly 1500 waits
    assert encoder.append(b"b") == join((bytes(1498),))
    assert encoder.append(huge) == join((b"b",))  # too large, but something waited: one call late
    assert encoder.append(b"c") == join((huge,))
    assert encoder.flush() == join((b"c",))
    assert encoder.flush() is None


@given(st.lists(st.binary(min_size=1, max_size=1600), max_size=20), st.integers(100, 1600))
def test_the_encoder_loses_and_reorders_nothing(items: list[bytes], target: int) -> None:
    encoder = BundleEncoder(target)
    bundles = [bundle for item in items if (bundle := encoder.append(item)) is not None]
    if (last := encoder.flush()) is not None:
        bundles.append(last)
    assert [packet for bundle in bundles for packet in split(bundle)[0]] == items
    for bundle in bundles:
        assert len(bundle) <= target or len(split(bundle)[0]) == 1
