"""A gateway: a mix node that is also the end of routes, with a WebSocket for its clients (gateway.md, sphinx 4.4).

As egress it cuts the ack out of a payload and sends it on its way, and hands the rest to the client: over its
connection, to a client living in this process (an exit), or into its inbox. Further counters: `delivered`, `stored`,
`undeliverable`, `acks_sent`, `sessions`, `registered`, `authenticated`, `claims`, `refused.<why>`, `out_of_allowance`,
`overflow.client`, and under `bad`: `bad.payload.<code>`, `bad.request`, `bad.early`, `bad.websocket`.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable

from smolmix_web.errors import MessageError
from smolmix_web.mixnet.acks import split_ack
from smolmix_web.mixnet.base58 import base58_encode
from smolmix_web.mixnet.keys import IdentityKeys
from smolmix_web.mixnet.mix_packet import MixPacket
from smolmix_web.mixnet.node_frame import NodeFrame
from smolmix_web.rand import SystemRandom
from smolmix_web.sphinx.constants import ACK
from smolmix_web.sphinx.node import FinalHop

from .clients import ClientStore
from .config import NetworkConfig
from .errors import LocalnetError
from .gateway_faults import GatewayFaults
from .gateway_session import ClientSession
from .keys import KeyRing, NodeCrypto
from .links import LinkTable
from .node import MixNode

CLIENT = "client"
"""The name of the far end of every client's link."""


class Gateway(MixNode):
    """One gateway on one mix port and one WebSocket port (and one with TLS where a context is given)."""

    def __init__(
        self,
        keys: KeyRing,
        config: NetworkConfig,
        crypto: NodeCrypto,
        links: LinkTable,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(keys, config, crypto, links)
        self.config = config
        self.crypto = crypto
        self.rng = SystemRandom()
        self.identity = IdentityKeys(keys.identity.seed, keys.identity.public_key)
        self.protocol = config.gateway_protocol
        """The version announced; may be changed while the network runs."""
        self.enforce_tickets = config.enforce_tickets
        self.faults = GatewayFaults()
        self.frozen = False
        self.clients = ClientStore(config.stored_messages)
        self.up = links.link(CLIENT, self.name)
        self.down = links.link(self.name, CLIENT)
        self.ws_port = 0
        self.wss_port = 0
        self.sessions: set[ClientSession] = set()
        self.active: dict[bytes, ClientSession] = {}
        self._embedded: dict[bytes, Callable[[bytes], None]] = {}
        self._tls = tls
        self._listeners: list[asyncio.Server] = []

    @property
    def url(self) -> str:
        return f"ws://{self.config.host}:{self.ws_port}"

    @property
    def identity_text(self) -> str:
        """The Ed25519 identity in base58, as the directory lists it."""
        return base58_encode(self.identity.public)

    # -- life ---------------------------------------------------------------------------------------
    async def start(self) -> None:
        await super().start()
        loop = asyncio.get_running_loop()
        try:
            plain = await loop.create_server(lambda: ClientSession(self), self.config.host, self.ws_port)
            self._listeners.append(plain)
            self.ws_port = plain.sockets[0].getsockname()[1]
            if self._tls is not None:
                secure = await loop.create_server(
                    lambda: ClientSession(self), self.config.host, self.wss_port, ssl=self._tls
                )
                self._listeners.append(secure)
                self.wss_port = secure.sockets[0].getsockname()[1]
        except OSError as error:
            await self.stop()
            raise LocalnetError(f"{self.name}: cannot listen: {error}", code="cannot_listen", phase="setup") from None

    async def stop(self) -> None:
        for listener in self._listeners:
            listener.close()
        self.drop_clients()
        for listener in self._listeners:
            await listener.wait_closed()
        self._listeners.clear()
        await super().stop()

    def drop_clients(self) -> int:
        """Cut every client's connection without a word; how many."""
        sessions = list(self.sessions)
        for session in sessions:
            session.drop()
        self.active.clear()
        return len(sessions)

    def close_clients(self) -> int:
        """End every client's connection with a WebSocket close, as a gateway that goes away in order."""
        sessions = list(self.sessions)
        for session in sessions:
            session.go_away()
        return len(sessions)

    def freeze_clients(self) -> int:
        """From now on nothing of any client is read or written, and nobody is told; how many are connected."""
        self.frozen = True
        for session in self.sessions:
            session.freeze()
        return len(self.sessions)

    def thaw_clients(self) -> None:
        """What waited goes on its way."""
        self.frozen = False
        for session in list(self.sessions):
            session.thaw()

    def exhaust_bandwidth(self) -> int:
        """Nobody has any allowance left, and must claim anew (gateway 6.3); how many clients."""
        return self.clients.exhaust()

    # -- clients ------------------------------------------------------------------------------------
    def embed(self, identity: bytes, receive: Callable[[bytes], None] | None) -> None:
        """A client in this process: payloads for `identity` go to `receive`; None ends it."""
        if receive is None:
            self._embedded.pop(identity, None)
        else:
            self._embedded[identity] = receive

    def forward(self, packet: MixPacket) -> bool:
        """Send a client's packet to its first hop at once (gateway 5.3); False if no such node exists."""
        return self.send(packet.first_hop, packet.packet, packet.rotation)

    def final_hop(self, hop: FinalHop, frame: NodeFrame) -> None:
        if len(frame.packet) == ACK.wire:
            self.deliver(hop.destination, hop.message)
            return
        try:
            ack = split_ack(hop.message)
        except MessageError as error:
            self.counters.add(f"bad.payload.{error.code}")
            return
        self.deliver(hop.destination, ack.body)
        # Without delay, and under the rotation of the packet that carried it (sphinx 4.4).
        if self.send(ack.first_hop, ack.packet, frame.rotation):
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
        elif self.clients.store(destination, message, time.time()):
            self.counters.add("stored")
        else:
            self.counters.add("undeliverable")
