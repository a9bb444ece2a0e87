"""The simulated WebSocket between a host and a gateway, with everything that can happen to one.

A `SimSocket` is both ends and the TCP connection between them. Frames arrive in order and whole, or not at all.
`cut`, `close`, `freeze`, `vanish` may be called at any moment; `FrameFaults` does it at the Nth frame of a direction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from smolmix_web.host.base import WebSocketEvents

from .links import Link, flip_bit

if TYPE_CHECKING:
    from .network import SimNetwork

OPEN_TIMEOUT = 15.0  # as the hosts of the real runtimes

Direction = Literal["up", "down"]
Frame = bytes | str
SocketAction = Literal["cut", "close", "freeze", "vanish", "drop", "duplicate", "corrupt"]


class ServerEnd(Protocol):
    """What a gateway gives to accept a connection."""

    def receive(self, frame: Frame) -> None: ...

    def lost(self) -> None:
        """The connection is gone; nothing can be sent."""
        ...


class FrameRecord(NamedTuple):
    """One frame as the wire saw it; `time` is when the client sent it or was given it."""

    time: float
    direction: Direction
    size: int
    binary: bool


@dataclass
class FrameFaults:
    """Counts the frames of all sockets of a network and strikes at given numbers (from 0), once each."""

    up: int = 0
    down: int = 0
    plan: dict[tuple[Direction, int], SocketAction | Callable[[SimSocket], object]] = field(default_factory=dict)
    struck: list[tuple[Direction, int]] = field(default_factory=list)

    def at(self, direction: Direction, number: int, action: SocketAction | Callable[[SimSocket], object]) -> None:
        """When the frame with this number is about to be sent: what happens instead."""
        self.plan[direction, number] = action

    def next(self, direction: Direction) -> SocketAction | Callable[[SimSocket], object] | None:
        if direction == "up":
            number, self.up = self.up, self.up + 1
        else:
            number, self.down = self.down, self.down + 1
        action = self.plan.pop((direction, number), None) if self.plan else None
        if action is not None:
            self.struck.append((direction, number))
        return action


class Transcript:
    """A running hash of every frame with its time, and the frames' outlines if `keep`."""

    def __init__(self) -> None:
        self.keep = False
        self.frames: list[FrameRecord] = []
        self.count = 0
        self._hash = hashlib.sha256()

    def add(self, time: float, direction: Direction, frame: Frame) -> None:
        self.count += 1
        data = frame.encode() if isinstance(frame, str) else frame
        self._hash.update(b"%s %r %d " % (direction.encode(), time, len(data)))
        self._hash.update(data)
        if self.keep:
            self.frames.append(FrameRecord(time, direction, len(data), isinstance(frame, bytes)))

    def digest(self) -> str:
        return self._hash.hexdigest()


class SimSocket:
    """Made by `SimNetwork.connect`. The methods of `WebSocketHandle` are the host's; the rest are faults and the
    gateway's side."""

    def __init__(
        self,
        network: SimNetwork,
        url: str,
        events: WebSocketEvents,
        dispatch: Callable[..., None],
        up: Link,
        down: Link,
        log: Transcript,
    ) -> None:
        self.url = url
        self.state: Literal["opening", "open", "closed"] = "opening"
        self.server: ServerEnd | None = None
        self.reason = ""
        self.frames_up = 0
        self.frames_down = 0
        self._network = network
        self._queue = network.queue
        self._events = events
        self._dispatch = dispatch
        self._up = up
        self._down = down
        self._log = log
        self._frozen: set[Direction] = set()
        self._held: list[tuple[Direction, Frame]] = []
        self._lost_to: set[Direction] = set()

    # -- the host's side

    def send(self, frame: Frame) -> None:
        if self.state != "open":
            return
        self.frames_up += 1
        self._log.add(self._queue.now, "up", frame)
        self._send("up", frame)

    def close(self) -> None:
        """Orderly, by the host."""
        if self.state != "closed":
            self._end("closed by us")
            self._tell_server()

    def pause(self, paused: bool) -> None:
        """As in a browser: void."""

    @property
    def buffered(self) -> int:
        held = sum(len(frame) for direction, frame in self._held if direction == "up")
        return held + self._up.visible() if self.state == "open" else 0

    # -- the gateway's side

    def accept(self, server: ServerEnd) -> None:
        """The upgrade succeeded at the gateway; the client learns it half a round trip later."""
        self.server = server
        self._down.send(b"", self._opened)

    def server_send(self, frame: Frame) -> None:
        if self.server is not None and self.state != "closed":
            self.frames_down += 1
            self._send("down", frame)

    def server_drop(self, reason: str = "closed by the gateway (code 1006)") -> None:
        """The gateway ends the connection; what it sent before still arrives."""
        if self.server is None:
            return
        self.server = None
        self._pass("down", None, lambda _: self._end(reason))

    def ping(self, pong: Callable[[], None]) -> None:
        """A WebSocket ping of the gateway; a living client answers by itself."""
        if self.state == "open" and not self._frozen and not self._lost_to:
            self._down.send(b"", lambda _: self._dispatch(lambda: self._up.send(b"", lambda _: pong())))

    # -- faults

    def cut(self, reason: str = "connection lost: reset") -> None:
        """Both ends see a reset now; what is under way is lost."""
        self._end(reason)
        self._tell_server(at_once=True)

    def server_close(self) -> None:
        """An orderly end by the gateway, with a close frame."""
        server = self.server
        self.server_drop("closed by the gateway (code 1000)")
        if server is not None:
            server.lost()

    def freeze(self, *directions: Direction) -> None:
        """Frames of these directions (default: both) wait, as on a line that is dead for a while."""
        self._frozen.update(directions or ("up", "down"))

    def thaw(self) -> None:
        """The line is back: what waited arrives now, in order."""
        self._frozen.clear()
        held, self._held = self._held, []
        for direction, frame in held:
            self._transmit(direction, frame)

    def vanish(self) -> None:
        """The gateway's end is gone and the client is not told, as after a NAT lost the flow."""
        self._lost_to = {"up", "down"}
        self._held.clear()
        server, self.server = self.server, None
        if server is not None:
            server.lost()

    # -- inside

    def start(self) -> None:
        """The network tries to connect (called once, by it)."""
        self._queue.after(OPEN_TIMEOUT, self._expired)
        if self._up.conditions.down or self._down.conditions.down:
            return
        # TCP's handshake and the upgrade request: one round trip and a half.
        delay = self._up.conditions.latency + self._down.conditions.latency
        self._up.send(b"", lambda _: self._network.arrived(self), delay=delay)

    def _expired(self) -> None:
        if self.state == "opening":
            self._end(f"no connection in {OPEN_TIMEOUT:g} s")
            self._tell_server()

    def refused(self) -> None:
        self._down.send(b"", lambda _: self._end("cannot connect: refused"))

    def _opened(self, _: bytes) -> None:
        if self.state == "opening" and not self._frozen and not self._lost_to:
            self.state = "open"
            self._dispatch(self._events.socket_opened)

    def _send(self, direction: Direction, frame: Frame) -> None:
        action = self._network.faults.next(direction)
        if action is None:
            self._transmit(direction, frame)
        elif action == "cut":
            self.cut()
        elif action == "close":
            self.server_close()
        elif action == "vanish":
            self.vanish()
        elif action == "freeze":
            self.freeze()
            self._transmit(direction, frame)
        elif action == "duplicate":
            self._transmit(direction, frame)
            self._transmit(direction, frame)
        elif action == "corrupt":
            spoiled = frame[: len(frame) // 2] if isinstance(frame, str) else flip_bit(self._network.rng, frame)
            self._transmit(direction, spoiled)
        elif callable(action):
            action(self)
            self._transmit(direction, frame)

    def _transmit(self, direction: Direction, frame: Frame) -> None:
        if direction in self._lost_to:
            return
        if direction in self._frozen:
            self._held.append((direction, frame))
        elif direction == "up":
            self._pass("up", frame, self._at_gateway)
        else:
            self._pass("down", frame, self._at_client)

    def _pass(self, direction: Direction, frame: Frame | None, deliver: Callable[..., object]) -> None:
        link = self._up if direction == "up" else self._down
        data = frame.encode() if isinstance(frame, str) else frame or b""
        link.send(data, lambda _: deliver(frame))

    def _at_gateway(self, frame: Frame) -> None:
        if self.server is not None and self.state == "open" and "up" not in self._lost_to:
            if "up" in self._frozen:
                self._held.append(("up", frame))
            else:
                self.server.receive(frame)

    def _at_client(self, frame: Frame) -> None:
        if self.state == "open" and "down" not in self._lost_to:
            if "down" in self._frozen:
                self._held.append(("down", frame))
            else:
                self._dispatch(self._message, frame)

    def _message(self, frame: Frame) -> None:
        if self.state == "open":
            self._log.add(self._queue.now, "down", frame)
            self._events.socket_message(frame)

    def _end(self, reason: str) -> None:
        if self.state == "closed":
            return
        self.state = "closed"
        self.reason = reason
        self._held.clear()
        # Never from inside a call of the owner.
        self._queue.at(self._queue.now, self._dispatch, self._events.socket_closed, reason)

    def _tell_server(self, *, at_once: bool = False) -> None:
        server, self.server = self.server, None
        if server is not None:
            if at_once:
                server.lost()
            elif not self._lost_to:
                self._queue.after(self._up.conditions.latency, server.lost)
