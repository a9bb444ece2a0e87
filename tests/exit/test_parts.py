"""The small parts of a session: packet budget, uplink bundles, downlink order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.exit import budget
from smolmix_web.exit.bundles import split
from smolmix_web.exit.downlink import MODULUS, Downlink
from smolmix_web.exit.uplink import Uplink
from smolmix_web.mixnet.fragments import packets_needed
from smolmix_web.mixnet.messages import REPLIABLE_OVERHEAD


def frame_size(packet: int) -> int:
    """Mixnet data of one IP packet of this size: LP header, request header, length field, prefix."""
    bundle = packet + 2
    return 16 + 3 + (3 if bundle >= 251 else 1) + bundle


def test_the_boundary_of_a_bundle() -> None:
    assert budget.BUNDLE_ROOM == 1559
    assert packets_needed(REPLIABLE_OVERHEAD + frame_size(1557)) == 1
    assert packets_needed(REPLIABLE_OVERHEAD + frame_size(1558)) == 2


def test_uplink_bundles_within_its_delay() -> None:
    uplink = Uplink(0.005, 256)
    assert uplink.next_deadline() is None
    assert uplink.append([b"a" * 40, b"b" * 40], 1.0) == 2
    assert uplink.append([b"c" * 40], 1.004) == 1
    assert uplink.next_deadline() == 1.005, "the first packet sets the time"
    assert uplink.take(1.004) == []
    (bundle,) = uplink.take(1.005)
    assert split(bundle) == ([b"a" * 40, b"b" * 40, b"c" * 40], True)
    assert uplink.next_deadline() is None
    assert uplink.take(2.0) == []


def test_a_full_bundle_does_not_wait() -> None:
    uplink = Uplink(0.005, 256)
    uplink.append([b"a" * 1540], 1.0)  # 17 left: nothing fits any more
    assert uplink.next_deadline() == float("-inf")
    assert [split(bundle)[0] for bundle in uplink.take(1.0)] == [[b"a" * 1540]]
    uplink.append([b"a" * 1420, b"b" * 1420, b"c" * 40], 2.0)
    assert [len(split(bundle)[0]) for bundle in uplink.take(2.0)] == [1]
    assert uplink.next_deadline() == 2.005, "its time starts with its own first packet"
    assert [len(split(bundle)[0]) for bundle in uplink.take(2.005)] == [2]


def test_uplink_has_a_bound() -> None:
    uplink = Uplink(0.005, 10)
    packets = [b"p" * 1400] * 12
    assert uplink.space == 10
    assert uplink.append(packets, 1.0) == 10
    assert (uplink.space, uplink.append(packets, 1.0)) == (0, 0)
    assert len(uplink.take(1.0)) == 9
    assert uplink.space == 9, "one still waits for company"
    uplink.clear()
    assert (uplink.space, uplink.next_deadline()) == (10, None)


@given(st.lists(st.integers(1, 1500), max_size=60), st.integers(1, 20))
def test_uplink_loses_nothing_and_fits_one_packet(sizes: list[int], chunk: int) -> None:
    uplink = Uplink(0.005, 1000)
    packets = [index.to_bytes(2, "big") * (size // 2) or b"x" for index, size in enumerate(sizes)]
    bundles, now = [], 0.0
    for start in range(0, len(packets), chunk):
        uplink.append(packets[start : start + chunk], now)
        now += 0.002
        bundles += uplink.take(now)
    bundles += uplink.take(now + 1)
    assert [packet for bundle in bundles for packet in split(bundle)[0]] == packets
    assert all(len(bundle) <= budget.BUNDLE_ROOM for bundle in bundles)
    assert uplink.space == 1000


def test_downlink_without_window_passes_everything_but_duplicates() -> None:
    downlink = Downlink(0, 0.1)
    for sequence, missing in ((1, 0), (3, 1), (6, 3), (2, 2)):
        payload = b"%d" % sequence
        assert downlink.receive(sequence, payload, 0.0) == [payload] and downlink.missing == missing
    for sequence in (1, 2, 3):
        assert downlink.receive(sequence, b"again", 0.0) == []
    assert downlink.duplicates == 3 and downlink.missing == 2
    assert downlink.next_deadline() is None


def test_downlink_waits_for_what_was_overtaken() -> None:
    downlink = Downlink(8, 0.1)
    assert downlink.receive(2, b"2", 1.0) == []
    assert downlink.receive(3, b"3", 1.05) == []
    assert downlink.next_deadline() == 1.1
    assert downlink.receive(1, b"1", 1.09) == [b"1", b"2", b"3"]
    assert downlink.next_deadline() is None


def test_a_lost_frame_holds_back_no_longer_than_the_hold() -> None:
    downlink = Downlink(8, 0.1)
    downlink.receive(1, b"1", 1.0)
    assert downlink.receive(3, b"3", 1.0) == []
    assert downlink.receive(6, b"6", 1.05) == []
    assert downlink.poll(1.09) == []
    assert downlink.poll(1.1) == [b"3"]
    assert downlink.next_deadline() == pytest.approx(1.15)
    assert downlink.poll(1.2) == [b"6"]
    assert downlink.skipped == 3
    assert downlink.receive(2, b"2", 1.3) == [b"2"], "late, but good"
    assert downlink.late == 1


def test_a_full_window_gives_up_on_the_gap() -> None:
    downlink = Downlink(4, 0.1)
    for sequence in (2, 3, 4, 5):
        assert downlink.receive(sequence, bytes((sequence,)), 1.0) == []
    assert downlink.receive(6, b"\x06", 1.0) == [b"\x02", b"\x03", b"\x04", b"\x05", b"\x06"]


def test_a_wild_number_blocks_nothing() -> None:
    downlink = Downlink(8, 0.1)
    downlink.receive(1, b"1", 1.0)
    assert downlink.receive(1 << 30, b"wild", 1.0) == [b"wild"] and downlink.missing == 0
    assert downlink.receive(2, b"2", 1.0) == [b"2"]


def test_numbers_wrap_over_zero() -> None:
    downlink = Downlink(8, 0.1)
    downlink._expected = downlink._newest = MODULUS - 2
    assert downlink.receive(MODULUS - 1, b"b", 1.0) == []
    assert downlink.receive(1, b"c", 1.0) == []
    assert downlink.poll(1.1) == [b"b", b"c"]
    assert downlink.receive(2, b"d", 1.2) == [b"d"]


@given(st.permutations(range(1, 30)), st.integers(0, 32), st.data())
def test_downlink_delivers_each_frame_once_in_any_order(order: list[int], window: int, data: st.DataObject) -> None:
    downlink = Downlink(window, 0.1)
    out, now = [], 0.0
    for sequence in order:
        for _ in range(data.draw(st.integers(1, 2))):
            out += downlink.receive(sequence, bytes((sequence,)), now)
        now += 0.02
        out += downlink.poll(now)
    out += downlink.poll(now + 1)
    assert sorted(out) == [bytes((n,)) for n in range(1, 30)]
    assert downlink.missing == 0
    assert downlink.next_deadline() is None
