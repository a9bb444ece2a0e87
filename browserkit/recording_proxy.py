"""A forward proxy on 127.0.0.1 that writes down every URL it is asked for.

Firefox and WebKit have no network log to be read afterwards, as Chromium has, and their drivers do not tell of all
that a worker opens. A browser that is sent through this proxy shows it each request and each WebSocket, whoever made
it; and it looks up no name by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

HEAD_LIMIT = 65_536
PIECE = 65_536
TLS_HANDSHAKE = 0x16  # the first byte of what a client of TLS sends


class RecordingProxy:
    """`urls` in order of arrival. What is said by TLS is known by host and port only."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> RecordingProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=HEAD_LIMIT)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the proxy's end, and so this task's
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, _, fields = head.partition(b"\r\n")
        method, target, version = line.decode("latin-1").split(" ")
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            first = await reader.read(PIECE)
            self.urls.append(_inner_url(target, first))
            host, _, port = target.rpartition(":")
            await _relay(reader, writer, host.strip("[]"), int(port), first)
            return
        self.urls.append(target)
        url = urlsplit(target)
        path = target.partition("//")[2].partition("/")[2]
        if b"\r\nupgrade:" in b"\r\n" + fields.lower():
            sent = fields
        else:  # one request for each connection, so that the next one is seen too
            kept = [
                field for field in fields.split(b"\r\n") if field and b"connection" not in field.lower().split(b":")[0]
            ]
            sent = b"\r\n".join([*kept, b"Connection: close", b"", b""])
        first = f"{method} /{path} {version}\r\n".encode("latin-1") + sent
        await _relay(reader, writer, url.hostname or "", url.port or 80, first)


def _inner_url(authority: str, first: bytes) -> str:
    """What is asked for inside a tunnel: the URL of a WebSocket's handshake, or the address of a TLS server."""
    if first[:1] == bytes([TLS_HANDSHAKE]):
        return f"https://{authority}/"
    words = first.partition(b"\r\n")[0].decode("latin-1").split(" ")
    return f"ws://{authority}{words[1] if len(words) == 3 else '/'}"


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, first: bytes
) -> None:
    try:
        upstream, out = await asyncio.open_connection(host, port)
    except OSError:
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        return
    try:
        out.write(first)
        towards = asyncio.create_task(_copy(reader, out))
        try:
            await _copy(upstream, writer)
        finally:
            towards.cancel()
            await asyncio.gather(towards, return_exceptions=True)
    finally:
        out.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(PIECE):
            target.write(piece)
            await target.drain()
        target.write_eof()
