"""A mixnet in miniature for one client and one exit, in virtual time: loss, duplicates, delay, SURBs that run out."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from localnet.exit.clients import ConnectedClient
from localnet.exit.config import ExitConfig, ExitFaults
from localnet.exit.router import ExitRouter
from smolmix_web.exit import ExitSession, OutgoingMessage
from smolmix_web.mixnet.fragments import packets_needed, plan_fragments
from smolmix_web.mixnet.messages import REPLIABLE_OVERHEAD, REPLY_OVERHEAD, surb_length
from smolmix_web.netstack import Echo, icmp, ip
from smolmix_web.rand import SeededRandom

RESERVE, BUFFER, REQUEST, STOP = 10, 50, 50, 200
RETRY = 2.0  # s until a lost message is sent again


class Channel:
    """Carries messages of one sender tag both ways. An exit's reply needs a SURB, and the exit asks for more."""

    def __init__(self, seed: str, *, delay: float = 0.3, jitter: float = 0.2, loss: float = 0.0, dup: float = 0.0):
        self.rng = SeededRandom(seed)
        self.delay, self.jitter, self.loss, self.dup = delay, jitter, loss, dup
        self.now = 0.0
        self.tag = b"T" * 16
        self.up = True
        self.pile = 0  # SURBs the exit holds
        self.lowest_pile = 10**9
        self.requested = 0
        self.pending: deque[bytes] = deque()
        self.uplink_packets = 0
        self.to_exit: Callable[[bytes, bytes], None] = lambda data, tag: None
        self.to_client: Callable[[bytes], None] = lambda data: None
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def later(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + delay, next(self._order), action))

    def next_deadline(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def run_due(self) -> None:
        while self._heap and self._heap[0][0] <= self.now:
            heapq.heappop(self._heap)[2]()

    def _carry(self, action: Callable[[], None], retries: int) -> None:
        """One try; the loss of a try is noticed and repeated `RETRY` later."""
        if not self.up or self.rng.uniform() < self.loss:
            if retries:
                self.later(RETRY, lambda: self._carry(action, retries - 1))
            return
        for _ in range(2 if self.rng.uniform() < self.dup else 1):
            self.later(self.delay + self.rng.exponential(self.jitter), action)

    # client side
    def send(self, message: OutgoingMessage) -> None:
        plan = plan_fragments(REPLIABLE_OVERHEAD + message.surbs * surb_length() + len(message.data) + 1)
        surbs = message.surbs
        if self.pile < STOP:
            surbs += plan.unused // surb_length()  # as the mixnet client fills messages
        self.uplink_packets += plan.fragments
        retries = 30 if message.max_retransmissions is None else message.max_retransmissions

        def arrive() -> None:
            self.stock(surbs)
            self.to_exit(message.data, self.tag)

        self._carry(arrive, retries)

    # exit side
    def stock(self, count: int) -> None:
        self.pile += count
        while self.pending and self.pile > RESERVE:
            self._spend(self.pending.popleft(), 0)
        self._ask()

    def reply(self, tag: bytes, data: bytes, retransmissions: int) -> None:
        assert tag == self.tag
        if self.pile <= RESERVE:
            self.pending.append(data)
        else:
            self._spend(data, retransmissions)
        self._ask()

    def _spend(self, data: bytes, retransmissions: int) -> None:
        self.pile -= packets_needed(REPLY_OVERHEAD + len(data))
        self.lowest_pile = min(self.lowest_pile, self.pile)
        self._carry(lambda: self.to_client(data), retransmissions)

    def _ask(self) -> None:
        have = self.pile + self.requested
        if self.pile and have < STOP and have < len(self.pending) + RESERVE + BUFFER:
            self.pile -= 1
            self.requested += REQUEST

            def asked() -> None:
                self.uplink_packets += packets_needed(REPLIABLE_OVERHEAD + REQUEST * surb_length())
                self._carry(answered, 30)

            def answered() -> None:
                self.requested = max(0, self.requested - REQUEST)
                self.stock(REQUEST)

            self._carry(asked, 10)


def resolver(packet: bytes) -> bytes | None:
    """The answer of 8.8.8.8 or 1.1.1.1 to an echo request; None for what is neither."""
    source, destination = packet[12:16], packet[16:20]
    if packet[9] != ip.ICMP or destination not in (bytes((8, 8, 8, 8)), bytes((1, 1, 1, 1))):
        return None
    echo = icmp.parse(source, destination, packet[20:])
    assert isinstance(echo, Echo)
    body = icmp.build_echo(destination, source, dataclasses.replace(echo, reply=True))
    return ip.build(destination, source, ip.ICMP, body, 7)


class Pair:
    """A session and a router on one channel."""

    def __init__(
        self,
        seed: str,
        *,
        config: ExitConfig | None = None,
        session: dict[str, Any] | None = None,
        on_packet: Callable[[Pair, ConnectedClient, bytes], None] | None = None,
        **channel: Any,
    ) -> None:
        self.channel = Channel(seed, **channel)
        self.faults = ExitFaults()
        self.gone: list[ConnectedClient] = []
        self.up: list[bytes] = []
        self.down: list[bytes] = []
        self.events: list[Any] = []

        def routed(client: ConnectedClient, packet: bytes, now: float) -> None:
            reply = resolver(packet)
            if reply is not None:
                self.router.deliver(client, reply, now)
                return
            self.up.append(packet)
            if on_packet is not None:
                on_packet(self, client, packet)

        self.router = ExitRouter(
            config or ExitConfig(),
            SeededRandom(seed + " exit"),
            on_packet=routed,
            on_gone=self.gone.append,
            faults=self.faults,
        )
        self.session = ExitSession(SeededRandom(seed + " client"), **(session or {}))
        self.channel.to_exit = lambda data, tag: self.router.receive(data, tag, self.now)
        self.channel.to_client = lambda data: self.session.receive(data, self.now)

    @property
    def now(self) -> float:
        return self.channel.now

    def new_session(self, **arguments: Any) -> None:
        """The client starts again, under the same sender tag."""
        self.session = ExitSession(SeededRandom(f"again {self.now}"), **arguments)

    def settle(self) -> None:
        for message in self.session.poll(self.now):
            self.channel.send(message)
        if self.session.take_check():
            self.session.path_proven(self.now, self.now)
        self.router.poll(self.now)
        for reply in self.router.take_replies():
            self.channel.reply(reply.sender_tag, reply.data, reply.max_retransmissions)
        self.events += self.session.take_events()
        self.down += self.session.take_packets()

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        """From event to event; stops early when `until` holds."""
        end = self.now + seconds
        for _ in range(1_000_000):
            self.settle()
            if until is not None and until():
                return
            times = [self.channel.next_deadline(), self.session.next_deadline(), self.router.next_deadline()]
            due = min((time for time in times if time is not None), default=None)
            if due is None or due > end:
                self.channel.now = end
                return
            self.channel.now = max(self.now, due)
            self.channel.run_due()
        raise AssertionError("the simulation never rests")

    def connect(self, seconds: float = 70.0) -> None:
        self.session.start(self.now)
        self.run(seconds, until=lambda: bool(self.events))

    def send(self, packets: Sequence[bytes]) -> int:
        return self.session.send_packets(packets, self.now)


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Callable[..., Pair]:
    """Makes a `Pair` seeded by the test's name."""
    return lambda **arguments: Pair(request.node.nodeid, **arguments)
