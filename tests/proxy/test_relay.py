"""Connections through the SOCKS front: half close, resets, backpressure, bounds, a graceful stop, no traces."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from smolmix_web.errors import (
    AddressError,
    ConnectionRefused,
    DnsError,
    HostUnreachable,
    NetworkError,
    OptionError,
    SmolmixError,
    StateError,
    TimeoutExpired,
)
from smolmix_web.proxy.replies import http_status
from smolmix_web.proxy.server import Credentials, Place, ProxyOptions
from tests.proxy.stand_in import ANYWHERE, Tunnel, proxy_to, socks

pytestmark = pytest.mark.cpython

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(OSError):
                await handler(reader, writer)
        finally:
            tasks.discard(task)
            writer.close()

    listener = await asyncio.start_server(attend, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def after_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says how much came, once the client's half has ended."""
    size = 0
    while data := await reader.read(65_536):
        size += len(data)
    writer.write(str(size).encode())
    await writer.drain()


async def test_half_close_both_ways() -> None:
    tunnel = Tunnel()
    async with server(after_the_end) as port, proxy_to(tunnel, socks=ANYWHERE) as proxy:
        tunnel.ports["a.test", 80] = port
        code, reader, writer = await socks(proxy, "a.test", 80)
        assert code == 0
        writer.write(bytes(300_000))
        writer.write_eof()
        assert await reader.read() == b"300000"
        assert (proxy.statistics.bytes_sent, proxy.statistics.bytes_received) == (300_000, 6)
        writer.close()


async def test_data_sent_before_the_reply_arrives() -> None:
    tunnel = Tunnel()
    async with server(echo) as port, proxy_to(tunnel, socks=ANYWHERE) as proxy:
        tunnel.ports["a.test", 80] = port
        reader, writer = await asyncio.open_connection(*proxy.places["socks"])
        writer.write(b"\x05\x01\x00\x05\x01\x00\x03\x06a.test\x00\x50early")
        assert (await reader.readexactly(12))[3] == 0
        assert await reader.readexactly(5) == b"early"
        writer.close()


async def test_a_reset_reaches_the_other_side() -> None:
    tunnel = Tunnel()
    reset = asyncio.Event()

    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()
        reset.set()

    lost = asyncio.Event()

    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(65_536):
                pass
        finally:
            lost.set()

    async with server(resets) as bad, server(waits) as good, proxy_to(tunnel, socks=ANYWHERE) as proxy:
        tunnel.ports.update({("bad.test", 80): bad, ("good.test", 80): good})
        _, reader, writer = await socks(proxy, "bad.test", 80)
        writer.write(b"x")
        await reset.wait()
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
        _, _, writer = await socks(proxy, "good.test", 80)
        writer.write(b"x")
        await writer.drain()
        writer.transport.abort()
        async with asyncio.timeout(5):
            await lost.wait()


async def test_a_slow_reader_holds_the_sender_back() -> None:
    tunnel = Tunnel()
    sent = 0

    async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(2_000):
            writer.write(bytes(65_536))
            await writer.drain()
            sent += 65_536

    async with server(floods) as port, proxy_to(tunnel, socks=ANYWHERE) as proxy:
        tunnel.ports["a.test", 80] = port
        _, reader, writer = await socks(proxy, "a.test", 80)
        before = -1
        while before != sent:  # until nothing moves any more
            before = sent
            await asyncio.sleep(0.2)
        assert 0 < sent < 100 << 20, "what the kernel buffers, not what there is"
        assert proxy.statistics.bytes_received < 16 << 20
        size = 0
        while data := await reader.read(1 << 20):
            size += len(data)
        assert size == 2_000 * 65_536
        writer.close()


CODES: list[tuple[SmolmixError, int, int]] = [
    (ConnectionRefused("refused"), 5, 502),
    (NetworkError("policy", code="policy_denied"), 2, 403),
    (HostUnreachable("unreachable"), 4, 502),
    (NetworkError("no way", code="network_unreachable"), 3, 502),
    (NetworkError("far", code="ttl_exceeded"), 6, 502),
    (AddressError("no IPv6"), 8, 502),
    (DnsError("none", code="dns_not_found", phase="dns"), 4, 502),
    (DnsError("slow", code="dns_timeout", phase="dns"), 4, 504),
    (DnsError("onion", code="special_name", phase="dns"), 2, 403),
    (TimeoutExpired("slow", phase="connect"), 6, 504),
    (TimeoutExpired("slow", phase="tunnel"), 3, 503),
    (StateError("down", code="tunnel_down"), 3, 503),
    (SmolmixError("odd"), 1, 502),
]


@pytest.mark.parametrize(("error", "reply", "status"), CODES, ids=lambda value: getattr(value, "code", str(value)))
async def test_errors_in_the_words_of_socks_and_http(error: SmolmixError, reply: int, status: int) -> None:
    assert http_status(error)[0] == status
    tunnel = Tunnel()
    tunnel.errors["bad.test"] = error
    async with proxy_to(tunnel, socks=ANYWHERE) as proxy:
        code, reader, writer = await socks(proxy, "bad.test", 80)
        assert code == reply and await reader.read() == b""
        assert proxy.statistics.failed == 1 and proxy.statistics.open == 0
        writer.close()


async def test_user_names_keep_clients_apart() -> None:
    tunnel = Tunnel()
    async with server(echo) as port, proxy_to(tunnel, socks=ANYWHERE) as proxy:
        tunnel.ports["a.test", 80] = port
        for user in ("", "alice", "bob"):
            assert (await socks(proxy, "a.test", 80, user))[0] == 0
    assert len({isolation for _, _, isolation in tunnel.asked}) == 3


async def test_credentials_are_asked_for() -> None:
    tunnel = Tunnel()
    async with proxy_to(tunnel, socks=ANYWHERE, credentials=Credentials("u", "p")) as proxy:
        for said, heard in ((b"\x05\x01\x00", b"\x05\xff"), (b"\x05\x01\x02\x01\x01u\x01q", b"\x05\x02\x01\x01")):
            reader, writer = await asyncio.open_connection(*proxy.places["socks"])
            writer.write(said)
            assert await reader.read() == heard
            writer.close()
    assert tunnel.asked == []


async def test_whoever_leaves_gives_up_what_was_being_opened() -> None:
    tunnel = Tunnel()
    async with proxy_to(tunnel, socks=ANYWHERE) as proxy:
        _, writer = await asyncio.open_connection(*proxy.places["socks"])
        writer.write(b"\x05\x01\x00\x05\x01\x00\x03\x0bsilent.test\x00\x50")
        while not tunnel.asked:
            await asyncio.sleep(0.01)
        writer.transport.abort()
        async with asyncio.timeout(5):
            while proxy.statistics.open:
                await asyncio.sleep(0.01)


async def test_no_more_than_so_many_at_once() -> None:
    tunnel = Tunnel()
    async with server(echo) as port, proxy_to(tunnel, socks=ANYWHERE, max_connections=2) as proxy:
        tunnel.ports["a.test", 80] = port
        kept = [await socks(proxy, "a.test", 80) for _ in range(2)]
        third = asyncio.create_task(socks(proxy, "a.test", 80))
        await asyncio.sleep(0.1)
        assert not third.done() and (proxy.statistics.open, proxy.statistics.waiting) == (2, 1)
        kept[0][2].close()
        code, _, writer = await third
        assert code == 0
        writer.close()
        kept[1][2].close()


async def test_a_stop_lets_what_is_under_way_end() -> None:
    tunnel = Tunnel()
    async with server(echo) as port:
        tunnel.ports["a.test", 80] = port
        async with proxy_to(tunnel, socks=ANYWHERE) as proxy:
            _, reader, writer = await socks(proxy, "a.test", 80)
            closing = asyncio.create_task(proxy.close(5.0))
            await asyncio.sleep(0.05)
            with pytest.raises(OSError):
                await asyncio.open_connection(*proxy.places["socks"])
            writer.write(b"last words")
            writer.write_eof()
            assert await reader.read() == b"last words"
            writer.close()
            async with asyncio.timeout(2):
                await closing
        async with proxy_to(tunnel, socks=ANYWHERE) as proxy:
            _, reader, writer = await socks(proxy, "a.test", 80)
            await proxy.close(0.1)
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"socks": Place("0.0.0.0", 0)},
        {"http": Place("192.0.2.1", 0)},
        {"dns": Place("::", 0)},
        {"socks": Place("localhost", 0)},
        {"socks": ANYWHERE, "max_connections": 0},
    ],
)
def test_only_loopback_unless_told(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        ProxyOptions(**options).check()  # type: ignore[arg-type]


def test_others_when_told() -> None:
    ProxyOptions(socks=Place("0.0.0.0", 1080), anywhere=True).check()


@pytest.mark.feature("Proxy", "1,000 short connections leave nothing behind")
async def test_a_thousand_short_connections_leave_nothing_behind() -> None:
    tunnel = Tunnel()
    async with server(echo) as port, proxy_to(tunnel, socks=ANYWHERE) as proxy:
        tunnel.ports["a.test", 80] = port
        await one(proxy, 0)
        tunnel.streams.clear()
        await asyncio.sleep(0.1)
        tasks, files = len(asyncio.all_tasks()), len(os.listdir("/dev/fd"))
        for start in range(0, 1_000, 50):
            await asyncio.gather(*(one(proxy, start + number) for number in range(50)))
            tunnel.streams.clear()
            tunnel.asked.clear()
        async with asyncio.timeout(5):
            while len(asyncio.all_tasks()) > tasks or len(os.listdir("/dev/fd")) > files:
                await asyncio.sleep(0.05)
        counts = proxy.statistics
        assert (counts.open, counts.waiting, counts.turned_away, counts.connections) == (0, 0, 0, 1_001)
        assert proxy._tasks == set()


async def one(proxy: object, number: int) -> None:
    """Every third resets, every fifth says nothing at all."""
    _, reader, writer = await socks(proxy, "a.test", 80)  # type: ignore[arg-type]
    if number % 5:
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
    if number % 3:
        writer.write_eof()
        await reader.read()
        writer.close()
        await writer.wait_closed()
    else:
        writer.transport.abort()
