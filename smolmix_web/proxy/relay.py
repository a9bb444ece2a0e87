"""Bytes between a program on this machine and a stream of the tunnel, both ways, at the pace of whoever is slower."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable

from ..dial import Connected
from ..edge.deadline import LoopClock, Watchdog
from ..edge.sockets import ByteStream
from ..errors import ConnectionAborted, ConnectionReset, SmolmixError, TimeoutExpired

PIECE = 65_536
HALF_CLOSED = 600.0  # s without a byte, once one side has ended

Count = Callable[[int, int], None]
"""Told of bytes as they pass: those to the network, those from it."""


class Local:
    """The program's connection: asyncio's two halves, and an end that the program can tell from an orderly one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.over = False
        # For all who wait for it: cancelling one of them must not cancel what the others wait for.
        self.gone = asyncio.ensure_future(self._gone())
        raw = writer.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    async def _gone(self) -> None:
        """The connection is lost in both directions."""
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def read(self) -> bytes:
        """Some bytes, `b""` at the end. Raises `ConnectionReset`."""
        try:
            return await self.reader.read(PIECE)
        except OSError as error:
            raise ConnectionReset(f"the program: {error}", phase="transfer") from None

    async def write(self, data: bytes) -> None:
        """Returns when the program keeps up. Raises `ConnectionReset`."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except (OSError, RuntimeError) as error:
            raise ConnectionReset(f"the program: {error}", phase="transfer") from None

    def send_eof(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            self.writer.write_eof()

    async def open(
        self, opening: Awaitable[Connected], early: bytes = b"", *, reading: bool
    ) -> tuple[Connected, bytes]:
        """A stream, and what the program has said until it was there, after `early`.

        Raises `ConnectionAborted` when the program leaves before; with `reading` the end of its half is such a
        leaving too, unless it has said something that somebody is to hear.
        """
        said = bytearray(early)

        async def leaving() -> None:
            if reading and not said:
                data = await self.read()
                if not data:
                    return
                said.extend(data)
            await asyncio.wait((self.gone,))

        opener, watch = asyncio.ensure_future(opening), asyncio.create_task(leaving())
        connected: Connected | None = None
        try:
            await asyncio.wait((opener, watch), return_when=asyncio.FIRST_COMPLETED)
            if not opener.done():
                raise ConnectionAborted("the program has left", phase="connect")
            connected = opener.result()
            return connected, bytes(said)
        finally:
            watch.cancel()
            opener.cancel()
            late, _ = await asyncio.gather(opener, watch, return_exceptions=True)
            if connected is None and isinstance(late, Connected):
                late.stream.abort()

    async def while_here(self, work: Awaitable[None]) -> None:
        """Do `work`, unless the program's connection is lost in both directions: then `ConnectionAborted`."""
        working = asyncio.ensure_future(work)
        try:
            await asyncio.wait((working, self.gone), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ConnectionAborted("the program has left", phase="transfer")
            working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    def close(self) -> None:
        """Orderly: what was written still arrives."""
        if not self.over:
            self.over = True
            with contextlib.suppress(OSError, RuntimeError):
                self.writer.close()

    def abort(self) -> None:
        """By RST, as what it stands for was reset: a program must not take half an answer for a whole one."""
        if not self.over:
            self.over = True
            raw = self.writer.get_extra_info("socket")
            if raw is not None:
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()


async def relay(local: Local, stream: ByteStream, first: bytes, count: Count) -> None:
    """Until both sides have ended, or one is broken; then the other is broken too, and the reason raised.

    `first` are bytes of the program that were read before. Cancelling it breaks both.
    """
    ended = 0

    def half() -> None:
        nonlocal ended
        ended += 1
        watchdog.start(HALF_CLOSED, "idle")

    async def outward() -> None:
        data = first or await local.read()
        while data:
            await stream.write(data)
            count(len(data), 0)
            watchdog.touch()
            data = await local.read()
        await stream.send_eof()
        half()

    async def inward() -> None:
        while data := await stream.read(PIECE):
            await local.write(data)
            count(0, len(data))
            watchdog.touch()
        local.send_eof()
        half()

    watchdog = Watchdog(LoopClock(), lambda error: _break(local, stream, error))
    tasks = [asyncio.create_task(outward()), asyncio.create_task(inward())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        await stream.close()
        local.close()
    except BaseException as error:
        _break(local, stream, error if isinstance(error, SmolmixError) else None)
        raise
    finally:
        watchdog.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _break(local: Local, stream: ByteStream, error: SmolmixError | TimeoutExpired | None) -> None:
    stream.abort(error)
    local.abort()
