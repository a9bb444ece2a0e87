"""Libraries of Node.js over the tunnel, unchanged: by an agent, a connector, a fetch, a socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from localnet import Network, names
from localnet.http_server import HttpServer, Request, Response, json_response
from tests.node.programs import Programs, hosts_of

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(200), pytest.mark.usefixtures("libraries")]

RPC_PORT = 8080  # one that the exit's policy lets through
BEGIN = "await api.setupMixTunnel(options); const ca = options.caCertificates;"
END = "await api.disconnectMixTunnel(); return got;"
AGENT = "const agent = new api.MixAgent({ keepAlive: true });"

# Each gives the JSON of https://origin.test/json, or what is said beside it.
LIBRARIES = {
    "node:https": AGENT
    + """const { request } = await import("node:https");
    const got = await new Promise((done, fail) => {
      const read = async (response) => {
        let text = "";
        for await (const piece of response) text += piece;
        done(JSON.parse(text));
      };
      request("https://origin.test/json", { agent, ca }, read).on("error", fail).end();
    });
    agent.destroy();""",
    "node:http": AGENT
    + """const { request } = await import("node:http");
    const got = await new Promise((done, fail) => {
      const read = async (response) => {
        let text = "";
        for await (const piece of response) text += piece;
        done({ ...JSON.parse(text), secure: true });
      };
      request("http://origin.test/json", { agent }, read).on("error", fail).end();
    });
    agent.destroy();""",
    "axios": AGENT
    + """const { default: axios } = await import("axios");
    agent.options.ca = ca;
    const settings = { httpAgent: agent, httpsAgent: agent, proxy: false };
    const { data: got } = await axios.get("https://origin.test/json", settings);
    agent.destroy();""",
    "got": AGENT
    + """const { default: read } = await import("got");
    const settings = { agent: { https: agent }, https: { certificateAuthority: ca } };
    const got = await read("https://origin.test/json", settings).json();
    agent.destroy();""",
    "node-fetch": AGENT
    + """const { default: read } = await import("node-fetch");
    agent.options.ca = ca;
    const got = await (await read("https://origin.test/json", { agent })).json(); agent.destroy();""",
    "undici": """const { Agent, request } = await import("undici");
    const dispatcher = new Agent({ connect: api.mixConnector({ ca }) });
    const { body } = await request("https://origin.test/json", { dispatcher });
    const got = await body.json(); await dispatcher.close();""",
    "undici fetch": """const { Agent, fetch } = await import("undici");
    const dispatcher = new Agent({ connect: api.mixConnector({ ca }) });
    const got = await (await fetch("https://origin.test/json", { dispatcher })).json(); await dispatcher.close();""",
    "fetch of Node.js": """const { Agent, setGlobalDispatcher } = await import("undici");
    setGlobalDispatcher(new Agent({ connect: api.mixConnector({ ca }) }));
    const got = await (await fetch("https://origin.test/json")).json();
    setGlobalDispatcher(new Agent());""",
    "ws": AGENT
    + """const { WebSocket } = await import("ws");
    const socket = new WebSocket("wss://ws.test/", { agent, ca });
    await new Promise((done, fail) => socket.on("open", done).on("error", fail));
    socket.send("hello");
    const said = await new Promise((done) => socket.once("message", (data) => done(String(data))));
    socket.close(); await new Promise((done) => socket.once("close", done)); agent.destroy();
    const got = { [said]: "origin", secure: true };""",
    "ethers": AGENT
    + """const { FetchRequest, JsonRpcProvider } = await import("ethers");
    FetchRequest.registerGetUrl(FetchRequest.createGetUrlFunc({ agent }));
    const provider = new JsonRpcProvider("http://origin.test:8080/", 1, { staticNetwork: true });
    const block = await provider.getBlockNumber();
    provider.destroy(); agent.destroy();
    const got = { hello: block === 77 ? "origin" : block, secure: true };""",
    "viem": """const { createPublicClient, http } = await import("viem");
    const client = createPublicClient({ transport: http("http://origin.test:8080/", { fetchFn: api.mixFetch }) });
    const block = await client.getBlockNumber();
    const got = { hello: block === 77n ? "origin" : String(block), secure: true };""",
}


async def rpc(request: Request) -> Response:
    asked = json.loads(request.body)
    answers = [
        {"jsonrpc": "2.0", "id": one["id"], "result": "0x4d"} for one in (asked if isinstance(asked, list) else [asked])
    ]
    return json_response(answers if isinstance(asked, list) else answers[0])


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def rpc_server(network: Network) -> AsyncIterator[None]:
    server = HttpServer(rpc)
    await server.start("127.0.0.1")
    network.world.dial_map.add_name(names.ORIGIN, "tcp", RPC_PORT, ("127.0.0.1", server.port))
    yield
    await server.close()


def outside(places: list[list[str]], network: Network) -> list[list[str]]:
    """Of all places asked for those that are neither directory nor gateway, or asked for by the program itself."""
    hosts = hosts_of(network)
    return [place for place in places if place[0] != "worker" or (place[1] == "connect" and place[2] not in hosts)]


@pytest.mark.feature("Programs", "axios, got, node-fetch, undici, ws, ethers and viem over the tunnel")
@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_library(programs: Programs, network: Network, library: str) -> None:
    got, places = await programs.spied(BEGIN + LIBRARIES[library] + END, entry="smolmix-web/node")
    assert got == {"hello": "origin", "secure": True}
    assert outside(places, network) == []


@pytest.mark.feature("Programs", "certificates are checked inside the tunnel by node:tls")
async def test_certificates_are_checked(programs: Programs) -> None:
    got = await programs.value(
        BEGIN
        + AGENT
        + """const { get } = await import("node:https");
        const code = (url, given) => new Promise((done) => get(url, { agent, ...given }, () => done("answered"))
          .on("error", (error) => done(error.code)));
        const got = [await code("https://origin.test/text", {}), await code("https://wrong-name.test/text", { ca }),
          await code("https://origin.test/text", { ca })];
        agent.destroy();"""
        + END,
        entry="smolmix-web/node",
    )
    assert got[0] in ("UNABLE_TO_VERIFY_LEAF_SIGNATURE", "SELF_SIGNED_CERT_IN_CHAIN") and got[2] == "answered"
    assert got[1] == "ERR_TLS_CERT_ALTNAME_INVALID"


@pytest.mark.feature("Programs", "connect and Duplex streams in the shape of net.Socket")
async def test_a_socket(programs: Programs) -> None:
    got = await programs.value(
        BEGIN
        + """const { pipeline } = await import("node:stream/promises");
        const { once } = await import("node:events");
        const socket = api.connect({ host: "echo.test", port: 50007, allowHalfOpen: true });
        const states = [socket.readyState];
        await once(socket, "connect");
        states.push(socket.readyState);
        const bytes = crypto.getRandomValues(new Uint8Array(60_000));
        let back = Buffer.alloc(0);
        const reading = (async () => { for await (const piece of socket) back = Buffer.concat([back, piece]); })();
        socket.end(bytes);
        await reading;
        const failures = [];
        for (const place of [{ host: "closed.test", port: 80 }, { host: "nowhere.test", port: 80 }]) {
          const [error] = await once(api.connect(place).on("connect", () => failures.push("connected")), "error");
          failures.push(error.code, error.cause.code);
        }
        const silent = api.connect({ host: "echo.test", port: 50007 }).setTimeout(200);
        await once(silent, "timeout");
        silent.destroy();
        await once(silent, "close");
        const control = new AbortController();
        const dropped = api.connect({ host: "echo.test", port: 50007, signal: control.signal });
        control.abort();
        const [aborted] = await once(dropped, "error");
        const got = { states, equal: Buffer.from(bytes).equals(back), counts: [socket.bytesRead, socket.bytesWritten],
          family: socket.remoteFamily, failures, aborted: aborted.name };"""
        + END,
        entry="smolmix-web/node",
    )
    failures = got.pop("failures")
    assert failures == ["ECONNREFUSED", "connect_refused", "ENOTFOUND", "dns_not_found"]
    assert got.pop("family") in ("IPv4", "IPv6")
    assert got == {"states": ["opening", "open"], "equal": True, "counts": [60_000, 60_000], "aborted": "AbortError"}


@pytest.mark.feature("Programs", "a resolver in the shape of dns.promises")
async def test_a_resolver(programs: Programs, network: Network) -> None:
    got, places = await programs.spied(
        BEGIN
        + """const dns = new api.MixResolver();
        const ttls = await dns.resolve4("origin.test", { ttl: true });
        const got = [await dns.resolve4("origin.test"), await dns.resolve6("origin.test"), typeof ttls[0].ttl,
          await dns.lookup("origin.test", { all: true }), await dns.lookup("origin.test", 6),
          await dns.resolveMx("zone.test"), (await dns.resolveSoa("zone.test")).nsname,
          await dns.resolve4("nowhere.test").catch(({ code }) => code),
          await dns.resolveMx("origin.test").catch(({ code }) => code)];
        const cancelled = dns.resolve4("silent.test");
        setTimeout(() => dns.cancel(), 100);
        got.push(await cancelled.catch(({ code }) => code));"""
        + END,
        entry="smolmix-web/node",
    )
    four, six = "203.0.114.10", "2a0e:6a80:114::a"
    assert got == [
        [four],
        [six],
        "number",
        [{"address": four, "family": 4}, {"address": six, "family": 6}],
        {"address": six, "family": 6},
        [{"priority": 10, "exchange": "mail.zone.test"}, {"priority": 20, "exchange": "backup.zone.test"}],
        "ns1.zone.test",
        "ENOTFOUND",
        "ENODATA",
        "ECANCELED",
    ]
    assert outside(places, network) == []


@pytest.mark.feature("Programs", "without a tunnel nothing connects")
async def test_without_a_tunnel(programs: Programs) -> None:
    got, places = await programs.spied(
        """const { get } = await import("node:http");
        const { once } = await import("node:events");
        const asked = get("http://origin.test/", { agent: new api.MixAgent() });
        const [agent] = await once(asked, "error");
        const [socket] = await once(api.connect(80, "origin.test"), "error");
        const resolving = new api.MixResolver().resolve4("origin.test");
        return [agent.code, socket.code, await resolving.catch(({ code }) => code)];""",
        entry="smolmix-web/node",
    )
    assert (got, places) == (["ENETDOWN"] * 3, [])


async def test_the_table_of_the_docs() -> None:
    """docs/node.md has a row for each library."""
    page = (Path(__file__).parents[2] / "docs" / "node.md").read_text()
    for library in LIBRARIES:
        assert f"| {library} |" in page, library
