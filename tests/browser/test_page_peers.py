"""Two clients with nobody in between: pages and Python; over the restart of a gateway; the chat."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from browserkit.server import StaticServer
from buildtools.common import DIST
from demo.run import SITE
from localnet.origin import body_sha256
from smolmix_web.cpython import open_tunnel
from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.mixnet.client import ReceivedMessage
from smolmix_web.rand import SeededRandom
from smolmix_web.tunnel import Tunnel
from tests.browser.page_session import ApiPage, PageFailure, Session

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

SIZE = 5_000_000
OUTAGE = 2.0  # s

# The same bytes at both sides of a test, cheap to make.
BYTES = """const bytes = (size, seed) => {
  const data = new Uint32Array(size / 4);
  for (let n = 0, x = seed; n < data.length; n++) data[n] = x = Math.imul(x ^ x >>> 15, 2246822519) + n | 0;
  return new Uint8Array(data.buffer);
};
const send = async (stream, data) => {
  const writer = stream.writable.getWriter();
  for (let at = 0; at < data.length; at += 65536) await writer.write(data.subarray(at, at + 65536));
  await writer.close();
};
const readAll = async (stream) => new Uint8Array(await new Response(stream.readable).arrayBuffer());
"""


@pytest_asyncio.fixture(loop_scope="session")
async def pair(session: Session) -> AsyncIterator[tuple[ApiPage, ApiPage]]:
    """Two pages at two gateways, each with a tunnel that has no exit. The first one is to call the second."""
    pages = await session.open(), await session.open()
    for page, gateway in zip(pages, session.net.gateways, strict=False):
        await page.set_up(exit="none", preferredGateway=gateway.identity_text)
    yield pages
    for page in pages:
        await page.page.context.close()


async def address_of(page: ApiPage) -> str:
    return str(await page.run("return (await api.getMixTunnel()).address"))


@pytest.mark.feature("Streams", "page: messages, replies, delivery, events")
async def test_messages_of_two_pages(pair: tuple[ApiPage, ApiPage]) -> None:
    a, b = pair
    answering = asyncio.create_task(
        b.run(
            """const { messages } = await api.getMixTunnel();
            const seen = [];
            await new Promise((done) => {
              messages.onmessage = async ({ data: { data, senderTag, source } }) => {
                seen.push([new TextDecoder().decode(data), senderTag?.length ?? null, source]);
                if (senderTag) await messages.reply(senderTag, "answer to " + new TextDecoder().decode(data));
                if (seen.length === 2) done();
              };
            });
            await sleep(500);
            return seen.sort();"""
        )
    )
    await asyncio.sleep(1)
    got: Any = await a.run(
        """const tunnel = await api.getMixTunnel();
        const { messages } = tunnel;
        const sent = await messages.send(args.peer, "hello");
        const states = [sent.state];
        const plain = await messages.send(args.peer, new Uint8Array([120, 121]), { surbs: null });
        const { data, senderTag, source } = await messages.receive({ signal: AbortSignal.timeout(30000) });
        await Promise.all([sent.delivered, plain.delivered]);
        states.push(sent.state);
        const codes = [];
        for (const work of [
          () => messages.send("nonsense", "x"),
          () => messages.send(args.peer, new Uint8Array(2 ** 20 + 1)),
          () => messages.reply("00".repeat(16), "x"),
          () => messages.send(args.peer, 5),
          () => messages.send(args.peer, "x", {surbs: 101}),
          () => messages.receive({ signal: AbortSignal.timeout(50) }),
          () => api.mixFetch("http://http.test/text"),
        ]) {
          const error = await caught(work);
          codes.push(typeof error.code === "string" ? error.code : error.name);
        }
        const { exit, address, state } = await api.getTunnelState();
        const now = [exit, address === tunnel.address, state];
        return [states, new TextDecoder().decode(data), senderTag, source === args.peer, codes, now];""",
        peer=await address_of(b),
    )
    assert got[:4] == [["sending", "delivered"], "answer to hello", None, True]
    assert got[4] == [
        "bad_recipient",
        "message_too_long",
        "unknown_sender_tag",
        "TypeError",
        "TypeError",
        "TimeoutError",
        "no_exit",
    ]
    assert got[5] == [None, True, "ready"]
    assert await answering == [["hello", 32, None], ["xy", None, None]]


@pytest.mark.feature("Streams", "page: 5 MB each way over the restart of a gateway")
@pytest.mark.parametrize("restarted", [0, 1], ids=["of the caller", "of the called"])
async def test_5_mb_over_a_restart(session: Session, pair: tuple[ApiPage, ApiPage], restarted: int) -> None:
    a, b = pair
    gateway = session.net.gateways[restarted]
    there = 0 if restarted else SIZE  # from the caller; the other way round where the called one's gateway restarts
    called = asyncio.create_task(
        b.run(
            BYTES
            + """const tunnel = await api.getMixTunnel();
            for await (const stream of tunnel.listen()) {
              const { remoteAddress, localAddress } = await stream.opened;
              const begun = performance.now();
              const [data] = await Promise.all([readAll(stream), send(stream, bytes(args.back, 7))]);
              const ms = performance.now() - begun;
              await stream.closed;
              const own = localAddress === tunnel.address;
              return [remoteAddress, own, data.length, await sha256(data), stream.reliable, ms];
            }""",
            timeout=200,
            back=SIZE - there,
        )
    )
    await asyncio.sleep(1)
    calling = asyncio.create_task(
        a.run(
            BYTES
            + """const tunnel = await api.getMixTunnel();
            const states = [];
            tunnel.addEventListener("state", ({ detail }) => states.push(detail.state));
            const stream = tunnel.openStream(args.peer);
            const { remoteAddress } = await stream.opened;
            const [data] = await Promise.all([readAll(stream), send(stream, bytes(args.there, 5))]);
            await stream.closed;
            return [remoteAddress === args.peer, data.length, await sha256(data), await sha256(bytes(args.there, 5)),
              await sha256(bytes(args.back, 7)), stream.reliable, states, tunnel.address, await idle(tunnel)];""",
            timeout=200,
            peer=await address_of(b),
            there=there,
            back=SIZE - there,
        )
    )
    before = gateway.counters["delivered"]
    async with asyncio.timeout(100):
        while gateway.counters["delivered"] - before < 400:
            assert not calling.done() and not called.done()
            await asyncio.sleep(0.02)
    await session.net.stop_node(gateway.name)
    await asyncio.sleep(OUTAGE)
    await session.net.start_node(gateway.name)
    known, back, hash_back, hash_there, expected_back, reliable, states, own, left = await calling
    remote, local, size, hash_there_got, reliable_too, ms = await called
    assert (known, back, hash_back, reliable, left) == (True, SIZE - there, expected_back, True, 0)
    assert (remote, local, size, hash_there_got, reliable_too) == (None, True, there, hash_there, True)
    assert ("reconnecting" in states) is not bool(restarted) and {"ready", *states[-1:]} == {"ready"}
    print(f"5 MB over a restart: {SIZE / ms:.0f} kB/s, {OUTAGE:g} s of it without a gateway; {own}")


@pytest.mark.feature("Streams", "page: ends, resets with a code, backpressure, a listener that closes")
async def test_how_streams_end(pair: tuple[ApiPage, ApiPage]) -> None:
    a, b = pair
    called = asyncio.create_task(
        b.run(
            """const tunnel = await api.getMixTunnel();
            const listener = tunnel.listen();
            const { readable, localAddress } = await listener.opened;
            const second = await caught(() => tunnel.listen().opened);
            const reader = readable.getReader();
            const next = async () => (await reader.read()).value;
            const reset = await caught(async () => (await next()).readable.getReader().read());
            const one = await next();
            const unread = one.readable.getReader();
            await sleep(3000);  // nobody reads: the caller has to wait
            const held = (await tunnel.statistics()).streams_frames_received;
            let size = 0;
            for (let r = await unread.read(); !r.done; r = await unread.read()) size += r.value.length;
            unread.releaseLock();
            await one.close();
            await listener.close();
            const closed = await listener.closed.then(() => "closed");
            const { done } = await reader.read();
            await sleep(1500);
            const own = localAddress === tunnel.address;
            return [own, second.code, [reset.code, reset.resetCode], held * 1600 < 2_000_000, size, closed, done];""",
            timeout=120,
        )
    )
    await asyncio.sleep(1)
    got = await a.run(
        """const tunnel = await api.getMixTunnel();
        const one = tunnel.openStream(args.peer, {surbs: 20});
        const early = (await caught(() => one.readable)).name;
        await one.opened;
        await sleep(300);
        one.abort("my reason", {code: 4711, text: "no more"});
        const told = (promise) => promise.catch((error) => error);
        const mine = [await told(one.closed), await told(one.readable.getReader().read())];
        const two = tunnel.openStream(args.peer);
        const writer = (await two.opened).writable.getWriter();
        let taken = 0;
        const fill = async () => {
          for (; taken < 4_000_000; taken += 100_000) await writer.write(new Uint8Array(100_000));
        };
        const filling = fill();
        await sleep(2500);
        const most = taken;
        await filling;
        await writer.close();
        await two.closed;
        await sleep(1000);
        const refused = await caught(async () => tunnel.openStream(args.peer).closed);
        const bad = [];
        for (const given of [[], ["h", null], ["h", {surbs: 0}], ["h", {signal: 5}]]) {
          bad.push((await caught(() => tunnel.openStream(...given))).name);
        }
        const nonsense = await caught(() => tunnel.openStream("h").opened);
        const control = new AbortController();
        const stopped = tunnel.openStream(args.peer, {signal: control.signal});
        await stopped.opened;
        control.abort("enough");
        const why = await told(stopped.closed);
        return [early, mine, most < 2_000_000, taken, refused.code, bad, nonsense.code, why, await idle(tunnel)];""",
        timeout=120,
        peer=await address_of(b),
    )
    assert got == [
        "InvalidStateError",
        ["my reason", "my reason"],
        True,
        4_000_000,
        "peer_refused",
        ["TypeError"] * 4,
        "bad_recipient",
        "enough",
        0,
    ]
    assert await called == [True, "listener_taken", ["stream_reset", 4711], True, 4_000_000, "closed", True]


# -- page and Python --------------------------------------------------------------------------------------


def python_tunnel(session: Session) -> Any:
    return open_tunnel(
        exit="none",
        directory_urls=[session.net.directory_url],
        force_tls=False,
        preferred_gateway=session.net.gateways[1].identity_text,
        disable_poisson_traffic=True,
        disable_cover_traffic=True,
    )


def listen_in(tunnel: Tunnel) -> bytearray:
    """Every plaintext that reaches a client from now on."""
    heard = bytearray()
    engine = tunnel._engine
    assert engine is not None
    receive = engine.peers.receive

    def note(message: ReceivedMessage, now: float) -> None:
        heard.extend(message.data)
        receive(message, now)

    engine.peers.receive = note  # type: ignore[method-assign]
    return heard


def traces(address: str) -> list[bytes]:
    """What would give an address away: it in text, and the keys in it as octets."""
    recipient = Recipient.parse(address)
    return [address.encode(), *address.encode().replace(b"@", b".").split(b"."), *recipient[:2], recipient.to_bytes()]


@pytest.mark.feature("Streams", "page to Python, whose caller stays unknown")
async def test_a_page_calls_python(session: Session, fresh: ApiPage) -> None:
    await fresh.set_up(exit="none")
    back = SeededRandom("back").bytes(300_000)
    async with python_tunnel(session) as tunnel:
        heard = listen_in(tunnel)
        inbox, listener = tunnel.messages, tunnel.listen()
        calling = asyncio.create_task(
            fresh.run(
                BYTES
                + """const tunnel = await api.getMixTunnel();
                await (await tunnel.messages.send(args.peer, "first")).delivered;
                const stream = tunnel.openStream(args.peer);
                await stream.opened;
                const [data] = await Promise.all([readAll(stream), send(stream, bytes(400_000, 3))]);
                await stream.closed;
                return [await sha256(data), await sha256(bytes(400_000, 3)), tunnel.address];""",
                peer=tunnel.address,
            )
        )
        assert (await inbox.receive(30)).data == b"first"
        stream = await listener.accept(30)
        assert stream.remote is None
        await stream.write(back)
        await stream.send_eof()
        got = hashlib.sha256()
        while piece := await stream.read():
            got.update(piece)
        await stream.finished(60)
        hash_back, hash_there, address = await calling
    assert (hash_back, hash_there) == (hashlib.sha256(back).hexdigest(), got.hexdigest())
    assert len(heard) > 400_000
    assert not [trace for trace in traces(address) if trace in heard], "the caller's address"


@pytest.mark.feature("Streams", "Python to page, whose caller stays unknown")
async def test_python_calls_a_page(session: Session, fresh: ApiPage) -> None:
    await fresh.set_up(exit="none")
    data = SeededRandom("there").bytes(300_000)
    async with python_tunnel(session) as tunnel:
        called = asyncio.create_task(
            fresh.run(
                """const tunnel = await api.getMixTunnel();
                const { value: stream } = await (await tunnel.listen().opened).readable.getReader().read();
                await stream.readable.pipeTo(stream.writable);
                await stream.closed;
                return [stream.reliable, (await stream.opened).remoteAddress];"""
            )
        )
        await asyncio.sleep(1)
        stream = await tunnel.open_stream(await address_of(fresh))

        async def send() -> None:
            await stream.write(data)
            await stream.send_eof()

        sending = asyncio.create_task(send())
        got = bytearray()
        while piece := await stream.read():
            got += piece
        await sending
        await stream.finished(60)
        assert got == data and await called == [True, None]


@pytest.mark.feature("Streams", "page: clientId keeps the address over reloads")
async def test_the_address_is_the_same_after_a_reload(session: Session, fresh: ApiPage) -> None:
    options = {"exit": "none", "clientId": "callee", "preferredGateway": None}
    await fresh.set_up(**options)
    address = await address_of(fresh)
    await fresh.page.reload()
    await fresh.set_up(**options)
    assert await address_of(fresh) == address
    async with python_tunnel(session) as tunnel:
        receiving = asyncio.create_task(
            fresh.run(
                """const { messages } = await api.getMixTunnel();
                for await (const { data, senderTag } of messages) return [new TextDecoder().decode(data), senderTag];"""
            )
        )
        await asyncio.sleep(0.5)
        tunnel.messages.send(address, b"are you still there?", surbs=None)
        assert await receiving == ["are you still there?", None]


# -- how fast ---------------------------------------------------------------------------------------------

DOWNLOAD = """const begun = performance.now();
  const body = await (await api.mixFetch(args.url)).arrayBuffer();
  return [await sha256(body), body.byteLength / (performance.now() - begun)];"""


@pytest.mark.feature("Streams", "page: at least 60 % of a download from an exit")
async def test_a_stream_is_as_fast_as_a_download(
    session: Session, pair: tuple[ApiPage, ApiPage], fresh: ApiPage
) -> None:
    """Unpaced, so that the machine is the limit, which two pages share here."""
    await fresh.set_up()
    size = 2_000_000
    hash, download = await fresh.run(DOWNLOAD, url=f"http://origin.test/bytes/{size}?seed=rate", timeout=100)
    assert hash == body_sha256(size, "rate")
    await fresh.run("await api.disconnectMixTunnel()")
    rate = await transfer(*pair, size)
    print(f"unpaced: stream {rate:.0f} kB/s, download from an exit {download:.0f} kB/s, {rate / download:.0%}")
    assert rate > 0.6 * download


async def transfer(a: ApiPage, b: ApiPage, size: int) -> float:
    """kB/s from the caller's first byte until the called one has read the end."""
    called = asyncio.create_task(
        b.run(
            BYTES
            + """for await (const stream of (await api.getMixTunnel()).listen()) {
              const reader = stream.readable.getReader();
              await reader.read();
              const begun = performance.now();
              let length = 0;
              for (let r = await reader.read(); !r.done; r = await reader.read()) length += r.value.length;
              const ms = performance.now() - begun;
              await stream.writable.close();
              await stream.closed;
              return length / ms;
            }""",
            timeout=200,
        )
    )
    await asyncio.sleep(1)
    script = "const stream = (await api.getMixTunnel()).openStream(args.peer); await stream.opened;"
    script += "await send(stream, bytes(args.size, 5)); await stream.closed;"
    await a.run(BYTES + script, timeout=200, peer=await address_of(b), size=size)
    return float(await called)


# -- the chat page ----------------------------------------------------------------------------------------


@pytest.mark.feature("Streams", "demo: two tabs chat and send a file to each other")
async def test_the_chat_page(session: Session, tmp_path: Path) -> None:
    """As people use it, with the standard traffic. Set SMOLMIX_SHOTS to a folder to keep a picture."""
    options = {"directoryUrls": [session.net.directory_url], "forceTls": False}
    (tmp_path / "config.json").write_text(json.dumps({"options": options}))
    data = {name: SeededRandom(name).bytes(150_000) for name in ("ada", "bob")}
    context = await session.browser.new_context(viewport={"width": 900, "height": 860})
    mounts = {"/": SITE, "/smolmix/": DIST, "/config.json": tmp_path / "config.json"}
    with StaticServer(mounts) as site:
        ada, bob = await context.new_page(), await context.new_page()
        await ada.goto(f"{site.url}/chat.html?name=ada")
        await ada.wait_for_function("chat.address !== null && chat.tunnel.state.state === 'ready'")
        called = await ada.get_attribute("#link", "href")
        await bob.goto(f"{site.url}/{called}")
        for page in (ada, bob):
            await page.wait_for_function("chat.talking", timeout=60_000)
        for page, words in ((bob, "Hello Ada, who am I?"), (ada, "I cannot know. Send me a file.")):
            await page.fill("#text", words)
            await page.press("#text", "Enter")
        await bob.wait_for_function("chat.said.length === 1", timeout=60_000)
        for page, name in ((bob, "bob"), (ada, "ada")):
            await page.set_input_files("#file", {"name": f"{name}.bin", "mimeType": "image/png", "buffer": data[name]})  # type: ignore[arg-type]
        for page, name in ((ada, "bob"), (bob, "ada")):
            await page.wait_for_function("chat.files.length === 1", timeout=90_000)
            (got,) = await page.evaluate("chat.files")
            assert (got["name"], got["sha256"]) == (f"{name}.bin", hashlib.sha256(data[name]).hexdigest())
            print(f"the usual traffic: {got['size'] / got['ms']:.0f} kB/s of {name}'s file, both ways at once")
        assert await ada.evaluate("chat.said") == ["Hello Ada, who am I?"]
        shots = Path(os.environ.get("SMOLMIX_SHOTS") or tempfile.mkdtemp(dir=tmp_path))
        await ada.screenshot(path=shots / "chat-ada.png", full_page=True)
        await bob.screenshot(path=shots / "chat-bob.png", full_page=True)
        if session.engine != "firefox":  # whose driver tells of no download
            async with ada.expect_download() as download:
                await ada.click("#log a")
            path = await (await download.value).path()
            assert path.read_bytes() == data["bob"]
        await bob.click("#hang-up")
        for page in (ada, bob):
            await page.wait_for_function("!chat.talking && chat.error === null", timeout=60_000)
        before = await ada.evaluate("chat.address")
        await ada.reload()
        await ada.wait_for_function("chat.address !== null")
        assert await ada.evaluate("chat.address") == before, "the name keeps its address"
    await context.close()


async def test_no_tunnel_no_peers(fresh: ApiPage) -> None:
    with pytest.raises(PageFailure, match="tunnel_down"):
        await fresh.run("await new api.MixTunnel().openStream('a.b@c').opened")
    got = await fresh.run(
        """const tunnel = new api.MixTunnel();
        return [tunnel.address, (await caught(() => tunnel.messages.send("a.b@c", "x"))).code,
          (await caught(() => tunnel.listen().opened)).code, (await caught(() => tunnel.messages.receive())).code];"""
    )
    assert got == [None, "tunnel_down", "tunnel_down", "tunnel_down"]
