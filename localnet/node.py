"""A mix node: takes Sphinx packets off the wire, removes a layer, holds them for their delay and sends them on.

The state machine is sphinx 4.4. Packets go only to nodes of the network. Nothing a peer sends raises: it is counted,
by these names: `received`, `forwarded`, `final`, `clamped.delay`, `dropped.no_key`, `overflow.delay`, `overflow.queue`,
and violations under `bad`: `bad.frame.<code>`, `bad.packet.<code>` (codes of the Sphinx room, `replay` among them),
`bad.address`, `bad.unknown_hop`, `bad.final_hop`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from smolmix_web.crypto.pyca import PycaCrypto
from smolmix_web.errors import MessageError, SphinxError
from smolmix_web.mixnet.addresses import pack_node_address, unpad_node_address
from smolmix_web.mixnet.node_frame import NodeFrame
from smolmix_web.mixnet.rotation import ROTATION_UNKNOWN
from smolmix_web.sphinx.node import FinalHop, ForwardHop, process_packet

from .config import NetworkConfig
from .counters import Counters
from .errors import LocalnetError
from .keys import KeyRing
from .links import LinkTable
from .listening import BACKLOG, listen
from .observed import Seen, Watcher
from .replay import ReplayFilter
from .scheduler import Scheduler
from .wire import Incoming, Neighbour, Outgoing

Tap = Callable[[str, NodeFrame], None]


class MixNode:
    """One node on one TCP port. `stop` and `start` again make it crash and come back with its keys."""

    def __init__(self, keys: KeyRing, config: NetworkConfig, crypto: PycaCrypto, links: LinkTable) -> None:
        self.keys = keys
        self.name = keys.identity.name
        self.counters = Counters()
        self.port = 0
        self.running = False
        self.replay = ReplayFilter(config.replay_tags)
        self.watcher: Watcher | None = None
        self._config = config
        self._crypto = crypto
        self._links = links
        self._loop = asyncio.get_running_loop()
        self._delays = Scheduler(self._loop, config.delayed_packets)
        self._neighbours: dict[bytes, Neighbour] = {}
        self._outgoing: dict[str, Outgoing] = {}
        self._incoming: set[Incoming] = set()
        self._server: asyncio.Server | None = None
        self._key_version: tuple[int, ...] = ()

    # -- life ---------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Listen; on the port of the first start ever after."""
        try:
            self._server = await self._loop.create_server(
                lambda: Incoming(self.receive, self.counters, self._incoming),
                sock=listen(self._config.host, self.port),
                backlog=BACKLOG,
            )
        except OSError as error:
            raise LocalnetError(f"{self.name}: cannot listen: {error}", code="cannot_listen", phase="setup") from None
        self.port = self._server.sockets[0].getsockname()[1]
        self.running = True

    async def stop(self) -> None:
        """Close every connection and forget every packet held, as a crash would."""
        self.running = False
        if self._server is not None:
            self._server.close()
        for connection in list(self._incoming):
            if connection.transport is not None:
                connection.transport.abort()
        for outgoing in self._outgoing.values():
            outgoing.close()
        self._outgoing.clear()
        self._delays.clear()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    def set_neighbours(self, neighbours: Iterable[Neighbour]) -> None:
        """The nodes of the network: packets to any other address are dropped."""
        self._neighbours = {pack_node_address(node.host, node.port): node for node in neighbours}

    # -- packets ------------------------------------------------------------------------------------
    def receive(self, frame: NodeFrame) -> None:
        """One frame from a neighbour, handled to the end or until its delay."""
        self.counters.add("received")
        hop = self._unwrap(frame)
        if hop is None:
            return
        if self.watcher is not None:
            more: dict[str, int | str] = {"version": hop.version, "rotation": frame.rotation}
            if isinstance(hop, ForwardHop):
                more |= {"delay_ns": hop.delay_ns, "next": hop.next_address.hex()}
            self.watcher(Seen("mix", "packet", self.name, self._loop.time(), frame.packet, more))
        if isinstance(hop, FinalHop):
            self.counters.add("final")
            self.final_hop(hop, frame)
            return
        try:
            address = unpad_node_address(hop.next_address)
        except MessageError:
            self.counters.add("bad.address")
            return
        delay = hop.delay_ns / 1e9
        if delay > self._config.max_delay:
            self.counters.add("clamped.delay")
            delay = self._config.max_delay
        if delay <= 0.0:
            self.send(address, hop.packet, frame.rotation)
        elif not self._delays.at(self._loop.time() + delay, self.send, address, hop.packet, frame.rotation):
            self.counters.add("overflow.delay")

    def _unwrap(self, frame: NodeFrame) -> ForwardHop | FinalHop | None:
        """Remove a layer with the key that the frame's rotation names, or any that fits (sphinx 4.3)."""
        keys = self.keys.usable(time.time())
        version = tuple(rotation for rotation, _, _ in keys)
        if version != self._key_version:
            self._key_version = version
            self.replay.keep_only(set(version))
        if frame.rotation != ROTATION_UNKNOWN:
            keys = [key for key in keys if key[1] == frame.rotation][:1]
            if not keys:
                self.counters.add("dropped.no_key")
                return None
        code = ""
        for rotation, _, secret in keys:
            try:
                return process_packet(
                    self._crypto,
                    secret,
                    frame.packet,
                    is_replay=lambda tag, rotation=rotation: not self.replay.first_time(rotation, tag),  # type: ignore[misc]
                )
            except SphinxError as error:
                code = error.code
                if code != "bad_mac":
                    break
        self.counters.add(f"bad.packet.{code}")
        return None

    def send(self, address: bytes, packet: bytes, rotation: int) -> bool:
        """Send a packet to a node of the network (address unpadded); False, and counted, if there is none there."""
        if not self.running:
            return False
        neighbour = self._neighbours.get(address)
        if neighbour is None:
            self.counters.add("bad.unknown_hop")
            return False
        outgoing = self._outgoing.get(neighbour.name)
        if outgoing is None:
            outgoing = Outgoing(neighbour, self.counters, self._config.queue_frames)
            self._outgoing[neighbour.name] = outgoing
        data = NodeFrame(packet, rotation, self._config.frame_version).to_bytes()
        self.counters.add("forwarded")
        link = self._links.link(self.name, neighbour.name)
        link.send(len(data), outgoing.send, data, framing=len(data) - len(packet))
        return True

    def final_hop(self, hop: FinalHop, frame: NodeFrame) -> None:
        """A mix node serves no clients."""
        self.counters.add("bad.final_hop")
