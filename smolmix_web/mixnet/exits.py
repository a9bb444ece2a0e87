"""Choice of the exit: nodes that run an IP packet router, weighted by performance (directory.md 7)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from ..errors import DirectoryError
from ..rand import RandomSource
from .addresses import Recipient
from .directory import DescribedNode, SkimmedNode

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


def exit_candidates(
    described: Sequence[DescribedNode],
    skimmed: Sequence[SkimmedNode],
    reachable: Callable[[bytes], bool],
) -> list[ExitCandidate]:
    """Nodes that offer an exit we can use: role, version, address, performance above 0.

    `reachable`: can routes end at the gateway with this identity, i.e. `Topology.knows`.
    """
    by_identity = {node.identity: node for node in skimmed}
    found = []
    for node in described:
        entry = by_identity.get(node.identity)
        version = NodeVersion.parse(node.build_version)
        if node.ip_packet_router is None or entry is None or version is None:
            continue
        if not entry.supported_roles.exit_ipr or version < OLDEST_VERSION or entry.performance <= 0:
            continue
        if not reachable(node.ip_packet_router.gateway):
            continue
        found.append(
            ExitCandidate(
                node.ip_packet_router, node.build_version, protocols_of(node.build_version), entry.performance
            )
        )
    return found


def pinned_exit(recipient: Recipient, described: Sequence[DescribedNode] = ()) -> ExitCandidate:
    """The exit at a given address; its version is looked up by the gateway part of the address."""
    version = next((node.build_version for node in described if node.identity == recipient.gateway), None)
    return ExitCandidate(recipient, version or "", protocols_of(version), 100)


def draw_exits(
    rng: RandomSource, candidates: Sequence[ExitCandidate], limit: int = 1, *, exclude: Collection[Recipient] = ()
) -> list[ExitCandidate]:
    """Up to `limit` different exits in the order to try, drawn with weight = performance.

    `DirectoryError` `no_exit` when there is none.
    """
    left = [one for one in candidates if one.recipient not in exclude and one.weight > 0]
    if not left:
        raise DirectoryError(f"none of {len(candidates)} exits is left to choose", code="no_exit", phase="directory")
    drawn: list[ExitCandidate] = []
    while left and len(drawn) < limit:
        ticket = rng.below(sum(one.weight for one in left))
        for index, one in enumerate(left):
            if ticket < one.weight:
                drawn.append(left.pop(index))
                break
            ticket -= one.weight
    return drawn
