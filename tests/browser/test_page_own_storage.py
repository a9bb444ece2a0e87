"""Options `storage` and `logger` in a page: kept by the page's functions alone; told, and nobody identified."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest

from tests.browser.page_session import ApiPage, Session
from tests.browser.test_page_storage import DUMP

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(150)]

# Functions over localStorage, which outlives the page; asked and answered later, as an extension's storage is.
PLACE = """const later = (work) => new Promise((done) => setTimeout(() => done(work()), 10));
const storage = { get: (key) => later(() => localStorage.getItem(key)),
  set: (key, text) => later(() => localStorage.setItem(key, text)),
  delete: (key) => later(() => localStorage.removeItem(key)) };
"""
SET_UP = (
    PLACE
    + """await api.setupMixTunnel({ ...args.options, clientId: "me", storage, ...args.more });
const tunnel = await api.getMixTunnel();
const warnings = tunnel.state.warnings.map(({ code }) => code);
return { address: tunnel.address, warnings, kept: { ...localStorage } };"""
)


async def caches(page: ApiPage) -> list[str]:
    names: list[str] = await page.run("return caches.keys()")
    return names


@pytest.mark.feature("Worker", "storage: the identity in a place of the page's own, and nothing in the browser's")
async def test_it_outlives_page_loads(fresh: ApiPage) -> None:
    first = await fresh.run(SET_UP, options=fresh.options, more={})
    kept = first["kept"]
    assert sorted(kept) == ["smolmix-web/me/identity", "smolmix-web/me/key"]
    record = b64decode(kept["smolmix-web/me/identity"])
    assert record.startswith(b"SMOLMIX\x1a") and first["address"].split(".")[0].encode() not in record
    await fresh.run("await sleep(5000); await api.disconnectMixTunnel();")
    await fresh.page.reload()
    again = await fresh.run(SET_UP, options=fresh.options, more={})
    assert (again["address"], again["warnings"]) == (first["address"], [])
    await fresh.run("await api.disconnectMixTunnel()")
    assert (await fresh.run(DUMP), await caches(fresh)) == ({}, [])
    other = await fresh.run(SET_UP, options=fresh.options, more={"clientId": "you"})
    assert other["address"] != first["address"]


@pytest.mark.parametrize(
    "how", ["get: () => new Promise(() => {})", "get() { throw 0; }", "get: () => ({})", "set: () => Promise.reject()"]
)
@pytest.mark.feature("Worker", "storage: functions that throw, hang or give rubbish cost a warning, never the tunnel")
async def test_a_place_that_does_not_work(fresh: ApiPage, how: str) -> None:
    got = await fresh.run(
        PLACE
        + f"""await api.setupMixTunnel({{ ...args.options, clientId: "me", storage: {{ ...storage, {how} }} }});
        const response = await api.mixFetch("http://http.test/text"), tunnel = await api.getMixTunnel();
        for (let turn = 0; turn < 100 && !tunnel.state.warnings.length; turn += 1) await sleep(100);
        return [response.status, tunnel.state.warnings.map(({{ code }}) => code)];""",
        options=fresh.options,
    )
    assert got == [200, ["store_unavailable"]]
    assert await fresh.run(DUMP) == {}


@pytest.mark.feature("Worker", "storage: of tabs that share a tunnel, in the place of the tab that has it")
async def test_tabs_that_share(fresh: ApiPage, session: Session) -> None:
    more = {"shared": True}
    first = await fresh.run(SET_UP, options=fresh.options, more=more)
    other = ApiPage(await fresh.page.context.new_page(), fresh.options, fresh.recorder)
    await other.page.goto(f"{session.site.url}/index.html")
    second = await other.run(SET_UP, options=fresh.options, more=more)
    assert second["address"] == first["address"]
    await fresh.page.close()
    # The other tab makes a new tunnel, of the same identity, by its own functions.
    got = await other.run(
        """const tunnel = await api.getMixTunnel();
        const { status } = await api.mixFetch("http://http.test/text");
        return [status, tunnel.address, tunnel.state.state];"""
    )
    assert got == [200, first["address"], "ready"]
    assert await other.run(DUMP) == {}
    await other.run("await api.disconnectMixTunnel()")


@pytest.mark.feature("Worker", "logger: states, warnings and errors with codes; nothing that identifies below debug")
async def test_nothing_identifies_below_debug(fresh: ApiPage, session: Session) -> None:
    got: list[dict[str, Any]] = await fresh.run(
        """const tell = async (logLevel) => {
          const entries = [], logger = (entry) => entries.push(entry);
          const secret = { clientId: "perry", isolation: "platypus" };
          const tunnel = new api.MixTunnel({ ...args.options, ...secret, logger, logLevel });
          await tunnel.setup();
          const { address, state } = tunnel, response = await tunnel.fetch("http://http.test/text?who=ferb");
          const { status } = response;
          await response.text();
          const codes = [];
          for (const work of [() => tunnel.fetch("http://closed.test/"), () => tunnel.resolve("nowhere.test"),
            () => tunnel.webSocket("ws://closed.test/").opened()]) codes.push((await caught(work)).code);
          await tunnel.disconnect();
          const nodes = [address, state.exit, state.gateway].flatMap((text) => text.split(/[.@]/));
          return { entries, status, codes, secrets: [...nodes, ...state.addresses] };
        };
        return [await tell("info"), await tell("debug")];""",
        options=fresh.options,
    )
    info, debug = got
    hosts = [session.net.directory_url.split("/")[2], *(gateway.url for gateway in session.net.gateways)]
    secrets = [
        *info["secrets"],
        *hosts,
        "127.0.0.1",
        "perry",
        "platypus",
        "ferb",
        "http.test",
        "closed",
        "nowhere",
        "://",
    ]
    text = json.dumps(info["entries"])
    assert [secret for secret in secrets if secret in text] == []
    assert "nowhere.test" in json.dumps(debug["entries"]), "the search finds what is there"
    failed = [[entry["operation"], entry["code"]] for entry in info["entries"] if entry["operation"]]
    assert failed == [list(pair) for pair in zip(["fetch", "resolve", "websocket"], info["codes"], strict=True)]
    assert [entry["step"] for entry in info["entries"] if entry["state"] == "connecting"][:2] == ["boot", "storage"]


@pytest.mark.feature("Worker", "await using and using close tunnel, sockets and WebSockets")
async def test_using(fresh: ApiPage) -> None:
    got = await fresh.run(
        """let kept;
        {
          await using tunnel = new api.MixTunnel(args.options);
          await tunnel.setup();
          kept = { tunnel };
          {
            await using socket = tunnel.webSocket("ws://ws.test/");
            await socket.opened();
            await using tcp = tunnel.tcpSocket("echo.test", 50007);
            await tcp.opened;
            kept = { ...kept, socket, tcp };
          }
          kept.state = [kept.socket.readyState, await kept.tcp.closed.then(() => "closed", ({ code }) => code)];
          {
            using socket = tunnel.webSocket("ws://ws.test/");
            await socket.opened();
            kept.later = socket;
          }
          kept.state.push(kept.later.readyState);
          await kept.later.close();
        }
        return [...kept.state, kept.later.readyState, kept.tunnel.state.state];""",
        options=fresh.options,
    )
    assert got == [3, "closed", 2, 3, "shutdown"]
