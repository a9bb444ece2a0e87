"""What lies behind the exits: TCP services and UDP answerers by address and port, without asyncio.

A service is the server's end of one connection: `data` and `eof` arrive, `flow.write` and `flow.close` answer. The
flow keeps what does not fit into the TCP connection yet. Unknown ports of a known host refuse; unknown hosts are
silent, as on the internet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import ClassVar, Protocol

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from smolmix_web.errors import SmolmixError
from smolmix_web.netstack import Endpoint, TcpConnection
from smolmix_web.rand import SeededRandom

from .events import EventQueue

Address = IPv4Address | IPv6Address
ORIGIN = IPv4Address("203.0.114.10")
OTHER = IPv4Address("203.0.114.20")
CLOSED = IPv4Address("203.0.114.30")  # a host where no port is open
SILENT = IPv4Address("203.0.114.40")  # nobody is there
RESOLVERS = (IPv4Address("8.8.8.8"), IPv4Address("1.1.1.1"))
ORIGIN_PORT, SOURCE_PORT, SINK_PORT, ECHO_PORT = 80, 50_001, 50_002, 50_007


def pattern(size: int, seed: object = 0) -> bytes:
    """Bytes that are different at every place, the same for a seed."""
    return SeededRandom(f"pattern {seed}").bytes(size)


class Service(Protocol):
    """One connection of a server."""

    def data(self, data: bytes) -> None: ...

    def eof(self) -> None: ...


class Flow:
    """The server's TCP connection in the exit's stack."""

    def __init__(self, connection: TcpConnection, queue: EventQueue, wake: Callable[[], None], exit_: str) -> None:
        self.connection = connection
        self.queue = queue
        self.exit = exit_  # by which it came: what a server knows a client by
        self.service: Service
        self.reading = True
        self.failed: SmolmixError | None = None
        self._wake = wake
        self._pending: deque[memoryview] = deque()
        self._closing = False
        self._eof_told = False

    def start(self, service: Service) -> None:
        self.service = service
        self.connection.on_event = self.step
        self.step()

    def write(self, data: bytes) -> None:
        if data:
            self._pending.append(memoryview(data))
        self._push()

    def close(self) -> None:
        """After what was written."""
        self._closing = True
        self._push()

    def abort(self) -> None:
        """RST."""
        self.connection.abort(self.queue.now)
        self._wake()

    def step(self) -> None:
        """The connection changed: pass on what arrived, send what waits."""
        connection = self.connection
        try:
            while self.reading and (piece := connection.receive(65_536, self.queue.now)):
                self.service.data(piece)
            if connection.receive_eof and not self._eof_told:
                self._eof_told = True
                self.service.eof()
        except SmolmixError as error:
            self.failed = error
        self._push()

    def _push(self) -> None:
        connection = self.connection
        try:
            while self._pending:
                # The rest is offered until it is refused: only then the connection tells when there is room.
                piece = self._pending[0]
                taken = connection.send(piece, self.queue.now)
                if taken == len(piece):
                    self._pending.popleft()
                    continue
                self._pending[0] = piece[taken:]
                break
            if self._closing and not self._pending:
                connection.close(self.queue.now)
        except SmolmixError as error:
            self.failed = error
            self._pending.clear()
        self._wake()


class Sink:
    """Reads everything; answers the end with its own, after eight bytes that tell how much came."""

    def __init__(self, flow: Flow, world: World) -> None:
        self.flow = flow
        self.received = bytearray()
        world.sinks.append(self)

    def data(self, data: bytes) -> None:
        self.received += data

    def eof(self) -> None:
        self.flow.write(len(self.received).to_bytes(8, "big"))
        self.flow.close()


class Source:
    """A line with a number asks for as many bytes of `pattern(size)`; then the end."""

    def __init__(self, flow: Flow, world: World) -> None:
        self.flow = flow
        self._line = bytearray()

    def data(self, data: bytes) -> None:
        self._line += data
        if self._line.endswith(b"\n"):
            size = int(self._line)
            self._line.clear()
            self.flow.write(pattern(size))
            self.flow.close()

    def eof(self) -> None:
        self.flow.close()


class EchoService:
    def __init__(self, flow: Flow, world: World) -> None:
        self.flow = flow

    def data(self, data: bytes) -> None:
        self.flow.write(data)

    def eof(self) -> None:
        self.flow.close()


ServiceFactory = Callable[[Flow, "World"], Service]
Answerer = Callable[[bytes, Endpoint], list[bytes]]


class World:
    """All servers of a simulation. `dial_delay`: seconds until a server answers a SYN or a datagram."""

    hosts: ClassVar[tuple[Address, ...]] = (ORIGIN, OTHER, CLOSED, *RESOLVERS)

    def __init__(self, queue: EventQueue) -> None:
        self.queue = queue
        self.dial_delay = 0.010
        self.tcp: dict[tuple[Address, int], ServiceFactory] = {}
        self.udp: dict[tuple[Address, int], Answerer] = {}
        self.names: dict[str, list[str]] = {"origin.test": [str(ORIGIN)], "other.test": [str(OTHER)]}
        self.dns_silent = False
        self.dns_queries: list[str] = []
        self.sinks: list[Sink] = []
        self.flows_opened = 0
        for address in (ORIGIN, OTHER):
            self.tcp[address, SINK_PORT] = Sink
            self.tcp[address, SOURCE_PORT] = Source
            self.tcp[address, ECHO_PORT] = EchoService
            self.udp[address, ECHO_PORT] = lambda data, source: [data]
        for resolver in RESOLVERS:
            self.udp[resolver, 53] = self._resolve

    def listen(self, address: Address, port: int, service: ServiceFactory) -> None:
        self.tcp[address, port] = service

    def knows(self, address: Address) -> bool:
        return address in self.hosts

    def service_at(self, endpoint: Endpoint) -> ServiceFactory | None:
        return self.tcp.get((endpoint.address, endpoint.port))

    def answer(self, data: bytes, source: Endpoint, destination: Endpoint) -> list[bytes] | None:
        """The datagrams that come back; None when nobody listens there."""
        answerer = self.udp.get((destination.address, destination.port))
        return None if answerer is None else answerer(data, source)

    def _resolve(self, data: bytes, source: Endpoint) -> list[bytes]:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = str(question.name).rstrip(".").lower()
        self.dns_queries.append(name)
        if self.dns_silent:
            return []
        response = dns.message.make_response(query, recursion_available=True)
        if name not in self.names:
            response.set_rcode(dns.rcode.NXDOMAIN)
        else:
            kind = dns.rdatatype.to_text(question.rdtype)
            wanted = [text for text in self.names[name] if (":" in text) == (kind == "AAAA")]
            if kind in ("A", "AAAA") and wanted:
                response.answer.append(dns.rrset.from_text(question.name, 300, "IN", kind, *wanted))
        return [response.to_wire()]
