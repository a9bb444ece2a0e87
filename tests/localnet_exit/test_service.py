"""The whole exit on loopback: a client's stack, the session, the service, its user-space NAT, real servers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, cast

import pytest

from localnet.exit import ExitConfig, ExitService
from localnet.names import DialMap
from smolmix_web.errors import ConnectionRefused, ConnectionReset, HostUnreachable, SmolmixError, StateError
from smolmix_web.exit import ExitConnected, ExitDisconnected, ExitSession, PolicyDenied
from smolmix_web.netstack.addresses import Endpoint
from smolmix_web.netstack.stack import Stack
from smolmix_web.netstack.tcp.config import TcpConfig
from smolmix_web.netstack.tcp.connection import TcpConnection
from smolmix_web.netstack.tcp.states import State as TcpState
from smolmix_web.rand import SeededRandom

HOST, HOST6 = IPv4Address("203.0.114.10"), IPv6Address("2a0e:6a80:114::a")
TAG = b"T" * 16


class Message(NamedTuple):
    data: bytes
    sender_tag: bytes | None


class FakeMixnet:
    """The exit's mixnet client: replies cost SURBs, which the client tops up without end unless `dry`."""

    def __init__(self) -> None:
        self.inbox: deque[Message] = deque()
        self.outbox: list[bytes] = []
        self.waiting: deque[bytes] = deque()
        self.dry = False
        self.limit = 1024
        self.most_waiting = 0
        self.stuck = 0  # packets of others

    def take_messages(self) -> list[Message]:
        messages = list(self.inbox)
        self.inbox.clear()
        return messages

    def send_reply(self, sender_tag: bytes, data: bytes, *, max_retransmissions: int | None, now: float) -> None:
        if sender_tag != TAG:
            raise StateError("no such tag")
        (self.waiting if self.dry else self.outbox).append(data)
        self.most_waiting = max(self.most_waiting, len(self.waiting))

    @property
    def queue_length(self) -> int:
        return len(self.outbox) + self.stuck

    def reply_room(self, sender_tag: bytes) -> int:
        return max(0, self.limit - len(self.waiting))


class World:
    """One client and one exit on the running loop; the mixnet between them is a queue with a delay."""

    def __init__(self, config: ExitConfig, delay: float, tcp: TcpConfig) -> None:
        self.loop = asyncio.get_running_loop()
        self.delay = delay
        self.map = DialMap()
        self.mixnet = FakeMixnet()
        self.service = ExitService(self.mixnet, SeededRandom("exit"), self.map, config=config, on_output=self.kick)
        self.session = ExitSession(SeededRandom("client"), bundle_delay=0.0)
        self.stack: Stack | None = None
        self.events: list[object] = []
        self.changed = asyncio.Event()
        self.tcp = tcp
        self.turns = 0
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.Handle | None = None
        self._closed = False

    def kick(self) -> None:
        if self._soon is None and not self._closed:
            self._soon = self.loop.call_soon(self.turn)

    def carry(self, action: Callable[[], None]) -> None:
        self.loop.call_later(self.delay, action)

    def turn(self) -> None:
        self._soon = None
        if self._closed:
            return
        self.turns += 1
        now = self.loop.time()
        for data in self.mixnet.outbox:
            self.carry(lambda data=data: self._arrive(data))  # type: ignore[misc]
        self.mixnet.outbox.clear()
        if self.stack is not None:
            self.session.send_packets(self.stack.poll(now, self.session.send_space), now)
        for message in self.session.poll(now):
            self.carry(lambda data=message.data: self._deliver(data))  # type: ignore[misc]
        times = [self.session.next_deadline(), self.stack.next_deadline() if self.stack is not None else None]
        due = min((time for time in times if time is not None), default=None)
        if self._timer is not None:
            self._timer.cancel()
        if due is not None:
            self._timer = self.loop.call_at(max(due, now + 0.001), self.kick)
        self.changed.set()

    def _deliver(self, data: bytes) -> None:
        self.mixnet.inbox.append(Message(data, TAG))
        self.service.pump()

    def _arrive(self, data: bytes) -> None:
        now = self.loop.time()
        self.session.receive(data, now)
        for event in self.session.take_events():
            self.events.append(event)
            if isinstance(event, ExitConnected):
                self.stack = Stack([event.ipv4, event.ipv6], event.mtu, SeededRandom("stack"))
        for packet in self.session.take_packets():
            assert self.stack is not None
            self.stack.receive(packet, now)
        self.kick()

    async def until(self, condition: Callable[[], bool], timeout: float = 20.0) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                self.changed.clear()
                self.kick()
                await self.changed.wait()

    async def connect(self) -> None:
        self.session.start(self.loop.time())
        await self.until(lambda: self.stack is not None)

    async def tcp_connect(self, address: IPv4Address | IPv6Address, port: int, timeout: float = 20.0) -> TcpConnection:
        assert self.stack is not None
        connection = self.stack.tcp_connect(Endpoint(address, port), self.loop.time(), config=self.tcp)
        await self.until(lambda: connection.state is TcpState.ESTABLISHED or connection.error is not None, timeout)
        return connection

    async def send(self, connection: TcpConnection, data: bytes) -> None:
        view = memoryview(data)
        while view:
            await self.until(lambda: connection.send_space > 0 or connection.error is not None)
            view = view[connection.send(view, self.loop.time()) :]
            self.kick()

    async def read_to_end(self, connection: TcpConnection) -> bytes:
        out = bytearray()
        while not connection.receive_eof:
            await self.until(
                lambda: connection.receive_available > 0 or connection.receive_eof or connection.error is not None
            )
            out += connection.receive(1 << 20, self.loop.time())
            self.kick()
        return bytes(out)

    def close(self) -> None:
        self._closed = True
        self.service.close()
        for handle in (self._timer, self._soon):
            if handle is not None:
                handle.cancel()


MakeWorld = Callable[..., Awaitable[World]]


@pytest.fixture
async def world() -> AsyncIterator[MakeWorld]:
    made: list[World] = []

    async def make(delay: float = 0.002, tcp: TcpConfig | None = None, **config: object) -> World:
        made.append(World(ExitConfig.from_mapping(config), delay, tcp or TcpConfig()))
        await made[-1].connect()
        return made[-1]

    yield make
    for item in made:
        item.close()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[tuple[str, int]]]]:
    """Starts a TCP server with a stream handler on loopback."""
    servers: list[asyncio.Server] = []

    async def start(
        handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    ) -> tuple[str, int]:
        async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                await handler(reader, writer)
            writer.close()

        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.bind(("127.0.0.1", 0))
        servers.append(await asyncio.start_server(guarded, sock=sock))
        return servers[-1].sockets[0].getsockname()[:2]  # type: ignore[no-any-return]

    yield start
    for server in servers:
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("address", [HOST, HOST6])
async def test_tcp_echo_with_half_close(
    world: MakeWorld, serve: Callable[..., Awaitable[tuple[str, int]]], address: IPv4Address | IPv6Address
) -> None:
    net = await world()
    net.map.add("tcp", address, 443, await serve(echo))
    connection = await net.tcp_connect(address, 443)
    assert connection.error is None
    data = SeededRandom("data").bytes(300_000)

    async def upload() -> None:
        await net.send(connection, data)
        connection.close(net.loop.time())  # the server still has to send the rest
        net.kick()

    sending = asyncio.create_task(upload())
    assert await net.read_to_end(connection) == data
    await sending
    await net.until(lambda: connection.state in (TcpState.TIME_WAIT, TcpState.CLOSED))
    assert connection.error is None
    assert net.service.counters["tcp.connected"] == 1
    assert net.service.counters.violations() == 0


async def test_http_download(world: MakeWorld, serve: Callable[..., Awaitable[tuple[str, int]]]) -> None:
    body = SeededRandom("body").bytes(1_000_000)

    async def origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()

    net = await world()
    net.map.add("tcp", HOST, 80, await serve(origin))
    connection = await net.tcp_connect(HOST, 80)
    await net.send(connection, b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    head, _, received = (await net.read_to_end(connection)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert hashlib.sha256(received).digest() == hashlib.sha256(body).digest()
    connection.close(net.loop.time())


async def test_many_connections_at_once(world: MakeWorld, serve: Callable[..., Awaitable[tuple[str, int]]]) -> None:
    net = await world()
    net.map.add("tcp", HOST, 443, await serve(echo))

    async def one(number: int) -> None:
        connection = await net.tcp_connect(HOST, 443)
        data = SeededRandom(number).bytes(10_000 + number)
        await net.send(connection, data)
        connection.close(net.loop.time())
        assert await net.read_to_end(connection) == data

    await asyncio.gather(*(one(number) for number in range(20)))
    assert net.service.counters["tcp.connected"] == 20


async def test_refused_by_the_server_or_by_the_map(world: MakeWorld) -> None:
    net = await world()
    net.map.add("tcp", HOST, 443, ("127.0.0.1", free_port()))
    for port in (443, 8443):
        started = net.loop.time()
        connection = await net.tcp_connect(HOST, port)
        assert isinstance(connection.error, ConnectionRefused)
        assert net.loop.time() - started < 1
    assert net.service.counters["tcp.refused"] == 2


async def test_a_dial_without_answer_is_an_icmp_error(world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    net = await world(dial_timeout=0.1)
    net.map.add("tcp", HOST, 443, ("127.0.0.1", 9))

    async def never(*arguments: object, **keywords: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(net.loop, "create_connection", never)
    connection = await net.tcp_connect(HOST, 443)
    assert isinstance(connection.error, HostUnreachable)


async def test_a_client_that_gives_up_cancels_the_dial(world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    net = await world()
    net.map.add("tcp", HOST, 443, ("127.0.0.1", 9))
    cancelled = asyncio.Event()

    async def never(*arguments: object, **keywords: object) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    monkeypatch.setattr(net.loop, "create_connection", never)
    assert net.stack is not None
    net.stack.tcp_connect(Endpoint(HOST, 443), net.loop.time())
    await net.until(lambda: net.service.counters["packets_up"] > 0)
    await asyncio.sleep(0)
    net.service.forget_clients()
    async with asyncio.timeout(5):
        await cancelled.wait()


async def test_a_reset_by_the_server_arrives_as_a_reset(
    world: MakeWorld, serve: Callable[..., Awaitable[tuple[str, int]]]
) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    net = await world()
    net.map.add("tcp", HOST, 443, await serve(rude))
    connection = await net.tcp_connect(HOST, 443)
    await net.send(connection, b"hello")
    await net.until(lambda: connection.error is not None)
    assert isinstance(connection.error, ConnectionReset)


async def test_a_reset_by_the_client_arrives_as_a_reset(
    world: MakeWorld, serve: Callable[..., Awaitable[tuple[str, int]]]
) -> None:
    seen: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(10):
                pass
            seen.set_exception(AssertionError("an orderly end"))
        except ConnectionResetError as error:
            seen.set_result(error)

    net = await world()
    net.map.add("tcp", HOST, 443, await serve(watch))
    connection = await net.tcp_connect(HOST, 443)
    await net.send(connection, b"hello")
    connection.abort(net.loop.time())
    net.kick()
    async with asyncio.timeout(5):
        assert isinstance(await seen, ConnectionResetError)
    assert net.service.counters["tcp.connected"] == 1


async def test_backpressure_reaches_the_server(
    world: MakeWorld, serve: Callable[..., Awaitable[tuple[str, int]]]
) -> None:
    """A client that does not read stops the server: everything between has a bound."""
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        for _ in range(1000):
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    net = await world(relay_buffer=65536, tcp=TcpConfig(receive_buffer=65536, receive_buffer_max=65536))
    net.map.add("tcp", HOST, 443, await serve(flood))
    connection = await net.tcp_connect(HOST, 443)
    await net.until(lambda: connection.receive_available > 60_000)
    stopped = -1
    while stopped != sent:
        stopped = sent
        await asyncio.sleep(0.3)
    assert sent < 12_000_000
    assert connection.receive_available <= 65536
    connection.receive(65536, net.loop.time())
    await net.until(lambda: connection.receive_available > 60_000)
    connection.abort(net.loop.time())


async def test_backpressure_reaches_the_client(
    world: MakeWorld, serve: Callable[..., Awaitable[tuple[str, int]]]
) -> None:
    release = asyncio.Event()
    total = 0

    async def lazy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal total
        await release.wait()
        while data := await reader.read(65536):
            total += len(data)
        writer.write(b"done")

    net = await world(relay_buffer=65536)
    net.map.add("tcp", HOST, 443, await serve(lazy))
    connection = await net.tcp_connect(HOST, 443)
    size, sent = 3_000_000, 0

    async def upload() -> None:
        nonlocal sent
        while sent < size:
            await net.until(lambda: connection.send_space > 0, timeout=60)
            sent += connection.send(bytes(min(65536, size - sent)), net.loop.time())
            net.kick()
        connection.close(net.loop.time())

    task = asyncio.create_task(upload())
    stopped = -1
    while stopped != sent:
        stopped = sent
        await asyncio.sleep(0.3)
    assert sent < size
    release.set()
    assert await net.read_to_end(connection) == b"done"
    await task
    assert total == size


async def test_replies_that_wait_for_surbs_stop_the_flows(
    world: MakeWorld, serve: Callable[..., Awaitable[tuple[str, int]]]
) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(bytes(400_000))
        await writer.drain()

    net = await world()
    net.mixnet.limit = 20
    net.map.add("tcp", HOST, 443, await serve(flood))
    connection = await net.tcp_connect(HOST, 443)
    await net.send(connection, b"x")
    await net.until(lambda: connection.receive_available > 0)
    net.mixnet.dry = True
    connection.receive(1 << 20, net.loop.time())
    await asyncio.sleep(0.5)
    assert net.mixnet.most_waiting <= 20 + 64, "the burst that was under way, and no more"
    net.mixnet.dry = False
    net.mixnet.outbox += net.mixnet.waiting
    net.mixnet.waiting.clear()
    net.service.pump()
    net.kick()
    out = await net.read_to_end(connection)
    assert len(out) > 100_000


async def test_a_full_mixnet_queue_stops_the_flows(
    world: MakeWorld, serve: Callable[..., Awaitable[tuple[str, int]]]
) -> None:
    net = await world()
    net.map.add("tcp", HOST, 443, await serve(echo))
    connection = await net.tcp_connect(HOST, 443)
    net.mixnet.stuck = 64
    before = net.service.counters["data_replies"]
    await net.send(connection, bytes(20_000))
    await asyncio.sleep(0.3)
    assert net.service.counters["data_replies"] == before
    net.mixnet.stuck = 0
    await net.until(lambda: connection.receive_available == 20_000)


class UdpEcho(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.peers: set[tuple[str, int]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.peers.add(addr)
        self.transport.sendto(data * 3 if data.startswith(b"more") else data, addr)


@pytest.fixture
async def udp_echo() -> AsyncIterator[tuple[UdpEcho, tuple[str, int]]]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(UdpEcho, local_addr=("127.0.0.1", 0))
    yield protocol, transport.get_extra_info("sockname")
    transport.close()


@pytest.mark.parametrize("address", [HOST, HOST6])
async def test_udp(
    world: MakeWorld, udp_echo: tuple[UdpEcho, tuple[str, int]], address: IPv4Address | IPv6Address
) -> None:
    net = await world(udp_idle=0.3)
    net.map.add("udp", address, 53, udp_echo[1])
    assert net.stack is not None
    client = net.stack.udp_socket()
    remote = Endpoint(address, 53)
    for size in (1, 500, 1300):
        client.send_to(bytes(size), remote, net.loop.time())
        got: list[tuple[bytes, Endpoint]] = []
        await net.until(lambda got=got: bool((item := client.receive()) and not got.append(item)))  # type: ignore[func-returns-value,misc]
        assert got == [(bytes(size), remote)]
    assert len(udp_echo[0].peers) == 1, "one flow, one socket"
    await asyncio.sleep(0.8)
    client.send_to(b"again", remote, net.loop.time())
    await net.until(lambda: client.receive() is not None)
    assert len(udp_echo[0].peers) == 2, "an idle flow ends"
    assert net.service.counters["udp.flows"] == 2


async def test_a_large_datagram_comes_in_fragments(world: MakeWorld, udp_echo: tuple[UdpEcho, tuple[str, int]]) -> None:
    net = await world()
    net.map.add("udp", HOST, 53, udp_echo[1])
    assert net.stack is not None
    client = net.stack.udp_socket()
    data = b"more" + SeededRandom("large").bytes(1300)
    client.send_to(data, Endpoint(HOST, 53), net.loop.time())
    got: list[bytes] = []
    await net.until(lambda: bool((item := client.receive()) and not got.append(item[0])))  # type: ignore[func-returns-value]
    assert got == [data * 3]


async def test_udp_ports_that_nobody_serves(world: MakeWorld) -> None:
    net = await world()
    net.map.add("udp", HOST, 53, ("127.0.0.1", free_port(socket.SOCK_DGRAM)))
    assert net.stack is not None
    for port in (53, 123):
        client = net.stack.udp_socket()
        for _ in range(2):
            client.send_to(b"anyone?", Endpoint(HOST, port), net.loop.time())
            net.kick()
            await asyncio.sleep(0.05)
        await net.until(lambda client=client: client.error is not None)  # type: ignore[misc]
        assert isinstance(client.error, ConnectionRefused)


@pytest.mark.parametrize("address", [HOST, HOST6])
async def test_ping(world: MakeWorld, address: IPv4Address | IPv6Address) -> None:
    net = await world(echo_delay=0.05)
    net.map.add("tcp", address, 443, ("127.0.0.1", 9))
    assert net.stack is not None
    ping = net.stack.ping(address, net.loop.time(), b"payload", timeout=5.0)
    stranger = net.stack.ping(IPv4Address("203.0.114.99"), net.loop.time(), timeout=0.3)
    await net.until(lambda: ping.rtt is not None)
    assert 0.05 < (ping.rtt or 0) < 2
    await net.until(lambda: stranger.error is not None)


async def test_policy_denial_is_an_event(world: MakeWorld) -> None:
    net = await world()
    assert net.stack is not None
    connection = net.stack.tcp_connect(Endpoint(HOST, 25), net.loop.time())
    await net.until(lambda: len(net.events) > 1)
    assert net.events[1] == PolicyDenied(HOST, 25)
    assert net.stack.refuse(Endpoint(HOST, 25)) == 1
    assert isinstance(connection.error, ConnectionRefused)
    assert connection.error.code == "policy_denied"


async def test_the_firewall_refuses_at_once(world: MakeWorld) -> None:
    net = await world(open_proxy=True, firewall="ExitPolicy reject *:25")
    connection = await net.tcp_connect(HOST, 25)
    assert isinstance(connection.error, SmolmixError)
    assert connection.error.code == "port_unreachable"


async def test_a_black_hole_never_answers(world: MakeWorld) -> None:
    net = await world()
    net.service.faults.black_holes.add(HOST)
    assert net.stack is not None
    connection = net.stack.tcp_connect(Endpoint(HOST, 443), net.loop.time(), connect_timeout=0.5)
    await net.until(lambda: connection.error is not None)
    assert connection.error is not None
    assert connection.error.code == "connect_timeout"


async def test_replies_get_lost_doubled_and_late(
    world: MakeWorld, serve: Callable[..., Awaitable[tuple[str, int]]]
) -> None:
    net = await world(tcp=TcpConfig(initial_rto=0.3, min_rto=0.2))
    net.map.add("tcp", HOST, 443, await serve(echo))
    faults = net.service.faults
    faults.drop, faults.duplicate, faults.delay, faults.jitter, faults.drop_uplink = 0.05, 0.1, 0.005, 0.02, 0.05
    connection = await net.tcp_connect(HOST, 443)
    data = SeededRandom("lossy").bytes(200_000)
    await net.send(connection, data)
    connection.close(net.loop.time())
    assert await net.read_to_end(connection) == data
    counters = net.service.counters
    assert counters["faults.dropped_reply"] > 0
    assert counters["faults.dropped_uplink"] > 0
    assert net.session.statistics.duplicates > 0


async def test_disconnect_ends_every_flow(
    world: MakeWorld, serve: Callable[..., Awaitable[tuple[str, int]]], udp_echo: tuple[UdpEcho, tuple[str, int]]
) -> None:
    ended = asyncio.Event()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        ended.set()

    net = await world()
    net.map.add("tcp", HOST, 443, await serve(watch))
    net.map.add("udp", HOST, 53, udp_echo[1])
    await net.tcp_connect(HOST, 443)
    assert net.stack is not None
    net.stack.udp_socket().send_to(b"x", Endpoint(HOST, 53), net.loop.time())
    await net.until(lambda: net.service.counters["udp.flows"] == 1)
    net.session.disconnect(net.loop.time())
    await net.until(lambda: ExitDisconnected("requested") in net.events)
    async with asyncio.timeout(5):
        await ended.wait()
    assert net.service.flows == 0


async def test_an_idle_exit_rests(world: MakeWorld, serve: Callable[..., Awaitable[tuple[str, int]]]) -> None:
    net = await world()
    net.map.add("tcp", HOST, 443, await serve(echo))
    connection = await net.tcp_connect(HOST, 443)
    await net.send(connection, b"hello")
    await net.until(lambda: connection.receive_available == 5)
    await asyncio.sleep(0.3)
    settled = 0
    original = net.service._settle

    def counting() -> None:
        nonlocal settled
        settled += 1
        original()

    net.service._settle = counting  # type: ignore[method-assign]
    turns = net.turns
    await asyncio.sleep(1.0)
    assert settled <= 3
    assert net.turns - turns <= 3


async def test_surbs_can_be_wasted_on_purpose(world: MakeWorld) -> None:
    net = await world()
    net.service.exhaust_surbs(TAG, 5)
    net.service.exhaust_surbs(b"?" * 16, 5)
    await net.until(lambda: net.session.statistics.foreign == 5)
    assert net.service.counters["replies.dropped"] == 5


async def test_nothing_but_loopback_is_dialled(world: MakeWorld) -> None:
    net = await world()
    net.map.entries[("tcp", HOST, 443)] = ("203.0.114.10", 443)
    net.map.entries[("udp", HOST, 53)] = ("203.0.114.10", 53)
    connection = await net.tcp_connect(HOST, 443)
    assert isinstance(connection.error, ConnectionRefused)
    assert net.stack is not None
    net.stack.udp_socket().send_to(b"x", Endpoint(HOST, 53), net.loop.time())
    await net.until(lambda: net.service.counters["udp.refused"] == 1)
    assert net.service.counters["not_loopback"] == 2
