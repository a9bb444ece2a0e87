"""What a Service Worker does not see: each leaks without its remedy, as the canary shows, and not with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Error as PlaywrightError

from browserkit.server import StaticServer
from buildtools.common import DIST, ROOT
from tests.browser.page_session import until
from tests.browser.service_session import BLANK, ServicePage, ServiceWorld, feature

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
QUIET_MS = 700  # for what would come in the clear


@pytest.fixture(scope="module")
def strict(world: ServiceWorld) -> Iterator[str]:
    """Address of the same site with the headers of `mixPageHeaders`."""
    served = {"/": world.folder, "/smolmix/": DIST, "/service-worker.js": DIST / "service-worker.js"}
    headers = dict(line.split(": ", 1) for line in headers_of_the_docs())
    # The local network's directory and gateways have no TLS.
    headers["Content-Security-Policy"] = headers["Content-Security-Policy"].replace("wss:", "wss: http: ws:")
    with StaticServer(served, headers=headers) as site:
        yield site.url


def headers_of_the_docs() -> list[str]:
    text = (ROOT / "docs" / "whole-pages.md").read_text(encoding="utf-8")
    block = text.split("```http\n", 1)[1].split("```", 1)[0]
    return block.replace("\n  ", " ").splitlines()


async def leaked(page: ServicePage, world: ServiceWorld, body: str) -> list[str]:
    """What came to the canary of this, taken from its list."""
    before = len(world.canary.heard)
    await page.run(body + f"\nawait sleep({QUIET_MS});")
    found = world.canary.heard[before:]
    del world.canary.heard[before:]
    return found


async def strict_page(world: ServiceWorld, page: ServicePage, strict: str, path: str = "/index.html") -> ServicePage:
    await page.page.goto(f"{strict}{path}")
    return page


@feature("the headers of the docs are those that `mixPageHeaders` makes")
async def test_headers(world: ServiceWorld) -> None:
    async with world.open() as page:
        made = await page.run("return (await import('/smolmix/whole-page.js')).mixPageHeaders()")
    assert [f"{name}: {value}" for name, value in made.items()] == headers_of_the_docs()


@feature("a first load, before the page is controlled, leaks what stands in the document; what is added later not")
async def test_first_load(world: ServiceWorld) -> None:
    world.write("first.html", f'{BLANK}<img src="http://origin.test/picture/32x32">')
    async with world.open() as page:
        await page.page.goto(f"{world.session.site.url}/first.html")
        await until(lambda: bool(world.canary.heard))
        world.canary.heard.clear()
        await page.register()
        found = await page.run("return (await import('/smolmix/whole-page.js')).auditPage()")
        assert [leak["kind"] for leak in found["leaks"] if leak["happened"]] == ["request"]
    async with world.open() as page:
        await page.register()
        shown = """const image = new Image();
          image.src = "http://origin.test/picture/32x32";
          document.body.append(image);
          await image.decode();"""
        assert await leaked(page, world, shown) == []


LEAKS: dict[str, tuple[str, str]] = {
    "frame": (
        """const frame = document.createElement("iframe");
        frame.src = "http://origin.test/html";
        document.body.append(frame);""",
        "frame",
    ),
    "object": (
        """document.body.append(Object.assign(document.createElement("object"), {data: "http://origin.test/html"}));""",
        "plugin",
    ),
    "form": (
        """const form = document.createElement("form");
        Object.assign(form, {action: "http://origin.test/html", target: "other"});
        const frame = Object.assign(document.createElement("iframe"), {name: "other"});
        document.body.append(form, frame);
        form.submit();""",
        "form",
    ),
    "download": (
        """const link = Object.assign(document.createElement("a"), {href: "http://origin.test/bytes/9", download: "x"});
        document.body.append(link);
        link.click();""",
        "download",
    ),
    "websocket": ("new WebSocket('ws://ws.test/');", "websocket"),
    "synchronous": (
        """const request = new XMLHttpRequest();
        request.open("GET", "http://origin.test/text", false);
        request.send();""",
        "synchronous",
    ),
    "webrtc": (
        """const turn = {urls: "turn:origin.test:80?transport=tcp", username: "a", credential: "b"};
        const peer = new RTCPeerConnection({iceServers: [turn]});
        peer.createDataChannel("x");
        await peer.setLocalDescription();""",
        "webrtc",
    ),
}


@feature("what a Service Worker does not see leaks without its remedy, and `auditPage` says so beforehand")
@pytest.mark.parametrize("kind", LEAKS)
async def test_without_remedy(world: ServiceWorld, kind: str) -> None:
    body, told = LEAKS[kind]
    async with world.open() as page:
        await page.register()
        assert await leaked(page, world, body) != []
        found = await page.run("return (await import('/smolmix/whole-page.js')).auditPage()")
        assert told in [leak["kind"] for leak in found["leaks"]], found


@feature("the policies close frames, plug-ins and forms; globals and `closeSideDoors` WebSocket and WebRTC")
@pytest.mark.parametrize("kind", [kind for kind in LEAKS if kind != "download"])  # its remedy is another link
async def test_with_remedy(world: ServiceWorld, strict: str, kind: str) -> None:
    body, _ = LEAKS[kind]
    async with world.open() as page:
        await strict_page(world, page, strict)
        await page.register()
        await page.run(
            """const { closeSideDoors } = await import("/smolmix/whole-page.js");
            closeSideDoors();
            (await import("/smolmix/globals.js")).install();"""
        )
        found = await leaked(page, world, f"await caught(async () => {{ {body} }});")
        if kind in ("frame", "form"):  # Chromium connects before it looks at the policy, and asks for nothing
            found = [heard for heard in found if heard != "connection"]
        assert found == []
        text = """return (await fetch("https://origin.test/cors/text")).text()"""
        assert await page.run(text) == "Hello from the origin.\n"


@feature("a download by `fetch` and a `blob:` address goes through the tunnel")
async def test_download_remedy(world: ServiceWorld) -> None:
    async with world.open() as page:
        await page.register()
        saving = """const blob = await (await fetch("https://origin.test/cors/bytes/9000")).blob();
          const link = Object.assign(document.createElement("a"), {href: URL.createObjectURL(blob), download: "nine"});
          document.body.append(link);
          link.click();"""
        async with page.page.expect_download() as download:
            assert await leaked(page, world, saving) == []
        assert Path(await (await download.value).path()).stat().st_size == 9000


@feature("hints, speculation rules and pings: `auditPage` names them; a policy refuses speculation rules")
async def test_hints(world: ServiceWorld, strict: str) -> None:
    links = """<link rel="dns-prefetch" href="//origin.test"><a ping="http://origin.test/p" href="#">a</a>
      <meta http-equiv="refresh" content="900;url=http://origin.test/">"""
    rules = """<script type="speculationrules">{"prefetch": [{"urls": ["http://origin.test/html"]}]}</script>"""
    world.write("hints.html", f"{BLANK}{links}{rules}")
    async with world.open() as page:
        await page.page.goto(f"{world.session.site.url}/hints.html")
        await page.page.wait_for_timeout(QUIET_MS)
        world.canary.heard.clear()  # a browser follows hints when it likes
        found = await page.run("return (await import('/smolmix/whole-page.js')).auditPage()")
        kinds = {leak["kind"] for leak in found["leaks"]}
        assert {"uncontrolled", "hint", "ping", "refresh", "speculation", "websocket", "webrtc"} <= kinds
    async with world.open() as page:
        await strict_page(world, page, strict, "/hints.html")
        await page.page.wait_for_timeout(QUIET_MS)
        found = await page.run("return (await import('/smolmix/whole-page.js')).auditPage()")
        assert any(one["directive"] == "script-src-elem" for one in found["refused"]), found


@feature("a worker whose script is of no controlled page of ours is refused by `worker-src`")
async def test_workers(world: ServiceWorld, strict: str) -> None:
    code = """const code = 'fetch("http://origin.test/text")';
      new Worker(URL.createObjectURL(new Blob([code], {type: "text/javascript"})));"""
    async with world.open() as page:
        assert await leaked(page, world, code) != []  # not controlled, so neither is its worker
    async with world.open() as page:
        await strict_page(world, page, strict)
        try:
            assert await leaked(page, world, code) == []
        except PlaywrightError:
            raise AssertionError("the page is gone") from None
