"""The life of a tunnel in a page: set-up, options, failures, crash, disconnect, again; and what leaves the page."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from browserkit.chromium import launch_arguments
from buildtools.chromium import ensure_chromium
from buildtools.common import DIST
from demo.recorder import NetLog
from localnet.origin import body_sha256
from smolmix_web.exit.messages import ConnectReason
from smolmix_web.mixnet.directory_query import DirectoryQuery
from smolmix_web.tunnel.options import TunnelOptions
from tests.browser.page_session import ApiPage, PageFailure, Session

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def down(session: Session) -> AsyncIterator[asyncio.Task[tuple[PageFailure | None, float]]]:
    """Takes a minute of waiting, so it runs beside the other tests."""
    page = await session.open()

    async def set_up() -> tuple[PageFailure | None, float]:
        began = time.monotonic()
        options = {**session.options, "preferredGateway": session.net.gateways[2].identity_text}
        try:
            await page.run("await api.setupMixTunnel(args.options)", timeout=100, options=options)
        except PageFailure as failure:
            return failure, time.monotonic() - began
        return None, 0.0

    task = asyncio.create_task(set_up())
    yield task
    task.cancel()
    await page.page.context.close()


async def test_states_from_nothing_to_ready_and_back(fresh: ApiPage, session: Session) -> None:
    got = await fresh.run(
        """const states = [(await api.getTunnelState()).state];
        const setup = api.setupMixTunnel(args.options);
        const tunnel = await api.getMixTunnel();
        states.push(tunnel.state.step);
        tunnel.addEventListener("state", ({detail: {state, step}}) => states.push(step ? `${state} ${step}` : state));
        const early = api.mixFetch("http://http.test/text");  // waits for the set-up
        const twice = api.setupMixTunnel();  // shares it
        await Promise.all([setup, twice]);
        const ready = await api.getTunnelState();
        const text = await (await early).text();
        await api.disconnectMixTunnel();
        const after = await caught(() => api.mixFetch("http://http.test/text"));
        return { states, ready, text, after: [after.code, after.phase] };""",
        options=session.options,
    )
    ready = got.pop("ready")
    steps = [f"connecting {step}" for step in ("directory", "gateway", "exit")]
    assert got == {
        "states": ["shutdown", "boot", *steps, "ready", "shutting_down", "shutdown"],
        "text": "Hello from the origin.\n",
        "after": ["tunnel_down", "setup"],
    }
    assert (ready["state"], ready["step"], ready["error"]) == ("ready", None, None)
    assert ready["exit"] in [str(host.address) for host in session.net.exits] and len(ready["addresses"]) == 2


async def test_before_set_up_everything_says_so(fresh: ApiPage) -> None:
    got = await fresh.run(
        """const seen = [];
        for (const work of [() => api.mixFetch("http://http.test/"), () => api.mixDNS("http.test"),
          () => api.getMixTunnel(), () => new api.MixWebSocket("ws://ws.test/").opened(),
          () => new api.MixTunnel().statistics()]) {
          seen.push((await caught(work)).code);
        }
        await api.disconnectMixTunnel();
        return seen;"""
    )
    assert got == ["tunnel_down"] * 5


async def test_disconnect_and_set_up_again_in_the_same_page(fresh: ApiPage, session: Session) -> None:
    """What was under way fails with one code; the new tunnel has its own worker and works."""
    got = await fresh.run(
        """const seen = [];
        for (let round = 0; round < 2; round++) {
          await api.setupMixTunnel(args.options);
          const fetching = caught(() => api.mixFetch("https://origin.test/delay/30"));
          const slow = await api.mixFetch("https://origin.test/slow?chunks=100");
          const reading = slow.text().catch((error) => error.code);
          const socket = new api.MixWebSocket("ws://ws.test/");
          await socket.opened();
          const closed = new Promise((resolve) => { socket.onclose = ({code}) => resolve(code); });
          await api.disconnectMixTunnel();
          seen.push([(await fetching).code, await reading, await closed, (await api.getTunnelState()).state]);
        }
        const again = api.setupMixTunnel(args.options);
        const disconnected = api.disconnectMixTunnel();  // while it is being set up
        const given_up = (await caught(() => again)).code;
        await disconnected;
        const factory = await api.createMixFetch(args.options);
        return [seen, given_up, (await factory("http://http.test/text")).status];""",
        options=session.options,
    )
    assert got == [[["tunnel_down", "tunnel_down", 1006, "shutdown"]] * 2, "tunnel_down", 200]


async def test_several_tunnels_in_one_page(fresh: ApiPage, session: Session) -> None:
    got = await fresh.run(
        """const tunnels = args.exits.map((preferredIpr) => new api.MixTunnel({...args.options, preferredIpr}));
        await Promise.all(tunnels.map((tunnel) => tunnel.setup()));
        const exits = tunnels.map((tunnel) => tunnel.state.exit);
        const statuses = await Promise.all(tunnels.map(async (tunnel) => (await tunnel.fetch("http://http.test/text")).status));
        await tunnels[0].disconnect();
        const left = (await tunnels[1].fetch("http://http.test/text")).status;
        const gone = await caught(() => tunnels[0].fetch("http://http.test/text"));
        await tunnels[1].disconnect();
        return [exits, statuses, left, gone.code];""",
        options=session.options,
        exits=[str(host.address) for host in session.net.exits],
    )
    assert got == [[str(host.address) for host in session.net.exits], [200, 200], 200, "tunnel_down"]


OPTIONS: dict[str, str] = {
    "unknownOption": "1",
    "forceTls": '"yes"',
    "preferredIpr": '"abc"',
    "clientId": "new Date()",
    "debug": "() => true",
    "maxRedirects": "10n ** 30n",
}


async def test_options_are_refused_by_name(fresh: ApiPage, session: Session) -> None:
    """All in one page: a refusal leaves nothing behind. The last set-up, with null for "not given", works."""
    body = ",".join(f"{name}: {source}" for name, source in OPTIONS.items())
    got = await fresh.run(
        f"""const seen = {{}};
        for (const [name, value] of Object.entries({{ {body} }})) {{
          const error = await caught(() => api.setupMixTunnel({{...args.options, [name]: value}}));
          const named = error.message.startsWith(`option ${{name}}:`);
          seen[name] = [error.name, error.kind, error.code, error.phase, error.option, named];
        }}
        const kinds = [];
        for (const wrong of [null, "text", 5, []]) kinds.push((await caught(() => api.setupMixTunnel(wrong))).name);
        await api.setupMixTunnel({{...args.options, preferredIpr: null, storagePassphrase: undefined}});
        return [seen, kinds, (await api.getTunnelState()).state];""",
        options=session.options,
        timeout=110,
    )
    refusal = ["TypeError", "OptionError", "bad_option", "setup"]
    assert got == [{name: [*refusal, name, True] for name in OPTIONS}, ["TypeError"] * 4, "ready"]
    assert set(OPTIONS) - {"unknownOption"} <= {
        field.metadata["js"] for field in TunnelOptions.__dataclass_fields__.values()
    }


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def refused(page: ApiPage, **options: Any) -> PageFailure:
    with pytest.raises(PageFailure) as failure:
        await page.set_up(**options)
    state = await page.run("return api.getTunnelState()")
    assert (state["state"], state["error"]["code"]) == ("failed", failure.value.code)
    later = await page.run("""return caught(() => api.mixFetch("http://http.test/text"));""")
    assert (later["code"], later["reason"]) == ("tunnel_down", failure.value.code)
    return failure.value


async def test_the_directory_is_down_and_the_second_one_serves(fresh: ApiPage, session: Session) -> None:
    down = f"http://127.0.0.1:{closed_port()}/api/"
    failure = await refused(fresh, directoryUrls=[down])
    assert (failure.code, failure.phase, failure.kind) == ("unreachable", "directory", "DirectoryError")
    assert down in failure.message
    await fresh.set_up(directoryUrls=[down, session.net.directory_url])


ASKED = """() => {
  const interpreter = performance.getEntriesByName("smolmix interpreter")[0].startTime;
  return performance.getEntriesByType("resource").map(({ name, startTime }) => [name, startTime < interpreter]);
}"""


@pytest.mark.feature("Worker", "the directory is asked while the interpreter is still on its way")
async def test_the_directory_is_asked_once_and_before_python_runs(
    fresh: ApiPage, session: Session, engine: str
) -> None:
    if engine == "webkit":
        pytest.skip("WebKitGTK's driver tells of no requests")
    address = session.net.directory_url
    asked = [address + path for path in DirectoryQuery.for_start().requests()]
    await fresh.set_up()
    assert sorted(url for url in fresh.recorder.urls if url.startswith(address)) == sorted(asked)
    (worker,) = fresh.page.workers
    early = {url: before for url, before in await worker.evaluate(ASKED) if url.startswith(address)}
    assert early == dict.fromkeys(asked, True)
    await fresh.run("await api.disconnectMixTunnel()")
    # An option that does not exist may have been meant to lead elsewhere.
    before = len(fresh.recorder.urls)
    assert (await refused(fresh, directoryUrl=address)).code == "bad_option"
    assert not [url for url in fresh.recorder.urls[before:] if fresh.recorder.allowed.kind(url) != "site"]


async def test_a_pinned_gateway_that_takes_only_tickets_says_so(fresh: ApiPage, session: Session) -> None:
    gateway = session.net.gateways[1]
    gateway.enforce_tickets = True
    try:
        with pytest.raises(PageFailure) as raised:
            await fresh.set_up(preferredGateway=gateway.identity_text)
    finally:
        gateway.enforce_tickets = False
    failure = raised.value
    assert (failure.code, failure.phase) == ("bandwidth_refused", "gateway")
    assert "zk-nyms" in failure.message and "preferredGateway" in failure.message
    told = await fresh.run(
        "const {state, error} = await api.getTunnelState(); return [state, error.reason, error.retryable]"
    )
    assert told == ["failed", "credentials_only", False]


async def test_the_gateway_comes_back_during_set_up(fresh: ApiPage, session: Session) -> None:
    gateway = session.net.gateways[1]
    await session.net.stop_node(gateway.name)
    try:
        await fresh.run(
            """window.setup = api.setupMixTunnel(args.options);
            while ((await api.getTunnelState()).step !== "gateway") await sleep(50);
            await sleep(1500);""",
            options={**session.options, "preferredGateway": gateway.identity_text},
        )
        state = await fresh.run("return api.getTunnelState()")
    finally:
        await session.net.start_node(gateway.name)
    assert (state["state"], state["step"]) == ("connecting", "gateway")
    await fresh.run("await window.setup")
    assert (await fresh.run("return api.getTunnelState()"))["gateway"] == gateway.identity_text


async def test_the_gateway_is_lost_while_the_tunnel_is_up(fresh: ApiPage, session: Session) -> None:
    """The state says so, what is under way waits, and goes on when the gateway is back."""
    gateway = session.net.gateways[1]
    await fresh.set_up(preferredGateway=gateway.identity_text)
    await fresh.run(
        """window.states = [];
        (await api.getMixTunnel()).addEventListener("state", ({detail: {state}}) => {
          if (states.at(-1) !== state) states.push(state);
        });
        window.pending = (async () => sha256(await (await api.mixFetch("http://origin.test/bytes/400000")).arrayBuffer()))();
        await sleep(300);"""
    )
    await session.net.stop_node(gateway.name)
    await asyncio.sleep(1.5)
    await session.net.start_node(gateway.name)
    digest, states = await fresh.run("return [await window.pending, window.states]")
    assert digest == body_sha256(400_000)
    assert states == ["reconnecting", "ready"]


@pytest.mark.parametrize("fault", ["refuses", "is silent"])
async def test_the_exit(fresh: ApiPage, session: Session, fault: str) -> None:
    for host in session.net.exits:
        if fault == "refuses":
            host.service.faults.refuse_connect = ConnectReason.NO_AVAILABLE_IP
        else:
            host.service.faults.mute = True
    try:
        failure = await refused(fresh, connectTimeoutMs=2_000)
    finally:
        for host in session.net.exits:
            host.service.faults.refuse_connect = None
            host.service.faults.mute = False
    code = "exit_refused" if fault == "refuses" else "exit_timeout"
    assert (failure.code, failure.phase) == (code, "exit")


async def test_a_crash_of_the_worker(fresh: ApiPage, session: Session) -> None:
    """An error that nobody catches in the worker rejects everything pending; then the page may set up again."""
    await fresh.set_up()
    await fresh.run(
        """window.pending = [
          caught(() => api.mixFetch("https://origin.test/delay/60")), caught(() => api.mixDNS("silent.test"))];
        const response = await api.mixFetch("https://origin.test/slow?chunks=100");
        window.pending.push(caught(() => response.text()));
        const socket = new api.MixWebSocket("ws://ws.test/");
        await socket.opened();
        window.pending.push(new Promise((resolve) => { socket.onerror = ({error}) => resolve(error); }));"""
    )
    await fresh.page.workers[0].evaluate("""() => { setTimeout(() => { throw new Error("on purpose"); }); }""")
    codes = await fresh.run("""return (await Promise.all(window.pending)).map(({code}) => code);""", timeout=10)
    state = await fresh.run("return api.getTunnelState()")
    assert codes == ["worker_crashed"] * 4
    assert state["state"] == "failed" and "on purpose" in state["error"]["message"]
    await fresh.set_up()
    assert await fresh.run("""return (await api.mixFetch("http://http.test/text")).status""") == 200


KEEP_PYODIDE = """import * as real from "./pyodide.real.mjs";
export const loadPyodide = async (options) => (self.pyodide = await real.loadPyodide(options));
"""


async def test_a_fatal_error_of_the_interpreter(fresh: ApiPage) -> None:
    """As after a Rust panic: no exception may leave the worker, the page hears of it all the same."""
    real = (DIST / "pyodide" / "pyodide.mjs").read_text()
    script = "text/javascript"
    await fresh.page.route("**/pyodide/pyodide.mjs", lambda r: r.fulfill(body=KEEP_PYODIDE, content_type=script))
    await fresh.page.route("**/pyodide/pyodide.real.mjs", lambda r: r.fulfill(body=real, content_type=script))
    await fresh.set_up()
    await fresh.run("""window.pending = caught(() => api.mixFetch("https://origin.test/delay/60"));""")
    await fresh.page.workers[0].evaluate(
        """() => {
          try { self.pyodide._api.fatal_error(new Error("panic on purpose")); } catch { /* as inside a callback */ }
        }"""
    )
    error = await fresh.run("return window.pending", timeout=10)
    assert error["code"] == "worker_crashed" and "panic on purpose" in error["message"]


async def test_many_exchanges_leave_nothing_behind(fresh: ApiPage) -> None:
    await fresh.set_up()
    left = await fresh.run(
        """for (let n = 0; n < 8; n++) {
          await (await api.mixFetch("http://http.test/bytes/2000")).arrayBuffer();
          await caught(() => api.mixFetch("http://http.test/delay/9", {signal: AbortSignal.timeout(5)}));
          const socket = new api.MixWebSocket("ws://ws.test/");
          await socket.opened();
          socket.close();
        }
        return idle(await api.getMixTunnel());"""
    )
    assert left == 0


@pytest.mark.chromium
async def test_nothing_leaves_the_page_but_directory_and_gateway(session: Session) -> None:
    """With the standard traffic, witnessed by Playwright and by Chromium's own network log."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "netlog.json"
        async with async_playwright() as playwright:
            arguments = launch_arguments([f"--log-net-log={log}"])
            browser = await playwright.chromium.launch(executable_path=ensure_chromium(), args=arguments)
            page = await Session(session.net, session.site, browser, session.options).open()
            await page.set_up(disablePoissonTraffic=False, disableCoverTraffic=False)
            got = await page.run(
                """const tunnel = await api.getMixTunnel();
                const bytes = (await (await api.mixFetch("https://origin.test/bytes/20000")).arrayBuffer()).byteLength;
                const socket = new api.MixWebSocket("wss://ws.test/");
                await socket.opened();
                const refused = await caught(() => api.mixFetch("http://closed.test/"));
                const statistics = await tunnel.statistics();
                await api.disconnectMixTunnel();
                return [bytes, refused.code, statistics.main_cover_sent > 0, statistics.loop_cover_sent > 0];"""
            )
            await browser.close()
        netlog = NetLog(log)
        logged = netlog.page_urls()
        mentioned = [name for name in ("origin.test", "ws.test", "closed.test") if netlog.mentions(name)]
    assert got == [20000, "connect_refused", True, True]
    assert page.recorder.others(logged) == []
    assert mentioned == []
    assert {page.recorder.allowed.kind(url) for url in logged} == {"site", "directory", "gateway"}
    assert page.recorder.counts()["gateway"] == 1


async def test_the_gateway_is_down(session: Session, down: asyncio.Task[tuple[PageFailure | None, float]]) -> None:
    """A set-up with a gateway that stays away, begun with the first test here, ends within its deadline."""
    failure, seconds = await down
    assert failure is not None and failure.name == "TypeError" and failure.phase == "gateway"
    assert seconds < 75


async def test_the_worker_says_nothing_on_the_console(shared: ApiPage) -> None:
    """No unhandled rejection, no traceback, after all that the other tests did with it."""
    await asyncio.sleep(0.2)
    assert [line for line in shared.console if line.startswith(("error", "warning", "uncaught"))] == []
