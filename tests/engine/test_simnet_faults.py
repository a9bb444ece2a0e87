"""Bad days of a simulated network: every step ends in success or a typed error inside its deadline, nothing is left.

`live` checks that for each case (see tests/simnet/cases.py). Where the outcome is settled it is part of the case.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from smolmix_web.exit.messages import ConnectReason
from smolmix_web.tunnel import Tunnel
from tests.simnet.cases import Life, download, live, upload
from tests.simnet.host import SimHost
from tests.simnet.network import SimNetwork
from tests.simnet.sockets import Direction
from tests.simnet.tunnels import simulate
from tests.simnet.web import add_web

QUIET = {"disablePoissonTraffic": True, "disableCoverTraffic": True}


def network_for(name: str, **settings: Any) -> SimNetwork:
    network = SimNetwork(name, **settings)
    add_web(network.world, tls=False)
    return network


# -- the wire is cut at every frame of set-up


@functools.cache
def frames(*, fetch: bool) -> dict[Direction, range]:
    """Numbers of the frames of set-up, or of a small fetch after it, when nothing goes wrong."""
    network = network_for("every frame")
    setup: list[int] = []

    def ready(tunnel: Tunnel, host: SimHost) -> None:
        setup.extend((network.faults.up, network.faults.down))

    life = simulate(network, live(network, download(4000), ready=ready, **QUIET))
    assert life.setup.ok and life.uses[0].ok
    up, down = setup
    if fetch:
        return {"up": range(up, network.faults.up), "down": range(down, network.faults.down)}
    return {"up": range(up), "down": range(down)}


def strike(direction: Direction, number: int, action: Any) -> Life:
    network = network_for("every frame")
    network.faults.at(direction, number, action)
    life = simulate(network, live(network, download(4000), after=download(1000), **QUIET))
    assert network.faults.struck == [(direction, number)], f"{action} at {direction} {number}: {life}"
    return life


@pytest.mark.parametrize("action", ["cut", "close"])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_the_socket_ends_at_every_frame_of_set_up(direction: Direction, action: Any) -> None:
    for number in frames(fetch=False)[direction][:: 1 if action == "cut" else 3]:
        life = strike(direction, number, action)
        assert life.setup.ok and life.setup.seconds < 20, f"{action} at {direction} {number}: {life}"


@pytest.mark.parametrize("direction", ["up", "down"])
def test_the_socket_is_cut_at_every_frame_of_a_fetch(direction: Direction) -> None:
    for number in frames(fetch=True)[direction]:
        life = strike(direction, number, "cut")
        assert life.uses[0].ok and life.after is not None and life.after.ok, f"{direction} {number}: {life}"


@pytest.mark.parametrize("action", ["vanish", "freeze", "drop", "corrupt", "duplicate"])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_frames_of_set_up_are_lost_late_or_spoiled(direction: Direction, action: Any) -> None:
    for number in frames(fetch=False)[direction][::4]:
        strike(direction, number, action)


# -- one knob each


@dataclass
class Case:
    """`before` changes the network before set-up, `ready` after it. Expected: codes of set-up and of the uses; `ok`
    for success, `any` for either. The tunnel must work afterwards unless the case says that it cannot."""

    before: Callable[[SimNetwork], object] = lambda network: None
    ready: Callable[[SimNetwork, SimHost, Tunnel], object] = lambda network, host, tunnel: None
    setup: str = "ok"
    uses: tuple[str, ...] = ("any", "any")
    after: str = "ok"  # a further download, once the tunnel is ready again
    options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def all_gateways(network: SimNetwork, **faults: Any) -> None:
    for gateway in network.gateways:
        for name, value in faults.items():
            assert hasattr(gateway.faults, name)
            setattr(gateway.faults, name, value)


def all_exits(network: SimNetwork, **faults: Any) -> None:
    for one in network.exits:
        for name, value in faults.items():
            assert hasattr(one.faults, name)
            setattr(one.faults, name, value)


def directories(network: SimNetwork, **changes: Any) -> None:
    for server in network.directories.values():
        for name, value in changes.items():
            assert hasattr(server, name)
            setattr(server, name, value)


def restart_later(network: SimNetwork, seconds: float, what: str) -> None:
    """Crash every gateway or exit now, and bring it back."""
    things: list[Any] = list(network.gateways) if what == "gateways" else list(network.exits)
    for thing in things:
        thing.crash()
        network.queue.after(seconds, thing.restart)


def everyone(network: SimNetwork, method: str, *arguments: Any) -> None:
    for socket in network.open_sockets:
        getattr(socket, method)(*arguments)


def protocol(network: SimNetwork, version: int) -> None:
    for gateway in network.gateways:
        gateway.protocol = version


def reply(network: SimNetwork, kind: str, text: str | None) -> None:
    for gateway in network.gateways:
        gateway.faults.replies[kind] = text


def reconfigure(network: SimNetwork, **settings: Any) -> None:
    for one in network.exits:
        one.reconfigure(**settings)


def clock(host: SimHost, error: float) -> None:
    host.clock_error = error


ALL_OK = ("ok", "ok")
CASES: dict[str, Case] = {
    # the directory
    "first directory down": Case(lambda n: directories_first(n, down=True), uses=ALL_OK),
    "first directory silent": Case(lambda n: directories_first(n, silent=True), uses=ALL_OK),
    "first directory answers nonsense": Case(lambda n: directories_first(n, all_bodies=b"<html>"), uses=ALL_OK),
    "directories slow": Case(lambda n: directories(n, latency=4.0), uses=ALL_OK),
    "directories down": Case(lambda n: directories(n, down=True), setup="unreachable"),
    "directories silent": Case(lambda n: directories(n, silent=True), setup="directory_timeout"),
    "directories answer nonsense": Case(lambda n: directories(n, all_bodies=b"[]"), setup="bad_response"),
    "directories answer an empty page": Case(
        lambda n: directories(n, statuses={"v2/nym-nodes/described": 503}), setup="http_status"
    ),
    "no mix node in layer 2": Case(lambda n: [n.unlist("mix2a"), n.unlist("mix2b")], setup="unroutable"),
    "no exit": Case(lambda n: [n.unlist("exit1"), n.unlist("exit2")], setup="no_exit"),
    "directories vanish later": Case(ready=lambda n, h, t: directories(n, down=True), uses=ALL_OK),
    # gateways, before
    "gateways refuse": Case(lambda n: all_gateways(n, refuse_connections=True), setup="any"),
    "gateways are deaf": Case(lambda n: all_gateways(n, deaf=True), setup="any"),
    "gateways are unreachable": Case(
        lambda n: n.blackholed_urls.update(f"wss://{g.hostname}:9001/" for g in n.gateways), setup="any"
    ),
    "one gateway lives": Case(
        lambda n: [n.gateway(name).crash() for name in ("entry1", "entry2")],
        setup="any",
    ),
    "gateways too old": Case(lambda n: protocol(n, 3), setup="any"),
    "gateways of protocol 4": Case(lambda n: protocol(n, 4), uses=ALL_OK),
    "gateways of protocol 7": Case(lambda n: protocol(n, 7), uses=ALL_OK),
    "gateways refuse bandwidth": Case(lambda n: all_gateways(n, refuse_claims=True), setup="any"),
    "gateways grant nothing": Case(lambda n: all_gateways(n, grant=0), setup="any"),
    "gateways never say what is left": Case(lambda n: all_gateways(n, no_send_answers=True), uses=ALL_OK),
    "gateways garble registration": Case(
        lambda n: reply(n, "register", '{"type":"register","status":7}'), setup="gateway_malformed"
    ),
    "gateways forget to register": Case(lambda n: reply(n, "register", None), setup="any"),
    "gateways announce nonsense": Case(
        lambda n: reply(n, "supportedProtocol", "\0\0 no JSON"), setup="gateway_malformed"
    ),
    "gateways say error": Case(lambda n: reply(n, "bandwidth", '{"type":"error","message":"no"}'), setup="any"),
    # gateways, later
    "gateway forgets us and is cut": Case(
        ready=lambda n, h, t: [[g.forget_clients() for g in n.gateways], everyone(n, "cut")]
    ),
    "gateway cut": Case(ready=lambda n, h, t: everyone(n, "cut")),
    "gateway cut twice": Case(
        ready=lambda n, h, t: [everyone(n, "cut"), n.queue.after(2.5, lambda: everyone(n, "cut"))]
    ),
    "gateway frozen": Case(ready=lambda n, h, t: everyone(n, "freeze")),
    "gateway frozen under standard traffic": Case(
        ready=lambda n, h, t: everyone(n, "freeze"),
        options={"disablePoissonTraffic": False, "disableCoverTraffic": False},
    ),
    "gateway frozen for ten seconds": Case(
        ready=lambda n, h, t: [everyone(n, "freeze"), n.queue.after(10, lambda: everyone(n, "thaw"))]
    ),
    "gateway deaf": Case(ready=lambda n, h, t: everyone(n, "freeze", "up")),
    "gateway mute": Case(ready=lambda n, h, t: everyone(n, "freeze", "down")),
    "gateway lost the flow": Case(ready=lambda n, h, t: everyone(n, "vanish")),
    "gateways restart": Case(ready=lambda n, h, t: restart_later(n, 10, "gateways")),
    "gateways are gone": Case(ready=lambda n, h, t: [g.crash() for g in n.gateways], after="any"),
    "gateway exhausted": Case(ready=lambda n, h, t: all_gateways(n, exhausted=True), after="any"),
    "gateway exhausted and refusing": Case(
        ready=lambda n, h, t: all_gateways(n, exhausted=True, refuse_claims=True), after="any"
    ),
    "gateway pushes garbage": Case(lambda n: all_gateways(n, push_garbage=0.05), setup="any"),
    "gateway loses pushes": Case(lambda n: all_gateways(n, drop_pushes=0.03), setup="any"),
    "an entry gateway of ours leaves the directory": Case(ready=lambda n, h, t: entry_leaves(n), uses=ALL_OK),
    # links and nodes
    "everything is late": Case(lambda n: n.impair(latency=0.4), uses=ALL_OK),
    "everything is late and out of order": Case(lambda n: n.impair(jitter=0.3), uses=ALL_OK),
    "two percent lost": Case(lambda n: n.impair(loss=0.02), uses=ALL_OK),
    "five percent twice": Case(lambda n: n.impair(duplicate=0.05), uses=ALL_OK),
    "one percent corrupt": Case(lambda n: n.impair(corrupt=0.01), uses=ALL_OK),
    "a slow line": Case(lambda n: n.impair(("client_up", "client_down"), rate=60_000), uses=ALL_OK),
    "a mix node is down": Case(lambda n: n.node("mix2a").crash(), setup="any"),
    "a mix node restarts": Case(
        ready=lambda n, h, t: [n.node("mix1a").crash(), n.queue.after(3, n.node("mix1a").restart)]
    ),
    "a dead link": Case(lambda n: n.isolate("mix1a", "mix2b"), setup="any"),
    # exits
    "exits refuse": Case(lambda n: all_exits(n, refuse_connect=ConnectReason.NO_AVAILABLE_IP), setup="any"),
    "exits are mute": Case(lambda n: all_exits(n, mute=True), setup="any", options={"connectTimeoutMs": 20_000}),
    "exits speak version 9": Case(settings={"exit_settings": {"versions": (8, 9)}}, uses=ALL_OK),
    "exits of version 9": Case(settings={"exit_version": "1.36.0"}, uses=ALL_OK),
    "exits lose replies": Case(lambda n: all_exits(n, drop=0.05), setup="any"),
    "exits repeat replies": Case(lambda n: all_exits(n, duplicate=0.2), uses=ALL_OK),
    "exits shuffle replies": Case(lambda n: all_exits(n, jitter=0.3), uses=ALL_OK),
    "exits of small MTU": Case(settings={"exit_settings": {"mtu": 576}}, uses=ALL_OK),
    "exits forget us": Case(ready=lambda n, h, t: [one.forget_clients() for one in n.exits]),
    "exits restart": Case(ready=lambda n, h, t: restart_later(n, 5, "exits")),
    "exits restart at once": Case(ready=lambda n, h, t: [one.restart() for one in n.exits]),
    "exits are gone": Case(ready=lambda n, h, t: [one.crash() for one in n.exits], after="any"),
    "exits change the MTU": Case(ready=lambda n, h, t: reconfigure(n, mtu=600)),
    "exits refuse every destination": Case(
        lambda n: reconfigure(n, policy="ExitPolicy reject *:*"), after="dns_unreachable"
    ),
    # time and keys
    "keys rotate": Case(ready=lambda n, h, t: n.rotate_keys(), uses=ALL_OK),
    "keys rotate and the old ones are forgotten": Case(
        ready=lambda n, h, t: n.rotate_keys(forget_old=True), after="any"
    ),
    "the machine sleeps through a key rotation": Case(
        ready=lambda n, h, t: h.suspend(3000), settings={"epoch_seconds": 600.0, "validity_epochs": 2}
    ),
    "the machine sleeps through a key rotation, its clock too": Case(
        ready=lambda n, h, t: h.suspend(3000, monotonic=False),
        settings={"epoch_seconds": 600.0, "validity_epochs": 2},
    ),
    "the clock is five minutes ahead": Case(ready=lambda n, h, t: [clock(h, 300), everyone(n, "cut")]),
    "the machine sleeps five minutes": Case(ready=lambda n, h, t: h.suspend(300)),
    "the machine sleeps, its clock too": Case(ready=lambda n, h, t: h.suspend(300, monotonic=False)),
    "the machine sleeps an hour and loses its socket": Case(
        ready=lambda n, h, t: [n.queue.after(600, lambda: everyone(n, "vanish")), h.suspend(3600)]
    ),
    # the world
    "resolvers are silent": Case(
        lambda n: setattr(n.world, "dns_silent", True), uses=("dns_timeout", "dns_timeout"), after="dns_timeout"
    ),
}


def entry_leaves(network: SimNetwork) -> None:
    """Where it is an exit's as well, the exit goes with it: another seed (the case's name) is wanted then."""
    name = network.gateway_of(network.open_sockets[0]).name
    assert name.startswith("entry"), name
    network.unlist(name)


def directories_first(network: SimNetwork, **changes: Any) -> None:
    for name, value in changes.items():
        assert hasattr(network.directory, name)
        setattr(network.directory, name, value)


def run_case(name: str) -> tuple[Life, SimNetwork]:
    case = CASES[name]
    network = network_for(name, **case.settings)
    case.before(network)
    life = simulate(
        network,
        live(
            network,
            download(30_000),
            upload(10_000),
            ready=lambda tunnel, host: case.ready(network, host, tunnel),
            after=download(5_000),
            **{**QUIET, **case.options},
        ),
    )
    return life, network


def matches(outcome: Any, expected: str) -> bool:
    return expected == "any" or (outcome.ok if expected == "ok" else not outcome.ok and outcome.error.code == expected)


@pytest.mark.parametrize("name", CASES)
def test_one_knob(name: str) -> None:
    life, _ = run_case(name)
    case = CASES[name]
    assert matches(life.setup, case.setup), str(life)
    for outcome, expected in zip(life.uses, case.uses, strict=False):
        assert matches(outcome, expected), str(life)
    if life.after is not None:
        assert matches(life.after, case.after), str(life)
