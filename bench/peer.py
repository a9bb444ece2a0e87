"""Ours beside the official client, unmodified, in turns in one Chromium on one local network.

    python -m bench.peer [--json] [--rounds N] [--mode defaults|"switches off"] [--docs]

Figures are medians of the rounds, and ratios ours / official. Every run has a fresh context, with an empty cache;
"ready again" is a second visit in the same one. Writes docs/performance.md with `--docs`. Nothing else should run
meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from bench import peer_report
from bench.peer_runs import CLIENTS, MODES, Bench, Figures, run
from bench.renderer import children
from browserkit.chromium import launch_arguments
from browserkit.server import StaticServer
from buildtools.chromium import ensure_chromium
from buildtools.common import DIST, NODE_MODULES, ROOT
from localnet import Network, NetworkConfig
from localnet.announced import MAIN_NETWORK

SITE = ROOT / "bench" / "peer_site"


def medians(runs: list[Figures]) -> dict[str, float | None]:
    """Of each figure over the runs that have it; None where none has."""
    names = list(dict.fromkeys(name for figures in runs for name in figures))
    result: dict[str, float | None] = {}
    for name in names:
        values = [value for figures in runs if (value := figures.get(name)) is not None]
        result[name] = statistics.median(values) if values else None
    return result


def ratios(ours: dict[str, float | None], official: dict[str, float | None]) -> dict[str, float | None]:
    """ours / official of what both have."""
    result: dict[str, float | None] = {}
    for name, value in ours.items():
        other = official.get(name)
        result[name] = value / other if value is not None and other else None
    return result


async def measure(rounds: int, modes: list[str], log: Any) -> dict[str, Any]:
    runs: dict[str, dict[str, list[Figures]]] = {mode: {client: [] for client in CLIENTS} for mode in modes}
    folders = {"/": SITE, "/smolmix/": DIST, "/packages/": NODE_MODULES / "@nymproject"}
    caching = {"Cache-Control": "public, max-age=31536000, immutable"}
    async with (
        Network(NetworkConfig(seed="peer", gateways=1, exits=1, processes=2, announce=MAIN_NETWORK)) as network,
        async_playwright() as playwright,
    ):
        known = set(children(os.getpid()))
        browser = await playwright.chromium.launch(executable_path=ensure_chromium(), args=launch_arguments())
        (pid,) = [new for new in set(children(os.getpid())) - known if _is_browser(new)]
        with StaticServer(folders, headers=caching) as site:
            bench = Bench(network, browser, pid, site.url, log=log)
            for number in range(rounds):
                for mode in modes:
                    for client in CLIENTS if number % 2 == 0 else reversed(CLIENTS):
                        figures = await run(bench, client, mode)
                        runs[mode][client].append(figures)
                        shown = ", ".join(f"{n} {v:.3g}" if v is not None else f"{n} -" for n, v in figures.items())
                        log(f"round {number + 1}, {mode}, {client}: {shown}")
        version = browser.version
        await browser.close()
    report: dict[str, Any] = {"chromium": version, "rounds": rounds, "failures": bench.failures, "modes": {}}
    for mode in modes:
        ours, official = medians(runs[mode]["ours"]), medians(runs[mode]["official"])
        report["modes"][mode] = {"ours": ours, "official": official, "ratio": ratios(ours, official)}
    report["shipped"] = peer_report.shipped()
    return report


def _is_browser(pid: int) -> bool:
    """The main process of a Chromium has no type."""
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    return b"chrom" in command.split(b"\0")[0] and b"--type=" not in command and b"--remote-debugging" in command


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--rounds", type=int, default=3, help="how often each client runs in each mode (default: 3)")
    parser.add_argument("--mode", choices=list(MODES), action="append", help="only this one (may be repeated)")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    if not 1 <= options.rounds <= 50:
        parser.error("--rounds is a number from 1 to 50")
    if not (DIST / "worker.js").exists():
        parser.error("dist/ is missing: run `python3 build.py build` first")
    modes = options.mode or list(MODES)
    report = asyncio.run(measure(options.rounds, modes, lambda text: print(text, file=sys.stderr, flush=True)))
    for line in peer_report.lines(report):
        print(line)
    if options.docs:
        peer_report.write(report)
    if options.json:
        print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
