"""An exit of the simulation: mixnet client, the exit's side of the protocol, and a stack for each client's flows.

What is real code: `MixnetClient` in the replying role, `ExitRouter`, and `Stack` that takes any address. One event of
the queue serves as its only timer.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from localnet.counters import Counters
from localnet.exit.clients import ConnectedClient
from localnet.exit.config import ExitConfig, ExitFaults
from localnet.exit.packets import EXIT_IPV4, EXIT_IPV6
from localnet.exit.router import ExitRouter
from smolmix_web.errors import ConnectionAborted, StateError
from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.mixnet.client import MixnetClient
from smolmix_web.mixnet.keys import ClientKeys
from smolmix_web.mixnet.traffic import TrafficConfig
from smolmix_web.netstack import Echo, Endpoint, ErrorKind, Stack, StackConfig, SynRequest, TcpConfig
from smolmix_web.rand import SeededRandom

from .events import Event
from .gateway import SimGateway
from .world import Flow, World

if TYPE_CHECKING:
    from .network import SimNetwork

SURB_BUFFER = 50
QUEUE_TARGET = 64  # packets in front of the mixnet; the rest waits in the flows
BURST = 64
BLOCKED_RETRY = 0.1
RELAY_BUFFER = 524_288


class ClientFlows:
    """The far ends of one client's connections."""

    def __init__(self, exit_: SimExit, rng: SeededRandom) -> None:
        self._exit = exit_
        self._world: World = exit_.network.world
        self._queue = exit_.queue
        tcp = TcpConfig(
            send_buffer=RELAY_BUFFER,
            receive_buffer_max=RELAY_BUFFER,
            lateness=exit_.network.server_lateness,
            congestion=exit_.network.server_congestion,
        )
        self.stack = Stack(
            [EXIT_IPV4, EXIT_IPV6],
            exit_.router.config.mtu,
            rng,
            accept_any=True,
            config=StackConfig(tcp=tcp, udp_unreachable=False),
        )
        self.stack.on_syn = self._syn
        self.stack.on_udp = self._udp
        self.stack.on_echo = self._echo

    def close(self) -> None:
        self.stack.abort_all(ConnectionAborted("the client of the exit is gone"), self._queue.now)

    def _syn(self, request: SynRequest, now: float) -> None:
        if self._world.knows(request.local.address):
            self._queue.after(self._world.dial_delay, self._dialled, request)

    def _dialled(self, request: SynRequest) -> None:
        if request.cancelled:
            return
        service = self._world.service_at(request.local)
        now = self._queue.now
        if service is None:
            request.refuse(now)
        else:
            self._world.flows_opened += 1
            flow = Flow(request.accept(now), self._queue, self._exit.wake, self._exit.name)
            flow.start(service(flow, self._world))
        self._exit.wake()

    def _udp(self, source: Endpoint, destination: Endpoint, data: bytes, now: float) -> None:
        self._queue.after(self._world.dial_delay, self._answered, source, destination, data)

    def _answered(self, source: Endpoint, destination: Endpoint, data: bytes) -> None:
        answers = self._world.answer(data, source, destination)
        if answers is not None:
            for answer in answers:
                self.stack.send_udp(destination, source, answer, self._queue.now)
        elif self._world.knows(destination.address):
            self.stack.send_udp_error(ErrorKind.PORT_UNREACHABLE, source, destination, self._queue.now)
        self._exit.wake()

    def _echo(
        self,
        source: IPv4Address | IPv6Address,
        destination: IPv4Address | IPv6Address,
        echo: Echo,
        now: float,
    ) -> bool:
        return self._world.knows(destination)


class SimExit:
    """One exit inside a gateway. `router.faults` makes it misbehave; `crash` and `restart` make it forget everybody."""

    def __init__(self, network: SimNetwork, gateway: SimGateway, version: str, settings: dict[str, object]) -> None:
        self.network = network
        self.queue = network.queue
        self.gateway = gateway
        self.name = gateway.name
        self.version = version
        self.settings = dict(settings)
        self.running = False
        self.faults = ExitFaults()
        self.counters = Counters()
        self.lives = 0
        crypto = network.crypto
        self.keys = ClientKeys.generate(SeededRandom(f"{network.seed}/{self.name}/exit"))
        self.address = Recipient(
            self.keys.identity(crypto).public,
            crypto.x25519_base(self.keys.encryption_secret),
            gateway.identity.public,
        )
        self.client: MixnetClient
        self._before: MixnetClient | None = None  # of the life before
        self.router: ExitRouter
        self._flows: dict[ConnectedClient, ClientFlows] = {}
        self._timer: Event | None = None
        self._woken = False
        self._rng: SeededRandom

    # -- life

    def start(self) -> None:
        """A new process under the old address: nothing is known of earlier clients and their SURBs."""
        self.lives += 1
        self.running = True
        self._rng = SeededRandom(f"{self.network.seed}/{self.name}/life {self.lives}")
        traffic = TrafficConfig(
            main_stream=False, cover_stream=self.network.exit_cover, surb_buffer=SURB_BUFFER, surb_request_max=50
        )
        self.client = MixnetClient(
            self.network.crypto,
            self._rng,
            self.keys,
            self.gateway.identity.public,
            self.network.topology() if self._before is None else None,
            traffic,
            self.queue.now,
        )
        if self._before is not None:
            self.client.succeed(self._before, self.queue.now)
            self.client.set_topology(self.network.topology(), self.queue.now)
        self._before = self.client
        config = ExitConfig.from_mapping({"build_version": self.version, **self.settings})
        self.router = ExitRouter(
            config, self._rng, on_packet=self._packet, on_gone=self._gone, faults=self.faults, counters=self.counters
        )
        self.gateway.embed(self.address.identity, self._receive)
        self.wake()

    def crash(self) -> None:
        self.running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.gateway.embed(self.address.identity, None)
        for flows in self._flows.values():
            flows.close()
        self._flows.clear()

    def restart(self) -> None:
        if self.running:
            self.crash()
        self.start()

    def reconfigure(self, **settings: object) -> None:
        """New settings (`policy`, `mtu`, `versions`, ...) and a restart with them, as an operator does it."""
        self.settings.update(settings)
        self.restart()

    def forget_clients(self) -> None:
        """The table of clients is lost, the process and its SURBs stay."""
        self.router.forget_clients()

    @property
    def flows(self) -> int:
        """TCP connections of all clients."""
        return sum(len(flows.stack.connections) for flows in self._flows.values())

    # -- packets

    def _receive(self, body: bytes) -> None:
        if not self.running:
            return
        now = self.queue.now
        self.client.receive(body, now)
        for message in self.client.take_messages():
            self.router.receive(message.data, message.sender_tag, now)
        self.wake()

    def _packet(self, client: ConnectedClient, packet: bytes, now: float) -> None:
        flows = self._flows.get(client)
        if flows is None:
            flows = self._flows[client] = ClientFlows(self, self._rng)
        flows.stack.receive(packet, now)

    def _gone(self, client: ConnectedClient) -> None:
        flows = self._flows.pop(client, None)
        if flows is not None:
            flows.close()

    # -- time

    def wake(self) -> None:
        """Run once in this instant, after what is happening now."""
        if not self._woken and self.running:
            self._woken = True
            self.queue.at(self.queue.now, self._turn, self.lives)

    def _turn(self, life: int) -> None:
        self._woken = False
        if not self.running or life != self.lives:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now, client, router = self.queue.now, self.client, self.router
        times: list[float] = []
        for owner, flows in list(self._flows.items()):
            room = max(0, min(BURST, QUEUE_TARGET - client.queue_length, client.reply_room(owner.tag)))
            for packet in flows.stack.poll(now, room):
                router.deliver(owner, packet, now)
            due = flows.stack.next_deadline()
            if due is not None:
                times.append(due if room else max(due, now + BLOCKED_RETRY))
        router.poll(now)
        for reply in router.take_replies():
            self._reply(reply.sender_tag, reply.data, reply.max_retransmissions)
        for packet in client.poll(now, 1000):
            self.gateway.forward(packet)
        for deadline in (router.next_deadline(), client.next_deadline()):
            if deadline is not None:
                times.append(deadline)
        if times:
            self._timer = self.queue.at(min(times), self._timed)

    def _reply(self, tag: bytes, data: bytes, retransmissions: int) -> None:
        faults = self.faults
        if faults.drop and self._rng.uniform() < faults.drop:
            return
        copies = 2 if faults.duplicate and self._rng.uniform() < faults.duplicate else 1
        delay = faults.delay + faults.jitter * self._rng.uniform() if faults.delay or faults.jitter else 0.0
        for _ in range(copies):
            if delay > 0:
                self.queue.after(delay, self._send, tag, data, retransmissions, self.lives)
            else:
                self._send(tag, data, retransmissions, self.lives)

    def _send(self, tag: bytes, data: bytes, retransmissions: int, life: int) -> None:
        if not self.running or life != self.lives:
            return
        try:
            self.client.send_reply(tag, data, max_retransmissions=retransmissions, now=self.queue.now)
        except StateError:  # its queue is full, or its SURBs are long gone
            self.counters.add("replies.dropped")
        self.wake()

    def send_raw(self, tag: bytes, data: bytes) -> None:
        """A reply of a test's own making to a client, e.g. garbage."""
        self._send(tag, data, 0, self.lives)

    def _timed(self) -> None:
        self._timer = None
        self._turn(self.lives)
