"""The simulated machine of a client: implements `smolmix_web.host.base.Host` on the queue of a `SimNetwork`.

It works with and without asyncio (only `http_get` is a coroutine). It can sleep (`suspend`), be slow (`load`, see
costs.py), have a wrong clock, and it counts how often it was woken and which timers are still set.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from smolmix_web.errors import StateError
from smolmix_web.host.base import HttpAnswer, WebSocketEvents
from smolmix_web.rand import SeededRandom
from tests.storage.memory_vault import MemoryVault, Place

from .costs import EVENT, CostlyCrypto, coldness, seconds
from .directory import http_get
from .events import Event
from .network import SimNetwork
from .sockets import SimSocket


class HostTimer:
    """A timer of the host; `cancel` as asked for by `TimerHandle`."""

    __slots__ = ("_callback", "_due_at", "_event", "_host")

    def __init__(self, host: SimHost, callback: Callable[[], None]) -> None:
        self._host = host
        self._callback = callback
        self._due_at = 0.0
        self._event: Event | None = None
        host.timers += 1

    def arm(self, due_at: float) -> None:
        """`due_at` by the host's clock, which may stand still while the machine sleeps."""
        self._due_at = due_at
        queue = self._host.network.queue
        # Never early, not even by the rounding of the difference of two clocks.
        late = 1e-9 if self._host.slept else 0.0
        self._event = queue.at(due_at + self._host.slept + late, self._due)

    def _due(self) -> None:
        self._event = None
        self._host.dispatch(self._run)

    def _run(self) -> None:
        if self._callback is _nothing:
            return
        if self._host.now() < self._due_at:
            self.arm(self._due_at)
            return
        callback, self._callback = self._callback, _nothing
        self._host.timers -= 1
        self._host.timer_wakes += 1
        callback()

    def cancel(self) -> None:
        if self._event is not None:
            self._event.cancel()
            self._event = None
        if self._callback is not _nothing:
            self._callback = _nothing
            self._host.timers -= 1


def _nothing() -> None:
    """A timer that was called off."""


class HostAlarm:
    """See `smolmix_web.host.base.Alarm`."""

    def __init__(self, host: SimHost, callback: Callable[[], None]) -> None:
        self._host = host
        self._callback = callback
        self._timer: HostTimer | None = None
        self._soon: object = None  # the newest call that is wanted as soon as possible

    def set(self, delay: float) -> None:
        self.close()
        if delay > 0:
            self._timer = self._host.call_later(delay, self._callback)
            return
        self._soon = call = object()
        self._host.call_soon(lambda: self._callback() if self._soon is call else None)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._soon = None


class SimHost:
    """See the module. `clock_error`: seconds that its unix clock is ahead."""

    name = "simulated"

    def __init__(self, network: SimNetwork, seed: object = "client") -> None:
        self.network = network
        self.rng = SeededRandom(f"{network.seed}/host {seed}")
        self.crypto: Any = CostlyCrypto(network.crypto, self.spend)
        self.clock_error = 0.0
        self.wakes = 0  # by timers, sockets and itself
        self.timer_wakes = 0
        self.timers = 0  # set and neither due nor cancelled
        self.lines: list[tuple[float, str]] = []
        self.sockets: list[SimSocket] = []
        self.gets: list[str] = []
        self.places: dict[str, Place] = {}
        self.cold = False  # its first work takes longer
        self._done = 0.0  # shares of a packet's work
        self.load = 0.0  # share of the machine that default traffic takes; may be changed at any time
        self.worked = 0.0  # s
        self._working = False
        self._asleep = False
        self.slept = 0.0  # s that the monotonic clock missed
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._frames_waiting = 0

    # -- Host

    def now(self) -> float:
        return self.network.queue.now - self.slept

    def unix_time(self) -> float:
        return self.network.queue.unix_time() + self.clock_error

    def call_later(self, delay: float, callback: Callable[[], None]) -> HostTimer:
        timer = HostTimer(self, callback)
        timer.arm(self.now() + max(0.0, delay))
        return timer

    def alarm(self, callback: Callable[[], None]) -> HostAlarm:
        return HostAlarm(self, callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.network.queue.at(self.network.queue.now, self.dispatch, callback)

    async def http_get(self, url: str, *, timeout: float, max_bytes: int, fields: Any = True) -> HttpAnswer:
        self.gets.append(url)
        return await http_get(self.network, url, timeout=timeout, max_bytes=max_bytes)

    def open_websocket(self, url: str, events: WebSocketEvents) -> SimSocket:
        socket = self.network.connect(url, events, self._arrived)
        self.sockets.append(socket)
        return socket

    async def open_vault(self, client_id: str) -> MemoryVault:
        """Places outlive the tunnel; give them to another host to start the machine again."""
        place = self.places.setdefault(client_id, Place())
        if place.holder is not None:
            raise StateError(f"{client_id!r} is in use", code="client_id_in_use", phase="setup")
        place.holder = MemoryVault(place)
        return place.holder

    def log(self, text: str) -> None:
        self.lines.append((self.now(), text))

    def warn(self, text: str) -> None:
        self.lines.append((self.now(), f"warning: {text}"))

    # -- the machine

    def dispatch(self, action: Callable[..., Any], *args: Any) -> None:
        """Everything that reaches the client's code comes through here, one thing after another: a machine that works
        or sleeps gets it later."""
        self._waiting.append((action, args))
        if len(self._waiting) == 1 and not self._working and not self._asleep:
            self._next()

    def _next(self) -> None:
        if self._asleep or self._working or not self._waiting:
            return
        action, args = self._waiting.popleft()
        self.wakes += 1
        self._working = True
        try:
            action(*args)
        finally:
            self._working = False
            self._go_on()

    def _go_on(self) -> None:
        if self._waiting:
            self.network.queue.at(self.network.queue.now, self._next)

    def _arrived(self, action: Callable[..., Any], *args: Any) -> None:
        """Something of the socket."""
        self._frames_waiting += 1
        self.dispatch(self._hand_over, action, *args)

    def _hand_over(self, action: Callable[..., Any], *args: Any) -> None:
        self._frames_waiting -= 1
        self.spend(EVENT)
        action(*args)

    def spend(self, share: float) -> None:
        """Work for as long as this share of a packet takes; the rest of the world goes on."""
        if self.load and self._working:
            took = seconds(share, self.load) * (coldness(self._done) if self.cold else 1.0)
            self._done += share
            self.worked += took
            self.network.queue.run(took)

    @property
    def frames_waiting(self) -> int:
        """That arrived and have not been handed to the client."""
        return self._frames_waiting

    def suspend(self, seconds: float, *, monotonic: bool = True) -> None:
        """The machine sleeps while the rest of the world goes on. `monotonic` False: its monotonic clock stands
        still meanwhile, as on some systems."""
        self._asleep = True
        try:
            self.network.queue.run(seconds)
        finally:
            self._asleep = False
        if not monotonic:
            self.slept += seconds
        self._go_on()
