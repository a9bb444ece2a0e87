"""One snapshot of the network: mix layers, gateways, and routes through them (directory.md 5, 6; sphinx 10).

Immutable. A client keeps the old snapshot until the next one is complete; all packets of one snapshot carry its key
rotation. Routes take one uniformly random node of each mix layer and end at the recipient's gateway; our own gateway is
no hop of what we send.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from ..errors import DirectoryError
from ..rand import RandomSource
from ..sphinx.packet import Hop
from .addresses import pack_node_address, pad_node_address
from .base58 import base58_encode
from .directory import EntryDetails, KeyRotationInfo, Resource, RewardedSet, SkimmedNode
from .directory_query import DirectoryQuery, SkimmedList
from .rotation import rotation_byte

LAYERS = 3
MIN_PERFORMANCE = 50  # percent, for mix nodes and for gateways


def _refuse(problem: str, code: str) -> DirectoryError:
    return DirectoryError(f"topology: {problem}", code=code, phase="directory")


@dataclass(frozen=True, slots=True)
class TopologyNode:
    """What routes and gateway choice need of a node; `hop` is ready for headers."""

    node_id: int
    identity: bytes
    hop: Hop
    entry: EntryDetails | None
    first_address: str

    @classmethod
    def from_skimmed(cls, node: SkimmedNode) -> TopologyNode:
        address = pad_node_address(pack_node_address(node.addresses[0], node.mix_port))
        first = node.addresses[0]
        text = f"[{first}]" if first.version == 6 else str(first)
        return cls(node.node_id, node.identity, Hop(address, node.sphinx_key), node.entry, text)


class GatewayEndpoint(NamedTuple):
    """A gateway to connect to: its Ed25519 identity (32) and WebSocket URL."""

    identity: bytes
    url: str

    @property
    def name(self) -> str:
        return base58_encode(self.identity)


@dataclass(frozen=True)
class Topology:
    """See the module. Build it with `from_lists` or `from_query`, which check that it can carry packets."""

    rotation_id: int
    epoch_id: int
    layers: tuple[tuple[TopologyNode, ...], ...]
    gateways: tuple[TopologyNode, ...]  # the entry-capable ones
    nodes: Mapping[bytes, TopologyNode]  # all, by identity
    key_rotation: KeyRotationInfo | None = None
    skipped: int = 0  # nodes left out for malformed fields
    rotation: int = field(init=False)  # the byte that travels with packets

    def __post_init__(self) -> None:
        object.__setattr__(self, "rotation", rotation_byte(self.rotation_id))
        object.__setattr__(self, "nodes", MappingProxyType(dict(self.nodes)))
        if len(self.layers) != LAYERS:
            raise _refuse(f"{len(self.layers)} mix layers, expected {LAYERS}", "unroutable")
        for number, layer in enumerate(self.layers, 1):
            if not layer:
                raise _refuse(f"mix layer {number} has no usable node", "unroutable")

    @classmethod
    def from_query(
        cls,
        query: DirectoryQuery,
        *,
        min_mixnode_performance: int = MIN_PERFORMANCE,
        min_gateway_performance: int = MIN_PERFORMANCE,
    ) -> Topology:
        """The topology of a finished `DirectoryQuery.for_topology()`. Raises `DirectoryError`."""
        return cls.from_lists(
            query.rewarded_set,
            query.skimmed(Resource.ACTIVE_MIXNODES),
            query.skimmed(Resource.ENTRY_GATEWAYS),
            key_rotation=query.key_rotation,
            min_mixnode_performance=min_mixnode_performance,
            min_gateway_performance=min_gateway_performance,
        )

    @classmethod
    def from_lists(
        cls,
        rewarded_set: RewardedSet,
        mixnodes: SkimmedList,
        entry_gateways: SkimmedList,
        *,
        key_rotation: KeyRotationInfo | None = None,
        min_mixnode_performance: int = MIN_PERFORMANCE,
        min_gateway_performance: int = MIN_PERFORMANCE,
    ) -> Topology:
        """Join the three lists. `DirectoryError`: `inconsistent` for lists of different epochs, `unroutable`."""
        if not mixnodes.metadata.agrees_with(entry_gateways.metadata):
            raise _refuse("the node lists belong to different epochs", "inconsistent")
        if not rewarded_set.entry_gateways and not rewarded_set.exit_gateways:
            raise _refuse("the rewarded set names no gateway", "unroutable")
        mixes = [
            TopologyNode.from_skimmed(node) for node in mixnodes.nodes if node.performance >= min_mixnode_performance
        ]
        gateways = [
            TopologyNode.from_skimmed(node)
            for node in entry_gateways.nodes
            if node.performance >= min_gateway_performance
        ]
        by_id = {node.node_id: node for node in (*mixes, *gateways)}
        return cls(
            rotation_id=mixnodes.metadata.rotation_id,
            epoch_id=mixnodes.metadata.epoch_id,
            layers=tuple(
                tuple(by_id[node_id] for node_id in dict.fromkeys(layer) if node_id in by_id)
                for layer in rewarded_set.layers
            ),
            gateways=tuple(gateways),
            nodes={node.identity: node for node in by_id.values()},
            key_rotation=key_rotation,
            skipped=mixnodes.skipped + entry_gateways.skipped,
        )

    def knows(self, identity: bytes) -> bool:
        """Can a route end at this gateway?"""
        return identity in self.nodes

    def random_route(self, rng: RandomSource, gateway_identity: bytes) -> list[Hop]:
        """Four hops: a mix of each layer, then the gateway. `DirectoryError` `gateway_unknown`."""
        egress = self.nodes.get(gateway_identity)
        if egress is None:
            raise _refuse(f"gateway {base58_encode(gateway_identity)} is not listed", "gateway_unknown")
        return [*(rng.choice(layer).hop for layer in self.layers), egress.hop]

    # -- the entry gateway ------------------------------------------------------------------------------

    def gateway_endpoint(self, identity: bytes, *, force_tls: bool) -> GatewayEndpoint:
        """How to reach this very gateway. `DirectoryError`: `gateway_unknown`, `gateway_unreachable`."""
        for node in self.gateways:
            if node.identity == identity:
                url = _url(node, force_tls)
                if url is None:
                    what = "wss:// with a host name" if force_tls else "WebSocket"
                    raise _refuse(f"gateway {base58_encode(identity)} does not offer {what}", "gateway_unreachable")
                return GatewayEndpoint(identity, url)
        raise _refuse(f"gateway {base58_encode(identity)} is not listed", "gateway_unknown")

    def gateway_endpoints(self, *, force_tls: bool) -> list[GatewayEndpoint]:
        """All gateways one could connect to."""
        found = ((node, _url(node, force_tls)) for node in self.gateways)
        return [GatewayEndpoint(node.identity, url) for node, url in found if url is not None]

    def pick_gateway(
        self,
        rng: RandomSource,
        preferred: bytes | None = None,
        *,
        force_tls: bool = True,
        exclude: Collection[bytes] = (),
    ) -> GatewayEndpoint:
        """The preferred gateway, else a uniformly random one that is not excluded (directory.md 6).

        `DirectoryError`: `gateway_unknown`, `gateway_unreachable` for the preferred one; `no_gateway`.
        """
        if preferred is not None:
            return self.gateway_endpoint(preferred, force_tls=force_tls)
        candidates = [one for one in self.gateway_endpoints(force_tls=force_tls) if one.identity not in exclude]
        if not candidates:
            raise _refuse(
                f"none of {len(self.gateways)} gateways is left to choose" + (" with wss://" if force_tls else ""),
                "no_gateway",
            )
        return rng.choice(candidates)


def _url(node: TopologyNode, force_tls: bool) -> str | None:
    if node.entry is None:
        return None
    if force_tls:
        # A certificate is for a name.
        if node.entry.wss_port is None or node.entry.hostname is None:
            return None
        return f"wss://{node.entry.hostname}:{node.entry.wss_port}/"
    return f"ws://{node.entry.hostname or node.first_address}:{node.entry.ws_port}/"
