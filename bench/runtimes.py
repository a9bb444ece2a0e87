"""One client wherever it runs: how long its set-up takes, and how fast a download is.

    python -m bench.runtimes [--json] [--rounds N] [--size BYTES] [--modes defaults,off] [--only NAME,...]

Node.js (oldest and newest that are tested), Deno, Bun, CPython and Chromium take turns on one local network, each in a
process or page of its own, without anything kept from an earlier run. Per run: the set-up, kB/s of one https download
whose bytes are checked, and the whole from the program's start to its end. Medians of the rounds. A runtime that this
machine does not have is left out by name. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from bench.peer_plan import MODES, modes_of, names_of
from browserkit.engines import launch
from browserkit.server import StaticServer
from buildtools.common import DIST
from localnet import Network, NetworkConfig
from localnet.origin import body_sha256
from tests.browser.page_session import write_blank_page
from tests.node.programs import RUNTIMES, Programs, write_project

LIMIT = 300.0  # s for one run
NAMES = (*RUNTIMES, "CPython", "Chromium")
FIGURES = {"setup": "set-up, s", "speed": "download, kB/s", "whole": "whole program, s"}

# In every runtime of JavaScript: `api`, `options` and `args` are there.
MEASURE = """
  const began = performance.now();
  await api.setupMixTunnel(options);
  const ready = performance.now();
  const response = await api.mixFetch(`https://origin.test/bytes/${args.size}?seed=1`);
  const body = await response.arrayBuffer();
  const loaded = performance.now();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
  await api.disconnectMixTunnel();
  return { began, ready, loaded, hash: Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") };
"""
IN_PYTHON = """
import asyncio, hashlib, json, sys, time
from smolmix_web.cpython import open_tunnel

async def main(options, size):
    began = time.perf_counter()
    async with open_tunnel(**options) as tunnel:
        ready = time.perf_counter()
        response = await tunnel.fetch(f"https://origin.test/bytes/{size}?seed=1")
        body = await response.read()
        loaded = time.perf_counter()
    times = {"began": began, "ready": ready, "loaded": loaded}
    print(json.dumps({name: 1000 * at for name, at in times.items()} | {"hash": hashlib.sha256(body).hexdigest()}))

asyncio.run(main(**json.loads(sys.argv[1])))
"""

Run = Callable[[int], Awaitable[dict[str, Any]]]  # the size of the download -> what `MEASURE` returns


def in_python(options: dict[str, Any]) -> Run:
    named = {re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name): value for name, value in options.items()}

    async def run(size: int) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", IN_PYTHON, json.dumps({"options": named, "size": size})),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            raise RunFailed(errors.decode()[-2000:])
        found: dict[str, Any] = json.loads(out)
        return found

    return run


def in_javascript(programs: Programs, runtime: str) -> Run:
    async def run(size: int) -> dict[str, Any]:
        ended = await programs.run(MEASURE, {"size": size}, runtime=runtime)
        if ended.code or ended.value is None:
            raise RunFailed(ended.errors[-2000:])
        found: dict[str, Any] = ended.value
        return found

    return run


def in_chromium(browser: Browser, site: str, options: dict[str, Any]) -> Run:
    """A page in a fresh context, with nothing in its cache."""
    script = f"async ({{ options, args }}) => {{ const api = await import('/smolmix/index.js'); {MEASURE} }}"

    async def run(size: int) -> dict[str, Any]:
        context = await browser.new_context()
        try:
            page = await context.new_page()
            await page.goto(f"{site}/index.html")
            found: dict[str, Any] = await page.evaluate(script, {"options": options, "args": {"size": size}})
            return found
        finally:
            await context.close()

    return run


class RunFailed(Exception):
    """What the program said as it ended."""


async def figures(run: Run, size: int) -> dict[str, float]:
    """Of one run."""
    began = time.monotonic()
    async with asyncio.timeout(LIMIT):
        found = await run(size)
    seconds = time.monotonic() - began
    if found["hash"] != body_sha256(size, 1):
        raise RunFailed("other bytes than the server has")
    download = (found["loaded"] - found["ready"]) / 1000
    return {"setup": (found["ready"] - found["began"]) / 1000, "speed": size / 1000 / download, "whole": seconds}


async def measure(
    rounds: int, size: int, mode: str, names: Sequence[str], log: Callable[[str], None]
) -> dict[str, Any]:
    found: dict[str, list[dict[str, float]]] = {}
    failures: list[str] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        network = await stack.enter_async_context(Network(NetworkConfig(seed="runtimes", exits=1, processes=2)))
        options = {
            "directoryUrls": [network.directory_url],
            "forceTls": False,
            "caCertificates": network.ca_pem,
            **MODES[mode],
        }
        write_blank_page(folder)
        write_project(folder)
        programs = Programs(folder, options, folder / "data")
        site = stack.enter_context(StaticServer({"/": folder, "/smolmix/": DIST}))
        browser = await stack.enter_async_context(launch("chromium"))
        runs = {
            **{name: in_javascript(programs, name) for name in RUNTIMES},
            "CPython": in_python(options),
            "Chromium": in_chromium(browser, site.url, options),
        }
        for number in range(rounds):
            for name in names:
                try:
                    found.setdefault(name, []).append(await figures(runs[name], size))
                except (RunFailed, TimeoutError, pytest.skip.Exception) as error:
                    failures.append(f"{name}: {error}")
                    log(failures[-1])
                else:
                    log(f"round {number + 1}: {name}: {found[name][-1]}")
    return {"mode": mode, "figures": {name: medians(runs) for name, runs in found.items()}, "failures": failures}


def medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in FIGURES} if runs else {}


def table(found: dict[str, Any]) -> str:
    lines = [f"{found['mode']:<14}" + "".join(f"{text:>22}" for text in FIGURES.values())]
    for name, values in found["figures"].items():
        lines.append(f"{name:<14}" + "".join(f"{values[figure]:>22.3g}" for figure in FIGURES if figure in values))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--rounds", type=int, default=3, help="how often each runs (default: 3)")
    parser.add_argument("--size", type=int, default=3_000_000, metavar="BYTES", help="of the download (3000000)")
    parser.add_argument("--modes", type=modes_of, default="off", metavar="defaults,off", help="traffic (default: off)")
    only = functools.partial(names_of, known=NAMES)
    parser.add_argument("--only", type=only, default=NAMES, metavar="NAME[,...]", help="only these runtimes")
    options = parser.parse_args(arguments)
    log = functools.partial(print, file=sys.stderr, flush=True)
    found = []
    for mode in options.modes:
        found.append(asyncio.run(measure(options.rounds, options.size, mode, options.only, log)))
        print(table(found[-1]), flush=True)
    if options.json:
        print(json.dumps({"rounds": options.rounds, "size": options.size, "modes": found}))
    return 1 if any(each["failures"] for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())
