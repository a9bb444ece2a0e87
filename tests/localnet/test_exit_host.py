"""Exits inside the network: their client, the service on it, and what becomes of them after rotation and restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import Any

import dns.message
import pytest

from localnet import ConfigError, Network, NetworkConfig
from localnet.exit.config import ExitConfig
from localnet.raw_client import RawClient
from smolmix_web.crypto.provider import Crypto
from smolmix_web.exit.events import ExitConnected, ExitEvent, PolicyDenied, Pong
from smolmix_web.exit.session import ExitSession
from smolmix_web.mixnet.client import MixnetClient
from smolmix_web.mixnet.lanes import Lane
from smolmix_web.mixnet.traffic import TrafficConfig
from smolmix_web.netstack import Endpoint, Stack
from smolmix_web.rand import SeededRandom

QUIET = {"exits": 1, "exit_cover": False}


class Peer:
    """A mixnet client and an exit session over a bare connection, turned by one task."""

    def __init__(self, network: Network, raw: RawClient, session: ExitSession) -> None:
        loop = asyncio.get_running_loop()
        self.network = network
        self.raw = raw
        self.session = session
        self.now = loop.time
        self.mixnet = MixnetClient(
            raw.crypto,
            raw.rng,
            raw.keys,
            raw.address.gateway,
            network.directory.topology(),
            TrafficConfig(main_stream=False, cover_stream=False, packet_delay=0.002, ack_delay=0.002),
            self.now(),
        )
        self.events: list[ExitEvent] = []
        self.packets: list[bytes] = []

    async def turn(self) -> None:
        while True:
            try:
                async with asyncio.timeout(0.01):
                    self.mixnet.receive(await self.raw.payloads.get(), self.now())
            except TimeoutError:
                pass
            for message in self.mixnet.take_messages():
                self.session.receive(message.data, self.now())
            for out in self.session.poll(self.now()):
                self.mixnet.send(
                    self.network.exits[0].address, out.data, surbs=out.surbs, lane=Lane.CONTROL, now=self.now()
                )
            self.events += self.session.take_events()
            self.packets += self.session.take_packets()
            for packet in self.mixnet.poll(self.now()):
                await self.raw.forward(packet)

    async def event(self, kind: type[Any]) -> Any:
        async with asyncio.timeout(15):
            while True:
                for event in self.events:
                    if isinstance(event, kind):
                        self.events.remove(event)
                        return event
                await asyncio.sleep(0.01)

    async def resolve(self, connected: ExitConnected, name: str) -> list[str]:
        """Addresses of a name, asked of 8.8.8.8 through the exit."""
        stack = Stack([connected.ipv4], connected.mtu, self.raw.rng)
        socket = stack.udp_socket()
        query = dns.message.make_query(name, "A")
        socket.send_to(query.to_wire(), Endpoint(IPv4Address("8.8.8.8"), 53), self.now())
        async with asyncio.timeout(15):
            while True:
                self.session.send_packets(stack.poll(self.now()), self.now())
                while self.packets:
                    stack.receive(self.packets.pop(0), self.now())
                if (received := socket.receive()) is not None:
                    answer = dns.message.from_wire(received[0])
                    return [item.address for rrset in answer.answer for item in rrset]
                await asyncio.sleep(0.01)


@pytest.fixture
def peer(crypto: Crypto, rng: SeededRandom) -> Callable[..., Any]:
    @asynccontextmanager
    async def opened(network: Network, **options: Any) -> AsyncIterator[Peer]:
        gateway = network.gateways[0]
        async with RawClient(crypto, rng, gateway.url, gateway.identity.public) as raw:
            peer = Peer(network, raw, ExitSession(rng, **options))
            task = asyncio.create_task(peer.turn())
            try:
                peer.session.start(peer.now(), time.time())
                yield peer
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    return opened


@pytest.mark.parametrize("net", [QUIET], indirect=True)
@pytest.mark.parametrize("version", [9, 10])
async def test_connect_resolve_and_ping(net: Network, peer: Callable[..., Any], version: int) -> None:
    async with peer(net, versions=(version,)) as client:
        connected = await client.event(ExitConnected)
        assert connected.version == version and connected.ipv4.is_private
        assert await client.resolve(connected, "origin.test") == ["203.0.114.10"]
        assert net.world.dns.queries == [("origin.test", "A")]
        client.session.ping(client.now())
        assert (await client.event(Pong)).rtt < 10
    assert net.violations() == {}
    assert net.exits[0].counters()["connects"] == 1


@pytest.mark.parametrize("net", [QUIET], indirect=True)
async def test_the_policy_denies_and_says_so(net: Network, peer: Callable[..., Any]) -> None:
    async with peer(net) as client:
        connected = await client.event(ExitConnected)
        stack = Stack([connected.ipv4], connected.mtu, client.raw.rng)
        stack.udp_socket().send_to(b"x", Endpoint(IPv4Address("203.0.114.13"), 7), client.now())
        client.session.send_packets(stack.poll(client.now()), client.now())
        assert await client.event(PolicyDenied) == PolicyDenied(IPv4Address("203.0.114.13"), 7)


@pytest.mark.parametrize("net", [QUIET], indirect=True)
async def test_an_exit_lives_through_a_rotation_and_a_restart_makes_it_forget(
    net: Network, peer: Callable[..., Any]
) -> None:
    async with peer(net) as client:
        connected = await client.event(ExitConnected)
        await net.rotate_keys()
        client.mixnet.set_topology(net.directory.topology(), client.now())
        host = net.exits[0]
        assert host.client.topology is not None and host.client.topology.rotation_id == 42
        # The SURBs that the exit holds are of the old keys, which serve one epoch longer.
        assert await client.resolve(connected, "origin.test") == ["203.0.114.10"]
        await net.advance_epochs(1)
    async with peer(net) as client:
        connected = await client.event(ExitConnected)
        assert await client.resolve(connected, "origin.test") == ["203.0.114.10"]
        assert len(host.service.router.clients) >= 1
        host.restart()
        assert len(host.service.router.clients) == 0
    async with peer(net) as client:  # under the same address
        connected = await client.event(ExitConnected)
        assert await client.resolve(connected, "ws.test") == ["203.0.114.12"]


@pytest.mark.parametrize("net", [{"exits": 1}], indirect=True)
async def test_cover_traffic_loops_and_is_acknowledged(net: Network) -> None:
    async with asyncio.timeout(15):
        while net.exits[0].counters().get("client.acks_for_cover", 0) < 3:
            await asyncio.sleep(0.02)
    counters = net.exits[0].counters()
    assert counters["client.loop_cover_sent"] >= 3 and counters["client.cover_received"] >= 3
    assert net.violations() == {}


async def test_settings_of_the_exit_reach_it_and_unknown_ones_are_refused() -> None:
    async with Network(NetworkConfig(exits=1, exit_options={"mtu": 1300, "open_proxy": True})) as network:
        config = network.exits[0].service.config
        assert isinstance(config, ExitConfig) and config.mtu == 1300 and config.open_proxy
    with pytest.raises(ConfigError, match="speed"):
        async with Network(NetworkConfig(exits=1, exit_options={"speed": 1})):
            pass
