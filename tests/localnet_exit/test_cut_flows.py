"""A server that is cut in the very turn in which the client speaks to it: the other flows of that turn lose nothing."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest

from localnet.exit import nat
from smolmix_web.errors import ConnectionReset
from smolmix_web.netstack.tcp.connection import TcpConnection
from tests.localnet_exit.test_service import HOST, TAG, MakeWorld, Message, World, echo, serve, world

__all__ = ["serve", "world"]  # fixtures

Serve = Callable[..., Awaitable[tuple[str, int]]]


def cut(server: socket.socket) -> None:
    """RST, at once."""
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()


def deliver_now(net: World) -> None:
    """All that the client has to say, in one turn of the exit, before its loop looks at a socket."""
    assert net.stack is not None
    now = net.loop.time()
    net.session.send_packets(net.stack.poll(now, 64), now)
    for message in net.session.poll(now):
        net.mixnet.inbox.append(Message(message.data, TAG))
    net.service.pump()


SAYS: dict[str, Callable[[TcpConnection, float], object]] = {
    "the end": lambda connection, now: connection.close(now),
    "something": lambda connection, now: connection.send(b"x" * 1000, now),
    "something, and the end": lambda connection, now: (connection.send(b"x" * 1000, now), connection.close(now)),
    "a reset": lambda connection, now: connection.abort(now),
}


@pytest.mark.parametrize("half_closed", [False, True], ids=["open", "the server had ended its half"])
@pytest.mark.parametrize("says", SAYS)
async def test_a_cut_server_hurts_its_own_flow_alone(
    world: MakeWorld, serve: Serve, says: str, half_closed: bool
) -> None:
    net = await world()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        net.map.add("tcp", HOST, 443, listening.getsockname()[:2])
        net.map.add("tcp", HOST, 80, await serve(echo))
        before, doomed, after = [await net.tcp_connect(HOST, port) for port in (80, 443, 80)]
        server, _ = listening.accept()
        if half_closed:
            server.shutdown(socket.SHUT_WR)
            await net.until(lambda: doomed.receive_eof)
        cut(server)
        now = net.loop.time()
        before.send(b"before", now)
        SAYS[says](doomed, now)
        after.send(b"after", now)
        deliver_now(net)
        for connection, text in ((before, b"before"), (after, b"after")):
            await net.until(lambda connection=connection: connection.receive_available > 0)  # type: ignore[misc]
            assert connection.receive(100, net.loop.time()) == text
        await net.until(lambda: net.service.flows == 2)
        if says == "something":
            await net.until(lambda: doomed.error is not None)
            assert isinstance(doomed.error, ConnectionReset)


async def test_a_server_that_is_gone_before_the_flow_is_open(world: MakeWorld, serve: Serve) -> None:
    """Whatever becomes of it, another connect goes on."""
    net = await world()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        net.map.add("tcp", HOST, 443, listening.getsockname()[:2])
        net.map.add("tcp", HOST, 80, await serve(echo))

        async def rude() -> None:
            listening.setblocking(False)
            for _ in range(5):
                server, _ = await net.loop.sock_accept(listening)
                cut(server)

        task = asyncio.create_task(rude())
        for _ in range(5):
            connection = await net.tcp_connect(HOST, 443)
            await net.until(lambda connection=connection: connection.error is not None)  # type: ignore[misc]
        await task
        good = await net.tcp_connect(HOST, 80)
        await net.send(good, b"hello")
        await net.until(lambda: good.receive_available == 5)


async def test_no_socket_for_a_datagram(world: MakeWorld, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    net = await world()
    net.map.add("udp", HOST, 53, ("127.0.0.1", 9))
    net.map.add("tcp", HOST, 80, await serve(echo))
    good = await net.tcp_connect(HOST, 80)
    assert net.stack is not None

    def none_left(target: tuple[str, int]) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(nat, "_UdpFlow", none_left)
    net.stack.udp_socket().send_to(b"question", good.remote._replace(port=53), net.loop.time())
    good.send(b"hello", net.loop.time())
    deliver_now(net)
    await net.until(lambda: good.receive_available == 5)
    assert net.service.counters["udp.dropped"] == 1
