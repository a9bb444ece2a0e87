"""What a tunnel knows of the network, kept fresh: topology and exits first, then a new one when `RefreshPlan` says so.

One timer and at most one request at a time; a pinned topology needs neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from ..engine import Engine
from ..errors import DirectoryError, SmolmixError
from ..exit.link import MAX_CANDIDATES, ExitLink
from ..host.base import Host, TimerHandle
from ..mixnet.addresses import Recipient
from ..mixnet.directory_query import DirectoryQuery
from ..mixnet.exits import ExitCandidate, draw_exits, pinned_exit
from ..mixnet.refresh import RefreshPlan
from ..mixnet.topology import Topology
from .assembly import Pinned
from .directory_loader import load

MOST = 0.5  # of the mix nodes are there for the whole of an epoch


class DirectoryKeeper:
    """`first`, then `start`; `trouble` whenever something was lost; `close` at the end."""

    def __init__(
        self,
        host: Host,
        urls: Sequence[str],
        pinned: Pinned,
        *,
        exits: bool = True,
        taken: Callable[[], Collection[Recipient]] = tuple,
    ) -> None:
        """`exits`: are any wanted? `taken`: those that are drawn last."""
        self._taken = taken
        self._wants_exits = exits
        self._host = host
        self._urls = urls
        self._pinned = pinned
        self._engine: Engine | None = None
        self._wake: Callable[[], None]
        self._warn: Callable[[SmolmixError], None]
        self._warned = False
        self._plan: RefreshPlan | None = None
        self._timer: TimerHandle | None = None
        self._planned = float("inf")  # when the timer is due
        self._task: asyncio.Task[None] | None = None
        self._begun = 0.0  # when the task was
        self._suspended = False

    async def first(self) -> tuple[Topology, list[ExitCandidate]]:
        """The topology, and exits in the order to try. Raises `DirectoryError` or `TimeoutExpired`."""
        preferred = self._pinned.exit
        if not self._wants_exits:
            return self._pinned.topology or (await self._topology())[1], []
        if self._pinned.topology is not None:
            assert preferred is not None
            # Nobody tells the exit's version: try both.
            return self._pinned.topology, [pinned_exit(preferred)._replace(protocols=(10, 9))]
        query = DirectoryQuery.for_start()
        await load(self._host, self._urls, query)
        topology = Topology.from_query(query)
        exits = self._choose(query, topology)
        if preferred is not None and not topology.knows(preferred.gateway):
            raise DirectoryError(
                "the gateway of preferredIpr is not listed by the directory", code="exit_unknown", phase="directory"
            )
        return topology, exits

    def start(self, engine: Engine, wake: Callable[[], None], warn: Callable[[SmolmixError], None]) -> None:
        """Keep the topology of `engine` fresh from now on; `wake` is called when there is a new one, `warn` when it is
        not what others will have got."""
        self._engine, self._wake, self._warn = engine, wake, warn
        topology = engine.mixnet.topology
        if self._pinned.topology is None and topology is not None:
            self._plan = RefreshPlan(self._host.rng, topology, self._host.now(), self._host.unix_time())
            self._arm()

    def trouble(self) -> None:
        """What we know may be too old: ask soon, within a rate."""
        if self._plan is not None:
            self._plan.trouble(self._host.now())
            self._arm()

    def network_back(self) -> None:
        """A request that failed may succeed now; one under way began before there was anybody to answer it."""
        if self._plan is None:
            return
        if self._task is not None:
            self._task.cancel()
            self._task = None
            self._plan.failed(self._begun)
        if self._plan.stale:
            self.trouble()

    def suspend(self) -> None:
        """Nobody is asked until `resume`."""
        self._suspended = True
        self._stop()

    def resume(self) -> None:
        self._suspended = False
        self._arm()

    async def refresh(self) -> None:
        """Ask now. Where no exit of those drawn would have us, others are drawn."""
        engine, host = self._engine, self._host
        assert engine is not None
        base, topology = await self._topology()
        self._compare(topology, engine.mixnet.topology)
        engine.set_topology(topology, host.now())
        if self._plan is not None:
            self._plan.succeeded(topology, host.now(), host.unix_time())
        self._wake()
        if isinstance(engine.exit, ExitLink) and engine.exit.tried_in_vain and self._pinned.exit is None:
            exits = DirectoryQuery.for_exits()
            await load(host, [base], exits)  # of the server that gave the topology, so that the two agree
            engine.exit.set_candidates(self._choose(exits, topology))

    def close(self) -> None:
        self._stop()
        self._plan = None

    # -- inside -----------------------------------------------------------------------------------------

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            if self._plan is not None:
                self._plan.failed(self._begun)
        self._timer = self._task = None

    def _compare(self, topology: Topology, known: Topology | None) -> None:
        """With what the directory has said before (docs/privacy.md). Raises `DirectoryError` `outdated`."""
        kept = topology.kept_of(known) if known is not None else None
        if kept is not None and kept < MOST and not self._warned:
            self._warned = True
            self._warn(
                DirectoryError(
                    f"the directory lists {kept:.0%} of the mix nodes that it listed before in the same epoch",
                    code="topology_changed",
                    phase="directory",
                )
            )

    async def _topology(self) -> tuple[str, Topology]:
        """And the base URL of the server that gave it."""
        query = DirectoryQuery.for_topology()
        base = await load(self._host, self._urls, query)
        return base, Topology.from_query(query)

    def _choose(self, query: DirectoryQuery, topology: Topology) -> list[ExitCandidate]:
        preferred = self._pinned.exit
        if preferred is not None:
            return [pinned_exit(preferred, query.described)]
        taken = self._taken()
        drawn = draw_exits(self._host.rng, query.described, topology, MAX_CANDIDATES + len(taken))
        return sorted(drawn, key=lambda exit_: exit_.recipient in taken)[:MAX_CANDIDATES]

    def _arm(self) -> None:
        plan = self._plan
        if plan is None or self._task is not None or self._suspended:
            return
        if self._timer is not None:
            if self._planned <= plan.due:
                return  # it will look again
            self._timer.cancel()
        self._planned = plan.due
        self._timer = self._host.call_later(max(0.0, plan.due - self._host.now()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._plan is None or self._host.now() < self._plan.due:
            self._arm()
        else:
            self._begun = self._host.now()
            self._task = asyncio.get_running_loop().create_task(self._refresh_by_plan())

    async def _refresh_by_plan(self) -> None:
        try:
            await self.refresh()
        except SmolmixError as error:
            # The old topology goes on; the network changes slowly.
            self._host.log(f"topology refresh failed: {error}")
            if self._plan is not None:
                self._plan.failed(self._host.now())
        self._task = None
        self._arm()
