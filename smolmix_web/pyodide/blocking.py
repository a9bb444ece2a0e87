"""Code that blocks, in Pyodide: it waits by JavaScript Promise Integration, or by `Atomics.wait` on shared memory.

With JSPI (`run_sync`) the interpreter's stack is set aside while the loop goes on: any tunnel can be waited for.
`Atomics.wait` stops the whole thread: it needs a tunnel that runs in another one (`shared_tunnel`), and the browser
allows it in workers of pages that are cross-origin isolated. Imported under Pyodide only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import js
from pyodide.ffi import can_run_sync, run_sync

from ..errors import StateError
from ..http import HttpRequest
from ..tunnel.pool import AnyTunnel
from .lender import Blackboard
from .shared import ResponseHead, SharedTunnel, fetch_message

T = TypeVar("T")


def wait(awaitable: Awaitable[T]) -> T:
    """Its result, by JSPI. `StateError` (`cannot_block`) says what is missing."""
    if not can_run_sync():
        if asyncio.iscoroutine(awaitable):
            awaitable.close()
        raise _cannot_block("")
    result: T = run_sync(awaitable)
    return result


def _cannot_block(but: str) -> StateError:
    if not hasattr(js.WebAssembly, "Suspending"):
        why = "this browser has no JavaScript Promise Integration (Chrome 137, Firefox 153, Safari 27 have)"
    else:
        why = "Python was called in a way that cannot be suspended (runPythonAsync and callPromising can)"
    return StateError(f"nothing can wait here: {why}{but}", code="cannot_block")


def _no_memory() -> str | None:
    """Why shared memory cannot be waited on, None where it can."""
    if hasattr(js, "document"):
        return "the browser lets no page wait for shared memory, only workers"
    if not (hasattr(js, "SharedArrayBuffer") and getattr(js, "crossOriginIsolated", False)):
        return "shared memory needs a page that is cross-origin isolated (headers COOP and COEP)"
    return None


class BlockingTunnel:
    """A tunnel for code that blocks. It stays the caller's, who closes it."""

    def __init__(self, tunnel: AnyTunnel | SharedTunnel) -> None:
        self.tunnel = tunnel

    def call(self, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        """Its result: `blocking.call(lambda t: t.resolve("example.com"))`. By JSPI only."""
        return wait(work(self.tunnel))

    def fetch(self, request: HttpRequest | str, *, isolation: str | None = None, **fields: Any) -> BlockingResponse:
        """As `Tunnel.fetch`; a body may also be an iterator of bytes. `StateError` (`cannot_block`)."""
        request = HttpRequest(request, **fields) if isinstance(request, str) else replace(request, **fields)
        body: Any = request.body
        iterated = body is not None and not isinstance(body, (bytes, str, bytearray, memoryview))
        if can_run_sync():
            if iterated and not hasattr(body, "__anext__"):
                request = replace(request, body=_pieces(body))
            return BlockingResponse(wait(self.tunnel.fetch(request, isolation=isolation)))
        if not isinstance(self.tunnel, SharedTunnel):
            raise _cannot_block("; nor is this a tunnel of the page (shared_tunnel), for which a worker can wait")
        if (why := _no_memory()) is not None:
            raise _cannot_block(f"; and {why}")
        data = b"".join(body) if iterated else body.encode() if isinstance(body, str) else body
        message = {**fetch_message(request, streaming=False), "isolation": isolation}
        board = Blackboard(self.tunnel.lender, "fetch", request=message, data=data if data is None else bytes(data))
        try:
            return BlockingResponse(BoardResponse(board, board.next()["head"]))
        except BaseException:
            board.abort()
            raise


class BoardResponse(ResponseHead):
    """A response whose pieces are waited for in shared memory."""

    def __init__(self, board: Blackboard, head: dict[str, Any]) -> None:
        super().__init__(head)
        self._board = board
        self.finished = False

    def next_chunk(self) -> bytes:
        if self.finished:
            return b""
        self._board.send("pull")
        try:
            message = self._board.next()
        except BaseException:
            self.abort()
            raise
        if message["type"] == "chunk":
            return bytes(message["data"])
        self.ended(message)
        self.abort()
        return b""

    def abort(self) -> None:
        self.finished = True
        self._board.abort()


class BlockingResponse:
    """A response whose body is read by blocking: iterate it, or `read()`."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self.status: int = response.status
        self.reason: str = response.reason
        self.headers: list[tuple[str, str]] = response.headers
        self.url: str = response.url
        self.http_version: str = response.http_version

    def header(self, name: str) -> str | None:
        value: str | None = self._response.header(name)
        return value

    def next_chunk(self) -> bytes:
        """`b""` at the end."""
        if isinstance(self._response, BoardResponse):
            return self._response.next_chunk()
        chunk: bytes = wait(self._response.read_chunk())
        return chunk

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.next_chunk():
            yield chunk

    def read(self) -> bytes:
        return b"".join(self)

    def close(self) -> None:
        """Give up what has not been read. Idempotent."""
        if not self._response.finished:
            self._response.abort()


async def _pieces(body: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in body:
        yield piece
