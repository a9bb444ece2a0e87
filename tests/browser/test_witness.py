"""The proxy that notes what Firefox and WebKit ask for: nothing passes it unseen, and what passes is whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from browserkit.recording_proxy import RecordingProxy
from browserkit.server import StaticServer
from demo.recorder import Allowed, Recorder
from demo.witness import witness

HANDSHAKE = b"GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n"
HELLO = b"\x16\x03\x01\x00\x05hello"


async def say(port: int, *parts: bytes) -> bytes:
    """What a proxy answers until it closes, or the end of its first answer when there is more to say."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    for part in parts[:-1]:
        writer.write(part)
        answer += await reader.readuntil(b"\r\n\r\n")
    writer.write(parts[-1])
    writer.write_eof()
    answer += await reader.read()
    writer.close()
    return answer


async def test_a_request_is_noted_and_answered(tmp_path: Path) -> None:
    (tmp_path / "big.json").write_bytes(b"x" * 300_000)
    with StaticServer({"/": tmp_path}) as site:
        async with RecordingProxy() as proxy:
            url = f"{site.url}/big.json?a=b"
            head = f"GET {url} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n".encode()
            answer = await say(proxy.port, head)
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\n" + b"x" * 300_000)
    assert proxy.urls == [url] and site.requests == ["/big.json?a=b"]


@pytest.mark.parametrize(("said", "scheme", "path"), [(HANDSHAKE, "ws", "/chat"), (HELLO, "https", "/")])
async def test_what_is_inside_a_tunnel(said: bytes, scheme: str, path: str) -> None:
    heard = b""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard = await reader.read(len(said))
        writer.write(heard[::-1])
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    authority = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with RecordingProxy() as proxy:
        answer = await say(proxy.port, f"CONNECT {authority} HTTP/1.1\r\n\r\n".encode(), said)
    server.close()
    assert heard == said and answer.endswith(said[::-1])
    assert proxy.urls == [f"{scheme}://{authority}{path}"]


async def test_a_name_that_leads_nowhere_is_noted() -> None:
    async with witness("firefox") as seen:
        assert seen.proxy is not None
        answer = await say(seen.proxy, b"GET http://origin.invalid/x HTTP/1.1\r\nHost: origin.invalid\r\n\r\n")
        await say(seen.proxy, b"GET http://detectportal.firefox.com.invalid/ HTTP/1.1\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert seen.mentions("origin.invalid") and not seen.mentions("invalid")
        others = seen.others(Recorder(Allowed("http://127.0.0.1:1", (), ())))
        assert others == ["http://detectportal.firefox.com.invalid/", "http://origin.invalid/x"]
