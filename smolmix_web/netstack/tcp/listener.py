"""Passive opens: a listener with a backlog, and SYN requests that somebody else decides about.

`TcpListener` answers SYNs by itself. A `SynRequest` is handed to `Stack.on_syn` in `accept_any` mode; until it is
accepted or refused, the SYN stays unanswered and repetitions of it change nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from ..addresses import Endpoint
from ..icmp import ErrorKind
from .config import TcpConfig
from .connection import TcpConnection
from .segment import Segment

INFINITY = float("inf")


class ListenerHost(Protocol):
    def forget_listener(self, listener: TcpListener) -> None: ...

    def settle(self) -> None: ...


class TcpListener:
    """Made by `Stack.tcp_listen`. Open connections go to `on_connection`, or wait for `accept` without one."""

    __slots__ = (
        "_host",
        "_ready",
        "backlog",
        "closed",
        "config",
        "dropped_backlog",
        "half_open",
        "on_connection",
        "port",
    )

    def __init__(
        self,
        host: ListenerHost,
        port: int,
        backlog: int,
        config: TcpConfig,
        on_connection: Callable[[TcpConnection], None] | None,
    ) -> None:
        self._host = host
        self.port = port
        self.backlog = backlog
        self.config = config
        self.on_connection = on_connection
        self.half_open: set[TcpConnection] = set()
        self.dropped_backlog = 0
        self.closed = False
        self._ready: deque[TcpConnection] = deque()

    @property
    def full(self) -> bool:
        return len(self.half_open) + len(self._ready) >= self.backlog

    def ready(self, connection: TcpConnection) -> None:
        """The handshake is over (called by the stack)."""
        if self.on_connection is not None:
            self.on_connection(connection)
        else:
            self._ready.append(connection)

    def accept(self) -> TcpConnection | None:
        """The connection that waits longest, or None."""
        return self._ready.popleft() if self._ready else None

    def close(self, now: float) -> None:
        """No more connections; half-open ones and those nobody accepted are reset."""
        if self.closed:
            return
        self.closed = True
        self._host.forget_listener(self)
        for connection in [*self.half_open, *self._ready]:
            connection.abort(now)
        self.half_open.clear()
        self._ready.clear()
        self._host.settle()


class SynHost(Protocol):
    def accept_syn(self, request: SynRequest, now: float, config: TcpConfig | None) -> TcpConnection: ...

    def refuse_syn(self, request: SynRequest, now: float, reason: ErrorKind | None) -> None: ...

    def forget_syn(self, request: SynRequest) -> None: ...


class SynRequest:
    """A SYN that waits for a decision: `accept`, `refuse`, or neither until the client or the stack gives up, which
    sets `cancelled` and calls `on_cancel`."""

    __slots__ = (
        "_host",
        "cancelled",
        "deadline",
        "decided",
        "heap_at",
        "key",
        "local",
        "on_cancel",
        "packet",
        "remote",
        "ring",
        "segment",
    )

    def __init__(
        self,
        host: SynHost,
        key: bytes,
        local: Endpoint,
        remote: Endpoint,
        segment: Segment,
        packet: bytes,
        deadline: float,
    ) -> None:
        self._host = host
        self.key = key
        self.local = local  # what the client wants to reach
        self.remote = remote  # the client
        self.segment = segment
        self.packet = packet
        self.deadline = deadline
        self.decided = False
        self.cancelled = False
        self.on_cancel: Callable[[], None] | None = None
        self.ring = 0
        self.heap_at = INFINITY

    def accept(self, now: float, config: TcpConfig | None = None) -> TcpConnection:
        """Answer the SYN. Data may be queued at once; `on_event` tells when the connection is open.

        Raises StateError when it was decided or cancelled before.
        """
        return self._host.accept_syn(self, now, config)

    def refuse(self, now: float, reason: ErrorKind | None = None) -> None:
        """RST, or with a reason the ICMP error. Nothing happens when it was decided or cancelled before."""
        self._host.refuse_syn(self, now, reason)

    def cancel(self) -> None:
        """The client gave up or the deadline passed (called by the stack)."""
        if self.decided or self.cancelled:
            return
        self.cancelled = True
        self.deadline = INFINITY
        self._host.forget_syn(self)
        if self.on_cancel is not None:
            self.on_cancel()

    # -- scheduler

    def urgency(self) -> int:
        return 0

    def produce(self, now: float) -> bytes | None:
        return None

    def on_timers(self, now: float) -> None:
        self.cancel()
