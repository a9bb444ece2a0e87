"""Ours beside the official client, unmodified, in turns in one Chromium on one local network.

    python -m bench.peer [--json] [--rounds N] [--modes defaults,off] [--figures ready,small,...] [--docs]
                         [--cpu 1,0.5,0.25] [--line 100,50] [--line-delay-ms 30] [--loss 0.01] [--memory 512,256]
                         [--minutes N] [--patience S]

Figures are medians of the rounds, and ratios ours / official. Every run has a fresh profile, with an empty cache;
"ready again" is a second visit in the same one. `--cpu` gives the renderer, page and worker together, that share of one
core; `--line` puts a relay of so many kB/s each way in front of the gateways; `--memory` ends a renderer that takes
more, and gives WebAssembly half of it. With several values each is measured.
`--minutes` idles and fetches in turns instead, and counts what the clients say of themselves. A step that fails, or is
not done within `--patience`, has no figure and ends no other client's run. Writes docs/performance.md, with the limits
of the machine, when all figures of both modes are measured, or with `--docs`. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from bench import peer_report
from bench.peer_long import run_long
from bench.peer_plan import CLIENTS, Condition, Plan, add_arguments, plan_from
from bench.peer_results import Results
from bench.peer_runs import CLOSING, Bench, Run
from bench.physical_limits import Facts, measure_facts
from bench.relay import Relay
from bench.renderer import children
from browserkit.chromium import launch_arguments
from browserkit.official import directory_door
from browserkit.server import StaticServer
from buildtools.chromium import ensure_chromium
from buildtools.common import DIST, NODE_MODULES, ROOT
from localnet import Network, NetworkConfig
from localnet.announced import MAIN_NETWORK
from localnet.links import LinkRule

SITE = ROOT / "bench" / "peer_site"
FOLDERS = {"/": SITE, "/smolmix/": DIST, "/packages/": NODE_MODULES / "@nymproject"}
CACHING = {"Cache-Control": "public, max-age=31536000, immutable"}
WASM_SHARE = 0.5  # of the memory; the rest of a renderer takes the other half
WASM_PAGE = 65536  # bytes

Log = Callable[[str], None]


def network_config(plan: Plan) -> NetworkConfig:
    """One gateway and one exit. Packets are lost between nodes, never between a client and its gateway."""
    rules = [LinkRule("*", {"loss": plan.loss})] if plan.loss else []
    rules += [LinkRule(pattern, {"loss": 0.0}) for pattern in ("client->*", "*->client") if plan.loss]
    return NetworkConfig(seed="peer", gateways=1, exits=1, processes=2, links=tuple(rules), announce=MAIN_NETWORK)


@asynccontextmanager
async def line_to(network: Network, condition: Condition) -> AsyncIterator[None]:
    """While it lasts the directory names a relay with the condition's rate as the gateways' door."""
    if condition.line is None:
        yield
        return
    (gateway,) = network.gateways
    entry = network.entry(gateway.name)
    async with Relay("127.0.0.1", gateway.ws_port, rate=condition.line * 1000, delay=condition.line_delay) as relay:
        entry.ws_port = relay.port
        try:
            yield
        finally:
            entry.ws_port = gateway.ws_port


@asynccontextmanager
async def chromium(
    playwright: Playwright, condition: Condition, switches: Sequence[str]
) -> AsyncIterator[tuple[BrowserContext, int]]:
    """A new browser with an empty profile on disk, where visits leave what they do at a user's, and the id of its main
    process. Where memory is short, WebAssembly gets no more than its share."""
    known = set(children(os.getpid()))
    extra = list(switches)
    if condition.memory is not None:
        extra.append(f"--js-flags=--wasm-max-mem-pages={round(condition.memory * 1e6 * WASM_SHARE / WASM_PAGE)}")
    with tempfile.TemporaryDirectory(prefix="profile-", ignore_cleanup_errors=True) as profile:
        context = await playwright.chromium.launch_persistent_context(
            profile, executable_path=ensure_chromium(), args=launch_arguments(extra), ignore_https_errors=True
        )
        try:
            (pid,) = [new for new in set(children(os.getpid())) - known if _is_browser(new)]
            yield context, pid
        finally:
            # A browser that has lost a renderer, or is very slow, may take its time.
            with suppress(PlaywrightError, TimeoutError):
                async with asyncio.timeout(CLOSING):
                    await context.close()


def _is_browser(pid: int) -> bool:
    """The main process of a Chromium has no type."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"chrom" in command.split(b"\0")[0] and b"--type=" not in command and b"--remote-debugging" in command


@dataclass
class Measured:
    """What has been found so far: whole at any time, for whoever stops early."""

    plan: Plan
    facts: Facts | None = None
    chromium: str = ""
    interrupted: bool = False
    failures: list[str] = field(default_factory=list)
    ways: set[str] = field(default_factory=set)
    results: dict[tuple[Condition, str], Results] = field(default_factory=dict)
    long: dict[tuple[Condition, str], dict[str, Any]] = field(default_factory=dict)

    @property
    def _with_bytes(self) -> bool:
        """They take a minute to compress: not for whoever has lost patience."""
        return "bytes" in self.plan.groups and self.plan.minutes is None and not self.interrupted

    def report(self) -> dict[str, Any]:
        """All of it for JSON and the page."""
        plan = self.plan
        sections = []
        for (condition, mode), results in self.results.items():
            sections.append({**_named(condition, mode), "sizes": condition.sizes.words(), **results.report()})
        return {
            "chromium": self.chromium,
            "versions": peer_report.versions(),
            "rounds": plan.rounds,
            "patience": plan.patience,
            "limited_by": sorted(self.ways - {"no limit"}),
            "interrupted": self.interrupted,
            "failures": self.failures,
            "sections": sections,
            "minutes": plan.minutes,
            "long": [{**_named(condition, mode), **found} for (condition, mode), found in self.long.items()],
            "facts": self.facts.to_dict() if self.facts else None,
            "shipped": peer_report.shipped() if self._with_bytes else None,
        }


def _named(condition: Condition, mode: str) -> dict[str, Any]:
    return {
        "condition": condition.name,
        "mode": mode,
        "cpu": condition.cpu,
        "line": condition.line,
        "line_delay_ms": condition.line_delay * 1000,
        "memory": condition.memory,
        "loss": condition.loss,
    }


async def measure(measured: Measured, log: Log) -> None:
    """All rounds, into `measured`. Cancelled, it leaves what it has."""
    plan = measured.plan
    async with (
        Network(network_config(plan)) as network,
        directory_door(network) as switches,
        async_playwright() as playwright,
    ):
        with StaticServer(FOLDERS, headers=CACHING) as site:
            for number in range(1 if plan.minutes is not None else plan.rounds):
                for condition in plan.conditions:
                    async with line_to(network, condition):
                        launch = partial(chromium, playwright, condition, switches)
                        bench = Bench(network, launch, site.url, plan, condition, log, measured.failures)
                        bench.ways = measured.ways
                        for mode in plan.modes:
                            for client in CLIENTS if number % 2 == 0 else reversed(CLIENTS):
                                where = f"round {number + 1}; {condition.name}; {mode}; {client}"
                                await _one(measured, bench, client, mode, where)
                        measured.chromium = bench.version


async def _one(measured: Measured, bench: Bench, client: str, mode: str, where: str) -> None:
    key = bench.condition, mode
    if measured.plan.minutes is not None:
        bench.log(where)
        found = measured.long.setdefault(key, {})
        found[client] = await run_long(bench, client, mode)
        return
    run = Run(bench, client, mode)
    # Before it begins: what an interrupted run has is worth something too.
    measured.results.setdefault(key, Results()).runs[client].append(run.figures)
    await run.run()
    shown = ", ".join(f"{n} {v:.3g}" if v is not None else f"{n} -" for n, v in run.figures.items())
    bench.log(f"{where}: {shown}")


async def main_task(measured: Measured, facts: bool, log: Log) -> None:
    """`measure`, ended in order by Ctrl-C, SIGTERM and a browser that does not start."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await measure(measured, log)
        if facts:
            log("what the machine can do")
            measured.facts = await asyncio.to_thread(measure_facts)
    except asyncio.CancelledError:
        measured.interrupted = True
    except PlaywrightError as error:
        measured.interrupted = True
        measured.failures.append(f"the browser: {(str(error).splitlines() or ['gone'])[0]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md although something is left out")
    add_arguments(parser)
    options = parser.parse_args()
    plan = plan_from(options, parser)
    if not (DIST / "worker.js").exists():
        parser.error("dist/ is missing: run `python3 build.py build` first")
    measured = Measured(plan)

    def log(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    docs = options.docs or plan.whole
    asyncio.run(main_task(measured, docs and plan.minutes is None, log))
    report = measured.report()
    for line in peer_report.lines(report):
        print(line)
    if docs and not measured.interrupted:
        peer_report.write(report)
    if options.json:
        print(json.dumps(report))
    return 1 if measured.interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
