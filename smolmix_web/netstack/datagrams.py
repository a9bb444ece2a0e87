"""The UDP layer of a stack: bound sockets, the hook of a user-space exit, and the bounded queue towards the tunnel."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..errors import ConnectionRefused, MessageTooLong, NetworkError, SmolmixError
from . import icmp, ip, udp
from .addresses import Endpoint, is_martian_source, unpack_address
from .core import Core, Notified
from .icmp import ErrorKind
from .tcp import path
from .udp import UdpSocket

INFINITY = float("inf")

UdpHook = Callable[[Endpoint, Endpoint, bytes, float], None]  # (source, destination, data, now)


class _DatagramQueue:
    """Datagrams on their way out: one flow in the scheduler, beside the TCP connections."""

    deadline = INFINITY

    def __init__(self, limit: int) -> None:
        self.ring = 0
        self.heap_at = INFINITY
        self.size = 0
        self._limit = limit
        self._queue: deque[bytes] = deque()

    def put(self, packet: bytes) -> bool:
        if self.size + len(packet) > self._limit:
            return False
        self._queue.append(packet)
        self.size += len(packet)
        return True

    def urgency(self) -> int:
        return 1 if self._queue else 0

    def produce(self, now: float) -> bytes | None:
        if not self._queue:
            return None
        packet = self._queue.popleft()
        self.size -= len(packet)
        return packet

    def on_timers(self, now: float) -> None:
        raise AssertionError("a queue has no deadline")


class UdpLayer:
    """Implements the protocol UdpHost for its sockets."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._queue = _DatagramQueue(core.config.udp_output_bytes)
        self.sockets: dict[int, UdpSocket] = {}
        self.on_udp: UdpHook | None = None

    def bind(self, port: int, receive_bytes: int | None) -> UdpSocket:
        if port == 0:
            port = self._core.identifiers.port(self.sockets.__contains__)
        if port in self.sockets or not 1 <= port <= 0xFFFF:
            raise NetworkError(f"UDP port {port} cannot be bound", code="address_in_use", phase="bind")
        config = self._core.config
        size = receive_bytes or config.udp_receive_bytes
        count = config.udp_receive_datagrams * max(1, size // config.udp_receive_bytes)
        socket = self.sockets[port] = UdpSocket(self, port, count, size)
        return socket

    def receive(self, packet: bytes, source: bytes, destination: bytes, start: int, end: int, now: float) -> None:
        """A UDP packet to a local address. Raises PacketError."""
        source_port, destination_port, data = udp.parse(source, destination, packet, start, end)
        statistics = self._core.statistics
        if is_martian_source(source):
            statistics.dropped["martian"] += 1
            return
        remote = Endpoint(unpack_address(source), source_port)
        socket = self.sockets.get(destination_port) if destination in self._core.packed else None
        if socket is not None:
            if socket.deliver(data, remote):
                statistics.datagrams_in += 1
            else:
                statistics.dropped["udp_socket"] += 1
        elif self.on_udp is not None:
            statistics.datagrams_in += 1
            self.on_udp(remote, Endpoint(unpack_address(destination), destination_port), data, now)
        else:
            statistics.dropped["udp_no_socket"] += 1
            if self._core.config.udp_unreachable:
                self._core.emit_error(ErrorKind.PORT_UNREACHABLE, packet, destination, now)

    # -- UdpHost

    def local_address_for(self, remote: Endpoint) -> Endpoint:
        return self._core.local_address_for(remote)

    def max_datagram(self, remote: Endpoint) -> int:
        packed = remote.address.packed
        return self._core.path_mtu(packed) - ip.header_size(packed) - udp.HEADER_SIZE

    def queue_datagram(self, source: Endpoint, destination: Endpoint, data: bytes) -> bool:
        from_, to = source.address.packed, destination.address.packed
        body = udp.build(from_, to, source.port, destination.port, data)
        statistics = self._core.statistics
        if not self._queue.put(ip.build(from_, to, ip.UDP, body, next(self._core.ids))):
            statistics.dropped["udp_output_full"] += 1
            return False
        statistics.datagrams_out += 1
        self._core.scheduler.changed(self._queue)
        return True

    def forget_udp(self, socket: UdpSocket) -> None:
        if self.sockets.get(socket.port) is socket:
            del self.sockets[socket.port]

    def notify(self, flow: Notified) -> None:
        self._core.notify(flow)

    # -- for a user-space exit

    def send(self, source: Endpoint, destination: Endpoint, data: bytes) -> bool:
        """A datagram from any address. Raises MessageTooLong."""
        limit = self.max_datagram(destination)
        if len(data) > limit:
            raise MessageTooLong(f"datagram of {len(data)} bytes, at most {limit} fit the path", phase="transfer")
        return self.queue_datagram(source, destination, data)

    def send_error(self, kind: ErrorKind, source: Endpoint, destination: Endpoint, now: float) -> bool:
        """Tell `source` that what it sent to `destination` did not arrive: the quoted datagram is rebuilt, empty."""
        from_, to = source.address.packed, destination.address.packed
        body = udp.build(from_, to, source.port, destination.port, b"")
        packet = ip.build(from_, to, ip.UDP, body, 0)
        return self._core.emit_error(kind, packet, to, now)

    # -- errors from outside

    def icmp_error(self, error: icmp.Error) -> bool:
        local_port = int.from_bytes(error.transport[0:2], "big")
        remote = Endpoint(unpack_address(error.destination), int.from_bytes(error.transport[2:4], "big"))
        socket = self.sockets.get(local_port)
        if socket is None or not (socket.remote == remote or socket.has_sent_to(remote)):
            return False
        if error.kind is ErrorKind.FRAGMENTATION_NEEDED:
            self._core.lower_path_mtu(error.destination, path.next_mtu(error))
        socket.fail(error.kind.to_error(str(remote), "transfer"), remote)
        return True

    def refuse(self, remote: Endpoint, reason: str) -> int:
        found = [s for s in self.sockets.values() if s.remote == remote or s.has_sent_to(remote)]
        for socket in found:
            message = f"{remote}: denied by the exit policy" + (f" ({reason})" if reason else "")
            socket.fail(ConnectionRefused(message, code="policy_denied", phase="transfer"), remote)
        return len(found)

    def fail_all(self, error: SmolmixError) -> None:
        for socket in list(self.sockets.values()):
            socket.fail(error, socket.remote)
            socket.close()
