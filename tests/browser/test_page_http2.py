"""HTTP/2 in a page at 400 ms round trip: many requests at once, aborts, and a reader that takes its time.

The network has delays of its own here, so the tests share one page and set the links back afterwards. They stand in
this order: TCP believes in the shortest round trip of the last seconds, so the delay may only fall.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from localnet.http2_server import Http2Counters
from localnet.origin import body_sha256
from tests.browser.page_session import ApiPage, Session

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

ROUND_TRIP = 0.4
ATTEMPTS = 3
HOPS = 10  # links there and back: gateway, three mix nodes, exit
MIXING = 6 * 0.015  # mean delay in the mix nodes, there and back


PARALLEL = """const load = async (index) => {
    const response = await api.mixFetch(`https://h2.test/bytes/20000?seed=${index}`);
    return [response.mix.httpVersion, await sha256(await response.arrayBuffer())];
  };
  const timed = async (work) => {
    const begin = performance.now();
    const result = await work();
    return [(performance.now() - begin) / 1000, result];
  };
  for (let index = 0; index < 3; index++) await load(-1 - index);
  const [one] = await timed(() => load(-10));
  const [all, results] = await timed(() => Promise.all(Array.from({ length: 24 }, (_, index) => load(index))));
  return { one, all, results };"""


@dataclass
class Far:
    """A page whose tunnel is up."""

    session: Session
    page: ApiPage
    origin: Http2Counters

    async def away(self) -> None:
        """Everything is far away."""
        await self.session.net.set_links("*", latency=(ROUND_TRIP - MIXING) / HOPS)

    async def near(self) -> None:
        await self.session.net.reset_links("*")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def far(session: Session) -> AsyncIterator[Far]:
    opened = await session.open()
    await opened.set_up()
    try:
        yield Far(session, opened, session.net.world.http2.http2)
    finally:
        await session.net.reset_links("*")
        await opened.page.context.close()


@pytest.mark.feature("HTTP", "HTTP/2: an abort frees its flow within one round trip")
async def test_aborts(far: Far) -> None:
    """Of a download, where the origin hears of it and stops, and of an upload, of which no more arrives."""
    clock = asyncio.get_running_loop().time
    await far.away()
    resets = len(far.origin.resets)
    await far.page.run(
        """globalThis.control = new AbortController();
        const response = await api.mixFetch("https://h2.test/slow?chunks=1000&interval=0.05&size=1000",
          { signal: control.signal });
        globalThis.reader = response.body.getReader();
        await reader.read();"""
    )
    aborted = clock()
    got = await far.page.run(
        """control.abort(new Error("enough"));
        const error = await caught(() => reader.read());
        const tunnel = await api.getMixTunnel();
        return [error.message, await idle(tunnel)];"""
    )
    assert got == ["enough", 0]
    await asyncio.sleep(max(0.0, aborted + ROUND_TRIP * 1.5 - clock()))
    assert len(far.origin.resets) == resets + 1
    assert far.origin.resets[-1] - aborted < ROUND_TRIP * 1.5
    sent = far.origin.sent
    await asyncio.sleep(ROUND_TRIP)
    assert far.origin.sent == sent

    await far.page.run(
        """globalThis.control = new AbortController();
        const body = new ReadableStream({ async pull(controller) {
          await sleep(100);
          controller.enqueue(new Uint8Array(1000));
        } });
        globalThis.pending = caught(() => api.mixFetch("https://h2.test/upload",
          { method: "POST", body, duplex: "half", signal: control.signal }));
        await sleep(2000);
        control.abort();
        globalThis.outcome = await pending;"""
    )
    await asyncio.sleep(ROUND_TRIP * 1.5)
    received = far.origin.received
    assert received > 0 and len(far.origin.resets) == resets + 2
    await asyncio.sleep(2 * ROUND_TRIP)
    assert far.origin.received == received
    assert await far.page.run("return (await (await api.mixFetch('https://h2.test/json')).json()).hello;") == "origin"
    assert far.origin.connections == 1


async def parallel(far: Far) -> float:
    """24 bodies at once, all of them right and by one connection: how many round trips more than one body."""
    got = await far.page.run(PARALLEL)
    assert got["results"] == [["2", body_sha256(20_000, str(index))] for index in range(24)]
    assert far.origin.connections == 1
    more: float = (got["all"] - got["one"]) / ROUND_TRIP
    print(f"one {got['one']:.2f} s, 24 together {got['all']:.2f} s: {more:.1f} round trips more")
    return more


@pytest.mark.feature("HTTP", "HTTP/2: many requests at once by one connection")
async def test_24_parallel_requests(far: Far) -> None:
    """How long they take is counted in virtual time (tests/http/test_http2_over_stack.py)."""
    await far.away()
    await parallel(far)


# In real time this measures the machine too: the network, the origin and the page share its cores.
@pytest.mark.long
@pytest.mark.feature("HTTP", "HTTP/2: 24 parallel requests take at most four round trips more than one")
async def test_the_time_of_24_parallel_requests(far: Far) -> None:
    await far.away()
    assert min([await parallel(far) for _ in range(ATTEMPTS)]) <= 4


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.feature("HTTP", "A streamed download with a slow reader keeps memory bounded")
async def test_memory_of_a_slow_reader(far: Far) -> None:
    """20 MB; the reader pauses again and again while the origin would send on."""
    await far.near()
    got = await far.page.run(
        """const tunnel = await api.getMixTunnel();
        const memory = async () => (await tunnel.statistics()).memory_bytes;
        await (await api.mixFetch("https://h2.test/bytes/200000")).arrayBuffer();
        const before = await memory();
        const response = await api.mixFetch("https://h2.test/bytes/20000000");
        const reader = response.body.getReader();
        let size = 0, pauses = 0;
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          size += value.byteLength;
          if (size > (pauses + 1) * 2000000) { pauses += 1; await sleep(1000); }
        }
        return [size, pauses, (await memory() - before) / 1e6];""",
        timeout=590,
    )
    print(f"memory grew by {got[2]:.1f} MB")
    assert got[0] == 20_000_000 and got[1] >= 9
    assert got[2] < 16
