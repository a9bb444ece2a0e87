"""Isolation keys and pools of the CPython client against a local network: what a server sees, by address and cookie."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx
import pytest

from localnet import Network
from smolmix_web import cpython
from smolmix_web.errors import OptionError, UsageError
from smolmix_web.integrations.aiohttp_connector import MixConnector
from smolmix_web.integrations.httpx_transport import MixTransport
from smolmix_web.tunnel.pool import TunnelPool
from tests.integration.tunnels import open_tunnel

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="exits with addresses of their own need all of 127/8"),
]

EXITS = pytest.mark.parametrize("localnet", [{"exits": 3, "exit_sources": True}], indirect=True)


@asynccontextmanager
async def open_pool(network: Network, **pool: Any) -> AsyncIterator[TunnelPool]:
    async with cpython.open_pool(
        directory_urls=[network.directory_url],
        force_tls=False,
        ca_certificates=network.ca_pem,
        disable_poisson_traffic=True,
        disable_cover_traffic=True,
        **pool,
    ) as opened:
        yield opened


async def address(tunnel: Any, key: str | None = None, path: str = "/client") -> tuple[int, str]:
    response = await tunnel.fetch(f"https://origin.test{path}", isolation=key)
    return response.status, (await response.read()).decode()


@pytest.mark.feature("Isolation", "A tunnel's keys against real servers: connections, names and cookies apart")
@EXITS
async def test_keys_of_a_tunnel(localnet: Network) -> None:
    async with open_tunnel(localnet) as tunnel:

        async def cookies(key: str | None) -> str:
            response = await tunnel.fetch("https://origin.test/cookies", isolation=key, cookies="jar")
            assert not response.timings.reused or key in seen
            seen.add(key)
            return (await response.read()).decode()

        seen: set[str | None] = set()
        first = [await cookies(key) for key in ("alice", "bob", None)]
        second = [await cookies(key) for key in ("alice", "carol")]
        assert all("oat" not in answer for answer in [*first, second[1]]) and "oat" in second[0]
        assert len(tunnel.jar("alice")) == 2 and len(tunnel.jar("nobody")) == 0
        assert {(await address(tunnel, key))[1] for key in ("alice", "bob")} == {(await address(tunnel))[1]}
        assert (await tunnel.lookup("origin.test", isolation="alice")).from_cache
        assert not (await tunnel.lookup("origin.test", isolation="dave")).from_cache
        reader, writer = await tunnel.open_connection("echo.test", 50_007, isolation="alice")
        writer.write(b"line\n")
        assert await reader.readline() == b"line\n"
        writer.close()
        async with await tunnel.connect_websocket("wss://ws.test/", isolation="alice") as socket:
            await socket.send("text")
            assert await socket.receive() == "text"
        with pytest.raises(UsageError) as raised:
            await tunnel.fetch("https://origin.test/", isolation="")
        assert raised.value.code == "bad_isolation"
    assert localnet.violations() == {}


@pytest.mark.feature("Isolation", "A pool: servers see the keys at different addresses")
@EXITS
async def test_keys_of_a_pool(localnet: Network) -> None:
    async with open_pool(localnet, size=3) as pool:
        found = {key: (await address(pool, key))[1] for key in ("alice", "bob", None)}
        assert sorted(found.values()) == ["127.0.1.1", "127.0.1.2", "127.0.1.3"]
        answers = await asyncio.gather(*(address(pool, key) for key in found for _ in range(4)))
        assert [text for _, text in answers] == [text for text in found.values() for _ in range(4)]
        assert len({tunnel["exit"] for tunnel in pool.snapshot()["tunnels"]}) == 3
    assert localnet.violations() == {}


@pytest.mark.feature("Isolation", "A pool rotates on 403 and 429, by count, by time and when asked")
@EXITS
async def test_rotation(localnet: Network) -> None:
    async with open_pool(localnet, size=1, rotate={"statuses": [403, 429]}) as pool:
        before = (await address(pool))[1]
        assert await address(pool, path=f"/status/429?for={before}") == (200, "status 200\n")
        after = (await address(pool))[1]
        assert after != before
        assert (await address(pool, path=f"/status/403?for={after}"))[0] == 403, "not again so soon"
        await pool.rotate()
        assert (await address(pool))[1] != after
    async with open_pool(localnet, size=1, rotate={"requests": 3}) as pool:
        addresses = [(await address(pool))[1] for _ in range(3)]
        async with asyncio.timeout(60):
            while (await address(pool))[1] == addresses[0]:
                await asyncio.sleep(0.1)
    async with open_pool(localnet, size=1, rotate={"every_ms": 2_000}) as pool:
        before = (await address(pool))[1]
        async with asyncio.timeout(60):
            while (await address(pool))[1] == before:
                await asyncio.sleep(0.1)


@pytest.mark.feature("Isolation", "httpx and aiohttp by keys of a pool")
@EXITS
async def test_libraries_over_a_pool(localnet: Network) -> None:
    async with open_pool(localnet, size=2) as pool:
        found = []
        for key in ("alice", "bob"):
            async with httpx.AsyncClient(transport=MixTransport(pool, isolation=key)) as client:
                found.append((await client.get("https://origin.test/client")).text)
            connector = MixConnector(pool, isolation=key)
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.get("http://origin.test/client") as r,
            ):
                found.append(await r.text())
        assert found[0] == found[1] != found[2] == found[3]


async def test_bad_options_before_anything_is_sent() -> None:
    for given in ({"size": 9}, {"rotate": {"often": True}}, {"client_id": "me"}):
        with pytest.raises(OptionError):
            async with cpython.open_pool(**given):
                pass
