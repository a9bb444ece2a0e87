"""Runs an engine on a host: one socket, one timer. The only place where the synchronous core meets the event loop."""

from __future__ import annotations

from collections.abc import Callable

from .engine import Engine
from .host.base import Host, TimerHandle, WebSocketHandle
from .netstack import Stack

MAX_BUFFERED = 256 * 1024  # bytes in the socket's own buffer before packets are held back
BUFFER_RETRY = 0.02  # s


class Driver:
    """Implements `sockets.Net`. `on_change` is called after the engine may have changed its state."""

    def __init__(self, host: Host, engine: Engine, on_change: Callable[[], None]) -> None:
        self._host = host
        self._engine = engine
        self._on_change = on_change
        self._socket: WebSocketHandle | None = None
        self._timer: TimerHandle | None = None
        self._timer_at = float("inf")
        self._woken = False
        self._running = False

    # -- sockets.Net ------------------------------------------------------------------------------

    @property
    def stack(self) -> Stack:
        return self._engine.stack

    def now(self) -> float:
        return self._host.now()

    def call_later(self, delay: float, callback: Callable[[], None]) -> TimerHandle:
        return self._host.call_later(delay, callback)

    def wake(self) -> None:
        """Poll soon; many calls in one turn of the loop make one poll."""
        if not self._woken and self._running:
            self._woken = True
            self._host.call_soon(self._wake)

    def _wake(self) -> None:
        self._woken = False
        self._run()

    # -- the gateway's socket ---------------------------------------------------------------------

    def open(self, url: str) -> None:
        self._running = True
        self._engine.connecting(self._host.now())
        self._socket = self._host.open_websocket(url, self)
        self._run()

    def close(self) -> None:
        """No more polling; the socket is closed with a close frame."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def socket_opened(self) -> None:
        self._engine.opened(self._host.now())
        self._run()

    def socket_message(self, frame: bytes | str) -> None:
        self._engine.receive(frame, self._host.now(), self._host.unix_time())
        self._run()

    def socket_closed(self, reason: str) -> None:
        if self._running:
            self._engine.closed(self._host.now(), reason)
            self._run()

    # -- the timer --------------------------------------------------------------------------------

    def _run(self) -> None:
        if not self._running or self._socket is None:
            return
        now = self._host.now()
        if self._socket.buffered > MAX_BUFFERED:
            self._arm(now + BUFFER_RETRY)
            return
        for frame in self._engine.poll(now, self._host.unix_time()):
            self._socket.send(frame)
        self._on_change()
        if self._running:
            deadline = self._engine.next_deadline()
            self._arm(float("inf") if deadline is None else deadline)

    def _arm(self, deadline: float) -> None:
        """Keep one timer for the earliest deadline. A timer that fires early is cheaper than one made anew."""
        if self._timer is not None and self._timer_at <= deadline:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline != float("inf"):
            self._timer_at = deadline
            self._timer = self._host.call_later(max(0.0, deadline - self._host.now()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._run()
