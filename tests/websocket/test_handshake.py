"""The opening handshake: what is asked for, what is refused before and after, and how long it may take."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.edge.sockets import ByteStream
from smolmix_web.errors import HttpError, OptionError, SmolmixError, TimeoutExpired, WebSocketError
from smolmix_web.http import Timeouts
from smolmix_web.websocket import WebSocketTimeouts, connect
from tests.http_server import PipeConnector
from tests.virtual_loop import virtual
from tests.websocket.support import Server, connector_for, echo, open_socket


@pytest.mark.feature("WebSocket", "subprotocols")
@pytest.mark.feature("WebSocket", "own headers in the handshake")
@virtual
async def test_handshake_headers() -> None:
    seen: list[Any] = []

    async def script(server: Server) -> None:
        await server.accept()
        seen.append(server.request)
        await server.frame()

    socket = await open_socket(
        script,
        {"subprotocols": ["two"]},
        protocols=["one", "two"],
        headers=[("Origin", "https://page.test"), ("X-Own", "1"), ("X-Own", "2"), ("Cookie", "a=b")],
    )
    assert socket.subprotocol == "two"
    headers = seen[0].headers
    assert (seen[0].path, headers["Host"], headers["Origin"], headers["Cookie"]) == (
        "/path?q",
        "a.test",
        "https://page.test",
        "a=b",
    )
    assert headers.get_all("X-Own") == ["1", "2"]
    assert headers["Sec-WebSocket-Version"] == "13"
    assert headers["Sec-WebSocket-Protocol"] == "one, two"
    assert headers["Sec-WebSocket-Extensions"] == "permessage-deflate; client_max_window_bits"
    assert len(headers.get_all("User-Agent")) == 1
    socket.abort()
    await asyncio.sleep(0)
    connector = connector_for(script)
    guest = await connect(LoopClock(), None, "ws://us%20er:secret@a.test/", connector=connector)
    assert seen.pop().headers["Authorization"] == "Basic dXMgZXI6c2VjcmV0" and "secret" not in guest.url
    await guest.close()
    own = await open_socket(script, headers={"user-agent": "own"})
    assert seen[1].headers.get_all("User-Agent") == ["own"] and "Sec-WebSocket-Protocol" not in seen[1].headers
    assert ("sec-websocket-accept" in dict(own.headers)) and own.subprotocol == ""
    await own.close()


def accept_value(request: bytes) -> str:
    key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")).split()[1]
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(digest).decode()


UPGRADE = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
HANDSHAKE = ("websocket_handshake", None)
REFUSALS: dict[str, tuple[str, tuple[str, str | None]]] = {
    "nothing": ("", HANDSHAKE),
    "half a line": ("HTTP/1.1 10", HANDSHAKE),
    "half a head": (UPGRADE, HANDSHAKE),
    "404 with a body": ("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", ("bad_status", "404")),
    "401": (
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
        ("bad_status", "401"),
    ),
    "403 without a length": ("HTTP/1.1 403 Forbidden\r\n\r\nfor ever", ("bad_status", "403")),
    "503 with a body that never comes": (
        "HTTP/1.1 503 Busy\r\nContent-Length: 1000000\r\n\r\n",
        ("bad_status", "503"),
    ),
    "500 chunked": ("HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n", ("bad_status", "500")),
    "a redirect": ("HTTP/1.1 302 Found\r\nLocation: ws://b/\r\nContent-Length: 0\r\n\r\n", ("bad_status", "302")),
    "200": ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ("bad_status", "200")),
    "no phrase": ("HTTP/1.1 404 \r\n\r\n", ("bad_status", "404")),
    "not HTTP": ("SSH-2.0\r\n\r\n", HANDSHAKE),
    "HTTP/1.0": ("HTTP/1.0 101 X\r\n\r\n", HANDSHAKE),
    "only an interim response": ("HTTP/1.1 100 Continue\r\n\r\n", HANDSHAKE),
    "an interim response without end": ("HTTP/1.1 103 X\r\n" + "X: y\r\n" * 20_000, HANDSHAKE),
    "interim, then a refusal": ("HTTP/1.1 102 X\r\n\r\nHTTP/1.1 404 No\r\n\r\n", ("bad_status", "404")),
    "no upgrade": ("HTTP/1.1 101 X\r\n\r\n", HANDSHAKE),
    "no Connection": ("HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n", HANDSHAKE),
    "another upgrade": ("HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", HANDSHAKE),
    "no accept": (UPGRADE + "\r\n", HANDSHAKE),
    "a wrong accept": (UPGRADE + "Sec-WebSocket-Accept: bad\r\n\r\n", HANDSHAKE),
    "accept twice": ("{good}Sec-WebSocket-Accept: {accept}\r\n\r\n", HANDSHAKE),
    "a subprotocol unasked": ("{good}Sec-WebSocket-Protocol: unasked\r\n\r\n", HANDSHAKE),
    "a subprotocol in other letters": ("{good}Sec-WebSocket-Protocol: Chat\r\n\r\n", HANDSHAKE),
    "two subprotocols": ("{good}Sec-WebSocket-Protocol: chat, more\r\n\r\n", HANDSHAKE),
    "two subprotocol lines": (
        "{good}Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: more\r\n\r\n",
        HANDSHAKE,
    ),
    "an unknown extension": ("{good}Sec-WebSocket-Extensions: unknown\r\n\r\n", HANDSHAKE),
    "deflate twice": ("{good}Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate\r\n\r\n", HANDSHAKE),
    "an unknown parameter": ("{good}Sec-WebSocket-Extensions: permessage-deflate; x\r\n\r\n", HANDSHAKE),
    "a window too large": (
        "{good}Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16\r\n\r\n",
        HANDSHAKE,
    ),
    "a header line too long": ("{good}X: " + "y" * 100_000 + "\r\n\r\n", HANDSHAKE),
    "too many headers": ("{good}" + "X: y\r\n" * 10_000 + "\r\n", HANDSHAKE),
    "a damaged header": ("{good}X y\r\n\r\n", HANDSHAKE),
}


@pytest.mark.feature("WebSocket", "refused handshakes: status, accept, subprotocol, extensions")
@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("name", REFUSALS)
def test_refused_handshakes(name: str, step: int) -> None:
    """Typed, and as soon as the head of the answer shows it: most of these servers keep the connection open."""
    answer, (code, reason) = REFUSALS[name]
    step = 997 if step and len(answer) > 1000 else step
    stays = "\r\n\r\n" in answer and name != "only an interim response"

    async def serve(stream: ByteStream) -> None:
        accept = accept_value(await stream.read())
        good = f"{UPGRADE}Sec-WebSocket-Accept: {accept}\r\n"
        data = answer.replace("{good}", good).replace("{accept}", accept).encode()
        size = step or len(data) or 1
        for start in range(0, len(data), size):
            await stream.write(data[start : start + size])
            await asyncio.sleep(0.001)
        if stays:
            await asyncio.sleep(10_000)
        await stream.close()

    @virtual
    async def run() -> None:
        connector = PipeConnector(serve)
        with pytest.raises(WebSocketError) as caught:
            await connect(LoopClock(), None, "ws://a.test/", ["chat", "more"], connector=connector)
        assert (caught.value.code, caught.value.reason, caught.value.phase) == (code, reason, "open")
        assert LoopClock().now() < 1010
        assert connector.open_count == 0

    run()


@pytest.mark.feature("WebSocket", "refused handshakes: status, accept, subprotocol, extensions")
@given(st.integers(0, 170), st.integers(0, 5), st.binary(max_size=5))
def test_a_damaged_answer_gives_a_typed_error_or_none(at: int, cut: int, put: bytes) -> None:
    """Bytes taken away and put in anywhere; then the server ends the connection."""

    async def serve(stream: ByteStream) -> None:
        accept = accept_value(await stream.read())
        answer = f"{UPGRADE}Sec-WebSocket-Accept: {accept}\r\nX: y\r\n\r\n".encode()
        await stream.write(answer[:at] + put + answer[at + cut :])
        await stream.close()

    @virtual
    async def run() -> None:
        connector = PipeConnector(serve)
        try:
            socket = await connect(LoopClock(), None, "ws://a.test/", connector=connector)
        except WebSocketError as error:
            assert error.code in ("websocket_handshake", "bad_status") and error.phase == "open"
            assert connector.open_count == 0
        else:
            assert not isinstance(await socket.receive(), str)

    run()


@pytest.mark.feature("WebSocket", "frames that come with the answer")
@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("interim", ["", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 \r\n\r\n"])
def test_frames_that_come_with_the_answer(step: int, interim: str) -> None:
    """Also behind interim responses, which say nothing about the upgrade."""

    async def serve(stream: ByteStream) -> None:
        accept = accept_value(await stream.read())
        data = f"{interim}{UPGRADE}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode() + b"\x81\x02hi\x81\x02\xff\xff"
        for start in range(0, len(data), step or len(data)):
            await stream.write(data[start : start + (step or len(data))])
            await asyncio.sleep(0)
        while await stream.read():
            pass

    @virtual
    async def run() -> None:
        socket = await connect(LoopClock(), None, "ws://a.test/", connector=PipeConnector(serve))
        assert await socket.receive() == "hi"
        await socket.receive()
        assert socket.error is not None and socket.error.code == "bad_text"

    run()


@pytest.mark.feature("WebSocket", "time limits by phase")
@pytest.mark.parametrize(
    ("timeouts", "code", "seconds"),
    [
        (None, "total_timeout", 120),
        (WebSocketTimeouts(total=9), "total_timeout", 9),
        (WebSocketTimeouts(response=7), "response_timeout", 7),
        (WebSocketTimeouts(total=None, response=200), "response_timeout", 200),
    ],
)
def test_a_server_that_does_not_answer(timeouts: WebSocketTimeouts | None, code: str, seconds: float) -> None:
    async def silent(stream: ByteStream) -> None:
        await asyncio.sleep(10_000)

    @virtual
    async def run() -> None:
        connector = PipeConnector(silent)
        before = LoopClock().now()
        with pytest.raises(TimeoutExpired) as caught:
            await connect(LoopClock(), None, "ws://a.test/", timeouts=timeouts, connector=connector)
        assert caught.value.code == code and LoopClock().now() - before == pytest.approx(seconds)
        task = asyncio.create_task(connect(LoopClock(), None, "ws://a.test/", connector=connector))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(connector.near) == 2 and connector.open_count == 0

    run()


def test_time_limits_of_a_page() -> None:
    """Milliseconds there, seconds here, over those of the tunnel; `idle` and `total` of requests mean other things."""
    base = WebSocketTimeouts.over(Timeouts(queue=7, dns=1, connect=2, tls=3, response=4, idle=5, total=6))
    assert base == WebSocketTimeouts(queue=7, dns=1, connect=2, tls=3, response=4)
    limits = WebSocketTimeouts.from_mapping(
        {"connect": 1500.5, "tls": math.inf, "idle": 3, "close": 4, "dns": None}, base
    )
    assert limits == WebSocketTimeouts(queue=7, dns=1, connect=1.5005, tls=None, response=4, idle=0.003, close=0.004)
    with pytest.raises(OptionError) as caught:
        WebSocketTimeouts.from_mapping({"open": 1})
    assert caught.value.option == "timeouts.open" and "close" in caught.value.message


@pytest.mark.feature("WebSocket", "own headers in the handshake")
@pytest.mark.parametrize(
    ("url", "options", "code"),
    [
        ("ftp://a.test/", {}, "bad_url"),
        ("ws://", {}, "bad_url"),
        ("a.test", {}, "bad_url"),
        ("ws://a.test/#part", {}, "bad_url"),
        ("ws://a.test/#", {}, "bad_url"),
        ("ws://user:secret@a.test/#part", {}, "bad_url"),
        ("ws://a.test/", {"protocols": ["a b"]}, "bad_protocol"),
        ("ws://a.test/", {"protocols": [""]}, "bad_protocol"),
        ("ws://a.test/", {"protocols": ["a", "a"]}, "bad_protocol"),
        ("ws://a.test/", {"protocols": "chat"}, "bad_protocol"),
        ("ws://a.test/", {"headers": {"Sec-WebSocket-Key": "x"}}, "forbidden_header"),
        ("ws://a.test/", {"headers": {"sec-websocket-protocol": "x"}}, "forbidden_header"),
        ("ws://a.test/", {"headers": {"Sec-WebSocket-Extensions": "x"}}, "forbidden_header"),
        ("ws://a.test/", {"headers": {"Host": "x"}}, "forbidden_header"),
        ("ws://a.test/", {"headers": {"Upgrade": "x"}}, "forbidden_header"),
        ("ws://a.test/", {"headers": {"Connection": "x"}}, "forbidden_header"),
        ("ws://a.test/", {"headers": {"X": "a\r\nY: b"}}, "bad_header"),
        ("ws://a.test/", {"headers": {"a b": "x"}}, "bad_header"),
    ],
)
def test_refused_before_anything_is_opened(url: str, options: dict[str, Any], code: str) -> None:
    @virtual
    async def run() -> None:
        connector = connector_for(echo)
        with pytest.raises(SmolmixError) as caught:
            await connect(LoopClock(), None, url, connector=connector, **options)
        assert isinstance(caught.value, (WebSocketError, HttpError))
        assert caught.value.code == code and "secret" not in str(caught.value)
        assert not connector.near

    run()


@virtual
async def test_schemes_and_ipv6_host() -> None:
    seen: list[str] = []

    async def script(server: Server) -> None:
        await server.accept()
        seen.append(server.request.headers["Host"])
        await server.frame()

    for url, opened in (("http://[2001:db8::1]:8080/", "ws://[2001:db8::1]:8080"), ("https://a.test", "wss://a.test")):
        connector = connector_for(script)
        socket = await connect(LoopClock(), None, url, connector=connector)
        assert connector.origins == [opened]
        await socket.close()
    assert seen == ["[2001:db8::1]:8080", "a.test"]
