"""A gateway: a mix node that is also the end of routes, with a WebSocket for its clients (gateway.md, sphinx 4.4).

What it does as egress and for its clients is in `gateway_core` and `gateway_session`; here are its sockets and what an
operator may do to it. Further counters: `delivered`, `stored`, `undeliverable`, `acks_sent`, `sessions`, `registered`,
`authenticated`, `claims`, `refused.<why>`, `out_of_allowance`, `overflow.client`, and under `bad`:
`bad.payload.<code>`, `bad.request`, `bad.early`, `bad.websocket`.
"""

from __future__ import annotations

import asyncio
import ssl
import time

from smolmix_web.crypto.pyca import PycaCrypto
from smolmix_web.mixnet.base58 import base58_encode
from smolmix_web.mixnet.keys import IdentityKeys
from smolmix_web.mixnet.node_frame import NodeFrame
from smolmix_web.rand import SystemRandom
from smolmix_web.sphinx.node import FinalHop

from .config import NetworkConfig
from .errors import LocalnetError
from .gateway_core import GatewayCore
from .gateway_faults import GatewayFaults
from .gateway_socket import ClientSocket
from .keys import KeyRing
from .links import LinkTable
from .listening import BACKLOG, listen
from .node import MixNode

CLIENT = "client"
"""The name of the far end of every client's link."""


class Gateway(MixNode, GatewayCore):
    """One gateway on one mix port and one WebSocket port (and one with TLS where a context is given)."""

    def __init__(
        self,
        keys: KeyRing,
        config: NetworkConfig,
        crypto: PycaCrypto,
        links: LinkTable,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        MixNode.__init__(self, keys, config, crypto, links)
        GatewayCore.__init__(self, config.stored_messages)
        self.config = config
        self.crypto = crypto
        self.rng = SystemRandom()
        self.identity = IdentityKeys(keys.identity.seed, keys.identity.public_key)
        self.protocol = config.gateway_protocol
        self.enforce_tickets = config.enforce_tickets
        self.faults = GatewayFaults()
        self.frozen = False
        self.up = links.link(CLIENT, self.name)
        self.down = links.link(self.name, CLIENT)
        self.ws_port = 0
        self.wss_port = 0
        self.sessions: set[ClientSocket] = set()
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
            host = self.config.host
            plain = await loop.create_server(
                lambda: ClientSocket(self), sock=listen(host, self.ws_port), backlog=BACKLOG
            )
            self._listeners.append(plain)
            self.ws_port = plain.sockets[0].getsockname()[1]
            if self._tls is not None:
                secure = await loop.create_server(
                    lambda: ClientSocket(self), sock=listen(host, self.wss_port), backlog=BACKLOG, ssl=self._tls
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

    # -- the core's needs ---------------------------------------------------------------------------
    def unix_time(self) -> float:
        return time.time()

    def free_grant(self) -> int | None:
        return None if self.enforce_tickets else self.config.free_allowance

    def final_hop(self, hop: FinalHop, frame: NodeFrame) -> None:
        self.egress(hop, frame.packet, frame.rotation)
