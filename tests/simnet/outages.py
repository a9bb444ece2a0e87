"""Outages of every kind and length, and what a user meets who asks right after the end of one.

`measure` runs one: a tunnel with or without a download under way, the outage, its end, and from that moment on a row of
requests, each for a name that is not cached. What it checks by itself: no byte is wrong, nothing is left behind.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from smolmix_web.errors import SmolmixError
from smolmix_web.mixnet.base58 import base58_encode
from smolmix_web.tunnel import Tunnel

from .cases import download
from .host import SimHost
from .network import SimNetwork
from .tunnels import left_over, open_tunnel, simulate
from .web import add_web

QUIET = {"disablePoissonTraffic": True, "disableCoverTraffic": True}
# As real exits: who was silent for a minute is forgotten without a word.
REAL_EXIT: dict[str, object] = {"announce_timeout": False, "announce_mismatch": False}
REQUESTS = 6
GAP = 0.7  # s between their beginnings
SIZE = 2_000
KINDS = ("gateway refuses", "gateway silent", "gateway closes", "gateway deaf", "exit", "line")
SECONDS = (1.0, 5.0, 20.0, 45.0, 59.0, 61.0, 90.0, 300.0, 1200.0, 3600.0)


@dataclass
class Ended:
    """One request: when it was begun after the end of the outage, how long it took, and its error."""

    begun: float
    seconds: float
    error: SmolmixError | None = None


@dataclass
class Report:
    """Seconds. `usual`: a request without any trouble; `gateway_back` and `ready` after the end of the outage, 0 where
    the client never noticed it. `states` by the time since the tunnel's start; `began`, `ended` of the outage too."""

    usual: float = 0.0
    gateway_back: float = 0.0
    ready: float = 0.0
    began: float = 0.0
    ended: float = 0.0
    requests: list[Ended] = field(default_factory=list)
    states: list[tuple[float, str, str | None]] = field(default_factory=list)
    registrations: int = 0
    sockets: int = 0
    gets: int = 0

    @property
    def failures(self) -> list[str]:
        return [f"{one.error.code} after {one.seconds:.1f} s" for one in self.requests if one.error is not None]

    def states_between(self, start: float, end: float) -> set[str]:
        """All that were told for any part of this time."""
        before = [state for when, state, _ in self.states if when <= start][-1:]
        return {*before, *(state for when, state, _ in self.states if start < when < end)}

    @property
    def first(self) -> float:
        """From the end of the outage to the end of the first request."""
        return self.requests[0].seconds

    @property
    def after_gateway(self) -> float:
        """The same from when the client had its gateway again."""
        return self.first - self.gateway_back


class Outage:
    """Begins and ends one."""

    def __init__(self, network: SimNetwork, kind: str, tunnel: Tunnel) -> None:
        snapshot = tunnel.snapshot()
        self._network = network
        self._kind = kind
        self._gateway = next(
            one for one in network.gateways if base58_encode(one.identity.public) == snapshot["gateway"]
        )
        self._exit = next(one for one in network.exits if str(one.address) == snapshot["exit"])

    def begin(self) -> None:
        network, gateway = self._network, self._gateway
        match self._kind:
            case "gateway refuses":
                gateway.crash()
            case "gateway closes":
                gateway.faults.refuse_connections = True
                for connection in list(gateway.connections):
                    connection.socket.server_close()
            case "gateway deaf":
                gateway.faults.deaf = True
            case "gateway silent":
                self._dead([gateway.hostname])
            case "line":
                self._dead([one.hostname for one in network.gateways])
                for server in network.directories.values():
                    server.silent = True
            case "exit":
                self._exit.crash()

    def end(self) -> None:
        network, gateway = self._network, self._gateway
        match self._kind:
            case "gateway refuses":
                gateway.restart()
            case "gateway closes":
                gateway.faults.refuse_connections = False
            case "gateway deaf":
                gateway.faults.deaf = False
            case "gateway silent" | "line":
                network.blackholed_urls.clear()
                for socket in network.open_sockets:
                    socket.thaw()
                for server in network.directories.values():
                    server.silent = False
            case "exit":
                self._exit.start()

    def _dead(self, names: list[str]) -> None:
        """Whatever is on its way to or from these gateways waits, or never arrives."""
        for name in names:
            self._network.blackholed_urls.add(f"wss://{name}:9001/")
        for socket in self._network.open_sockets:
            if any(name in socket.url for name in names):
                socket.freeze()


async def _fetch(network: SimNetwork, tunnel: Tunnel, number: int, until: float) -> Ended:
    begun = network.queue.now
    # A name of its own: what is measured are look-up, connection and request.
    name = f"origin{number}.test"
    network.world.names[name] = network.world.names["origin.test"]
    try:
        await download(SIZE, f"http://{name}/bytes/")(tunnel)
    except SmolmixError as error:
        return Ended(begun - until, network.queue.now - begun, error)
    return Ended(begun - until, network.queue.now - begun)


async def _busy(tunnel: Tunnel) -> None:
    """Downloads and small requests without end: a download alone asks for nothing while it stalls."""
    await asyncio.gather(_again(tunnel, 200_000), _again(tunnel, 1_000))


async def _again(tunnel: Tunnel, size: int) -> None:
    """That one fails is the outage's due."""
    while True:
        try:
            await download(size)(tunnel)
        except SmolmixError:
            await asyncio.sleep(1.0)


async def _measure(
    network: SimNetwork, host: SimHost, kind: str, seconds: float, pinned: bool, busy: bool, **options: Any
) -> Report:
    report = Report()
    begun = network.queue.now
    if pinned:
        options["preferredGateway"] = base58_encode(network.gateway("entry1").identity.public)
        options["preferredIpr"] = str(network.exit("exit1").address)
    async with open_tunnel(
        network,
        host,
        on_change=lambda s: report.states.append((network.queue.now - begun, s["state"], s["step"])),
        **options,
    ) as tunnel:
        report.usual = max([(await _fetch(network, tunnel, 100 + n, 0.0)).seconds for n in range(5)])
        await asyncio.sleep(5.0 if busy else 100.0)
        load = asyncio.create_task(_busy(tunnel)) if busy else None
        await asyncio.sleep(3.0)
        outage = Outage(network, kind, tunnel)
        outage.begin()
        report.began = network.queue.now - begun
        if load is not None:
            network.queue.after(2.0, load.cancel)
        sockets, gets = len(host.sockets), len(host.gets)
        await asyncio.sleep(seconds)
        report.sockets, report.gets = len(host.sockets) - sockets, len(host.gets) - gets
        outage.end()
        end = network.queue.now
        report.ended = end - begun
        engine = tunnel._engine
        assert engine is not None
        tasks = []
        for number in range(REQUESTS):
            tasks.append(asyncio.create_task(_fetch(network, tunnel, number, end)))
            for _ in range(round(GAP / 0.01)):
                if not engine.gateway.ready:
                    report.gateway_back = network.queue.now - end
                if tunnel.state != "ready":
                    report.ready = network.queue.now - end
                await asyncio.sleep(0.01)
        while not all(task.done() for task in tasks):
            if not engine.gateway.ready:
                report.gateway_back = network.queue.now - end
            if tunnel.state != "ready":
                report.ready = network.queue.now - end
            await asyncio.sleep(0.01)
        report.requests = [task.result() for task in tasks]
        report.registrations = engine.exit.registrations
        if load is not None:
            await asyncio.gather(load, return_exceptions=True)
    await asyncio.sleep(0.5)
    assert left_over(network, host) == {}
    return report


def measure(kind: str, seconds: float, *, pinned: bool = True, busy: bool = False, **options: Any) -> Report:
    name = f"{kind} {seconds} {pinned} {busy}"
    network = SimNetwork(name, exit_settings=REAL_EXIT)
    add_web(network.world, tls=False)
    host = SimHost(network)
    return simulate(network, _measure(network, host, kind, seconds, pinned, busy, **{**QUIET, **options}))


def line(kind: str, seconds: float, pinned: bool, busy: bool, report: Report) -> str:
    how = f"{kind}, {seconds:g} s, {'pinned' if pinned else 'drawn'}, {'busy' if busy else 'idle'}"
    return (
        f"{how:45} usual {report.usual:5.2f}  gateway {report.gateway_back:5.2f}  ready {report.ready:5.2f}  "
        f"first {report.first:5.2f} ({report.after_gateway:5.2f} after the gateway)  "
        f"{report.registrations} registrations, {report.sockets} sockets, {report.gets} GETs  {report.failures or ''}"
    )


if __name__ == "__main__":
    import sys

    for kind in sys.argv[1:] or KINDS:
        for seconds in SECONDS:
            for pinned in (True, False):
                for busy in (False, True):
                    print(
                        line(kind, seconds, pinned, busy, measure(kind, seconds, pinned=pinned, busy=busy)), flush=True
                    )
