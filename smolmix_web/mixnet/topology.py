"""One snapshot of the network: mix layers, gateways, and routes through them (directory.md 5, 6; sphinx 10).

It never changes; its nodes are read when they are first drawn (`node_table`). A client keeps the old snapshot until the
next one is complete; all packets of one snapshot carry its key rotation. Routes take one uniformly random node of each
mix layer and end at the recipient's gateway; our own gateway is no hop of what we send.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from ..errors import DirectoryError
from ..rand import RandomSource
from ..sphinx.packet import Hop
from .base58 import base58_encode
from .directory import KeyRotationInfo, Resource, RewardedSet, SkimmedNode
from .directory_query import DirectoryQuery, SkimmedList
from .node_list import Listed
from .node_table import NodePool, NodeTable, TopologyNode
from .rotation import rotation_byte

__all__ = ["GatewayEndpoint", "Topology", "TopologyNode"]

LAYERS = 3
MIN_PERFORMANCE = 50  # percent, for mix nodes and for gateways


def _refuse(problem: str, code: str) -> DirectoryError:
    return DirectoryError(f"topology: {problem}", code=code, phase="directory")


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
    layers: tuple[Sequence[TopologyNode], ...]  # pools, whatever they are made from
    gateways: Sequence[TopologyNode]  # the entry-capable ones; a pool
    nodes: Mapping[bytes, TopologyNode]  # all, by identity
    key_rotation: KeyRotationInfo | None = None
    rotation: int = field(init=False)  # the byte that travels with packets

    def __post_init__(self) -> None:
        object.__setattr__(self, "rotation", rotation_byte(self.rotation_id))
        object.__setattr__(self, "layers", tuple(map(_pool, self.layers)))
        object.__setattr__(self, "gateways", _pool(self.gateways))
        if not isinstance(self.nodes, NodeTable):
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
        table = NodeTable((mixnodes.nodes, min_mixnode_performance), (entry_gateways.nodes, min_gateway_performance))

        def gateway(listed: Listed[SkimmedNode]) -> TopologyNode | None:
            node = entry_gateways.nodes.read(listed)
            return None if node is None else TopologyNode.from_skimmed(node)

        return cls(
            rotation_id=mixnodes.metadata.rotation_id,
            epoch_id=mixnodes.metadata.epoch_id,
            layers=tuple(
                NodePool((number for number in dict.fromkeys(layer) if table.has_number(number)), table.numbered)
                for layer in rewarded_set.layers
            ),
            gateways=NodePool(
                (one for one in entry_gateways.nodes.listed() if one.performance >= min_gateway_performance), gateway
            ),
            nodes=table,
            key_rotation=key_rotation,
        )

    @property
    def skipped(self) -> int:
        """Nodes left out for malformed fields, of those that were looked at."""
        return self.nodes.skipped if isinstance(self.nodes, NodeTable) else 0

    def kept_of(self, earlier: Topology) -> float | None:
        """What share of an earlier topology's mix nodes are mix nodes still; None where another epoch has drawn others.
        Raises `DirectoryError` `outdated`: it is no earlier one. Some directory is behind, or tells us what it tells
        nobody else."""
        if self.epoch_id < earlier.epoch_id:
            raise _refuse(f"epoch {self.epoch_id} is over, {earlier.epoch_id} has begun", "outdated")
        if self.epoch_id > earlier.epoch_id:
            return None
        known, mixes = (set().union(*(pool.numbers() for pool in one._pools)) for one in (earlier, self))
        return len(known & mixes) / len(known)

    def exit_weight(self, name: str) -> int:
        """Percent by which an exit at the node with this base58 identity is chosen; 0 where there cannot be one."""
        return self.nodes.exit_weight(name) if isinstance(self.nodes, NodeTable) else 0

    def identities_of(self, routes: Sequence[Sequence[Hop]]) -> list[list[bytes]]:
        """The nodes of routes of this topology, or of an earlier one as far as they are still used."""
        nodes = self.nodes.met() if isinstance(self.nodes, NodeTable) else self.nodes.values()
        by_address = {node.hop.address: node.identity for node in nodes}
        return [[by_address[hop.address] for hop in route if hop.address in by_address] for route in routes]

    def knows(self, identity: bytes) -> bool:
        """Can a route end at this gateway?"""
        return identity in self.nodes

    def random_route(self, rng: RandomSource, gateway_identity: bytes) -> list[Hop]:
        """Four hops: a mix of each layer, then the gateway. `DirectoryError` `gateway_unknown`."""
        egress = self.nodes.get(gateway_identity)
        if egress is None:
            raise _refuse(f"gateway {base58_encode(gateway_identity)} is not listed", "gateway_unknown")
        return [*(layer.draw(rng).hop for layer in self._pools), egress.hop]

    @property
    def _pools(self) -> tuple[NodePool, ...]:
        return self.layers  # type: ignore[return-value]

    @property
    def _gateways(self) -> NodePool:
        return self.gateways  # type: ignore[return-value]

    # -- the entry gateway ------------------------------------------------------------------------------

    def gateway_endpoint(self, identity: bytes, *, force_tls: bool) -> GatewayEndpoint:
        """How to reach this very gateway. `DirectoryError`: `gateway_unknown`, `gateway_unreachable`."""
        node = self._gateways.find(identity)
        if node is None:
            raise _refuse(f"gateway {base58_encode(identity)} is not listed", "gateway_unknown")
        url = _url(node, force_tls)
        if url is None:
            what = "wss:// with a host name" if force_tls else "WebSocket"
            raise _refuse(f"gateway {base58_encode(identity)} does not offer {what}", "gateway_unreachable")
        return GatewayEndpoint(identity, url)

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

        def endpoint(node: TopologyNode) -> GatewayEndpoint | None:
            url = None if node.identity in exclude else _url(node, force_tls)
            return None if url is None else GatewayEndpoint(node.identity, url)

        found = self._gateways.first(rng, endpoint)
        if found is None:
            raise _refuse(
                f"none of {len(self.gateways)} gateways is left to choose" + (" with wss://" if force_tls else ""),
                "no_gateway",
            )
        return found


def _pool(nodes: Sequence[TopologyNode]) -> NodePool:
    return nodes if isinstance(nodes, NodePool) else NodePool(nodes)


def _url(node: TopologyNode, force_tls: bool) -> str | None:
    if node.entry is None:
        return None
    if force_tls:
        # A certificate is for a name.
        if node.entry.wss_port is None or node.entry.hostname is None:
            return None
        return f"wss://{node.entry.hostname}:{node.entry.wss_port}/"
    return f"ws://{node.entry.hostname or node.first_address}:{node.entry.ws_port}/"
