"""Streams of the tunnel in asyncio's shapes: reader and writer, protocols, TLS of the standard library on top."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest

from smolmix_web.asyncio_streams import HIGH_WATER, as_os_error, attach, streams
from smolmix_web.dial import Connected
from smolmix_web.errors import ConnectionReset, DnsError, HostUnreachable, TimeoutExpired
from tests.pipe import Pipe

pytestmark = pytest.mark.cpython


async def test_reader_and_writer() -> None:
    near, far = Pipe.pair()
    reader, writer = streams(Connected(near))
    writer.write(b"hello\n")
    await writer.drain()
    assert await far.read() == b"hello\n"
    await far.write(b"one\ntwo\n")
    assert [await reader.readline() for _ in range(2)] == [b"one\n", b"two\n"]
    writer.write(b"last")
    writer.close()
    await writer.wait_closed()
    assert await far.read() == b"last" and await far.read() == b""
    near, far = Pipe.pair()
    reader, writer = streams(Connected(near))
    await far.write(b"last")
    await far.close()
    assert await reader.read() == b"last" and reader.at_eof()
    writer.close()


async def test_a_reader_that_is_behind_stops_the_sender() -> None:
    near, far = Pipe.pair()
    reader, writer = streams(Connected(near), limit=1_000)
    sent = 0

    async def flood() -> None:
        nonlocal sent
        for _ in range(100):
            await far.write(bytes(10_000))
            sent += 10_000
        await far.close()

    flooding = asyncio.create_task(flood())
    for _ in range(50):
        await asyncio.sleep(0)
    assert sent < 400_000
    assert len(await reader.read()) == 1_000_000
    await flooding
    writer.close()


async def test_a_writer_that_is_ahead_waits() -> None:
    near, far = Pipe.pair()
    _, writer = streams(Connected(near))
    writer.write(bytes(10 * HIGH_WATER))
    draining = asyncio.create_task(writer.drain())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not draining.done()
    size = 0
    while size < 10 * HIGH_WATER:
        size += len(await far.read())
    await draining
    writer.transport.abort()
    await asyncio.sleep(0)
    assert far.reset


async def test_a_reset_is_an_os_error_with_the_tunnels_own_as_cause() -> None:
    near, far = Pipe.pair()
    reader, writer = streams(Connected(near))
    far.abort()
    with pytest.raises(OSError) as raised:
        await reader.read()
    assert isinstance(raised.value, ConnectionResetError)
    assert isinstance(raised.value.__cause__, ConnectionReset)
    writer.close()


def test_errors_as_sockets_have_them() -> None:
    assert isinstance(as_os_error(DnsError("none", code="dns_not_found")), socket.gaierror)
    assert isinstance(as_os_error(TimeoutExpired("late", phase="connect")), TimeoutError)
    assert as_os_error(HostUnreachable("no way")).errno is not None


class Lines(asyncio.Protocol):
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.events.append(data)

    def eof_received(self) -> bool:
        self.events.append("eof")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.events.append(error)
        self.lost.set()


async def test_a_protocol_sees_what_it_sees_of_a_socket() -> None:
    near, far = Pipe.pair()
    transport, protocol = attach(Connected(near), Lines)
    await far.write(b"data")
    await far.close()
    await protocol.lost.wait()
    assert protocol.events == ["made", b"data", "eof", None]
    assert transport.is_closing() and near.closed


async def test_tls_of_the_standard_library_on_top(tls_files: tuple[str, str, str]) -> None:
    authority, certificate, key = tls_files
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate, key)
    client_context = ssl.create_default_context(cafile=authority)
    near, far = Pipe.pair()
    loop = asyncio.get_running_loop()
    made = loop.create_future()

    class Server(Lines):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            made.result().write(data.upper())

    client_side, client = attach(Connected(near), Lines)
    server_side, server = attach(Connected(far), Server)
    upgraded, secure = await asyncio.gather(
        loop.start_tls(server_side, server, server_context, server_side=True),
        loop.start_tls(client_side, client, client_context, server_hostname="a.test"),
    )
    made.set_result(upgraded)
    assert secure is not None
    secure.write(b"hello")
    async with asyncio.timeout(5):
        while client.events != ["made", b"HELLO"]:
            await asyncio.sleep(0.01)
    secure.close()
    async with asyncio.timeout(5):
        await client.lost.wait()
        await server.lost.wait()
