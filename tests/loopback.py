"""Real sockets of this machine in place of the tunnel's: for tests against servers that others run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from smolmix_web.dial import Connected, TlsInfo
from smolmix_web.edge.tls import TlsStream
from smolmix_web.errors import ConnectionReset, SmolmixError, StateError
from smolmix_web.http import Timeouts, Url


class SocketStream:
    """A socket of this machine as a `ByteStream`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._aborted: SmolmixError | None = None

    async def read(self, limit: int = 65536) -> bytes:
        try:
            data = await self._reader.read(limit)
        except OSError as error:
            raise self._aborted or ConnectionReset(str(error)) from None
        if not data and self._aborted is not None:
            raise self._aborted
        return data

    async def write(self, data: bytes) -> None:
        if self._aborted is not None:
            raise self._aborted
        self._writer.write(data)
        try:
            await self._writer.drain()
        except OSError as error:
            raise self._aborted or ConnectionReset(str(error)) from None

    async def send_eof(self) -> None:
        self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()

    def abort(self, error: SmolmixError | None = None) -> None:
        self._aborted = error or StateError("aborted")
        self._writer.transport.abort()

    def is_quiet(self) -> bool:
        return not self._writer.is_closing() and not self._reader.at_eof()

    def watch(self, callback: Callable[[], None] | None) -> None:
        """A pool finds out when it wants to use the connection."""


class LoopbackConnector:
    """Every origin is one port of 127.0.0.1; `roots` are trusted for TLS."""

    def __init__(self, port: int, roots: Sequence[str] = ()) -> None:
        self._port = port
        self._roots = roots
        self.connections = 0

    async def connect(self, url: Url, timeouts: Timeouts, alpn: Sequence[str] = ("http/1.1",)) -> Connected:
        stream = SocketStream(*await asyncio.open_connection("127.0.0.1", self._port))
        self.connections += 1
        if not url.secure:
            return Connected(stream)
        tls = await TlsStream.wrap(stream, url.host, alpn=alpn, extra_roots=self._roots, timeout=timeouts.tls)
        return Connected(tls, TlsInfo(tls.version, tls.cipher, tls.alpn))
