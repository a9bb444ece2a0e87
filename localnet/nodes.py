"""The nodes that run in one process: made from the plan, started, wired to each other, stopped."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

from smolmix_web.crypto.pyca import PycaCrypto

from .config import NetworkConfig
from .errors import LocalnetError
from .gateway import Gateway
from .keys import KeyRing
from .links import LinkTable
from .node import MixNode
from .plan import NodePlan
from .rotation import RotationClock
from .wire import Neighbour


class NodeGroup:
    """The nodes of `plans`, by name."""

    def __init__(
        self,
        plans: Iterable[NodePlan],
        config: NetworkConfig,
        seed: str,
        clock: RotationClock,
        links: LinkTable,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.crypto = PycaCrypto()
        self.clock = clock
        self.links = links
        self.nodes: dict[str, MixNode] = {}
        for plan in plans:
            keys = KeyRing(self.crypto, seed, plan.node_id, plan.name, clock)
            if plan.kind == "mix":
                self.nodes[plan.name] = MixNode(keys, config, self.crypto, links)
            else:
                self.nodes[plan.name] = Gateway(keys, config, self.crypto, links, tls=tls)

    async def start(self) -> dict[str, int]:
        """Start all; the mix port of each."""
        for node in self.nodes.values():
            await node.start()
        return {name: node.port for name, node in self.nodes.items()}

    async def stop(self) -> None:
        for node in self.nodes.values():
            await node.stop()

    def wire(self, neighbours: Iterable[Neighbour]) -> None:
        neighbours = list(neighbours)
        for node in self.nodes.values():
            node.set_neighbours(neighbours)

    def node(self, name: str) -> MixNode:
        try:
            return self.nodes[name]
        except KeyError:
            raise LocalnetError(f"no node named {name!r} here", code="unknown_node") from None

    def counters(self) -> dict[str, dict[str, int]]:
        return {name: dict(node.counters) for name, node in self.nodes.items()}

    def describe_links(self) -> dict[str, Any]:
        return self.links.describe()
