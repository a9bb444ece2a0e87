"""What each party sees of ours and of the official client, unmodified, in turns in one Chromium on one local network.

    python -m bench.privacy [--json] [--runs N] [--keep FILE] [--from FILE] [--docs]

Each run is a user with a fresh profile: set-up, idling, DNS, HTTP, HTTPS, a WebSocket, a download, an upload, one
activity after another, a lost connection, no network for a while, the end; a second visit whose page is left, and a
third whose renderer dies. The recordings (`privacy_records.py`) become facts (`privacy_facts.py`); the bench fails
where one differs, between the clients or between users of ours, for which `privacy_report.py` has no reason. `--keep`
writes the recordings, `--from` reads such a file in the place of running; `--docs` writes docs/privacy.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pickle
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

from playwright.async_api import BrowserContext, Page, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from bench import privacy_report
from bench.peer import CACHING, FOLDERS, chromium
from bench.peer_plan import CLIENTS
from bench.peer_runs import NO_LIMIT
from bench.privacy_records import ACTIVITIES, Recorder, Recording
from browserkit.official import HOST, directory_door
from browserkit.server import StaticServer
from buildtools.common import DIST
from localnet import Network, NetworkConfig, names
from localnet.gateway import Gateway
from localnet.observed import Seen
from tests.browser.wire_tap import BINARY, WireTap

LOOK = 3.0  # s of looking at what others do before anything runs
WARM = 6.0  # s until the traffic's rate has settled
IDLE = 6.0  # s
BUSY = 5.0  # s of each activity
LOST = 6.0  # s after the gateway has dropped the connection
OFFLINE, ONLINE = 3.0, 6.0  # s
UNANSWERED = 5.0  # s of asking a server from which nothing comes
ROTATED = 20.0  # s after the mix nodes have other keys
STEP = 25.0  # s for one step; the official client cannot do some, and gives up later than we wait
DOWNLOAD, UPLOAD = 400_000, 100_000
SETTLE = 1.0  # s for what is still on its way
BROWSER = "the browser itself"
DIRECTORY = f"https://{HOST}/api/"


class User:
    """One fresh profile at one client; `recording` is filled as it goes."""

    def __init__(self, network: Network, site: str, client: str, taps: Sequence[WireTap]) -> None:
        self._network, self._client, self._taps = network, client, taps
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
            with tempfile.TemporaryDirectory(prefix="net-log-") as folder:
                log = Path(folder) / "net-log.json"
                async with chromium(playwright, NO_LIMIT, [*switches, f"--log-net-log={log}"]) as (context, _):
                    page = context.pages[0]
                    await self._first_visit(page, context)
                    await self._step("again", self._open(page))
                    await self._step("unload", self._left(page))
                    await self._step("third", self._open(page))
                    await self._tabs(page, context)
                    await self._step("rotation", self._rotation())
                    await self._step("crash", self._dies(page, context))
                # Two rotations give the next user the same kind of keys.
                await self._network.rotate_keys()
                if log.exists():
                    self.recording.asked = asked(log.read_text(errors="replace"))
        finally:
            self._network.watch(None)
            for number, tap in enumerate(self._taps):
                frames = [frame for frame in await tap.take() if frame.opcode == BINARY]
                self.recording.seen += [Seen("line", "binary", str(number), frame.time, b"") for frame in frames]

    async def _first_visit(self, page: Page, context: BrowserContext) -> None:
        await self._step("ready", self._open(page))
        await asyncio.sleep(WARM)
        await self._step("idle", asyncio.sleep(IDLE))
        await self._step("name", page.evaluate("() => peer.resolve('http.test')"))
        for number in range(2):
            await self._step(f"small {number}", page.evaluate("() => peer.get('http://origin.test/text')"))
        # It trusts no authority of a local network: its handshake is seen, and fails.
        for name in ("origin.test", "h2.test", "origin.test"):
            await self._step(f"tls {name}", page.evaluate("(n) => peer.get(`https://${n}/text`)", name))
        for _ in range(2):  # it closes the connection
            await self._step("tls again", page.evaluate("() => peer.get('https://origin.test/unsized/100')"))
        await self._step("nobody", self._nobody(page))
        await self._step("websocket", page.evaluate("() => peer.echo('ws://ws.test/', 'text')"))
        await self._step("download", page.evaluate("(u) => peer.get(u)", f"http://origin.test/bytes/{DOWNLOAD}"))
        await self._step("upload", page.evaluate("(n) => peer.post('http://origin.test/upload', n)", UPLOAD))
        for activity in ACTIVITIES:
            await self._step(activity, page.evaluate("([w, s]) => peer.busy(w, s * 1000)", [activity, BUSY]))
            await asyncio.sleep(SETTLE)
        await self._step("loss", self._loss())
        await self._step("offline", self._offline(context))
        await self._step("end", page.evaluate("() => peer.disconnect()"))
        await asyncio.sleep(SETTLE)

    async def _nobody(self, page: Page) -> None:
        """A server from which nothing comes back; the page gives up, the connection goes on."""
        holes = [host.service.faults.black_holes for host in self._network.exits]
        addresses = {*names.CLOSED.ipv4, *names.CLOSED.ipv6}
        for hole in holes:
            hole |= addresses
        try:
            with suppress(PlaywrightError, TimeoutError):
                await asyncio.wait_for(page.evaluate(f"() => peer.get('http://{names.CLOSED.name}/')"), UNANSWERED)
        finally:
            for hole in holes:
                hole -= addresses

    async def _loss(self) -> None:
        for gateway in _gateways(self._network):
            gateway.drop_clients()
        await asyncio.sleep(LOST)

    async def _offline(self, context: BrowserContext) -> None:
        await context.set_offline(True)
        await asyncio.sleep(OFFLINE)
        await context.set_offline(False)
        await asyncio.sleep(ONLINE)

    async def _left(self, page: Page) -> None:
        """The page goes away with a tunnel that is up."""
        await page.goto("about:blank")
        await asyncio.sleep(SETTLE)

    async def _tabs(self, page: Page, context: BrowserContext) -> None:
        """Another tab of the profile, in front of the first, with a tunnel of its own."""
        await asyncio.sleep(WARM)
        other = await context.new_page()
        await self._step("tabs", self._both(page, other))
        await self._step("behind", asyncio.sleep(IDLE))
        await other.close()

    async def _both(self, page: Page, other: Page) -> None:
        await self._open(other)
        for tab in (page, other):
            await tab.evaluate("() => peer.get('http://origin.test/text')")

    async def _rotation(self) -> None:
        await self._network.rotate_keys()
        await asyncio.sleep(ROTATED)

    async def _dies(self, page: Page, context: BrowserContext) -> None:
        """The process of page and worker is gone at once."""
        session = await context.new_cdp_session(page)
        with suppress(PlaywrightError, TimeoutError):
            await asyncio.wait_for(session.send("Page.crash"), SETTLE)
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


def _gateways(network: Network) -> list[Gateway]:
    return [*network.gateways, *(host.gateway for host in network.exits)]


def asked(net_log: str) -> dict[str, int]:
    """The origins of all requests of a browser, WebSockets too, by its own log; one without an end is read as well.
    What no page and no worker has begun is the browser's own: `BROWSER`."""
    found: Counter[str] = Counter()
    for line in net_log.splitlines():
        try:
            params = json.loads(line.rstrip().rstrip(",")).get("params", {})
        except (ValueError, AttributeError):
            continue
        if isinstance(params, dict) and isinstance(params.get("url"), str) and "method" in params:
            url = urlsplit(params["url"])
            own = params.get("initiator") == "not an origin" and params.get("request_type") != "main frame"
            if own:
                found[BROWSER] += 1
            elif url.scheme in ("http", "https", "ws", "wss"):
                found[f"{url.scheme}://{url.netloc}"] += 1
    return dict(found)


async def others_load() -> float:
    """Share of the cores' time that is taken now; the system's own averages remember what has ended."""

    def read() -> tuple[int, int]:
        times = [int(part) for part in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(times), times[3] + times[4]  # all, idle and waiting

    whole, idle = read()
    await asyncio.sleep(LOOK)
    later, still = read()
    return 1 - (still - idle) / max(1, later - whole)


async def record(runs: int, keep: Path | None) -> dict[str, list[Recording]]:
    """All runs, the clients in turns; written to `keep` as they come."""
    recordings: dict[str, list[Recording]] = {client: [] for client in CLIENTS}
    load = await others_load()
    config = NetworkConfig(seed="privacy", gateways=1, exits=1)
    async with (
        Network(config) as network,
        directory_door(network) as switches,
        async_playwright() as playwright,
        AsyncExitStack() as lines,
    ):
        with StaticServer(FOLDERS, headers=CACHING) as site:
            own = {site.url: "own files", f"https://{HOST}": "directory"}
            taps = []
            for gateway in _gateways(network):
                tap = await lines.enter_async_context(WireTap(gateway.ws_port))
                network.entry(gateway.name).ws_port = tap.port
                own[f"ws://127.0.0.1:{tap.port}"] = "gateway"
                taps.append(tap)
            for _ in range(runs):
                for client in CLIENTS:
                    user = User(network, site.url, client, taps)
                    await user.live(playwright, switches)
                    recording = user.recording
                    recording.load = load
                    recording.asked = _named(recording.asked, own)
                    recordings[client].append(recording)
                    if keep is not None:
                        keep.write_bytes(pickle.dumps(recordings))
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
        recordings = asyncio.run(record(options.runs, options.keep))
    report = privacy_report.report(recordings)
    print(privacy_report.text(report))
    if options.docs:
        privacy_report.write(report)
    if options.json:
        print(json.dumps(report))
    return 1 if privacy_report.unexplained(report) or report["missing"] or report["load"] > privacy_report.QUIET else 0


if __name__ == "__main__":
    sys.exit(main())
