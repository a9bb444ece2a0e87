"""TCP segments on the wire (RFC 9293 3.1): options, parsing with checksum, and building.

Options understood: MSS (RFC 9293 3.2), window scale and timestamps (RFC 7323), SACK permitted and SACK (RFC 2018);
others are skipped. The urgent pointer is ignored.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from ...errors import PacketError
from .. import ip, ipv4, ipv6
from ..addresses import Endpoint
from ..checksum import checksum, pseudo_sum, word_sum

FIN = 0x01
SYN = 0x02
RST = 0x04
PSH = 0x08
ACK = 0x10
URG = 0x20

HEADER = struct.Struct("!HHIIHHHH")
HEADER_SIZE = 20
MAX_WINDOW_SCALE = 14
MAX_SACK_BLOCKS = 4  # three beside timestamps
TIMESTAMP_SIZE = 12

_OPT_END, _OPT_NOP, _OPT_MSS, _OPT_WINDOW_SCALE, _OPT_SACK_PERMITTED, _OPT_SACK, _OPT_TIMESTAMP = 0, 1, 2, 3, 4, 5, 8
_FIXED_LENGTH = {_OPT_MSS: 4, _OPT_WINDOW_SCALE: 3, _OPT_SACK_PERMITTED: 2, _OPT_TIMESTAMP: 10}
_TIMESTAMP = struct.Struct("!BBBBII")
_EDGES = struct.Struct("!II")
_ALIGNED_TIMESTAMP = bytes((_OPT_NOP, _OPT_NOP, _OPT_TIMESTAMP, 10))
_IP4_TCP = struct.Struct("!BBHHHBBH4s4sHHIIHHHH")
_IP6_TCP = struct.Struct("!IHBB16s16sHHIIHHHH")


class Segment:
    """One parsed segment. `seq`, `ack` and `sack` are 32-bit values; `window` is unscaled."""

    __slots__ = (
        "ack",
        "destination_port",
        "flags",
        "mss",
        "payload",
        "sack",
        "sack_permitted",
        "seq",
        "source_port",
        "timestamp",
        "window",
        "window_scale",
    )

    def __init__(self, source_port: int, destination_port: int, seq: int, ack: int, flags: int, window: int) -> None:
        self.source_port = source_port
        self.destination_port = destination_port
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.window = window
        self.payload = b""
        self.mss: int | None = None
        self.window_scale: int | None = None
        self.sack_permitted = False
        self.sack: Sequence[tuple[int, int]] = ()
        self.timestamp: tuple[int, int] | None = None

    @property
    def length(self) -> int:
        """SEG.LEN: the payload, and one for each of SYN and FIN."""
        return len(self.payload) + (self.flags & FIN) + (self.flags >> 1 & 1)

    def __repr__(self) -> str:
        names = "".join(letter for bit, letter in enumerate("FSRPAU") if self.flags >> bit & 1)
        return f"<Segment {names} seq={self.seq} ack={self.ack} win={self.window} len={len(self.payload)}>"


def parse(packet: bytes, start: int, end: int, pseudo: int) -> Segment:
    """The segment in `packet[start:end]`; `pseudo` is `checksum.pseudo_sum` of its addresses.

    Raises PacketError naming field and offset (counted from the TCP header).
    """
    length = end - start
    if length < HEADER_SIZE:
        raise PacketError(f"TCP header: {length} bytes, at least 20 expected", code="tcp_truncated")
    source, destination, seq, ack, offset_flags, window, _, _ = HEADER.unpack_from(packet, start)
    data = start + (offset_flags >> 10 & 0x3C)
    if data < start + HEADER_SIZE or data > end:
        raise PacketError(f"TCP data offset at offset 12: {data - start} of {length} bytes", code="tcp_offset")
    if (pseudo + length + word_sum(packet[start:end])) % 0xFFFF:
        raise PacketError("TCP checksum at offset 16", code="tcp_checksum")
    segment = Segment(source, destination, seq, ack, offset_flags & 0x3F, window)
    if data > start + HEADER_SIZE:
        at = start + HEADER_SIZE
        if packet[at : at + 4] == _ALIGNED_TIMESTAMP and data >= at + TIMESTAMP_SIZE:  # as nearly all segments have it
            segment.timestamp = _EDGES.unpack_from(packet, at + 4)
            at += TIMESTAMP_SIZE
        if at < data:
            _parse_options(segment, packet[at:data], at - start)
    if data < end:
        segment.payload = packet[data:end]
    return segment


def _parse_options(segment: Segment, options: bytes, offset: int) -> None:
    """`offset` is where `options` begin, counted from the TCP header."""
    at = 0
    size = len(options)
    while at < size:
        kind = options[at]
        if kind == _OPT_END:
            return
        if kind == _OPT_NOP:
            at += 1
            continue
        length = options[at + 1] if at + 1 < size else 0
        if length < 2 or at + length > size:
            raise PacketError(f"TCP option {kind} at offset {offset + at}: length {length}", code="tcp_option")
        if _FIXED_LENGTH.get(kind, length) != length or (kind == _OPT_SACK and (length - 2) % 8):
            raise PacketError(f"TCP option {kind} at offset {offset + at}: length {length}", code="tcp_option")
        if kind == _OPT_SACK:
            values = struct.unpack_from(f"!{(length - 2) // 4}I", options, at + 2)
            segment.sack = tuple(zip(values[::2], values[1::2], strict=True))
        elif kind == _OPT_TIMESTAMP:
            segment.timestamp = _EDGES.unpack_from(options, at + 2)
        elif segment.flags & SYN:  # the rest has a meaning in SYN segments only
            if kind == _OPT_MSS:
                segment.mss = options[at + 2] << 8 | options[at + 3]
            elif kind == _OPT_WINDOW_SCALE:
                segment.window_scale = min(options[at + 2], MAX_WINDOW_SCALE)
            elif kind == _OPT_SACK_PERMITTED:
                segment.sack_permitted = True
        at += length


def syn_options(
    mss: int, window_scale: int | None, sack_permitted: bool, timestamp: tuple[int, int] | None = None
) -> bytes:
    """Options of a SYN, padded to a multiple of 4; `timestamp` is (TSval, TSecr)."""
    options = struct.pack("!BBH", _OPT_MSS, 4, mss)
    if timestamp is not None:
        padding = (_OPT_SACK_PERMITTED, 2) if sack_permitted else (_OPT_NOP, _OPT_NOP)
        options += _TIMESTAMP.pack(*padding, _OPT_TIMESTAMP, 10, *timestamp)
    elif sack_permitted:
        options += bytes((_OPT_NOP, _OPT_NOP, _OPT_SACK_PERMITTED, 2))
    if window_scale is not None:
        options += bytes((_OPT_NOP, _OPT_WINDOW_SCALE, 3, window_scale))
    return options


def plain_syn_options(
    mss: int, window_scale: int | None, sack_permitted: bool, timestamp: tuple[int, int] | None = None
) -> bytes:
    """The same in smoltcp's order: by their kinds, and the end of the list as often as it takes."""
    options = struct.pack("!BBH", _OPT_MSS, 4, mss)
    if window_scale is not None:
        options += bytes((_OPT_WINDOW_SCALE, 3, window_scale))
    if sack_permitted:
        options += bytes((_OPT_SACK_PERMITTED, 2))
    if timestamp is not None:
        options += struct.pack("!BBII", _OPT_TIMESTAMP, 10, *timestamp)
    return options + bytes(-len(options) % 4)


def timestamp_option(value: int, echo: int) -> bytes:
    """TSval and TSecr behind two NOPs: 12 bytes (RFC 7323, appendix A)."""
    return _TIMESTAMP.pack(_OPT_NOP, _OPT_NOP, _OPT_TIMESTAMP, 10, value, echo)


def sack_option(blocks: Sequence[tuple[int, int]]) -> bytes:
    """Up to four blocks of 32-bit edges behind two NOPs; nothing for no blocks."""
    if not blocks:
        return b""
    edges = [edge for block in blocks[:MAX_SACK_BLOCKS] for edge in block]
    return struct.pack(f"!BBBB{len(edges)}I", _OPT_NOP, _OPT_NOP, _OPT_SACK, 2 + 4 * len(edges), *edges)


class SegmentBuilder:
    """Builds whole IP packets of one flow. Sums and fields that never change are computed once."""

    __slots__ = ("_destination", "_destination_port", "_fixed", "_ids", "_ip_fixed", "_source", "_source_port", "_v4")

    def __init__(self, local: Endpoint, remote: Endpoint, ids: Iterator[int]) -> None:
        self._source = local.address.packed
        self._destination = remote.address.packed
        self._source_port = local.port
        self._destination_port = remote.port
        self._ids = ids
        self._v4 = local.address.version == 4
        self._fixed = pseudo_sum(self._source, self._destination, ip.TCP) + local.port + remote.port
        self._ip_fixed = (
            0x4500 + ipv4.FLAG_DF + (ipv4.TTL << 8 | ip.TCP) + word_sum(self._source) + word_sum(self._destination)
        )

    def build(
        self, seq: int, ack: int, flags: int, window: int, options: bytes = b"", payload: bytes | bytearray = b""
    ) -> bytes:
        """`seq` and `ack` are 32-bit values, `window` is the 16-bit field; `len(options)` is a multiple of 4."""
        size = HEADER_SIZE + len(options)
        offset_flags = size << 10 | flags
        size += len(payload)
        total = self._fixed + size + seq + ack + offset_flags + window
        if options:
            total += int.from_bytes(options, "big")
        if payload:
            total += word_sum(payload)
        if self._v4:
            identification = next(self._ids)
            ip_total = size + 20
            head = _IP4_TCP.pack(
                0x45,
                0,
                ip_total,
                identification,
                ipv4.FLAG_DF,
                ipv4.TTL,
                ip.TCP,
                -(self._ip_fixed + ip_total + identification) % 0xFFFF,
                self._source,
                self._destination,
                self._source_port,
                self._destination_port,
                seq,
                ack,
                offset_flags,
                window,
                -total % 0xFFFF,
                0,
            )
        else:
            head = _IP6_TCP.pack(
                0x60000000,
                size,
                ip.TCP,
                ipv6.HOP_LIMIT,
                self._source,
                self._destination,
                self._source_port,
                self._destination_port,
                seq,
                ack,
                offset_flags,
                window,
                checksum(total),
                0,
            )
        return b"".join((head, options, payload))


def reset_for(segment: Segment) -> tuple[int, int, int]:
    """`(seq, ack, flags)` of the RST that answers a segment of no connection (RFC 9293 3.10.7.1)."""
    if segment.flags & ACK:
        return segment.ack, 0, RST
    return 0, (segment.seq + segment.length) & 0xFFFFFFFF, RST | ACK
