"""The API of the page in programs: `import "smolmix-web"` under Node.js, Deno and Bun."""

from __future__ import annotations

import signal
from asyncio import timeout

import pytest

from localnet import Network
from localnet.origin import body_sha256
from tests.node.programs import RESULT, RUNTIMES, Programs, hosts_of

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(200)]

ENTRIES = ["", "/globals", "/auto", "/node", "/mix-tunnel", "/mix-fetch", "/mix-dns", "/mix-websocket"]
EVERYTHING = """
await api.setupMixTunnel({ ...options, disablePoissonTraffic: true });
const response = await api.mixFetch("https://h2.test/bytes/200000?seed=7");
const posted = await (await api.mixFetch("https://origin.test/upload", {
  method: "POST", body: new Blob([new Uint8Array(100_000)]) })).json();
const hash = await sha256(await response.arrayBuffer());
const refused = await caught(() => api.mixFetch("http://closed.test/"));
const socket = new api.MixWebSocket("wss://ws.test/");
await socket.opened();
const heard = new Promise((resolve) => { socket.onmessage = ({ data }) => resolve(data); });
socket.send("over the mixnet");
const said = await heard;
const closed = await socket.close(1000);
const tcp = new api.TCPSocket("echo.test", 50007);
const { readable, writable } = await tcp.opened;
const writer = writable.getWriter();
await writer.write(new TextEncoder().encode("stream"));
await writer.close();
const echoed = await new Response(readable).text();
const udp = new api.UDPSocket({ remoteAddress: "echo.test", remotePort: 50007 });
const datagrams = await udp.opened;
await datagrams.writable.getWriter().write({ data: new TextEncoder().encode("datagram") });
const { value } = await datagrams.readable.getReader().read();
const tunnel = await api.getMixTunnel();
const messages = tunnel.messages;
const listener = tunnel.listen();
await listener.opened;
const mine = tunnel.openStream(tunnel.address);
const accepted = (async () => { for await (const stream of listener) return stream; })();
await mine.opened;
const end = mine.writable.getWriter();
await end.write(new TextEncoder().encode("to myself"));
await end.close();
const other = await accepted;
await other.opened;
const peer = await new Response(other.readable).text();
const name = await api.mixDNS("origin.test");
const { requests_blocked } = await tunnel.statistics();
await api.disconnectMixTunnel();
const { status } = response, { httpVersion: version } = response.mix;
return { status, hash, version, posted: posted.length, refused: refused.code, said,
  closed: [closed.type, closed.code, closed.wasClean], echoed, datagram: new TextDecoder().decode(value.data),
  peer, name, requests_blocked };
"""


@pytest.mark.feature("Programs", "fetch, WebSocket, DNS, TCP, UDP and streams in Node.js, Deno and Bun")
@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_everything(programs: Programs, runtime: str) -> None:
    """... and the program ends by itself afterwards, without another word."""
    assert await programs.value(EVERYTHING, runtime=runtime) == {
        "status": 200,
        "hash": body_sha256(200_000, 7),
        "version": "2",
        "posted": 100_000,
        "refused": "connect_refused",
        "said": "over the mixnet",
        "closed": ["close", 1000, True],
        "echoed": "stream",
        "datagram": "datagram",
        "peer": "to myself",
        "name": "203.0.114.10",
        "requests_blocked": 0,
    }


@pytest.mark.feature("Programs", "a large download arrives whole")
async def test_ten_megabytes(programs: Programs) -> None:
    got = await programs.value(
        """await api.setupMixTunnel(options);
        const { createHash } = await import("node:crypto");
        const response = await api.mixFetch("https://origin.test/bytes/10000000?seed=3");
        const hash = createHash("sha256");
        let size = 0;
        for await (const piece of response.body) { size += piece.length; hash.update(piece); }
        await api.disconnectMixTunnel();
        return [size, hash.digest("hex")];"""
    )
    assert got == [10_000_000, body_sha256(10_000_000, 3)]


@pytest.mark.feature("Programs", "an import starts nothing")
@pytest.mark.parametrize(
    "entry", ["", "/globals", "/auto", "/node", "/mix-tunnel", "/mix-fetch", "/mix-dns", "/mix-websocket"]
)
async def test_an_import_starts_nothing(programs: Programs, entry: str) -> None:
    """A page that is rendered on a server imports it too."""
    (value, places) = await programs.spied(
        """const { getActiveResourcesInfo } = process;
        return [getActiveResourcesInfo().filter((name) => /Worker|TCP|Timeout|MessagePort/.test(name)),
          Object.keys(globalThis).filter((name) => /mix/i.test(name))];""",
        entry=f"smolmix-web{entry}",
    )
    assert (value, places) == ([[], []], [])


@pytest.mark.feature("Programs", "a tunnel with nothing under way keeps no program from ending")
async def test_an_idle_tunnel_lets_the_program_end(programs: Programs) -> None:
    """Nobody has closed it, and a response's body is left where it is read."""
    ended = await programs.run(
        """await api.setupMixTunnel(options);
        return (await api.mixFetch("https://origin.test/text")).text();"""
    )
    assert (ended.code, ended.value, ended.errors) == (0, "Hello from the origin.\n", "")


UNREAD = """await api.setupMixTunnel(options);
const response = await api.mixFetch(args);
if (args.includes("later")) await new Promise((done) => setTimeout(done, 1500));
return [response.status, args.includes("later") ? (await response.arrayBuffer()).byteLength : null];"""


@pytest.mark.feature("Programs", "a response that nobody reads keeps no program from ending, however long it is")
@pytest.mark.parametrize("size", [1_000, 3_000_000])
@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_an_unread_response(programs: Programs, runtime: str, size: int) -> None:
    """... and one that is read later is there."""
    url = f"https://origin.test/bytes/{size}"
    ended = await programs.run(UNREAD, url, runtime=runtime)
    assert (ended.code, ended.value, ended.errors) == (0, [200, None], "")
    if size < 10_000:
        assert await programs.value(UNREAD, f"{url}?later", runtime=runtime) == [200, size]


async def test_one_half_of_a_body(programs: Programs) -> None:
    """What is read keeps the program for as long as it is read, and no longer."""
    got = await programs.value(
        """await api.setupMixTunnel(options);
        const reader = (await api.mixFetch("https://origin.test/bytes/3000000")).body.getReader();
        let size = 0;
        while (size < 100_000) size += (await reader.read()).value.length;
        return size < 3_000_000;"""
    )
    assert got is True


async def test_what_is_under_way_keeps_it(programs: Programs) -> None:
    """Though nothing else does: no timer, no handle."""
    got = await programs.value(
        """await api.setupMixTunnel(options);
        return (await api.mixFetch("https://origin.test/delay/2")).text();"""
    )
    assert got == "late\n"


@pytest.mark.feature("Programs", "Ctrl-C ends a download at once")
async def test_interrupted_in_a_download(programs: Programs) -> None:
    process = await programs.start(
        f"""await api.setupMixTunnel(options);
        const response = await api.mixFetch("https://origin.test/bytes/50000000");
        console.log("{RESULT}0");
        return (await response.arrayBuffer()).byteLength;"""
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == f"{RESULT}0\n".encode()
    process.send_signal(signal.SIGINT)
    async with timeout(5):
        out, errors = await process.communicate()
    assert (process.returncode, out, errors) == (-signal.SIGINT, b"", b"")


async def test_a_program_that_takes_the_interrupt(programs: Programs) -> None:
    """It aborts, closes the tunnel, and nothing is left that would be unhandled."""
    got = await programs.value(
        """await api.setupMixTunnel(options);
        const control = new AbortController();
        process.once("SIGINT", () => control.abort());
        const response = await api.mixFetch("https://origin.test/bytes/50000000", { signal: control.signal });
        setTimeout(() => process.kill(process.pid, "SIGINT"), 200);
        const name = await response.arrayBuffer().catch((error) => error.name);
        await api.disconnectMixTunnel();
        return name;"""
    )
    assert got == "AbortError"


async def test_closed_while_much_is_under_way(programs: Programs) -> None:
    got = await programs.value(
        """await api.setupMixTunnel(options);
        const works = [1, 2, 3].map((seed) => api.mixFetch(`https://origin.test/bytes/9000000?seed=${seed}`)
          .then((response) => response.arrayBuffer()).catch((error) => error.code));
        const socket = new api.MixWebSocket("wss://ws.test/");
        await socket.opened();
        new api.TCPSocket("echo.test", 50007);
        await api.disconnectMixTunnel();
        return Promise.all(works);"""
    )
    assert got == ["tunnel_down"] * 3


@pytest.mark.feature("Programs", "what only a page has is refused")
@pytest.mark.parametrize(
    ("option", "code"),
    [
        ({"shared": True}, "bad_option"),
        ({"integrity": "require"}, "boot_failed"),
        ({"assetsUrl": "/nowhere"}, "boot_failed"),
    ],
)
async def test_what_is_refused(programs: Programs, option: dict[str, object], code: str) -> None:
    got = await programs.value("return caught(() => api.setupMixTunnel({ ...options, ...args }));", option)
    assert got["code"] == code


@pytest.mark.feature("Programs", "nothing connects but to directory and gateway")
async def test_where_its_sockets_go(programs: Programs, network: Network) -> None:
    _, places = await programs.spied(EVERYTHING)
    assert {thread for thread, _, _ in places} == {"worker"}
    assert {what for _, kind, what in places if kind == "connect"} <= hosts_of(network)
    assert {kind for _, kind, _ in places} <= {"connect", "lookup"}


@pytest.mark.feature("Programs", "await using closes tunnel, sockets and listeners")
async def test_disposing(programs: Programs) -> None:
    """By the symbol, which is all that the syntax calls; a socket whose stream somebody reads is reset."""
    got = await programs.value(
        """const tunnel = new api.MixTunnel(options);
        await tunnel.setup();
        const tcp = await tunnel.connectTcp("echo.test", 50007);
        const held = await tunnel.connectTcp("echo.test", 50007);
        held.readable.getReader();
        const udp = await tunnel.bindUdp();
        const listener = tunnel.listen();
        await listener.opened;
        const mine = tunnel.openStream(tunnel.address);
        const { value: theirs } = await (await listener.opened).readable.getReader().read();
        await mine.opened;
        const socket = tunnel.webSocket("wss://ws.test/");
        await socket.opened();
        const all = [tcp, held, udp, listener, mine, theirs];
        for (const thing of [...all, socket]) await thing[Symbol.asyncDispose]();
        const endOf = ({ closed }) => closed.then(() => "closed", ({ code }) => code);
        const ends = await Promise.all(all.map(endOf));
        const later = tunnel.webSocket("wss://ws.test/");
        await later.opened();
        later[Symbol.dispose]();
        const states = [socket.readyState, later.readyState, (await later.close()).code];
        const pool = new api.MixTunnelPool({ ...options, size: 1 });
        await pool.setup();
        await Promise.all([tunnel, pool].map((one) => one[Symbol.asyncDispose]()));
        return [ends, states, tunnel.state.state, pool.state.state];""",
    )
    assert got == [["closed", "aborted", "closed", "closed", "closed", "closed"], [3, 2, 1005], "shutdown", "shutdown"]


@pytest.mark.feature("Programs", "await using closes tunnel, sockets and listeners")
async def test_disposing_in_auto_and_node(programs: Programs) -> None:
    got = await programs.value(
        """api.configure(options);
        const socket = new api.MixWebSocket("wss://ws.test/");
        await socket.opened();
        const tcp = new api.TCPSocket("echo.test", 50007), udp = new api.UDPSocket();
        await Promise.all([tcp.opened, udp.opened]);
        for (const thing of [socket, tcp, udp]) await thing[Symbol.asyncDispose]();
        await Promise.all([tcp.closed, udp.closed]);
        await (await api.openMixTunnel())[Symbol.asyncDispose]();
        return socket.readyState;""",
        entry="smolmix-web/auto",
    )
    assert got == 3
    got = await programs.value(
        """await api.setupMixTunnel(options);
        const { once } = await import("node:events");
        const ends = [];
        for (const symbol of [Symbol.asyncDispose, Symbol.dispose]) {
          const socket = api.connect({ host: "echo.test", port: 50007 }).on("error", () => {});
          await once(socket, "connect");
          await socket[symbol]();
          ends.push(socket.destroyed);
          new api.MixAgent()[symbol]();
        }
        await (await api.getMixTunnel())[Symbol.asyncDispose]();
        return ends;""",
        entry="smolmix-web/node",
    )
    assert got == [True, True]


@pytest.mark.feature("Programs", "await using closes tunnel, sockets and listeners")
async def test_await_using(programs: Programs) -> None:
    got = await programs.value(
        """let kept;
        {
          await using tunnel = new api.MixTunnel(options);
          await tunnel.setup();
          await using socket = tunnel.webSocket("wss://ws.test/");
          await socket.opened();
          using tcp = tunnel.tcpSocket("echo.test", 50007);
          await tcp.opened;
          kept = [tunnel, socket, tcp];
        }
        const ended = await kept[2].closed.then(() => "closed", ({ code }) => code);
        return [kept[0].state.state, kept[1].readyState, ended];""",
        runtime="Node.js 26",
    )
    assert got == ["shutdown", 3, "closed"]
