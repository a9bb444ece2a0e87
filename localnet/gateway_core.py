"""What every gateway is, whatever carries its frames: the end of routes, and what it knows of its clients.

As egress it cuts the ack out of a payload and sends it on its way, and hands the rest to the client: over its
session, to a client living in this process (an exit), or into its inbox (gateway 5.3, 5.5, sphinx 4.4).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import MessageError
from smolmix_web.mixnet.acks import split_ack
from smolmix_web.mixnet.keys import IdentityKeys
from smolmix_web.mixnet.mix_packet import MixPacket
from smolmix_web.rand import RandomSource
from smolmix_web.sphinx.constants import ACK
from smolmix_web.sphinx.node import FinalHop

from .clients import ClientStore
from .counters import Counters

if TYPE_CHECKING:
    from .gateway_session import GatewaySession


class GatewayCore(ABC):
    """Mixed into a node, which gives `counters` and `send`."""

    counters: Counters
    crypto: Crypto
    rng: RandomSource
    identity: IdentityKeys
    protocol: int
    """The version announced; may be changed at any time."""

    def __init__(self, stored_messages: int) -> None:
        self.clients = ClientStore(stored_messages)
        self.active: dict[bytes, GatewaySession] = {}
        """The authenticated sessions by the identity of their clients."""
        self._embedded: dict[bytes, Callable[[bytes], None]] = {}

    @abstractmethod
    def send(self, address: bytes, packet: bytes, rotation: int) -> bool:
        """To a node of the network (address unpadded); False if there is none there."""

    @abstractmethod
    def unix_time(self) -> float:
        """Seconds since 1970 by the gateway's clock."""

    @abstractmethod
    def free_grant(self) -> int | None:
        """Bytes for a claim of free bandwidth; None where such claims are refused."""

    def embed(self, identity: bytes, receive: Callable[[bytes], None] | None) -> None:
        """A client in this process: payloads for `identity` go to `receive`; None ends it."""
        if receive is None:
            self._embedded.pop(identity, None)
        else:
            self._embedded[identity] = receive

    def forward(self, packet: MixPacket) -> bool:
        """Send a client's packet to its first hop at once (gateway 5.3); False if no such node exists."""
        return self.send(packet.first_hop, packet.packet, packet.rotation)

    def egress(self, hop: FinalHop, packet: bytes, rotation: int) -> None:
        """The end of a route; `packet` is what arrived."""
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
        """Push to a connected client, hand to an embedded one, or keep for a registered one."""
        session = self.active.get(destination)
        if session is not None:
            self.counters.add("delivered")
            session.push(message)
            return
        receive = self._embedded.get(destination)
        if receive is not None:
            self.counters.add("delivered")
            receive(message)
        elif self.clients.store(destination, message, self.unix_time()):
            self.counters.add("stored")
        else:
            self.counters.add("undeliverable")
