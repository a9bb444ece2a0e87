"""UDP (RFC 768): codec and sockets. Queues are bounded in bytes and datagrams; what does not fit is counted."""

from __future__ import annotations

import struct
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Protocol

from ..errors import MessageTooLong, PacketError, SmolmixError, StateError
from . import ip
from .addresses import Endpoint
from .checksum import checksum, pseudo_sum, word_sum

HEADER = struct.Struct("!HHHH")
HEADER_SIZE = 8
_RECENT = 32  # destinations remembered, to tell whose error an ICMP message is


def parse(source: bytes, destination: bytes, packet: bytes, start: int, end: int) -> tuple[int, int, bytes]:
    """`(source port, destination port, payload)`. Raises PacketError."""
    if end - start < HEADER_SIZE:
        raise PacketError(f"UDP header: {end - start} bytes, at least 8 expected", code="udp_truncated")
    source_port, destination_port, length, check = HEADER.unpack_from(packet, start)
    if not HEADER_SIZE <= length <= end - start:
        raise PacketError(f"UDP length at offset 4: {length} of {end - start} bytes", code="udp_length")
    end = start + length
    if check:
        if (pseudo_sum(source, destination, ip.UDP) + length + word_sum(packet[start:end])) % 0xFFFF:
            raise PacketError("UDP checksum at offset 6", code="udp_checksum")
    elif len(source) == 16:
        raise PacketError("UDP checksum at offset 6: missing over IPv6", code="udp_checksum")
    return source_port, destination_port, packet[start + HEADER_SIZE : end]


def build(source: bytes, destination: bytes, source_port: int, destination_port: int, payload: bytes) -> bytes:
    """The datagram behind the IP header."""
    length = HEADER_SIZE + len(payload)
    total = pseudo_sum(source, destination, ip.UDP) + length + source_port + destination_port + length
    check = checksum(total + word_sum(payload)) or 0xFFFF
    return HEADER.pack(source_port, destination_port, length, check) + payload


class UdpHost(Protocol):
    def queue_datagram(self, source: Endpoint, destination: Endpoint, data: bytes) -> bool: ...

    def local_address_for(self, remote: Endpoint) -> Endpoint: ...

    def max_datagram(self, remote: Endpoint) -> int: ...

    def forget_udp(self, socket: UdpSocket) -> None: ...

    def notify(self, flow: UdpSocket) -> None: ...


class UdpSocket:
    """Made by `Stack.udp_socket`. `on_event` is called when a datagram or an error came.

    `error` is the latest ICMP error or policy refusal about something this socket sent, `error_remote` the
    destination it speaks of; `take_error` reads and clears both.
    """

    __slots__ = (
        "_host",
        "_limit_bytes",
        "_limit_datagrams",
        "_queue",
        "_recent",
        "closed",
        "dropped_full",
        "dropped_output",
        "error",
        "error_remote",
        "notified",
        "on_event",
        "port",
        "queued_bytes",
        "remote",
    )

    def __init__(self, host: UdpHost, port: int, limit_datagrams: int, limit_bytes: int) -> None:
        self._host = host
        self.port = port
        self.remote: Endpoint | None = None
        self.error: SmolmixError | None = None
        self.error_remote: Endpoint | None = None
        self.on_event: Callable[[], None] | None = None
        self.closed = False
        self.dropped_full = 0  # datagrams that found the receive queue full
        self.dropped_output = 0  # datagrams that found the stack's output queue full
        self.queued_bytes = 0
        self.notified = False
        self._limit_datagrams = limit_datagrams
        self._limit_bytes = limit_bytes
        self._queue: deque[tuple[bytes, Endpoint]] = deque()
        self._recent: OrderedDict[Endpoint, None] = OrderedDict()

    @property
    def local(self) -> Endpoint | None:
        """The local endpoint of a connected socket; of others only `port` is fixed."""
        return self._host.local_address_for(self.remote)._replace(port=self.port) if self.remote else None

    def connect(self, remote: Endpoint) -> None:
        """Send there by default, and take datagrams from there only."""
        self._host.local_address_for(remote)  # raises AddressError for a family we have no address of
        self.remote = remote

    def send_to(self, data: bytes, remote: Endpoint | None, now: float) -> bool:
        """Queue one datagram; False when the output queue is full and it was dropped (and counted).

        `remote` None means the connected one. Raises MessageTooLong, AddressError, StateError.
        """
        if self.closed:
            raise StateError("UDP socket is closed", code="closed")
        target = remote or self.remote
        if target is None:
            raise StateError("UDP socket is not connected and no destination was given", code="not_connected")
        limit = self._host.max_datagram(target)
        if len(data) > limit:
            raise MessageTooLong(f"datagram of {len(data)} bytes, at most {limit} fit the path", phase="transfer")
        source = self._host.local_address_for(target)._replace(port=self.port)
        self._recent[target] = None
        self._recent.move_to_end(target)
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        if self._host.queue_datagram(source, target, data):
            return True
        self.dropped_output += 1
        return False

    def receive(self) -> tuple[bytes, Endpoint] | None:
        """The oldest datagram and its sender, or None."""
        if not self._queue:
            return None
        item = self._queue.popleft()
        self.queued_bytes -= len(item[0])
        return item

    def take_error(self) -> tuple[SmolmixError, Endpoint | None] | None:
        if self.error is None:
            return None
        taken = (self.error, self.error_remote)
        self.error = self.error_remote = None
        return taken

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._queue.clear()
            self.queued_bytes = 0
            self._host.forget_udp(self)

    # -- called by the stack

    def deliver(self, data: bytes, remote: Endpoint) -> bool:
        if self.remote is not None and remote != self.remote:
            return False
        if len(self._queue) >= self._limit_datagrams or self.queued_bytes + len(data) > self._limit_bytes:
            self.dropped_full += 1
            return False
        self._queue.append((data, remote))
        self.queued_bytes += len(data)
        self._host.notify(self)
        return True

    def has_sent_to(self, remote: Endpoint) -> bool:
        return remote in self._recent

    def fail(self, error: SmolmixError, remote: Endpoint | None) -> None:
        self.error = error
        self.error_remote = remote
        self._host.notify(self)
