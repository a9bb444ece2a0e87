"""Where the time of a start goes, step by step, from the opening of a page to the tunnel that is ready.

    python -m bench.start [--json] [--rounds N] [--cpu SHARE] [--single]

A first visit (empty cache) and a second one (HTTP cache, kept snapshot), in fresh profiles of Chromium, on a local
network whose directory is as long as the main network's. The steps are the worker's marks
(javascript/worker/marks.js); several run at the same time, so each figure is when it was done, in seconds since the
page's navigation began. Medians of the rounds. Nothing else should run meanwhile. `--single`: of the one-file form.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from functools import partial
from typing import Any

from playwright.async_api import BrowserContext, Page, async_playwright

from bench.peer import CACHING, FOLDERS, chromium
from bench.peer_plan import MODES, Condition
from bench.peer_runs import Bench
from browserkit.server import StaticServer
from buildtools.common import DIST
from localnet import Network, NetworkConfig
from localnet.announced import MAIN_NETWORK

VISITS = ("first visit", "second visit")
KEEPING = 120.0  # s that keeping the snapshot may take

# In the order of a first visit: name of the mark -> what is done then.
STEPS = {
    "script": "worker's script runs",
    "found": "kept snapshot read",
    "files": "files are there",
    "compiled": "WebAssembly compiled",
    "unpacked": "Python's pack unpacked",
    "crypto": "crypto ready",
    "parts": "everything for the interpreter",
    "interpreter": "interpreter runs",
    "imports": "modules imported",
    "snapshot": "snapshot taken",
    "bridge": "bridge listens",
    "directory": "directory asked",
    "gateway": "directory read, gateway called",
    "exit": "gateway welcomes, exit asked",
    "ready": "ready",
    "settled": "the page's promise settles",
}

MARKS = """() => {
  const times = {};
  for (const { name, startTime } of performance.getEntriesByType("mark")) {
    if (name.startsWith("smolmix ")) times[name.slice(8)] ??= performance.timeOrigin + startTime;
  }
  const files = performance.getEntriesByType("resource").filter(({ name }) => name.includes("/pyodide/"));
  if (files.length) times.files = performance.timeOrigin + Math.max(...files.map(({ responseEnd }) => responseEnd));
  return times;
}"""
KEPT = """async () => {
  const cache = await caches.open("smolmix-web");
  return (await cache.keys()).length > 0;
}"""

Times = dict[str, float]


async def visit(bench: Bench, context: BrowserContext, address: str, *, keeps: bool) -> Times:
    """When each step was done, in seconds since the navigation began. `keeps`: wait for the snapshot to be kept."""
    async with bench.visit(context) as opened:
        page: Page = opened.page
        await page.goto(address)
        await page.wait_for_function("globalThis.peer !== undefined")
        settled = float(await page.evaluate("() => peer.ready()"))
        origin = float(await page.evaluate("() => performance.timeOrigin"))
        (worker,) = page.workers
        marks: dict[str, float] = await worker.evaluate(MARKS)
        if keeps:
            async with asyncio.timeout(KEEPING):
                while not await page.evaluate(KEPT):
                    await asyncio.sleep(0.2)
        return {**{name: (when - origin) / 1000 for name, when in marks.items()}, "settled": settled / 1000}


async def both_visits(bench: Bench, client: str, mode: str) -> list[Times]:
    address = bench.address_in(client, mode)
    async with bench.fresh() as context:
        return [await visit(bench, context, address, keeps=first) for first in (True, False)]


async def measure(client: str, rounds: int, mode: str, nodes: int, condition: Condition, log: Any) -> dict[str, Any]:
    """`client`: "ours" or "single"."""
    found: list[list[Times]] = []
    config = NetworkConfig(seed="start", gateways=1, exits=1, processes=2, announce=nodes)
    async with (
        Network(config) as network,
        async_playwright() as playwright,
    ):
        with StaticServer(FOLDERS, headers=CACHING) as site:
            launch = partial(chromium, playwright, condition, ())
            bench = Bench(network, launch, site.url, condition=condition, log=log)
            for number in range(rounds):
                found.append(await both_visits(bench, client, mode))
                log(f"round {number + 1}: " + ", ".join(f"{times['settled']:.2f} s" for times in found[-1]))
    visits = {name: medians([pair[at] for pair in found]) for at, name in enumerate(VISITS)}
    facts = {
        "client": client,
        "chromium": bench.version,
        "rounds": rounds,
        "mode": mode,
        "nodes": nodes,
        "condition": condition.name,
    }
    return {**facts, "ways": sorted(bench.ways), "failures": bench.failures, "visits": visits}


def medians(runs: list[Times]) -> Times:
    """Of each step that every run has, in the order of a start."""
    common = [name for name in STEPS if all(name in times for times in runs)]
    return {name: statistics.median(times[name] for times in runs) for name in common}


def lines(report: dict[str, Any]) -> list[str]:
    """A table: a step, and for each visit when it was done."""
    visits: dict[str, Times] = report["visits"]
    shown = [f"{'seconds since the page was opened':36}" + "".join(f"{name:>14}" for name in visits)]
    for name, text in STEPS.items():
        cells = [f"{times[name]:14.3f}" if name in times else f"{'-':>14}" for times in visits.values()]
        shown.append(f"{text:36}" + "".join(cells))
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of visits (default: 5)")
    parser.add_argument("--mode", choices=list(MODES), default="defaults")
    parser.add_argument("--nodes", type=int, default=MAIN_NETWORK, help=f"in the directory (default: {MAIN_NETWORK})")
    parser.add_argument("--cpu", type=float, metavar="SHARE", help="share of a core for the renderer")
    parser.add_argument("--single", action="store_true", help="the one-file form")
    options = parser.parse_args()
    if options.cpu is not None and not 0 < options.cpu <= 1:
        parser.error("--cpu is a share of a core, above 0 and at most 1")
    if not 1 <= options.rounds <= 50:
        parser.error("--rounds is a number from 1 to 50")
    if not (DIST / "worker.js").exists():
        parser.error("dist/ is missing: run `python3 build.py build` first")

    def log(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    client, condition = "single" if options.single else "ours", Condition(cpu=options.cpu)
    report = asyncio.run(measure(client, options.rounds, options.mode, options.nodes, condition, log))
    for line in lines(report):
        print(line)
    if options.json:
        print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
