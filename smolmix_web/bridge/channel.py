"""One id of the page: what the page still sends for it, and what goes back.

The page's half of the rules stands in `javascript/shared/messages.js`. A page that breaks them (writes without waiting,
pulls without end) fills a bounded queue and ends its own channel, nobody else's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import UsageError

Post = Callable[[dict[str, Any]], None]

MAX_WAITING = 1024  # messages of the page that nobody has taken yet
MAX_WAITING_BYTES = 16 << 20


@dataclass(frozen=True)
class Write:
    """Bytes or text from the page; `host`, `port` and `family` for datagrams."""

    data: bytes | str
    host: str | None = None
    port: int | None = None
    family: int | None = None

    @cached_property
    def octets(self) -> bytes:
        """Text as UTF-8; half surrogate pairs, which JavaScript allows, are replaced."""
        return self.data.encode("utf-8", "replace") if isinstance(self.data, str) else self.data

    @property
    def size(self) -> int:
        return len(self.octets)


@dataclass(frozen=True)
class Finish:
    """The page writes no more."""


@dataclass(frozen=True)
class Close:
    """The page closes a WebSocket with this code and reason; None: without a code."""

    code: int | None
    reason: str


@dataclass(frozen=True)
class Rewound:
    """What was written before is void; the body follows from its beginning. Answers the `rewind` of that number."""

    turn: int


Inbound = Write | Finish | Rewound | Close


class Channel:
    """Messages of one id. `next_inbound` and `pulled` each have at most one waiter."""

    def __init__(self, channel_id: int, post: Post) -> None:
        self.id = channel_id
        self._post = post
        self._inbound: deque[Inbound] = deque()
        self._inbound_bytes = 0
        self._arrived = asyncio.Event()
        self._pulls = asyncio.Semaphore(0)
        self.discarded = asyncio.Event()  # the page reads no more
        self.farewell: tuple[int | None, str] = (None, "")  # code and text of the page's abort

    # -- from the page ----------------------------------------------------------------------------

    def push(self, item: Inbound) -> None:
        """Raises `UsageError` when the page does not wait for `written`."""
        size = item.size if isinstance(item, Write) else 0
        # One item of any size may wait: a WebSocket message cannot be split.
        full = self._inbound_bytes > 0 and self._inbound_bytes + size > MAX_WAITING_BYTES
        if full or len(self._inbound) >= MAX_WAITING:
            raise UsageError("too much written without waiting", code="write_overflow", phase="write")
        self._inbound.append(item)
        self._inbound_bytes += size
        self._arrived.set()

    def pull(self) -> None:
        self._pulls.release()

    def discard(self) -> None:
        self.discarded.set()
        self._pulls.release()  # what waits for a pull goes on

    async def next_inbound(self) -> Inbound:
        while not self._inbound:
            self._arrived.clear()
            await self._arrived.wait()
        item = self._inbound.popleft()
        if isinstance(item, Write):
            self._inbound_bytes -= item.size
        return item

    async def pulled(self) -> None:
        """Wait until the page wants one more chunk."""
        await self._pulls.acquire()

    # -- to the page ------------------------------------------------------------------------------

    def send(self, kind: str, **fields: Any) -> None:
        self._post({"type": kind, "id": self.id, **fields})


def field(message: Mapping[str, Any], name: str, *kinds: type) -> Any:
    """A field of a message, of one of these types; `UsageError` names what is wrong."""
    value = message.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise UsageError(f"message {message.get('type')!r}: field {name!r} must be {expected}", code="bad_message")
    return value


def optional(message: Mapping[str, Any], name: str, *kinds: type) -> Any:
    """A field that may be null, or absent: None."""
    return None if message.get(name) is None else field(message, name, *kinds)


def isolation(message: Mapping[str, Any]) -> str | None:
    """The isolation key of an operation; None: the tunnel's own."""
    key: str | None = optional(message, "isolation", str)
    return key
