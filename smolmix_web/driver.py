"""Runs an engine on a host: one socket, one timer. The only place where the synchronous core meets the event loop."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Sequence

from .engine import Engine
from .errors import TunnelError
from .host.base import Host, TimerHandle
from .mixnet.gateway.link import OpenSocket
from .netstack import Stack

BUFFER_RETRY = 0.02  # s between looks at a full buffer of the socket


class _Socket:
    """One WebSocket of the driver: its events say which one they are of, so that late ones of an old one are void."""

    def __init__(self, driver: Driver, host: Host, url: str) -> None:
        self._driver = driver
        self._handle = host.open_websocket(url, self)
        self.send = self._handle.send
        self.close = self._handle.close

    @property
    def buffered(self) -> int:
        return self._handle.buffered

    def socket_opened(self) -> None:
        self._driver.socket_opened(self)

    def socket_message(self, frame: bytes | str) -> None:
        self._driver.socket_message(self, frame)

    def socket_closed(self, reason: str) -> None:
        self._driver.socket_closed(self, reason)


class Driver:
    """Implements `sockets.Net`. `on_change` is called after the engine may have changed its state."""

    def __init__(self, host: Host, engine: Engine, on_change: Callable[[], None]) -> None:
        self._host = host
        self._engine = engine
        self._on_change = on_change
        self._socket: _Socket | None = None
        self._timer: TimerHandle | None = None
        self._timer_at = float("inf")
        self._received: deque[bytes | str] = deque()
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

    def start(self) -> None:
        self._running = True
        self._engine.start(self._host.now())
        self._run()

    def close(self) -> None:
        """No more polling; the socket is closed with a close frame."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._close_socket()

    def _close_socket(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()

    def _obey(self) -> None:
        while (command := self._engine.take_command()) is not None:
            self._close_socket()
            if isinstance(command, OpenSocket):
                self._socket = _Socket(self, self._host, command.url)

    def socket_opened(self, socket: _Socket) -> None:
        if socket is self._socket:
            self._engine.opened(self._host.now())
            self._run()

    def socket_message(self, socket: _Socket, frame: bytes | str) -> None:
        if socket is self._socket:
            self._received.append(frame)
            self._run()

    def socket_closed(self, socket: _Socket, reason: str) -> None:
        if socket is self._socket:
            self._socket = None
            self._engine.closed(self._host.now(), reason)
            self._run()

    # -- the timer --------------------------------------------------------------------------------

    def _run(self) -> None:
        if not self._running:
            return
        try:
            self._turn()
        except Exception as error:
            # A defect of ours must end the tunnel visibly, not leave it "ready" without a timer.
            self._host.log(traceback.format_exc())
            defect = TunnelError(f"internal error: {type(error).__name__}: {error}", code="internal", phase="engine")
            self._engine.fail(defect, self._host.now())
            self._on_change()

    def _turn(self) -> None:
        """Whatever takes time is preceded and followed by the packets that are due: when they leave must not tell
        what arrives or what is done with it."""
        host, engine = self._host, self._engine
        self._send_due()
        while self._received:
            begun = host.now()
            engine.receive(self._received.popleft(), begun, host.unix_time())
            self._worked(begun)
            self._send_due()
        now = host.now()
        congested = engine.note_buffered(self._socket.buffered if self._socket is not None else 0, now)
        self._send(engine.poll(now, host.unix_time()))
        self._obey()
        self._on_change()
        if self._running:
            self._send_due()
            begun = host.now()
            more = engine.prepare(begun)
            self._worked(begun)
            self._send_due()
            deadline = now if more else engine.next_deadline()
            # Nothing tells when the socket's buffer has drained.
            latest = now + BUFFER_RETRY if congested else float("inf")
            self._arm(latest if deadline is None else min(deadline, latest))

    def _send_due(self) -> None:
        begun = self._host.now()
        self._send(self._engine.send_due(begun))
        self._worked(begun)

    def _worked(self, begun: float) -> None:
        now = self._host.now()
        self._engine.worked(now - begun, now)

    def _send(self, frames: Sequence[bytes | str]) -> None:
        if self._socket is not None:
            for frame in frames:
                self._socket.send(frame)

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
