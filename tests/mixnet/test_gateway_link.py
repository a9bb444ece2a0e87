"""The link to the gateway in virtual time: losses, outages, refusals, another gateway, and when it gives up."""

from __future__ import annotations

import itertools
import json

import pytest

from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import DirectoryError
from smolmix_web.mixnet.addresses import pack_node_address, pad_node_address
from smolmix_web.mixnet.directory import EntryDetails
from smolmix_web.mixnet.gateway.link import CloseSocket, GatewayLink, LinkConfig, LinkState, OpenSocket
from smolmix_web.mixnet.gateway.session import GatewayConfig
from smolmix_web.mixnet.keys import IdentityKeys
from smolmix_web.mixnet.mix_packet import MixPacket
from smolmix_web.mixnet.topology import Topology, TopologyNode
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx import Hop
from tests.mixnet.scripted_gateway import UNIX, ScriptedGateway

PACKET = MixPacket(0, 1, bytes.fromhex("0406fd7f000001"), bytes(2413))


class Country:
    """Some gateways, a link, and the sockets between them. Time moves only when told."""

    def __init__(self, crypto: Crypto, gateways: int = 3, *, pin: int | None = None, config: LinkConfig | None = None):
        self.now = 100.0
        self.gateways = {f"ws://10.0.0.{n}:9000/": ScriptedGateway(crypto, number=n) for n in range(1, gateways + 1)}
        self.down: set[str] = set()
        self.opened_at: list[tuple[float, str]] = []
        self.url: str | None = None
        by_url = list(self.gateways.items())
        self.link = GatewayLink(
            crypto,
            SeededRandom("link"),
            IdentityKeys.from_seed(crypto, bytes([99]) * 32),
            self.topology(),
            preferred=by_url[pin][1].identity.public if pin is not None else None,
            force_tls=False,
            config=config,
        )

    def topology(self) -> Topology:
        from ipaddress import IPv4Address

        nodes = []
        for number, gateway in enumerate(self.gateways.values(), 1):
            address = IPv4Address(f"10.0.0.{number}")
            hop = Hop(pad_node_address(pack_node_address(address)), bytes([number]) * 32)
            entry = EntryDetails(None, 9000, None)
            nodes.append(TopologyNode(number, gateway.identity.public, hop, entry, str(address)))
        layers = tuple((nodes[0],) for _ in range(3))
        return Topology(1, 1, layers, tuple(nodes), {node.identity: node for node in nodes})

    @property
    def unix(self) -> float:
        return UNIX + self.now - 100.0

    @property
    def present(self) -> ScriptedGateway:
        return self.gateways[self.link.endpoint.url]

    def settle(self) -> None:
        """Everything that happens at this moment."""
        for _ in range(100):
            frames = self.link.poll(self.now, self.unix)
            command = self.link.take_command()
            if command is None and not frames:
                return
            if isinstance(command, OpenSocket):
                self.opened_at.append((self.now, command.url))
                if command.url in self.down:
                    self.url = None
                    self.link.closed(self.now, "connection refused")
                else:
                    self.url = command.url
                    self.gateways[command.url].connected()
                    self.link.opened(self.now)
            elif isinstance(command, CloseSocket):
                self.url = None
            for frame in frames:
                if self.url is not None:
                    for answer in self.gateways[self.url].receive(frame, self.unix):
                        self.link.receive(answer, self.now, self.unix)
        pytest.fail("the link is never done")

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        self.settle()
        for _ in range(2000):
            deadline = self.link.next_deadline()
            if deadline is None or deadline > end:
                self.now = end
                return
            self.now = max(self.now, deadline)
            self.settle()
        pytest.fail("the link asks to be polled without end")

    def start(self) -> Country:
        self.link.start(self.now)
        self.settle()
        return self

    def cut(self) -> None:
        self.url = None
        self.link.closed(self.now, "cut")


def test_ready_after_registration_and_the_key_is_kept(crypto: Crypto) -> None:
    country = Country(crypto).start()
    assert country.link.state is LinkState.READY and country.link.can_forward
    assert country.link.shared_keys == {country.present.identity.public: country.present.key}
    assert country.present.seen[:2] == ["supportedProtocol", "handshakePayload"]


def test_registering_apart_authenticates_on_a_second_connection(crypto: Crypto) -> None:
    country = Country(crypto, config=LinkConfig(session=GatewayConfig(register_apart=True))).start()
    first = country.link.endpoint
    assert [url for _, url in country.opened_at] == [first.url, first.url]
    assert country.link.state is LinkState.READY and country.link.endpoint == first and country.link.losses == 0
    probe, shake, claim = "supportedProtocol", "handshakePayload", "claimFreeTestnetBandwidth"
    assert country.present.seen == [probe, shake, shake, probe, "authenticateV2", claim]


def test_a_lost_gateway_gets_the_same_key_again_within_seconds(crypto: Crypto) -> None:
    country = Country(crypto).start()
    first = country.link.endpoint
    country.present.seen.clear()
    country.cut()
    assert country.link.state is LinkState.WAITING and not country.link.can_forward
    country.advance(2.5)
    assert country.link.state is LinkState.READY
    assert country.link.endpoint == first and country.link.losses == 1
    assert "authenticateV2" in country.present.seen and "handshakePayload" not in country.present.seen


@pytest.mark.parametrize("outage", [5.0, 15.0, 30.0])
def test_an_outage_is_sat_out_at_the_same_gateway(crypto: Crypto, outage: float) -> None:
    country = Country(crypto).start()
    url = country.link.endpoint.url
    country.down.add(url)
    country.cut()
    country.advance(outage)
    assert {where for _, where in country.opened_at} == {url}, "nobody else was asked"
    country.down.clear()
    country.advance(4.5)
    assert country.link.state is LinkState.READY and country.link.endpoint.url == url


def test_the_gaps_between_attempts_grow_and_are_jittered(crypto: Crypto) -> None:
    country = Country(crypto, 1, pin=0).start()
    country.down.update(country.gateways)
    country.cut()
    country.advance(290.0)
    times = [when for when, _ in country.opened_at[1:]]
    gaps = [later - earlier for earlier, later in zip([100.0, *times], times, strict=False)]
    assert 0.25 <= gaps[0] <= 0.5 and all(gap <= 30.0 for gap in gaps)
    assert max(gaps) > 12.0 and len({round(gap, 6) for gap in gaps}) == len(gaps)


def test_after_a_while_another_gateway_is_taken(crypto: Crypto) -> None:
    country = Country(crypto).start()
    first = country.link.endpoint.url
    country.down.add(first)
    country.cut()
    country.advance(60.0)
    assert country.link.state is LinkState.READY and country.link.endpoint.url != first


@pytest.mark.parametrize("outage", [60.0, 3600.0, 28_800.0])
def test_a_pinned_gateway_is_never_replaced_and_never_given_up(crypto: Crypto, outage: float) -> None:
    country = Country(crypto, pin=1).start()
    url = country.link.endpoint.url
    country.down.add(url)
    country.cut()
    country.advance(outage)
    assert country.link.state is LinkState.WAITING and country.link.error is None
    assert {where for _, where in country.opened_at} == {url}
    # Half a minute at most between attempts, and no fewer seconds than a quarter of that once the back-off has grown.
    times = [when for when, _ in country.opened_at]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) <= 30.0 and outage / 31 < len(times) < 20 + outage / 14
    country.down.clear()
    country.advance(30.5)
    assert country.link.state is LinkState.READY


def test_no_gateway_answers_for_an_hour(crypto: Crypto) -> None:
    """Drawn gateways are asked in turn, and more and more slowly."""
    country = Country(crypto, 3).start()
    country.down.update(country.gateways)
    country.cut()
    country.advance(3600.0)
    assert country.link.state is LinkState.WAITING and country.link.error is None
    assert {where for _, where in country.opened_at} == set(country.gateways)
    assert len([when for when, _ in country.opened_at if when > country.now - 600]) < 50
    country.down.clear()
    country.advance(30.5)
    assert country.link.state is LinkState.READY


def test_who_waits_makes_the_next_attempt_due_soon(crypto: Crypto) -> None:
    country = Country(crypto, pin=0).start()
    country.down.add(country.link.endpoint.url)
    country.cut()
    country.advance(600.0)
    country.down.clear()
    country.link.want(country.now)
    country.advance(2.0)
    assert country.link.state is LinkState.READY
    # Many who wait are no more than one.
    country.down.add(country.link.endpoint.url)
    country.cut()
    country.advance(60.0)
    before = len(country.opened_at)
    for _ in range(600):
        country.link.want(country.now)
        country.advance(0.1)
    assert len(country.opened_at) - before <= 60


def test_an_attempt_that_gets_no_answer_is_begun_anew_for_who_waits(crypto: Crypto) -> None:
    """The gateway was away when it began; a slow one gets twice as long each time."""
    country = Country(crypto, pin=0).start()
    country.present.silent.add("supportedProtocol")
    country.cut()
    country.advance(1.0)
    assert country.link.state is LinkState.CONNECTING
    country.link.want(country.now)
    begun = len(country.opened_at)
    country.advance(29.0)
    assert len(country.opened_at) - begun in (2, 3)
    country.present.silent.clear()
    country.advance(20.0)
    assert country.link.state is LinkState.READY


@pytest.mark.parametrize(("refusal", "final"), [("protocol", True), ("grant", True), ("nonsense", False)])
def test_what_a_pinned_gateway_may_not_mean_is_not_final(crypto: Crypto, refusal: str, final: bool) -> None:
    country = Country(crypto, pin=0).start()
    gateway = country.present
    if refusal == "protocol":
        gateway.protocol = 3
    elif refusal == "grant":
        gateway.keys.clear()
        gateway.grant = None
    else:
        gateway.garble = lambda text: "{"
    country.cut()
    country.advance(300.0)
    assert (country.link.state is LinkState.FAILED) == final
    if not final:
        gateway.garble = None
        country.advance(31.0)
        assert country.link.state is LinkState.READY


def test_a_gateway_that_leaves_the_network_is_left(crypto: Crypto) -> None:
    country = Country(crypto, 3).start()
    gone = country.link.endpoint
    left = country.topology()
    nodes = {identity: node for identity, node in left.nodes.items() if identity != gone.identity}
    without = Topology(1, 1, left.layers, tuple(nodes.values()), nodes)
    country.link.set_topology(without, country.now)
    country.advance(5.0)
    assert country.link.state is LinkState.READY and country.link.endpoint != gone
    pinned = Country(crypto, 3, pin=0).start()
    pinned.link.set_topology(without, pinned.now)
    pinned.advance(5.0)
    assert pinned.link.state is LinkState.READY and len(pinned.opened_at) == 1


def test_a_gateway_that_forgot_us_is_registered_with_again(crypto: Crypto) -> None:
    country = Country(crypto).start()
    gateway, key = country.present, country.present.key
    gateway.keys.clear()
    country.cut()
    country.advance(3.0)
    assert country.link.state is LinkState.READY and country.present is gateway
    assert gateway.key != key and country.link.shared_keys[gateway.identity.public] == gateway.key


def test_set_up_tries_other_gateways_and_then_fails_with_the_last_reason(crypto: Crypto) -> None:
    country = Country(crypto)
    bad = country.link.endpoint.url
    country.down.add(bad)
    country.start().advance(3.0)
    assert country.link.state is LinkState.READY and country.link.endpoint.url != bad

    country = Country(crypto)
    for gateway in country.gateways.values():
        gateway.grant = None
    country.start().advance(10.0)
    assert country.link.state is LinkState.FAILED
    assert country.link.error is not None and country.link.error.code == "bandwidth_refused"
    assert {url for _, url in country.opened_at} == set(country.gateways)


def test_a_pinned_gateway_that_takes_only_tickets_fails_at_once_and_says_what_to_do(crypto: Crypto) -> None:
    country = Country(crypto, pin=0)
    country.present.grant = None
    country.start().advance(120.0)
    error = country.link.error
    assert country.link.state is LinkState.FAILED and error is not None and len(country.opened_at) == 1
    assert (error.code, error.reason) == ("bandwidth_refused", "credentials_only")
    assert "zk-nyms" in error.message and "preferredGateway" in error.message


def test_a_drawn_gateway_that_takes_only_tickets_is_replaced(crypto: Crypto) -> None:
    country = Country(crypto)
    bad = country.link.endpoint.url
    country.present.grant = None
    country.start().advance(5.0)
    assert country.link.state is LinkState.READY and country.link.endpoint.url != bad


def test_a_refusal_by_the_pinned_gateway_is_final(crypto: Crypto) -> None:
    country = Country(crypto, pin=0)
    country.present.protocol = 3
    country.start()
    assert country.link.state is LinkState.FAILED
    assert country.link.error is not None and country.link.error.code == "gateway_too_old"


def test_a_gateway_without_a_sign_of_life_is_left(crypto: Crypto) -> None:
    country = Country(crypto, 1).start()
    country.present.silent.add("supportedProtocol")
    country.advance(36.0)
    assert country.link.losses == 1
    country.present.silent.clear()
    country.advance(20.0)
    assert country.link.state is LinkState.READY


def test_a_silent_gateway_during_set_up_costs_its_deadline_only(crypto: Crypto) -> None:
    country = Country(crypto)
    country.present.silent.add("handshakePayload")
    country.start().advance(15.0)
    assert country.link.state is LinkState.READY


def test_what_arrived_before_the_loss_is_not_lost(crypto: Crypto) -> None:
    country = Country(crypto).start()
    country.link.receive(country.present.push(b"body"), country.now, country.unix)
    country.cut()
    assert country.link.take_bodies() == [b"body"]
    country.present.stored.append(b"stored")
    country.advance(3.0)
    assert country.link.take_bodies() == [b"stored"]


def test_waiting_ends_at_once_when_the_network_comes_back(crypto: Crypto) -> None:
    country = Country(crypto, 1, pin=0).start()
    country.down.update(country.gateways)
    country.cut()
    country.advance(200.0)
    country.down.clear()
    country.link.retry_now(country.now)
    country.advance(1.5)
    assert country.link.state is LinkState.READY


def test_counters_span_all_connections(crypto: Crypto) -> None:
    country = Country(crypto).start()
    for _ in range(3):
        country.link.forward(PACKET)
    country.cut()
    country.advance(3.0)
    country.link.forward(PACKET)
    assert country.link.all_counters().packets_forwarded == 4


def test_no_gateway_at_all(crypto: Crypto) -> None:
    country = Country(crypto)
    with pytest.raises(DirectoryError) as raised:
        GatewayLink(
            crypto,
            SeededRandom("link"),
            IdentityKeys.from_seed(crypto, bytes(32)),
            country.topology(),
            force_tls=True,
        )
    assert raised.value.code == "no_gateway"


def successor(crypto: Crypto, country: Country, *, last: bytes | None) -> Country:
    """The same client after a restart, in the same second and in the same network."""
    before = country.link
    country.link = GatewayLink(
        crypto,
        SeededRandom("another start"),
        IdentityKeys.from_seed(crypto, bytes([99]) * 32),
        country.topology(),
        force_tls=False,
        shared_keys=before.shared_keys,
        timestamps={before.endpoint.identity: before.timestamp},
        last=last,
    )
    country.present.seen.clear()
    return country


def test_what_an_earlier_link_knew_serves_again(crypto: Crypto) -> None:
    country = Country(crypto, 8).start()
    country.cut()
    country.advance(2.5)  # authenticates, so that there is a timestamp
    country.cut()
    first, stamp = country.link.endpoint, country.link.timestamp
    assert stamp > 0
    successor(crypto, country, last=first.identity).start()
    country.advance(2.5)
    assert country.link.endpoint == first and country.link.state is LinkState.READY
    assert "authenticateV2" in country.present.seen and "handshakePayload" not in country.present.seen
    assert country.link.timestamp > stamp


def test_a_refusal_for_the_sake_of_the_old_connection_costs_seconds_and_not_the_key(crypto: Crypto) -> None:
    """The scripted gateway refuses a time that does not grow, in other words than it says "not registered"."""
    country = Country(crypto).start()
    key, identity = country.present.key, country.link.endpoint.identity
    country.present.last_timestamps[IdentityKeys.from_seed(crypto, bytes([99]) * 32).public] = int(country.unix) + 2
    country.cut()
    country.advance(1.5)
    assert country.link.state is LinkState.WAITING and country.link.last_error is not None
    assert country.link.last_error.code == "authentication_refused"
    country.advance(5.0)
    assert country.link.state is LinkState.READY and country.link.shared_keys == {identity: key}
    country.present.last_timestamps.update(dict.fromkeys(country.present.last_timestamps, int(country.unix) + 1000))
    country.cut()
    country.advance(8.0)
    assert country.link.state is LinkState.READY and country.link.endpoint.identity == identity
    assert country.link.shared_keys != {identity: key}, "refused twice: registered anew"


def test_the_last_gateway_is_no_pin(crypto: Crypto) -> None:
    """One that left the network is replaced, one that stays away as well."""
    country = Country(crypto).start()
    successor(crypto, country, last=bytes(32))
    assert country.link.endpoint.url in country.gateways
    last = country.link.endpoint
    successor(crypto, country, last=last.identity)
    assert country.link.endpoint == last
    country.down.add(last.url)
    country.start().advance(60.0)
    assert country.link.state is LinkState.READY and country.link.endpoint != last


@pytest.mark.feature("Python", "a gateway that answers nonsense ends set-up within seconds, with its own code")
@pytest.mark.parametrize("kind", ["supportedProtocol", "handshakePayload", "register", "bandwidth"])
def test_a_pinned_gateway_that_answers_nonsense(crypto: Crypto, kind: str) -> None:
    country = Country(crypto, pin=0)
    country.present.garble = lambda text: "{" if json.loads(text)["type"] == kind else text
    country.start().advance(6)
    assert country.link.state is LinkState.FAILED
    assert country.link.error is not None and country.link.error.code == "gateway_malformed"
    assert len(country.opened_at) == 3


def test_nonsense_once_costs_one_attempt(crypto: Crypto) -> None:
    country = Country(crypto, pin=0)
    texts = iter(["{"])
    country.present.garble = lambda text: next(texts, text) if "register" in text else text
    country.start().advance(3)
    assert country.link.ready and len(country.opened_at) == 2


def test_another_gateway_is_asked_where_one_answers_nonsense(crypto: Crypto) -> None:
    country = Country(crypto)
    first = country.present
    first.garble = lambda text: "{"
    country.start().advance(3)
    assert country.link.ready and country.present is not first
