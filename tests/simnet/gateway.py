"""Gateways of the simulation: ends of routes, and the door for clients (gateway.md 4.2, 5.5, 7.2).

As egress a gateway cuts the ack out of a payload and sends it on its way, and pushes the rest to the client's
connection, hands it to the client living in it (an exit), or keeps it for a client that is away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localnet.clients import ClientStore
from localnet.keys import KeyRing
from smolmix_web.errors import MessageError
from smolmix_web.mixnet.acks import split_ack
from smolmix_web.mixnet.gateway import control
from smolmix_web.mixnet.keys import IdentityKeys
from smolmix_web.mixnet.mix_packet import MixPacket
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx.constants import ACK
from smolmix_web.sphinx.node import FinalHop

from .gateway_connection import GatewayConnection
from .node import SimNode
from .sockets import SimSocket

if TYPE_CHECKING:
    from .network import SimNetwork

GRANT = 64 * 1024**3
STORED_MESSAGES = 1000


@dataclass
class GatewayFaults:
    """What this gateway does wrong on purpose; may change at any time."""

    refuse_connections: bool = False
    deaf: bool = False  # accepts connections and never answers anything
    refuse_claims: bool = False
    exhausted: bool = False  # every packet is answered with out_of_bandwidth
    no_send_answers: bool = False
    drop_pushes: float = 0.0  # of payloads to clients
    push_garbage: float = 0.0  # of payloads: replaced by random bytes
    grant: int = GRANT
    replies: dict[str, str | None] = field(default_factory=dict)
    """Message type, e.g. `supportedProtocol`, to the text sent in its place; None: nothing."""

    def spoil(self, message: control.ControlMessage) -> list[str]:
        if message.type in self.replies:
            text = self.replies[message.type]
            return [] if text is None else [text]
        return [message.encode()]


class SimGateway(SimNode):
    """See the module. `protocol` is the version announced; `host`, `ws_port`, `wss_port` where it is reached."""

    kind = "gateway"

    def __init__(self, network: SimNetwork, keys: KeyRing, address: bytes, host: str) -> None:
        super().__init__(network, keys, address)
        self.host = host
        self.hostname = f"{self.name}.sim"
        self.rng = SeededRandom(f"{network.seed}/{self.name}")
        self.identity = IdentityKeys(keys.identity.seed, keys.identity.public_key)
        self.protocol = 6
        self.faults = GatewayFaults()
        self.clients = ClientStore(STORED_MESSAGES)
        self.active: dict[bytes, GatewayConnection] = {}
        self.connections: list[GatewayConnection] = []
        self.complaints: list[str] = []
        self._embedded: dict[bytes, Callable[[bytes], None]] = {}

    def unix_time(self) -> float:
        return self.network.unix_time()

    # -- life

    def crash(self) -> None:
        """Connections are reset, held packets are lost; registrations stay, as in a database."""
        super().crash()
        for connection in list(self.connections):
            connection.socket.cut()
        self.active.clear()
        self.connections.clear()

    def forget_clients(self) -> None:
        """Lose the database: the clients that are connected stay so, the next authentication fails."""
        self.clients.clear()

    # -- clients

    def accept(self, socket: SimSocket) -> None:
        """A WebSocket upgrade arrived."""
        if not self.running or self.faults.refuse_connections:
            socket.refused()
            return
        connection = GatewayConnection(self, socket)
        self.connections.append(connection)
        self.counters.add("sessions")
        socket.accept(connection)

    def forget_connection(self, connection: GatewayConnection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)
        if self.active.get(connection.identity) is connection:
            del self.active[connection.identity]

    def embed(self, identity: bytes, receive: Callable[[bytes], None] | None) -> None:
        """A client inside this gateway; None ends it."""
        if receive is None:
            self._embedded.pop(identity, None)
        else:
            self._embedded[identity] = receive

    def forward(self, packet: MixPacket) -> bool:
        """A client's packet to its first hop, at once (gateway 5.3)."""
        return self.send(packet.first_hop, packet.packet, packet.rotation)

    def final_hop(self, hop: FinalHop, packet: bytes, rotation: int) -> None:
        if len(packet) == ACK.wire:
            self.deliver(hop.destination, hop.message)
            return
        try:
            ack = split_ack(hop.message)
        except MessageError as error:
            self.counters.add(f"bad.payload.{error.code}")
            return
        self.deliver(hop.destination, ack.body)
        # Without delay, and under the rotation of the packet that carried it (sphinx 4.4).
        if self.send(ack.first_hop, ack.packet, rotation):
            self.counters.add("acks_sent")

    def deliver(self, destination: bytes, message: bytes) -> None:
        faults = self.faults
        if faults.drop_pushes and self.rng.uniform() < faults.drop_pushes:
            self.counters.add("faults.dropped_push")
            return
        if faults.push_garbage and self.rng.uniform() < faults.push_garbage:
            self.counters.add("faults.garbage_push")
            message = self.rng.bytes(len(message))
        connection = self.active.get(destination)
        receive = self._embedded.get(destination)
        if connection is not None:
            self.counters.add("delivered")
            connection.push(message)
        elif receive is not None:
            self.counters.add("delivered")
            receive(message)
        elif self.clients.store(destination, message, self.unix_time()):
            self.counters.add("stored")
        else:
            self.counters.add("undeliverable")
