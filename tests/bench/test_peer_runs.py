"""Steps that fail or hang: what was measured stays, what was not says so, and the next client has its turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from playwright.async_api import Error as PlaywrightError

from bench import peer_long, peer_runs
from bench.limits import MemoryLimit
from bench.peer import Measured, line_to, main_task, network_config
from bench.peer_plan import FIGURES, GROUPS, Condition, Plan
from bench.peer_results import LATE
from bench.peer_runs import Run
from localnet import Network, NetworkConfig
from localnet.links import LinkTable
from localnet.scheduler import Scheduler

pytestmark = pytest.mark.cpython

PLAN = Plan(1, ("defaults",), frozenset(GROUPS), (Condition(cpu=0.5),), 0.0, 0.2, None)


@dataclass
class Up:
    passed: int = 0


@dataclass
class Gateway:
    counters: dict[str, int] = field(default_factory=lambda: {"acks_sent": 0})
    up: Up = field(default_factory=Up)


class Visit:
    """Every step takes a second of somebody's time; `meets` says which of them fail or hang."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.page, self.pids, self.memory, self.peak = self, [], MemoryLimit(None, None), 90_000_000

    async def _meet(self, name: str) -> float:
        self._bench.asked.append(name)
        what = self._bench.meets.get(name)
        if isinstance(what, Exception):
            raise what
        if what == "hangs":
            await asyncio.sleep(60)
        return 1.0

    async def ready(self, address: str) -> float:
        again = "ready" in self._bench.asked
        return await self._meet("ready again" if again else "ready")

    async def get(self, url: str, size: int | None = None, *, watched: bool = False) -> dict[str, float]:
        self._bench.gateway.counters["acks_sent"] += 10
        self._bench.gateway.up.passed += 5
        await self._meet("download" if size else "fetch")
        return {"seconds": 2.0, "late": 7.0}

    async def together(self, count: int, size: int) -> float:
        return await self._meet("together")

    async def upload(self, size: int) -> float:
        return await self._meet("upload")

    async def evaluate(self, code: str) -> dict[str, Any]:
        return {"changes": 3, "reconnects": 1, "states": [[1, "ready"]], "warnings": ["too_slow"]}


class Bench:
    """Has the interface of `peer_runs.Bench` that a run uses."""

    def __init__(self, plan: Plan = PLAN, **meets: Any) -> None:
        self.plan, self.meets = plan, meets
        self.condition = replace(plan.conditions[0])
        self.gateway = Gateway()
        self.network = self
        self.gateways = [self.gateway]
        self.failures: list[str] = []
        self.asked: list[str] = []
        self.logged: list[str] = []
        self.log = self.logged.append

    def address_in(self, client: str, mode: str) -> str:
        return "http://page"

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[None]:
        yield

    @asynccontextmanager
    async def visit(self, context: None) -> AsyncIterator[Visit]:
        yield Visit(self)


def test_the_renderer_of_a_page_is_the_busiest() -> None:
    assert peer_runs._busiest({1: 5.0, 2: 1.0, 3: 0.0}, {1: 5.1, 2: 1.3, 4: 0.2}) == 2
    assert peer_runs._busiest({1: 5.0, 2: 1.0, 3: 0.0}, {1: 5.1, 2: 1.3, 4: 0.2}, 0.6) is None
    assert peer_runs._busiest({1: 5.0, 2: 1.0}, {1: 5.1, 2: 1.8}, 0.8) == 2
    assert peer_runs._busiest({1: 5.0}, {1: 5.0}) is None and peer_runs._busiest({}, {}) is None


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_runs, "SETTLE", 0.0)
    monkeypatch.setattr(peer_long, "IDLE", 0.0)
    monkeypatch.setattr(type(PLAN.conditions[0]), "sizes", replace(Condition(cpu=0.5).sizes, idle=0.01))


async def run(bench: Bench) -> dict[str, float | None]:
    task = Run(bench, "ours", "defaults")  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        await task.run()
    return task.figures


async def test_a_whole_run_has_every_figure() -> None:
    figures = await run(bench := Bench())
    assert set(figures) == set(FIGURES) and None not in figures.values()
    assert figures["body per packet"] == 50_000 and figures["up per down"] == 0.5
    assert figures["speed"] == 250.0 and figures["timers late"] == 7.0
    assert bench.failures == []


async def test_a_step_that_fails_has_no_figure_and_the_next_are_measured() -> None:
    figures = await run(bench := Bench(upload=PlaywrightError("TypeError: no\nat worker")))
    assert figures["upload"] is None and figures["download"] == 2.0 and figures["ready again"] == 1.0
    assert bench.failures == ["0.5 of a core; defaults; ours: upload: TypeError: no"] == bench.logged


async def test_after_a_step_that_hangs_nothing_more_is_tried() -> None:
    figures = await run(bench := Bench(upload="hangs"))
    assert figures["upload"] == LATE and "download" not in figures and "ready again" not in figures
    assert figures["together"] == 1.0 and figures["peak memory"] == 90.0
    assert bench.failures == ["0.5 of a core; defaults; ours: upload: not within 0.2 s"]


async def test_who_is_not_ready_has_none_of_what_comes_after() -> None:
    figures = await run(bench := Bench(ready=PlaywrightError("MixError: no exit")))
    assert {name for name, value in figures.items() if value is None} == {
        name for name, figure in FIGURES.items() if figure.group in ("small", "parallel", "upload", "download")
    } | {"ready"}
    assert bench.asked == ["ready", "ready again"]
    assert len(bench.failures) == 1


async def test_a_download_that_fails_takes_its_figures_along() -> None:
    figures = await run(Bench(download=PlaywrightError("gone")))
    assert all(figures[name] is None for name, figure in FIGURES.items() if figure.group == "download")
    assert figures["memory"] is not None


async def test_what_is_interrupted_has_not_failed() -> None:
    task = Run(bench := Bench(together="hangs", plan=replace(PLAN, patience=60.0)), "ours", "off")  # type: ignore[arg-type]
    running = asyncio.create_task(task.run())
    while "together" not in bench.asked:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    assert "together" not in task.figures and task.figures["second fetch"] == 2.0


async def test_the_long_run_counts_what_the_client_told_and_what_failed() -> None:
    plan = replace(PLAN, minutes=0.002)
    found = await peer_long.run_long(Bench(plan), "ours", "defaults")  # type: ignore[arg-type]
    assert found["fetches"] >= 2 and found["failed"] == 0 and found["reconnects"] == 1 and found["warnings"] == 1
    assert found["small at the end"] == 2.0 and found["timers late"] == 7.0
    found = await peer_long.run_long(Bench(plan, fetch="hangs"), "ours", "defaults")  # type: ignore[arg-type]
    assert found["failed"] == 1 and found["small median"] is None and found["errors"][0][1] == "late"
    found = await peer_long.run_long(bench := Bench(plan, ready="hangs"), "official", "off")  # type: ignore[arg-type, assignment]
    assert found["changes"] is None and bench.failures == ["0.5 of a core; off; official: not ready within 0.2 s"]


async def test_a_browser_that_does_not_start_leaves_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(measured: Measured, log: Any) -> None:
        raise PlaywrightError("no such file\nmore")

    monkeypatch.setattr("bench.peer.measure", broken)
    await main_task(measured := Measured(PLAN), False, print)
    report = measured.report()
    assert report["interrupted"] and report["failures"] == ["the browser: no such file"] and report["sections"] == []


async def test_packets_are_lost_between_nodes_only() -> None:
    rules = network_config(replace(PLAN, loss=0.01)).links
    table = LinkTable(Scheduler(asyncio.get_running_loop()), "s", rules)
    assert {table.resolve(f"{one}->{other}").loss for one, other in [("entry1", "mix1a"), ("mix1a", "mix2b")]} == {0.01}
    assert {table.resolve(name).loss for name in ("client->entry1", "entry1->client")} == {0.0}
    assert network_config(PLAN).links == ()


async def test_the_directory_names_the_line_while_there_is_one() -> None:
    async with Network(NetworkConfig(seed="line", mixes_per_layer=1, gateways=1, exits=0)) as network:
        (gateway,) = network.gateways
        entry = network.entry(gateway.name)
        async with line_to(network, Condition(line=100, line_delay=0.01)):
            port = entry.ws_port
            assert port not in (0, gateway.ws_port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 4")
            writer.close()
        assert entry.ws_port == gateway.ws_port
        async with line_to(network, Condition()):
            assert entry.ws_port == gateway.ws_port
