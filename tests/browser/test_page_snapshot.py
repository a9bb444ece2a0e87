"""The memory of Python that a first visit keeps for later ones: used, worthless when damaged, and empty of its user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from browserkit.server import StaticServer
from buildtools.common import DIST
from tests.browser.page_session import ApiPage, Session, write_blank_page

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

# A visit: the tunnel up, a page fetched, whether Python came from a snapshot; then what is kept.
VISIT = """await api.setupMixTunnel(args.options);
  const text = await (await api.mixFetch(args.url ?? "http://http.test/text")).text();
  const tunnel = await api.getMixTunnel();
  return [text, (await tunnel.statistics()).from_snapshot];"""
KEPT = """const entries = async () => {
    const cache = await caches.open("smolmix-web");
    return Promise.all((await cache.keys()).map(async ({ url }) => {
      const response = await cache.match(url);
      const bytes = new Uint8Array(await response.arrayBuffer());
      return { url, headers: Object.fromEntries(response.headers), bytes };
    }));
  };
  const spoil = async (url, bytes, headers) =>
    (await caches.open("smolmix-web")).put(url, new Response(bytes, { headers: { ...headers, "x-spoilt": "yes" } }));
  const until = async (wanted) => {
    for (const end = performance.now() + 40000; ; await sleep(200)) {
      const found = await entries();
      const replaced = found.every(({ headers }) => !("x-spoilt" in headers));
      if ((found.length === wanted && replaced) || performance.now() > end) return found;
    }
  };
"""
HELLO = "Hello from the origin.\n"


async def visit(page: ApiPage, session: Session, *, url: str | None = None, **options: Any) -> bool:
    """Whether Python came from a snapshot."""
    await page.page.goto(f"{session.site.url}/index.html")
    text, restored = await page.run(VISIT, options={**session.options, **options}, url=url)
    assert text == HELLO
    return bool(restored)


async def kept(page: ApiPage, wanted: int = 1) -> list[tuple[str, int]]:
    """(name, size) of what is kept, once it is as many and nothing of it was spoilt here."""
    found = await page.run(KEPT + "return (await until(args.n)).map(({url, bytes}) => [url, bytes.length]);", n=wanted)
    return [(url.rpartition("/")[2], size) for url, size in found]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def visited(session: Session) -> AsyncIterator[ApiPage]:
    """A page that was visited before."""
    page = await session.open()
    assert not await visit(page, session)
    assert len(await kept(page)) == 1
    yield page
    await page.page.context.close()


@pytest.mark.feature("Worker", "a later visit starts from the memory that the first one kept")
async def test_a_second_visit_starts_from_it(visited: ApiPage, session: Session) -> None:
    before = await kept(visited)
    assert await visit(visited, session, url="https://origin.test/text")
    assert await kept(visited) == before
    assert before[0][1] < 30_000_000  # half of the memory, and the library


async def test_switched_off(visited: ApiPage, session: Session) -> None:
    assert not await visit(visited, session, snapshot="off")


async def test_nothing_of_the_user_is_in_it(session: Session) -> None:
    page = await session.open()
    secrets = {"clientId": "a client of mine", "storagePassphrase": "correct horse battery staple"}
    assert not await visit(page, session, url="https://origin.test/text", **secrets)
    addresses = await page.run(
        "const { addresses, gateway, exit } = await api.getTunnelState(); return [gateway, exit, ...addresses];"
    )
    await kept(page)
    words = [*secrets.values(), *addresses, "origin.test", session.net.directory_url, session.net.gateways[0].url]
    words += session.net.ca_pem.splitlines()[1:4]
    found = await page.run(
        KEPT
        + """const [{ bytes }] = await entries();
        const text = new TextDecoder("latin1").decode(bytes);
        const wide = new TextDecoder("utf-16le").decode(bytes);
        const known = text.includes("preferredGateway");  // our own words are there: the search works
        return [known, args.words.filter((word) => text.includes(word) || wide.includes(word))];""",
        words=words,
    )
    assert found == [True, []]
    # No key either: those of the session are drawn after it was taken, and two visits have not one in common.
    await page.page.context.close()


DAMAGES = {
    "a byte": "bytes[bytes.length >> 1] ^= 1;",
    "its end": "bytes = bytes.slice(0, bytes.length - 1000);",
    "everything": "bytes = new Uint8Array(0);",
    "its length": """headers["x-length"] = "1000";""",
    "the length of the library in it": """headers["x-library"] = "1000";""",
    "its digest": """headers["x-digest"] = "00";""",
    "its content, by somebody who knows the form": """bytes = new Uint8Array(4);  // no page, no library
        headers["x-length"] = "4000000";
        headers["x-library"] = "0";
        const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
        headers["x-digest"] = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");""",
}


@pytest.mark.feature("Worker", "a kept memory that is damaged, foreign or outdated is replaced")
@pytest.mark.parametrize("what", DAMAGES)
async def test_damaged(visited: ApiPage, session: Session, what: str) -> None:
    (before,) = await kept(visited)
    await visited.run(
        KEPT
        + f"""let [{{ url, headers, bytes }}] = await entries();
        {DAMAGES[what]}
        await spoil(url, bytes, headers);"""
    )
    assert not await visit(visited, session)
    assert [name for name, _ in await kept(visited)] == [before[0]]
    assert await visit(visited, session)


async def test_of_another_build(visited: ApiPage, session: Session) -> None:
    (before,) = await kept(visited)
    await visited.run(
        KEPT
        + """const [{ url, headers, bytes }] = await entries();
        await (await caches.open("smolmix-web")).delete(url);
        await spoil(url.replace(/[^/]*$/, "0123"), bytes, headers);"""
    )
    assert not await visit(visited, session)
    assert [name for name, _ in await kept(visited)] == [before[0]]


NO_STORAGE = {
    "missing": "Object.defineProperty(self, 'caches', { value: undefined });",
    "refused": "caches.open = async () => { throw new DOMException('no', 'SecurityError'); };"
    "caches.delete = caches.open;",
    "full": "Cache.prototype.put = async () => { throw new DOMException('full', 'QuotaExceededError'); };",
    "outside of secure contexts": "Object.defineProperty(crypto, 'subtle', { value: undefined });",
}


@pytest.mark.parametrize("what", NO_STORAGE)
async def test_where_nothing_can_be_kept(session: Session, tmp_path: Path, what: str) -> None:
    worker = tmp_path / "worker.js"
    worker.write_text(NO_STORAGE[what] + (DIST / "worker.js").read_text())
    write_blank_page(tmp_path)
    with StaticServer({"/": tmp_path, "/smolmix/": DIST, "/smolmix/worker.js": worker}) as site:
        there = Session(session.net, site, session.browser, session.options)
        page = await there.open()
        assert not await visit(page, there)
        await page.page.wait_for_timeout(5_000)
        assert await kept(page, 0) == []
        assert not await visit(page, there)
        await page.page.context.close()
    assert [line for line in page.console if line.startswith(("error", "uncaught"))] == []
