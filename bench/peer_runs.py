"""One client in a fresh browser, from the opening of its page to its second visit: one run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from playwright.async_api import BrowserContext, Page
from playwright.async_api import Error as PlaywrightError

from bench.limits import MemoryLimit, less_memory, limited
from bench.peer_plan import FIGURES, MODES, Condition, Plan
from bench.peer_results import LATE, Figures
from bench.renderer import cpu_seconds, memory_bytes, renderers
from localnet import Network

SMALL = "http://origin.test/text"
SETTLE = 2.0  # s after a step, until what it left on the way has arrived
SAMPLE = 0.5  # s between two looks at the memory
CLOSING = 20.0  # s for a context to close
BUSY = 150  # ms that a page is kept busy to find its renderer,
LOOKS = 40  # so often at most,
DOMINANT = 0.8  # until one does so much of all that renderers do
NO_LIMIT = Condition()
PLAIN = Plan(1, tuple(MODES), frozenset(), (NO_LIMIT,), 0.0, 300.0, None)


class StepLate(Exception):
    """A step was not done when the patience was over: what it began goes on, and would spoil the next."""


@dataclass
class Bench:
    """What all runs share. `launch`: a browser with a fresh profile, and the id of its main process."""

    network: Network
    launch: Callable[[], AbstractAsyncContextManager[tuple[BrowserContext, int]]]
    site: str
    plan: Plan = PLAIN
    condition: Condition = NO_LIMIT
    log: Callable[[str], None] = print
    failures: list[str] = field(default_factory=list)
    ways: set[str] = field(default_factory=set)  # by which limits were kept
    browser_pid: int = 0
    version: str = ""  # of Chromium

    def address(self, client: str, options: dict[str, Any]) -> str:
        """Of the page that sets a client up with these options, and those of the network."""
        given: dict[str, Any] = {} if client == "official" else {"directoryUrls": [self.network.directory_url]}
        text = json.dumps({"client": client, "options": {"forceTls": False, **given, **options}})
        return f"{self.site}/index.html#{quote(text)}"

    def address_in(self, client: str, mode: str) -> str:
        gateway = self.network.gateways[0].identity_text
        return self.address(client, {**MODES[mode], "preferredGateway": gateway})

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[BrowserContext]:
        """A browser that has seen nothing yet; the next run gets another."""
        async with self.launch() as (context, self.browser_pid):
            if context.pages and not self.version:
                session = await context.new_cdp_session(context.pages[0])
                self.version = (await session.send("Browser.getVersion"))["product"].partition("/")[2]
            yield context

    @asynccontextmanager
    async def visit(self, context: BrowserContext) -> AsyncIterator[Visit]:
        """A page whose renderer is there, idle and under the condition's limits; the client's page is not yet open."""
        page = await context.new_page()
        # The renderer of a site is kept when the page goes on to another page of it.
        await page.goto(f"{self.site}/blank.html")
        page.set_default_timeout(self.plan.patience * 1000)
        pids = [await self._renderer_of(page)]
        begun = self._used()
        size = None if self.condition.memory is None else self.condition.memory * 1_000_000
        with limited(pids, self.condition.cpu) as way, less_memory(pids, size) as memory:
            self.ways |= {way} | ({memory.by or "WebAssembly's bound alone"} if size is not None else set())
            visit = Visit(page, pids, memory)
            sampler = asyncio.create_task(visit.sample()) if "memory" in self.plan.groups or size else None
            try:
                yield visit
                if _busiest(begun, self._used()) not in (None, *pids):
                    self.failures.append(f"{self.condition.name}: another renderer than the measured one did the work")
            finally:
                if sampler is not None:
                    sampler.cancel()
                with suppress(PlaywrightError, TimeoutError):
                    async with asyncio.timeout(CLOSING):
                        await page.close()

    def _used(self) -> dict[int, float]:
        return {pid: cpu_seconds([pid]) for pid in renderers(self.browser_pid)}

    async def _renderer_of(self, page: Page) -> int:
        """The process of a page: the one that is busy when the page is, twice in a row. The browser keeps spare ones,
        and one of them may be starting."""
        last = None
        for _ in range(LOOKS):
            before = self._used()
            await page.evaluate("(ms) => { for (const end = performance.now() + ms; performance.now() < end;); }", BUSY)
            found = _busiest(before, self._used(), DOMINANT)
            if found is not None and found == last:
                return found
            last = found
        raise PlaywrightError("no renderer of the page was found")


def _busiest(before: dict[int, float], after: dict[int, float], share: float = 0.0) -> int | None:
    """Who has used most CPU in between, and this share of all; None where nobody has."""
    used = {pid: seconds - before.get(pid, 0.0) for pid, seconds in after.items()}
    busiest = max(used, key=lambda pid: used[pid], default=None)
    return busiest if busiest is not None and used[busiest] > share * sum(used.values()) else None


@dataclass
class Visit:
    page: Page
    pids: list[int]
    memory: MemoryLimit
    peak: int = 0  # bytes

    async def sample(self) -> None:
        while True:
            self.peak = max(self.peak, memory_bytes(self.pids))
            await asyncio.sleep(SAMPLE)

    async def ready(self, address: str) -> float:
        """Open the client's page; seconds until its tunnel is up."""
        await self.page.goto(address)
        await self.page.wait_for_function("globalThis.peer !== undefined")
        return float(await self.page.evaluate("() => peer.ready()")) / 1000

    async def get(self, url: str, size: int | None = None, *, watched: bool = False) -> dict[str, float]:
        """Fetch it; `seconds`, and `late`, of the page's own timers meanwhile in ms where they are watched."""
        got = await self.page.evaluate(f"(url) => peer.{'watchedGet' if watched else 'get'}(url)", url)
        _check(got["bytes"], size)
        return {"seconds": float(got["milliseconds"]) / 1000, "late": float(got.get("late") or 0.0)}

    async def together(self, count: int, size: int) -> float:
        urls = [f"http://origin.test/bytes/{size}?seed={number}" for number in range(count)]
        got = await self.page.evaluate("(urls) => peer.together(urls)", urls)
        _check(got["bytes"], count * size)
        return float(got["milliseconds"]) / 1000

    async def upload(self, size: int) -> float:
        got = await self.page.evaluate("([url, size]) => peer.post(url, size)", ["http://origin.test/upload", size])
        _check(got["bytes"], size)
        return float(got["milliseconds"]) / 1000


def _check(got: int, wanted: int | None) -> None:
    if wanted is not None and got != wanted:
        raise PlaywrightError(f"{got} bytes came instead of {wanted}")


class Run:
    """All figures of one client in one mode. `figures` is filled as they come, so that what was measured stays."""

    def __init__(self, bench: Bench, client: str, mode: str) -> None:
        self._bench, self._client, self._mode = bench, client, mode
        self._wanted = bench.plan.groups
        self.figures: Figures = {}

    async def run(self) -> None:
        """A step that fails has no figure, and is told; after one that takes too long nothing more is tried."""
        address = self._bench.address_in(self._client, self._mode)
        try:
            async with self._bench.fresh() as context:
                async with self._bench.visit(context) as visit:
                    await self._first_visit(visit, address)
                if "ready" in self._wanted:
                    async with self._bench.visit(context) as visit:
                        await self._step("ready again", lambda: visit.ready(address))
        except StepLate:
            pass
        except PlaywrightError as error:  # outside of the steps: the browser itself
            self._fail("the browser", _words(error))

    async def _first_visit(self, visit: Visit, address: str) -> None:
        sizes, wanted = self._bench.condition.sizes, self._wanted
        try:
            before = cpu_seconds(visit.pids)
            await self._step("ready", lambda: visit.ready(address))
            if self.figures["ready"] is None:
                # Whoever is not ready does nothing else either.
                self.figures.update({name: None for name in self._bench.plan.figures if name in AFTER_READY})
                return
            self.figures["ready cpu"] = cpu_seconds(visit.pids) - before
            if "small" in wanted:
                await self._step("first fetch", lambda: self._seconds(visit.get(SMALL)))
                await self._step("second fetch", lambda: self._seconds(visit.get(SMALL)))
                await asyncio.sleep(SETTLE)
            if "parallel" in wanted:
                await self._step("together", lambda: visit.together(sizes.together, sizes.together_size))
                await asyncio.sleep(SETTLE)
            if "upload" in wanted:
                await self._step("upload", lambda: visit.upload(sizes.upload))
                await asyncio.sleep(SETTLE)
            if "download" in wanted:
                await self._download(visit, sizes.download)
            if "memory" in wanted:
                self.figures["memory"] = memory_bytes(visit.pids) / 1e6
            if "idle" in wanted:
                await asyncio.sleep(SETTLE)
                await self._idle(visit, sizes.idle)
        finally:
            if "memory" in wanted and visit.peak:
                self.figures["peak memory"] = visit.peak / 1e6
            if visit.memory.kills():
                self._fail("memory", f"the kernel ended the renderer at {self._bench.condition.memory} MB")

    async def _download(self, visit: Visit, size: int) -> None:
        gateway = self._bench.network.gateways[0]
        url = f"http://origin.test/bytes/{size}"
        used, down, up = cpu_seconds(visit.pids), gateway.counters["acks_sent"], gateway.up.passed

        async def work() -> float:
            got = await visit.get(url, size, watched=True)
            self.figures["timers late"] = got["late"]
            return got["seconds"]

        await self._step("download", work)
        seconds = self.figures["download"]
        if seconds is None:
            self.figures.update({name: None for name in FIGURES if FIGURES[name].group == "download"})
            return
        # With each packet for the client the gateway sends the ack that it carried.
        down, up = gateway.counters["acks_sent"] - down, gateway.up.passed - up
        self.figures["speed"] = size / 1000 / seconds
        self.figures["cpu per MB"] = (cpu_seconds(visit.pids) - used) / (size / 1e6)
        self.figures["up per down"] = up / max(1, down)
        self.figures["body per packet"] = size / max(1, down)

    async def _idle(self, visit: Visit, seconds: float) -> None:
        gateway = self._bench.network.gateways[0]
        used, up = cpu_seconds(visit.pids), gateway.up.passed
        await asyncio.sleep(seconds)
        self.figures["idle cpu"] = (cpu_seconds(visit.pids) - used) / seconds
        self.figures["idle up"] = (gateway.up.passed - up) / seconds

    async def _seconds(self, got: Awaitable[dict[str, float]]) -> float:
        return (await got)["seconds"]

    async def _step(self, name: str, work: Callable[[], Awaitable[float]]) -> None:
        patience = self._bench.plan.patience
        self.figures[name] = None
        try:
            async with asyncio.timeout(patience):
                self.figures[name] = await work()
        except asyncio.CancelledError:
            del self.figures[name]  # neither done nor failed
            raise
        except TimeoutError:
            self.figures[name] = LATE
            self._fail(name, f"not within {patience:g} s")
            raise StepLate from None
        except PlaywrightError as error:
            self._fail(name, _words(error))

    def _fail(self, name: str, why: str) -> None:
        text = f"{self._bench.condition.name}; {self._mode}; {self._client}: {name}: {why}"
        self._bench.failures.append(text)
        self._bench.log(text)


AFTER_READY = {name for name, figure in FIGURES.items() if figure.group in ("small", "parallel", "upload", "download")}


def _words(error: Exception) -> str:
    return (str(error).splitlines() or ["failed"])[0]
