"""Fixtures of the local network's own tests: a loop with a clock turned by hand, small networks, bare clients."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from localnet import Network, NetworkConfig
from localnet.raw_client import RawClient
from smolmix_web.crypto.provider import Crypto
from smolmix_web.mixnet.acks import AckPath
from smolmix_web.mixnet.cover import build_cover_packet
from smolmix_web.mixnet.mix_packet import MixPacket
from smolmix_web.rand import SeededRandom


class HandLoop:
    """What `Scheduler` needs of a loop; `turn(seconds)` moves the clock and runs what became due, in order."""

    class Timer:
        cancelled = False

        def cancel(self) -> None:
            self.cancelled = True

    def __init__(self) -> None:
        self.now = 100.0
        self._timers: list[tuple[float, int, HandLoop.Timer, Callable[..., object], tuple[Any, ...]]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, action: Callable[..., object], *args: Any) -> HandLoop.Timer:
        timer = HandLoop.Timer()
        heapq.heappush(self._timers, (when, next(self._order), timer, action, args))
        return timer

    def armed(self) -> int:
        return sum(not timer.cancelled for _, _, timer, _, _ in self._timers)

    def turn(self, seconds: float) -> None:
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, timer, action, args = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if not timer.cancelled:
                action(*args)
        self.now = end


@pytest.fixture
def hand_loop() -> Any:
    return HandLoop()


@pytest.fixture
async def net(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    """A network without exits; parametrize indirectly with keywords of `NetworkConfig`."""
    settings = {"seed": request.node.name, "exits": 0, **getattr(request, "param", {})}
    async with Network(NetworkConfig(**settings)) as network:
        yield network


Connect = Callable[..., AbstractAsyncContextManager[RawClient]]


@pytest.fixture
def connect(crypto: Crypto, rng: SeededRandom) -> Connect:
    """`async with connect(net, 0) as client`: registered at that gateway, with the free allowance claimed."""

    @asynccontextmanager
    async def opened(network: Network, gateway: int = 0, **options: Any) -> AsyncIterator[RawClient]:
        there = network.gateways[gateway]
        async with RawClient(crypto, rng, there.url, there.identity.public, **options) as client:
            yield client

    return opened


@pytest.fixture
def bare(crypto: Crypto, rng: SeededRandom) -> Callable[..., RawClient]:
    """A client that has not connected yet."""

    def make(network: Network, gateway: int = 0, **options: Any) -> RawClient:
        there = network.gateways[gateway]
        return RawClient(crypto, rng, there.url, there.identity.public, **options)

    return make


@pytest.fixture
def loop_packet(crypto: Crypto, rng: SeededRandom) -> Callable[..., MixPacket]:
    """A regular packet from a client to itself with an ack inside; `delay` seconds at each mix node."""

    def make(
        network: Network, client: RawClient, *, delay: float = 0.0, rotation: int | None = None, version: int = 259
    ) -> MixPacket:
        topology = network.directory.topology()
        delays = [round(delay * 1e9)] * 4
        own = client.address
        return build_cover_packet(
            crypto,
            rng,
            own,
            route=topology.random_route(rng, own.gateway),
            delays_ns=delays,
            rotation=topology.rotation if rotation is None else rotation,
            ack=AckPath(topology.random_route(rng, own.gateway), delays, own.identity, client.keys.ack_key),
            version=version,
        ).mix_packet()

    return make


@dataclass
class Answer:
    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture
def http() -> Callable[..., Any]:
    """`await http(url, method=…, body=…, headers=…)`: one request by the standard library, redirects not followed."""

    def ask(url: str, method: str, body: bytes | None, headers: dict[str, str], tls: ssl.SSLContext | None) -> Answer:
        parts = urlsplit(url)
        assert parts.hostname
        connection: HTTPConnection = (
            HTTPSConnection(parts.hostname, parts.port, timeout=10, context=tls)
            if parts.scheme == "https"
            else HTTPConnection(parts.hostname, parts.port, timeout=10)
        )
        try:
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    async def go(
        url: str,
        method: str = "GET",
        body: bytes | object | None = None,
        headers: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> Answer:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        return await asyncio.to_thread(ask, url, method, data, headers or {}, tls)

    return go
