"""TcpStream over two stacks in virtual time."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address

import pytest

from smolmix_web.edge.sockets import TcpStream
from smolmix_web.errors import (
    Cancelled,
    ConnectionRefused,
    ConnectionReset,
    NetworkError,
    StateError,
    TimeoutExpired,
    TunnelError,
)
from smolmix_web.netstack import Endpoint
from tests.virtual_loop import virtual
from tests.wire import SERVER, SERVER6, Wire


async def echo(stream: TcpStream) -> None:
    while data := await stream.read():
        await stream.write(data)
    await stream.close()


async def hold(stream: TcpStream) -> None:
    await asyncio.sleep(100_000)


@virtual
async def test_echo_and_orderly_close() -> None:
    wire = Wire()
    wire.listen(7, echo)
    stream = await TcpStream.connect(wire.client, SERVER, 7)
    assert stream.remote == Endpoint(SERVER, 7)
    assert stream.local.address == IPv4Address("10.0.0.1")
    message = bytes(range(256)) * 4000
    writing = asyncio.create_task(stream.write(message))
    got = b""
    while len(got) < len(message):
        piece = await stream.read(30_000)
        assert 0 < len(piece) <= 30_000
        got += piece
    await writing
    assert got == message and stream.is_quiet()
    await stream.send_eof()
    await stream.send_eof()
    assert await stream.read() == b""
    assert await stream.read() == b""
    with pytest.raises(StateError):
        await stream.write(b"more")
    await stream.close()
    with pytest.raises(StateError):
        await stream.read()
    await asyncio.sleep(120)
    assert not wire.client.stack.connections and not wire.server.stack.connections


@virtual
async def test_ipv6() -> None:
    wire = Wire(ipv6=True)
    wire.listen(7, echo)
    stream = await TcpStream.connect(wire.client, SERVER6, 7)
    await stream.write(b"six")
    assert await stream.read() == b"six"
    await stream.close()


@virtual
async def test_what_was_written_before_close_arrives() -> None:
    got: list[bytes] = []

    async def collect(stream: TcpStream) -> None:
        while data := await stream.read():
            got.append(data)
        await stream.close()

    wire = Wire()
    wire.listen(9, collect)
    stream = await TcpStream.connect(wire.client, SERVER, 9)
    await stream.write(bytes(300_000))
    await stream.close()
    await asyncio.sleep(60)
    assert sum(map(len, got)) == 300_000


@virtual
async def test_refused() -> None:
    wire = Wire()
    with pytest.raises(ConnectionRefused) as caught:
        await TcpStream.connect(wire.client, SERVER, 81)
    assert caught.value.phase == "connect"
    assert not wire.client.stack.connections


@virtual
async def test_no_address_of_that_family() -> None:
    wire = Wire()
    with pytest.raises(NetworkError) as caught:
        await TcpStream.connect(wire.client, SERVER6, 7)
    assert (caught.value.code, caught.value.phase) == ("no_family", "connect")


@virtual
async def test_connect_deadline_frees_the_flow() -> None:
    wire = Wire()
    wire.client.deliver = False
    before = wire.client.now()
    with pytest.raises(TimeoutExpired) as caught:
        await TcpStream.connect(wire.client, SERVER, 7, timeout=10)
    assert (caught.value.code, caught.value.phase) == ("connect_timeout", "connect")
    assert wire.client.now() - before == pytest.approx(10)
    assert not wire.client.stack.connections


@virtual
async def test_cancelling_connect_frees_the_flow() -> None:
    wire = Wire()
    wire.client.deliver = False
    task = asyncio.create_task(TcpStream.connect(wire.client, SERVER, 7))
    await asyncio.sleep(1)
    assert len(wire.client.stack.connections) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not wire.client.stack.connections


@virtual
async def test_policy_denial_of_the_exit() -> None:
    wire = Wire()
    wire.client.deliver = False
    task = asyncio.create_task(TcpStream.connect(wire.client, SERVER, 25))
    await asyncio.sleep(1)
    wire.client.stack.refuse(Endpoint(SERVER, 25), "policy")
    with pytest.raises(ConnectionRefused) as caught:
        await task
    assert (caught.value.code, caught.value.phase) == ("policy_denied", "connect")


@virtual
async def test_end_and_reset_are_distinct_and_data_comes_first() -> None:
    async def ends(stream: TcpStream) -> None:
        await stream.write(b"data")
        await stream.close()

    async def resets(stream: TcpStream) -> None:
        await stream.write(b"data")
        await asyncio.sleep(5)
        stream.abort()

    wire = Wire()
    wire.listen(1, ends)
    wire.listen(2, resets)
    stream = await TcpStream.connect(wire.client, SERVER, 1)
    await asyncio.sleep(20)
    assert not stream.is_quiet()
    assert [await stream.read(), await stream.read()] == [b"data", b""]
    await stream.close()
    stream = await TcpStream.connect(wire.client, SERVER, 2)
    await asyncio.sleep(20)
    assert await stream.read() == b"data"
    for _ in range(2):
        with pytest.raises(ConnectionReset):
            await stream.read()
    with pytest.raises(ConnectionReset):
        await stream.write(b"x")


@virtual
async def test_backpressure_without_polling() -> None:
    """A writer into a full window sleeps: the loop is not woken for it."""
    wire = Wire()
    wire.listen(7, hold)
    stream = await TcpStream.connect(wire.client, SERVER, 7)
    task = asyncio.create_task(stream.write(bytes(50_000_000)))
    # A scaled window is told in steps: what lies below one is filled by the probes, byte by byte.
    await asyncio.sleep(500)
    before = wire.client.wakes
    await asyncio.sleep(1000)
    assert not task.done()
    assert wire.client.wakes - before < 100  # zero-window probes
    stream.abort()
    with pytest.raises(Cancelled):
        await task
    assert wire.client.open_connections() == 0


@virtual
async def test_abort_tells_both_sides() -> None:
    outcome: list[BaseException] = []

    async def reads(stream: TcpStream) -> None:
        try:
            await stream.read()
        except NetworkError as error:
            outcome.append(error)

    wire = Wire()
    wire.listen(7, reads)
    stream = await TcpStream.connect(wire.client, SERVER, 7)
    reading = asyncio.create_task(stream.read())
    await asyncio.sleep(1)
    stream.abort(TunnelError("the tunnel is gone"))
    with pytest.raises(TunnelError):
        await reading
    with pytest.raises(TunnelError):
        await stream.write(b"x")
    await asyncio.sleep(5)
    assert isinstance(outcome[0], ConnectionReset)
    assert not wire.client.stack.connections and not wire.server.stack.connections


@virtual
async def test_closing_wakes_a_reader() -> None:
    wire = Wire()
    wire.listen(7, hold)
    stream = await TcpStream.connect(wire.client, SERVER, 7)
    reading = asyncio.create_task(stream.read())
    await asyncio.sleep(1)
    await stream.close()
    with pytest.raises(StateError):
        await reading


@virtual
async def test_the_end_of_the_tunnel_reaches_every_waiter() -> None:
    wire = Wire()
    wire.listen(7, hold)
    stream = await TcpStream.connect(wire.client, SERVER, 7)
    reading = asyncio.create_task(stream.read())
    wire_full = asyncio.create_task(stream.write(bytes(10_000_000)))
    await asyncio.sleep(20)
    wire.client.stack.abort_all(TunnelError("the gateway is gone"), wire.client.now())
    for task in (reading, wire_full):
        with pytest.raises(TunnelError):
            await task


@virtual
async def test_cancelling_a_read_loses_nothing() -> None:
    async def later(stream: TcpStream) -> None:
        await asyncio.sleep(10)
        await stream.write(b"later")
        await asyncio.sleep(100)

    wire = Wire()
    wire.listen(7, later)
    stream = await TcpStream.connect(wire.client, SERVER, 7)
    task = asyncio.create_task(stream.read())
    await asyncio.sleep(1)
    with pytest.raises(StateError):
        await stream.read()  # one reader at a time
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await stream.read() == b"later"
    stream.abort()


@virtual
async def test_watching_an_idle_stream() -> None:
    async def ends_later(stream: TcpStream) -> None:
        await asyncio.sleep(10)
        await stream.close()

    wire = Wire()
    wire.listen(7, ends_later)
    stream = await TcpStream.connect(wire.client, SERVER, 7)
    seen: list[bool] = []
    stream.watch(lambda: seen.append(stream.is_quiet()))
    assert stream.is_quiet()
    await asyncio.sleep(20)
    assert seen and seen[-1] is False
    await stream.close()


@virtual
async def test_few_task_switches_per_byte() -> None:
    """A bulk transfer wakes its reader per burst, not per packet."""
    wire = Wire(delay=1.0)

    async def send(stream: TcpStream) -> None:
        await stream.write(bytes(3_000_000))
        await stream.close()

    wire.listen(7, send)
    stream = await TcpStream.connect(wire.client, SERVER, 7)
    reads = total = 0
    while data := await stream.read():
        reads += 1
        total += len(data)
    assert total == 3_000_000
    assert reads <= wire.server.sent
    await stream.close()
