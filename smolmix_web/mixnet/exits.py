"""Choice of the exit: nodes that run an IP packet router, weighted by performance (directory.md 7)."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import DirectoryError
from ..rand import RandomSource
from .addresses import Recipient
from .base58 import base58_encode
from .directory import DescribedNode
from .node_list import Listed, NodeList
from .topology import Topology

_SEMVER = re.compile(
    r"^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$"
)


class NodeVersion(NamedTuple):
    """A semantic version as far as thresholds need it: a pre-release comes before its release."""

    major: int
    minor: int
    patch: int
    released: bool = True

    @classmethod
    def parse(cls, text: str) -> NodeVersion | None:
        """None for anything that is not three numbers with an optional suffix."""
        match = _SEMVER.match(text)
        return None if match is None else cls(int(match[1]), int(match[2]), int(match[3]), match[4] is None)


OLDEST_VERSION = NodeVersion(1, 30, 0)
V10_VERSION = NodeVersion(1, 37, 0)


class ExitCandidate(NamedTuple):
    """An exit to try. `protocols`: IP packet router versions in the order to try; `weight`: percent."""

    recipient: Recipient
    version: str
    protocols: tuple[int, ...]
    weight: int


def protocols_of(version: str | None) -> tuple[int, ...]:
    """v10 then v9 from 1.37.0 on, else v9 alone; also for a version that is not known (directory.md 7.3)."""
    parsed = NodeVersion.parse(version) if version is not None else None
    return (10, 9) if parsed is not None and parsed >= V10_VERSION else (9,)


def exit_candidate(node: DescribedNode, topology: Topology) -> ExitCandidate | None:
    """The exit of a node, where it is one that we can use: role, version, address, performance, and a gateway of the
    topology to reach it by."""
    version = NodeVersion.parse(node.build_version)
    if node.ip_packet_router is None or version is None or version < OLDEST_VERSION:
        return None
    weight = topology.exit_weight(base58_encode(node.identity))
    if not weight or not topology.knows(node.ip_packet_router.gateway):
        return None
    return ExitCandidate(node.ip_packet_router, node.build_version, protocols_of(node.build_version), weight)


def pinned_exit(recipient: Recipient, described: NodeList[DescribedNode] | None = None) -> ExitCandidate:
    """The exit at a given address; its version is looked up by the gateway part of the address."""
    listed = None if described is None else described.find(base58_encode(recipient.gateway))
    node = None if described is None or listed is None else described.read(listed)
    version = None if node is None else node.build_version
    return ExitCandidate(recipient, version or "", protocols_of(version), 100)


def draw_exits(
    rng: RandomSource, described: NodeList[DescribedNode], topology: Topology, limit: int = 1
) -> list[ExitCandidate]:
    """Up to `limit` different exits in the order to try, drawn with weight = performance.

    Nodes are drawn with equal chance and read then; an exit is taken with the chance of its performance, so that only
    those are read that were drawn. `DirectoryError` `no_exit` when there is none.
    """
    left: list[Listed[DescribedNode] | ExitCandidate] = [one for one in described.listed() if one.exit]
    count = len(left)
    drawn: list[ExitCandidate] = []
    while left and len(drawn) < limit:
        at = rng.below(len(left))
        one = left[at]
        if isinstance(one, Listed):
            # The topology knows by the name alone most of those that are no exits.
            node = described.read(one) if topology.exit_weight(one.identity) else None
            exit_ = None if node is None else exit_candidate(node, topology)
            if exit_ is None:
                left[at] = left[-1]
                left.pop()
                continue
            one = left[at] = exit_
        if rng.below(100) < one.weight:
            drawn.append(one)
            left[at] = left[-1]
            left.pop()
    if not drawn:
        raise DirectoryError(f"none of {count} nodes is an exit to choose", code="no_exit", phase="directory")
    return drawn
