"""Whole tunnels in simulated time: set-up, names, transfers both ways, every byte right, every run repeatable."""

from __future__ import annotations

import asyncio

import pytest

from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import OptionError, SmolmixError
from smolmix_web.netstack import Endpoint
from tests.simnet.cases import download, live, upload
from tests.simnet.fast_crypto import InsecureFastCrypto
from tests.simnet.host import SimHost
from tests.simnet.network import SimNetwork
from tests.simnet.topology_file import topology_file
from tests.simnet.tunnels import SimTunnel, get, left_over, open_tunnel, simulate, tunnel_to
from tests.simnet.web import add_web, ca_pem
from tests.simnet.world import ORIGIN, SINK_PORT, SOURCE_PORT, pattern

QUIET = {"disablePoissonTraffic": True, "disableCoverTraffic": True}


@pytest.fixture(params=["fast", "real"])
def any_crypto(request: pytest.FixtureRequest, crypto: Crypto) -> Crypto:
    return crypto if request.param == "real" else InsecureFastCrypto()


def test_the_bare_engine_transfers_both_ways(any_crypto: Crypto) -> None:
    network = SimNetwork("bare", crypto=any_crypto)
    tunnel = SimTunnel(network)
    tunnel.start()
    assert tunnel.queue.now - 1000 < 3
    down = tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"150000\n")
    up = tunnel.connect(Endpoint(ORIGIN, SINK_PORT), pattern(60_000, "up"), close=True)
    assert tunnel.run(60, lambda: down.done and up.done)
    assert down.error is None and up.error is None
    assert down.received == pattern(150_000)
    assert network.world.sinks[0].received == pattern(60_000, "up")
    assert up.received == (60_000).to_bytes(8, "big")
    assert network.violations() == {}
    tunnel.stop()
    tunnel.run(5)
    assert network.open_sockets == [] and tunnel.host.timers == 0


def test_a_user_s_tunnel_does_everything(any_crypto: Crypto) -> None:
    network = SimNetwork("user", crypto=any_crypto)
    add_web(network.world)
    host = SimHost(network)
    traffic = {} if any_crypto.name == "insecure-fast" else QUIET

    async def main() -> None:
        async with open_tunnel(network, host, caCertificates=ca_pem(), **traffic) as tunnel:
            assert await tunnel.resolve("origin.test") == [ORIGIN]
            await download(120_000, "https://origin.test/bytes/")(tunnel)
            await upload(60_000)(tunnel)
            await asyncio.gather(*(download(5_000 + number)(tunnel) for number in range(6)))
            socket = await tunnel.connect_websocket("wss://origin.test:8443/")
            await socket.send("text")
            assert await socket.receive() == "text"
            assert (await socket.close()).clean
            udp = tunnel.bind_udp()
            udp.send_to(b"datagram", ORIGIN, 50_007)
            assert (await udp.receive(20))[0] == b"datagram"
            udp.close()
            for url, code, phase in (
                ("http://nowhere.test/", "dns_not_found", "dns"),
                ("http://203.0.114.30/", "connect_refused", "connect"),
                ("http://origin.test:25/", "policy_denied", "connect"),
            ):
                with pytest.raises(SmolmixError) as raised:
                    await get(tunnel, url)
                assert (raised.value.code, raised.value.phase) == (code, phase), url
        await asyncio.sleep(0.5)
        assert left_over(network, host) == {}

    simulate(network, main())
    assert network.violations() == {}
    assert network.clients_connected() == 0
    assert set(network.world.dns_queries) == {"origin.test", "nowhere.test"}


@pytest.mark.feature("Python", "Closing a tunnel ends what waits for its sockets, with a typed error")
def test_closing_ends_what_waits_for_a_socket() -> None:
    network = SimNetwork("waits")

    async def main() -> None:
        async with open_tunnel(network, **QUIET) as tunnel:
            echo = await tunnel.connect_tcp("origin.test", 50_007)
            udp = tunnel.bind_udp()
            waiting = [asyncio.create_task(work) for work in (echo.stream.read(), udp.receive())]
            await asyncio.sleep(1)
        for task in waiting:
            with pytest.raises(SmolmixError) as raised:
                await asyncio.wait_for(task, 1)
            assert raised.value.code == "tunnel_down"

    simulate(network, main())


def test_a_host_that_is_silent_costs_the_connect_timeout_and_no_more() -> None:
    network = SimNetwork("silent host")
    life = simulate(network, live(network, lambda tunnel: get(tunnel, "http://203.0.114.40/"), **QUIET))
    (use,) = life.uses
    assert use.error is not None and (use.error.code, use.error.phase) == ("connect_timeout", "connect")
    assert use.seconds == pytest.approx(60, abs=1)


def engine_run(seed: object) -> tuple[str, int, float]:
    network = SimNetwork(seed)
    network.impair(loss=0.02, jitter=0.02, duplicate=0.01)
    tunnel = SimTunnel(network)
    tunnel.start()
    transfer = tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"40000\n")
    assert tunnel.run(300, lambda: transfer.done)
    return network.transcript.digest(), network.queue.happened, network.queue.now


def tunnel_run(seed: object) -> tuple[str, int, float]:
    network = SimNetwork(seed)
    network.impair(loss=0.01, jitter=0.02)
    add_web(network.world, tls=False)
    simulate(network, live(network, download(10_000), upload(10_000), **QUIET))
    return network.transcript.digest(), network.queue.happened, network.queue.now


def test_the_same_seed_gives_the_same_run_frame_for_frame() -> None:
    assert engine_run("repeat") == engine_run("repeat") != engine_run("other")
    assert tunnel_run("repeat") == tunnel_run("repeat") != tunnel_run("other")


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.02])
def test_a_megabyte_arrives_in_bounded_time_whatever_is_lost(loss: float) -> None:
    """Loss per link: a packet crosses four, and so does what acknowledges it."""
    network = SimNetwork(f"loss {loss}")
    network.impair(loss=loss)
    tunnel = SimTunnel(network, **QUIET)
    tunnel.start()
    begun = tunnel.queue.now
    transfer = tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"1000000\n")
    assert tunnel.run(600, lambda: transfer.done), f"{len(transfer.received)} bytes in ten minutes"
    assert transfer.error is None and transfer.received == pattern(1_000_000)
    assert tunnel.queue.now - begun < (10 if loss == 0 else 120)
    assert network.violations() == {}


def test_a_client_that_is_away_gets_its_stored_messages(any_crypto: Crypto) -> None:
    """Same identity, new connection: authentication, stored payloads first, and the transfer goes on."""
    network = SimNetwork("stored", crypto=any_crypto)
    tunnel = SimTunnel(network, gateway="entry1", **QUIET)
    tunnel.start()
    gateway = network.gateway("entry1")
    transfer = tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"200000\n")
    assert tunnel.run(20, lambda: len(transfer.received) > 50_000)
    network.sockets[-1].cut()
    assert tunnel.run(200, lambda: transfer.done)
    if transfer.error is None:
        assert transfer.received == pattern(200_000)
        assert gateway.counters["stored"] and gateway.counters["authenticated"] == 1
    else:
        assert transfer.error.code in ("gateway_closed", "tunnel_down")


@pytest.mark.feature("Python", "every traffic preset of the reference that needs no second packet size")
@pytest.mark.parametrize(
    ("preset", "rate"),  # packets a second of an idle tunnel
    [
        ("default", 55),
        ("fast", 250),
        ("no_cover", 0),
        ("no_cover_keepalive", 0.2),
        ("no_poisson", 5),
        ("no_delays", 55),
    ],
)
def test_traffic_presets(preset: str, rate: float) -> None:
    network = SimNetwork(f"preset {preset}")
    tunnel = SimTunnel(network, trafficPreset=preset)
    tunnel.start()
    transfer = tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"60000\n")
    assert tunnel.run(30, lambda: transfer.done) and transfer.received == pattern(60_000)
    tunnel.run(10)
    before = tunnel.engine.statistics()["packets_sent"]
    tunnel.run(20)
    sent = tunnel.engine.statistics()["packets_sent"] - before
    assert abs(sent - rate * 20) <= 5 * (rate * 20) ** 0.5 + 2
    assert network.violations() == {}


@pytest.mark.feature("Python", "a pinned topology: no directory is asked")
@pytest.mark.parametrize("version", ["1.38.0", "1.36.0"])
def test_a_pinned_topology(version: str) -> None:
    network = SimNetwork(f"pinned {version}", exit_version=version)
    add_web(network.world, tls=False)
    host = SimHost(network)
    options = {"topology": topology_file(network), "preferredIpr": str(network.exit("exit1").address), **QUIET}

    async def main() -> None:
        async with open_tunnel(network, host, **options) as tunnel:
            await download(30_000)(tunnel)
            tunnel.network_changed()
            await asyncio.sleep(700)
            await download(30_000)(tunnel)
            assert tunnel.state == "ready"

    simulate(network, main())
    assert host.gets == []


def test_a_pinned_topology_needs_an_exit_that_it_knows() -> None:
    network = SimNetwork("pinned without exit")
    document = topology_file(network)
    stranger = str(SimNetwork("another").exit("exit1").address)
    for options in ({}, {"preferredIpr": stranger}, {"preferredIpr": stranger, "topology": {}}):
        with pytest.raises(OptionError) as raised:
            tunnel_to(network, **{"topology": document, **options})
        assert raised.value.option == "topology"
