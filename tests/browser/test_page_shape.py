"""What an observer on the wire between Chromium and its gateway sees, with default settings and under four loads, of
which one is a page that its user does not look at.

Sizes are exact. Times are those of a browser on a machine that also runs the whole network: what else runs there makes
the worker send late, and that shows more than any load. So the loads take turns, the numbers are printed (`-s`), and
the test needs a machine with nothing else to do; it is left out of a default run.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from browserkit.chromium import chromium_of_a_user
from browserkit.server import StaticServer
from buildtools.common import DIST
from localnet import Network, NetworkConfig
from tests.browser.page_session import ApiPage, Session, write_blank_page
from tests.browser.wire_tap import BINARY, SeenFrame, WireTap
from tests.statistics_tests import ks_law, ks_two

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(200)]

RATE = 55.0  # packets per second: main stream 50, cover stream 5
FORWARD_FRAME = 2452
LOADS = ("idle", "hidden", "download", "upload")
ROUNDS, SECONDS = 4, 5.0  # 1,100 packets of each load
SETTLE = 0.8  # s between loads
ONE_PERCENT = 0.01
MOST_BURST = 12  # frames within 5 ms

BEGIN = """globalThis.abort = new AbortController();
  const signal = globalThis.abort.signal;
  const bodies = { download: ["bytes/200000", {}], upload: ["echo", {method: "POST", body: new Uint8Array(20000)}] };
  globalThis.moved = 0;
  const work = async () => {
    const [path, init] = bodies[args.load] ?? [null, null];
    while (path && !signal.aborted) {
      const response = await api.mixFetch(`https://origin.test/${path}`, {...init, signal});
      for await (const chunk of response.body) globalThis.moved += chunk.length;
    }
  };
  globalThis.working = caught(work);"""
END = """globalThis.abort.abort();
  const error = await globalThis.working;
  if (error && error.name !== "AbortError") throw new Error(`${error.name} ${error.code}: ${error.message}`);
  return globalThis.moved;"""
COUNTERS = "return (await api.getMixTunnel()).statistics();"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tapped(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[ApiPage, WireTap]]:
    """A page with a tunnel of default settings, whose gateway is reached through an observer."""
    assert (DIST / "worker.js").exists(), "dist/ is missing: run `python3 build.py build` first"
    folder: Path = tmp_path_factory.mktemp("shape")
    write_blank_page(folder)
    async with (
        Network(NetworkConfig(seed="page shape", gateways=1, processes=2)) as net,
        WireTap(net.gateways[0].ws_port) as tap,
        async_playwright() as playwright,
        chromium_of_a_user(playwright, tmp_path_factory.mktemp("profile")) as browser,
    ):
        net.entry(net.gateways[0].name).ws_port = tap.port
        options: dict[str, Any] = {
            "directoryUrls": [net.directory_url],
            "forceTls": False,
            "caCertificates": net.ca_pem,
            "preferredGateway": net.gateways[0].identity_text,
            "trafficRate": "1",  # the whole network runs here too, which would make it a slow machine
        }
        with StaticServer({"/": folder, "/smolmix/": DIST}) as site:
            # Only the tabs of one window hide each other.
            page = await Session(net, site, browser, options).open(browser.contexts[0])
            await page.set_up()
            yield page, tap
            await page.page.close()
        assert net.violations() == {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(tapped: tuple[ApiPage, WireTap]) -> dict[str, list[list[SeenFrame]]]:
    """The frames of each round of each load. What the page did is checked here: a load that is none proves nothing."""
    page, tap = tapped
    rounds: dict[str, list[list[SeenFrame]]] = {load: [] for load in LOADS}
    moved = dict.fromkeys(LOADS, 0)
    real = dict.fromkeys(LOADS, 0)
    for _, load in itertools.product(range(ROUNDS), LOADS):
        front = await page.page.context.new_page() if load == "hidden" else None
        await page.run(BEGIN, load=load)
        await asyncio.sleep(SETTLE)
        assert await page.run("return document.visibilityState") == ("visible" if front is None else "hidden")
        before = await page.run(COUNTERS)
        await tap.take()
        await asyncio.sleep(SECONDS)
        rounds[load].append([frame for frame in await tap.take() if frame.opcode == BINARY])
        real[load] += (await page.run(COUNTERS))["real_sent"] - before["real_sent"]
        moved[load] += await page.run(END)
        if front is not None:
            await front.close()
    assert moved["idle"] == moved["hidden"] == 0 and moved["download"] > 400_000 and moved["upload"] > 40_000
    print(f"moved {moved}, real packets {real}")
    # What an upload has left in queues goes out while the idle page is watched, but not the hidden one after it.
    assert real["download"] > 10 * max(real["hidden"], 5) and real["upload"] > 10 * max(real["hidden"], 5)
    assert min(real["download"], real["upload"]) > 2 * real["idle"]
    return rounds


def gaps(rounds: list[list[SeenFrame]]) -> list[float]:
    return [later.time - earlier.time for frames in rounds for earlier, later in itertools.pairwise(frames)]


@pytest.mark.long
async def test_the_loads_cannot_be_told_apart_by_sizes_or_rate(seen: dict[str, list[list[SeenFrame]]]) -> None:
    for load, rounds in seen.items():
        frames = [frame for round_ in rounds for frame in round_]
        expected = RATE * ROUNDS * SECONDS
        print(f"{load}: {len(frames)} frames, {expected:.0f} expected, sizes { ({frame.size for frame in frames}) }")
        assert {frame.size for frame in frames} == {FORWARD_FRAME}
        assert abs(len(frames) - expected) < 4 * math.sqrt(expected)


@pytest.mark.long
async def test_the_loads_cannot_be_told_apart_by_times(seen: dict[str, list[list[SeenFrame]]]) -> None:
    times = {load: gaps(rounds) for load, rounds in seen.items()}
    for load, samples in times.items():
        law = ks_law(samples, lambda x: 1 - math.exp(-RATE * x))
        together = sum(gap < 0.001 for gap in samples) / len(samples)
        print(f"{load}: {len(samples)} gaps, D {law.statistic:.3f} to the exponential law, {together:.1%} below 1 ms")
    verdicts = {pair: ks_two(times[pair[0]], times[pair[1]]) for pair in itertools.combinations(LOADS, 2)}
    for (left, right), verdict in verdicts.items():
        print(f"{left} and {right}: D {verdict.statistic:.4f}, p {verdict.p:.3f}")
    assert all(verdict.p > ONE_PERCENT for verdict in verdicts.values()), verdicts


@pytest.mark.long
async def test_no_bursts(seen: dict[str, list[list[SeenFrame]]]) -> None:
    for rounds in seen.values():
        for frames in rounds:
            moments = [frame.time for frame in frames]
            assert max(sum(0 <= t - start < 0.005 for t in moments) for start in moments) <= MOST_BURST
