"""What each party sees of ours and of the official client, unmodified, in turns in one Chromium on one local network.

    python -m bench.privacy [--json] [--runs N] [--keep FILE] [--from FILE] [--docs]

Each run is a user with a fresh profile: set-up, idling, DNS, HTTP, HTTPS, a WebSocket, a download, an upload, the end,
and a second visit. The recordings (`privacy_records.py`) become facts (`privacy_facts.py`); the bench fails where one
differs, between the clients or between users of ours, for which `privacy_report.py` has no reason. `--keep` writes the
recordings, `--from` reads such a file in the place of running; `--docs` writes docs/privacy.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pickle
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

from playwright.async_api import BrowserContext, Page, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from bench import privacy_report
from bench.peer import CACHING, FOLDERS
from bench.peer_plan import CLIENTS
from bench.privacy_records import Recorder, Recording
from browserkit.chromium import launch_arguments
from browserkit.official import HOST, directory_door
from browserkit.server import StaticServer
from buildtools.chromium import ensure_chromium
from buildtools.common import DIST
from localnet import Network, NetworkConfig

IDLE = 6.0  # s
STEP = 25.0  # s for one step; the official client cannot do some, and gives up later than we wait
DOWNLOAD, UPLOAD = 600_000, 150_000
SETTLE = 1.0  # s for what is still on its way
DIRECTORY = f"https://{HOST}/api/"


class User:
    """One fresh profile at one client; `recording` is filled as it goes."""

    def __init__(self, network: Network, site: str, client: str) -> None:
        self._network, self._client = network, client
        self._site = site
        self._recorder = Recorder()
        self.recording = Recording(self._recorder.seen)

    @property
    def _address(self) -> str:
        # Both ask the directory by TLS under the same name, so that what the browser adds is the same.
        ours = {"directoryUrls": [DIRECTORY], "caCertificates": self._network.ca_pem}
        options = {"forceTls": False, **(ours if self._client == "ours" else {})}
        return f"{self._site}/index.html#{quote(json.dumps({'client': self._client, 'options': options}))}"

    async def live(self, playwright: Playwright, switches: list[str]) -> None:
        self._network.watch(self._recorder)
        try:
            with tempfile.TemporaryDirectory(prefix="profile-", ignore_cleanup_errors=True) as profile:
                log = Path(profile) / "net-log.json"
                async with _browser(playwright, profile, [*switches, f"--log-net-log={log}"]) as context:
                    page = context.pages[0]
                    await self._first_visit(page)
                    await self._step("again", self._open(page))
                    await self._step("again: end", page.evaluate("() => peer.disconnect()"))
                if log.exists():
                    self.recording.asked = asked(log.read_text(errors="replace"))
        finally:
            self._network.watch(None)

    async def _first_visit(self, page: Page) -> None:
        await self._step("ready", self._open(page))
        await self._step("idle", asyncio.sleep(IDLE))
        await self._step("name", page.evaluate("() => peer.resolve('http.test')"))
        for number in range(2):
            await self._step(f"small {number}", page.evaluate("() => peer.get('http://origin.test/text')"))
        # It trusts no authority of a local network: its handshake is seen, and fails.
        for name in ("origin.test", "h2.test", "origin.test"):
            await self._step(f"tls {name}", page.evaluate("(n) => peer.get(`https://${n}/text`)", name))
        await self._step("websocket", page.evaluate("() => peer.echo('ws://ws.test/', 'text')"))
        await self._step("download", page.evaluate("(u) => peer.get(u)", f"http://origin.test/bytes/{DOWNLOAD}"))
        await self._step("upload", page.evaluate("(n) => peer.post('http://origin.test/upload', n)", UPLOAD))
        await self._step("end", page.evaluate("() => peer.disconnect()"))
        await asyncio.sleep(SETTLE)

    async def _open(self, page: Page) -> None:
        await page.goto("about:blank")
        await page.goto(self._address)
        await page.wait_for_function("globalThis.peer !== undefined")
        await page.evaluate("() => peer.ready()")

    async def _step(self, name: str, work: Awaitable[object]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await asyncio.wait_for(work, STEP)
        except (PlaywrightError, TimeoutError) as error:
            self.recording.failures.append(f"{name}: {(str(error).splitlines() or ['too late'])[0][:200]}")
        self.recording.phases[name] = (began, loop.time())


@asynccontextmanager
async def _browser(playwright: Playwright, profile: str, switches: list[str]) -> AsyncIterator[BrowserContext]:
    context = await playwright.chromium.launch_persistent_context(
        profile, executable_path=ensure_chromium(), args=launch_arguments(switches), ignore_https_errors=True
    )
    try:
        yield context
    finally:
        with suppress(PlaywrightError):
            await context.close()


def asked(net_log: str) -> dict[str, int]:
    """The origins of all requests of a browser, WebSockets too, by its own log; one without an end is read as well."""
    found: Counter[str] = Counter()
    for line in net_log.splitlines():
        try:
            params = json.loads(line.rstrip().rstrip(",")).get("params", {})
        except (ValueError, AttributeError):
            continue
        if isinstance(params, dict) and isinstance(params.get("url"), str) and "method" in params:
            url = urlsplit(params["url"])
            if url.scheme in ("http", "https", "ws", "wss"):
                found[f"{url.scheme}://{url.netloc}"] += 1
    return dict(found)


async def record(runs: int) -> dict[str, list[Recording]]:
    """All runs, the clients in turns."""
    recordings: dict[str, list[Recording]] = {client: [] for client in CLIENTS}
    config = NetworkConfig(seed="privacy", gateways=1, exits=1)
    async with Network(config) as network, directory_door(network) as switches, async_playwright() as playwright:
        with StaticServer(FOLDERS, headers=CACHING) as site:
            own = {site.url: "own files", f"https://{HOST}": "directory"}
            own |= {gateway.url: "gateway" for gateway in network.gateways}
            for _ in range(runs):
                for client in CLIENTS:
                    user = User(network, site.url, client)
                    await user.live(playwright, switches)
                    recording = user.recording
                    recording.asked = _named(recording.asked, own)
                    recordings[client].append(recording)
                    print(f"{client}: {len(recording.seen)} seen", *recording.failures, sep="\n  ", file=sys.stderr)
    return recordings


def _named(asked_origins: dict[str, int], known: dict[str, str]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for origin, count in asked_origins.items():
        found[known.get(origin, origin)] += count
    return dict(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--runs", type=int, default=2, metavar="N", help="users of each client (2)")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the recordings here")
    parser.add_argument("--from", type=Path, dest="source", metavar="FILE", help="recordings instead of running")
    parser.add_argument("--docs", action="store_true", help="write docs/privacy.md")
    options = parser.parse_args()
    if options.runs < 2:
        parser.error("one user cannot be told from another: at least 2 runs")
    if options.source is not None:
        recordings = pickle.loads(options.source.read_bytes())
    elif not (DIST / "worker.js").exists():
        parser.error("dist/ is missing: run `python3 build.py build` first")
    else:
        recordings = asyncio.run(record(options.runs))
    if options.keep is not None:
        options.keep.write_bytes(pickle.dumps(recordings))
    report = privacy_report.report(recordings)
    print(privacy_report.text(report))
    if options.docs:
        privacy_report.write(report)
    if options.json:
        print(json.dumps(report))
    return 1 if privacy_report.unexplained(report) or report["missing"] else 0


if __name__ == "__main__":
    sys.exit(main())
