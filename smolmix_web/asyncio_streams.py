"""Streams of the tunnel in asyncio's shapes: a transport for any protocol, and the pair of reader and writer.

What expects asyncio expects `OSError`: the tunnel's errors become such, with the tunnel's own as their cause.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from .dial import Connected
from .errors import (
    AddressError,
    ConnectionRefused,
    ConnectionReset,
    DnsError,
    HostUnreachable,
    SmolmixError,
    TimeoutExpired,
    TlsError,
    TunnelError,
)

PIECE = 65_536
HIGH_WATER, LOW_WATER = 65_536, 16_384  # bytes that wait to be written, as asyncio has them

P = TypeVar("P", bound=asyncio.BaseProtocol)
T = TypeVar("T")


def as_os_error(error: SmolmixError) -> OSError:
    """The nearest that sockets know."""
    made: OSError
    if isinstance(error, DnsError):
        made = socket.gaierror(socket.EAI_NONAME, error.message)
    elif isinstance(error, TimeoutExpired):
        made = TimeoutError(errno.ETIMEDOUT, error.message)
    else:
        made = OSError(next((number for kind, number in _NUMBERS if isinstance(error, kind)), errno.EIO), error.message)
    made.__cause__ = error
    return made


_NUMBERS: tuple[tuple[type[SmolmixError], int], ...] = (
    (ConnectionRefused, errno.ECONNREFUSED),
    (ConnectionReset, errno.ECONNRESET),
    (HostUnreachable, errno.EHOSTUNREACH),
    (AddressError, errno.EADDRNOTAVAIL),
    (TunnelError, errno.ENETDOWN),
    (TlsError, errno.EPROTO),
)


class StreamTransport(asyncio.Transport):
    """A stream of the tunnel as a transport; made and started by `attach`.

    Two tasks, one for each direction; what waits to be written is bounded by the protocol's obedience, as in asyncio.
    """

    _start_tls_compatible = True  # what loop.start_tls looks for

    def __init__(self, connected: Connected, protocol: asyncio.BaseProtocol) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream = connected.stream
        self._protocol: Any = protocol
        self._buffer = bytearray()
        self._written = asyncio.Event()
        self._resumed = asyncio.Event()
        self._resumed.set()
        self._paused = False
        self._eof = self._closing = self._lost = False
        self._high, self._low = HIGH_WATER, LOW_WATER
        extra: dict[str, Any] = {"tls": connected.tls}
        for name, endpoint in (("sockname", connected.local), ("peername", connected.remote)):
            if endpoint is not None:
                extra[name] = (str(endpoint.address), endpoint.port)
        super().__init__(extra)
        protocol.connection_made(self)
        self._reader = self._loop.create_task(self._read())
        self._writer = self._loop.create_task(self._write())

    # -- reading ---------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while data := await self._stream.read(PIECE):
                await self._resumed.wait()
                self._feed(data)
            await self._resumed.wait()
            if not self._protocol.eof_received():
                self.close()
        except SmolmixError as error:
            self._end(as_os_error(error))

    def _feed(self, data: bytes) -> None:
        protocol = self._protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            protocol.data_received(data)
            return
        view = memoryview(data)
        while view:
            room: Any = protocol.get_buffer(len(view))
            size = min(len(room), len(view))
            room[:size] = view[:size]
            protocol.buffer_updated(size)
            view = view[size:]

    def pause_reading(self) -> None:
        self._resumed.clear()

    def resume_reading(self) -> None:
        self._resumed.set()

    def is_reading(self) -> bool:
        return self._resumed.is_set() and not self._closing

    # -- writing ---------------------------------------------------------------------------------------

    async def _write(self) -> None:
        try:
            while True:
                while self._buffer:
                    out = bytes(self._buffer)
                    self._buffer.clear()
                    await self._stream.write(out)
                    if self._paused and len(self._buffer) <= self._low:
                        self._paused = False
                        self._protocol.resume_writing()
                if self._closing:
                    await self._stream.close()
                    self._end(None)
                    return
                if self._eof:
                    await self._stream.send_eof()
                self._written.clear()
                await self._written.wait()
        except SmolmixError as error:
            self._end(as_os_error(error))

    def write(self, data: Any) -> None:
        if self._eof:
            raise RuntimeError("cannot write after write_eof()")
        if self._closing or not data:
            return
        self._buffer += data
        self._written.set()
        if len(self._buffer) > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._eof = True
        self._written.set()

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = HIGH_WATER if high is None else high
        self._low = self._high // 4 if low is None else low

    # -- ends ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """What was written still arrives; nothing more is read."""
        if not self._closing:
            self._closing = True
            self._reader.cancel()
            self._written.set()

    def abort(self) -> None:
        self._end(None)

    def is_closing(self) -> bool:
        return self._closing

    def _end(self, error: OSError | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._stream.abort()
        self._buffer.clear()
        for task in (self._reader, self._writer):
            if task is not asyncio.current_task():
                task.cancel()
        self._loop.call_soon(self._protocol.connection_lost, error)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol


async def for_asyncio(connecting: Awaitable[Connected], make: Callable[[Connected], T]) -> T:
    """What `make` makes of the connection; errors of connecting are `OSError`, as asyncio has them."""
    try:
        return make(await connecting)
    except SmolmixError as error:
        raise as_os_error(error) from error


def attach(connected: Connected, factory: Callable[[], P]) -> tuple[StreamTransport, P]:
    """As `loop.create_connection` for a stream that is open: the transport and the protocol."""
    protocol = factory()
    return StreamTransport(connected, protocol), protocol


def streams(connected: Connected, limit: int = PIECE) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """As `asyncio.open_connection` gives them; `limit` bytes may wait to be read."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    transport, protocol = attach(connected, lambda: asyncio.StreamReaderProtocol(reader, loop=loop))
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
