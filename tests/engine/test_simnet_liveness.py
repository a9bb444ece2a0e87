"""Is the exit there? What an operator sees of our asking, whose silence is whose, and machines that are too slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from localnet.exit import packets as exit_packets
from localnet.exit.clients import ConnectedClient
from smolmix_web.netstack import Endpoint, ip
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import SimTunnel
from tests.simnet.world import CLOSED, ORIGIN, OTHER, RESOLVERS, SOURCE_PORT, pattern

HOUR = 3600.0
QUIET: dict[str, Any] = {"disablePoissonTraffic": True, "disableCoverTraffic": True}
PACED: dict[str, Any] = {}
ONLY_PACED: dict[str, Any] = {"disableCoverTraffic": True}
NO_ICMP = "ExitPolicy reject *:25\nExitPolicy accept *:*"  # port 0 matches the first rule


class Watched:
    """A tunnel, and every packet of its that reaches the exit, as the exit's operator could write it down."""

    def __init__(self, name: str, *, policy: str | None = None, **options: Any) -> None:
        self.network = SimNetwork(f"liveness {name}", exit_settings={} if policy is None else {"policy": policy})
        self.exit = self.network.exit("exit1")
        self.tunnel = SimTunnel(self.network, **options)
        self.times: list[float] = []
        self.packets: list[bytes] = []
        self._watch()
        self.tunnel.start()

    def _watch(self) -> None:
        router, seen = self.exit.router, self
        route: Callable[..., None] = router._route

        def watched(client: ConnectedClient, packet: bytes, info: exit_packets.PacketInfo, now: float) -> None:
            seen.times.append(now)
            seen.packets.append(packet)
            route(client, packet, info, now)

        router._route = watched  # type: ignore[method-assign]

    @property
    def infos(self) -> list[exit_packets.PacketInfo]:
        return [exit_packets.inspect(packet) for packet in self.packets]

    @property
    def registrations(self) -> int:
        return int(self.tunnel.engine.statistics()["registrations"])

    def until_dead(self, limit: float) -> float | None:
        """Seconds until the registration is given up; None when it is not."""
        begun, lost = self.tunnel.queue.now, len(self.tunnel.states)
        gone = self.tunnel.run(limit, lambda: any(state[1] == "reconnecting" for state in self.tunnel.states[lost:]))
        return self.tunnel.queue.now - begun if gone else None

    def works(self) -> bool:
        transfer = self.tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"20000\n")
        return self.tunnel.run(60, lambda: transfer.done) and bytes(transfer.received) == pattern(20_000)


# -- what is seen of it -----------------------------------------------------------------------------------------------


def test_an_idle_hour_as_the_exit_s_operator_sees_it() -> None:
    seen = Watched("operator", **QUIET)
    seen.tunnel.run(HOUR)
    counters = seen.exit.counters
    assert counters["refused.not_global"] == counters["refused.policy"] == counters["timeouts"] == 0
    gaps = [after - before for before, after in zip(seen.times, seen.times[1:], strict=False)]
    assert 120 <= len(seen.times) <= 180 and max(gaps) < 31
    assert max(gaps) - min(gaps) > 5, "no fixed period"
    assert len({round(gap, 2) for gap in gaps}) > len(gaps) * 0.8
    seen_packets = zip(seen.infos, seen.packets, strict=True)
    kinds = Counter((str(info.destination), info.protocol, info.ttl, len(packet)) for info, packet in seen_packets)
    assert kinds == {("8.8.8.8", ip.ICMP, 64, 84): len(seen.times)}, "what `ping` sends"
    assert len({packet[20:] for packet in seen.packets}) == len(seen.packets), "and never the same twice"
    assert seen.registrations == 1 and seen.works()


def test_a_busy_tunnel_sends_no_probes() -> None:
    """As long as what it sends is answered, and for the time of a keep-alive after that."""
    seen = Watched("busy", **QUIET)
    for _ in range(10):
        assert seen.works()
        seen.tunnel.run(15)
    assert {info.protocol for info in seen.infos} == {ip.TCP}
    assert seen.tunnel.engine.statistics()["exit"]["probes"] == 0


@pytest.mark.parametrize(
    ("name", "policy", "options"),
    [
        ("resolvers without echo", None, {}),
        ("no resolver at all", None, {}),
        ("a policy without ICMP", NO_ICMP, {}),
        ("a policy without ICMP, and silence", NO_ICMP, {}),
        (
            "a policy without DNS and ICMP",
            "ExitPolicy accept *:443\nExitPolicy accept *:50001\nExitPolicy reject *:*",
            {},
        ),
        ("resolvers by TLS", None, {"primaryDns": "tls://8.8.8.8"}),
        ("resolvers with IPv6 only", None, {"primaryDns": "[2620:fe::fe]:53", "fallbackDns": "[2620:fe::9]:53"}),
        ("resolvers in a private network", None, {"primaryDns": "10.1.2.3:53", "fallbackDns": "192.168.1.1:53"}),
    ],
)
def test_the_silence_of_resolvers_is_not_the_exit_s(name: str, policy: str | None, options: dict[str, Any]) -> None:
    seen = Watched(name, policy=policy, **QUIET, **options)
    world = seen.network.world
    world.hosts = (ORIGIN, OTHER, CLOSED)  # type: ignore[misc]
    world.dns_silent = name not in ("resolvers without echo", "a policy without ICMP")
    seen.tunnel.run(HOUR / 4)
    assert seen.registrations == 1 and seen.exit.counters["timeouts"] == 0
    assert seen.network.clients_connected() == 1
    gaps = [after - before for before, after in zip(seen.times, seen.times[1:], strict=False)]
    assert max(gaps) < 31
    if "ICMP" in name and "DNS" not in name:
        assert seen.exit.counters["refused.policy"] <= 2
    elif "private" not in name and "DNS and" not in name:
        assert seen.exit.counters["refused.policy"] == 0
    assert seen.works()


# -- an exit that is gone ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [QUIET, PACED, ONLY_PACED], ids=["quiet", "paced", "no cover stream"])
@pytest.mark.parametrize("how", ["forgets", "crashes", "its node is down"])
def test_a_dead_exit_is_found_in_its_time(how: str, options: dict[str, Any]) -> None:
    """An exit that is alone and idle: the keep-alive's time and three attempts; in use: 8 s and three attempts."""
    for used in (False, True):
        seen = Watched(f"dead {how} {used} {options}", **options)
        seen.tunnel.run(5)
        if how == "forgets":
            seen.exit.forget_clients()
        else:
            seen.exit.crash()
        if "node" in how:
            seen.network.gateway("exit1").crash()
        if used:
            seen.tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"20000\n")
        found = seen.until_dead(120)
        assert found is not None and found < (20.5 if used else 42.5), (used, found)


# -- a machine that is too slow ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [PACED, ONLY_PACED], ids=["paced", "no cover stream"])
def test_a_machine_that_cannot_keep_up_gives_no_exit_up(options: dict[str, Any]) -> None:
    """For more than a minute, and somebody uses it meanwhile."""
    seen = Watched(f"slow {options}", **options)
    seen.tunnel.run(5)
    seen.tunnel.host.load = 3.0
    seen.tunnel.run(30)
    assert seen.works()
    seen.tunnel.run(30)
    seen.tunnel.host.load = 0.0
    seen.tunnel.run(5)
    assert seen.registrations == 1 and all(state[1] != "reconnecting" for state in seen.tunnel.states)
    assert seen.works()


def test_late_ticks_are_counted() -> None:
    seen = Watched("late", **PACED)
    seen.tunnel.run(10)
    assert seen.tunnel.engine.statistics()["late_ticks"] == 0
    for _ in range(20):
        seen.tunnel.host.suspend(0.7)
        seen.tunnel.run(1.0)
    late = seen.tunnel.engine.statistics()["late_ticks"]
    assert 20 <= late <= 40, "one of the main stream each, and of the other when it was due"
    quiet = Watched("late and quiet", **QUIET)
    quiet.tunnel.host.suspend(600.0)
    quiet.tunnel.run(1.0)
    assert quiet.tunnel.engine.statistics()["late_ticks"] == 1


def test_a_probe_is_answered_by_any_family() -> None:
    seen = Watched("family", **QUIET, primaryDns="[2606:4700:4700::1111]:53", fallbackDns="8.8.8.8:53")
    seen.network.world.hosts = (*seen.network.world.hosts, IPv6Address("2606:4700:4700::1111"))  # type: ignore[misc]
    seen.tunnel.run(300)
    assert {info.destination for info in seen.infos} == {IPv6Address("2606:4700:4700::1111")}
    assert {len(packet) for packet in seen.packets} == {104} and RESOLVERS[0] == IPv4Address("8.8.8.8")
