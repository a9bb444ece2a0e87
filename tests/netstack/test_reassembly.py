"""IPv4 reassembly: any order, duplicates, overlaps, bounds, time."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import PacketError
from smolmix_web.netstack import ip, ipv4
from smolmix_web.netstack.reassembly import MAX_PIECES, Reassembler

A, B = IPv4Address("203.0.113.80").packed, IPv4Address("10.0.171.205").packed


def fragment(offset: int, payload: bytes, more: bool, identification: int = 1) -> bytes:
    flags = offset >> 3 | (ipv4.FLAG_MF if more else 0)
    return ipv4.header(A, B, ip.UDP, 20 + len(payload), identification, flags) + payload


def fragments(body: bytes, size: int, identification: int = 1) -> list[bytes]:
    return [
        fragment(at, body[at : at + size], at + size < len(body), identification) for at in range(0, len(body), size)
    ]


def insert(reassembler: Reassembler, packet: bytes, now: float = 0.0) -> bytes | None:
    return reassembler.insert(packet, ipv4.parse(packet), now)


def made(**changes: float) -> Reassembler:
    settings = {"max_datagrams": 4, "max_bytes": 70_000, "timeout": 30.0} | changes
    return Reassembler(**settings)  # type: ignore[arg-type]


@given(st.binary(min_size=1, max_size=2000), st.sampled_from([8, 64, 504]), st.randoms(use_true_random=False))
def test_any_order_with_duplicates(body: bytes, size: int, random) -> None:  # type: ignore[no-untyped-def]
    if len(body) / size > MAX_PIECES:
        body = body[: size * MAX_PIECES]
    pieces = fragments(body, size)
    order = pieces + random.sample(pieces, len(pieces) // 2)
    random.shuffle(order)
    reassembler = made()
    whole = [packet for piece in order if (packet := insert(reassembler, piece)) is not None]
    assert whole
    header = ipv4.parse(whole[0])
    assert whole[0][header.start : header.end] == body
    assert not header.fragment & ipv4.FRAGMENT_MASK


def test_every_overlap_drops_the_datagram() -> None:
    for offset, size, more in [
        (0, 16, True),
        (8, 16, True),
        (16, 8, True),
        (8, 8, False),
        (0, 40, False),
        (0, 24, True),
    ]:
        reassembler = made()
        insert(reassembler, fragment(8, b"a" * 16, True))
        with pytest.raises(PacketError) as caught:
            insert(reassembler, fragment(offset, b"b" * size, more))
        assert caught.value.code == "fragment_overlap"
        assert reassembler.size == 0


def test_two_ends_and_pieces_behind_the_end_are_refused() -> None:
    reassembler = made()
    insert(reassembler, fragment(16, b"e" * 8, False))
    with pytest.raises(PacketError):
        insert(reassembler, fragment(32, b"e" * 8, False))
    insert(reassembler, fragment(16, b"e" * 8, False))
    with pytest.raises(PacketError):
        insert(reassembler, fragment(24, b"e" * 8, True))
    insert(reassembler, fragment(64, b"e" * 8, True))
    with pytest.raises(PacketError):
        insert(reassembler, fragment(16, b"e" * 8, False))


@pytest.mark.parametrize(
    "packet", [fragment(0, b"", True), fragment(0, b"123", True), fragment(65_528, b"12345678", False)]
)
def test_malformed_pieces(packet: bytes) -> None:
    with pytest.raises(PacketError) as caught:
        insert(made(), packet)
    assert caught.value.code == "fragment_malformed"


def test_bounds() -> None:
    reassembler = made(max_bytes=2000)
    for identification in range(4):
        insert(reassembler, fragment(0, bytes(16), True, identification))
    with pytest.raises(PacketError):
        insert(reassembler, fragment(0, bytes(16), True, 9))
    with pytest.raises(PacketError):
        insert(reassembler, fragment(16, bytes(1960), True, 0))
    assert reassembler.size == 48
    many = made()
    for at in range(MAX_PIECES):
        insert(many, fragment(at * 16, bytes(8), True))
    with pytest.raises(PacketError):
        insert(many, fragment(MAX_PIECES * 16, bytes(8), True))
    assert many.size == 0


def test_time_frees_what_never_completes() -> None:
    reassembler = made()
    insert(reassembler, fragment(0, bytes(16), True, 1), now=5.0)
    insert(reassembler, fragment(0, bytes(16), True, 2), now=6.0)
    assert reassembler.deadline == 35.0
    reassembler.expire(35.0)
    assert (reassembler.size, reassembler.deadline, reassembler.expired) == (16, 36.0, 1)
    reassembler.expire(40.0)
    assert (reassembler.size, reassembler.deadline) == (0, float("inf"))
