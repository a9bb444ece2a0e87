"""Ready packets of one client over one topology: data, replies, loop cover, reply SURBs.

Everything is Sphinx version 259 in the regular size, cover like data, so that no hop can tell them apart.
"""

from __future__ import annotations

from ..crypto.provider import Crypto
from ..rand import RandomSource
from ..sphinx.constants import KEY_PART
from ..sphinx.packet import Hop
from ..sphinx.surb import ReplySurb, build_surb
from .acks import AckPath
from .addresses import Recipient
from .cover import build_cover_packet
from .fragments import COVER_IDENTIFIER, Fragment, FragmentIdentifier
from .keys import ClientKeys
from .preparer import PreparedPacket, build_fragment_packet, build_reply_packet, exponential_delays
from .topology import Topology
from .traffic import TrafficConfig
from .work import PACKET, SURB

# Cover packets on their way that are known again: more than leave while one is under way.
MAX_COVERS = 2048


class PacketFactory:
    """Fresh routes, delays, keys and ack for each packet. `topology` must know our gateway and the recipient's."""

    def __init__(
        self, crypto: Crypto, rng: RandomSource, keys: ClientKeys, address: Recipient, config: TrafficConfig
    ) -> None:
        self._crypto = crypto
        self._rng = rng
        self._keys = keys
        self._config = config
        self.address = address
        self.last_route: list[Hop] = []  # of the newest packet with data
        self._covers: dict[bytes, None] = {}  # the key parts of cover packets made, oldest first
        self.older: Topology | None = None  # the last one of the key rotation before
        self._made = 0.0

    def take_made(self) -> float:
        """Units of work (work.py) done since the last call."""
        made, self._made = self._made, 0.0
        return made

    def _ack_path(self, topology: Topology) -> AckPath:
        route = topology.random_route(self._rng, self.address.gateway)
        delays = exponential_delays(self._rng, len(route), self._config.ack_delay)
        return AckPath(route, delays, self.address.identity, self._keys.ack_key)

    def data(self, topology: Topology, recipient: Recipient, fragment: Fragment) -> PreparedPacket:
        """Raises `DirectoryError` `gateway_unknown`; `MessageError` for an unusable recipient key."""
        self._made += PACKET
        self.last_route = route = topology.random_route(self._rng, recipient.gateway)
        return build_fragment_packet(
            self._crypto,
            self._rng,
            recipient,
            fragment,
            route=route,
            delays_ns=exponential_delays(self._rng, len(route), self._config.packet_delay),
            rotation=topology.rotation,
            ack=self._ack_path(topology),
        )

    def reply(self, topology: Topology, surb: ReplySurb, fragment: Fragment) -> PreparedPacket:
        """Raises `MessageError` or `SphinxError` when the SURB is of no use."""
        self._made += PACKET
        # The egress gateway sends the ack on under the rotation of the packet that carried it, which is the SURB's
        # (sphinx 4.3): an ack made with newer node keys would be lost.
        if self.older is not None and surb.rotation == self.older.rotation != topology.rotation:
            topology = self.older
        return build_reply_packet(
            self._crypto,
            self._rng,
            surb,
            fragment,
            ack=self._ack_path(topology),
            average_delay=self._config.packet_delay,
        )

    def cover(self, topology: Topology, identifier: FragmentIdentifier = COVER_IDENTIFIER) -> PreparedPacket:
        self._made += PACKET
        route = topology.random_route(self._rng, self.address.gateway)
        return build_cover_packet(
            self._crypto,
            self._rng,
            self.address,
            route=route,
            delays_ns=exponential_delays(self._rng, len(route), self._config.packet_delay),
            rotation=topology.rotation,
            ack=self._ack_path(topology),
            identifier=identifier,
            note_key=self._note_cover,
        )

    def _note_cover(self, key_part: bytes) -> None:
        if len(self._covers) >= MAX_COVERS:
            del self._covers[next(iter(self._covers))]
        self._covers[key_part] = None

    def is_own_cover(self, body: bytes) -> bool:
        """Is this body a cover packet made here and not seen again so far? Told without decrypting it, which would cost
        as much as a packet's hop; the others are opened like everything else."""
        return self._covers.pop(body[:KEY_PART], self) is None

    def surb(self, topology: Topology) -> ReplySurb:
        self._made += SURB
        route = topology.random_route(self._rng, self.address.gateway)
        delays = exponential_delays(self._rng, len(route), self._config.packet_delay)
        return build_surb(self._crypto, self._rng, route, delays, self.address.identity, topology.rotation)
