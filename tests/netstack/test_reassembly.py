"""Reassembly: any order, duplicates, overlaps, bounds, time."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import PacketError
from smolmix_web.netstack import Endpoint, Stack, ip, ipv4, ipv6, udp
from smolmix_web.netstack.reassembly import MAX_PIECES, Reassembler
from smolmix_web.rand import SeededRandom

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


# -- IPv6 (RFC 8200 4.5)

A6, B6 = IPv6Address("2001:db8::80").packed, IPv6Address("fc00::abcd").packed


def fragments6(body: bytes, size: int, identification: int = 1) -> list[bytes]:
    return [
        ipv6.build(
            A6,
            B6,
            ipv6.FRAGMENT_HEADER,
            ipv6.FRAGMENT.pack(ip.UDP, at | (at + size < len(body)), identification) + body[at : at + size],
        )
        for at in range(0, len(body), size)
    ]


@given(st.binary(min_size=1, max_size=2000), st.sampled_from([64, 504]), st.randoms(use_true_random=False))
def test_ipv6_in_any_order_beside_ipv4(body: bytes, size: int, random) -> None:  # type: ignore[no-untyped-def]
    reassembler = made()
    order = fragments6(body, size) + fragments(body, size)
    random.shuffle(order)
    whole = []
    for packet in order:
        header = ipv6.parse(packet) if packet[0] >> 4 == 6 else ipv4.parse(packet)
        if not header.fragment & ipv4.FRAGMENT_MASK:
            whole.append(packet)  # it came in one piece
        elif (done := reassembler.insert(packet, header, 0.0)) is not None:
            whole.append(done)
    assert len(whole) == 2 and not reassembler.size
    for packet in whole:
        header = ipv6.parse(packet) if packet[0] >> 4 == 6 else ipv4.parse(packet)
        assert packet[header.start : header.end] == body and header.protocol == ip.UDP


def test_ipv6_overlap_drops_the_datagram() -> None:
    reassembler = made()
    first, second, third = fragments6(bytes(24), 8)
    wide = ipv6.build(A6, B6, 44, ipv6.FRAGMENT.pack(ip.UDP, 8 | 1, 1) + bytes(16))
    for packet in (first, third):
        assert reassembler.insert(packet, ipv6.parse(packet), 0.0) is None
    with pytest.raises(PacketError) as caught:
        reassembler.insert(wide, ipv6.parse(wide), 0.0)
    assert caught.value.code == "fragment_overlap"
    assert reassembler.insert(second, ipv6.parse(second), 0.0) is None and reassembler.size == 8


def test_a_stack_takes_a_datagram_in_ipv6_fragments() -> None:
    stack = Stack([IPv6Address(B6)], 1420, SeededRandom("fragments"))
    socket = stack.udp_socket(5000)
    data = bytes(range(256)) * 16
    body = udp.build(A6, B6, 53, 5000, data)
    for packet in reversed(fragments6(body, 1232)):
        assert socket.receive() is None
        stack.receive(packet, 1.0)
    assert socket.receive() == (data, Endpoint(IPv6Address(A6), 53))
    for packet in fragments6(body, 1232, 2)[1:]:
        stack.receive(packet, 1.0)
    assert stack.next_deadline() == 31.0
    stack.poll(31.0)
    assert stack.next_deadline() is None
