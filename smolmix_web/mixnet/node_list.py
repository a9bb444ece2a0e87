"""A list of the directory whose nodes are read one by one, when they are first asked for.

The main network lists some seven hundred nodes, of which a start needs a dozen; decoding and checking their keys and
addresses is what reading costs. Only what a list is searched by is looked at when it comes: number, identity and
performance. A node that turns out to be bad is left out from then on, counted and reported, as if it had never been
listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

from ..errors import DirectoryError

MAX_REPORTED = 20  # complaints kept per list

Node = TypeVar("Node")


class Columns(NamedTuple):
    """What a list is searched by. `identity` as written, in base58; `performance` in percent; `exit`: may be one."""

    node_id: int
    identity: str
    performance: int
    exit: bool


class Listed(Generic[Node]):
    """One node of a list: its columns at once, the node when it is read."""

    __slots__ = ("_read", "exit", "identity", "node", "node_id", "performance")

    def __init__(self, columns: Columns, node: Node | None, read: Callable[[], Node] | None = None) -> None:
        self.node_id, self.identity, self.performance, self.exit = columns
        self.node = node
        self._read = read

    def read(self) -> Node | None:
        """The node; None for one that was found bad before. Raises `DirectoryError` where it is found bad now."""
        if self.node is None and self._read is not None:
            read, self._read = self._read, None
            self.node = read()
        return self.node


class NodeList(Generic[Node]):
    """Nodes by identity. Iterating reads all of them; `listed` none."""

    def __init__(self) -> None:
        self._nodes: dict[str, Listed[Node]] = {}
        self.skipped = 0  # bad nodes that were met so far
        self.complaints: list[DirectoryError] = []  # about the first of them

    def skip(self, error: DirectoryError) -> None:
        """Count a bad node."""
        self.skipped += 1
        if len(self.complaints) < MAX_REPORTED:
            self.complaints.append(error)

    def add(self, listed: Listed[Node]) -> None:
        """A node listed twice is what was said last, if that is good."""
        if listed.identity not in self._nodes or self.read(listed) is not None:
            self._nodes[listed.identity] = listed

    def extend(self, page: NodeList[Node]) -> bool:
        """Take over the nodes of a page; whether there was news in it."""
        before = len(self._nodes)
        for error in page.complaints:
            self.skip(error)
        self.skipped += page.skipped - len(page.complaints)
        for listed in page.listed():
            self.add(listed)
        return len(self._nodes) > before

    def read(self, listed: Listed[Node]) -> Node | None:
        """None for a bad one, which is no longer listed then."""
        try:
            return listed.read()
        except DirectoryError as error:
            self.skip(error)
            if self._nodes.get(listed.identity) is listed:
                del self._nodes[listed.identity]
            return None

    def listed(self) -> list[Listed[Node]]:
        """All of them, read or not."""
        return list(self._nodes.values())

    def find(self, identity: str) -> Listed[Node] | None:
        """By identity in base58."""
        return self._nodes.get(identity)

    def any_good(self) -> bool:
        """Reads until one is good."""
        return any(self.read(listed) is not None for listed in self.listed())

    def __iter__(self) -> Iterator[Node]:
        for listed in self.listed():
            node = self.read(listed)
            if node is not None:
                yield node

    def __len__(self) -> int:
        return sum(1 for _ in self)
