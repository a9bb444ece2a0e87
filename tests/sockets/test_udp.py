"""UdpSocket over two stacks in virtual time."""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address

import pytest

from smolmix_web.edge.sockets import UdpSocket
from smolmix_web.errors import AddressError, MessageTooLong, NetworkError, StateError, TimeoutExpired, TunnelError
from smolmix_web.netstack import Endpoint, ErrorKind
from tests.virtual_loop import virtual
from tests.wire import SERVER, SERVER6, Wire


@virtual
async def test_echo() -> None:
    wire = Wire()
    wire.udp(7, lambda data, source: [data.upper()])
    socket = UdpSocket.bind(wire.client)
    assert 1024 <= socket.port <= 65535
    assert socket.local is None
    for text in (b"a", b"", b"x" * 1300):
        assert socket.send_to(text, SERVER, 7)
        assert await socket.receive(10) == (text.upper(), Endpoint(SERVER, 7))
    socket.close()
    assert UdpSocket.bind(wire.client).port != socket.port


@virtual
async def test_deadline_then_more() -> None:
    wire = Wire()
    wire.udp(7, lambda data, source: [data])
    socket = UdpSocket.bind(wire.client)
    with pytest.raises(TimeoutExpired) as caught:
        await socket.receive(3)
    assert caught.value.phase == "receive"
    socket.send_to(b"x", SERVER, 7)
    assert (await socket.receive())[0] == b"x"


@virtual
async def test_a_connected_socket_hears_its_peer_only() -> None:
    wire = Wire()
    wire.udp(7, lambda data, source: [data])
    other = UdpSocket.bind(wire.server, 8)
    socket = UdpSocket.bind(wire.client)
    socket.connect(SERVER, 7)
    assert socket.local is not None
    other.send_to(b"intruder", socket.local.address, socket.local.port)
    socket.send_to(b"x", SERVER, 7)
    assert (await socket.receive(10))[0] == b"x"
    with pytest.raises(TimeoutExpired):
        await socket.receive(10)


@virtual
async def test_an_icmp_error_is_reported_once() -> None:
    wire = Wire()

    def refuse(source: Endpoint, destination: Endpoint, data: bytes, now: float) -> None:
        wire.server.stack.send_udp_error(ErrorKind.PORT_UNREACHABLE, source, destination, now)

    wire.server.stack.on_udp = refuse
    socket = UdpSocket.bind(wire.client)
    socket.connect(SERVER, 9)
    socket.send_to(b"x", SERVER, 9)
    with pytest.raises(NetworkError):
        await socket.receive(10)
    with pytest.raises(TimeoutExpired):
        await socket.receive(10)


@virtual
async def test_bounds_and_errors() -> None:
    wire = Wire()
    socket = UdpSocket.bind(wire.client, 5000)
    with pytest.raises(NetworkError):
        UdpSocket.bind(wire.client, 5000)
    with pytest.raises(MessageTooLong):
        socket.send_to(bytes(1500), SERVER, 7)
    with pytest.raises(NetworkError):
        socket.send_to(b"x", SERVER6, 7)
    waiting = asyncio.create_task(socket.receive())
    await asyncio.sleep(1)
    with pytest.raises(StateError):
        await socket.receive()
    socket.close(TunnelError("gone"))
    with pytest.raises(TunnelError):
        await waiting
    with pytest.raises(TunnelError):
        socket.send_to(b"x", SERVER, 7)
    socket.close()
    UdpSocket.bind(wire.client, 5000).close()


@virtual
async def test_cancelling_a_receive_loses_nothing() -> None:
    wire = Wire()
    wire.udp(7, lambda data, source: [data])
    socket = UdpSocket.bind(wire.client)
    socket.send_to(b"x", SERVER, 7)
    task = asyncio.create_task(socket.receive())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await socket.receive(10))[0] == b"x"


@pytest.mark.feature("Sockets", "UDP: connected sockets")
@virtual
async def test_a_connected_socket_sends_without_an_address() -> None:
    wire = Wire()
    wire.udp(7, lambda data, source: [data])
    socket = UdpSocket.bind(wire.client)
    with pytest.raises(StateError):
        socket.send(b"to whom")
    socket.connect(SERVER, 7)
    assert socket.remote == Endpoint(SERVER, 7)
    assert socket.local is not None and socket.local.port == socket.port
    assert socket.send(b"x")
    assert await socket.receive(10) == (b"x", Endpoint(SERVER, 7))


@virtual
async def test_a_socket_of_one_family() -> None:
    wire = Wire(ipv6=True)
    wire.udp(7, lambda data, source: [data])
    four = UdpSocket.bind(wire.client, family=4)
    with pytest.raises(AddressError):
        four.send_to(b"x", SERVER6, 7)
    with pytest.raises(AddressError):
        four.connect(SERVER6, 7)
    stranger = UdpSocket.bind(wire.server)
    stranger.send_to(b"stray", IPv6Address("2001:db8:1::1"), four.port)
    await asyncio.sleep(2)
    four.send_to(b"x", SERVER, 7)
    assert (await four.receive(10))[0] == b"x"


@virtual
async def test_a_receive_buffer_of_its_own() -> None:
    wire = Wire()
    wire.udp(7, lambda data, source: [bytes(1000)] * 8)
    small = UdpSocket.bind(wire.client, receive_buffer=4096)
    small.send_to(b"x", SERVER, 7)
    await asyncio.sleep(5)
    for _ in range(4):
        assert len((await small.receive(1))[0]) == 1000
    with pytest.raises(TimeoutExpired):
        await small.receive(1)


@pytest.mark.feature("Python", "UDP sockets are async iterators")
@virtual
async def test_iteration_ends_with_the_socket() -> None:
    wire = Wire()
    wire.udp(7, lambda data, source: [data])
    socket = UdpSocket.bind(wire.client)
    for text in (b"a", b"b"):
        socket.send_to(text, SERVER, 7)
    seen = []
    async for data, source in socket:
        seen.append((data, source.port))
        if len(seen) == 2:
            asyncio.get_running_loop().call_later(1, socket.close)
    assert sorted(seen) == [(b"a", 7), (b"b", 7)] and socket.closed


@virtual
async def test_a_tunnel_that_lost_its_addresses_ends_the_socket() -> None:
    wire = Wire()
    sockets = [UdpSocket.bind(wire.client) for _ in range(2)]
    waiting = asyncio.create_task(sockets[0].receive())
    await asyncio.sleep(0)
    wire.client.stack.abort_all(TunnelError("the exit is gone", code="exit_dead"), wire.client.now())
    with pytest.raises(TunnelError):
        await waiting
    for socket in sockets:
        assert socket.closed
        for _ in range(2):
            with pytest.raises(TunnelError):
                await socket.receive(10)
            with pytest.raises(TunnelError):
                socket.send_to(b"x", SERVER, 7)
    with pytest.raises(TunnelError):
        async for _ in sockets[1]:
            pass
