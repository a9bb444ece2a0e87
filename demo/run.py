"""`python -m demo.run`: a local Nym network and the demo page on it, checked once in a headless browser, then served.

Exit code 0 when everything the page did agrees with what the servers know, else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from browserkit.server import StaticServer
from buildtools.common import DIST, TaskError
from buildtools.engines import ENGINES, ensure_engine
from localnet.config import NetworkConfig
from localnet.errors import LocalnetError
from localnet.names import ECHO, ORIGIN, WEBSOCKET
from localnet.network import Network
from localnet.origin import body_sha256
from localnet.world import ECHO_PORTS

from . import local, page_check
from .check import Expected, Report, check_page
from .recorder import Allowed

SITE = Path(__file__).resolve().parent / "site"
BODY_BYTES = 131_072
BODY_SEED = "demo"
START_TIMEOUT = 30.0  # s for the local network


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m demo.run", description=__doc__.splitlines()[0] if __doc__ else None)
    top.add_argument("--once", action="store_true", help="exit after the check")
    top.add_argument("--page", action="store_true", help="check the whole page (page.html) instead of the first one")
    top.add_argument("--json", action="store_true", help="print one JSON object as the last line of the check")
    top.add_argument("--port", type=int, default=0, help="port of the site on 127.0.0.1 (default: any free one)")
    top.add_argument("--dist", type=Path, default=DIST, help="what `build.py build` made (default: dist)")
    top.add_argument("--engine", choices=ENGINES, default="chromium", help="the browser that checks it")
    top.add_argument("--screenshot", type=Path, metavar="FILE", help="write a PNG of the page after the check")
    return top


def say(text: str) -> None:
    print(text, flush=True)


@contextlib.asynccontextmanager
async def network() -> AsyncIterator[Network]:
    """A running local network; `LocalnetError` when it does not start in time."""
    net = Network(NetworkConfig())
    try:
        async with asyncio.timeout(START_TIMEOUT):
            await net.start()
    except TimeoutError:
        await net.close()
        raise LocalnetError(f"the local network did not start in {START_TIMEOUT:g} s", phase="setup") from None
    try:
        yield net
    finally:
        await net.close()


def page_config(net: Network) -> dict[str, Any]:
    """`config.json` of the page: which network, and what to do on it."""
    return {
        "options": {"directoryUrls": [net.directory_url], "forceTls": False, "caCertificates": net.ca_pem},
        "name": ORIGIN.name,
        "url": f"https://{ORIGIN.name}/bytes/{BODY_BYTES}?seed={BODY_SEED}",
        "websocketUrl": f"wss://{WEBSOCKET.name}/",
        "article": {"origin": page_check.URL, "files": list(page_check.FILES)},
        "examples": [
            f"https://{ORIGIN.name}{path}" for path in ("/image", "/json", "/gzip", "/redirect/2", "/cookies")
        ],
        "image": f"https://{ORIGIN.name}/image",
        "tcp": f"{ECHO.name}:{ECHO_PORTS[1]}",
        "local": local.PREFIX.lstrip("/"),
    }


def describe(report: Report) -> list[str]:
    """The run in plain lines."""
    facts = report.facts
    lines = []
    if facts.get("state") == "ready":
        fetch, dns, sphinx = facts["fetch"], facts["dns"], facts["sphinx"]
        lines += [
            f"set-up      ready after {facts['setup_ms']} ms: worker, Python, directory, gateway, exit",
            f"mixDNS      {dns['name']} is {dns['address']}",
            f"mixFetch    {fetch['url']}",
            f"            status {fetch['status']}, {fetch['bytes']} bytes, {fetch['tls']}, {fetch['ms']} ms",
            f"            SHA-256 {fetch['sha256']}, the origin's {fetch['sha256_expected']}",
            f"MixWebSocket echoed {facts['websocket']['echoed']!r}",
            f"Sphinx      {sphinx['sent']} packets sent, {sphinx['received']} received",
        ]
    if report.counts:
        shown = ", ".join(f"{report.counts.get(kind, 0)} {kind}" for kind in ("site", "directory", "gateway"))
        lines.append(f"requests    {shown}, {len(facts.get('other_requests', []))} other")
    if report.failures:
        lines += [f"console     {line}" for line in report.console[-20:]]
    return lines + [f"FAILED      {failure}" for failure in report.failures]


async def run(options: argparse.Namespace) -> int:
    for needed in (options.dist / "index.js", options.dist / "worker.js", options.dist / "pyodide" / "pyodide.mjs"):
        if not needed.is_file():
            raise TaskError(f"{needed} is missing: run `python3 build.py build` first")
    ensure_engine(options.engine)
    async with network() as net:
        layers = f"3 layers of {net.config.mixes_per_layer} mix nodes"
        say(f"local network: {len(net.gateways)} entry gateways, {layers}, {len(net.exits)} exits")
        say(f"directory   {net.directory_url}")
        with tempfile.TemporaryDirectory(prefix="smolmix-demo-") as folder:
            config = Path(folder) / "config.json"
            config.write_text(json.dumps(page_config(net)), encoding="utf-8")
            script = options.dist / "service-worker.js"
            folders = {"/": SITE, "/smolmix/": options.dist, "/config.json": config, "/service-worker.js": script}
            records = local.LocalRecords(net)
            with StaticServer(folders, port=options.port, answers=records.answers) as site:
                chosen = check_whole_page if options.page else check
                report = await chosen(net, site.url, options.engine, options.screenshot)
                for line in page_check.describe(report) if options.page else describe(report):
                    say(line)
                if not options.once:
                    say(f"the page is at {site.url}/index.html (Ctrl-C ends)")
                    say(f"two tabs talk at {site.url}/chat.html, a whole page is {site.url}/page.html")
                if options.json:
                    say(json.dumps(report.facts))
                if not options.once:
                    await asyncio.Event().wait()
    return 0 if report.ok else 1


def allowed_for(net: Network, site: str) -> Allowed:
    gateways = [*net.gateways, *(host.gateway for host in net.exits)]
    return Allowed(site, (net.directory_url,), tuple(gateway.url for gateway in gateways))


async def check_whole_page(net: Network, site: str, engine: str, screenshot: Path | None) -> Report:
    """The same for the page of which everything is loaded through the tunnel."""
    allowed = allowed_for(net, site)
    return await page_check.check_article(site, allowed, engine=engine, screenshot=screenshot, say=say)


async def check(net: Network, site: str, engine: str, screenshot: Path | None) -> Report:
    """Run the page once on this network and judge it."""
    expected = Expected(
        url=f"https://{ORIGIN.name}/bytes/{BODY_BYTES}?seed={BODY_SEED}",
        sha256=body_sha256(BODY_BYTES, BODY_SEED),
        size=BODY_BYTES,
        name=ORIGIN.name,
        addresses=tuple(net.names[ORIGIN.name]),
    )
    served = len(net.world.origin.requests)
    report = await check_page(site, allowed_for(net, site), expected, engine=engine, screenshot=screenshot, say=say)
    if report.ok and len(net.world.origin.requests) == served:
        report.failures.append("the origin behind the exit saw no request")
    return report


async def _until_stopped(options: argparse.Namespace) -> int:
    """`run`, ended in order by SIGINT and SIGTERM."""
    task = asyncio.create_task(run(options))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return 130 if options.once else 0


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return asyncio.run(_until_stopped(options))
    except (LocalnetError, TaskError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
