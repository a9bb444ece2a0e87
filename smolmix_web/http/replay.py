"""When a request is sent again, and what it takes: its body from the beginning (RFC 9110 9.2.2, RFC 9113 8.7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from ..errors import ConnectionAborted, ConnectionReset, ExitError, HttpError, NetworkError

KEPT = 65_536  # bytes of a streamed body
# What a server that closes so long after a request began has had: only what may be done twice is sent again.
LATE_SECONDS = 30.0
_MOVED = frozenset({"exit_dead", "exit_disconnected", "tunnel_moved"})
IDEMPOTENT = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT"})


class Again(Enum):
    """Why a request is sent again, and how often at most for that reason."""

    UNTOUCHED = "the server says that it has not acted on it", 2
    LOST = "a connection that had carried others ended before a byte of the answer", 1
    MOVED = "the tunnel lost its addresses before a byte of the answer, and the request may be done twice", 1
    TIMED_OUT = "408: the server had given the connection up", 1
    MISDIRECTED = "421: the server does not answer on this connection", 1

    @property
    def limit(self) -> int:
        return int(self.value[1])


def lost(error: BaseException) -> bool:
    """The connection went away without an answer: what a server does that closes while a request is on its way."""
    return isinstance(error, (ConnectionReset, ConnectionAborted)) or (
        isinstance(error, HttpError) and error.code == "empty_response"
    )


def moved(error: BaseException) -> bool:
    """The tunnel's addresses are gone, and every connection from them with them."""
    return isinstance(error, (ExitError, NetworkError)) and error.code in _MOVED


@runtime_checkable
class Rewindable(Protocol):
    """A body from an iterator that can be had again; what was taken of it before does not matter."""

    def rewind(self) -> AsyncIterator[bytes]: ...


_END = object()


class KeptBody(AsyncIterator[bytes]):
    """A stream that cannot be had again, of which the first `KEPT` bytes are kept until an answer has come.

    A piece that is being waited for when the request fails is not lost: the next reader gets it.
    """

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source
        self._kept: list[bytes] | None = []
        self._size = 0
        self._at = 0
        self._settled = False
        self._waiting: asyncio.Task[Any] | None = None

    @property
    def whole(self) -> bool:
        """All that was taken is still here."""
        return self._kept is not None

    def rewind(self) -> KeptBody:
        self._at = 0
        return self

    def settle(self) -> None:
        """It will not be asked for again."""
        self._settled = True

    def give_up(self) -> None:
        """Nobody takes more."""
        self.settle()
        if self._waiting is not None and not self._waiting.cancel() and not self._waiting.cancelled():
            self._waiting.exception()  # looked at, so that nobody reports it

    async def __anext__(self) -> bytes:
        if self._kept is not None and self._at < len(self._kept):
            self._at += 1
            return self._kept[self._at - 1]
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(self._take())
        try:
            piece = await asyncio.shield(self._waiting)
        except asyncio.CancelledError:
            if self._settled:
                self.give_up()
            raise
        if piece is _END:
            raise StopAsyncIteration
        self._waiting = None
        if isinstance(piece, (bytes, bytearray, memoryview)):
            piece = bytes(piece)
            self._size += len(piece)
            if self._kept is not None:
                self._kept.append(piece)
                self._at += 1
                if self._size > KEPT or self._settled:
                    self._kept = None
        return piece  # type: ignore[no-any-return]

    async def _take(self) -> Any:
        return await anext(self._source, _END)
