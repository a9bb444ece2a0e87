"""Clients of the simulation: the real `Tunnel` on a `SimHost`, and `SimTunnel`, the bare engine without asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from unittest.mock import patch

from smolmix_web.edge.driver import Driver
from smolmix_web.errors import SmolmixError
from smolmix_web.http import HttpRequest
from smolmix_web.mixnet.base58 import base58_encode
from smolmix_web.netstack import Endpoint, TcpConnection
from smolmix_web.tunnel import Tunnel
from smolmix_web.tunnel.options import TunnelOptions

from .events import run_simulated
from .host import SimHost
from .network import SimNetwork
from .world import ORIGIN, SOURCE_PORT

T = TypeVar("T")


# -- the real thing


def tunnel_to(network: SimNetwork, host: SimHost | None = None, *, on_change: Any = None, **options: Any) -> Tunnel:
    """A tunnel that has not started, with the network's crypto; `options` in camelCase."""
    given = {"directoryUrls": network.directory_urls, **options}
    host = host or SimHost(network)
    with patch("smolmix_web.tunnel.tunnel.load_crypto", lambda choice="auto": host.crypto):
        return Tunnel(TunnelOptions.from_mapping(given), host, on_change=on_change)


@asynccontextmanager
async def open_tunnel(network: SimNetwork, host: SimHost | None = None, **options: Any) -> AsyncIterator[Tunnel]:
    tunnel = tunnel_to(network, host, **options)
    await tunnel.start()
    try:
        yield tunnel
    finally:
        await tunnel.close()


def simulate(network: SimNetwork, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the network's time."""
    return run_simulated(network.queue, main)


async def get(tunnel: Tunnel, url: str, **request: Any) -> tuple[int, bytes]:
    """Status and body."""
    response = await tunnel.fetch(HttpRequest(url=url, **request))
    return response.status, await response.read()


def left_over(network: SimNetwork, host: SimHost) -> dict[str, object]:
    """What a client that is closed has left behind; empty when all is well. Call inside `simulate`."""
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    found = {"tasks": tasks, "timers": host.timers, "sockets": [s.url for s in host.sockets if s.state != "closed"]}
    return {name: value for name, value in found.items() if value}


# -- the engine alone


class SimTunnel:
    """The engine of a tunnel on its driver, without asyncio and edge: for long simulations and raw numbers.

    Built by `Tunnel` itself from the directory's answers, so it is the engine that users have. `options` in camelCase.
    """

    def __init__(
        self,
        network: SimNetwork,
        seed: object = "engine",
        *,
        gateway: str | None = "entry1",
        exit_: str | None = "exit1",
        **options: Any,
    ) -> None:
        self.network = network
        self.queue = network.queue
        self.host = host = SimHost(network, seed)
        self.states: list[tuple[float, str, str | None]] = []
        if gateway is not None:
            options["preferredGateway"] = base58_encode(network.gateway(gateway).identity.public)
        if exit_ is not None:
            options["preferredIpr"] = str(network.exit(exit_).address)
        self.tunnel = tunnel_to(network, host, **options)
        self.engine = self.tunnel._make_engine(*simulate(network, self.tunnel._directory.first()))
        self.driver = Driver(host, self.engine, self._changed)

    def _changed(self) -> None:
        state = self.engine.state
        if not self.states or self.states[-1][1:] != state:
            self.states.append((self.queue.now, *state))

    @property
    def ready(self) -> bool:
        return self.engine.state[0] == "ready"

    def start(self, seconds: float = 120.0) -> None:
        """Open and run until ready; raises the engine's error, or AssertionError when neither comes."""
        self.driver.start()
        assert self.run(seconds, lambda: self.ready or self.engine.error is not None), f"in time: {self.engine.state}"
        if self.engine.error is not None:
            raise self.engine.error

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        return self.queue.run(seconds, until)

    def stop(self) -> None:
        self.driver.close()

    @property
    def error(self) -> SmolmixError | None:
        return self.engine.error

    def connect(self, remote: Endpoint, data: bytes = b"", *, close: bool = False, **options: Any) -> Transfer:
        """Open a TCP connection, send `data`, and with `close` the end after it."""
        connection = self.engine.stack.tcp_connect(remote, self.host.now(), **options)
        return Transfer(self, connection, data, close)

    def connect_somewhere(self) -> Transfer:
        """Somebody wants an answer."""
        return self.connect(Endpoint(ORIGIN, SOURCE_PORT), b"2000\n")


class Transfer:
    """An application at our end of a connection: writes what it was given, collects what comes."""

    def __init__(self, tunnel: SimTunnel, connection: TcpConnection, data: bytes, close: bool) -> None:
        self.connection = connection
        self.received = bytearray()
        self.eof = False
        self.error: SmolmixError | None = None
        self.finished_at: float | None = None
        self._tunnel = tunnel
        self._pending = memoryview(data)
        self._close = close
        connection.on_event = self.step
        self.step()

    @property
    def done(self) -> bool:
        return self.eof or self.error is not None

    def step(self) -> None:
        connection, now = self.connection, self._tunnel.host.now()
        try:
            while piece := connection.receive(65_536, now):
                self.received += piece
            self.eof = connection.receive_eof
            if connection.error is not None:
                raise connection.error
            while self._pending and connection.send_space:
                self._pending = self._pending[connection.send(self._pending, now) :]
            if not self._pending and self._close:
                connection.close(now)
        except SmolmixError as error:
            self.error = error
        if self.done and self.finished_at is None:
            self.finished_at = self._tunnel.queue.now
        self._tunnel.driver.wake()
