"""Pools of whole tunnels in a simulated network, in virtual time: exits, rotation, deaths, bounds, and an end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import h11
import pytest

from smolmix_web.errors import OptionError, SmolmixError, StateError, TimeoutExpired, UsageError
from smolmix_web.host.base import HttpAnswer
from smolmix_web.http import HttpRequest
from smolmix_web.tunnel.isolation import MAX_KEYS
from smolmix_web.tunnel.options import TunnelOptions
from smolmix_web.tunnel.pool import REFUSED_PAUSE, TunnelPool
from smolmix_web.tunnel.pool_options import MAX_SIZE, PoolOptions
from smolmix_web.tunnel.pool_seat import DRAIN
from smolmix_web.tunnel.shared_directory import KEPT_SECONDS, SharedDirectory
from tests.simnet.host import SimHost
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import left_over, simulate
from tests.simnet.web import HttpService
from tests.simnet.world import ECHO_PORT, ORIGIN, Flow, World, pattern

QUIET = {"disablePoissonTraffic": True, "disableCoverTraffic": True}


class Site:
    """An HTTP server that notes by which exit each request came, and answers with that exit's name."""

    def __init__(self, network: SimNetwork) -> None:
        self.seen: list[tuple[str, str, str]] = []  # exit, method, path
        self.flows: list[str] = []  # exits
        self.refuses: dict[str, int] = {}  # exit: status
        self.refuses_all = 0
        network.world.listen(ORIGIN, 80, self._serve)

    def _serve(self, flow: Flow, world: World) -> _Served:
        self.flows.append(flow.exit)
        return _Served(self, flow, world)


class _Served(HttpService):
    def __init__(self, site: Site, flow: Flow, world: World) -> None:
        super().__init__(flow, world)
        self._site = site

    def _answer(self) -> None:
        assert self._request is not None
        path, exit_, site = self._request.target.decode(), self.flow.exit, self._site
        site.seen.append((exit_, self._request.method.decode(), path))
        if path.startswith("/bytes/"):
            super()._answer()
            return
        headers = dict(self._request.headers)
        body = headers.get(b"cookie", b"") if path == "/cookie" else exit_.encode()
        status = site.refuses_all or site.refuses.get(exit_, 200)
        sent = [(b"Content-Length", str(len(body)).encode())]
        if path == "/login":
            sent.append((b"Set-Cookie", b"session=1"))
        for event in (h11.Response(status_code=status, headers=sent), h11.Data(data=body), h11.EndOfMessage()):
            self.flow.write(self._http.send(event) or b"")
        self._http.start_next_cycle()


def pool_to(network: SimNetwork, host: SimHost, pool: dict[str, Any], **given: Any) -> TunnelPool:
    options = TunnelOptions.from_mapping({"directoryUrls": network.directory_urls, **QUIET, **given})
    return TunnelPool(options, PoolOptions.from_mapping(pool), host, crypto=host.crypto)


@asynccontextmanager
async def opened(network: SimNetwork, **pool: Any) -> AsyncIterator[tuple[TunnelPool, SimHost]]:
    """A pool that is up; nothing is left of it after its end."""
    host = SimHost(network)
    made = pool_to(network, host, pool)
    await made.start()
    try:
        yield made, host
    finally:
        await made.close()
    await asyncio.sleep(0.5)
    assert left_over(network, host) == {} and made.snapshot()["state"] == "shutdown"


async def get(pool: TunnelPool, key: str | None = None, path: str = "/", **fields: Any) -> tuple[int, str]:
    response = await pool.fetch(HttpRequest(f"http://origin.test{path}", **fields), isolation=key)
    return response.status, (await response.read()).decode()


def exits_of(pool: TunnelPool) -> list[str | None]:
    return [tunnel["exit"] for tunnel in pool.snapshot()["tunnels"]]


async def until(pool: TunnelPool, condition: Any, seconds: float = 300.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.5)


@pytest.mark.feature("Isolation", "A pool: each of the first keys has an exit of its own, and keeps it")
def test_keys_and_exits() -> None:
    network = SimNetwork("keys", exits=3)
    site = Site(network)

    async def main() -> None:
        async with opened(network, size=3) as (pool, host):
            assert pool.snapshot()["state"] == "ready" and pool.snapshot()["warnings"] == []
            assert len(set(exits_of(pool))) == 3
            assert len([url for url in host.gets if "described" in url]) == 1, "the directory is asked once for all"
            by_key = {key: (await get(pool, key))[1] for key in (None, "alice", "bob")}
            assert set(by_key.values()) == {"exit1", "exit2", "exit3"}
            for _ in range(3):
                for key, exit_ in by_key.items():
                    assert await get(pool, key) == (200, exit_)
            assert len(site.flows) == 3
            assert network.world.dns_queries.count("origin.test") == 6, "A and AAAA for each"
            shared = (await get(pool, "carol"))[1]
            assert shared in by_key.values() and len(site.flows) == 4, "a fourth key shares an exit and nothing else"
            assert pool.statistics()["isolations"] == 3

    simulate(network, main())


@pytest.mark.feature("Isolation", "A pool with fewer exits than tunnels: some share one, and the state says so")
def test_fewer_exits_than_tunnels() -> None:
    network = SimNetwork("few", exits=2)
    Site(network)

    async def main() -> None:
        async with opened(network, size=3) as (pool, _):
            assert len(set(exits_of(pool))) == 2
            assert [warning["code"] for warning in pool.snapshot()["warnings"]] == ["exits_shared"]
            assert {(await get(pool, key))[0] for key in ("a", "b", "c")} == {200}

    simulate(network, main())


@pytest.mark.feature("Isolation", "An exit that is dead is no reason for two tunnels to have none")
def test_a_dead_exit() -> None:
    network = SimNetwork("dead", exits=2)
    Site(network)
    network.exit("exit1").crash()

    async def main() -> None:
        async with opened(network, size=2) as (pool, _):
            assert {(await get(pool, key))[1] for key in ("a", "b")} == {"exit2"}

    simulate(network, main())


@pytest.mark.feature("Isolation", "Rotation by count: another exit after so many requests, cookies stay")
def test_rotation_by_count() -> None:
    network = SimNetwork("count", exits=3)
    Site(network)

    async def main() -> None:
        async with opened(network, size=1, rotate={"requests": 4}) as (pool, _):
            before = (await get(pool, "alice", "/login", cookies="jar"))[1]
            assert [(await get(pool, "alice"))[1] for _ in range(3)] == [before] * 3
            await until(pool, lambda: pool.statistics()["replaced"] and not pool._seats[0].replacing)
            after = (await get(pool, "alice"))[1]
            assert after != before
            assert await get(pool, "alice", "/cookie", cookies="jar") == (200, "session=1")
            assert await get(pool, "bob", "/cookie", cookies="jar") == (200, "")
            assert pool.statistics()["replaced"] == {"requests": 1}

    simulate(network, main())


@pytest.mark.feature("Isolation", "Rotation by time; what is under way in the old tunnel comes to its end")
def test_rotation_by_time() -> None:
    network = SimNetwork("time", exits=3)
    site = Site(network)

    async def main() -> None:
        async with opened(network, size=1, rotate={"everyMs": 600_000}) as (pool, host):
            begun = host.now()
            first = exits_of(pool)[0]
            await asyncio.sleep(440)
            assert exits_of(pool) == [first], "no sooner than three quarters of the time"
            tunnel = pool._seats[0].tunnel
            assert tunnel is not None
            echo = await pool.connect_tcp("origin.test", ECHO_PORT)
            await until(pool, lambda: exits_of(pool) != [first])
            assert 450 <= host.now() - begun <= 760
            await echo.stream.write(b"still here")
            assert await echo.stream.read() == b"still here"
            assert (await get(pool))[1] == site.flows[-1] and tunnel.state == "ready"
            await echo.stream.close()
            await asyncio.sleep(30)
            assert tunnel.state == "shutdown", "nothing is under way in it any more"

    simulate(network, main())


def test_a_connection_that_stays_open_holds_the_old_tunnel_for_a_time_only() -> None:
    network = SimNetwork("held", exits=3)
    Site(network)

    async def main() -> None:
        async with opened(network, size=1) as (pool, host):
            echo = await pool.connect_tcp("origin.test", ECHO_PORT)
            old = pool._seats[0].tunnel
            assert old is not None
            await pool.rotate()
            begun = host.now()
            with pytest.raises(SmolmixError) as raised:
                await echo.stream.read()
            assert raised.value.code == "tunnel_down" and DRAIN - 5 <= host.now() - begun <= DRAIN + 5
            assert old.state in ("shutting_down", "shutdown")

    simulate(network, main())


@pytest.mark.feature("Isolation", "Rotation on 403 and 429: the request is repeated once through another exit")
@pytest.mark.parametrize("status", [403, 429])
def test_rotation_by_status(status: int) -> None:
    network = SimNetwork("status", exits=3)
    site = Site(network)

    async def main() -> None:
        async with opened(network, size=1, rotate={"statuses": [403, 429]}) as (pool, _):
            first = (await get(pool))[1]
            site.refuses[first] = status
            answer = await get(pool, path="/page")
            assert answer[0] == 200 and answer[1] != first
            assert [(method, path) for _, method, path in site.seen] == [
                ("GET", "/"),
                ("GET", "/page"),
                ("GET", "/page"),
            ]
            assert (pool.statistics()["replaced"], pool.statistics()["repeated"]) == ({"refused": 1}, 1)
            # A server that refuses everybody: once more, and then no more for a while.
            site.refuses_all = status
            await asyncio.sleep(REFUSED_PAUSE + 1)
            count = len(site.seen)
            assert (await get(pool))[0] == status and len(site.seen) == count + 2
            for _ in range(5):
                assert (await get(pool))[0] == status
            assert len(site.seen) == count + 7 and pool.statistics()["replaced"] == {"refused": 2}

    simulate(network, main())


@pytest.mark.feature("Isolation", "Rotation by status: what cannot be sent twice is not, and its answer is given")
def test_what_is_not_repeated() -> None:
    network = SimNetwork("post", exits=3)
    site = Site(network)

    async def body() -> AsyncIterator[bytes]:
        yield b"streamed"

    async def main() -> None:
        async with opened(network, size=1, rotate={"statuses": [403]}) as (pool, _):
            site.refuses_all = 403
            for fields in ({"method": "POST", "body": b"x"}, {"method": "PUT", "body": body()}):
                assert (await get(pool, path="/form", **fields))[0] == 403
                await until(pool, lambda: not pool._seats[0].replacing)
                await asyncio.sleep(REFUSED_PAUSE + 1)
            assert [method for _, method, _ in site.seen] == ["POST", "PUT"]
            assert pool.statistics()["replaced"] == {"refused": 2}, "other requests have the new exit"
            assert (await get(pool, path="/form", method="PUT", body=b"x"))[0] == 403
            assert [method for _, method, _ in site.seen] == ["POST", "PUT", "PUT", "PUT"]
            # No other status counts.
            site.refuses_all = 429
            await asyncio.sleep(REFUSED_PAUSE + 1)
            assert (await get(pool))[0] == 429 and pool.statistics()["replaced"] == {"refused": 3}

    simulate(network, main())


@pytest.mark.feature("Isolation", "Rotation by status within the request's own limit; the first answer is not lost")
def test_where_no_other_tunnel_comes_up() -> None:
    network = SimNetwork("no other", exits=2)
    site = Site(network)

    async def main() -> None:
        async with opened(network, size=1, rotate={"statuses": [403]}) as (pool, host):
            first = (await get(pool))[1]
            site.refuses_all = 403
            begun = host.now()
            with patch.object(pool._seats[0], "_make", side_effect=TimeoutExpired("no tunnel", phase="gateway")):
                assert await get(pool, timeout=20.0) == (403, first)
            assert 5 < host.now() - begun < 11

    simulate(network, main())


@pytest.mark.feature("Isolation", "A tunnel of a pool that dies is replaced; requests wait within their own limits")
def test_a_tunnel_that_dies() -> None:
    network = SimNetwork("dies", exits=3)
    Site(network)

    async def main() -> None:
        async with opened(network, size=2) as (pool, _):
            alice, bob = (await get(pool, "alice"))[1], (await get(pool, "bob"))[1]
            assert alice != bob
            seat = pool._home("alice").seat
            assert seat.tunnel is not None
            seat.tunnel._fail(StateError("broken on purpose"))
            assert pool.snapshot()["state"] == "ready", "the other one is up"
            assert (await get(pool, "alice"))[0] == 200
            assert (await get(pool, "bob"))[1] == bob
            assert pool.statistics()["replaced"] == {"failed": 1}

    simulate(network, main())


@pytest.mark.feature("Isolation", "rotate(key): another exit now; the other keys keep theirs")
def test_rotation_by_hand() -> None:
    network = SimNetwork("hand", exits=4)
    Site(network)

    async def main() -> None:
        async with opened(network, size=2) as (pool, _):
            alice, bob = (await get(pool, "alice"))[1], (await get(pool, "bob"))[1]
            await pool.rotate("alice")
            assert (await get(pool, "alice"))[1] not in (alice, bob) and (await get(pool, "bob"))[1] == bob

    simulate(network, main())


@pytest.mark.feature("Isolation", "A pool comes up with those tunnels that do, and fails with none")
def test_a_network_that_is_not_there() -> None:
    network = SimNetwork("gone", exits=2)
    for exit_ in ("exit1", "exit2"):
        network.exit(exit_).crash()

    async def main() -> None:
        host = SimHost(network)
        pool = pool_to(network, host, {"size": 2}, connectTimeoutMs=10_000)
        with pytest.raises(SmolmixError) as raised:
            await pool.start()
        assert raised.value.code.startswith("exit")
        assert pool.snapshot()["state"] == "failed" and pool.snapshot()["error"]["code"] == raised.value.code
        with pytest.raises(SmolmixError) as raised:
            await get(pool)
        assert (raised.value.code, raised.value.reason) == ("tunnel_down", pool.snapshot()["error"]["code"])
        await pool.close()
        await asyncio.sleep(0.5)
        assert left_over(network, host) == {}

    simulate(network, main())


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.15, 0.25])
def test_a_start_that_is_given_up_leaves_nothing(seconds: float) -> None:
    network = SimNetwork("given up", exits=3)

    async def main() -> None:
        host = SimHost(network)
        pool = pool_to(network, host, {"size": 3})
        starting = asyncio.create_task(pool.start())
        await asyncio.sleep(seconds)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await asyncio.sleep(0.5)
        assert left_over(network, host) == {} and pool.snapshot()["state"] == "shutdown"

    simulate(network, main())


@pytest.mark.feature("Isolation", "Closing a pool ends what waits, what is being replaced and what is ending")
def test_closing_in_the_middle() -> None:
    network = SimNetwork("closing", exits=3)
    Site(network)

    async def main() -> None:
        async with opened(network, size=1) as (pool, _):
            echo = await pool.connect_tcp("origin.test", ECHO_PORT)
            await pool.rotate()  # the old one is ending, held by the connection
            again = asyncio.create_task(pool.rotate())
            await asyncio.sleep(1)
            download = asyncio.create_task(get(pool, path="/bytes/5000000"))
            await asyncio.sleep(1)
        for task in (again, download):
            with pytest.raises(SmolmixError) as raised:
                await task
            assert raised.value.code == "tunnel_down"
        with pytest.raises(SmolmixError):
            await echo.stream.read()

    simulate(network, main())


def test_suspended_pools_replace_nothing() -> None:
    network = SimNetwork("suspended", exits=3)
    Site(network)

    async def main() -> None:
        async with opened(network, size=2, rotate={"everyMs": 60_000}) as (pool, host):
            await pool.suspend()
            asked = len(host.gets)
            for _ in range(2):
                assert pool.snapshot()["state"] == "suspended"
                assert all(socket.state == "closed" for socket in host.sockets) and len(host.gets) == asked
                await asyncio.sleep(600)
            pool.resume()
            await until(pool, lambda: pool.snapshot()["state"] == "ready")
            assert (await get(pool))[0] == 200

    simulate(network, main())


@pytest.mark.feature("Isolation", "All that a tunnel carries, a pool carries by key; other clients it does not")
def test_everything_else() -> None:
    network = SimNetwork("everything", exits=2)
    Site(network)

    async def main() -> None:
        async with opened(network, size=2) as (pool, _):
            assert await pool.resolve("origin.test", isolation="alice") == [ORIGIN]
            assert (await pool.lookup("origin.test", isolation="alice")).from_cache
            assert not (await pool.lookup("origin.test", isolation="bob")).from_cache
            pool.clear_dns_cache()
            assert not (await pool.lookup("origin.test", isolation="alice")).from_cache
            reader, writer = await pool.open_connection("origin.test", ECHO_PORT, isolation="alice")
            writer.write(b"line\n")
            assert await reader.readline() == b"line\n"
            writer.close()
            await pool.usable("bob")
            with pool.bind_udp(isolation="bob") as udp:
                udp.send_to(b"datagram", ORIGIN, ECHO_PORT)
                assert (await udp.receive(20))[0] == b"datagram"
            with await pool.connect_udp("origin.test", ECHO_PORT, isolation="bob") as udp:
                udp.send(b"datagram")
                assert (await udp.receive(20))[0] == b"datagram"
            assert (await pool.ping("origin.test", isolation="bob")).address == ORIGIN
            response = await pool.fetch("http://origin.test/bytes/1000", isolation="alice")
            assert await response.read() == pattern(1000)
            for work in (pool.listen, lambda: pool.messages, lambda: pool.address, lambda: pool.listener):
                with pytest.raises(StateError) as raised:
                    work()
                assert raised.value.code == "no_peers"
            for bad in ("", 7):
                with pytest.raises(UsageError) as usage:
                    await pool.fetch("http://origin.test/", isolation=bad)  # type: ignore[arg-type]
                assert usage.value.code == "bad_isolation"

    simulate(network, main())


def test_one_directory_for_all() -> None:
    """A question under way is shared, an answer for a while; a failure is for those alone who waited for it."""
    network = SimNetwork("directory")

    async def main() -> None:
        host = SimHost(network)
        shared = SharedDirectory(host)  # type: ignore[arg-type]
        url = f"{network.directory_urls[0]}v1/epoch/key-rotation-info"

        def ask(path: str = "") -> Awaitable[HttpAnswer]:
            return shared.http_get(url + path, timeout=30.0, max_bytes=1 << 20)

        first, second = await asyncio.gather(ask(), ask())
        assert first.body == second.body == (await ask()).body and len(host.gets) == 1
        await asyncio.sleep(KEPT_SECONDS + 1)
        given_up = asyncio.ensure_future(ask())
        await asyncio.sleep(0)
        other = asyncio.ensure_future(ask())
        await asyncio.sleep(0)
        given_up.cancel()
        assert (await other).body == first.body and len(host.gets) == 2
        network.directories["directory1.sim"].down = True
        for count in (3, 4):
            with pytest.raises(SmolmixError):
                await ask("?again")
            assert len(host.gets) == count
        waiting = asyncio.ensure_future(ask("?last"))
        await asyncio.sleep(0)
        shared.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert host.timers == 0 and shared.name == "simulated"

    simulate(network, main())


@pytest.mark.feature("Isolation", "The keys of a pool have a bound, and are forgotten as those of a tunnel")
@patch("smolmix_web.tunnel.pool.IDLE_SECONDS", 400.0)
@patch("smolmix_web.tunnel.isolation.IDLE_SECONDS", 400.0)
def test_the_keys_of_a_pool() -> None:
    network = SimNetwork("bound", exits=2)
    Site(network)

    async def main() -> None:
        async with opened(network, size=2) as (pool, _):
            await get(pool, "alice", "/login", cookies="jar")
            for _ in range(3):  # used again and again, at last long after the day it was first used
                await asyncio.sleep(360)
                assert await get(pool, "alice", "/cookie", cookies="jar") == (200, "session=1")
            await asyncio.sleep(410)
            assert await get(pool, "alice", "/cookie", cookies="jar") == (200, "") and len(pool.jar("alice")) == 0
            for number in range(3 * MAX_KEYS):
                assert len(pool.jar(f"key {number}")) == 0
                await pool.resolve("192.0.2.1", isolation=f"key {number}")
            assert pool.statistics()["isolations"] == 2 * (MAX_KEYS + 1)
            homes = Counter(id(home.seat) for home in pool._homes.values())
            assert max(homes.values()) - min(homes.values()) <= 2, "as many at each exit"
            assert await get(pool, "alice", "/cookie", cookies="jar") == (200, "")

    simulate(network, main())


@pytest.mark.feature("Isolation", "Bad options of a pool are refused before anything is sent")
@pytest.mark.parametrize(
    ("pool", "option"),
    [
        ({"size": 0}, "size"),
        ({"size": MAX_SIZE + 1}, "size"),
        ({"size": "two"}, "size"),
        ({"tunnels": 2}, "tunnels"),
        ({"rotate": []}, "rotate"),
        ({"rotate": {"everyMs": 10}}, "rotate.everyMs"),
        ({"rotate": {"requests": 0}}, "rotate.requests"),
        ({"rotate": {"statuses": 403}}, "rotate.statuses"),
        ({"rotate": {"statuses": [200]}}, "rotate.statuses"),
        ({"rotate": {"daily": True}}, "rotate.daily"),
    ],
)
def test_bad_options(pool: dict[str, Any], option: str) -> None:
    with pytest.raises(OptionError) as raised:
        PoolOptions.from_mapping(pool)
    assert raised.value.option == option


def test_options_of_one_tunnel_alone() -> None:
    network = SimNetwork("alone")
    host = SimHost(network)
    address = str(network.exit("exit1").address)
    given: dict[str, Any]
    for given in ({"clientId": "me"}, {"preferredIpr": address}, {"exit": "none"}, {"shared": True}, {"topology": {}}):
        with pytest.raises(OptionError) as raised:
            pool_to(network, host, {}, **given)
        assert raised.value.option in given
    assert PoolOptions.from_mapping({"size": None, "rotate": None}) == PoolOptions(2)
    kept = PoolOptions.from_mapping({"rotate": {"every_ms": 5_000.0, "requests": 7, "statuses": (403,)}})
    assert kept == PoolOptions(2, 5_000, 7, frozenset({403}))
