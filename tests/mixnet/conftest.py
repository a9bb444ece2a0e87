"""A whole mix network in virtual time: real Sphinx at every hop, faults on every link, clients at two gateways."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import SphinxError
from smolmix_web.mixnet.acks import split_ack
from smolmix_web.mixnet.addresses import pack_node_address, pad_node_address, unpad_node_address
from smolmix_web.mixnet.client import MixnetClient, ReceivedMessage, TrafficConfig
from smolmix_web.mixnet.directory import EntryDetails, KeyRotationInfo
from smolmix_web.mixnet.keys import ClientKeys
from smolmix_web.mixnet.mix_packet import MixPacket
from smolmix_web.mixnet.topology import Topology, TopologyNode
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx.constants import ACK
from smolmix_web.sphinx.node import FinalHop, process_packet
from smolmix_web.sphinx.packet import Hop

EPOCH = 1000.0
VALIDITY = 4


@dataclass
class Fate:
    """What happens to one packet on one link: how many copies arrive, and how much later."""

    copies: int = 1
    delay: float = 0.0


@dataclass
class Node:
    number: int
    identity: bytes
    address: bytes
    secrets: dict[int, bytes]  # rotation byte -> X25519 secret
    seen: set[bytes] = field(default_factory=set)
    received: int = 0
    versions: set[int] = field(default_factory=set)
    sizes: set[int] = field(default_factory=set)


class Station:
    """A client at a gateway, with what its owner would do."""

    def __init__(self, client: MixnetClient) -> None:
        self.client = client
        self.messages: list[ReceivedMessage] = []
        self.sent: list[tuple[float, MixPacket]] = []
        self.on_message: Callable[[ReceivedMessage], None] | None = None
        self.frozen = False

    def data(self) -> list[bytes]:
        return [message.data for message in self.messages]


class MixNetwork:
    """Seven or more nodes; `latency` per link, `fate(kind, time)` decides over losses (kinds: `data`, `ack`)."""

    def __init__(self, crypto: Crypto, seed: str = "network", *, latency: float = 0.02) -> None:
        self.crypto = crypto
        self.rng = SeededRandom(f"{seed} network")
        self.seed = seed
        self.now = 1000.0
        self.latency = latency
        self.rotation_id = 41
        self.fate: Callable[[str, float], Fate] = lambda kind, now: Fate()
        self.refused: list[str] = []
        self.stations: dict[bytes, Station] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self.nodes = [self._node(number) for number in range(1, 9)]  # 1-6: mixes, two per layer; 7, 8: gateways
        self._by_address = {node.address: node for node in self.nodes}
        self.gateways = [node.identity for node in self.nodes[6:]]

    def _node(self, number: int) -> Node:
        address = pack_node_address(f"10.0.0.{number}")
        secrets = {rotation: bytes((number, rotation)) * 16 for rotation in (1, 2)}
        return Node(number, self.crypto.ed25519_public(bytes((number,)) * 32), address, secrets)

    def topology(self) -> Topology:
        rotation = 1 if self.rotation_id % 2 else 2
        nodes = [
            TopologyNode(
                node.number,
                node.identity,
                Hop(pad_node_address(node.address), self.crypto.x25519_base(node.secrets[rotation])),
                EntryDetails(None, 9000, None),
                f"10.0.0.{node.number}",
            )
            for node in self.nodes
        ]
        clock = KeyRotationInfo(VALIDITY, 0, self.rotation_id * VALIDITY, 0.0, EPOCH)
        return Topology(
            rotation_id=self.rotation_id,
            epoch_id=self.rotation_id * VALIDITY,
            layers=tuple(tuple(nodes[at : at + 2]) for at in (0, 2, 4)),
            gateways=tuple(nodes[6:]),
            nodes={node.identity: node for node in nodes},
            key_rotation=clock,
        )

    def station(self, name: str, config: TrafficConfig | None = None, *, gateway: int = 0) -> Station:
        rng = SeededRandom(f"{self.seed} {name}")
        client = MixnetClient(
            self.crypto, rng, ClientKeys.generate(rng), self.gateways[gateway], self.topology(), config, self.now
        )
        station = Station(client)
        self.stations[client.address.identity] = station
        return station

    # -- the wire -------------------------------------------------------------------------------------------

    def at(self, time: float, action: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (time, self._sequence, action))

    def submit(self, packet: MixPacket) -> None:
        self._carry(packet.first_hop, packet.packet, packet.rotation)

    def _carry(self, address: bytes, packet: bytes, rotation: int, delay: float = 0.0) -> None:
        fate = self.fate("ack" if len(packet) == ACK.wire else "data", self.now)
        for _ in range(fate.copies):
            self.at(self.now + delay + self.latency + fate.delay, lambda: self._arrive(address, packet, rotation))

    def _arrive(self, address: bytes, packet: bytes, rotation: int) -> None:
        node = self._by_address[address]
        node.received += 1
        node.sizes.add(len(packet))
        secret = node.secrets.get(rotation or (1 if self.rotation_id % 2 else 2))
        if secret is None:
            self.refused.append("no key of this rotation")
            return
        try:
            hop = process_packet(self.crypto, secret, packet, is_replay=node.seen.__contains__)
        except SphinxError as error:
            self.refused.append(error.code)
            return
        node.seen.add(hop.replay_tag)
        node.versions.add(hop.version)
        if not isinstance(hop, FinalHop):
            self._carry(unpad_node_address(hop.next_address), hop.packet, rotation, hop.delay_ns / 1e9)
            return
        message = hop.message
        if len(packet) != ACK.wire:
            ack = split_ack(message)
            message = ack.body
            self._carry(ack.first_hop, ack.packet, rotation)
        station = self.stations.get(hop.destination)
        if station is not None and station.client.address.gateway == node.identity:
            station.client.receive(message, self.now)
            self._after(station)

    def _after(self, station: Station) -> None:
        for message in station.client.take_messages():
            station.messages.append(message)
            if station.on_message is not None:
                station.on_message(message)

    # -- time -------------------------------------------------------------------------------------------------

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let `seconds` pass, or less when `until` holds, polling each client exactly at its deadlines."""
        end = self.now + seconds
        same_time = 0
        while not until():
            times = [self._events[0][0]] if self._events else []
            awake = [station for station in self.stations.values() if not station.frozen]
            for station in awake:
                deadline = station.client.next_deadline()
                if deadline is not None:
                    times.append(deadline)
            time = min(times, default=end)
            if time > end or (time >= end and not times):
                self.now = end
                return
            same_time = same_time + 1 if time <= self.now else 0
            assert same_time < 5000, "time does not advance: somebody asks to be polled without end"
            self.now = max(self.now, time)
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            for station in awake:
                deadline = station.client.next_deadline()
                if deadline is not None and deadline <= self.now:
                    for packet in station.client.poll(self.now):
                        station.sent.append((self.now, packet))
                        self.submit(packet)
        return

    def rotate(self, *, forget_old: bool = False) -> None:
        """The next key rotation begins; clients learn of it when they are given `topology()`."""
        self.rotation_id += 1
        if forget_old:
            gone = 2 if self.rotation_id % 2 else 1
            for node in self.nodes:
                node.secrets.pop(gone, None)
        for node in self.nodes:
            present = 1 if self.rotation_id % 2 else 2
            node.secrets.setdefault(present, bytes((node.number, self.rotation_id % 256)) * 16)


@pytest.fixture
def network(crypto: Crypto, request: pytest.FixtureRequest) -> MixNetwork:
    return MixNetwork(crypto, request.node.name)


@pytest.fixture
def quiet() -> TrafficConfig:
    """No dummies, no cover: only real packets, at once."""
    return TrafficConfig(main_stream=False, cover_stream=False)
