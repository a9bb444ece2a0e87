"""The exit as it runs: the mixnet client's messages, the router, the flows of each client, and one timer.

The host feeds its mixnet client and then calls `pump`; the service calls `on_output` when it has handed replies to
the mixnet client, so that the host polls it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Protocol

from smolmix_web.errors import StateError
from smolmix_web.mixnet.lp_frame import DATA, LpFrame
from smolmix_web.rand import RandomSource

from ..counters import Counters
from ..errors import ConfigError
from .clients import ConnectedClient
from .config import ExitConfig, ExitFaults
from .malformed import MALFORMED
from .nat import ClientNat, Dialer
from .router import ExitRouter, Reply

_BURST = 64  # packets of one client per turn
_QUEUE_TARGET = 64  # packets in front of the mixnet: more would only wait there instead of in the flows
_BLOCKED_RETRY = 0.1  # s until a client without room is looked at again
_MAX_DELAYED = 10_000  # replies


class Received(Protocol):
    """A message as the mixnet client delivers it."""

    @property
    def data(self) -> bytes: ...

    @property
    def sender_tag(self) -> bytes | None: ...


class Mixnet(Protocol):
    """What the service needs of a mixnet client."""

    def take_messages(self) -> Sequence[Received]: ...

    def send_reply(self, sender_tag: bytes, data: bytes, *, max_retransmissions: int | None, now: float) -> None: ...

    @property
    def queue_length(self) -> int:
        """Packets that wait for their turn."""
        ...

    def reply_room(self, sender_tag: bytes) -> int:
        """Replies that may still be queued: the rest waits for SURBs."""
        ...


class ExitService:
    """Runs on one event loop, whose clock is also the mixnet client's."""

    def __init__(
        self,
        mixnet: Mixnet,
        rng: RandomSource,
        dialer: Dialer,
        *,
        config: ExitConfig | None = None,
        on_output: Callable[[], None],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.config = config or ExitConfig()
        self.faults = ExitFaults()
        self.counters = Counters()
        self.router = ExitRouter(
            self.config,
            rng,
            on_packet=self._on_packet,
            on_gone=self._on_gone,
            faults=self.faults,
            counters=self.counters,
        )
        self._mixnet = mixnet
        self._rng = rng
        self._dialer = dialer
        self._on_output = on_output
        self._loop = loop or asyncio.get_running_loop()
        self._nats: dict[ConnectedClient, ClientNat] = {}
        self._delayed: list[tuple[float, int, Reply]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.Handle | None = None
        self._closed = False

    # -- what the host calls ------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """The mixnet client has received something: messages for us, or SURBs for replies that wait."""
        if self._closed:
            return
        now = self._loop.time()
        for message in self._mixnet.take_messages():
            self.router.receive(message.data, message.sender_tag, now)
        self._settle()

    def close(self) -> None:
        """Drop all flows at once; nobody is told, as when a process ends."""
        self._closed = True
        for handle in (self._timer, self._soon):
            if handle is not None:
                handle.cancel()
        for nat in self._nats.values():
            nat.close()
        self._nats.clear()
        self._delayed.clear()

    def reconfigure(self, **settings: object) -> None:
        """Change settings of `ExitConfig` (`mtu`, `policy`, `firewall`, ...) while clients are connected, as an
        operator changes the interface or the policy. What was announced to clients stays. Raises `ConfigError`."""
        try:
            self.config = dataclasses.replace(self.config, **settings)  # type: ignore[arg-type]
        except TypeError:
            known = {field.name for field in dataclasses.fields(ExitConfig)}
            raise ConfigError("exit", f"unknown setting {sorted(set(settings) - known)}") from None
        self.router.reconfigure(self.config)
        for nat in self._nats.values():
            nat.stack.set_mtu(self.config.mtu)

    def forget_clients(self) -> None:
        """As after a restart."""
        self.router.forget_clients()

    def exhaust_surbs(self, sender_tag: bytes, count: int) -> None:
        """Waste SURBs of a client on empty frames."""
        empty = LpFrame(0, DATA, 0).to_bytes()
        for _ in range(count):
            self._send(Reply(sender_tag, empty, 0), self._loop.time())
        self._on_output()

    @property
    def flows(self) -> int:
        """TCP connections of all clients."""
        return sum(len(nat.stack.connections) for nat in self._nats.values())

    # -- inside -------------------------------------------------------------------------------------------------------

    def _on_packet(self, client: ConnectedClient, packet: bytes, now: float) -> None:
        nat = self._nats.get(client)
        if nat is None:
            nat = ClientNat(self.config, self._dialer, self._rng, self.counters, self._loop, self._wake)
            self._nats[client] = nat
        nat.receive(packet, now)

    def _on_gone(self, client: ConnectedClient) -> None:
        nat = self._nats.pop(client, None)
        if nat is not None:
            nat.close()

    def _wake(self) -> None:
        """A socket has brought something: settle in this turn of the loop, once."""
        if self._soon is None and not self._closed:
            self._soon = self._loop.call_soon(self._settle)

    def _settle(self) -> None:
        """Move everything that can move, then sleep until the next deadline."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        now = self._loop.time()
        wanted: list[float] = []
        for client, nat in list(self._nats.items()):
            queue = self._mixnet.queue_length
            room = max(0, min(_BURST, _QUEUE_TARGET - queue, self._mixnet.reply_room(client.tag)))
            for packet in nat.poll(now, room):
                self.router.deliver(client, packet, now)
            due = nat.next_deadline()
            if due is not None:
                # Output that has no room waits for the queue or for SURBs; both end in `pump`, else in the timer.
                wanted.append(due if room else max(due, now + _BLOCKED_RETRY))
        self.router.poll(now)
        self._forward(now)
        for deadline in (self.router.next_deadline(), self._delayed[0][0] if self._delayed else None):
            if deadline is not None:
                wanted.append(deadline)
        self._arm(min(wanted, default=None), now)

    def _arm(self, due: float | None, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is None:
            return
        if due <= now:
            self._wake()
        else:
            self._timer = self._loop.call_at(due, self._settle)

    def _forward(self, now: float) -> None:
        """Hand replies to the mixnet, with the faults that are switched on."""
        faults = self.faults
        sent = False
        for reply in self.router.take_replies():
            if faults.drop and self._rng.uniform() < faults.drop:
                self.counters.add("faults.dropped_reply")
                continue
            if faults.malformed is not None:
                self.counters.add(f"faults.malformed.{faults.malformed}")
                reply = dataclasses.replace(reply, data=MALFORMED[faults.malformed](self._rng, reply.data))
            copies = 2 if faults.duplicate and self._rng.uniform() < faults.duplicate else 1
            for _ in range(copies):
                delay = faults.delay + faults.jitter * self._rng.uniform()
                if delay <= 0:
                    self._send(reply, now)
                    sent = True
                elif len(self._delayed) < _MAX_DELAYED:
                    heapq.heappush(self._delayed, (now + delay, next(self._order), reply))
        while self._delayed and self._delayed[0][0] <= now:
            self._send(heapq.heappop(self._delayed)[2], now)
            sent = True
        if sent:
            self._on_output()

    def _send(self, reply: Reply, now: float) -> None:
        try:
            self._mixnet.send_reply(
                reply.sender_tag, reply.data, max_retransmissions=reply.max_retransmissions, now=now
            )
        except StateError:  # its queue is full, or its SURBs are long gone
            self.counters.add("replies.dropped")
