"""Another client of ours inside a gateway of the simulation, without a socket: mixnet client and streams, no tunnel."""

from __future__ import annotations

from collections.abc import Callable

from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.mixnet.client import MixnetClient
from smolmix_web.mixnet.keys import ClientKeys
from smolmix_web.mixnet.traffic import TrafficConfig
from smolmix_web.rand import SeededRandom
from smolmix_web.streams.hub import StreamHub
from smolmix_web.streams.stream import Stream

from .events import Event
from .network import SimNetwork

ROOM = 64  # packets in front of the mixnet


class SimPeer:
    """Sends at once, as services do. `on_stream(stream)` hears of every stream that was opened to it."""

    def __init__(self, network: SimNetwork, gateway: str, on_stream: Callable[[Stream], None]) -> None:
        self.network = network
        self._gateway = network.gateway(gateway)
        self._on_stream = on_stream
        self._timer: Event | None = None
        rng = SeededRandom(f"{network.seed}/peer {gateway}")
        self.client = MixnetClient(
            network.crypto,
            rng,
            ClientKeys.generate(rng),
            self._gateway.identity.public,
            network.topology(),
            TrafficConfig(main_stream=False, cover_stream=False),
            network.queue.now,
        )
        self.hub = StreamHub(rng, self.client, network.queue.now)
        self.hub.listen(self._incoming)
        self._gateway.embed(self.address.identity, self._receive)

    @property
    def address(self) -> Recipient:
        return self.client.address

    def _incoming(self) -> None:
        while (stream := self.hub.accept()) is not None:
            self._on_stream(stream)

    def _receive(self, body: bytes) -> None:
        now = self.network.queue.now
        self.client.receive(body, now)
        for message in self.client.take_messages():
            self.hub.receive(message, now)
        self.wake()

    def wake(self) -> None:
        """Soon: something was written or read."""
        self._arm(self.network.queue.now)

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.network.queue.at(when, self._turn)

    def _turn(self) -> None:
        now = self.network.queue.now
        self._timer = None
        self.hub.poll(now, max(0, ROOM - self.client.queue_length))
        for packet in self.client.poll(now, 1000):
            self._gateway.forward(packet)
        times = [time for time in (self.client.next_deadline(), self.hub.next_deadline()) if time is not None]
        if times:
            self._arm(max(now, min(times)))
