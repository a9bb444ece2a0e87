"""The client's session against the real router over a bad channel, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import pytest

from localnet.exit.clients import ConnectedClient
from localnet.exit.config import ExitConfig
from smolmix_web.exit import (
    ExitConnected,
    ExitDenied,
    ExitDisconnected,
    Health,
    PolicyDenied,
    Pong,
    State,
)
from smolmix_web.exit import messages as m
from smolmix_web.netstack import ip

HOST = IPv4Address("203.0.114.10")
MakePair = Callable[..., Any]


def udp(pair: Any, port: int = 443, payload: bytes = b"", destination: IPv4Address = HOST) -> bytes:
    source = pair.session.connection.ipv4
    header = (4000).to_bytes(2, "big") + port.to_bytes(2, "big") + (8 + len(payload)).to_bytes(2, "big") + bytes(2)
    return ip.build(source.packed, destination.packed, ip.UDP, header + payload, 1)


def echo(pair: Any, client: ConnectedClient, packet: bytes) -> None:
    """The network behind the exit: every packet comes back."""
    pair.router.deliver(client, packet, pair.now)


def test_connect_data_and_disconnect(pair: MakePair) -> None:
    world = pair(on_packet=echo)
    world.connect()
    (connected,) = world.events
    assert isinstance(connected, ExitConnected)
    assert (connected.version, connected.mtu) == (10, 1420)
    packets = [udp(world, payload=bytes((n,)) * n) for n in range(100)]
    assert world.send(packets) == 100
    world.run(5.0)
    assert sorted(world.up) == sorted(packets)
    assert sorted(world.down) == sorted(packets)
    assert world.router.counters.violations() == 0
    world.session.disconnect(world.now)
    world.run(5.0)
    assert world.events[-1] == ExitDisconnected("requested")
    assert (len(world.router.clients), len(world.gone)) == (0, 1)


@pytest.mark.parametrize("loss", [0.05, 0.2])
def test_a_bad_channel(pair: MakePair, loss: float) -> None:
    world = pair(on_packet=echo, loss=loss, dup=0.1, jitter=0.4, session={"data_retransmissions": 0})
    world.connect()
    assert isinstance(world.events[0], ExitConnected)
    total = 300
    for n in range(total):
        assert world.send([udp(world, payload=n.to_bytes(2, "big") + bytes(1200))]) == 1
        world.run(0.1)
    world.run(10.0)
    arrived = set(world.down)
    share = len(arrived) / total
    assert (1 - loss) ** 2 - 0.12 < share < (1 - loss) ** 2 + 0.12
    assert world.session.state is State.CONNECTED
    assert world.session.statistics.malformed == world.router.counters.violations() == 0
    assert len(world.down) == len({*world.down}) or world.session.statistics.duplicates > 0


def test_version_10_to_an_old_silent_exit(pair: MakePair) -> None:
    world = pair(config=ExitConfig(versions=(8, 9), announce_mismatch=False))
    world.connect()
    assert world.events == [ExitConnected(world.events[0].ipv4, world.events[0].ipv6, 1420, 9)]
    assert 15 < world.now < 18


def test_version_10_to_an_old_polite_exit(pair: MakePair) -> None:
    world = pair(config=ExitConfig(versions=(8, 9)))
    world.connect()
    assert world.events[0].version == 9
    assert world.now < 6, "the mismatch spares the wait"


def test_no_version_in_common(pair: MakePair) -> None:
    world = pair(config=ExitConfig(versions=(8, 9)), session={"versions": (10,)})
    world.connect()
    (denied,) = world.events
    assert isinstance(denied, ExitDenied)
    assert denied.reason == "exit_version"


def test_an_exit_that_ignores_us(pair: MakePair) -> None:
    world = pair()
    world.faults.ignore_connect = True
    world.connect()
    (denied,) = world.events
    assert isinstance(denied, ExitDenied)
    assert denied.reason == "exit_timeout"
    assert world.now == pytest.approx(60.0)


def test_refused(pair: MakePair) -> None:
    world = pair()
    world.faults.refuse_connect, world.faults.refuse_text = m.ConnectReason.OTHER, "closed today"
    world.connect()
    (denied,) = world.events
    assert isinstance(denied, ExitDenied)
    assert "closed today" in denied.error.message


def test_policy_denial_reaches_the_client_mid_stream(pair: MakePair) -> None:
    world = pair(on_packet=echo)
    world.connect()
    world.send([udp(world)])
    world.run(5.0)
    world.send([udp(world, port=25), udp(world, destination=IPv4Address("10.0.0.7"))])
    world.run(5.0)
    assert world.events[1:] == [PolicyDenied(HOST, 25), PolicyDenied(IPv4Address("10.0.0.7"), 443)]


def test_ping_and_health(pair: MakePair) -> None:
    world = pair()
    world.connect()
    world.session.ping(world.now)
    world.session.health(world.now)
    world.run(10.0)
    pong, health = sorted(world.events[1:], key=lambda event: type(event).__name__, reverse=True)
    assert isinstance(pong, Pong)
    assert 0.6 < pong.rtt < 5
    assert isinstance(health, Health)
    assert health.build.build_version == "1.38.0"


def test_an_idle_client_is_not_forgotten_in_an_hour(pair: MakePair) -> None:
    world = pair(loss=0.1)
    world.connect()
    addresses = world.session.connection
    world.run(3600.0)
    assert world.session.state is State.CONNECTED
    assert world.session.connection == addresses
    assert world.router.counters["timeouts"] == 0
    assert world.router.counters["refused.policy"] == 0
    assert world.down == []
    assert len(world.events) == 1
    assert world.session.statistics.probes < 3600 / 25 * 1.5


def test_a_restarted_exit_is_noticed_and_can_be_joined_again(pair: MakePair) -> None:
    world = pair(on_packet=echo)
    world.connect()
    world.run(3.0)
    world.router.forget_clients()
    started = world.now
    world.send([udp(world)])
    world.run(60.0, until=lambda: len(world.events) > 1)
    assert isinstance(world.events[1], ExitDisconnected)
    assert world.events[1].reason == "exit_dead"
    assert world.now - started < 45
    world.new_session()
    world.connect()
    world.run(5.0)
    assert isinstance(world.events[2], ExitConnected)


def test_a_timeout_the_exit_announces(pair: MakePair) -> None:
    world = pair(session={"keepalive": 1e6})
    world.connect()
    world.run(80.0)
    assert world.events[1].reason == "exit_disconnected"
    assert "mixnet_traffic_timeout" in world.events[1].error.message


def test_download_at_speed_never_starves_the_exit_of_surbs(pair: MakePair) -> None:
    world = pair(loss=0.02)
    world.connect()
    (client,) = world.router.clients
    sent = 0
    for tick in range(600):  # a minute of 40 full packets a second, and an acknowledgement for every second one
        for _ in range(4):
            world.router.deliver(client, sent.to_bytes(4, "big") + bytes(1400), world.now)
            sent += 1
        if tick % 2:
            world.send([udp(world)] * 2)
        world.run(0.1)
    world.run(20.0)
    assert len(world.down) > sent * 0.95
    assert world.channel.lowest_pile >= 9
    assert world.channel.pending == type(world.channel.pending)()
    assert world.session.replies_missing <= sent * 0.05


def test_an_exit_without_surbs_is_revived(pair: MakePair) -> None:
    world = pair(on_packet=echo)
    world.connect()
    world.run(5.0)
    world.channel.pile = 0  # lost, whatever the mirror says
    world.send([udp(world, payload=bytes(1300))])
    world.run(20.0)
    assert len(world.down) == 1, "the suspicion's probe brought SURBs"
    assert world.session.state is State.CONNECTED


def test_a_dead_link_is_not_a_dead_exit(pair: MakePair) -> None:
    world = pair()
    world.connect()
    world.channel.up = False
    world.session.link_down(world.now)
    world.run(45.0)
    assert world.session.state is State.CONNECTED
    world.channel.up = True
    world.session.link_up(world.now)
    world.run(10.0)
    assert world.session.statistics.probes == 1
    world.run(60.0)
    assert world.session.state is State.CONNECTED


def test_bundling_and_free_surbs_save_packets(pair: MakePair) -> None:
    """Bursts of 20 acknowledgements, ten times. The reference pays 3 packets for each (ipr.md D5)."""
    world = pair(on_packet=echo)
    world.connect()
    world.run(5.0)
    before = world.channel.uplink_packets
    for _ in range(10):
        world.send([udp(world, payload=bytes(24))] * 20)
        world.run(0.5)
    assert world.channel.uplink_packets - before <= 10 + 4 * 15
    world.run(5.0)
    assert world.router.counters["packets_up"] == 200
