"""Mix nodes of the simulation: real Sphinx processing under the keys of the rotation, replay filter, delays.

Counters as in the local network: `received`, `forwarded`, `final`, `dropped.no_key`, and violations under `bad.`.
`seen` counts what an observer of the node could tell packets apart by: wire size, Sphinx version, rotation byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from localnet.counters import Counters
from localnet.keys import KeyRing
from localnet.replay import ReplayFilter
from smolmix_web.errors import MessageError, SphinxError
from smolmix_web.mixnet.addresses import unpad_node_address
from smolmix_web.mixnet.rotation import ROTATION_UNKNOWN
from smolmix_web.sphinx.node import FinalHop, ForwardHop, process_packet

if TYPE_CHECKING:
    from .network import SimNetwork

REPLAY_TAGS = 200_000
MAX_DELAY = 10.0


class SimNode:
    """One node. `crash` loses what it holds and everything sent to it until `restart`; its keys stay."""

    kind = "mix"

    def __init__(self, network: SimNetwork, keys: KeyRing, address: bytes) -> None:
        self.network = network
        self.queue = network.queue
        self.crypto = network.crypto
        self.keys = keys
        self.name = keys.identity.name
        self.address = address  # packed, unpadded
        self.running = True
        self.counters = Counters()
        self.seen: Counter[tuple[int, int, int]] = Counter()  # (size, version, rotation)
        self.replay = ReplayFilter(REPLAY_TAGS)
        self._life = 0
        self._key_version: tuple[int, ...] = ()

    # -- life

    def crash(self) -> None:
        self.running = False
        self._life += 1

    def restart(self) -> None:
        self.running = True

    # -- packets

    def receive(self, packet: bytes, rotation: int) -> None:
        """A packet from a neighbour."""
        if not self.running:
            self.counters.add("lost.down")
            return
        self.counters.add("received")
        hop = self._unwrap(packet, rotation)
        if hop is None:
            return
        self.seen[len(packet), hop.version, rotation] += 1
        if isinstance(hop, FinalHop):
            self.counters.add("final")
            self.final_hop(hop, packet, rotation)
            return
        try:
            address = unpad_node_address(hop.next_address)
        except MessageError:
            self.counters.add("bad.address")
            return
        self.send(address, hop.packet, rotation, min(hop.delay_ns / 1e9, MAX_DELAY))

    def _unwrap(self, packet: bytes, rotation: int) -> ForwardHop | FinalHop | None:
        """With the key that the rotation names, or any that fits (sphinx 4.3)."""
        keys = self.keys.usable(self.network.unix_time())
        version = tuple(number for number, _, _ in keys)
        if version != self._key_version:
            self._key_version = version
            self.replay.keep_only(set(version))
        if rotation != ROTATION_UNKNOWN:
            keys = [key for key in keys if key[1] == rotation][:1]
            if not keys:
                self.counters.add("dropped.no_key")
                return None
        code = ""
        for number, _, secret in keys:
            try:
                return process_packet(self.crypto, secret, packet, is_replay=self._is_replay(number))
            except SphinxError as error:
                code = error.code
                if code != "bad_mac":
                    break
        self.counters.add(f"bad.packet.{code}")
        return None

    def _is_replay(self, rotation: int) -> Callable[[bytes], bool]:
        return lambda tag: not self.replay.first_time(rotation, tag)

    def send(self, address: bytes, packet: bytes, rotation: int, delay: float = 0.0) -> bool:
        """To a node of the network, after the mixing delay; a crash meanwhile loses it."""
        if not self.running:
            return False
        neighbour = self.network.node_at(address)
        if neighbour is None:
            self.counters.add("bad.unknown_hop")
            return False
        self.counters.add("forwarded")
        link = self.network.link(self, neighbour)
        link.send(packet, self._arrive, neighbour, rotation, self._life, delay=delay)
        return True

    def _arrive(self, packet: bytes, neighbour: SimNode, rotation: int, life: int) -> None:
        if life != self._life:
            self.counters.add("lost.crash")
        else:
            neighbour.receive(packet, rotation)

    def final_hop(self, hop: FinalHop, packet: bytes, rotation: int) -> None:
        """A mix node serves no clients."""
        self.counters.add("bad.final_hop")
