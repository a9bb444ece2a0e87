"""After an outage of any kind and length: no request begun after its end fails, the state is true, the tunnel goes on.

The full matrix of kinds, lengths, pinned or drawn, busy or idle: `python3 -m tests.simnet.outages`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from smolmix_web.errors import SmolmixError
from smolmix_web.tunnel.tunnel import READY_TIMEOUT, Tunnel
from tests.simnet.cases import download
from tests.simnet.host import SimHost
from tests.simnet.network import SimNetwork
from tests.simnet.outages import KINDS, QUIET, REAL_EXIT, SECONDS, Outage, measure
from tests.simnet.tunnels import left_over, open_tunnel, simulate
from tests.simnet.web import add_web

# Seconds until an outage is noticed: by the socket's end, by silence with traffic, by silence without.
NOTICED = {"gateway refuses": (1, 1), "gateway closes": (1, 1), "exit": (22, 46)}
SILENCE = (20, 37)
MIXED = [(kind, seconds, number) for number, seconds in enumerate(SECONDS) for kind in KINDS]


@pytest.mark.feature("Python", "after an outage of a second to an hour no request fails, and the first is quick")
@pytest.mark.parametrize(("kind", "seconds", "number"), MIXED)
def test_requests_begun_after_an_outage(kind: str, seconds: float, number: int) -> None:
    pinned, busy = (number + KINDS.index(kind)) % 2 == 0, number % 4 >= 2
    report = measure(kind, seconds, pinned=pinned, busy=busy)
    assert report.failures == [], str(report)
    assert "failed" not in {state for _, state, _ in report.states}
    noticed = NOTICED.get(kind, SILENCE)[not busy]
    if kind == "exit" and seconds <= noticed:
        # An exit that comes back without its memory before its absence was noticed is found out by its silence.
        assert report.first < 24
        return
    # Three round trips (`usual`), and a registration or the exit's proof; a second at most where it had to be waited
    # for whether the exit still knows us. An attempt to register that began before the exit was back costs its time.
    doomed = 2.5 if kind == "exit" else 0.0
    assert report.after_gateway < 1.5 * report.usual + 1.0 + doomed, str(report)
    assert report.gateway_back < 4.5
    # A gateway that is deaf and not mute goes on delivering what the exit repeats.
    if pinned and seconds > noticed and not (busy and kind == "gateway deaf"):
        assert report.states_between(report.began + noticed, report.ended) == {"reconnecting"}, report.states


def network_for(name: str, **settings: Any) -> SimNetwork:
    network = SimNetwork(name, **{"exit_settings": REAL_EXIT, **settings})
    add_web(network.world, tls=False)
    return network


async def timed(network: SimNetwork, tunnel: Tunnel, size: int = 1_000) -> float:
    begun = network.queue.now
    await download(size)(tunnel)
    return network.queue.now - begun


# -- the machine sleeps


@pytest.mark.parametrize("monotonic", [True, False])
@pytest.mark.parametrize("socket", ["lives", "vanished", "cut"])
@pytest.mark.parametrize("seconds", [8.0, 40.0, 75.0, 600.0])
@pytest.mark.parametrize("announced", [True, False])
def test_requests_begun_at_wake_up(seconds: float, socket: str, monotonic: bool, announced: bool) -> None:
    """The caller is awake before our timers are."""
    network = network_for(
        f"wake {seconds} {socket} {monotonic} {announced}", exit_settings={"announce_timeout": announced}
    )
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            await download(10_000)(tunnel)
            await asyncio.sleep(10)
            if socket != "lives":
                action = network.open_sockets[0].vanish if socket == "vanished" else network.open_sockets[0].cut
                network.queue.after(seconds / 2, action)
            host.suspend(seconds, monotonic=monotonic)
            assert [await timed(network, tunnel)] < [4.6 if socket == "vanished" else 2.5]
            assert tunnel.state == "ready"
            await asyncio.gather(*(download(1_000 + n)(tunnel) for n in range(4)))

    simulate(network, main())


# -- who waits, and how long


def test_waiting_ends_by_the_request_s_own_deadline_with_an_error_that_says_try_again() -> None:
    network = network_for("deadlines")
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            for gateway in network.gateways:
                gateway.crash()
            await asyncio.sleep(30)
            assert (tunnel.state, tunnel.step) == ("reconnecting", "gateway")

            async def fails(operation: Any) -> tuple[str, float]:
                begun = network.queue.now
                with pytest.raises(SmolmixError) as raised:
                    await operation
                assert raised.value.retryable, raised.value.code
                return raised.value.code, round(network.queue.now - begun)

            assert await asyncio.gather(
                fails(tunnel.fetch("http://origin.test/text", timeout=5)),
                fails(tunnel.lookup("origin.test", timeout=7)),
                fails(tunnel.connect_websocket("ws://origin.test/")),
                fails(tunnel.fetch("http://origin.test/text")),
                fails(tunnel.ping("203.0.114.10")),
            ) == [
                ("total_timeout", 5),
                ("dns_timeout", 7),
                ("tunnel_timeout", READY_TIMEOUT),
                ("tunnel_timeout", READY_TIMEOUT),
                ("tunnel_timeout", READY_TIMEOUT),
            ]
            # Hours later it heals.
            await asyncio.sleep(7200)
            assert tunnel.state == "reconnecting" and tunnel.error is None
            for gateway in network.gateways:
                gateway.restart()
            assert await timed(network, tunnel) < 5
        await asyncio.sleep(0.5)
        assert left_over(network, host) == {}

    simulate(network, main())


def test_what_cannot_wait_is_refused_for_now() -> None:
    """Without an address there is nothing to bind to."""
    network = network_for("bind", exits=1)
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            udp = tunnel.bind_udp()
            stream = await tunnel.connect_tcp("203.0.114.10", 50_007)
            network.exits[0].crash()
            with pytest.raises(SmolmixError) as raised:
                await udp.receive(60)
            assert raised.value.code == "exit_dead" and raised.value.retryable
            with pytest.raises(SmolmixError) as raised:
                await stream.stream.read()
            assert raised.value.code == "exit_dead"
            assert (tunnel.state, tunnel.step) == ("reconnecting", "exit")
            with pytest.raises(SmolmixError) as raised:
                tunnel.bind_udp()
            assert (raised.value.code, raised.value.phase, raised.value.retryable) == (
                "tunnel_reconnecting",
                "exit",
                True,
            )

    simulate(network, main())


def test_an_opening_connection_outlives_the_loss_of_its_addresses() -> None:
    """The exit restarts; nobody knows until its silence is noticed. Names and connections are asked for again."""
    network = network_for("opening", exits=1)
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            network.exits[0].restart()
            stream, addresses, body, socket, reply = await asyncio.gather(
                tunnel.connect_tcp("origin.test", 50_007),
                tunnel.resolve("other.test"),
                timed(network, tunnel),
                tunnel.connect_udp("origin.test", 50_007),
                tunnel.ping("203.0.114.10", timeout=40),
            )
            assert addresses and body < 25
            assert reply.rtt < 2, "of the echo that was answered"
            await stream.stream.write(b"echo")
            assert await stream.stream.read() == b"echo"
            stream.stream.abort()
            socket.close()

    simulate(network, main())


# -- exits that stay away


@pytest.mark.parametrize("outage", [120.0, 600.0])
def test_the_only_exit_is_away_for_long(outage: float) -> None:
    network, states = network_for(f"only exit {outage}", exits=1), []
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, on_change=lambda s: states.append(s["state"]), **QUIET) as tunnel:
            network.exits[0].crash()
            await asyncio.sleep(outage)
            assert (tunnel.state, tunnel.step) == ("reconnecting", "exit")
            network.exits[0].start()
            assert await timed(network, tunnel) < 8

    simulate(network, main())
    assert "failed" not in states


def test_an_exit_that_is_not_listed_for_a_while() -> None:
    """No route leads to it; asking again and again would be of no use."""
    network = network_for("unlisted", exits=1)
    host = SimHost(network)
    network.queue.after(5.0, lambda: network.unlist("exit1"))

    async def main() -> None:
        exit_ = str(network.exit("exit1").address)
        async with open_tunnel(network, host, preferredIpr=exit_, **QUIET) as tunnel:
            await asyncio.sleep(10)
            await tunnel.refresh_topology()
            await asyncio.sleep(300)
            assert (tunnel.state, tunnel.step) == ("reconnecting", "exit")
            wakes = host.wakes
            await asyncio.sleep(60)
            assert host.wakes - wakes < 300
            network.entry("exit1").listed = True
            await asyncio.sleep(400)
            await download(1_000)(tunnel)

    simulate(network, main())


def test_other_exits_are_drawn_when_none_of_the_known_ones_answers() -> None:
    network = network_for("drawn anew", exits=7)
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            engine = tunnel._engine
            assert engine is not None
            known = {one.recipient for one in engine.exit._candidates}
            assert len(known) == 5
            for one in network.exits:
                if one.address in known:
                    one.crash()
                    network.unlist(one.name)
            await asyncio.sleep(200)
            assert tunnel.state == "ready" and engine.exit.recipient not in known
            await download(1_000)(tunnel)

    simulate(network, main())


@pytest.mark.parametrize("announced", [False, True])
@pytest.mark.parametrize("rest", [1.0, 10.0, 100.0])
def test_keys_that_rotate_while_the_line_is_dead(rest: float, announced: bool) -> None:
    """What was asked of the directory before the line came back is asked anew: its answer never comes."""
    network = network_for(f"rotation {rest} {announced}")
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            outage = Outage(network, "line", tunnel)
            outage.begin()
            await asyncio.sleep(60)
            for _ in range(2):  # the nodes forget the keys that we know
                network.rotate_keys(forget_old=True)
            if announced:
                tunnel.network_changed(online=False)
            await asyncio.sleep(rest)
            outage.end()
            if announced:
                tunnel.network_changed(online=True)
            assert await timed(network, tunnel) < 9

        await asyncio.sleep(0.5)
        assert left_over(network, host) == {}

    simulate(network, main())
