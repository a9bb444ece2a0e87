"""What a page loads goes through the tunnel by its Service Worker, with what the Fetch standard says of each kind."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from localnet import media
from localnet.origin import PAGE_FILES, body_bytes
from tests.browser.service_session import ServicePage, ServiceWorld, feature

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(200)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting(world: ServiceWorld) -> AsyncIterator[ServicePage]:
    async with world.open() as opened:
        assert await opened.register() == "ready"
        yield opened


@pytest.fixture
def page(lasting: ServicePage) -> ServicePage:
    """One whose requests go through the tunnel, for tests that leave it so; what others asked for is forgotten."""
    assert lasting.session is not None
    lasting.seen = len(lasting.session.net.world.origin.requests)
    return lasting


FILES = {
    "/picture/160x125?seed=1": media.picture(160, 125, "1"),
    "/sound/2": media.sound(2),
    "/font": media.font(),
    **{f"/page/{name}": text.encode() for name, (_, text) in PAGE_FILES.items()},
    "/gzip": json.dumps({"coding": "gzip", "filler": "smolmix " * 500}).encode(),
    "/bytes/300000": body_bytes(300_000),
    "/stream/200000": body_bytes(200_000),
}
HASHES = """const found = {};
  for (const path of args.paths) {
    const response = await fetch(`https://origin.test/cors${path}`);
    found[path] = [response.status, await sha256(await response.arrayBuffer())];
  }
  return found;"""


@feature("every byte of what is loaded is the origin's")
async def test_hashes(page: ServicePage) -> None:
    found = await page.run(HASHES, paths=list(FILES))
    assert found == {path: [200, hashlib.sha256(data).hexdigest()] for path, data in FILES.items()}


ELEMENTS = """const origin = "https://origin.test";
  const loaded = (element, event = "load") => new Promise((resolve) => {
    element.addEventListener(event, () => resolve("loaded"), {once: true});
    element.addEventListener("error", () => resolve("error"), {once: true});
  });
  const add = (tag, attributes, event) => {
    const element = Object.assign(document.createElement(tag), attributes);
    const ended = loaded(element, event);
    document.body.append(element);
    return ended.then((how) => [how, element]);
  };
  document.body.className = "article";
  document.body.innerHTML = '<h2>Ab</h2><p class="banner">a</p><p class="aside">b</p>';
  const [picture, image] = await add("img", {src: `${origin}/picture/160x125?seed=1`});
  const [style] = await add("link", {rel: "stylesheet", href: `${origin}/page/style.css`});
  const [script] = await add("script", {src: `${origin}/page/script.js`});
  const [module] = await add("script", {type: "module", src: `${origin}/page/module.js`});
  const [sound, audio] = await add("audio", {src: `${origin}/sound/600`, preload: "auto"}, "loadedmetadata");
  audio.currentTime = 550;
  const sought = await Promise.race([loaded(audio, "seeked"), sleep(10_000)]);
  const face = await document.fonts.load('20px "Localnet"');
  const xhr = await new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("GET", `${origin}/cors/text`);
    request.onload = () => resolve(request.responseText);
    request.onerror = () => resolve("error");
    request.send();
  });
  const events = await new Promise((resolve) => {
    const source = new EventSource(`${origin}/cors/events?count=3&interval=0.01`);
    const seen = [];
    source.onmessage = ({data}) => { if (seen.push(data) === 3) { source.close(); resolve(seen); } };
    source.onerror = () => { source.close(); resolve("error"); };
  });
  const dynamic = await import(`${origin}/page/module-part.js`);
  return { picture, size: [image.naturalWidth, image.naturalHeight], style, script, module, sound, sought,
    seconds: audio.duration, font: face.length, xhr, events, part: dynamic.part,
    said: [globalThis.articleScript, globalThis.articleModule],
    background: getComputedStyle(document.querySelector(".aside")).backgroundImage };"""


@feature("pictures, styles with imports and fonts, scripts, modules, sound that seeks, XMLHttpRequest, EventSource")
async def test_elements(page: ServicePage) -> None:
    found = await page.run(ELEMENTS, timeout=90)
    assert found == {
        "picture": "loaded",
        "size": [160, 125],
        "style": "loaded",
        "script": "loaded",
        "module": "loaded",
        "sound": "loaded",
        "sought": "loaded",
        "seconds": 600,
        "font": 1,
        "xhr": "Hello from the origin.\n",
        "events": ["event 1", "event 2", "event 3"],
        "part": "its part",
        "said": ["https://origin.test/page/script.js", "module and its part"],
        "background": 'url("https://origin.test/picture/80x80?seed=aside")',
    }
    assert page.at_origin("/picture/160x60") and page.at_origin("/cors/font")
    ranges = [request.header("range") for request in page.at_origin("/sound/600")]
    assert "bytes=0-" in ranges and any(text and text != "bytes=0-" for text in ranges), ranges


CASE = """const [path, init] = [args.path, args.init ?? {}];
  const response = await fetch(`https://origin.test${path}`, init);
  return { status: response.status, type: response.type, url: response.url, redirected: response.redirected,
    text: await response.text(),
    headers: [...response.headers.keys()].filter((name) => !args.ignore.includes(name)) };"""
USUAL = ["content-type", "content-length"]


async def fetched(page: ServicePage, path: str, **init: Any) -> Any:
    """What `fetch` gives, or the reason of its failure."""
    before = len(await page.failures())
    try:
        return await page.run(CASE, path=path, init=init, ignore=USUAL)
    except Exception:
        said = await page.failures()
        assert len(said) == before + 1, said
        return said[-1]["reason"] or said[-1]["code"]


@feature("CORS: what a server does not allow is refused, with the preflight that the browser would send")
async def test_cors(page: ServicePage) -> None:
    origin = page.session.site.url  # type: ignore[union-attr]
    assert await fetched(page, "/text") == "allow_origin"
    assert await fetched(page, "/cors/text?allow=https://else.example") == "allow_origin"
    shown = await fetched(page, "/cors/set?x-one=1&x-two=2&expose=x-one")
    assert (shown["status"], shown["headers"]) == (200, ["x-one"])
    everything = await fetched(page, "/cors/set?x-one=1&set-cookie=a%3Db&expose=*")
    assert "x-one" in everything["headers"] and "set-cookie" not in everything["headers"]
    assert await fetched(page, "/cors/text?allow=*", credentials="include") == "allow_origin"
    assert await fetched(page, f"/cors/text?allow={origin}", credentials="include") == "credentials"
    whole = await fetched(page, f"/cors/text?allow={origin}&credentials=true", credentials="include")
    assert whole["status"] == 200
    assert [r.header("origin") for r in page.at_origin("/cors/text")] == [origin] * 4

    assert await fetched(page, "/cors/upload", method="PUT", body="x") == "method"
    assert await fetched(page, "/cors/upload?methods=PUT", method="PUT", body="x", headers={"x-a": "1"}) == "header"
    assert await fetched(page, "/upload", method="PUT", body="x") == "allow_origin"
    methods = [r.method for r in (*page.at_origin("/cors/upload"), *page.at_origin("/upload"))]
    assert methods == ["OPTIONS"] * 3
    allowed = "/cors/upload?methods=PUT&headers=x-a,x-b&age=60"
    for _ in range(2):
        done = await fetched(page, allowed, method="PUT", body="abc", headers={"x-b": "2", "x-a": "1"})
        assert json.loads(done["text"])["sha256"] == hashlib.sha256(b"abc").hexdigest()
    asked = page.at_origin("/cors/upload")[2:]
    assert [r.method for r in asked] == ["OPTIONS", "PUT", "PUT"]
    assert asked[0].header("access-control-request-headers") == "x-a,x-b"
    assert asked[0].header("access-control-request-method") == "PUT"


@feature(
    "`no-cors`: a script reads nothing; pictures and styles only of their types, and not against the server's policy"
)
async def test_opaque(page: ServicePage) -> None:
    silent = await fetched(page, "/text", mode="no-cors")
    assert (silent["text"], silent["headers"]) == ("", []) and page.at_origin("/text")
    shown = """const image = new Image();
      const ended = new Promise((resolve) => {
        image.onload = () => resolve("loaded");
        image.onerror = () => resolve("error");
      });
      image.src = `https://origin.test${args.path}`;
      return ended;"""
    assert await page.run(shown, path="/picture/8x8") == "loaded"
    for path, reason in (
        ("/json", "type"),
        ("/html", "type"),
        ("/set?content-type=image/png&cross-origin-resource-policy=same-origin", "resource_policy"),
    ):
        assert await page.run(shown, path=path) == "error"
        assert (await page.failures())[-1]["reason"] == reason, path
    sheet = """const link = document.createElement("link");
      Object.assign(link, {rel: "stylesheet", href: "https://origin.test/text"});
      const ended = new Promise((resolve) => {
        link.onload = () => resolve("loaded");
        link.onerror = () => resolve("error");
      });
      document.head.append(link);
      return ended;"""
    assert await page.run(sheet) == "error"


@feature("redirects are followed by the browser itself: modes, the final URL, `Origin: null` for a third origin")
async def test_redirects(page: ServicePage) -> None:
    origin = page.session.site.url  # type: ignore[union-attr]
    found = await fetched(page, "/cors/redirect/1?to=/cors/redirect/1%3Fto%3D/cors/text")
    assert found["redirected"] and found["url"] == "https://origin.test/cors/text", found
    assert await fetched(page, "/cors/redirect/1?to=/text") == "allow_origin"
    manual = await page.run(
        """const {type, status} = await fetch("https://origin.test/cors/redirect/1", {redirect: "manual"});
        const error = await caught(() => fetch("https://origin.test/cors/redirect/1", {redirect: "error"}));
        return [type, status, error?.name];"""
    )
    assert manual == ["opaqueredirect", 0, "TypeError"]
    third = await fetched(page, "/cors/redirect/1?to=https://www.test/cors/echo")
    seen = {name.lower(): value for name, value in json.loads(third["text"])["headers"]}
    assert seen["origin"] == "null" and third["url"] == "https://www.test/cors/echo"
    again = await page.run("return (await fetch('https://www.test/cors/echo')).json()")
    assert [value for name, value in again["headers"] if name.lower() == "origin"] == [origin]
    assert await fetched(page, "/cors/redirect/1?to=http://http.test/cors/text") == "insecure_redirect"


@feature(
    "request headers are the page's and the standard's: no name of the browser, Referer by its policy, cache modes"
)
async def test_headers(page: ServicePage) -> None:
    site = page.session.site.url  # type: ignore[union-attr]
    script = """const response = await fetch("https://origin.test/cors/echo?headers=x-own", args.init);
      return Object.fromEntries((await response.json()).headers.map(([name, value]) => [name.toLowerCase(), value]));"""
    plain = await page.run(script, init={})
    agent = await page.run("return navigator.userAgent")
    assert plain["referer"] == f"{site}/" and plain["origin"] == site and plain["user-agent"] != agent
    assert not [name for name in plain if name.startswith("sec-")] and "cookie" not in plain
    own = await page.run(script, init={"headers": {"x-own": "1", "accept": "text/x"}, "referrerPolicy": "unsafe-url"})
    assert (own["x-own"], own["accept"], own["referer"]) == ("1", "text/x", f"{site}/index.html")
    none = await page.run(script, init={"referrerPolicy": "no-referrer", "cache": "no-store"})
    assert "referer" not in none and none["cache-control"] == "no-cache"
    ranged = await page.run(
        """const url = "https://origin.test/cors/range/1000?expose=content-range";
        const response = await fetch(url, {headers: {range: "bytes=10-19"}});
        return [response.status, response.headers.get("content-range"), await sha256(await response.arrayBuffer())];"""
    )
    assert ranged == [206, "bytes 10-19/1000", hashlib.sha256(body_bytes(1000)[10:20]).hexdigest()]


@feature("bodies of every kind go up, large ones in pieces")
async def test_uploads(page: ServicePage) -> None:
    script = """const url = "https://origin.test/cors/upload?methods=PUT&headers=*";
      const big = new Uint8Array(1_000_000).map((_, at) => at % 251);
      const small = await (await fetch(url, {method: "POST", body: "text"})).json();
      const blob = await (await fetch(url, {method: "PUT", body: new Blob([big])})).json();
      const form = new FormData();
      form.append("a", "b");
      const sent = await (await fetch(url, {method: "POST", body: form})).json();
      const beacon = navigator.sendBeacon("https://origin.test/upload", "beacon");
      return [small.length, blob.length, blob.sha256, sent.length > 50, beacon];"""
    big = bytes(n % 251 for n in range(1_000_000))
    assert await page.run(script) == [4, len(big), hashlib.sha256(big).hexdigest(), True, True]


@feature("cookies: `credentials: include` has the tunnel's jar, pictures have none")
async def test_cookies(page: ServicePage) -> None:
    site = page.session.site.url  # type: ignore[union-attr]
    script = """const url = `https://origin.test/cors/cookies?credentials=true&allow=${location.origin}`;
      const get = async (credentials) => (await (await fetch(url, {credentials})).json()).cookies;
      const found = [await get("include"), await get("include"), await get("same-origin"), document.cookie];
      const image = new Image();
      image.src = "https://origin.test/picture/9x9";
      await image.decode();
      return found;"""
    assert site and await page.run(script) == [{}, {"flavour": "oat", "size": "large"}, {}, ""]
    assert [r.header("cookie") for r in page.at_origin("/picture/9x9")] == [None]


@feature("an abort ends the request in the tunnel, also when the page goes elsewhere")
async def test_abort(world: ServiceWorld, page: ServicePage) -> None:
    script = """const tunnel = await api.getMixTunnel();
      await idle(tunnel);
      const control = new AbortController();
      const response = await fetch("https://origin.test/cors/slow?chunks=1000", {signal: control.signal});
      const reader = response.body.getReader();
      await reader.read();
      const during = (await tunnel.statistics()).operations;
      control.abort();
      const error = await caught(() => reader.read());
      return [during, error.name, await idle(tunnel)];"""
    assert await page.run(script) == [1, "AbortError", 0]
    tab = await world.another(page, "/index.html")
    await tab.run('window.slow = fetch("https://origin.test/cors/slow?chunks=1000").then((r) => r.text());', timeout=20)
    busy = "const {operations} = await (await api.getMixTunnel()).statistics(); return operations;"
    for _ in range(100):
        if await page.run(busy) == 1:
            break
    await tab.page.goto("about:blank")
    assert await page.run("return idle(await api.getMixTunnel())") == 0
    await tab.page.close()


@feature("counts: requests and bytes that the tunnel has carried; `auditPage` finds nothing that has leaked")
async def test_counts(world: ServiceWorld) -> None:
    async with world.open() as page:
        await page.register()
        await page.run('await (await fetch("https://origin.test/cors/bytes/5000")).arrayBuffer()')
        counts = await page.run(
            """while (service.counts.bytes < 5000) await sleep(10);
            return service.counts;"""
        )
        assert counts == {"requests": 1, "bytes": 5000, "blocked": 0, "passed": 0}
        found = await page.run("return (await import('/smolmix/whole-page.js')).auditPage()")
        assert found["controlled"] and not [leak for leak in found["leaks"] if leak["happened"]], found


@feature("`mixRequests` in a Service Worker of the site's own, as a script and as a module")
async def test_own_scripts(world: ServiceWorld) -> None:
    async with world.open() as page:
        await page.register(url="/own.js")
        assert await page.run('return (await fetch("/from-the-site")).text()') == "the site's own"
        assert (
            await page.run('return (await fetch("https://origin.test/cors/text")).text()') == "Hello from the origin.\n"
        )
        late = """const began = performance.now();
          const error = await caught(() => fetch("https://origin.test/cors/delay/60"));
          return [error.name, performance.now() - began < 10_000];"""
        assert await page.run(late) == ["TypeError", True]
        assert (await page.failures())[-1]["phase"] == "response"
        # What its `match` leaves out goes the browser's way.
        assert await page.run('return (await fetch("http://http.test/text")).text()') == "clear"
        assert page.canary is not None and page.canary.heard.pop() == "GET /text HTTP/1.1"
    async with world.open() as page:
        await page.register(url="/own-module.js", type="module")
        assert await page.run('return (await fetch("https://origin.test/text")).text()') == "Hello from the origin.\n"


BESIDE = """const url = (seed) => `https://origin.test/picture/160x125?seed=${seed}`;
  const picture = async (seed) => {
    const image = new Image();
    image.src = url(seed);
    await image.decode();
  };
  const fetched = async (seed) => { await (await api.mixFetch(url(seed))).arrayBuffer(); };
  const timed = async (name, work) => {
    const began = performance.now();
    await Promise.all(Array.from({length: args.count}, (_, n) => work(`${name}-${args.round}-${args.count}-${n}`)));
    return performance.now() - began;
  };
  const ways = [["picture", picture], ["fetch", fetched]];
  const found = {};
  for (const [name, work] of args.round % 2 ? ways : ways.reverse()) found[name] = await timed(name, work);
  return found;"""


async def beside(page: ServicePage, count: int, rounds: int) -> float:
    """How much longer pictures of 20 KB take than `mixFetch` of the same files: the medians of rounds in turns."""
    await page.run(BESIDE, round=0, count=count, timeout=120)
    found = [await page.run(BESIDE, round=n, count=count, timeout=120) for n in range(1, rounds + 1)]
    picture, fetched = (statistics.median(times[name] for times in found) for name in ("picture", "fetch"))
    print(f"{count}: {picture:.0f} ms, mixFetch {fetched:.0f} ms: {picture / fetched:.3f}")
    return float(picture / fetched)


async def test_about_as_fast_as_mix_fetch(world: ServiceWorld) -> None:
    """A few rounds on a machine that is not quiet: the mixes' own chance is a tenth of a median."""
    async with world.open() as page:
        await page.register()
        assert await beside(page, 1, 7) <= 1.5 and await beside(page, 30, 3) <= 1.5


# In real time this measures the machine too: the network, the origin and the page share its cores.
@pytest.mark.long
@feature("a page's pictures take at most a tenth longer than `mixFetch` of the same files")
@pytest.mark.timeout(600)
async def test_as_fast_as_mix_fetch(world: ServiceWorld) -> None:
    """One at a time, and 30 at once."""
    async with world.open() as page:
        await page.register()
        assert await beside(page, 1, 60) <= 1.1 and await beside(page, 30, 9) <= 1.1
