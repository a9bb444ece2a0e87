"""The nodes of a topology, made ready for routes when they are first drawn or asked for.

Drawing is uniform over the good nodes: one is drawn of all that are listed, and where it turns out to be bad it is
taken out and the draw repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

from ..errors import DirectoryError
from ..rand import RandomSource
from ..sphinx.packet import Hop
from .addresses import pack_node_address, pad_node_address
from .base58 import base58_encode
from .directory import EntryDetails, SkimmedNode
from .node_list import Listed, NodeList

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TopologyNode:
    """What routes and the choices of gateway and exit need of a node; `hop` is ready for headers."""

    node_id: int
    identity: bytes
    hop: Hop
    entry: EntryDetails | None
    first_address: str
    exit_weight: int = field(default=0, compare=False)  # percent; 0: it says of no exit

    @classmethod
    def from_skimmed(cls, node: SkimmedNode) -> TopologyNode:
        first = node.addresses[0]
        address = pad_node_address(pack_node_address(first, node.mix_port))
        text = f"[{first}]" if first.version == 6 else str(first)
        weight = node.performance if node.supported_roles.exit_ipr else 0
        return cls(node.node_id, node.identity, Hop(address, node.sphinx_key), node.entry, text, weight)


Unread = int | Listed[SkimmedNode]  # a number to look up, or a line of a list


class NodePool(Sequence[TopologyNode]):
    """Nodes of one kind. As a sequence it reads all of them; `draw`, `first`, `find` and `bool` as few as they can."""

    def __init__(
        self, items: Iterable[TopologyNode | Unread], read: Callable[[Any], TopologyNode | None] = lambda unread: None
    ) -> None:
        self._items = list(items)
        self._read = read

    def _node(self, at: int) -> TopologyNode | None:
        item = self._items[at]
        if isinstance(item, TopologyNode):
            return item
        node = self._read(item)
        if node is not None:
            self._items[at] = node
        return node

    def draw(self, rng: RandomSource) -> TopologyNode:
        """One of the good ones, each with equal chance. `DirectoryError` `unroutable` where there is none."""
        items = self._items
        while items:
            at = rng.below(len(items))
            item = items[at]
            if isinstance(item, TopologyNode):
                return item
            node = self._node(at)
            if node is not None:
                return node
            del items[at]
        raise DirectoryError("topology: no usable node is left", code="unroutable", phase="directory")

    def first(self, rng: RandomSource, accept: Callable[[TopologyNode], T | None]) -> T | None:
        """What `accept` makes of one of the nodes that it makes something of, each with equal chance."""
        left = list(range(len(self._items)))
        while left:
            index = rng.below(len(left))
            at, left[index] = left[index], left[-1]
            left.pop()
            node = self._node(at)
            found = accept(node) if node is not None else None
            if found is not None:
                return found
        return None

    def find(self, identity: bytes) -> TopologyNode | None:
        """By Ed25519 identity."""
        name = base58_encode(identity)
        for at, item in enumerate(self._items):
            if isinstance(item, Listed) and item.identity != name:
                continue
            node = self._node(at)
            if node is not None and node.identity == identity:
                return node
        return None

    def numbers(self) -> set[int]:
        """The ids of all that are listed by one, good or bad."""
        known = (item.node_id if isinstance(item, TopologyNode) else item for item in self._items)
        return {number for number in known if isinstance(number, int)}

    def _all(self) -> list[TopologyNode]:
        nodes = [node for at in range(len(self._items)) if (node := self._node(at)) is not None]
        self._items = list(nodes)
        return nodes

    def __bool__(self) -> bool:
        return any(self._node(at) is not None for at in range(len(self._items)))

    def __len__(self) -> int:
        return len(self._all())

    @overload
    def __getitem__(self, at: int) -> TopologyNode: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[TopologyNode]: ...
    def __getitem__(self, at: int | slice) -> TopologyNode | Sequence[TopologyNode]:
        return self._all()[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


class NodeTable(Mapping[bytes, TopologyNode]):
    """All nodes that a route may end at, by identity.

    `sources`: lists, and the percent of performance that a node of each needs. What a later list says of a number goes
    over what earlier ones say.
    """

    def __init__(self, *sources: tuple[NodeList[SkimmedNode], int]) -> None:
        self._sources = [nodes for nodes, _ in sources]
        self._by_id: dict[int, list[tuple[NodeList[SkimmedNode], Listed[SkimmedNode]]]] = {}
        self._names: dict[str, int] = {}
        self._exits: set[str] = set()
        for nodes, least in sources:
            for listed in nodes.listed():
                if listed.performance >= least:
                    self._by_id.setdefault(listed.node_id, []).append((nodes, listed))
                    self._names[listed.identity] = listed.node_id
                    if listed.exit:
                        self._exits.add(listed.identity)
        self._nodes: dict[int, TopologyNode | None] = {}
        self._found: dict[bytes, TopologyNode] = {}

    @property
    def skipped(self) -> int:
        """Bad nodes that were met so far."""
        return sum(nodes.skipped for nodes in self._sources)

    def has_number(self, node_id: int) -> bool:
        """Is a node of this number listed, good or not?"""
        return node_id in self._by_id

    def numbered(self, node_id: int) -> TopologyNode | None:
        """The node of this number; None where none is listed that is good."""
        if node_id not in self._nodes:
            found = None
            for nodes, listed in reversed(self._by_id.get(node_id, [])):
                skimmed = nodes.read(listed)
                if skimmed is not None:
                    found = TopologyNode.from_skimmed(skimmed)
                    break
            self._nodes[node_id] = found
        return self._nodes[node_id]

    def named(self, name: str) -> TopologyNode | None:
        """By identity in base58."""
        node_id = self._names.get(name)
        node = None if node_id is None else self.numbered(node_id)
        return node if node is not None and base58_encode(node.identity) == name else None

    def exit_weight(self, name: str) -> int:
        """Percent by which an exit at the node of this name is chosen; reads none that says it is no exit."""
        node = self.named(name) if name in self._exits else None
        return 0 if node is None else node.exit_weight

    def met(self) -> list[TopologyNode]:
        """Those that were read so far."""
        return [node for node in self._nodes.values() if node is not None]

    def __getitem__(self, identity: bytes) -> TopologyNode:
        node = self._found.get(identity)
        if node is None:
            node = self.named(base58_encode(identity))
            if node is None:
                raise KeyError(identity)
            self._found[identity] = node
        return node

    def __iter__(self) -> Iterator[bytes]:
        nodes = [self.numbered(node_id) for node_id in self._by_id]
        return iter(dict.fromkeys(node.identity for node in nodes if node is not None))

    def __len__(self) -> int:
        return sum(1 for _ in self)
