"""The host inside a browser, on Pyodide's loop.

Imported under Pyodide only. Whatever leaves does so through two functions (`createDoors` in worker/guard.js): GET below
the directory's addresses, and the gateway's WebSocket.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import js
from pyodide.ffi import JsException, create_proxy, jsnull, to_js

from ..errors import DirectoryError, TimeoutExpired
from ..rand import RandomSource, SystemRandom
from ..storage.vault import Vault
from .base import HttpAnswer, TimerHandle, WebSocketEvents, WebSocketHandle, too_large

_OPEN_TIMEOUT = 15.0


@dataclass(frozen=True)
class Parts:
    """What the host needs of JavaScript."""

    doors: Any  # worker/guard.js
    storage: Any  # worker/storage.js
    read_body: Any  # worker/answer.js


class BrowserHost:
    """Host on Pyodide's event loop; one wake-up timer maps to one `setTimeout`.

    `directories`: base URLs; nothing else can be asked through these doors, also not by a later host.
    """

    name = "browser"

    def __init__(
        self, parts: Parts, directories: Sequence[str], *, verbose: bool = False, rng: RandomSource | None = None
    ) -> None:
        parts.doors.setDirectories(to_js(list(directories)))
        self._parts = parts
        self.rng: RandomSource = rng or SystemRandom()
        self._loop = asyncio.get_running_loop()
        self._verbose = verbose

    def now(self) -> float:
        return time.monotonic()

    def unix_time(self) -> float:
        return time.time()

    def call_later(self, delay: float, callback: Callable[[], None]) -> TimerHandle:
        return self._loop.call_later(delay, callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)

    def log(self, text: str) -> None:
        if self._verbose:
            js.console.debug(f"smolmix: {text}")

    def warn(self, text: str) -> None:
        js.console.warn(f"smolmix: {text}")

    async def open_vault(self, client_id: str) -> Vault:
        from ..storage.indexeddb import IndexedDbVault

        return await IndexedDbVault.open(client_id, self._parts.storage)

    async def http_get(self, url: str, *, timeout: float, max_bytes: int, fields: Any = True) -> HttpAnswer:
        abort = js.AbortController.new()
        try:
            async with asyncio.timeout(timeout):
                response = await self._parts.doors.fetchDirectory(url, abort.signal)
                body = await self._parts.read_body(response, max_bytes, json.dumps(fields))
        except TimeoutError:
            abort.abort()
            raise TimeoutExpired(f"directory {url}: no answer in {timeout:g} s", phase="directory") from None
        except JsException as error:
            raise DirectoryError(f"directory {url}: {error}", code="unreachable", phase="directory") from None
        if body is jsnull:
            raise too_large(url, max_bytes)
        media_type = str(response.headers.get("content-type") or "").split(";")[0].strip().lower()
        return HttpAnswer(int(response.status), media_type, body.to_bytes())

    def open_websocket(self, url: str, events: WebSocketEvents) -> WebSocketHandle:
        return _WebSocket(self._loop, self._parts.doors, url, events)


class _WebSocket:
    """The browser's WebSocket with its four events as callbacks."""

    def __init__(self, loop: asyncio.AbstractEventLoop, doors: Any, url: str, events: WebSocketEvents) -> None:
        self._loop = loop
        self._events = events
        self._closed = False
        self._proxies: dict[str, Any] = {}
        self._socket: Any = None
        self._deadline = loop.call_later(_OPEN_TIMEOUT, self._expire)
        try:
            self._socket = doors.openGateway(url)
        except JsException as error:
            loop.call_soon(self._finish, f"cannot connect: {error}")
            return
        self._socket.binaryType = "arraybuffer"
        handlers = {"open": self._opened, "message": self._message, "close": self._close_event}
        for name, handler in handlers.items():
            self._proxies[name] = create_proxy(handler)
            self._socket.addEventListener(name, self._proxies[name])

    def _opened(self, _event: Any) -> None:
        if not self._closed:
            self._deadline.cancel()
            self._events.socket_opened()

    def _message(self, event: Any) -> None:
        if not self._closed:
            data = event.data
            self._events.socket_message(data if isinstance(data, str) else data.to_bytes())

    def _close_event(self, event: Any) -> None:
        self._finish(f"closed (code {event.code})")

    def _expire(self) -> None:
        self._finish(f"no connection in {_OPEN_TIMEOUT:g} s")

    def _finish(self, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        self._deadline.cancel()
        if self._socket is not None:
            for name, proxy in self._proxies.items():
                self._socket.removeEventListener(name, proxy)
            self._socket.close()
        # A proxy must not be destroyed inside its own call.
        self._loop.call_soon(self._destroy)
        self._events.socket_closed(reason)

    def _destroy(self) -> None:
        for proxy in self._proxies.values():
            proxy.destroy()
        self._proxies.clear()

    def send(self, frame: bytes | str) -> None:
        if self._closed or self._socket.readyState != 1:
            return
        self._socket.send(frame if isinstance(frame, str) else to_js(frame))

    def close(self) -> None:
        if not self._closed:
            self._loop.call_soon(self._finish, "closed by us")

    @property
    def buffered(self) -> int:
        return int(self._socket.bufferedAmount) if self._socket is not None else 0
