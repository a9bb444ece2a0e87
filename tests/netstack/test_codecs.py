"""Headers of IPv4, IPv6, ICMP, UDP and TCP: whole, truncated at every length, with trailing bytes, corrupted."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import PacketError
from smolmix_web.netstack import Echo, Endpoint, ErrorKind, icmp, ip, ipv4, ipv6, udp
from smolmix_web.netstack.checksum import checksum, pseudo_sum, word_sum
from smolmix_web.netstack.tcp import segment as tcp

A4, B4 = IPv4Address("10.0.171.205").packed, IPv4Address("1.1.1.1").packed
A6, B6 = IPv6Address("fc00::abcd").packed, IPv6Address("2606:4700::1111").packed

# docs/protocol/ipr.md 2.8 (d): a UDP datagram and an echo request, made independently of this code.
UDP_PACKET = bytes.fromhex("4500001D00014000401183000A00ABCD01010101C00000350009DCD6AB")
ECHO_PACKET = bytes.fromhex("4500001C00024000400183100A00ABCD010101010800F7F700010007")


def reference_checksum(data: bytes) -> int:
    """RFC 1071 by its own loop."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@given(st.binary(max_size=300))
def test_checksum_is_that_of_rfc_1071(data: bytes) -> None:
    expected = reference_checksum(data)
    # Only a sum of zero has two forms; the loop gives 0xFFFF for all-zero data.
    assert checksum(word_sum(data)) == (expected if any(data) else 0)


def test_checksum_of_the_example_in_rfc_1071() -> None:
    assert checksum(word_sum(bytes.fromhex("0001f203f4f5f6f7"))) == 0x220D


def test_udp_packet_of_the_protocol_document() -> None:
    header = ipv4.parse(UDP_PACKET)
    assert (header.source, header.destination, header.protocol) == (A4, B4, ip.UDP)
    assert udp.parse(A4, B4, UDP_PACKET, header.start, header.end) == (49152, 53, b"\xab")
    assert ipv4.build(A4, B4, ip.UDP, udp.build(A4, B4, 49152, 53, b"\xab"), 1) == UDP_PACKET


def test_echo_packet_of_the_protocol_document() -> None:
    header = ipv4.parse(ECHO_PACKET)
    echo = icmp.parse(A4, B4, ECHO_PACKET[header.start : header.end])
    assert echo == Echo(False, 1, 7, b"")
    assert ipv4.build(A4, B4, ip.ICMP, icmp.build_echo(A4, B4, Echo(False, 1, 7, b"")), 2) == ECHO_PACKET


# -- IPv4


def test_ipv4_truncated_at_every_length() -> None:
    for size in range(len(UDP_PACKET)):
        with pytest.raises(PacketError):
            ipv4.parse(UDP_PACKET[:size])


def test_ipv4_trailing_bytes_are_not_payload() -> None:
    assert ipv4.parse(UDP_PACKET + b"padding").end == len(UDP_PACKET)


def test_ipv4_every_flipped_header_bit_is_noticed() -> None:
    for bit in range(160):
        broken = bytearray(UDP_PACKET)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PacketError):
            ipv4.parse(bytes(broken))


def test_ipv4_options_are_skipped() -> None:
    fields = [0x46, 0, 25, 9, 0, 64, ip.UDP, 0, A4, B4]
    head = ipv4.HEADER.pack(*fields) + b"\x01\x01\x01\x00"
    fields[7] = reference_checksum(head)
    header = ipv4.parse(ipv4.HEADER.pack(*fields) + b"\x01\x01\x01\x00" + b"x")
    assert (header.start, header.end) == (24, 25)


def test_ipv4_header_longer_than_the_packet() -> None:
    fields = [0x4F, 0, 20, 9, 0, 64, ip.UDP, 0, A4, B4]
    fields[7] = reference_checksum(ipv4.HEADER.pack(*fields))
    with pytest.raises(PacketError) as caught:
        ipv4.parse(ipv4.HEADER.pack(*fields))
    assert caught.value.code == "ipv4_length"


@given(st.binary(max_size=100), st.integers(0, 65535))
def test_ipv4_builds_what_it_parses(payload: bytes, identification: int) -> None:
    packet = ipv4.build(A4, B4, ip.UDP, payload, identification)
    header = ipv4.parse(packet)
    assert packet[header.start : header.end] == payload
    assert header.identification == identification
    assert header.fragment == ipv4.FLAG_DF
    assert header.ttl == 64


# -- IPv6


def test_ipv6_round_trip_and_truncation() -> None:
    packet = ipv6.build(A6, B6, ip.UDP, b"payload")
    header = ipv6.parse(packet + b"trailing")
    assert header == ipv6.Ipv6Header(A6, B6, ip.UDP, 40, 47, 64)
    for size in range(len(packet)):
        with pytest.raises(PacketError):
            ipv6.parse(packet[:size])


@pytest.mark.parametrize("extension", [50, 51, 135, 139, 253])
def test_ipv6_extension_headers_are_refused_by_name(extension: int) -> None:
    for packet in (
        ipv6.build(A6, B6, extension, bytes(16)),
        ipv6.build(A6, B6, 44, ipv6.FRAGMENT.pack(extension, 0, 1) + bytes(16)),
    ):
        with pytest.raises(PacketError) as caught:
            ipv6.parse(packet)
        assert caught.value.code == "ipv6_extension"


def test_ipv6_extension_headers_without_a_meaning_for_us_are_skipped() -> None:
    options = bytes((60, 1)) + bytes(14)  # hop-by-hop, 16 bytes
    routing = bytes((44, 0, 0, 0)) + bytes(4)
    destination = bytes((43, 0)) + bytes(6)
    chain = options + destination + routing + ipv6.FRAGMENT.pack(60, 0, 7) + bytes((ip.UDP, 0)) + bytes(6)
    header = ipv6.parse(ipv6.build(A6, B6, 0, chain + b"payload"))
    assert (header.protocol, header.start, header.fragment) == (ip.UDP, 40 + len(chain), 0)
    packet = ipv6.build(A6, B6, 0, chain)
    for size in range(1, len(chain)):
        with pytest.raises(PacketError):
            ipv6.parse(ipv6.build(A6, B6, 0, chain[:size]))
        with pytest.raises(PacketError):
            ipv6.parse(packet[: 40 + size])


def test_ipv6_chains_that_are_refused() -> None:
    def code(first: int, chain: bytes) -> str:
        with pytest.raises(PacketError) as caught:
            ipv6.parse(ipv6.build(A6, B6, first, chain))
        return caught.value.code

    empty = bytes(6)
    assert code(60, bytes((0, 0)) + empty + bytes((ip.UDP, 0)) + empty) == "ipv6_extension"  # hop-by-hop not first
    assert code(60, (bytes((60, 0)) + empty) * 20) == "ipv6_extension"  # endless
    assert code(43, bytes((ip.UDP, 0, 0, 1)) + bytes(4)) == "ipv6_routing"
    assert code(44, ipv6.FRAGMENT.pack(44, 8 << 3, 1) + empty) == "ipv6_extension"


def test_an_ipv6_fragment_header() -> None:
    packet = ipv6.build(A6, B6, 44, ipv6.FRAGMENT.pack(ip.UDP, 1448 | 1, 0xDEADBEEF) + b"payload.")
    header = ipv6.parse(packet)
    assert header == ipv6.Ipv6Header(A6, B6, ip.UDP, 48, 56, 64, 0xDEADBEEF, ipv6.FLAG_MF | 1448 >> 3)
    whole = ipv6.parse(ipv6.build(A6, B6, 44, ipv6.FRAGMENT.pack(ip.UDP, 0, 7) + b"all"))
    assert whole.fragment == 0 and (whole.start, whole.end) == (48, 51)
    for size in range(8):
        with pytest.raises(PacketError) as caught:
            ipv6.parse(ipv6.build(A6, B6, 44, packet[40 : 40 + size]))
        assert caught.value.code == "ipv6_truncated"


# -- UDP


@pytest.mark.parametrize(("source", "destination"), [(A4, B4), (A6, B6)])
def test_udp_truncated_trailing_corrupt(source: bytes, destination: bytes) -> None:
    body = udp.build(source, destination, 5, 6, b"datagram")
    assert udp.parse(source, destination, body + b"more", 0, len(body) + 4) == (5, 6, b"datagram")
    for size in range(len(body)):
        with pytest.raises(PacketError):
            udp.parse(source, destination, body[:size], 0, size)
    for at in range(len(body)):
        broken = body[:at] + bytes((body[at] ^ 0x10,)) + body[at + 1 :]
        with pytest.raises(PacketError):
            udp.parse(source, destination, broken, 0, len(broken))


def test_udp_without_checksum_is_legal_over_ipv4_only() -> None:
    body = struct.pack("!HHHH", 5, 6, 9, 0) + b"x"
    assert udp.parse(A4, B4, body, 0, 9) == (5, 6, b"x")
    with pytest.raises(PacketError):
        udp.parse(A6, B6, body, 0, 9)


def test_udp_checksum_zero_is_sent_as_ffff() -> None:
    for value in range(65536):
        body = udp.build(A4, B4, 1, 2, value.to_bytes(2, "big"))
        if body[6:8] == b"\xff\xff":
            assert udp.parse(A4, B4, body, 0, len(body))[2] == value.to_bytes(2, "big")
            return
    raise AssertionError("no payload sums to zero")


# -- ICMP


@pytest.mark.parametrize(("source", "destination"), [(A4, B4), (A6, B6)])
@pytest.mark.parametrize("reply", [False, True])
def test_echo_round_trip_truncated_corrupt(source: bytes, destination: bytes, reply: bool) -> None:
    echo = Echo(reply, 0x1234, 0xFFFE, b"ping payload")
    body = icmp.build_echo(source, destination, echo)
    assert icmp.parse(source, destination, body) == echo
    for size in range(len(body)):
        with pytest.raises(PacketError):
            icmp.parse(source, destination, body[:size])
    for at in range(len(body)):
        with pytest.raises(PacketError):
            icmp.parse(source, destination, body[:at] + bytes((body[at] ^ 4,)) + body[at + 1 :])


@pytest.mark.parametrize("kind", list(ErrorKind))
@pytest.mark.parametrize("family", [4, 6])
def test_error_round_trip(kind: ErrorKind, family: int) -> None:
    ours, theirs = (A4, B4) if family == 4 else (A6, B6)
    offending = ip.build(ours, theirs, ip.UDP, udp.build(ours, theirs, 1111, 53, b"q" * 2000), 3)
    packet = icmp.build_error(kind, offending, theirs, 4, mtu=1280)
    assert len(packet) <= (576 if family == 4 else 1280)
    header: ipv4.Ipv4Header | ipv6.Ipv6Header = ipv4.parse(packet) if family == 4 else ipv6.parse(packet)
    assert (header.source, header.destination) == (theirs, ours)
    error = icmp.parse(header.source, header.destination, packet[header.start : header.end])
    assert isinstance(error, icmp.Error)
    assert (error.kind, error.source, error.destination, error.protocol) == (kind, ours, theirs, ip.UDP)
    assert error.transport[:4] == struct.pack("!HH", 1111, 53)
    assert error.total == len(offending)
    assert error.mtu == (1280 if kind is ErrorKind.FRAGMENTATION_NEEDED else 0)


def test_error_with_a_short_quotation_is_refused() -> None:
    offending = ip.build(A4, B4, ip.UDP, udp.build(A4, B4, 1, 2, b""), 3)
    for size in range(28):
        body = bytearray(struct.pack("!BBHHH", 3, 3, 0, 0, 0) + offending[:size])
        body[2:4] = reference_checksum(bytes(body)).to_bytes(2, "big")
        with pytest.raises(PacketError) as caught:
            icmp.parse(B4, A4, bytes(body))
        assert caught.value.code == "icmp_quote"


def test_errors_are_never_answered() -> None:
    offending = ip.build(A4, B4, ip.UDP, udp.build(A4, B4, 1, 2, b""), 3)
    assert icmp.may_be_answered(offending)
    assert not icmp.may_be_answered(icmp.build_error(ErrorKind.PORT_UNREACHABLE, offending, B4, 1))
    assert icmp.may_be_answered(ECHO_PACKET)


# -- TCP

LOCAL, REMOTE = Endpoint(IPv4Address(A4), 49152), Endpoint(IPv4Address(B4), 443)
PSEUDO = pseudo_sum(A4, B4, ip.TCP)


def built(options: bytes = b"", payload: bytes = b"", flags: int = tcp.ACK) -> bytes:
    return tcp.SegmentBuilder(LOCAL, REMOTE, repeat(1)).build(0xFFFFFFF0, 77, flags, 1024, options, payload)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 63),
    st.integers(0, 65535),
    st.binary(max_size=200),
    st.sampled_from([4, 6]),
)
def test_tcp_builds_what_it_parses(seq: int, ack: int, flags: int, window: int, payload: bytes, family: int) -> None:
    local = LOCAL if family == 4 else Endpoint(IPv6Address(A6), 49152)
    remote = REMOTE if family == 4 else Endpoint(IPv6Address(B6), 443)
    packet = tcp.SegmentBuilder(local, remote, repeat(0xBEEF)).build(seq, ack, flags, window, b"", payload)
    header: ipv4.Ipv4Header | ipv6.Ipv6Header = ipv4.parse(packet) if family == 4 else ipv6.parse(packet)
    pseudo = pseudo_sum(header.source, header.destination, ip.TCP)
    segment = tcp.parse(packet, header.start, header.end, pseudo)
    assert (segment.seq, segment.ack, segment.flags, segment.window) == (seq, ack, flags, window)
    assert segment.payload == payload
    assert segment.length == len(payload) + bool(flags & tcp.SYN) + bool(flags & tcp.FIN)
    # By the book as well: pseudo-header, header and data add up to all ones.
    body = packet[header.start :]
    length = len(body).to_bytes(4, "big")
    assert reference_checksum(header.source + header.destination + length + bytes((0, 0, 0, 6)) + body) == 0


def test_tcp_truncated_at_every_length() -> None:
    packet = built(tcp.syn_options(1380, 5, True), b"data", tcp.SYN)
    for size in range(20, len(packet)):
        with pytest.raises(PacketError):
            tcp.parse(packet[:size], 20, size, PSEUDO)


def test_tcp_every_flipped_bit_is_noticed() -> None:
    packet = built(b"", b"some data!")
    for bit in range(20 * 8, len(packet) * 8):
        broken = bytearray(packet)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PacketError):
            tcp.parse(bytes(broken), 20, len(broken), PSEUDO)


def test_tcp_options() -> None:
    syn = tcp.parse(built(tcp.syn_options(1380, 7, True), b"", tcp.SYN), 20, 52, PSEUDO)
    assert (syn.mss, syn.window_scale, syn.sack_permitted) == (1380, 7, True)
    bare = tcp.parse(built(tcp.syn_options(536, None, False), b"", tcp.SYN), 20, 44, PSEUDO)
    assert (bare.mss, bare.window_scale, bare.sack_permitted) == (536, None, False)
    blocks = [(1, 2), (0xFFFFFFFE, 5), (10, 20), (30, 40)]
    option = tcp.sack_option(blocks)
    assert tcp.parse(built(option), 20, 40 + len(option), PSEUDO).sack == tuple(blocks)
    assert tcp.sack_option([*blocks, (50, 60)]) == option
    stamped = tcp.parse(built(b"\x01\x01\x08\x0a" + struct.pack("!II", 5, 6)), 20, 52, PSEUDO)
    assert stamped.timestamp == (5, 6)


def test_tcp_syn_only_options_mean_nothing_elsewhere() -> None:
    segment = tcp.parse(built(tcp.syn_options(1380, 7, True)), 20, 52, PSEUDO)
    assert (segment.mss, segment.window_scale, segment.sack_permitted) == (None, None, False)


def test_tcp_window_scale_above_14_counts_as_14() -> None:
    """RFC 7323 2.3."""
    assert tcp.parse(built(b"\x03\x03\x0f\x00", b"", tcp.SYN), 20, 44, PSEUDO).window_scale == 14


@pytest.mark.parametrize(
    "options",
    [
        "02000000",
        "02030000",
        "0205ffff",
        "03020000",
        "0801ffff",
        "05090000",
        "04030000",
        "fd00ffff",
        "010101fd",
        "01010105",
    ],
)
def test_tcp_malformed_options_are_refused(options: str) -> None:
    with pytest.raises(PacketError) as caught:
        tcp.parse(built(bytes.fromhex(options), b"", tcp.SYN), 20, 44, PSEUDO)
    assert caught.value.code == "tcp_option"


def test_tcp_unknown_options_are_skipped_and_end_ends() -> None:
    options = bytes.fromhex("fd04abcd" + "02040564" + "00ffffff")
    assert tcp.parse(built(options, b"", tcp.SYN), 20, 52, PSEUDO).mss == 0x564


def test_tcp_reset_for_each_kind_of_segment() -> None:
    """RFC 9293 3.10.7.1."""
    with_ack = tcp.Segment(1, 2, 100, 200, tcp.ACK, 0)
    assert tcp.reset_for(with_ack) == (200, 0, tcp.RST)
    syn = tcp.Segment(1, 2, 0xFFFFFFFF, 0, tcp.SYN | tcp.FIN, 0)
    syn.payload = b"abc"
    assert tcp.reset_for(syn) == (0, 4, tcp.RST | tcp.ACK)
