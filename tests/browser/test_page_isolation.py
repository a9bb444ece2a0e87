"""Isolation keys and pools of the page's API in a browser: what servers see of the keys, and how rotation looks."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from localnet import Network, NetworkConfig
from tests.browser.page_session import ApiPage, until

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(150)]


@pytest.mark.feature(
    "Isolation", "In a page: keys of fetch, names, sockets, WebSockets and cookies; bad ones are refused"
)
async def test_keys_of_a_tunnel(shared: ApiPage) -> None:
    got = await shared.run(
        """const tunnel = await api.getMixTunnel(), url = "https://origin.test/cookies";
        await tunnel.clearDnsCache();
        const sent = async (isolation) => {
          const response = await api.mixFetch(url, {cookies: "jar", isolation});
          const {cookies} = await response.json();
          return [Object.keys(cookies).length, response.timings.reused];
        };
        const seen = [];
        for (const key of ["alice", "bob", "alice", "carol"]) seen.push(await sent(key));
        const jars = [];
        for (const isolation of ["alice", undefined, "dave"]) {
          jars.push((await tunnel.cookies.export({isolation})).length);
        }
        await tunnel.cookies.clear({isolation: "alice"});
        await tunnel.cookies.import([{name: "a", value: "1", domain: "origin.test"}], {isolation: "dave"});
        const after = [await sent("alice"), await sent("dave")];
        const cached = [];
        for (const isolation of ["alice", "erin"]) {
          cached.push((await api.mixResolve("origin.test", {isolation})).fromCache);
        }
        const address = await api.mixDNS("origin.test", {isolation: "erin"});
        const tcp = await tunnel.connectTcp("echo.test", 50007, {isolation: "alice"});
        const udp = tunnel.udpSocket({remoteAddress: "echo.test", remotePort: 50007, isolation: "alice"});
        await Promise.all([tcp.close(), udp.opened.then(() => udp.close())]);
        const {rtt} = await tunnel.ping("echo.test", {isolation: "alice"});
        const socket = new api.MixWebSocket("wss://ws.test/", [], {isolation: "alice"});
        await socket.opened();
        await socket.close();
        const {isolations} = await tunnel.statistics();
        const refused = [];
        for (const isolation of ["", 7, "a".repeat(1025), {}]) {
          for (const work of [
            () => api.mixFetch(url, {isolation}), () => api.mixDNS("origin.test", {isolation}),
            () => api.mixResolve("origin.test", {isolation}), () => tunnel.ping("origin.test", {isolation}),
            () => tunnel.tcpSocket("echo.test", 7, {isolation}), () => tunnel.udpSocket({isolation}),
            () => new api.MixWebSocket("wss://ws.test/", [], {isolation}), () => tunnel.cookies.export({isolation}),
          ]) refused.push((await caught(async () => work()))?.name);
        }
        return {seen, jars, after, cached, address, rtt, isolations, refused, operations: await idle(tunnel)};"""
    )
    assert got["seen"] == [[0, False], [0, False], [2, True], [0, False]]
    assert got["jars"] == [2, 0, 0] and got["after"] == [[0, True], [1, False]]
    assert got["cached"] == [True, False] and got["address"] == "203.0.114.10" and got["rtt"] > 0
    assert got["isolations"] == 5 and got["operations"] == 0
    assert got["refused"] == ["TypeError"] * 32


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def exits() -> AsyncIterator[Network]:
    """A network whose three exits have addresses of their own."""
    if sys.platform != "linux":
        pytest.skip("exits with addresses of their own need all of 127/8")
    async with Network(NetworkConfig(seed="exits", exits=3, exit_sources=True)) as net:
        yield net


def options(net: Network, **pool: Any) -> dict[str, Any]:
    return {
        "directoryUrls": [net.directory_url],
        "forceTls": False,
        "caCertificates": net.ca_pem,
        "disablePoissonTraffic": True,
        "disableCoverTraffic": True,
        **pool,
    }


OPEN = """const pool = new api.MixTunnelPool(args.options);
const at = async (isolation, path = "/client") => {
  const response = await pool.fetch(`https://origin.test${path}`, {isolation});
  return [response.status, await response.text()];
};
await pool.setup();
"""


@pytest.mark.feature("Isolation", "In a page: a pool in one worker, each key at an exit of its own; rotation by hand")
async def test_a_pool(fresh: ApiPage, exits: Network) -> None:
    got = await fresh.run(
        OPEN
        + """const {state, tunnels} = pool.state;
        const found = [];
        for (const key of ["alice", "bob", undefined]) found.push((await at(key))[1]);
        const again = await Promise.all(["alice", "bob", undefined].map(async (key) => (await at(key))[1]));
        await pool.rotate({isolation: "alice"});
        const rotated = [(await at("alice"))[1], (await at("bob"))[1]];
        const statistics = await pool.statistics();
        const peers = await caught(async () => (await pool.listen().opened));
        await pool.disconnect();
        const exits = tunnels.map(({exit}) => exit), last = pool.state.state;
        return {state, exits, found, again, rotated, statistics, peers, last};""",
        timeout=120,
        options=options(exits, size=3),
    )
    assert got["state"] == "ready" and len(set(got["exits"])) == 3 and got["last"] == "shutdown"
    assert sorted(got["found"]) == ["127.0.1.1", "127.0.1.2", "127.0.1.3"] and got["again"] == got["found"]
    assert got["rotated"][1] == got["found"][1]
    assert got["statistics"]["replaced"] == {"asked": 1} and len(got["statistics"]["tunnels"]) == 3
    assert got["peers"]["code"] == "no_peers"
    await until(lambda: not fresh.page.workers)


@pytest.mark.feature("Isolation", "In a page: a pool rotates when a server answers 429, and repeats the request once")
async def test_rotation_by_status(fresh: ApiPage, exits: Network) -> None:
    got = await fresh.run(
        OPEN
        + """const [, before] = await at();
        const answer = await at(undefined, `/status/429?for=${before}`);
        const [, after] = await at();
        const {repeated, replaced} = await pool.statistics();
        await pool.disconnect();
        return {before, answer, after, repeated, replaced};""",
        timeout=120,
        options=options(exits, size=1, rotate={"statuses": [429]}),
    )
    assert got["answer"] == [200, "status 200\n"] and got["after"] != got["before"]
    assert (got["repeated"], got["replaced"]) == (1, {"refused": 1})


@pytest.mark.feature("Isolation", "In a page: bad options of a pool, and what a tunnel alone cannot do")
async def test_what_is_refused(shared: ApiPage, fresh: ApiPage) -> None:
    refused = await fresh.run(
        """const found = [];
        const bad = [{size: 9}, {rotate: {often: 1}}, {rotate: {everyMs: 1}}, {clientId: "me"}, {preferredIpr: "x"}];
        for (const given of bad) {
          const pool = new api.MixTunnelPool({...args.options, ...given});
          found.push((await caught(() => pool.setup()))?.option);
        }
        for (const given of [{shared: true}, {rotate: () => {}}]) {
          found.push((await caught(async () => new api.MixTunnelPool(given)))?.option);
        }
        return found;""",
        timeout=120,
        options={name: value for name, value in shared.options.items() if name != "preferredGateway"},
    )
    assert refused == ["size", "rotate.often", "rotate.everyMs", "clientId", "preferredIpr", "shared", "rotate"]
