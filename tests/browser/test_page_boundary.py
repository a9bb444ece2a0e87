"""The border between page and worker: what crosses is given away, a crash reaches all, many calls run at once."""

from __future__ import annotations

import hashlib

import pytest

from localnet.origin import body_bytes
from tests.browser.page_session import ApiPage
from tests.browser.scripted_worker import HEAD

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

# Everything a page can wait for, at every stage; `open` answers its opening message.
PENDING = (
    HEAD
    + """
  const pending = {};
  const wait = (name, work) => { pending[name] = work().then(() => "nothing", (error) => error); };
  const open = async (type, detail) => {
    const { id } = await heard(type);
    say({type: "opened", id, detail});
    return id;
  };
  const where = {localAddress: "192.0.2.1", localPort: 1, remoteAddress: "192.0.2.2", remotePort: 2};

  wait("head", () => api.mixFetch("http://o/"));
  await heard("fetch");
  const large = new Blob([new Uint8Array(300_000)]);
  wait("upload of a blob", () => api.mixFetch("http://o/", {method: "POST", body: large}));
  await heard("fetch");
  await heard("write");
  let cancelled = null;
  const silent = new ReadableStream({ cancel(reason) { cancelled = reason; } });
  wait("upload of a stream", () => api.mixFetch("http://o/", {method: "POST", body: silent}));
  await heard("fetch");
  const own = typeof ReadableByteStreamController === "undefined" ? [] : ["byob"]; // not in WebKitGTK (docs/engines.md)
  for (const way of ["text", "reader", ...own, "clone"]) {
    const fetching = api.mixFetch("http://o/");
    answer((await heard("fetch")).id);
    const response = await fetching;
    if (way === "text") wait(way, () => response.text());
    if (way === "reader") wait(way, () => response.body.getReader().read());
    if (way === "byob") wait(way, () => response.body.getReader({mode: "byob"}).read(new Uint8Array(9)));
    if (way === "clone") {
      const copy = response.clone();
      wait("one branch", () => response.text());
      wait("the other branch", () => copy.arrayBuffer());
    }
    await heard("pull");
  }
  const untouched = api.mixFetch("http://o/");
  answer((await heard("fetch")).id);
  const unread = await untouched;
  wait("DNS", () => api.mixDNS("n"));
  await heard("resolve");
  wait("statistics", () => tunnel.statistics());
  wait("cookies", () => tunnel.cookies.export());
  wait("TCP opening", () => tunnel.connectTcp("h", 80));
  await heard("tcp");
  const connecting = tunnel.connectTcp("h", 80);
  await open("tcp", {tls: null, ...where});
  const tcp = await connecting;
  wait("TCP reading", () => tcp.readable.getReader().read());
  wait("TCP writing", () => tcp.writable.getWriter().write(new Uint8Array(9)));
  wait("TCP closed", () => tcp.closed);
  await heard("write");
  const binding = tunnel.bindUdp();
  await open("udp", where);
  const udp = await binding;
  wait("UDP closed", () => udp.closed);
  const opening = new api.MixWebSocket("ws://o/");
  wait("WebSocket opening", () => opening.opened());
  await heard("websocket");
  const socket = new api.MixWebSocket("ws://o/");
  await open("websocket", {protocol: "", extensions: ""});
  await socket.opened();
  const closed = new Promise((resolve) => { socket.onclose = ({code, wasClean}) => resolve([code, wasClean]); });
"""
)


@pytest.mark.feature(
    "Worker", "a crash rejects everything pending at once, also what is on its way up; set-up works again"
)
@pytest.mark.parametrize("how", ["it says so", "an exception", "a message that cannot be read"])
async def test_a_crash_reaches_everything(scripted: ApiPage, how: str) -> None:
    ways = {
        "it says so": 'say({type: "crashed", message: "Python stopped"})',
        "an exception": 'say({die: "out of luck"})',
        "a message that cannot be read": 'worker.dispatchEvent(new MessageEvent("messageerror"))',
    }
    failures, cancelled, unread, closed, state, after = await scripted.run(
        # The worker itself, as the page made it.
        "let worker; const Native = Worker; globalThis.Worker = class extends Native {"
        " constructor(...all) { super(...all); worker = this; } };"
        + PENDING
        + ways[how]
        + """;
        const late = sleep(2000).then(() => ({code: "still waiting"}));
        const failures = {};
        for (const [name, promise] of Object.entries(pending)) {
          const error = await Promise.race([promise, late]);
          failures[name] = [error.code, error instanceof api.MixError, error.retryable];
        }
        const left = await caught(() => unread.text());
        const { state, error } = await api.getTunnelState();
        await api.setupMixTunnel({});
        const fetching = api.mixFetch("http://o/again");
        const { id } = await heard("fetch");
        answer(id);
        ended(id);
        const after = await (await fetching).text();
        return [failures, cancelled?.code, left.code, await closed, [state, error.code], after];"""
    )
    assert len(failures) >= 16 and all(error == ["worker_crashed", True, True] for error in failures.values()), failures
    assert (cancelled, unread, closed) == ("worker_crashed", "worker_crashed", [1006, False])
    assert (state, after) == (["failed", "worker_crashed"], "")


@pytest.mark.feature("Worker", "bodies are given away (transferred), and a caller's buffer is copied once")
async def test_what_crosses_is_given_away(scripted: ApiPage) -> None:
    """Each buffer posted to the worker is detached by it, and no larger than what it carries."""
    got = await scripted.run(
        """const posted = [];
        const native = Worker.prototype.postMessage;
        Worker.prototype.postMessage = function (message, transfer) {
          const data = message.data;
          const size = data ? [data.byteLength, data.buffer.byteLength] : null;
          native.call(this, message, transfer);
          if (data) posted.push([message.type, ...size, data.buffer.byteLength]);
        };"""
        + HEAD
        + """const mine = new Uint8Array(1000);
        const blob = new Blob([new Uint8Array(300_000)]);
        let slices = 0;  // copies by hand
        const slice = Uint8Array.prototype.slice;
        Uint8Array.prototype.slice = function (...all) { slices++; return slice.apply(this, all); };
        const take = async () => { for (;;) say({type: "written", id: (await heard("write")).id, bytes: 0}); };
        void take();
        const copies = [];
        for (const body of [mine.subarray(10, 30), mine.buffer, "text", blob, new Blob([mine])]) {
          slices = 0;
          const fetching = api.mixFetch("http://o/", {method: "POST", body});
          const { id } = await heard("fetch");
          if (body === blob) await heard("finish");
          answer(id);
          ended(id);
          await fetching;
          copies.push(slices);
        }
        return [posted, copies, mine.byteLength];"""
    )
    posted, copies, left = got
    assert all(after == 0 for *_, after in posted), "detached"
    whole = [size for kind, size, *_ in posted if kind == "fetch"]
    assert whole == [20, 1000, 4, 1000]
    assert all(size == buffer for kind, size, buffer, _ in posted if kind == "write")
    assert sum(size for kind, size, *_ in posted if kind == "write") == 300_000
    assert copies == [0, 0, 0, 0, 0], "the browser copies it, into the request; what is ours is not copied again"
    assert left == 1000, "a caller keeps its buffer"


@pytest.mark.feature("Worker", "200 fetches at once from one page, each with its own body")
async def test_two_hundred_at_once(shared: ApiPage) -> None:
    digests, left, most = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const one = async (n) => {
          const response = await api.mixFetch(`https://origin.test/bytes/${500 + n}?seed=${n}`);
          return sha256(await response.arrayBuffer());
        };
        let most = 0, done = false;
        const all = Promise.all(Array.from({length: 200}, (_, n) => one(n))).finally(() => { done = true; });
        // Some engines read a request's body before it is sent, also where it has none.
        while (most < 200 && !done) most = Math.max(most, (await tunnel.statistics()).operations);
        return [await all, await idle(tunnel), most];""",
        timeout=100,
    )
    assert digests == [hashlib.sha256(body_bytes(500 + n, str(n))).hexdigest() for n in range(200)]
    assert left == 0 and most == 200
