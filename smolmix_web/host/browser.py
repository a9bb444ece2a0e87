"""The host inside a browser, on Pyodide's loop.

Imported under Pyodide only. Whatever leaves does so through two functions (`createDoors` in
javascript/worker/guard.js): GET below the directory's addresses, and the gateway's WebSocket.
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
from .base import Alarm, HttpAnswer, TimerHandle, WebSocketEvents, WebSocketHandle, too_large
from .vault import Vault

_OPEN_TIMEOUT = 15.0


@dataclass(frozen=True)
class Parts:
    """What the host needs of JavaScript."""

    doors: Any  # javascript/worker/guard.js
    storage: Any  # javascript/worker/storage.js, or own-storage.js
    ask: Any  # the directory, through these doors: javascript/worker/directory.js
    events: Any  # javascript/worker/host.js


class BrowserHost:
    """Host on Pyodide's event loop and on javascript/worker/host.js.

    `directories`: base URLs; nothing else can be asked through these doors, also not by a later host. `say`: takes what
    is for people, where a page has a logger; warnings it is told with the state.
    """

    name = "browser"

    def __init__(
        self,
        parts: Parts,
        directories: Sequence[str],
        *,
        verbose: bool = False,
        rng: RandomSource | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        parts.doors.setDirectories(to_js(list(directories)))
        self._parts = parts
        self.rng: RandomSource = rng or SystemRandom()
        self._loop = asyncio.get_running_loop()
        self._verbose = verbose
        self._say = say

    def now(self) -> float:
        return time.monotonic()

    def unix_time(self) -> float:
        return time.time()

    def call_later(self, delay: float, callback: Callable[[], None]) -> TimerHandle:
        return self._loop.call_later(delay, callback)

    def alarm(self, callback: Callable[[], None]) -> Alarm:
        return _Alarm(self._loop, self._parts.events, callback)

    def log(self, text: str) -> None:
        if not self._verbose:
            return
        if self._say is not None:
            self._say(text)
        else:
            js.console.debug(f"smolmix: {text}")

    def warn(self, text: str) -> None:
        if self._say is None:
            js.console.warn(f"smolmix: {text}")

    async def open_vault(self, client_id: str) -> Vault:
        from ..storage.indexeddb import IndexedDbVault

        return await IndexedDbVault.open(client_id, self._parts.storage)

    async def http_get(self, url: str, *, timeout: float, max_bytes: int, fields: Any = True) -> HttpAnswer:
        abort = js.AbortController.new()
        try:
            async with asyncio.timeout(timeout):
                # As the worker writes it that asks ahead of us (javascript/worker/directory.js).
                wanted = json.dumps(fields, separators=(",", ":"))
                answer = await self._parts.ask(url, max_bytes, wanted, abort.signal)
        except TimeoutError:
            abort.abort()
            raise TimeoutExpired(f"directory {url}: no answer in {timeout:g} s", phase="directory") from None
        except JsException as error:
            raise DirectoryError(f"directory {url}: {error}", code="unreachable", phase="directory") from None
        if answer.body is jsnull:
            raise too_large(url, max_bytes)
        media_type = str(answer.type).split(";")[0].strip().lower()
        return HttpAnswer(int(answer.status), media_type, answer.body.to_bytes())

    def open_websocket(self, url: str, events: WebSocketEvents) -> WebSocketHandle:
        return _WebSocket(self._loop, self._parts, url, events)


class _Alarm:
    """See javascript/worker/host.js."""

    def __init__(self, loop: asyncio.AbstractEventLoop, events: Any, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._proxy = create_proxy(callback)
        alarm = events.createAlarm(self._proxy)
        self._set, self._close = alarm.set, alarm.close

    def set(self, delay: float) -> None:
        self._set(delay * 1000)

    def close(self) -> None:
        self._close()
        # A proxy must not be destroyed inside its own call.
        self._loop.call_soon(self._proxy.destroy)


class _WebSocket:
    """The browser's WebSocket with its events as callbacks."""

    def __init__(self, loop: asyncio.AbstractEventLoop, parts: Parts, url: str, events: WebSocketEvents) -> None:
        self._loop = loop
        self._events = events
        self._closed = False
        self._proxies: list[Any] = []
        self._socket: Any = None
        self._ignore: Any = None
        self._deadline = loop.call_later(_OPEN_TIMEOUT, self._expire)
        try:
            self._socket = parts.doors.openGateway(url)
        except JsException as error:
            loop.call_soon(self._finish, f"cannot connect: {error}")
            return
        self._proxies = [create_proxy(handler) for handler in (self._opened, self._message, self._close_event)]
        self._ignore = parts.events.listen(self._socket, *self._proxies)

    def _opened(self) -> None:
        if not self._closed:
            self._deadline.cancel()
            self._events.socket_opened()

    def _message(self, data: Any) -> None:
        if not self._closed:
            self._events.socket_message(data if isinstance(data, str) else data.to_bytes())

    def _close_event(self, code: int) -> None:
        self._finish(f"closed (code {code})")

    def _expire(self) -> None:
        self._finish(f"no connection in {_OPEN_TIMEOUT:g} s")

    def _finish(self, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        self._deadline.cancel()
        if self._socket is not None:
            self._ignore()
            self._socket.close()
        # A proxy must not be destroyed inside its own call.
        self._loop.call_soon(self._destroy)
        self._events.socket_closed(reason)

    def _destroy(self) -> None:
        for proxy in self._proxies:
            proxy.destroy()
        self._proxies.clear()

    def send(self, frame: bytes | str) -> None:
        if self._closed or self._socket.readyState != 1:
            return
        self._socket.send(frame if isinstance(frame, str) else to_js(frame))

    def close(self) -> None:
        if not self._closed:
            self._loop.call_soon(self._finish, "closed by us")

    def pause(self, paused: bool) -> None:
        """A browser's WebSocket reads on."""

    @property
    def buffered(self) -> int:
        return int(self._socket.bufferedAmount) if self._socket is not None else 0
