"""docs/wallets.md: each of its examples runs, unchanged but for the names of the servers."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from buildtools.common import ROOT
from localnet import Network, names
from localnet.http_server import HttpServer, Request, Response
from tests.examples import examples, expected
from tests.node.programs import Programs
from tests.node.test_libraries import RPC_PORT, outside, rpc

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(200), pytest.mark.usefixtures("libraries")]

CASES = examples(ROOT / "docs" / "wallets.md", "javascript")
IMPORT = re.compile(r"^import (\{.*\}) from \"(.*)\";$", re.MULTILINE)
BLOCK, NEXT_BLOCK = "0x4d", "0x4e"


@dataclass
class Node:
    """A node's JSON-RPC over HTTP and over WebSocket, and a relay of WalletConnect's kind on the same port."""

    hosts: list[tuple[str, str]] = field(default_factory=list)  # method, host that was asked
    topics: dict[str, list[ServerConnection]] = field(default_factory=dict)
    opened: list[list[str]] = field(default_factory=list)  # methods of each WebSocket

    async def http(self, request: Request) -> Response:
        asked = json.loads(request.body)
        host = request.header("host") or ""
        self.hosts += [(one["method"], host) for one in (asked if isinstance(asked, list) else [asked])]
        return await rpc(request)

    async def socket(self, connection: ServerConnection) -> None:
        methods: list[str] = []
        self.opened.append(methods)
        numbers = itertools.count(1)
        try:
            async for text in connection:
                asked = json.loads(text)
                method, params = asked["method"], asked.get("params")
                methods.append(method)
                result: object = {"eth_blockNumber": BLOCK, "eth_chainId": "0x1", "net_version": "1"}.get(method, True)
                if method in ("eth_subscribe", "irn_subscribe"):
                    result = f"0x{next(numbers)}"
                await connection.send(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}))
                if method == "eth_subscribe":
                    await self.tell(connection, "eth_subscription", {"subscription": result, "result": HEAD})
                elif method == "irn_subscribe":
                    self.topics.setdefault(params["topic"], []).append(connection)
                elif method == "irn_publish":
                    for other in self.topics.get(params["topic"], []):
                        data = {"topic": params["topic"], "message": params["message"]}
                        await self.tell(other, "irn_subscription", {"id": "0x1", "data": data})
        except ConnectionClosed:
            pass

    async def tell(self, connection: ServerConnection, method: str, params: object) -> None:
        number = {"id": 1} if method.startswith("irn_") else {}  # a relay's are requests, a node's are none
        await connection.send(json.dumps({"jsonrpc": "2.0", **number, "method": method, "params": params}))


HEAD = {"number": NEXT_BLOCK, "hash": "0x" + "11" * 32, "parentHash": "0x" + "22" * 32, "timestamp": "0x1"}


@pytest_asyncio.fixture(loop_scope="session")
async def node(network: Network) -> AsyncIterator[tuple[Node, int]]:
    found = Node()
    server = HttpServer(found.http)
    await server.start("127.0.0.1")
    async with serve(found.socket, "127.0.0.1", 0) as sockets:
        port = next(iter(sockets.sockets)).getsockname()[1]
        dial = network.world.dial_map
        dial.add_name(names.ORIGIN, "tcp", RPC_PORT, ("127.0.0.1", server.port))
        for name in (names.WEBSOCKET, names.ECHO):
            dial.add_name(name, "tcp", RPC_PORT, ("127.0.0.1", port))
        yield found, server.port
    await server.close()


def local(code: str) -> str:
    for name, ours in (("https://rpc", "http://origin"), ("wss://rpc", "ws://ws"), ("wss://relay", "ws://echo")):
        code = code.replace(f"{name}.example.com/", f"{ours}.test:{RPC_PORT}/")
    assert "example.com" not in code
    return IMPORT.sub(
        lambda found: f"const {found[1].replace(' as ', ': ')} = await import({json.dumps(found[2])});", code
    )


PROGRAM = """const printed = [];
const console = { ...globalThis.console, log: (...values) => printed.push(values.map(String).join(" ")) };
await api.setupMixTunnel(options);
{
%s
}
await api.disconnectMixTunnel();
return printed;"""


def case(word: str) -> str:
    (code,) = [code for code in CASES if word in code]
    return code


def printed(code: str) -> list[str]:
    """What a loop prints, it prints twice."""
    lines = [(line, text) for line in code.splitlines() for text in re.findall(r"// -> (.*)$", line)]
    return [text for line, text in lines for _ in range(2 if line.startswith("for ") else 1)]


@pytest.mark.feature(
    "Programs", "wallets: viem, ethers and WalletConnect's relay client, accounts apart, as docs/wallets.md says"
)
@pytest.mark.parametrize(
    "word", ["const [alice, bob]", "watchBlockNumber", "HIDDEN", "getUrlFunc", "WebSocketProvider", "WsConnection"]
)
async def test_an_example(programs: Programs, network: Network, node: tuple[Node, int], word: str) -> None:
    code, (found, port) = case(word), node
    assert expected(code)
    body = local(code)
    if word == "HIDDEN":  # the open way of this machine
        body = body.replace(
            f'open = http("http://origin.test:{RPC_PORT}/")', f'open = http("http://127.0.0.1:{port}/")'
        )
    value, places = await programs.spied(PROGRAM % body)
    assert value == printed(code)
    if word == "HIDDEN":
        assert {host for method, host in found.hosts if method == "eth_getBalance"} == {f"origin.test:{RPC_PORT}"}
        assert {host for method, host in found.hosts if method == "eth_blockNumber"} == {f"127.0.0.1:{port}"}
        places = [place for place in places if place[0] != "main" or place[2] not in (f"127.0.0.1:{port}", "127.0.0.1")]
    else:
        assert {host for _, host in found.hosts} <= {f"origin.test:{RPC_PORT}"}
    assert outside(places, network) == []
    if word in ("watchBlockNumber", "WsConnection"):
        assert len(found.opened) == 2, "a connection for each account"


async def test_no_example_is_left_out() -> None:
    assert len(CASES) == 6


@pytest.mark.feature("Programs", "wallets: accounts share no connection of HTTP")
async def test_accounts_have_connections_of_their_own(programs: Programs, network: Network) -> None:
    """Two keys, two connections; one key, one."""
    clients: list[object] = []

    async def handle(request: Request) -> Response:
        clients.append(request.client)
        return await rpc(request)

    server = HttpServer(handle)
    await server.start("127.0.0.1")
    network.world.dial_map.add_name(names.ORIGIN, "tcp", RPC_PORT, ("127.0.0.1", server.port))
    again = local(case("const [alice, bob]")).replace(
        "console.log(", "await alice.request({ method: 'eth_chainId' }); console.log("
    )
    await programs.value(PROGRAM % again)
    await server.close()
    assert (len(clients), len(set(clients))) == (3, 2)
