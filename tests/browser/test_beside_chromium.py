"""The tables of cases with `mixFetch` and `MixWebSocket` in the page, and with Chromium's own at the same server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Address
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright

from browserkit.chromium import launch_arguments
from buildtools.chromium import ensure_chromium
from tests.beside.case import Closed, Fails, FetchCase, Read
from tests.beside.raw_server import RawServer, listening
from tests.beside.tables import Case, all_cases, expected, mismatch
from tests.browser.page_session import ApiPage, Session

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

AT_ONCE = 8  # cases under way at the same time
FIRST_ADDRESS = IPv4Address("203.0.115.1")  # behind the exit each case has an address of its own
PATIENCE = 20_000  # ms for one case

# Runs one case; bytes cross as Latin-1 text, a lone promise that never settles as `hangs`.
RUN = """async ([run, given]) => {
  const text = (bytes) => Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join("");
  const bytes = (text) => Uint8Array.from(text, (char) => char.charCodeAt(0));
  const runs = {
    fetch: async ({ url, init }, ours) => {
      let response;
      try {
        response = await (ours ? ours.mixFetch : fetch)(url, init);
      } catch (error) {
        return { fails: error instanceof TypeError ? "TypeError" : error.name, code: error.code ?? null };
      }
      let body = "", broken = false;
      try {
        const reader = response.body?.getReader();
        for (let read; reader && !(read = await reader.read()).done; ) body += text(read.value);
      } catch {
        broken = true;
      }
      const { status, statusText: reason, url: final } = response;
      const { pathname, search } = new URL(final);
      return { status, reason, headers: [...response.headers], target: pathname + search, body, broken };
    },
    websocket: ({ url, protocols, sends, closes }, ours) => new Promise((resolve) => {
      const socket = new (ours ? ours.MixWebSocket : WebSocket)(url, protocols);
      socket.binaryType = "arraybuffer";
      const messages = [];
      let opened = false, failed = false;
      const closeWhenDue = () => { if (messages.length === closes) socket.close(); };
      socket.onopen = () => {
        opened = true;
        for (const { binary, data } of sends) socket.send(binary ? bytes(data) : data);
        closeWhenDue();
      };
      socket.onmessage = ({ data }) => {
        messages.push(typeof data === "string" ? { text: data } : { bytes: text(data) });
        closeWhenDue();
      };
      socket.onerror = () => { failed = true; };
      socket.onclose = ({ code, reason, wasClean: clean }) =>
        resolve({ messages, code, reason, clean, opened, failed });
    }),
  };
  const late = new Promise((resolve) => setTimeout(() => resolve({ hangs: true }), given.patience));
  const ours = given.native ? null : await import("/smolmix/index.js");
  return Promise.race([late, runs[run](given, ours)]);
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def native(session: Session) -> AsyncIterator[Page]:
    """A page of a Chromium that shows responses of every origin whole."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=ensure_chromium(), args=launch_arguments(["--disable-web-security"])
        )
        page = await browser.new_page()
        await page.goto(f"{session.site.url}/index.html")
        yield page
        await browser.close()


def _parameters(case: Case, base: str) -> list[Any]:
    if isinstance(case, FetchCase):
        return ["fetch", {"url": base + case.target, "init": dict(case.init)}]
    sends = [
        {"binary": isinstance(data, bytes), "data": data.decode("latin-1") if isinstance(data, bytes) else data}
        for data in case.sends
    ]
    url = base.replace("http", "ws", 1) + "/"
    return ["websocket", {"url": url, "protocols": list(case.protocols), "sends": sends, "closes": case.closes}]


def _outcome(case: Case, got: dict[str, Any]) -> Read | Fails | Closed | None:
    """None: it hangs."""
    if "hangs" in got:
        return None
    if isinstance(case, FetchCase):
        if "fails" in got:
            return Fails(str(got["code"])) if got["fails"] == "TypeError" else Fails(f"a {got['fails']}")
        headers = [(name, value) for name, value in got["headers"]]
        body = got["body"].encode("latin-1")
        return Read(body, got["status"], got["reason"], headers, got["target"], got["broken"])
    messages = [item["text"] if "text" in item else item["bytes"].encode("latin-1") for item in got["messages"]]
    reason = got["reason"] if got["clean"] else ""  # of a broken one ours says why, Chromium's nothing
    return Closed(messages, got["code"], reason, got["clean"], got["opened"], got["failed"])


@asynccontextmanager
async def served(case: Case, session: Session, number: int, *, native: bool) -> AsyncIterator[tuple[RawServer, str]]:
    """The case's server and the origin under which the client finds it."""
    address = str(FIRST_ADDRESS + number)
    async with AsyncExitStack() as stack:
        origin = None if native else f"http://{address}"
        server, port = await stack.enter_async_context(listening(case, origin))
        if not native:
            session.net.world.dial_map.add("tcp", address, 80, ("127.0.0.1", port))
        yield server, server.origin


async def _problems(case: Case, session: Session, page: Page, number: int, *, native: bool) -> list[str]:
    async with served(case, session, number, native=native) as (server, base):
        run, given = _parameters(case, base)
        outcome = _outcome(case, await page.evaluate(RUN, [run, {**given, "native": native, "patience": PATIENCE}]))
        if outcome is None:
            return ["it hangs"]
        problems = mismatch(expected(case, native=native), outcome, codes=not native, partial=False)
        if isinstance(case, FetchCase):
            if case.requests not in (None, len(server.requests)) and not (native and case.ours is not None):
                problems.append(f"requests: wanted {case.requests}, got {len(server.requests)}")
        elif case.heard is not None and not native:
            heard = await _heard(server, len(case.heard))
            if heard != list(case.heard):
                problems.append(f"heard: wanted {list(case.heard)}, got {heard}")
        return problems


async def _heard(server: RawServer, count: int) -> list[tuple[int, bytes]]:
    """The page is told of the end before its last frame has crossed the network."""
    for _ in range(60):
        if len(server.heard) >= count:
            break
        await asyncio.sleep(0.05)
    return server.heard


async def _run(cases: Sequence[Case], session: Session, page: Page, *, native: bool) -> list[str]:
    """What differs, case by case."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> list[str]:
        async with places:
            problems = await _problems(case, session, page, CASES.index(case), native=native)
        return [f"{case.name}: {problem}" for problem in problems]

    return [line for lines in await asyncio.gather(*map(one, cases)) for line in lines]


CASES = all_cases()
KINDS = sorted({case.kind for case in CASES})


@pytest.mark.parametrize("kind", KINDS)
async def test_chromium(session: Session, native: Page, kind: str) -> None:
    """The tables say what Chromium does."""
    cases = [case for case in CASES if case.kind == kind]
    assert await _run(cases, session, native, native=True) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_page(session: Session, shared: ApiPage, kind: str) -> None:
    """`mixFetch` and `MixWebSocket` do the same, or what the table says with a reason."""
    cases = [case for case in CASES if case.kind == kind]
    assert await _run(cases, session, shared.page, native=False) == []
