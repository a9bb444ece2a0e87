"""Reassembly of IPv4 (RFC 791 3.2, RFC 815) and IPv6 (RFC 8200 4.5), bounded in datagrams, bytes, pieces and time, and
safe against overlaps.

A repeated identical piece is ignored; any other overlap drops the whole datagram, since two readings of it would be
possible (RFC 5722 demands it for IPv6).
"""

from __future__ import annotations

from ..errors import PacketError
from . import ipv4, ipv6
from .ipv4 import FLAG_MF, Ipv4Header
from .ipv6 import Ipv6Header

Header = Ipv4Header | Ipv6Header

MAX_PIECES = 64
MAX_DATAGRAM = 65_535


class _Datagram:
    __slots__ = ("deadline", "first", "pieces", "size", "total")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.first: Header | None = None
        self.pieces: dict[int, bytes] = {}  # offset -> payload
        self.size = 0
        self.total: int | None = None  # payload size, known from the last piece


class Reassembler:
    """`insert` gives the whole packet when the last missing piece came. Raises PacketError for what is refused."""

    def __init__(self, *, max_datagrams: int, max_bytes: int, timeout: float) -> None:
        self._max_datagrams = max_datagrams
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._datagrams: dict[tuple[bytes, bytes, int, int], _Datagram] = {}  # in order of their deadlines
        self.size = 0
        self.expired = 0

    def insert(self, packet: bytes, ip: Header, now: float) -> bytes | None:
        payload = packet[ip.start : ip.end]
        offset = (ip.fragment & 0x1FFF) << 3
        last = not ip.fragment & FLAG_MF
        end = offset + len(payload)
        if not payload or (not last and len(payload) & 7) or end > MAX_DATAGRAM - 20:
            raise PacketError(f"IP fragment at {offset}: {len(payload)} bytes", code="fragment_malformed")
        key = (ip.source, ip.destination, ip.protocol, ip.identification)
        datagram = self._datagrams.get(key)
        if datagram is None:
            if len(self._datagrams) >= self._max_datagrams:
                raise PacketError("too many incomplete datagrams", code="fragment_limit")
            datagram = _Datagram(now + self._timeout)
        elif datagram.pieces.get(offset) == payload:
            return None
        if self.size + len(payload) > self._max_bytes or len(datagram.pieces) >= MAX_PIECES:
            self._drop(key)
            raise PacketError("too much waits for reassembly", code="fragment_limit")
        if self._contradicts(datagram, offset, end, last):
            self._drop(key)
            raise PacketError(f"IP fragment at {offset} overlaps another", code="fragment_overlap")
        self._datagrams[key] = datagram
        datagram.pieces[offset] = payload
        datagram.size += len(payload)
        self.size += len(payload)
        if last:
            datagram.total = end
        if offset == 0:
            datagram.first = ip
        if datagram.total != datagram.size or datagram.first is None:
            return None
        self._drop(key)
        # Disjoint pieces that add up to the total leave no gap. Options of the first piece are not kept.
        body = b"".join(datagram.pieces[at] for at in sorted(datagram.pieces))
        if isinstance(ip, Ipv6Header):
            return ipv6.header(ip.source, ip.destination, ip.protocol, len(body)) + body
        total = ipv4.HEADER_SIZE + len(body)
        return ipv4.header(ip.source, ip.destination, ip.protocol, total, ip.identification, 0) + body

    @staticmethod
    def _contradicts(datagram: _Datagram, offset: int, end: int, last: bool) -> bool:
        total = datagram.total
        if total is not None and (end > total or last):
            return True
        for at, piece in datagram.pieces.items():
            if (at < end and offset < at + len(piece)) or (last and at + len(piece) > end):
                return True
        return False

    def _drop(self, key: tuple[bytes, bytes, int, int]) -> None:
        datagram = self._datagrams.pop(key, None)
        if datagram is not None:
            self.size -= datagram.size

    @property
    def deadline(self) -> float:
        for datagram in self._datagrams.values():
            return datagram.deadline
        return float("inf")

    def expire(self, now: float) -> None:
        while self._datagrams:
            key = next(iter(self._datagrams))
            if self._datagrams[key].deadline > now:
                return
            self._drop(key)
            self.expired += 1
