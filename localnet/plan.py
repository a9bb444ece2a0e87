"""Who is in the network: names, numbers, roles and the process each node runs in, worked out from the configuration.

Names: mixes `mix<layer><letter>` (`mix1a`), gateways `entry<n>`, exits `exit<n>`. Numbers: mixes from 1, gateways
from 101, exits from 201.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .config import LAYERS, NetworkConfig

Kind = Literal["mix", "entry", "exit"]
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class NodePlan:
    """One node before it has ports. `layer` is 1 to 3 for mixes, 0 else; `process` 0 is the main one."""

    node_id: int
    name: str
    kind: Kind
    layer: int = 0
    process: int = 0
    version: str = "1.38.0"


def _letter(index: int) -> str:
    return _LETTERS[index] if index < len(_LETTERS) else f"z{index}"


def plan(config: NetworkConfig) -> list[NodePlan]:
    """All nodes of the network. Mixes are dealt out to the further processes layer by layer, so that each carries
    the same share of every layer's packets."""
    nodes: list[NodePlan] = []
    workers = config.processes - 1
    for layer in range(1, LAYERS + 1):
        for index in range(config.mixes_per_layer):
            number = len(nodes)
            process = 1 + number % workers if workers else 0
            nodes.append(NodePlan(number + 1, f"mix{layer}{_letter(index)}", "mix", layer, process))
    for index in range(config.gateways):
        nodes.append(NodePlan(101 + index, f"entry{index + 1}", "entry"))
    for index in range(config.exits):
        version = config.exit_versions[index % len(config.exit_versions)]
        nodes.append(NodePlan(201 + index, f"exit{index + 1}", "exit", version=version))
    return nodes
