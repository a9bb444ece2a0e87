"""What a runtime gives the tunnel: clocks, a timer, one WebSocket, HTTP GET for the directory, a place for an identity.

The tunnel reaches the world through this interface and nothing else, so it is also the place where a
runtime can see (and a test can count) everything that leaves the machine outside the mixnet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import DirectoryError
from ..rand import RandomSource
from .vault import Vault


@dataclass(frozen=True)
class HttpAnswer:
    """Answer to a GET: status, lower-case media type without parameters, body."""

    status: int
    content_type: str
    body: bytes


def too_large(url: str, max_bytes: int) -> DirectoryError:
    """The error of an answer beyond its bound."""
    return DirectoryError(f"directory {url}: more than {max_bytes} bytes", code="response_too_large", phase="directory")


class TimerHandle(Protocol):
    """A scheduled call that can be called off."""

    def cancel(self) -> None: ...


class Alarm(Protocol):
    """One call that is scheduled again and again, for little."""

    def set(self, delay: float) -> None:
        """In `delay` seconds, instead of what was set before; 0: once the loop has served all that waits now."""
        ...

    def close(self) -> None:
        """No more calls."""
        ...


class WebSocketEvents(Protocol):
    """What the owner of a WebSocket is told, always from the event loop, never from inside a call it made."""

    def socket_opened(self) -> None: ...

    def socket_message(self, frame: bytes | str) -> None: ...

    def socket_closed(self, reason: str) -> None:
        """Called exactly once, also when the connection never opened; nothing follows."""
        ...


class WebSocketHandle(Protocol):
    """An open or opening WebSocket."""

    def send(self, frame: bytes | str) -> None:
        """Queue one message; silently void after closing."""
        ...

    def close(self) -> None:
        """Start closing; `socket_closed` follows."""
        ...

    def pause(self, paused: bool) -> None:
        """Let what arrives wait in the socket, or go on; void where a runtime cannot, as a browser."""
        ...

    @property
    def buffered(self) -> int:
        """Bytes handed to `send` that have not left yet."""
        ...


class Host(Protocol):
    """One runtime. `rng` is the source of all randomness of the tunnel."""

    name: str
    rng: RandomSource

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def unix_time(self) -> float:
        """Seconds since 1970, UTC."""
        ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> TimerHandle: ...

    def alarm(self, callback: Callable[[], None]) -> Alarm: ...

    async def http_get(self, url: str, *, timeout: float, max_bytes: int, fields: Any = True) -> HttpAnswer:
        """GET without credentials or custom headers.

        `fields` (`mixnet.directory.fields_of`) says what will be read of a JSON body. The rest may be left out, where
        that changes nothing else: a body with anything odd in it comes as it is.

        Raises `TimeoutExpired` (phase `directory`) or `DirectoryError` with code `unreachable`,
        `response_too_large` or `bad_response`.
        """
        ...

    def open_websocket(self, url: str, events: WebSocketEvents) -> WebSocketHandle: ...

    async def open_vault(self, client_id: str) -> Vault:
        """The place where the identity of `client_id` is kept, for nobody else until it is closed.

        `StateError` code `client_id_in_use`; `StorageError` where there is no such place.
        """
        ...

    def log(self, text: str) -> None:
        """A line for people, shown where the option `debug` asks for it."""
        ...

    def warn(self, text: str) -> None:
        """A line for people that is always shown."""
        ...
