"""Several tabs, one tunnel: the option `shared` in three pages of one browser context, on a real local network."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from browserkit.chromium import chromium_of_a_user
from demo.recorder import Recorder
from localnet.gateway import Gateway
from localnet.origin import body_sha256
from tests.browser.page_session import ApiPage, PageFailure, Session, until

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]
FEATURE = pytest.mark.feature("Worker", "`shared`: the tabs of one origin use one tunnel, which outlives each of them")

MOVED_WITHIN = 10.0  # s until the others have a tunnel again
NOTICED_WITHIN = 12.0  # s more, where nobody says that the leader stands still

WATCH = """window.states = [];
  (await api.getMixTunnel()).addEventListener("state", ({detail: {state}}) => {
    if (states.at(-1) !== state) states.push(state);
  });"""
GET = """return sha256(await (await api.mixFetch("http://origin.test/bytes/5000")).arrayBuffer())"""
# A long download and an open WebSocket; `window.ends` is how each of them ended.
BUSY = """const told = ({code, phase, retryable}) => [code, phase, retryable];
  const slow = await api.mixFetch("http://origin.test/slow?chunks=1000");
  window.ends = [slow.text().then(() => "done", told)];
  const socket = new api.MixWebSocket("ws://ws.test/");
  await socket.opened();
  ends.push(new Promise((resolve) => { socket.onerror = ({error}) => resolve(told(error)); }));"""
ECHO = """const socket = new api.MixWebSocket("ws://ws.test/");
  await socket.opened();
  const answer = new Promise((resolve) => { socket.onmessage = ({data}) => resolve(data); });
  await socket.send(args.text);
  const got = await answer;
  await socket.close();
  return got;"""
MOVED = ["tunnel_moved", "tab", True]


@pytest.fixture
def gateway(session: Session) -> Gateway:
    return session.net.gateways[1]


@pytest_asyncio.fixture(loop_scope="session")
async def tabs(session: Session, gateway: Gateway) -> AsyncIterator[list[ApiPage]]:
    """Three pages of one context, none with a tunnel yet."""
    first = await session.open()
    context = first.page.context
    options = {**session.options, "shared": True, "preferredGateway": gateway.identity_text}
    opened = [ApiPage(first.page, options, first.recorder)]
    while len(opened) < 3:
        page = ApiPage(await context.new_page(), options, first.recorder)
        await page.page.goto(f"{session.site.url}/index.html")
        opened.append(page)
    for page in opened:
        page.listen()
    yield opened
    await context.close()
    await until(lambda: not gateway.active)


async def set_up(tabs: list[ApiPage]) -> None:
    """The first leads."""
    for tab in tabs:
        await tab.set_up()
        await tab.run(WATCH)


async def states_become(page: ApiPage, expected: list[str], within: float) -> None:
    async with asyncio.timeout(within):
        while (seen := await page.run("return window.states")) != expected:
            assert len(seen) < 20, seen
            await asyncio.sleep(0.05)


async def state(page: ApiPage) -> str:
    return str((await page.run("return api.getTunnelState()"))["state"])


@FEATURE
async def test_one_registration_for_three_tabs(tabs: list[ApiPage], session: Session, gateway: Gateway) -> None:
    registered, sessions = gateway.counters["registered"], gateway.counters["sessions"]
    began = time.monotonic()
    await asyncio.gather(*(tab.set_up() for tab in tabs))
    print(f"three tabs at once: {time.monotonic() - began:.2f} s")
    bodies = await asyncio.gather(*(tab.run(GET) for tab in tabs))
    assert bodies == [body_sha256(5_000)] * 3
    texts = ["one", "two", "three"]
    assert await asyncio.gather(*(tab.run(ECHO, text=text) for tab, text in zip(tabs, texts, strict=True))) == texts
    assert gateway.counters["registered"] == registered + 1 and gateway.counters["sessions"] == sessions + 1
    assert len(gateway.active) == 1 and sum(len(tab.page.workers) for tab in tabs) == 1
    addresses = {(await tab.run("return (await api.getMixTunnel()).address")) for tab in tabs}
    assert len(addresses) == 1
    assert tabs[0].recorder.others() == [] and tabs[0].recorder.counts()["gateway"] == 1
    assert [line for tab in tabs for line in tab.console] == []


async def others_go_on(tabs: list[ApiPage], gateway: Gateway, within: float, left: int = 0) -> None:
    """The tunnel of `BUSY` tabs moves: what had begun has ended by a typed error, what begins works.

    `left`: connections of the old one that nobody could close."""
    began = time.monotonic()
    sessions = gateway.counters["sessions"]
    waiting = [asyncio.create_task(tab.run(GET)) for tab in tabs]
    for tab in tabs:
        await states_become(tab, ["reconnecting", "ready"], within)
    print(f"moved within {time.monotonic() - began:.2f} s")
    for tab in tabs:
        assert await tab.run("return Promise.all(window.ends)", timeout=5) == [MOVED, MOVED]
    assert await asyncio.gather(*waiting) == [body_sha256(5_000)] * len(tabs)
    assert await asyncio.gather(*(tab.run(GET) for tab in tabs)) == [body_sha256(5_000)] * len(tabs)
    await until(lambda: len(gateway.active) == 1 + left)
    assert gateway.counters["sessions"] == sessions + 1
    assert tabs[0].recorder.others() == []


async def busy(tabs: list[ApiPage]) -> None:
    await set_up(tabs)
    for tab in tabs:
        await tab.run(BUSY)


@FEATURE
async def test_the_tab_that_leads_closes_during_downloads_of_others(tabs: list[ApiPage], gateway: Gateway) -> None:
    await busy(tabs)
    await tabs[0].page.close()
    await others_go_on(tabs[1:], gateway, MOVED_WITHIN)


@FEATURE
async def test_the_tab_that_leads_crashes(tabs: list[ApiPage], gateway: Gateway) -> None:
    await busy(tabs)
    await crash(tabs[0])
    await others_go_on(tabs[1:], gateway, MOVED_WITHIN)


@FEATURE
async def test_the_worker_of_the_tab_that_leads_crashes(tabs: list[ApiPage], gateway: Gateway) -> None:
    """Its own tab goes on like the others."""
    await busy(tabs)
    await tabs[0].page.workers[0].evaluate("""() => { setTimeout(() => { throw new Error("on purpose"); }); }""")
    await others_go_on(tabs, gateway, MOVED_WITHIN)


@FEATURE
async def test_a_tab_that_only_uses_it_crashes(tabs: list[ApiPage], gateway: Gateway) -> None:
    """What it had begun ends in the worker; nobody else notices."""
    await busy(tabs)
    await crash(tabs[2])
    async with asyncio.timeout(5):
        while (await tabs[0].run("return (await api.getMixTunnel()).statistics()"))["operations"] != 4:
            await asyncio.sleep(0.05)
    await tabs[0].page.close()
    await others_go_on(tabs[1:2], gateway, MOVED_WITHIN)


async def crash(tab: ApiPage) -> None:
    cdp = await tab.page.context.new_cdp_session(tab.page)
    crashed = asyncio.create_task(cdp.send("Page.crash"))
    await tab.page.wait_for_event("crash")
    crashed.cancel()
    with contextlib.suppress(BaseException):
        await crashed


@FEATURE
async def test_leaving(tabs: list[ApiPage], gateway: Gateway) -> None:
    """Also the tab that leads: only its own operations end, and it may come back. The last one closes the tunnel."""
    registered, sessions = gateway.counters["registered"], gateway.counters["sessions"]
    await busy(tabs)
    await tabs[0].run("await api.disconnectMixTunnel()")
    assert await tabs[0].run("return Promise.all(window.ends)", timeout=5) == [["tunnel_down", None, False]] * 2
    assert await state(tabs[0]) == "shutdown"
    began = time.monotonic()
    await tabs[0].set_up()
    print(f"joined within {time.monotonic() - began:.3f} s")
    assert await asyncio.gather(*(tab.run(GET) for tab in tabs)) == [body_sha256(5_000)] * 3
    for tab in tabs[1:]:
        pending = await tab.run("return Promise.race([...window.ends, sleep(200).then(() => 'pending')])")
        assert pending == "pending" and await tab.run("return window.states") == []
    await tabs[0].run("await api.disconnectMixTunnel()")
    await tabs[1].run("await api.disconnectMixTunnel()")
    assert await tabs[2].run(GET) == body_sha256(5_000) and len(gateway.active) == 1
    assert (gateway.counters["registered"], gateway.counters["sessions"]) == (registered + 1, sessions + 1)
    await tabs[2].run("await api.disconnectMixTunnel()")
    await until(lambda: not gateway.active)
    for tab in tabs:
        locks = await tab.run("const { held, pending } = await navigator.locks.query(); return [...held, ...pending]")
        assert locks == []


@FEATURE
async def test_the_last_tab_is_gone_without_a_word(tabs: list[ApiPage], gateway: Gateway) -> None:
    """The tab that leads has left, and holds the tunnel for one that crashes."""
    await set_up(tabs[:2])
    await tabs[0].run("await api.disconnectMixTunnel()")
    assert await tabs[1].run(GET) == body_sha256(5_000) and len(gateway.active) == 1
    await crash(tabs[1])
    await until(lambda: not gateway.active)
    await until(lambda: not tabs[0].page.workers)
    await tabs[0].set_up()
    assert await tabs[0].run(GET) == body_sha256(5_000)


@FEATURE
async def test_options_that_differ(tabs: list[ApiPage]) -> None:
    """Refused by name, whatever differs; the files and the console are each tab's own affair, null is not given."""
    await tabs[0].set_up(maxRedirects=7, storagePassphrase="sesame", timeouts={"dns": 9_000, "tls": 8_000})
    same = {"maxRedirects": 7, "storagePassphrase": "sesame", "timeouts": {"tls": 8_000, "dns": 9_000}}
    others = {"maxRedirects": 8, "storagePassphrase": "open", "timeouts": None, "tcpKeepaliveMs": 9_000}
    for name, other in others.items():
        with pytest.raises(PageFailure) as raised:
            await tabs[1].set_up(**{**same, name: other})
        failure = raised.value
        assert (failure.code, failure.phase, failure.option) == ("options_differ", "setup", name)
        assert "sesame" not in failure.message and await state(tabs[1]) == "failed"
    with pytest.raises(PageFailure) as raised:
        await tabs[1].set_up(shared="yes")
    assert (raised.value.code, raised.value.option) == ("bad_option", "shared")
    await tabs[1].set_up(**same, snapshot="off", integrity="off")
    assert await tabs[1].run(GET) == body_sha256(5_000)
    assert await state(tabs[0]) == "ready"


@FEATURE
async def test_a_failure_is_that_of_all_tabs(tabs: list[ApiPage], session: Session) -> None:
    for host in session.net.exits:
        host.service.faults.mute = True
    try:
        failures = await asyncio.gather(*(tab.set_up(connectTimeoutMs=2_000) for tab in tabs), return_exceptions=True)
    finally:
        for host in session.net.exits:
            host.service.faults.mute = False
    assert [failure.code for failure in failures if isinstance(failure, PageFailure)] == ["exit_timeout"] * 3
    assert [await state(tab) for tab in tabs] == ["failed"] * 3
    await until(lambda: not any(tab.page.workers for tab in tabs))
    await tabs[1].set_up()
    assert await tabs[1].run(GET) == body_sha256(5_000)


@FEATURE
async def test_it_rests_while_all_tabs_do(tabs: list[ApiPage], gateway: Gateway) -> None:
    await set_up(tabs[:2])
    suspend, resume = "await (await api.getMixTunnel()).suspend()", "await (await api.getMixTunnel()).resume()"
    await tabs[0].run(suspend)
    assert await tabs[0].run(GET) == body_sha256(5_000) and await state(tabs[0]) == "ready"
    await tabs[1].run(suspend)
    await until(lambda: not gateway.active)
    assert [await state(tab) for tab in tabs[:2]] == ["suspended"] * 2
    await tabs[1].run(resume)
    for tab in tabs[:2]:
        await states_become(tab, ["suspended", "reconnecting", "ready"], 8.0)
    await tabs[1].run(suspend)
    await until(lambda: not gateway.active)
    await tabs[1].page.close()
    assert await state(tabs[0]) == "suspended"
    await tabs[0].run(resume)
    assert await tabs[0].run(GET) == body_sha256(5_000)


@FEATURE
async def test_the_browser_freezes_the_tab_that_leads(tabs: list[ApiPage], gateway: Gateway) -> None:
    """Its events: it hands the tunnel over, and uses that of the others when it goes on."""
    await busy(tabs)
    await tabs[0].run("""document.dispatchEvent(new Event("freeze"));""")
    await others_go_on(tabs[1:], gateway, MOVED_WITHIN)
    assert tabs[0].page.workers == []
    await tabs[0].run("""document.dispatchEvent(new Event("resume"));""")
    await states_become(tabs[0], ["reconnecting", "ready"], 5.0)
    assert await tabs[0].run("return Promise.all(window.ends)", timeout=5) == [MOVED, MOVED]
    assert await tabs[0].run(GET) == body_sha256(5_000) and len(gateway.active) == 1


@FEATURE
@pytest.mark.chromium
async def test_a_tab_that_is_really_frozen(session: Session, gateway: Gateway, tmp_path: Path) -> None:
    """As Chromium freezes tabs in the background: it has its event, and no task of it runs any more."""
    async with async_playwright() as playwright, chromium_of_a_user(playwright, tmp_path) as browser:
        recorder = Recorder(session.allowed)
        context = browser.contexts[0]
        recorder.attach(context)
        options = {**session.options, "shared": True, "preferredGateway": gateway.identity_text}
        tabs = [ApiPage(await context.new_page(), options, recorder) for _ in range(3)]
        for tab in tabs:
            await tab.page.goto(f"{session.site.url}/index.html")
        await busy(tabs)
        cdp = await context.new_cdp_session(tabs[0].page)
        await cdp.send("Page.setWebLifecycleState", {"state": "frozen"})
        await others_go_on(tabs[1:], gateway, MOVED_WITHIN)
        with pytest.raises(TimeoutError):
            await tabs[0].run("return sleep(50)", timeout=1)
        await cdp.send("Page.setWebLifecycleState", {"state": "active"})
        await states_become(tabs[0], ["reconnecting", "ready"], 5.0)
        assert await tabs[0].run("return Promise.all(window.ends)", timeout=5) == [MOVED, MOVED]
        assert await tabs[0].run(GET) == body_sha256(5_000) and len(gateway.active) == 1
    await until(lambda: not gateway.active)


async def process_of(tab: ApiPage, session: Session) -> int:
    """The process of a page: the one that works when the page does."""
    cdp = await session.browser.new_browser_cdp_session()

    async def times() -> dict[int, float]:
        found = (await cdp.send("SystemInfo.getProcessInfo"))["processInfo"]
        return {one["id"]: one["cpuTime"] for one in found if one["type"] == "renderer"}

    before = await times()
    await tab.page.evaluate("() => { for (const end = performance.now() + 800; performance.now() < end;); }")
    after = await times()
    await cdp.detach()
    return max(after, key=lambda pid: after[pid] - before.get(pid, after[pid]))


@FEATURE
@pytest.mark.chromium
async def test_the_tab_that_leads_stands_still(tabs: list[ApiPage], session: Session, gateway: Gateway) -> None:
    """Its process is stopped, and nobody says so: another tab takes the lead. Going on, it is one of the others."""
    await busy(tabs)
    process = await process_of(tabs[0], session)
    os.kill(process, signal.SIGSTOP)
    try:
        await others_go_on(tabs[1:], gateway, NOTICED_WITHIN + MOVED_WITHIN, left=1)
    finally:
        os.kill(process, signal.SIGCONT)
    await states_become(tabs[0], ["reconnecting", "ready"], 5.0)
    assert await tabs[0].run(GET) == body_sha256(5_000)
    assert await tabs[0].run("return Promise.all(window.ends)", timeout=5) == [MOVED, MOVED]
    await until(lambda: len(gateway.active) == 1)
    assert sum(len(tab.page.workers) for tab in tabs) == 1
    assert await asyncio.gather(*(tab.run(GET) for tab in tabs)) == [body_sha256(5_000)] * 3


@FEATURE
@pytest.mark.chromium
async def test_a_tab_is_opened_while_the_one_that_leads_stands_still(
    tabs: list[ApiPage], session: Session, gateway: Gateway
) -> None:
    """Nobody answers it: it leads after a while. The other one uses its tunnel when it goes on."""
    await set_up(tabs[:1])
    process = await process_of(tabs[0], session)
    os.kill(process, signal.SIGSTOP)
    try:
        async with asyncio.timeout(NOTICED_WITHIN + MOVED_WITHIN):
            await tabs[1].set_up()
        assert await tabs[1].run(GET) == body_sha256(5_000)
    finally:
        os.kill(process, signal.SIGCONT)
    await states_become(tabs[0], ["reconnecting", "ready"], 5.0)
    await until(lambda: len(gateway.active) == 1)
    assert await asyncio.gather(*(tab.run(GET) for tab in tabs[:2])) == [body_sha256(5_000)] * 2


# Each waits, as far as there is room; then all are given up.
MANY = """const { signal } = window.abort = new AbortController();
  const counts = {};
  const tunnel = await api.getMixTunnel();
  const count = (told) => { counts[told] = (counts[told] ?? 0) + 1; };
  const one = () => tunnel.resolve("origin.test", { signal })
    .catch(({ code, name }) => count(typeof code === "string" ? code : name));
  const all = Array.from({ length: 1030 }, one);
  while (counts.too_many_operations !== 6) await sleep(20);
  abort.abort();
  await Promise.all(all);
  return counts;"""


# One time limit of the page's passes in a second.
SOON = """const real = window.asItWas = window.setTimeout;
  window.setTimeout = (work, ms, ...rest) => real(work, ms === args.limit ? 1000 : ms, ...rest);"""


@FEATURE
@pytest.mark.chromium
async def test_a_stored_identity_is_in_use_while_its_tab_stands_still(
    tabs: list[ApiPage], session: Session, gateway: Gateway
) -> None:
    """The gateway has the stopped tab's connection and refuses another: the tunnel is back when that tab goes on.

    Until then what waits does so for 90 s at most, and is told why."""
    for tab in tabs:
        tab.options["clientId"] = "me"
    await set_up(tabs)
    await tabs[1].run(SOON, limit=90_000)
    process = await process_of(tabs[0], session)
    refused = gateway.counters["refused.duplicate"]
    os.kill(process, signal.SIGSTOP)
    try:
        await states_become(tabs[1], ["reconnecting"], NOTICED_WITHIN)
        await until(lambda: gateway.counters["refused.duplicate"] >= refused + 2, 30)
        assert [await state(tab) for tab in tabs[1:]] == ["reconnecting"] * 2 and len(gateway.active) == 1
        assert await tabs[1].run(MANY) == {"too_many_operations": 6, "AbortError": 1024}
        late = await tabs[1].run(
            """const { warnings } = await api.getTunnelState();
            const { code, phase, kind, cause } = await api.mixFetch("http://origin.test/text").catch((error) => error);
            return [code, phase, kind, cause.phase, cause.message, warnings.map(({ message }) => message)];"""
        )
        assert late[:4] == ["tunnel_timeout", "tunnel", "TimeoutExpired", "gateway"]
        assert "active already" in late[4] and late[5] == [late[4]]
        waiting = asyncio.create_task(tabs[2].run(GET))
    finally:
        os.kill(process, signal.SIGCONT)
    for tab in tabs:
        await states_become(tab, ["reconnecting", "ready"], 2 * MOVED_WITHIN)
    assert await waiting == body_sha256(5_000)
    assert await asyncio.gather(*(tab.run(GET) for tab in tabs)) == [body_sha256(5_000)] * 3
    assert len(gateway.active) == 1


@FEATURE
async def test_no_tab_sets_up_a_tunnel(tabs: list[ApiPage]) -> None:
    """The lead is held by a script that does nothing with it, and cannot be taken from it."""
    await tabs[1].run(
        """const { LEAD, REPLACE } = args;
        const free = new Promise((resolve) => { window.letGo = resolve; });
        const hold = (name) => new Promise((held) => navigator.locks.request(name, () => (held(), free)));
        await Promise.all([LEAD, REPLACE].map(hold));""",
        LEAD="smolmix-web shared 1 lead",
        REPLACE="smolmix-web shared 1 replace",
    )
    await tabs[0].run(SOON, limit=300_000)
    with pytest.raises(PageFailure) as raised:
        await tabs[0].set_up()
    assert (raised.value.code, raised.value.phase, raised.value.kind) == ("tab_timeout", "tab", "TimeoutExpired")
    assert await state(tabs[0]) == "failed"
    await tabs[1].run("letGo()")
    await tabs[0].run("window.setTimeout = asItWas")
    await tabs[0].set_up()
    assert await tabs[0].run(GET) == body_sha256(5_000)


BLOCK = """() => {
  const { buffer } = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  setTimeout(() => Atomics.wait(new Int32Array(buffer), 0, 0, 60_000));
}"""


@FEATURE
async def test_the_worker_of_the_tab_that_leads_hangs(tabs: list[ApiPage], gateway: Gateway) -> None:
    await busy(tabs)
    await tabs[0].page.workers[0].evaluate(BLOCK)
    await others_go_on(tabs, gateway, NOTICED_WITHIN + MOVED_WITHIN)
    assert tabs[0].page.workers == []


@FEATURE
async def test_the_stored_identity_goes_along_and_messages_still_come(tabs: list[ApiPage], gateway: Gateway) -> None:
    for tab in tabs:
        tab.options["clientId"] = "me"
    await set_up(tabs[:2])
    address = "return (await api.getMixTunnel()).address"
    first = await tabs[1].run(address)
    registered = gateway.counters["registered"]
    await tabs[1].run(
        """const { messages } = await api.getMixTunnel();
        window.heard = [];
        messages.onmessage = ({ data: { data } }) => heard.push(new TextDecoder().decode(data));
        await (await messages.send(args.address, "before")).delivered;
        while (heard.length < 1) await sleep(20);""",
        address=first,
    )
    await tabs[0].page.close()
    await states_become(tabs[1], ["reconnecting", "ready"], MOVED_WITHIN)
    got = await tabs[1].run(
        """const { messages, address } = await api.getMixTunnel();
        await (await messages.send(address, "after")).delivered;
        while (heard.length < 2) await sleep(20);
        return [address, heard];""",
        timeout=20,
    )
    assert got == [first, ["before", "after"]]
    assert gateway.counters["registered"] == registered
