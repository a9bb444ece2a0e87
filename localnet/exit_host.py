"""An exit: a gateway with a mixnet client of its own inside, whose messages go to the exit service (ipr 5.7).

The client's packets enter and leave through the gateway's forwarder, without a WebSocket. Its main stream is not paced,
its cover stream is on, as at a real exit. One timer and one callback per turn of the loop drive client and service.
"""

from __future__ import annotations

import asyncio
import time

from smolmix_web.errors import DirectoryError
from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.mixnet.client import MixnetClient
from smolmix_web.mixnet.keys import ClientKeys
from smolmix_web.mixnet.traffic import TrafficConfig
from smolmix_web.rand import SeededRandom, SystemRandom

from .config import NetworkConfig
from .counters import Counters
from .directory import Directory
from .exit import ExitConfig, ExitService
from .gateway import Gateway
from .names import DialMap

SURB_BUFFER = 50
PACKETS_PER_TURN = 4
"""A packet takes a millisecond or two to build: the nodes of this process must come in between."""
TOPOLOGY_CHECK = 1.0
COVER_INTERVAL, FULL_COVER = 0.200, 2
"""Mean seconds between cover packets of an exit, where there are so many; more share the same rate, which is what an
idle network costs the machine: each packet is made, goes through five nodes, and its ack comes back."""


class ExitHost:
    """One exit. `address` is the Nym address clients send to; `service.faults` makes it misbehave."""

    def __init__(
        self,
        gateway: Gateway,
        seed: str,
        directory: Directory,
        dial_map: DialMap,
        config: NetworkConfig,
        number: int = 1,
    ) -> None:
        """`number` of the exit, from 1."""
        self._number = number
        self.gateway = gateway
        self.name = gateway.name
        self.keys = ClientKeys.generate(SeededRandom(f"{seed}/{self.name}/client"))
        crypto = gateway.crypto
        self.address = Recipient(
            self.keys.identity(crypto).public,
            crypto.x25519_base(self.keys.encryption_secret),
            gateway.identity.public,
        )
        self._directory = directory
        self._dial_map = dial_map
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._client: MixnetClient | None = None
        self._service: ExitService | None = None
        self._counters = Counters()
        self._seen: object = None
        self._turn_due: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._check: asyncio.TimerHandle | None = None

    @property
    def version(self) -> str:
        """The build version the directory announces."""
        return next(e.version for e in self._directory.state.entries if e.plan.name == self.name)

    @property
    def client(self) -> MixnetClient:
        assert self._client is not None
        return self._client

    @property
    def service(self) -> ExitService:
        assert self._service is not None
        return self._service

    # -- life ---------------------------------------------------------------------------------------
    def start(self) -> None:
        """A new client and service under the same address: nothing is known of earlier clients and their SURBs."""
        rng, before = SystemRandom(), self._client
        traffic = TrafficConfig(
            main_stream=False,
            cover_stream=self._config.exit_cover,
            cover_interval=COVER_INTERVAL * max(1.0, self._config.exits / FULL_COVER),
            surb_buffer=SURB_BUFFER,
        )
        settings: dict[str, object] = {"build_version": self.version, **self._config.exit_options}
        if self._config.exit_sources:
            settings["source"] = f"127.0.1.{self._number}"
        exit_config = ExitConfig.from_mapping(settings)
        self._client = MixnetClient(
            self.gateway.crypto,
            rng,
            self.keys,
            self.gateway.identity.public,
            None,
            traffic,
            self._loop.time(),
        )
        if before is not None:
            self._client.succeed(before, self._loop.time())
        self._service = ExitService(
            self._client, rng, self._dial_map, config=exit_config, on_output=self._wake, loop=self._loop
        )
        self._seen = None
        self.gateway.embed(self.address.identity, self._receive)
        self.refresh()
        self._check_topology()

    def stop(self) -> None:
        for handle in (self._turn_due, self._timer, self._check):
            if handle is not None:
                handle.cancel()
        self._turn_due = self._timer = self._check = None
        self.gateway.embed(self.address.identity, None)
        if self._service is not None:
            self._service.close()

    def restart(self) -> None:
        """As after a crash of the exit's process."""
        self.stop()
        self.start()

    def counters(self) -> dict[str, int]:
        if self._service is None or self._client is None:
            return {}
        statistics = {f"client.{name}": value for name, value in vars(self._client.statistics).items() if value}
        return {**self._service.counters, **statistics, **self._counters}

    # -- topology -------------------------------------------------------------------------------------
    def _check_topology(self) -> None:
        self._check = self._loop.call_later(TOPOLOGY_CHECK, self._check_topology)
        self.refresh()

    def refresh(self) -> None:
        """Take the directory's present state, if it differs from the one in use."""
        state = self._directory.state
        rotation = state.clock.at(time.time()).rotation
        listed = tuple((entry.plan.name, entry.listed, entry.performance) for entry in state.entries)
        if self._client is None or self._seen == (rotation, listed):
            return
        try:
            topology = self._directory.topology()
        except DirectoryError:
            # As any client with an unusable directory: the last good state stays.
            self._counters.add("topology_failures")
            return
        self._seen = (rotation, listed)
        self._client.set_topology(topology, self._loop.time())
        self._wake()

    # -- packets --------------------------------------------------------------------------------------
    def _receive(self, body: bytes) -> None:
        self.client.receive(body, self._loop.time())
        self._wake()

    def _wake(self) -> None:
        """Run client and service once in this turn of the loop."""
        if self._turn_due is None and self._service is not None:
            self._turn_due = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        # Cleared first: what the service does below may ask for another turn.
        self._turn_due = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        client = self.client
        self.service.pump()
        now = self._loop.time()
        packets = client.poll(now, PACKETS_PER_TURN)
        for packet in packets:
            self.gateway.forward(packet)
        if len(packets) == PACKETS_PER_TURN:
            self._wake()
        if self._turn_due is not None:
            return
        deadline = client.next_deadline()
        if deadline is not None:
            if deadline <= now:
                self._wake()
            else:
                self._timer = self._loop.call_at(deadline, self._timed)

    def _timed(self) -> None:
        self._timer = None
        self._wake()
