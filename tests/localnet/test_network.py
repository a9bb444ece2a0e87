"""Whole networks: packets through four hops and their acks back, bad links, rotation, crashes, processes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from localnet import LinkRule, LocalnetError, Network, NetworkConfig
from localnet.raw_client import RawClient
from smolmix_web.crypto.provider import Crypto
from smolmix_web.mixnet.acks import decrypt_ack
from smolmix_web.mixnet.body import open_body
from smolmix_web.mixnet.fragments import COVER_IDENTIFIER
from smolmix_web.mixnet.mix_packet import MixPacket

Connect = Callable[..., Any]
Packet = Callable[..., MixPacket]


async def collect(client: RawClient, count: int, patience: float = 5.0) -> Counter[int]:
    """Lengths of up to `count` payloads; fewer if none comes for `patience` seconds."""
    lengths: Counter[int] = Counter()
    for _ in range(count):
        try:
            lengths[len(await client.payload(patience))] += 1
        except TimeoutError:
            break
    return lengths


async def test_a_packet_to_oneself_and_its_ack(
    net: Network, connect: Connect, loop_packet: Packet, crypto: Crypto
) -> None:
    async with connect(net) as client:
        await client.forward(loop_packet(net, client))
        bodies = sorted([await client.payload(), await client.payload()], key=len)
        assert decrypt_ack(crypto, client.keys.ack_key, bodies[0]) == COVER_IDENTIFIER
        assert open_body(crypto, client.keys.encryption_secret, lambda digest: None, bodies[1]) is None  # cover
    counters = net.counters()["nodes"]
    mixes = Counter({name: node.get("forwarded", 0) for name, node in counters.items() if name.startswith("mix")})
    assert sum(mixes.values()) == 6  # three mixes there, three for the ack
    assert counters["entry1"]["forwarded"] == 2 and counters["entry1"]["final"] == 2
    assert net.violations() == {}


@pytest.mark.parametrize("net", [{"frame_version": 7}, {"gateway_protocol": 5}, {"mixes_per_layer": 1}], indirect=True)
@pytest.mark.parametrize("version", [258, 259])
async def test_other_formats_pass_as_well(net: Network, connect: Connect, loop_packet: Packet, version: int) -> None:
    async with connect(net, 1) as client:
        await client.forward(loop_packet(net, client, version=version))
        assert await collect(client, 2) == {21: 1, 1643: 1}
    assert net.violations() == {}


async def test_many_packets_all_arrive(net: Network, connect: Connect, loop_packet: Packet) -> None:
    async with connect(net) as client:
        for _ in range(100):
            await client.forward(loop_packet(net, client, delay=0.005))
        assert await collect(client, 200) == {21: 100, 1643: 100}
        assert client.sent_answers == 100
    assert net.violations() == {}


async def test_delays_add_up_over_three_mixes(net: Network, connect: Connect, loop_packet: Packet) -> None:
    async with connect(net) as client:
        begin = time.perf_counter()
        await client.forward(loop_packet(net, client, delay=0.1))
        assert len(await client.payload()) == 1643
        assert time.perf_counter() - begin >= 0.3
        assert len(await client.payload()) == 21
        assert 0.6 <= time.perf_counter() - begin < 5


async def test_a_replayed_packet_arrives_once(net: Network, connect: Connect, loop_packet: Packet) -> None:
    async with connect(net) as client:
        packet = loop_packet(net, client)
        await client.forward(packet)
        await client.forward(packet)
        assert await collect(client, 4, patience=0.5) == {21: 1, 1643: 1}
        assert client.sent_answers == 2
    assert net.violations() == {"bad.packet.replay": 1}


# -- links ------------------------------------------------------------------------------------------------


async def test_total_loss_on_one_link_and_back(net: Network, connect: Connect, loop_packet: Packet) -> None:
    async with connect(net) as client:
        await net.set_links("client->entry1", loss=1.0)
        for _ in range(5):
            await client.forward(loop_packet(net, client))
        assert await client.claim() > 0  # control messages pass
        assert client.payloads.empty() and client.sent_answers == 0
        await net.reset_links()
        await client.forward(loop_packet(net, client))
        assert await collect(client, 2) == {21: 1, 1643: 1}
    assert net.describe_links()["links"]["client->entry1"]["counters"]["lost"] == 5


async def test_loss_between_nodes_loses_packets_and_acks(net: Network, connect: Connect, loop_packet: Packet) -> None:
    await net.set_links("mix*", loss=0.2)
    async with connect(net) as client:
        for _ in range(100):
            await client.forward(loop_packet(net, client))
        lengths = await collect(client, 200, patience=1.0)
    # 0.8^3 of the packets arrive, and 0.8^6 of the acks.
    assert 30 < lengths[1643] < 72 and 10 < lengths[21] < 45
    assert net.violations() == {}


async def test_latency_applies_to_every_link(net: Network, connect: Connect, loop_packet: Packet) -> None:
    async with connect(net) as client:
        await net.set_links("*", latency=0.03)
        begin = time.perf_counter()
        await client.forward(loop_packet(net, client))
        assert len(await client.payload()) == 1643
        assert 0.18 <= time.perf_counter() - begin < 3  # six links: up, four between nodes, down


async def test_duplicates_stop_at_the_next_node(net: Network, connect: Connect, loop_packet: Packet) -> None:
    await net.set_links("mix1?->*", duplicate=1.0)
    async with connect(net) as client:
        for _ in range(10):
            await client.forward(loop_packet(net, client))
        assert await collect(client, 40, patience=0.4) == {21: 10, 1643: 10}
    assert net.violations() == {"bad.packet.replay": 20}


async def test_links_from_the_configuration(connect: Connect, loop_packet: Packet) -> None:
    rules = (LinkRule("*->client", {"loss": 1.0}),)
    async with Network(NetworkConfig(exits=0, links=rules)) as net, connect(net) as client:
        await client.forward(loop_packet(net, client))
        with pytest.raises(TimeoutError):
            await client.payload(0.3)


# -- rotation -----------------------------------------------------------------------------------------------


async def test_packets_of_the_old_rotation_pass_for_one_epoch(
    net: Network, connect: Connect, loop_packet: Packet
) -> None:
    async with connect(net) as client:
        old = [loop_packet(net, client) for _ in range(2)]
        await net.rotate_keys()
        await client.forward(old[0])
        await client.forward(loop_packet(net, client))
        assert await collect(client, 4) == {21: 2, 1643: 2}
        await net.advance_epochs(1)
        await client.forward(old[1])
        await client.forward(loop_packet(net, client))
        assert await collect(client, 4, patience=0.4) == {21: 1, 1643: 1}
    assert net.violations() == {}


# -- crashes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", [{"mixes_per_layer": 1}], indirect=True)
async def test_a_stopped_mix_drops_out_and_comes_back(net: Network, connect: Connect, loop_packet: Packet) -> None:
    async with connect(net) as client:
        await client.forward(loop_packet(net, client))
        assert await collect(client, 2) == {21: 1, 1643: 1}
        await net.stop_node("mix2a")
        await asyncio.sleep(0.05)
        await client.forward(loop_packet(net, client))
        with pytest.raises(TimeoutError):
            await client.payload(0.3)
        await net.start_node("mix2a")
        await client.forward(loop_packet(net, client))
        lengths = await collect(client, 4, patience=1.0)
        # The packet that waited for the node comes too, if it waited in a queue and not in a dead socket.
        assert lengths[1643] >= 1 and lengths[21] >= 1


async def test_a_gateway_that_restarts_remembers_its_clients(
    net: Network, connect: Connect, loop_packet: Packet
) -> None:
    async with connect(net) as client:
        await net.stop_node("entry1")
        async with asyncio.timeout(5):
            await client.closed.wait()
        await client.close()
        with pytest.raises(OSError):
            await client.open()
        await net.start_node("entry1")
        await client.open()
        await client.authenticate(int(time.time()) + 1)
        await client.forward(loop_packet(net, client))
        assert await collect(client, 2) == {21: 1, 1643: 1}


async def test_unknown_nodes_are_named(net: Network) -> None:
    with pytest.raises(LocalnetError, match="mix9z"):
        await net.stop_node("mix9z")
    with pytest.raises(LocalnetError, match="mix1a"):
        net.gateway("mix1a")


# -- life -------------------------------------------------------------------------------------------------------


async def test_a_port_in_use_is_a_clear_error_and_leaves_nothing_behind() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    network = Network(NetworkConfig(directory_port=port))
    with pytest.raises(LocalnetError) as caught:
        await network.start()
    assert caught.value.code == "cannot_listen"
    assert not any(node.running for node in network.nodes.nodes.values())
    await network.close()
    server.close()
    await server.wait_closed()


async def test_close_frees_ports_and_files() -> None:
    async with Network(NetworkConfig()) as network:
        ports = [network.gateways[0].ws_port, network.gateways[0].port, network.world.http.port]
        path = network.ca_path
        assert path is not None and path.exists()
    assert not path.exists()
    for port in ports:
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
    await asyncio.sleep(0)
    current = asyncio.current_task()
    assert [task for task in asyncio.all_tasks() if task is not current] == []


@pytest.mark.parametrize("net", [{"processes": 3}], indirect=True)
async def test_mixes_in_processes_of_their_own(net: Network, connect: Connect, loop_packet: Packet) -> None:
    assert [name for name in net.nodes.nodes if name.startswith("mix")] == []
    async with connect(net) as client:
        for _ in range(20):
            await client.forward(loop_packet(net, client))
        assert await collect(client, 40) == {21: 20, 1643: 20}
        nodes = (await net.collect())["nodes"]
        assert sum(node["forwarded"] for name, node in nodes.items() if name.startswith("mix")) == 120

        old = loop_packet(net, client)
        await net.rotate_keys()
        await client.forward(old)
        await client.forward(loop_packet(net, client))
        assert await collect(client, 4) == {21: 2, 1643: 2}

        await net.set_links("mix1?->*", loss=1.0)
        await client.forward(loop_packet(net, client))
        with pytest.raises(TimeoutError):
            await client.payload(0.3)
        await net.collect()
        lost = [link["counters"]["lost"] for name, link in net.describe_links()["links"].items() if "mix1" in name]
        assert sum(lost) == 1
        await net.reset_links()
        await net.stop_node("mix1a")
        await net.start_node("mix1a")
        await client.forward(loop_packet(net, client))
        assert await collect(client, 2) == {21: 1, 1643: 1}
    assert net.violations() == {}
