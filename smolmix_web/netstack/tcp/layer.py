"""The TCP layer of a stack: the table of connections, listeners and undecided SYNs, and segments of no connection."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, repeat

from ...errors import ConnectionRefused, NetworkError, SmolmixError, StateError
from .. import icmp, ip
from ..addresses import Endpoint, flow_key, is_martian_source, unpack_address
from ..checksum import pseudo_sum
from ..core import Core
from ..icmp import ErrorKind
from ..ip import TCP, header_size
from ..limits import Budget, TokenBucket
from . import path
from .arrival import segment_arrives
from .cache import PathCache
from .config import TcpConfig
from .connection import TcpConnection
from .listener import SynRequest, TcpListener
from .segment import ACK, RST, SYN, Segment, SegmentBuilder, parse, reset_for
from .seq import unwrap, wrap
from .states import State

SYN_RECEIVED_TIMEOUT = 75.0
SIBLINGS = 16  # connections that are asked what reordering they see


class TcpLayer:
    """Implements the protocols Host, ListenerHost and SynHost for its connections, listeners and requests."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._scheduler = core.scheduler
        self.connections: dict[bytes, TcpConnection] = {}
        self.listeners: dict[int, TcpListener] = {}
        self.pending: dict[bytes, SynRequest] = {}
        self.on_syn: Callable[[SynRequest, float], None] | None = None
        self._time_wait: dict[bytes, None] = {}  # in the order of entering
        self._resets = TokenBucket(core.config.reset_rate)
        self._budget = Budget(core.config.buffer_growth)
        self.paths = PathCache(core.config.tcp)

    # -- opening

    def connect(
        self, remote: Endpoint, now: float, connect_timeout: float, config: TcpConfig, local: Endpoint | None
    ) -> TcpConnection:
        source = local or self._core.local_address_for(remote)
        if not 1 <= remote.port <= 0xFFFF:
            raise NetworkError(f"port {remote.port} cannot be connected to", code="bad_port", phase="connect")
        if source.port == 0:
            taken = self._taken(source, remote)
            source = source._replace(port=self._core.identifiers.port(taken))
        elif flow_key(remote, source) in self.connections:
            raise NetworkError(f"{source} -> {remote} exists", code="address_in_use", phase="connect")
        if not self._make_room():
            raise NetworkError("too many connections", code="too_many_connections", phase="connect")
        connection = self._new(source, remote, config, now)
        connection.open_active(now, connect_timeout)
        self._core.statistics.connections_opened += 1
        self.changed(connection)
        return connection

    def _taken(self, local: Endpoint, remote: Endpoint) -> Callable[[int], bool]:
        def taken(port: int) -> bool:
            key = flow_key(remote, local._replace(port=port))
            return key in self.connections or key in self.pending or port in self.listeners

        return taken

    def _make_room(self) -> bool:
        if len(self.connections) < self._core.config.max_connections:
            return True
        if not self._time_wait:
            return False
        self.connections[next(iter(self._time_wait))].finish(None)
        return True

    def _new(self, local: Endpoint, remote: Endpoint, config: TcpConfig, now: float) -> TcpConnection:
        core = self._core
        key = flow_key(remote, local)
        connection = TcpConnection(
            self,
            key,
            local,
            remote,
            SegmentBuilder(local, remote, ip.successive(next(core.ids)) if config.linux else repeat(0)),
            config,
            core.identifiers.initial_sequence_number(key, now),
            core.path_mss(remote.address.packed),
            initial_rto=self.paths.initial_rto(config, now),
            stamp_offset=int.from_bytes(core.rng.bytes(4), "big"),
            budget=self._budget,
            shared=self.paths.shared,
        )
        late = [other.sender.rack.lateness for other in islice(self.connections.values(), SIBLINGS)]
        connection.sender.rack.expect(max(late, default=0.0))
        connection.sender.rack.expect(self.paths.lateness)
        self.connections[key] = connection
        return connection

    def listen(
        self, port: int, backlog: int, on_connection: Callable[[TcpConnection], None] | None, config: TcpConfig
    ) -> TcpListener:
        if port == 0:
            port = self._core.identifiers.port(self.listeners.__contains__)
        if port in self.listeners or not 1 <= port <= 0xFFFF:
            raise NetworkError(f"cannot listen on port {port}", code="address_in_use", phase="listen")
        listener = self.listeners[port] = TcpListener(self, port, backlog, config, on_connection)
        return listener

    # -- segments

    def receive(self, packet: bytes, source: bytes, destination: bytes, start: int, end: int, now: float) -> None:
        """A TCP packet to a local address. Raises PacketError."""
        segment = parse(packet, start, end, pseudo_sum(source, destination, TCP))
        key = source + destination + packet[start : start + 4]
        connection = self.connections.get(key)
        if connection is not None and connection.state is State.TIME_WAIT and self._is_newer_syn(connection, segment):
            connection.finish(None)  # a new incarnation (RFC 9293 3.10.7.4, RFC 6191)
            connection = None
        if connection is None:
            self._unmatched(packet, segment, key, source, destination, now)
            return
        dropped = segment_arrives(connection, segment, now)
        if dropped is not None:
            self._core.statistics.dropped[dropped] += 1
        if connection.state is State.TIME_WAIT:
            self._time_wait.setdefault(key)
        self.changed(connection)

    @staticmethod
    def _is_newer_syn(connection: TcpConnection, segment: Segment) -> bool:
        if segment.flags & (SYN | ACK | RST) != SYN:
            return False
        rcv_nxt = connection.receiver.rcv_nxt
        return unwrap(segment.seq, rcv_nxt) > rcv_nxt

    def _unmatched(
        self, packet: bytes, segment: Segment, key: bytes, source: bytes, destination: bytes, now: float
    ) -> None:
        """States LISTEN and CLOSED (RFC 9293 3.10.7.1, 3.10.7.2)."""
        dropped = self._core.statistics.dropped
        flags = segment.flags
        if is_martian_source(source) or not segment.source_port:
            dropped["martian"] += 1
            return
        request = self.pending.get(key)
        if flags & RST:
            if request is not None and segment.seq == (request.segment.seq + 1) & 0xFFFFFFFF:
                request.cancel()
            else:
                dropped["tcp_no_connection"] += 1
            return
        if request is not None:
            dropped["syn_undecided"] += 1
            return
        if flags & (SYN | ACK) == SYN:
            listener = self.listeners.get(segment.destination_port)
            if listener is not None:
                self._to_listener(listener, packet, segment, key, source, destination, now)
                return
            if self.on_syn is not None:
                self._to_hook(packet, segment, key, source, destination, now)
                return
        dropped["tcp_no_connection"] += 1
        local = Endpoint(unpack_address(destination), segment.destination_port)
        remote = Endpoint(unpack_address(source), segment.source_port)
        self._reset(local, remote, segment, now)

    def _reset(self, local: Endpoint, remote: Endpoint, segment: Segment, now: float) -> None:
        if not self._resets.take(now):
            self._core.statistics.dropped["reset_rate"] += 1
            return
        seq, ack, flags = reset_for(segment)
        self.emit(SegmentBuilder(local, remote, repeat(0)).build(seq, ack, flags, 0))  # as a kernel without a socket
        self._core.statistics.resets_sent += 1

    def _to_listener(
        self,
        listener: TcpListener,
        packet: bytes,
        segment: Segment,
        key: bytes,
        source: bytes,
        destination: bytes,
        now: float,
    ) -> None:
        if listener.full or not self._make_room():
            listener.dropped_backlog += 1
            self._core.statistics.dropped["backlog"] += 1
            return
        request = self._request(packet, segment, key, source, destination, now)
        connection = self._passive(request, listener.config, now)
        connection.listener = listener
        listener.half_open.add(connection)

    def _to_hook(
        self, packet: bytes, segment: Segment, key: bytes, source: bytes, destination: bytes, now: float
    ) -> None:
        if len(self.pending) >= self._core.config.max_pending_syns:
            self._core.statistics.dropped["syn_limit"] += 1
            return
        assert self.on_syn is not None
        request = self._request(packet, segment, key, source, destination, now)
        self.pending[key] = request
        self.on_syn(request, now)
        if key in self.pending:
            self._scheduler.changed(request)

    def _request(
        self, packet: bytes, segment: Segment, key: bytes, source: bytes, destination: bytes, now: float
    ) -> SynRequest:
        local = Endpoint(unpack_address(destination), segment.destination_port)
        remote = Endpoint(unpack_address(source), segment.source_port)
        return SynRequest(self, key, local, remote, segment, packet, now + self._core.config.pending_syn_timeout)

    def _passive(self, request: SynRequest, config: TcpConfig, now: float) -> TcpConnection:
        segment = request.segment
        connection = self._new(request.local, request.remote, config, now)
        connection.open_passive(segment.seq, SYN_RECEIVED_TIMEOUT, now)
        connection.apply_syn_options(segment, now)
        self.changed(connection)
        return connection

    # -- SynHost

    def accept_syn(self, request: SynRequest, now: float, config: TcpConfig | None) -> TcpConnection:
        if request.decided or request.cancelled:
            raise StateError("this SYN was decided or cancelled", code="syn_gone")
        if not self._make_room():
            raise NetworkError("too many connections", code="too_many_connections", phase="connect")
        request.decided = True
        self.forget_syn(request)
        return self._passive(request, config or self._core.config.tcp, now)

    def refuse_syn(self, request: SynRequest, now: float, reason: ErrorKind | None) -> None:
        if request.decided or request.cancelled:
            return
        request.decided = True
        self.forget_syn(request)
        if reason is None:
            self._reset(request.local, request.remote, request.segment, now)
        else:
            self._core.emit_error(reason, request.packet, request.local.address.packed, now)

    def forget_syn(self, request: SynRequest) -> None:
        request.deadline = float("inf")
        self.pending.pop(request.key, None)

    # -- ListenerHost

    def forget_listener(self, listener: TcpListener) -> None:
        self.listeners.pop(listener.port, None)

    # -- Host

    def changed(self, connection: TcpConnection) -> None:
        self._scheduler.changed(connection)

    @property
    def lag(self) -> float:
        return self._core.lag

    def notify(self, connection: TcpConnection) -> None:
        self._core.notify(connection)

    def emit(self, packet: bytes) -> None:
        self._core.emit(packet)

    def round_trip(self, rtt: float, now: float) -> None:
        self.paths.sample(rtt, now)

    def moved(self, connection: TcpConnection, old: State) -> None:
        if self._core.observer is not None:
            self._core.observer.state_changed(connection, old)

    def repeated(self, connection: TcpConnection, seq: int, size: int, now: float) -> None:
        if self._core.observer is not None:
            self._core.observer.retransmitted(connection, wrap(seq), size, now)

    def settle(self) -> None:
        self._core.settle()

    def accepted(self, connection: TcpConnection, now: float) -> None:
        self._core.statistics.connections_accepted += 1
        listener = connection.listener
        if isinstance(listener, TcpListener):
            listener.half_open.discard(connection)
            self._core.later(lambda: listener.ready(connection))

    def forget(self, connection: TcpConnection) -> None:
        if self.connections.get(connection.key) is connection:
            del self.connections[connection.key]
        self._time_wait.pop(connection.key, None)
        if isinstance(connection.listener, TcpListener):
            connection.listener.half_open.discard(connection)
        if connection.sender.rtt.samples > 1:
            self.paths.reordering(connection.sender.rack.lateness)
        statistics = self._core.statistics
        statistics.retransmits += connection.sender.retransmits
        statistics.timeouts += connection.sender.timeouts

    # -- errors from outside

    def icmp_error(self, error: icmp.Error) -> bool:
        """True when it concerned a connection."""
        ports = error.transport
        connection = self.connections.get(error.destination + error.source + ports[2:4] + ports[0:2])
        if connection is None or not path.concerns(connection, error):
            return False
        mss = connection.path_mss
        if error.kind is ErrorKind.FRAGMENTATION_NEEDED:
            self._core.lower_path_mtu(error.destination, path.next_mtu(error))
            mss = self._core.path_mss(error.destination)
        path.icmp_error(connection, error, mss)
        return True

    def refuse(self, remote: Endpoint, reason: str) -> int:
        """The exit's policy denies `remote`: fail what goes there. Returns how many connections."""
        found = [connection for connection in self.connections.values() if connection.remote == remote]
        for connection in found:
            message = f"{remote}: denied by the exit policy" + (f" ({reason})" if reason else "")
            connection.fail(ConnectionRefused(message, code="policy_denied", phase=connection.phase()), reset=False)
        return len(found)

    def fail_all(self, error: SmolmixError, reset: bool) -> None:
        for connection in list(self.connections.values()):
            connection.fail(error, reset=reset)
        for request in list(self.pending.values()):
            request.cancel()

    def mtu_changed(self) -> None:
        for connection in list(self.connections.values()):
            remote = connection.remote.address.packed
            connection.set_path_mss(self._core.path_mtu(remote) - header_size(remote) - 20)
