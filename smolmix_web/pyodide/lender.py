"""The borrower's end of a tunnel that a page lends (javascript/page/share.js): ids of our own, and what comes for each.

Two kinds of channels: one for code that awaits, fed by the port's events, and one for a worker that blocks, which reads
a memory that it shares with the page. Imported under Pyodide only.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any, Self

import js
from pyodide.ffi import create_proxy

from ..bridge.conversion import message_to_python, post
from ..errors import Cancelled, TimeoutExpired, TunnelError, from_dict

ROOM = 512 * 1024  # bytes of shared memory: one message of at most 64 KiB of data, or the header of a response
HEAD_BYTES = 12
LONGEST = 600.0  # s between two messages; the page's own limits are shorter
_LAST = ("result", "end", "closed")


class Lender:
    """The page. `state` is the tunnel's last snapshot."""

    def __init__(self, port: Any, on_change: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._port = port
        self._on_change = on_change
        self._channels: dict[int, Channel] = {}
        self._last_id = 0
        self._closed = False
        self.state: dict[str, Any] = {}
        self.heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._proxy = create_proxy(self._receive)
        port.onmessage = self._proxy

    def _receive(self, event: Any) -> None:
        message = message_to_python(event.data)
        if message["type"] == "state":
            self.state = message["snapshot"]
            if not self.heard.done():
                self.heard.set_result(None)
            if self._on_change is not None:
                self._on_change(self.state)
        elif (channel := self._channels.get(message["id"])) is not None:
            channel.arrived(message)

    def post(self, message: dict[str, Any]) -> None:
        if self._closed:
            raise TunnelError("the shared tunnel was given back", code="tunnel_down")
        post(self._port.postMessage, message)

    def new_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def open(self, kind: str, **fields: Any) -> Channel:
        channel = Channel(self, self.new_id())
        self.post({**fields, "type": kind, "id": channel.id})
        self._channels[channel.id] = channel
        return channel

    async def call(self, kind: str, **fields: Any) -> Any:
        """One `result`."""
        channel = self.open(kind, **fields)
        try:
            return (await channel.next())["value"]
        finally:
            channel.abort()

    def forget(self, channel_id: int) -> None:
        self._channels.pop(channel_id, None)

    def close(self) -> None:
        """Give it back: what is open fails. Idempotent."""
        if self._closed:
            return
        for channel in list(self._channels.values()):
            channel.abort()
        self.post({"type": "bye"})
        self._closed = True
        self._port.onmessage = None
        self._port.close()
        asyncio.get_running_loop().call_soon(self._proxy.destroy)


class Channel:
    """Messages of one id. Few wait at a time: the other side sends what it is asked for."""

    def __init__(self, lender: Lender, channel_id: int) -> None:
        self.id = channel_id
        self._lender = lender
        self._messages: deque[dict[str, Any]] = deque()
        self._written: deque[dict[str, Any]] = deque()
        self._news = asyncio.Event()
        self._error: Exception | None = None
        self._open = True

    def arrived(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "error":
            self._end(from_dict(message["error"]))
        elif (kind == "failed" and message["request"] == "write") or kind in ("written", "rewind"):
            self._written.append(message)
        elif kind not in ("timings", "progress"):
            self._messages.append(message)
            if kind in _LAST:
                self._end(Cancelled("the channel has ended", code="connection_closed"))
        self._news.set()

    def _end(self, error: Exception) -> None:
        self._error = self._error or error
        self._open = False
        self._lender.forget(self.id)
        self._news.set()

    async def _take(self, queue: deque[dict[str, Any]]) -> dict[str, Any]:
        while not queue:
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
        message = queue.popleft()
        if message["type"] == "failed":
            raise from_dict(message["error"])
        return message

    async def next(self) -> dict[str, Any]:
        """The next message; raises what ended the channel."""
        return await self._take(self._messages)

    def send(self, kind: str, **fields: Any) -> None:
        """Void after the end."""
        if self._open:
            self._lender.post({**fields, "type": kind, "id": self.id})

    async def write(self, data: bytes | str, **fields: Any) -> None:
        """Returns when the tunnel has taken it; one call at a time."""
        if self._error is not None:
            raise self._error
        self.send("write", data=data, **fields)
        await self._take(self._written)

    def abort(self, error: Exception | None = None) -> None:
        """Idempotent."""
        if self._open:
            self.send("abort")
            self._end(error or Cancelled("aborted", phase="tunnel"))


class Blackboard:
    """A channel of a worker that blocks while it waits."""

    def __init__(self, lender: Lender, kind: str, **fields: Any) -> None:
        shared = js.SharedArrayBuffer.new(ROOM)
        self.id = lender.new_id()
        self._lender = lender
        self._head = js.Int32Array.new(shared, 0, 3)
        self._body = js.Uint8Array.new(shared, HEAD_BYTES)
        self._open = True
        lender.post({**fields, "type": kind, "id": self.id, "shared": shared})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def next(self) -> dict[str, Any]:
        while True:
            message = self._read()
            if message["type"] == "error":
                raise from_dict(message["error"])
            if message["type"] not in ("timings", "progress"):
                return message

    def _read(self) -> dict[str, Any]:
        if js.Atomics.wait(self._head, 0, 0, LONGEST * 1000) == "timed-out":
            raise TimeoutExpired(f"the page said nothing in {LONGEST:g} s", phase="tunnel")
        length, size = self._head[1], self._head[2]
        raw = self._body.slice(0, length + max(size, 0)).to_bytes()
        message: dict[str, Any] = json.loads(raw[:length])
        if size >= 0:
            message["data"] = raw[length:].decode() if message.pop("text", False) else raw[length:]
        js.Atomics.store(self._head, 0, 0)
        self.send("taken")
        return message

    def send(self, kind: str, **fields: Any) -> None:
        self._lender.post({**fields, "type": kind, "id": self.id})

    def abort(self) -> None:
        """Also after the last message: the page keeps the channel until then. Idempotent."""
        if self._open:
            self._open = False
            self.send("abort")
