"""`mixFetch` and the browser's own `fetch` in one page: the same arguments, outcomes and order of microtasks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page

from browserkit.server import TYPES
from buildtools.common import DIST
from demo.recorder import Recorder
from tests.beside.case import FetchCase, Read
from tests.browser.page_session import ApiPage, Session
from tests.browser.scripted_worker import HEAD, SCRIPTED
from tests.browser.test_beside_chromium import native, served

__all__ = ["native"]  # a fixture
pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

CASES = Path(__file__).with_name("fetch_cases.js").read_bytes()
KINDS = ("arguments", "init", "headers", "body", "abort", "response")

# The worker answers as the server does, by path; then the cases of one kind are run, one after the other.
RUN = (
    HEAD
    + """const { CASES, DIFFERENT } = await import("/fetch_cases.js");
  const [url, slow, endless, empty] = ["text", "slow", "endless", "empty"].map((name) => `${location.origin}/${name}`);
  const headers = [["content-type", "text/plain"], ["content-length", "4"]];
  const bodies = new Map();
  wire.onmessage = ({ data: { type, id, request, data } }) => {
    if (type === "write") say({ type: "written", id, bytes: data.length });
    if (type === "pull") {
      const body = bodies.get(id);
      if (body) say({ type: "chunk", id, data: new TextEncoder().encode(body) });
      if (body === "text") ended(id);
      bodies.delete(id);
    }
    if (type !== "fetch") return;
    const name = new URL(request.url).pathname.slice(1);
    if (name === "slow") return;
    const respond = (headers) => say({ type: "response", id, head: { ...head(), url: request.url, headers } });
    if (name === "empty") {
      respond([["content-length", "0"]]);
      setTimeout(ended, 30, id);
    } else if (request.method === "HEAD") {
      respond(headers);
      ended(id);
    } else {
      bodies.set(id, name === "endless" ? "A" : "text");
      respond(name === "endless" ? headers.slice(0, 1) : headers);
    }
  };
  const outcomes = {};
  for (const [name, script] of Object.entries(CASES[args.kind])) {
    const outcome = async (f) => JSON.parse(JSON.stringify(await script({ f, url, slow, endless, empty }) ?? null));
    outcomes[name] = [await outcome(fetch), await outcome(api.mixFetch)];
  }
  return [outcomes, DIFFERENT[args.kind] ?? {}, Object.keys(CASES)];"""
)

TEXT = ("text/plain", b"text")
BLANK = ("text/html", b'<!doctype html><link rel="icon" href="data:,"><title>page</title>')
HEADER = "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\r\n"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The page's own origin: what the browser's `fetch` finds there."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        while True:
            method, path, _ = (await reader.readuntil(b"\r\n")).decode("latin-1").split(" ", 2)
            length = 0
            while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                name, _, value = line.decode("latin-1").partition(":")
                length = int(value) if name.lower() == "content-length" else length
            await reader.readexactly(length)
            if path == "/endless":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nA")
            if path in ("/slow", "/endless"):
                await reader.read()  # until the browser goes
                break
            kind, body = BLANK if path == "/index.html" else TEXT
            if path == "/fetch_cases.js":
                kind, body = "text/javascript", CASES
            elif path.startswith("/smolmix/"):
                file = DIST / path.removeprefix("/smolmix/")
                kind, body = TYPES.get(file.suffix, kind), file.read_bytes()
            elif path == "/empty":
                body = b""
            writer.write(HEADER.format(kind, len(body)).encode() + (b"" if method == "HEAD" else body))
    writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def beside(session: Session) -> AsyncIterator[ApiPage]:
    """A page whose origin answers the browser's `fetch`, and whose scripted worker answers ours alike."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    context = await session.browser.new_context()
    page = await context.new_page()
    await page.route("**/smolmix/worker.js", lambda r: r.fulfill(body=SCRIPTED, content_type="text/javascript"))
    await page.goto(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/index.html")
    yield ApiPage(page, session.options, Recorder(session.allowed))
    await context.close()
    server.close()


@pytest.mark.feature("Fetch", "arguments, aborts and responses: as the browser's own `fetch`, case by case in one page")
@pytest.mark.parametrize("kind", KINDS)
async def test_beside_the_browsers(beside: ApiPage, kind: str) -> None:
    outcomes, different, kinds = await beside.run(RUN, kind=kind)
    assert tuple(kinds) == KINDS and outcomes
    wrong = {
        name: {"fetch": theirs, "mixFetch": ours, "allowed": different.get(name)}
        for name, (theirs, ours) in outcomes.items()
        if ours != different.get(name, theirs)
    }
    assert wrong == {}
    same = [name for name, wanted in different.items() if outcomes[name][0] == wanted]
    assert same == [], "these are no differences any more"


SEND = """async ([ours, url, source, name]) => {
  const { SENT } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  if (name === null) return Object.keys(SENT);
  const send = ours ? (await import("/smolmix/index.js")).mixFetch : fetch;
  return send(url, SENT[name]()).then((response) => response.text(), String);
}"""
# What every client sends in its own way, and what the browser adds.
OWN = (
    *(b"host", b"connection", b"accept-encoding", b"origin", b"referer"),
    *(b"sec-fetch-", b"sec-ch-", b"cache-control", b"pragma"),
)
DEFAULTS = (b"user-agent: mozilla/", b"accept: */*", b"accept: text/html", b"accept-language: en-us")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def _given(head: bytes) -> list[bytes]:
    """The method, and the headers that a case is about: the browser has an order of its own."""
    line, *fields = head.split(b"\r\n")
    about = [field for field in fields if field and not field.lower().startswith((*OWN, *DEFAULTS))]
    return [line.split(b" ")[0], *sorted(about)]


@pytest.mark.feature("Fetch", "what is sent: names as written, values of any octet, types, forbidden names left out")
async def test_what_is_sent(session: Session, native: Page, shared: ApiPage) -> None:
    """To the same server, byte by byte, as Chromium does."""
    source = CASES.decode()
    names = await native.evaluate(SEND, [False, "", source, None])
    wrong = {}
    for number, name in enumerate(names):
        heads: list[list[bytes] | str] = []
        for ours, page in ((False, native), (True, shared.page)):
            case = FetchCase(name, "sent", [[ANSWER]], Read())
            async with served(case, session, 60_000 + number, native=not ours) as (server, base):
                said = await page.evaluate(SEND, [ours, base + "/", source, name])
                heads.append(_given(server.requests[-1]) if server.requests else said)
        if heads[0] != heads[1]:
            wrong[name] = {"fetch": heads[0], "mixFetch": heads[1]}
    assert names and wrong == {}
