"""Runs an engine on a host: one socket, one timer. The only place where the synchronous core meets the event loop.

It works in turns of a few milliseconds, and lets the loop go on in between: what the page asks, timers, and what
arrives are served while there is more to do than there is time. A machine that is too slow for both divides its time
between reading what came and sending: what it sends comes back, so one that only sent would never hear.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence

from ..engine import Engine
from ..engine.inbox import Inbox
from ..errors import unforeseen
from ..host.base import Host, TimerHandle
from ..mixnet.gateway.link import OpenSocket
from ..netstack import Stack

RESERVE = 256 * 1024  # bytes, to tell that there is no memory left
BUFFER_RETRY = 0.02  # s between looks at a full buffer of the socket
TURN = 0.008  # s; the step that is under way then is the last of its turn
LATE = 0.05  # s; a timer that fires later found the loop busy
MOST_AT_ONCE = 32  # packets
# While frames wait: s that sending may be ahead of reading, and the share of reading when it is far behind.
AHEAD = 0.02
FAR_BEHIND = 0.25  # s that the oldest frame waits
CATCHING_UP = 4.0  # s of reading for each second of sending then


class _Socket:
    """One WebSocket of the driver: its events say which one they are of, so that late ones of an old one are void."""

    def __init__(self, driver: Driver, host: Host, url: str) -> None:
        self._driver = driver
        self._handle = host.open_websocket(url, self)
        self.send = self._handle.send
        self.close = self._handle.close
        self.pause = self._handle.pause

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
        self._timer = host.alarm(self._fire)
        self._timer_at = float("inf")
        self._soon = host.alarm(self._wake)
        self.inbox = Inbox()
        self._ended: str | None = None  # why the socket did, once all that came before has been read
        self._reading = True  # the socket
        self._sure = host.now()  # what arrived before has been given to us
        self._woken = False  # a turn waits for the loop
        self._must_poll = False  # somebody asked for it
        self._woken_at = 0.0
        self._in_turn = False
        self._credit = 0.0  # s of sending that reading has earned
        self._running = False
        self._reserve = bytes(RESERVE)

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
        self._must_poll = True
        self._go_on()

    def _go_on(self) -> None:
        """Another turn, once the loop has served all that waits now."""
        if not self._woken and self._running:
            now = self._host.now()
            if not self._in_turn:
                self._sure = self._undisturbed(now)
            self._woken, self._woken_at = True, now
            self._soon.set(0.0)

    def _wake(self) -> None:
        self._woken, self._sure = False, self._woken_at
        self._run()

    def _undisturbed(self, now: float) -> float:
        """Until when the loop can have given us all that arrived: a timer of ours that is overdue says that it was
        held up."""
        return self._timer_at if now > self._timer_at + LATE else now

    # -- the gateway's socket ---------------------------------------------------------------------

    def start(self) -> None:
        self._running = self._must_poll = True
        self._engine.start(self._host.now())
        self._run()

    def close(self) -> None:
        """No more polling; the socket is closed with a close frame."""
        self._running = False
        self._timer.close()
        self._soon.close()
        self._close_socket()

    def _close_socket(self) -> None:
        socket, self._socket = self._socket, None
        self._forget_frames()
        if socket is not None:
            socket.close()

    def _forget_frames(self) -> None:
        self.inbox.clear()
        self._reading, self._ended = True, None

    def _obey(self) -> None:
        while (command := self._engine.take_command()) is not None:
            self._close_socket()
            if isinstance(command, OpenSocket):
                self._socket = _Socket(self, self._host, command.url)

    def socket_opened(self, socket: _Socket) -> None:
        if socket is self._socket:
            self._engine.opened(self._host.now())
            self._must_poll = True
            self._run()

    def socket_message(self, socket: _Socket, frame: bytes | str) -> None:
        if socket is not self._socket:
            return
        if not self._woken:
            now = self._host.now()
            self._sure = self._undisturbed(now)
            if self._sure < now:
                self._go_on()  # there may be more
        self.inbox.put(frame, self._sure)
        self._pace_reading()
        if not self._woken:
            self._run()

    def socket_closed(self, socket: _Socket, reason: str) -> None:
        if socket is self._socket:
            self._ended = reason
            self._run()

    # -- turns ------------------------------------------------------------------------------------

    def _run(self) -> None:
        if not self._running:
            return
        self._in_turn = True
        try:
            self._turn()
        except Exception as error:
            # A defect of ours must end the tunnel visibly, not leave it "ready" without a timer.
            self._reserve = b""  # the rest needs some memory, and there may be none
            self._engine.fail(unforeseen(error, "engine"), self._host.now())
            self._on_change()
            self._host.log("".join(traceback.format_exception(error)))
        finally:
            self._in_turn = False

    def _turn(self) -> None:
        """Whatever takes time is preceded and followed by the packets that are due: when they leave must not tell
        what arrives or what is done with it. The engine is polled where something came of what arrived or was sent;
        most of an idle tunnel's frames and ticks are cover."""
        host, engine = self._host, self._engine
        began = host.now()
        self._note_read(began)
        sent = self._send_due(began)
        read = bool(self.inbox)
        while self.inbox:
            if engine.lacks_packet:
                self._prepare()
            self._must_poll |= self._read_one()
            sent |= self._send_due(began)
            if host.now() - began >= TURN:
                break
        now = host.now()
        if read:
            self._pace_reading()
            awaited = self._timer_at < float("inf")
            wanted = self._must_poll or sent or self.inbox or self._ended is not None or not awaited
            if not (wanted or engine.must_poll(now) or engine.unprepared):
                return  # nothing came of it, and the next tick is awaited already
        self._note_read(now)
        congested = engine.note_buffered(self._socket.buffered if self._socket is not None else 0, now)
        if self._must_poll or congested or self._ended is not None or engine.must_poll(now):
            self._poll(now)
            if not self._running:
                return
            self._send_due(began)
        more = self._prepare()
        self._send_due(began)
        now, deadline = host.now(), engine.next_deadline()
        if more or self.inbox or (read and now - began >= TURN) or (deadline is not None and deadline <= now):
            self._go_on()
        else:
            # Nothing tells when the socket's buffer has drained.
            latest = now + BUFFER_RETRY if congested else float("inf")
            self._arm(latest if deadline is None else min(deadline, latest))

    def _poll(self, now: float) -> None:
        engine, self._must_poll = self._engine, False
        if self._ended is not None and not self.inbox:
            self._socket, reason, self._ended = None, self._ended, None
            engine.closed(now, reason)
        self._send(engine.poll(now, self._host.unix_time()))
        self._obey()
        self._on_change()

    def _note_read(self, now: float) -> None:
        self._engine.note_read(now, min(self._sure, self.inbox.oldest))

    def _read_one(self) -> bool:
        """True when something came of it."""
        began, oldest = self._host.now(), self.inbox.oldest
        matters = self._engine.receive(self.inbox.take(), began, self._host.unix_time())
        took = self._worked(began) - began
        self._credit += took / (CATCHING_UP if began - oldest > FAR_BEHIND else 1.0)
        return matters

    def _pace_reading(self) -> None:
        """Where the host can, leave in the socket what is too much."""
        if self._socket is not None and self._reading == self.inbox.half_full:
            self._reading = not self._reading
            self._socket.pause(not self._reading)

    @property
    def _may_send(self) -> bool:
        """Packets of a rate that is known to leave time for reading need no credit: when they leave must not tell what
        is read."""
        if self._credit and not self.inbox:
            self._credit = 0.0
        return self._credit > -AHEAD or self._engine.keeps_up

    def _send_due(self, turn: float) -> bool:
        """At least one, then as many as fit into the turn; False when none was due."""
        sent = False
        for _ in range(MOST_AT_ONCE):
            if not self._may_send:
                break
            began = self._host.now()
            frames = self._engine.send_due(began)
            if not frames:
                break
            self._send(frames)
            sent = True
            if self._spent(began) - turn >= TURN:
                break
        return sent

    def _prepare(self) -> bool:
        if not self._may_send:
            return False
        began = self._host.now()
        more = self._engine.prepare(began)
        self._spent(began)
        return more

    def _spent(self, began: float) -> float:
        now = self._worked(began)
        self._credit = min(0.0, self._credit) - (now - began)
        return now

    def _worked(self, began: float) -> float:
        """The engine's rate follows what its work takes."""
        now = self._host.now()
        self._engine.worked(now - began, now)
        return now

    def _send(self, frames: Sequence[bytes | str]) -> None:
        if self._socket is not None:
            for frame in frames:
                self._socket.send(frame)

    # -- the timer --------------------------------------------------------------------------------

    def _arm(self, deadline: float) -> None:
        """Keep one timer for the earliest deadline. A timer that fires early is cheaper than one made anew."""
        if deadline < self._timer_at:
            self._timer.set(max(0.0, deadline - self._host.now()))
            self._timer_at = deadline

    def _fire(self) -> None:
        now, due, self._timer_at = self._host.now(), self._timer_at, float("inf")
        if now > due + LATE and not self._woken:
            # The loop was held up: what arrived meanwhile waits behind this very timer.
            self._go_on()
            self._sure = due
        elif not self._woken:
            self._sure = now
            self._run()
