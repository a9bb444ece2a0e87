"""The tunnel in a Pyodide that somebody else has started: in a worker, shared by a page, patched, and what it refuses.

What is installed by micropip in a page is in test_pytest_pyodide.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from localnet.origin import body_sha256
from tests.browser.guest_session import LIBRARIES, WAYS, GuestSession, guest_session

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]

SIZE = 100_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guests(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GuestSession]:
    async with guest_session(tmp_path_factory.mktemp("guest") / "site") as session:
        yield session


@pytest.mark.feature("Pyodide", "micropip.install, httpx and requests over a tunnel, in a worker of others")
async def test_installed_in_a_worker(guests: GuestSession) -> None:
    async with guests.open("worker") as guest:
        await guest.install("smolmix-web", "httpx", "requests", "pyodide-http")
        found, names = await guest.run(LIBRARIES, options=guest.options, size=SIZE)
        assert found == dict.fromkeys(WAYS, body_sha256(SIZE))
        assert {"httpx", "requests", "urllib", "urllib3"} <= set(names)
        assert guest.recorder.others() == []


PATCHED = """
import js, pyodide.http, pyodide_http, requests, smolmix_web
from js import XMLHttpRequest as kept, fetch as fetched
from pyodide_http import _core
from smolmix_web.pyodide import open_tunnel

pyodide_http.patch_all()
before = [js.fetch.js_id, js.XMLHttpRequest.js_id, _core.send, requests.sessions.Session.__init__]
old = requests.Session()
outcome = {}

async def attempt(name, work):
    try:
        value = work()
        if hasattr(value, "__await__"):
            await value
        outcome[name] = "went out"
    except Exception as error:
        outcome[name] = str(error).partition("\\n")[0]

def by_reference():
    request = kept.new()
    request.open("GET", url, False)
    request.send()

async with open_tunnel(**options) as tunnel:
    smolmix_web.patch(tunnel)
    await attempt("js.fetch", lambda: js.fetch(url))
    await attempt("pyfetch", lambda: pyodide.http.pyfetch(url))
    await attempt("open_url", lambda: pyodide.http.open_url(url))
    await attempt("XMLHttpRequest", by_reference)
    await attempt("fetch kept", lambda: fetched(url))
    await attempt("WebSocket", lambda: js.WebSocket.new(url.replace("http", "ws")))
    await attempt("twice", lambda: smolmix_web.patch(tunnel))
    pyodide_http.patch_all()  # as it is
    through = [requests.get("http://http.test/text").text, old.get("http://http.test/text").text]
    through += [requests.get("http://http.test/redirect/2").url, requests.get("http://http.test/status/404").status_code]
    through.append(requests.post("http://http.test/echo", data="hello").json()["text"])
    with requests.get("http://http.test/bytes/300000", stream=True) as response:
        through.append(sum(len(piece) for piece in response.iter_content(10_000)))
    for name, address in (("nowhere", "http://nowhere.test/"), ("expired", "https://expired.test/")):
        await attempt(name, lambda: requests.get(address))
    smolmix_web.unpatch()
after = [js.fetch.js_id, js.XMLHttpRequest.js_id, _core.send, requests.sessions.Session.__init__]
await attempt("afterwards", lambda: js.fetch(url))
[outcome, through, before == after, fetched.js_id == js.fetch.js_id]
"""


@pytest.mark.feature("Pyodide", "patch(): what would go past the tunnel is stopped; pyodide-http goes through it")
async def test_nothing_goes_past_while_patched(guests: GuestSession) -> None:
    async with guests.open("page") as guest:
        await guest.install("smolmix-web", "requests", "pyodide-http")
        url = f"{guest.site.url}/index.html?asked-in-the-clear"
        outcome, through, restored, given_back = await guest.run(PATCHED, options=guest.options, url=url)
        for name in ("js.fetch", "pyfetch", "open_url", "XMLHttpRequest", "fetch kept", "WebSocket"):
            assert "stopped by the leak guard" in outcome[name], (name, outcome[name])
        assert outcome["twice"] == "already patched"
        assert through == [
            *["Hello from the origin.\n"] * 2,
            "http://http.test/text",
            404,
            "hello",
            300_000,
        ]
        assert "dns_not_found" in outcome["nowhere"] and "tls_certificate" in outcome["expired"]
        assert (restored, given_back, outcome["afterwards"]) == (True, True, "went out")
        asked = [path for path in guest.site.requests if "asked-in-the-clear" in path]
        assert len(asked) == 1 and guest.recorder.others() == []


GUARDED = """
import js
from smolmix_web.pyodide import open_tunnel

async with open_tunnel(leak_guard=True, **options) as tunnel:
    response = await tunnel.fetch("https://origin.test/text")
    found = [(await response.read()).decode()]
try:
    await js.fetch(url)
except Exception as error:
    found.append(str(error).partition("\\n")[0])
async with open_tunnel(**options) as tunnel:  # the ways out of the tunnel's own are still there
    found.append(tunnel.state)
found
"""


POOLED = """
from smolmix_web.pyodide import open_pool

async with open_pool(size=2, **options) as pool:
    response = await pool.fetch("https://origin.test/text", isolation="alice")
    exits = {tunnel["exit"] for tunnel in pool.snapshot()["tunnels"]}
    found = [pool.snapshot()["state"], (await response.read()).decode(), len(exits)]
[*found, pool.snapshot()["state"]]
"""


@pytest.mark.feature("Pyodide", "open_pool: several tunnels with different exits")
async def test_a_pool(guests: GuestSession) -> None:
    async with guests.open("worker") as guest:
        await guest.install("smolmix-web")
        found = await guest.run(POOLED, options=guest.options)
        assert found == ["ready", "Hello from the origin.\n", 2, "shutdown"]


async def test_the_guard_on_request(guests: GuestSession) -> None:
    async with guests.open("worker") as guest:
        await guest.install("smolmix-web")
        text, refused, state = await guest.run(GUARDED, options=guest.options, url=f"{guest.site.url}/index.html")
        assert (text, state) == ("Hello from the origin.\n", "ready")
        assert "stopped by the leak guard" in refused


UNABLE = """
from smolmix_web.pyodide import BlockingTunnel
from smolmix_web.tunnel import Tunnel

try:
    BlockingTunnel(Tunnel.__new__(Tunnel)).fetch("https://origin.test/text")
except Exception as error:
    found = [error.code, str(error)]
found
"""


async def test_what_is_missing_to_wait_is_said(guests: GuestSession) -> None:
    async with guests.open("page") as guest:
        await guest.install("smolmix-web")
        code, text = await guest.run(UNABLE, plain=True)
        assert code == "cannot_block" and "runPythonAsync" in text and "shared_tunnel" in text


# -- a tunnel of the page's ----------------------------------------------------------------------------

LEND = """async (options) => {
  const { MixTunnel } = await import("/smolmix/index.js");
  window.lent = new MixTunnel(options);
  await lent.setup();
}"""

BORROWED = """
import asyncio, hashlib, httpx
from smolmix_web.integrations.httpx_transport import MixTransport
from smolmix_web.pyodide import HttpRequest, SmolmixError, Timeouts, shared_tunnel

async def pieces():
    for _ in range(3):
        yield b"x" * 100_000

class Kept(asyncio.Protocol):
    def __init__(self):
        self.data, self.eof, self.lost = bytearray(), False, asyncio.get_running_loop().create_future()
    def connection_made(self, transport):
        self.made = transport
    def data_received(self, data):
        self.data += data
    def eof_received(self):
        self.eof = True
    def connection_lost(self, error):
        self.lost.set_result(error)

found = {}
async with shared_tunnel(port) as tunnel:
    found["state"] = tunnel.snapshot()["state"]
    response = await tunnel.fetch(f"https://origin.test/bytes/{size}", timeouts=Timeouts(total=60))
    found["fetch"] = hashlib.sha256(await response.read()).hexdigest()
    response = await tunnel.fetch(HttpRequest("http://http.test/upload", method="POST", body=pieces()))
    found["upload"] = b'"length":300000' in await response.read()
    async with httpx.AsyncClient(transport=MixTransport(tunnel), timeout=60) as client:
        found["httpx"] = (await client.get("http://http.test/redirect/1", follow_redirects=True)).text
    found["resolve"] = [str(address) for address in await tunnel.resolve("origin.test", family=4)]
    found["lookup"] = (await tunnel.lookup("zone.test", "MX"))["records"][0]["type"]
    found["ping"] = (await tunnel.ping("origin.test")).rtt < 20
    async with await tunnel.connect_tcp("echo.test", 50007) as tcp:
        await tcp.stream.write(b"through " * 2_000)
        await tcp.stream.send_eof()
        found["tcp"] = len(b"".join([chunk async for chunk in tcp]))
    reader, writer = await tunnel.open_connection("origin.test", 443, tls=True)
    writer.write(b"GET /text HTTP/1.0\\r\\nHost: origin.test\\r\\n\\r\\n")
    found["tls"] = (await reader.read()).endswith(b"Hello from the origin.\\n")
    writer.close()
    transport, kept = await tunnel.create_connection(Kept, "echo.test", 50007)
    transport.write(b"by a protocol " * 10_000)
    transport.write_eof()
    await kept.lost
    found["protocol"] = [kept.made is transport, hashlib.sha256(kept.data).hexdigest(), kept.eof, kept.lost.result()]
    found["peer"] = transport.get_extra_info("peername")[1]
    try:
        await tunnel.create_connection(asyncio.Protocol, "nowhere.test", 80)
    except OSError as error:
        found["refused"] = [type(error).__name__, error.__cause__.code]
    async with await tunnel.connect_websocket("wss://ws.test/") as socket:
        await socket.send("text")
        await socket.send(b"binary")
        found["websocket"] = [await socket.receive(), (await socket.receive()).decode()]
        found["closed"] = (await socket.close(1000, "done")).code
    try:
        await tunnel.fetch("https://expired.test/")
    except SmolmixError as error:
        found["error"] = [type(error).__name__, error.code, error.phase, error.reason]
    response = await tunnel.fetch(f"http://http.test/bytes/1000000")
    await response.read_chunk()
    response.abort()
    for _ in range(100):
        found["operations"] = (await tunnel.statistics())["operations"]
        if not found["operations"]:
            break
        await asyncio.sleep(0.1)
try:
    await tunnel.fetch("http://http.test/text")
except SmolmixError as error:
    found["given back"] = error.code
found
"""


@pytest.mark.feature("Pyodide", "shared_tunnel: a page lends the tunnel of its worker, no second registration")
async def test_a_tunnel_that_the_page_lends(guests: GuestSession) -> None:
    async with guests.open("page", ours=True) as guest:
        await guest.page.evaluate(LEND, guest.page_options)
        await guest.install("smolmix-web", "httpx")
        await guest.page.evaluate("() => pyodide.globals.set('port', lent.share())")
        found = await guest.run(BORROWED, size=SIZE)
        assert found == {
            "state": "ready",
            "fetch": body_sha256(SIZE),
            "upload": True,
            "httpx": "Hello from the origin.\n",
            "resolve": ["203.0.114.10"],
            "lookup": "MX",
            "ping": True,
            "tcp": 16_000,
            "tls": True,
            "protocol": [True, hashlib.sha256(b"by a protocol " * 10_000).hexdigest(), True, None],
            "peer": 50_007,
            "refused": ["gaierror", "dns_not_found"],
            "websocket": ["text", "binary"],
            "closed": 1000,
            "error": ["TlsError", "tls_certificate", "tls", "expired"],
            "operations": 0,
            "given back": "tunnel_down",
        }
        assert guest.recorder.counts()["gateway"] == 1 and guest.recorder.others() == []


BORROW_IN_WORKER = """
from smolmix_web.pyodide import shared_tunnel
borrowed = shared_tunnel(port)
tunnel = await borrowed.__aenter__()
tunnel.state
"""

BLOCKED = """
import hashlib, httpx, requests, smolmix_web
from pyodide.ffi import can_run_sync
from smolmix_web.integrations.httpx_transport import MixTransport

found = {"jspi": can_run_sync()}
with httpx.Client(transport=MixTransport(tunnel), timeout=60) as client:
    found["httpx"] = hashlib.sha256(client.get(f"https://origin.test/bytes/{size}").content).hexdigest()
smolmix_web.patch(tunnel)
found["requests"] = hashlib.sha256(requests.get(f"https://origin.test/bytes/{size}").content).hexdigest()
found["upload"] = requests.post("http://http.test/upload", data=b"x" * 200_000).json()["length"]
try:
    requests.get("http://nowhere.test/")
except requests.ConnectionError as error:
    found["error"] = "dns_not_found" in str(error)
smolmix_web.unpatch()
found
"""


@pytest.mark.feature("Pyodide", "blocking without JSPI: Atomics.wait on a tunnel that a page lends its worker")
async def test_waiting_for_shared_memory(guests: GuestSession) -> None:
    async with guests.open("worker", isolated=True, ours=True) as guest:
        await guest.page.evaluate(LEND, guest.page_options)
        await guest.install("smolmix-web", "httpx", "requests", "pyodide-http")
        code = "({ code }) => { const port = lent.share(); return inWorker({ code, globals: { port } }, [port]); }"
        assert await guest.page.evaluate(code, {"code": BORROW_IN_WORKER}) == "ready"
        found = await guest.run(BLOCKED, plain=True, size=SIZE)
        digest = body_sha256(SIZE)
        assert found == {"jspi": False, "httpx": digest, "requests": digest, "upload": 200_000, "error": True}


async def test_without_isolation_nothing_waits(guests: GuestSession) -> None:
    async with guests.open("worker", ours=True) as guest:
        await guest.page.evaluate(LEND, guest.page_options)
        await guest.install("smolmix-web")
        code = "({ code }) => { const port = lent.share(); return inWorker({ code, globals: { port } }, [port]); }"
        await guest.page.evaluate(code, {"code": BORROW_IN_WORKER})
        refused = UNABLE.replace("Tunnel.__new__(Tunnel)", "tunnel")
        code, text = await guest.run(refused, plain=True)
        assert code == "cannot_block" and "cross-origin isolated" in text
