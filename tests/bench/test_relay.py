"""The thin line has the rate and the delay it was asked for, and short buffers; it passes on every byte and end."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from bench.relay import BUFFER, CHUNK, Direction, Relay

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

pytestmark = pytest.mark.cpython


@asynccontextmanager
async def through(handler: Handler, **line: float) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection through a relay to a server with this handler; everything is over within 20 s."""
    async with asyncio.timeout(20):
        server = await asyncio.start_server(handler, "127.0.0.1", 0, limit=2048)
        async with server, Relay("127.0.0.1", server.sockets[0].getsockname()[1], **line) as relay:  # type: ignore[arg-type]
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port, limit=2048)
            try:
                yield reader, writer
            finally:
                writer.transport.abort()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_the_rate_holds_to_a_hundredth_in_virtual_time() -> None:
    now = 5.0
    line, draw = Direction(25_000, 0.0, lambda: now), random.Random(1)
    began = now
    for _ in range(2000):
        leaves = line.leaves_at(draw.randint(1, CHUNK))
        now = max(now, leaves) + draw.random() * 0.004  # the timer is late
    assert line.passed / (now - began) == pytest.approx(25_000, rel=0.01)


def test_a_line_that_was_idle_owes_nothing() -> None:
    now = 0.0
    line = Direction(1000, 0.0, lambda: now)
    now = 100.0
    assert line.leaves_at(1000) == pytest.approx(101.0, abs=0.03)


async def test_bytes_arrive_whole_at_the_rate_and_the_end_follows() -> None:
    body = random.Random(2).randbytes(300_000)

    async def sends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(body)
        await writer.drain()
        writer.close()

    async with through(sends, rate=200_000) as (reader, _):
        began = time.monotonic()
        got = await reader.read(-1)
        seconds = time.monotonic() - began
    assert got == body
    assert 200_000 * 0.80 < len(body) / seconds < 200_000 * 1.05


async def test_the_delay_is_there_each_way_whatever_the_rate() -> None:
    async with through(echo, delay=0.1) as (reader, writer):
        trips = []
        for _ in range(3):
            began = time.monotonic()
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
            trips.append(time.monotonic() - began)
    assert 0.2 <= min(trips) < 0.3


async def test_the_delay_does_not_lower_the_rate() -> None:
    """What is on its way is not in a buffer."""
    body = bytes(200_000)

    async def sends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(body)
        await writer.drain()
        writer.close()

    async with through(sends, rate=200_000, delay=0.3) as (reader, _):
        began = time.monotonic()
        assert len(await reader.read(-1)) == len(body)
        seconds = time.monotonic() - began
    assert 1.25 < seconds < 1.9


async def test_nobody_reads_and_the_senders_buffers_fill_soon() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(20)

    async with through(deaf, rate=10_000) as (_, writer):
        sock = writer.get_extra_info("socket")
        loop = asyncio.get_running_loop()
        sock = sock.dup()
        sock.setblocking(False)
        sock.setsockopt(1, 7, BUFFER)  # SO_SNDBUF: of the sender itself
        sent = 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                while True:
                    await loop.sock_sendall(sock, bytes(1000))
                    sent += 1000
        sock.close()
    # A second's worth of the line, and three buffers.
    assert sent < 10_000 + 5 * BUFFER


async def test_a_connection_that_breaks_ends_the_other_half() -> None:
    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.transport.abort()

    async with through(breaks, rate=100_000, delay=0.01) as (reader, writer):
        writer.write(b"ping")
        assert await reader.read(-1) == b""


async def test_a_server_that_is_not_there_closes_the_connection() -> None:
    async with Relay("127.0.0.1", 1) as relay, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        with suppress(ConnectionError):
            assert await reader.read(-1) == b""
        writer.transport.abort()


async def test_connections_share_the_line() -> None:
    async def sends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(60_000))
        await writer.drain()
        writer.close()

    async with asyncio.timeout(20):
        server = await asyncio.start_server(sends, "127.0.0.1", 0)
        async with server, Relay("127.0.0.1", server.sockets[0].getsockname()[1], rate=120_000) as relay:
            began = time.monotonic()
            pairs = [await asyncio.open_connection("127.0.0.1", relay.port) for _ in range(2)]
            for got in await asyncio.gather(*(reader.read(-1) for reader, _ in pairs)):
                assert len(got) == 60_000
            seconds = time.monotonic() - began
            for _, writer in pairs:
                writer.close()
    assert relay.connections == 2
    assert 0.9 < seconds < 1.6


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError):
        Relay("127.0.0.1", 1, rate=-1)
