"""Two byte streams joined in memory, with TCP's ends: bounded buffers, EOF, reset. For what lies above a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from smolmix_web.errors import Cancelled, ConnectionReset, SmolmixError, StateError

BUFFER = 65536


class Pipe:
    """One end; `pair()` makes two. Has the interface of `ByteStream` plus what a test wants to see."""

    def __init__(self) -> None:
        self.peer: Pipe
        self.inbox = bytearray()
        self.eof = False
        self.reset = False
        self.closed = False
        self.aborted: SmolmixError | None = None
        self.watcher: Callable[[], None] | None = None
        self.written = 0
        self._event = asyncio.Event()

    @classmethod
    def pair(cls) -> tuple[Pipe, Pipe]:
        left, right = cls(), cls()
        left.peer, right.peer = right, left
        return left, right

    def _poke(self) -> None:
        self._event.set()
        if self.watcher is not None:
            self.watcher()

    async def _wait(self) -> None:
        self._event.clear()
        await self._event.wait()

    async def read(self, limit: int = 65536) -> bytes:
        while True:
            if self.aborted is not None:
                raise self.aborted
            if self.inbox:
                data = bytes(self.inbox[:limit])
                del self.inbox[:limit]
                self.peer._poke()
                return data
            if self.reset:
                raise ConnectionReset("reset by the peer")
            if self.eof:
                return b""
            await self._wait()

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self.aborted is not None:
                raise self.aborted
            if self.reset:
                raise ConnectionReset("reset by the peer")
            if self.closed:
                raise StateError("write after close")
            if self.peer.closed:
                return  # sent, and nobody reads it
            room = BUFFER - len(self.peer.inbox)
            if room > 0:
                self.peer.inbox += view[:room]
                self.written += min(room, len(view))
                view = view[room:]
                self.peer._poke()
            else:
                await self._wait()

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.peer.eof = True
            self.peer._poke()

    def abort(self, error: SmolmixError | None = None) -> None:
        if self.aborted is None:
            self.aborted = error or Cancelled("aborted")
        if not self.closed:
            self.closed = True
            self.peer.reset = True
            self.peer._poke()
        self._poke()

    def is_quiet(self) -> bool:
        return not (self.closed or self.aborted or self.reset or self.eof or self.inbox)

    def watch(self, callback: Callable[[], None] | None) -> None:
        self.watcher = callback
