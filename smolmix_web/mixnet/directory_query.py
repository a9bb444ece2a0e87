"""Which directory answers to fetch, and what they make together: paging and consistency, without I/O (directory.md 2).

    query = DirectoryQuery.for_topology()
    while not query.done:
        for path in query.requests():          # below the base URL; all of them may run at once
            query.answer(path, body)
    topology = Topology.from_query(query)

An answer that is refused raises `DirectoryError` and leaves the query as it was, so the owner may fetch the same
path again, from this base URL or after `restart` from another one. Only when answers contradict each other (code
`inconsistent`, an epoch may just have ended) everything is forgotten, so that all of it is fetched anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import DirectoryError
from .directory import (
    MAX_NODES,
    SKIMMED,
    DescribedNode,
    KeyRotationInfo,
    ListMetadata,
    NodePage,
    Resource,
    RewardedSet,
    SkimmedNode,
    parse_key_rotation,
    parse_page,
    parse_rewarded_set,
)
from .node_list import NodeList

MAX_PAGES = 64


@dataclass(frozen=True)
class SkimmedList:
    """A whole skimmed list."""

    metadata: ListMetadata
    nodes: NodeList[SkimmedNode]


class _Pages:
    """The pages of one list so far. `next_page` is None when the list is whole."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self.nodes: NodeList[Any] = NodeList()
        self.metadata: ListMetadata | None = None
        self._count = 0
        self.next_page: int | None = 0

    def _refuse(self, problem: str) -> DirectoryError:
        return DirectoryError(
            f"directory {self._resource.value}, page {self.next_page}: {problem}",
            code="inconsistent",
            phase="directory",
        )

    def take(self, page: NodePage) -> None:
        assert self.next_page is not None
        if self.metadata is not None and page.metadata is not None and not self.metadata.agrees_with(page.metadata):
            raise self._refuse("belongs to another epoch than the pages before")
        if self._count + page.count > MAX_NODES:
            raise self._refuse(f"more than {MAX_NODES} nodes in all")
        self.metadata = page.metadata
        self._count += page.count
        # A server that promises more than it gives would keep us here: a page without news ends the list.
        news = self.nodes.extend(page.nodes)
        whole = self._count >= page.total or not news or self.next_page + 1 >= MAX_PAGES
        self.next_page = None if whole else self.next_page + 1


class DirectoryQuery:
    """A set of resources to fetch; `requests` says what is missing, `answer` takes what came."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._resources = tuple(dict.fromkeys(resources))
        self.restart()

    @classmethod
    def for_topology(cls) -> DirectoryQuery:
        """What routes need: layers, mix nodes, gateways, and the clock of key rotations."""
        return cls((Resource.REWARDED_SET, Resource.ACTIVE_MIXNODES, Resource.ENTRY_GATEWAYS, Resource.KEY_ROTATION))

    @classmethod
    def for_exits(cls) -> DirectoryQuery:
        """What the choice of an exit needs besides the topology."""
        return cls((Resource.DESCRIBED,))

    @classmethod
    def for_start(cls) -> DirectoryQuery:
        """Both, in one round."""
        return cls((*cls.for_topology()._resources, *cls.for_exits()._resources))

    def restart(self) -> None:
        """Forget all answers: the lists of one query should come from one server."""
        self._pages = {resource: _Pages(resource) for resource in self._resources if resource.paged}
        self._rewarded_set: RewardedSet | None = None
        self._key_rotation: KeyRotationInfo | None = None
        self._single = {resource for resource in self._resources if not resource.paged}

    @property
    def done(self) -> bool:
        return not self._single and all(pages.next_page is None for pages in self._pages.values())

    def requests(self) -> list[str]:
        """Paths below the base URL that are still to be fetched, at most one per resource."""
        paths = [resource.value for resource in self._resources if resource in self._single]
        for resource, pages in self._pages.items():
            if pages.next_page is not None:
                paths.append(f"{resource.value}?page={pages.next_page}")
        return paths

    def answer(self, path: str, body: bytes) -> None:
        """The body of a 2xx answer to one of `requests`; other paths are ignored. Raises `DirectoryError`."""
        if path not in self.requests():
            return
        try:
            self._take(Resource(path.split("?")[0]), body)
        except DirectoryError as error:
            if error.code == "inconsistent":
                self.restart()
            raise

    def _take(self, resource: Resource, body: bytes) -> None:
        if resource is Resource.REWARDED_SET:
            self._rewarded_set = parse_rewarded_set(body)
        elif resource is Resource.KEY_ROTATION:
            self._key_rotation = parse_key_rotation(body)
        else:
            self._pages[resource].take(parse_page(resource, body))
        self._single.discard(resource)
        if self.done:
            self._check_consistency()

    def _check_consistency(self) -> None:
        lists = [self.skimmed(resource) for resource in self._resources if resource in SKIMMED]
        for one in lists[1:]:
            if not one.metadata.agrees_with(lists[0].metadata):
                raise DirectoryError(
                    "directory: the node lists belong to different epochs", code="inconsistent", phase="directory"
                )

    # -- results, once `done` ---------------------------------------------------------------------------

    def _missing(self, resource: Resource) -> DirectoryError:
        return DirectoryError(f"directory {resource.value}: not fetched", code="not_fetched", phase="directory")

    def _list(self, resource: Resource) -> _Pages:
        pages = self._pages.get(resource)
        if pages is None or pages.next_page is not None:
            raise self._missing(resource)
        return pages

    def skimmed(self, resource: Resource) -> SkimmedList:
        pages = self._list(resource)
        assert pages.metadata is not None
        return SkimmedList(pages.metadata, pages.nodes)

    @property
    def described(self) -> NodeList[DescribedNode]:
        return self._list(Resource.DESCRIBED).nodes

    @property
    def rewarded_set(self) -> RewardedSet:
        if self._rewarded_set is None:
            raise self._missing(Resource.REWARDED_SET)
        return self._rewarded_set

    @property
    def key_rotation(self) -> KeyRotationInfo | None:
        """None when it was not asked for."""
        return self._key_rotation
