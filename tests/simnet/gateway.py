"""Gateways of the simulation: the core and the sessions of the local network's, on simulated nodes and sockets.

Their own are the faults that a test may set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localnet.gateway_core import GatewayCore
from localnet.keys import KeyRing
from smolmix_web.mixnet.gateway import control
from smolmix_web.mixnet.keys import IdentityKeys
from smolmix_web.rand import SeededRandom
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


class SimGateway(SimNode, GatewayCore):
    """See the module. `protocol` is the version announced; `host`, `ws_port`, `wss_port` where it is reached."""

    kind = "gateway"

    def __init__(self, network: SimNetwork, keys: KeyRing, address: bytes, host: str) -> None:
        SimNode.__init__(self, network, keys, address)
        GatewayCore.__init__(self, STORED_MESSAGES)
        self.host = host
        self.hostname = f"{self.name}.sim"
        self.rng = SeededRandom(f"{network.seed}/{self.name}")
        self.identity = IdentityKeys(keys.identity.seed, keys.identity.public_key)
        self.protocol = 6
        self.faults = GatewayFaults()
        self.connections: list[GatewayConnection] = []

    def unix_time(self) -> float:
        return self.network.unix_time()

    def free_grant(self) -> int | None:
        return None if self.faults.refuse_claims else self.faults.grant

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
        connection.opened()
        socket.accept(connection)

    def final_hop(self, hop: FinalHop, packet: bytes, rotation: int) -> None:
        self.egress(hop, packet, rotation)

    def deliver(self, destination: bytes, message: bytes) -> None:
        faults = self.faults
        if faults.drop_pushes and self.rng.uniform() < faults.drop_pushes:
            self.counters.add("faults.dropped_push")
            return
        if faults.push_garbage and self.rng.uniform() < faults.push_garbage:
            self.counters.add("faults.garbage_push")
            message = self.rng.bytes(len(message))
        super().deliver(destination, message)
