"""`MixXMLHttpRequest` and `MixEventSource` beside the browser's own, and in their place: `globals.js`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page

from localnet.http_server import HttpServer, Request, Response
from tests.browser.page_session import ApiPage, Session
from tests.browser.test_beside_chromium import native

__all__ = ["native"]  # a fixture
pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

CASES = Path(__file__).with_name("interface_cases.js").read_text()
KINDS = ("xhr", "eventsource")
ADDRESS = "203.0.116.1"  # of the server behind the exit
REFUSING = "203.0.116.2"

SHOWN = ("content-type", "x-one", "x-two")

RUN = """async ([kind, base, refusing, ours]) => {
  const script = new Blob([globalThis.cases], { type: "text/javascript" });
  const { CASES, DIFFERENT } = await import(URL.createObjectURL(script));
  const made = ours ? await import("/smolmix/globals.js") : null;
  const C = { xhr: [globalThis.XMLHttpRequest, made?.MixXMLHttpRequest],
    eventsource: [globalThis.EventSource, made?.MixEventSource] }[kind][ours ? 1 : 0];
  const url = (path, refused = false) => `${refused ? refusing : base}/${path}`;
  const outcomes = {};
  const late = () => new Promise((resolve) => setTimeout(() => resolve("hangs"), 40_000));
  for (const [name, script] of Object.entries(CASES[kind])) {
    const outcome = Promise.race([late(), Promise.resolve().then(() => script({ C, url }))]);
    const result = await outcome.catch((error) => `${error.name}: ${error.message}`);
    outcomes[name] = JSON.parse(JSON.stringify(result ?? null));
  }
  return [outcomes, DIFFERENT[kind]];
}"""

SAYS: dict[str, tuple[str | None, bytes]] = {
    "text": ("text/plain", b"some text"),
    "latin": (None, b"\xe9\x41"),
    "json": ("application/json", b'{"a": [1]}'),
    "bomjson": ("application/json", b'\xef\xbb\xbf{"a": 1}'),
    "html": ("text/html; charset=utf-8", b"<!doctype html><title>a page</title><p>x"),
    "metahtml": ("text/html", b'<!doctype html><meta charset="iso-8859-1"><title>\xe9</title>'),
    "xml": ("application/xml", b"<root>words</root>"),
    "badxml": ("application/xml", b"<root>words"),
    "latinxml": ("text/xml", b'<?xml version="1.0" encoding="iso-8859-1"?><root>\xe9</root>'),
    "xmlastext": ("text/plain", b"<root/>"),
    "charset": ("text/plain; charset=windows-1252", b"\x80"),
    "utf16": ("text/plain; charset=windows-1252", b"\xff\xfea\x00\xe9\x00"),
    "nocharset": ("text/plain; charset=nothing", b"\xc3\xa9"),
}
EVENTS: dict[str, bytes] = {
    "one": b"data: 1\n\n",
    "fields": (
        b"data: a\n\ndata:b\n\ndata:  c\n\ndata\n\ndata: d\ndata: e\n\n: a comment\ndata: f\nnonsense\nother: x\n\n"
        b"event\ndata: g\n\nid: 7\0\ndata: h\n\ndata: unfinished"
    ),
    "ends": b"data: a\r\n\r\ndata: b\r\rdata: c\n\ndata: d\r\ndata: e\r\n\r\ndata: f\n\r\ndata: g\n\n",
    "bom": b"\xef\xbb\xbfdata: a\n\n",
    "idonly": b"retry: 40\nid: 1\n\ndata: a\n\nid\ndata: b\n\n",
    "named": b"event: tick\ndata: a\n\nevent: tock\nid: x\ndata: b\n\n",
    "typed": b"data: a\n\n",
}


async def _answer(request: Request) -> Response:
    path = request.path.lstrip("/")
    shared = [
        ("access-control-allow-origin", "*"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ]
    if path in SAYS:
        kind, body = SAYS[path]
        return Response(200, [*shared, *([("content-type", kind)] if kind else [])], body)
    kind, _, name = path.partition("/")
    if kind == "events":
        return _events(name, request, shared)
    match path:
        case "echo":
            said = {
                "method": request.method,
                "headers": [[key.lower(), value] for key, value in request.headers if key.lower() in SHOWN],
                "body": request.body.decode("latin-1"),
            }
            return Response(200, [*shared, ("content-type", "application/json")], json.dumps(said).encode())
        case "length":
            return Response(200, [*shared, ("content-type", "text/plain")], str(len(request.body)).encode())
        case "headers":
            return Response(200, [*shared, ("B-two", "2"), ("a-one", "1"), ("b-Two", "3"), ("b", "")], b"x")
        case "nothing":
            return Response(204, shared)
        case "moved":
            return Response(302, [*shared, ("location", "/text")])
        case "silent":
            await asyncio.sleep(30)
        case "endless":
            return Response(200, [*shared, ("content-type", "text/plain")], _pieces([b"a"], 0.0, ends=False))
        case "drip":
            return Response(
                200, [*shared, ("content-type", "text/plain")], _pieces([b"caf\xc3", b"\xa9 ", b"au lait"], 0.2)
            )
        case "broken":
            return Response(
                200, [*shared, ("content-type", "text/plain"), ("content-length", "10")], b"half", close=True
            )
    return Response(404, [*shared, ("content-type", "text/plain")], b"nothing here")


def _events(name: str, request: Request, shared: list[tuple[str, str]]) -> Response:
    kind = "text/event-stream" if name != "typed" else "Text/Event-Stream; charset=utf-8; x=y"
    headers = [*shared, ("content-type", kind)]
    if name == "again":
        seen = request.header("last-event-id")
        return Response(200, headers, f"retry: 30\nid: n{seen or ''}\ndata: {seen}\n\n".encode())
    if name == "pieces":
        return Response(200, headers, _pieces([b"da", b"ta: caf\xc3", b"\xa9\r", b"\n\r\n"], 0.05, ends=False))
    if name == "moved":
        return Response(307, [*shared, ("location", "/events/one")])
    if name not in EVENTS:
        return Response(404, headers)
    return Response(200, headers, _pieces([EVENTS[name]], 0.0, ends=False))


async def _pieces(pieces: list[bytes], pause: float, *, ends: bool = True) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
        await asyncio.sleep(pause)
    if not ends:
        await asyncio.sleep(30)


@asynccontextmanager
async def _server() -> AsyncIterator[HttpServer]:
    server = HttpServer(_answer)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(session: Session) -> AsyncIterator[HttpServer]:
    async with _server() as running:
        session.net.world.dial_map.add("tcp", ADDRESS, 80, ("127.0.0.1", running.port))
        session.net.world.dial_map.add("tcp", REFUSING, 80, ("127.0.0.1", 1))
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def replaced(session: Session) -> AsyncIterator[ApiPage]:
    """A page with a tunnel of its own: some of what it asks for goes another way."""
    page = await session.open()
    await page.set_up()
    yield page
    await page.page.context.close()


async def _outcomes(
    page: Page, kind: str, base: str, refusing: str, *, ours: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    await page.evaluate("(text) => { globalThis.cases = text; }", CASES)
    outcomes, different = await page.evaluate(RUN, [kind, base, refusing, ours])
    return outcomes, different


@pytest.mark.feature(
    "Whole pages", "XMLHttpRequest and EventSource as the browser's own: events, states, response types"
)
@pytest.mark.parametrize("kind", KINDS)
async def test_beside_the_browsers_own(
    session: Session, shared: ApiPage, native: Page, server: HttpServer, kind: str
) -> None:
    """Every event, its numbers, and what can be read afterwards."""
    own, reasons = await _outcomes(native, kind, f"http://127.0.0.1:{server.port}", "http://127.0.0.1:1", ours=False)
    through, _ = await _outcomes(shared.page, kind, f"http://{ADDRESS}", f"http://{REFUSING}", ours=True)
    unlike = [name for name in own if own[name] != through[name]]
    wrong = [f"{name}:\n  own  {own[name]}\n  ours {through[name]}" for name in {*unlike} ^ {*reasons}]
    assert not wrong, "\n".join(wrong)
    assert "hangs" not in [*own.values(), *through.values()] and len(own) > 10


async def test_no_request_is_synchronous(shared: ApiPage) -> None:
    error = await shared.run(
        """const { MixXMLHttpRequest } = await import("/smolmix/globals.js");
        return caught(() => new MixXMLHttpRequest().open("GET", "http://origin.test/text", false));"""
    )
    assert error["name"] == "InvalidAccessError" and "synchronous" in error["message"]


async def test_a_failure_has_its_reason(shared: ApiPage) -> None:
    said = await shared.run(
        """const { MixXMLHttpRequest } = await import("/smolmix/globals.js");
        const xhr = new MixXMLHttpRequest();
        xhr.open("GET", "https://nowhere.test/");
        const end = new Promise((resolve) => { xhr.onloadend = resolve; });
        xhr.send();
        await end;
        return [xhr.status, xhr.failure.code, xhr.failure.phase];"""
    )
    assert said == [0, "dns_not_found", "dns"]


GLOBALS = """const { install, uninstall } = await import("/smolmix/globals.js");
  const names = ["fetch", "XMLHttpRequest", "WebSocket", "EventSource"];
  const own = names.map((name) => globalThis[name]);
  const same = () => names.every((name, at) => globalThis[name] === own[at]);
  const TEXT = "https://origin.test/text", UPLOAD = "https://origin.test/upload";
  const text = async (url) => (await fetch(url)).text();
  const page = async (text) => (await text("/index.html")).includes("<title>page");
  const xhr = (url) => new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.onloadend = () => resolve(request.responseText);
    request.open("GET", url);
    request.send();
  });
"""


@pytest.mark.feature(
    "Whole pages", "the tunnel in the place of fetch, XMLHttpRequest, WebSocket, EventSource, sendBeacon"
)
async def test_globals_go_through_the_tunnel(replaced: ApiPage) -> None:
    """And come back: nothing of ours stays."""
    got = await replaced.run(
        GLOBALS
        + """const placed = install();
        const results = { placed };
        results.fetch = await text(TEXT);
        results.request = await text(new Request(TEXT));
        results.xhr = await xhr(TEXT);
        const socket = new WebSocket("wss://ws.test/");
        results.socket = [socket.binaryType, socket instanceof WebSocket, WebSocket.OPEN, WebSocket.name];
        socket.onopen = () => socket.send("hello");
        results.echo = await new Promise((resolve) => { socket.onmessage = ({ data }) => resolve(data); });
        socket.close();
        results.beacon = ["x", "x".repeat(70000)].map((data) => navigator.sendBeacon(UPLOAD, data));
        results.local = await text("data:,inside");
        uninstall();
        results.same = same();
        results.own = Object.hasOwn(navigator, "sendBeacon");
        results.clear = await caught(() => fetch(TEXT));
        return results;"""
    )
    assert got["placed"] == ["fetch", "XMLHttpRequest", "WebSocket", "EventSource", "sendBeacon"]
    assert got["fetch"] == got["request"] == got["xhr"] == "Hello from the origin.\n"
    assert got["socket"] == ["blob", True, 1, "WebSocket"]
    assert got["echo"] == "hello" and got["beacon"] == [True, False] and got["local"] == "inside"
    assert got["same"] and not got["own"]
    assert got["clear"]["name"] == "TypeError"  # the name is known to nobody but the exit


async def test_globals_of_some_urls(replaced: ApiPage) -> None:
    got = await replaced.run(
        GLOBALS
        + """const results = {};
        install({ match: "https://origin.test" });
        results.prefix = [await text(TEXT), await page(text), await page(xhr)];
        results.lookalike = await caught(() => fetch("https://origin.test.example/"));
        install({ match: /^https:..origin[.]test/g, XMLHttpRequest: false });
        results.pattern = [await text(TEXT), await text(TEXT), XMLHttpRequest === own[1]];
        install({ match: [(url) => url.pathname === "/text", "wss://ws.test"] });
        results.list = [await text(TEXT), await page(text)];
        results.native = new WebSocket("ws://127.0.0.1:1/") instanceof own[2];
        const bad = [{ match: 7 }, { match: "origin.test" }, { fetched: true }];
        results.bad = await Promise.all(bad.map((options) => caught(async () => install(options))));
        results.kept = await text(TEXT);
        uninstall();
        return results;"""
    )
    hello = "Hello from the origin.\n"
    assert (
        got["prefix"] == [hello, True, True] and got["pattern"] == [hello, hello, True] and got["list"] == [hello, True]
    )
    assert got["lookalike"]["name"] == "TypeError" and got["lookalike"]["code"] is None  # not ours
    assert got["native"]
    assert [error["name"] for error in got["bad"]] == ["TypeError"] * 3
    assert got["kept"] == hello  # what was refused changed nothing


async def test_another_wrapper_stays(replaced: ApiPage) -> None:
    got = await replaced.run(
        GLOBALS
        + """install();
        const ours = globalThis.fetch;
        globalThis.fetch = function wrapped(...given) { return ours(...given); };
        uninstall();
        const stays = globalThis.fetch.name === "wrapped";
        const whole = await page(text);
        globalThis.fetch = own[0];
        return [stays, whole, same()];"""
    )
    assert got == [True, True, True]


async def test_without_a_tunnel_nothing_leaves(fresh: ApiPage) -> None:
    got = await fresh.run(
        GLOBALS
        + """install();
        const error = await caught(() => fetch("/index.html"));
        const empty = await xhr("/index.html");
        uninstall();
        return [error.code, empty];"""
    )
    assert got == ["tunnel_down", ""]
    assert fresh.recorder.others() == []
