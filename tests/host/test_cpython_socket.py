"""The gateway's WebSocket under CPython, on real sockets: peers that vanish, take nothing, or speak nonsense.

Nothing may be written to a socket that is gone (asyncio complains of that), `socket_closed` comes exactly once, and no
socket stays open for a peer that does not care.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
import trustme
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from smolmix_web.host import cpython
from smolmix_web.host.cpython import CPythonHost
from tests.tls_server import server_context

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(30)]
SCHEMES = pytest.mark.parametrize("peer", ["ws", "wss"], indirect=True)


class Events:
    """What the owner was told, in order; `on_message` may act from inside."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.messages: list[bytes | str] = []
        self.opened, self.closed = asyncio.Event(), asyncio.Event()
        self.on_closed: Callable[[], None] = lambda: None

    def socket_opened(self) -> None:
        self.told.append("opened")
        self.opened.set()

    def socket_message(self, frame: bytes | str) -> None:
        self.told.append("message")
        self.messages.append(frame)

    def socket_closed(self, reason: str) -> None:
        self.told.append(f"closed: {reason}")
        self.closed.set()
        self.on_closed()


class Peer(asyncio.Protocol):
    """A gateway's end that does only what a test lets it do."""

    def __init__(self) -> None:
        self.answers = True  # the upgrade
        self.transport: asyncio.Transport
        self.protocol = ServerProtocol()
        self.received = 0
        self.connected, self.lost = asyncio.Event(), asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.connected.set()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Request) and self.answers:
                self.protocol.send_response(self.protocol.accept(event))
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()

    def flush(self) -> None:
        for piece in self.protocol.data_to_send():
            if piece:
                self.transport.write(piece)

    @property
    def raw(self) -> socket.socket:
        found: socket.socket = self.transport.get_extra_info("socket")
        return found

    def reset(self) -> None:
        """RST at once."""
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Place:
    """A listening peer and the host that knows its certificate."""

    def __init__(self, host: CPythonHost, url: str, peer: Peer) -> None:
        self.host, self.url, self.peer = host, url, peer
        self.events = Events()

    def open(self) -> cpython._WebSocket:
        handle = self.host.open_websocket(self.url, self.events)
        assert isinstance(handle, cpython._WebSocket)
        return handle

    async def opened(self) -> cpython._WebSocket:
        handle = self.open()
        await self.events.opened.wait()
        return handle


@pytest_asyncio.fixture
async def peer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    authority = trustme.CA()
    roots = tmp_path_factory.mktemp("roots") / "ca.pem"
    authority.cert_pem.write_to_path(str(roots))
    secure = getattr(request, "param", "ws") == "wss"
    context = server_context(authority.issue_cert("localhost"), alpn=()) if secure else None
    far = Peer()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)  # of the connections too
    listener.bind(("127.0.0.1", 0))
    server = await asyncio.get_running_loop().create_server(lambda: far, sock=listener, ssl=context)
    port = listener.getsockname()[1]
    url = f"wss://localhost:{port}/" if secure else f"ws://127.0.0.1:{port}/"
    yield Place(CPythonHost(ca_file=str(roots)), url, far)
    server.close()
    if hasattr(far, "transport"):
        far.transport.abort()


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@SCHEMES
async def test_frames_go_both_ways(peer: Place) -> None:
    handle = await peer.opened()
    handle.send("text")
    handle.send(b"bytes" * 1000)
    peer.peer.protocol.send_text("für".encode())
    peer.peer.protocol.send_binary(b"back")
    peer.peer.flush()
    while len(peer.events.messages) < 2:
        await asyncio.sleep(0.01)
    assert peer.events.messages == ["für", b"back"]
    handle.close()
    await peer.events.closed.wait()
    assert peer.events.told[-1] == "closed: closed by us"
    await peer.peer.lost.wait()
    assert peer.peer.protocol.close_rcvd is not None, "with a close frame"


@SCHEMES
@pytest.mark.parametrize("end", ["reset", "closes", "half-closes", "close frame"])
async def test_nothing_is_written_to_a_socket_that_is_gone(
    peer: Place, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The owner learns of the end in a later turn; until then it may go on sending as much as it likes."""
    handle = await peer.opened()
    for _ in range(3):
        handle.send(bytes(2000))
    match end:
        case "reset":
            peer.peer.reset()
        case "closes":
            peer.peer.transport.close()
        case "half-closes":
            peer.peer.raw.shutdown(socket.SHUT_WR)
        case _:
            peer.peer.protocol.send_close(1001)
            peer.peer.flush()
    for _ in range(400):
        for _ in range(20):
            handle.send(bytes(2000))
        if peer.events.closed.is_set():
            break
        await asyncio.sleep(0.001)
    for _ in range(20):
        handle.send(bytes(2000))
    await turns()
    handle.close()
    await turns()
    assert [told for told in peer.events.told if told.startswith("closed")] == peer.events.told[-1:]
    assert complaints(caplog) == [] and handle.buffered == 0


@SCHEMES
async def test_a_socket_that_breaks_while_we_write_is_told_in_a_later_turn(
    peer: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """The transport learns it from the operating system in the middle of a row of frames."""
    handle = await peer.opened()
    inside: list[bool] = []
    sending = False
    peer.events.on_closed = lambda: inside.append(sending)
    assert handle._socket is not None
    handle._socket.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    sending = True
    for _ in range(50):
        handle.send(bytes(2000))
    sending = False
    await peer.events.closed.wait()
    await turns()
    assert inside == [False] and complaints(caplog) == []


@SCHEMES
@pytest.mark.parametrize("action", ["close", "abort"])
async def test_writes_after_our_own_end_are_void(peer: Place, action: str, caplog: pytest.LogCaptureFixture) -> None:
    handle = await peer.opened()
    peer.events.on_closed = lambda: [handle.send(bytes(100)) for _ in range(20)] and None
    if action == "close":
        handle.close()
        handle.close()
    else:
        assert handle._socket is not None
        handle._socket.abort()
    for _ in range(20):
        handle.send(bytes(2000))
    await peer.events.closed.wait()
    await turns()
    assert peer.events.told.count("opened") == 1 and len(peer.events.told) == 2
    assert complaints(caplog) == []


@SCHEMES
async def test_what_waits_is_counted_to_the_last_buffer(peer: Place) -> None:
    """A gateway that does not read: what the kernel does not take stands in `buffered`, with TLS as without."""
    handle = await peer.opened()
    assert handle._socket is not None
    handle._socket.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    peer.peer.transport.pause_reading()
    await turns()
    for _ in range(500):
        handle.send(bytes(2400))
        await asyncio.sleep(0)
    kernel = 500 * 2400 - handle.buffered
    assert 0 < kernel < 400_000 and handle.buffered > 800_000
    before = handle.buffered
    handle.send(bytes(2400))
    assert handle.buffered >= before + 2400, "each byte from the first"
    peer.peer.transport.resume_reading()
    while handle.buffered:
        await asyncio.sleep(0.01)
    handle.close()
    await peer.events.closed.wait()


@SCHEMES
@pytest.mark.parametrize("end", ["we close", "the peer half-closes"])
async def test_a_peer_that_takes_nothing_keeps_no_socket(
    peer: Place, end: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cpython, "_CLOSE_TIMEOUT", 0.2)
    handle = await peer.opened()
    assert handle._socket is not None
    ours: socket.socket = handle._socket.get_extra_info("socket")
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    peer.peer.transport.pause_reading()
    await turns()
    for _ in range(500):
        handle.send(bytes(2400))
    assert handle.buffered > 500_000
    if end == "we close":
        handle.close()
    else:
        peer.peer.raw.shutdown(socket.SHUT_WR)
    async with asyncio.timeout(2):
        await peer.events.closed.wait()
        while ours.fileno() != -1:
            await asyncio.sleep(0.02)
    assert handle.buffered == 0 and complaints(caplog) == []


@SCHEMES
@pytest.mark.parametrize("when", ["at once", "before the upgrade", "in the upgrade"])
async def test_closing_while_it_opens(peer: Place, when: str, caplog: pytest.LogCaptureFixture) -> None:
    peer.peer.answers = False
    handle = peer.open()
    handle.send(b"too early")
    if when != "at once":
        await peer.peer.connected.wait()
    if when == "in the upgrade":
        while not peer.peer.received:
            await asyncio.sleep(0.01)
    handle.close()
    handle.send(b"too late")
    await peer.events.closed.wait()
    await turns(50)
    assert peer.events.told == ["closed: closed by us"] and complaints(caplog) == []
    if when != "at once":
        async with asyncio.timeout(5):
            await peer.peer.lost.wait()


async def test_a_tls_server_that_is_silent(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It takes the connection and never answers our hello: the deadline of opening ends it, and the socket."""
    monkeypatch.setattr(cpython, "_OPEN_TIMEOUT", 0.3)
    monkeypatch.setattr(cpython, "_CLOSE_TIMEOUT", 0.1)
    silent = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    events = Events()
    CPythonHost().open_websocket(f"wss://127.0.0.1:{silent.sockets[0].getsockname()[1]}/", events)
    async with asyncio.timeout(5):
        await events.closed.wait()
    await asyncio.sleep(0.2)
    silent.close()
    assert events.told == ["closed: no connection in 0.3 s"] and complaints(caplog) == []


@pytest.mark.parametrize(
    "url",
    [
        "ws://127.0.0.1:1/",
        "ws://127.0.0.1:99999/",
        "wss://127.0.0.1:1/",
        "ws://" + "a" * 70 + ".test/",
        "ws://a..test/",
        "http://127.0.0.1/",
        "nonsense",
    ],
)
async def test_what_cannot_be_reached_is_told_at_once(url: str, caplog: pytest.LogCaptureFixture) -> None:
    events = Events()
    CPythonHost().open_websocket(url, events)
    async with asyncio.timeout(5):
        await events.closed.wait()
    await turns()
    assert len(events.told) == 1 and events.told[0].startswith("closed: cannot connect: ")
    assert complaints(caplog) == []


async def test_a_certificate_that_is_not_trusted(peer: Place) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=context)
    events = Events()
    peer.host.open_websocket(f"wss://localhost:{server.sockets[0].getsockname()[1]}/", events)
    await events.closed.wait()
    server.close()
    assert "certificate" in events.told[0].lower() and len(events.told) == 1


@SCHEMES
async def test_a_text_that_is_not_utf8_ends_the_connection(peer: Place, caplog: pytest.LogCaptureFixture) -> None:
    await peer.opened()
    bad = Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=False)
    good = Frame(Opcode.TEXT, b"after").serialize(mask=False)
    peer.peer.transport.write(bad + good)
    await peer.events.closed.wait()
    assert peer.events.messages == [] and "1007" in peer.events.told[-1] and complaints(caplog) == []
