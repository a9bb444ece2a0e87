"""Real and cover packets of a client, taken apart at every hop with the keys of the local network's nodes.

A node must not learn from anything it sees whether a packet carries data. Where the last mix node sends it is the one
difference there has to be: cover comes home to the client's gateway, data goes to the recipient's.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest

from localnet.config import NetworkConfig
from localnet.directory import Directory, DirectoryState, Entry
from localnet.keys import KeyRing
from localnet.plan import plan
from localnet.rotation import RotationClock
from smolmix_web.crypto.pyca import PycaCrypto
from smolmix_web.mixnet.acks import split_ack
from smolmix_web.mixnet.addresses import Recipient, pack_node_address, unpad_node_address
from smolmix_web.mixnet.client import MixnetClient
from smolmix_web.mixnet.gateway import frames
from smolmix_web.mixnet.keys import ClientKeys
from smolmix_web.mixnet.lanes import Lane
from smolmix_web.mixnet.mix_packet import MixPacket
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx.constants import ACK, ALPHA, DEFAULT_VERSION, HEADER, KEY_PART, MAC, REGULAR
from smolmix_web.sphinx.node import FinalHop, ForwardHop, process_packet
from tests.statistics_tests import Verdict, chi_square_even, chi_square_two, ks_law, ks_two

PACKETS = 500  # of each kind
KINDS = ("real", "cover")
MIXES = 3
ONE_PERCENT = 0.01
COMPARISONS = 170  # of this module together: as many, each at one percent, would fail by chance now and then
UNIX_TIME = 1_800_000_000.0
KEY = bytes(range(32))


@dataclass
class Seen:
    """What one hop saw of one packet; `next_address` and `delay_ns` as in its header."""

    size: int
    version: int
    alpha: bytes
    mac: bytes
    beta: bytes
    payload: bytes
    node: str
    next_address: bytes = b""
    delay_ns: int = 0


@dataclass
class Journey:
    """One packet from the gateway's frame to the ack's arrival."""

    frame: bytes
    packet: MixPacket
    hops: list[Seen] = field(default_factory=list)
    final: FinalHop | None = None
    ack_hops: list[Seen] = field(default_factory=list)
    ack_first_hop: bytes = b""
    body: bytes = b""
    ack_final: FinalHop | None = None


class Nodes:
    """The nodes of a local network with their keys, without sockets."""

    def __init__(self, seed: str) -> None:
        self.crypto = PycaCrypto()
        config = NetworkConfig(seed=seed, mixes_per_layer=3)
        self.clock = RotationClock(
            rotation=config.rotation,
            validity_epochs=config.validity_epochs,
            epoch_seconds=config.epoch_seconds,
            unix_time=UNIX_TIME,
        )
        self.rings: dict[bytes, KeyRing] = {}
        self.layers: dict[str, int] = {}
        entries = []
        for number, node in enumerate(plan(config), 1):
            keys = KeyRing(self.crypto, seed, node.node_id, node.name, self.clock)
            entry = Entry(node, keys, f"198.18.0.{number}", 1789, config.performance, version=node.version)
            if node.kind != "mix":
                entry.ws_port = 9000
            entries.append(entry)
            self.rings[pack_node_address(entry.host, entry.mix_port)] = keys
            self.layers[node.name] = node.layer
        self.topology = Directory(DirectoryState(self.clock, entries, lambda: UNIX_TIME), "").topology()
        self.identities = {keys.identity.name: keys.identity.public_key for keys in self.rings.values()}

    def walk(self, first_hop: bytes, packet: bytes, hops: list[Seen]) -> FinalHop:
        """Through all layers; what each node saw goes to `hops`."""
        address = first_hop
        while True:
            ring = self.rings[address]
            _, _, secret = ring.usable(UNIX_TIME)[0]
            alpha, mac, beta = packet[:ALPHA], packet[ALPHA : ALPHA + MAC], packet[ALPHA + MAC : HEADER]
            hop = process_packet(self.crypto, secret, packet)
            seen = Seen(len(packet), hop.version, alpha, mac, beta, packet[HEADER:], ring.identity.name)
            hops.append(seen)
            if isinstance(hop, FinalHop):
                return hop
            assert isinstance(hop, ForwardHop)
            seen.next_address, seen.delay_ns = hop.next_address, hop.delay_ns
            address, packet = unpad_node_address(hop.next_address), hop.packet


@dataclass
class Record:
    nodes: Nodes
    client: MixnetClient
    journeys: dict[str, list[Journey]]


@functools.cache
def record() -> Record:
    """A client with default settings that is busy half of the time, and gets no acks: some packets are repeated."""
    nodes = Nodes("indistinguishable")
    rng = SeededRandom("indistinguishable")
    client = MixnetClient(nodes.crypto, rng, ClientKeys.generate(rng), nodes.identities["entry1"], nodes.topology)
    recipient = Recipient(rng.bytes(32), nodes.crypto.x25519_base(rng.bytes(32)), nodes.identities["exit1"])
    journeys: dict[str, list[Journey]] = {kind: [] for kind in KINDS}
    now, polls = 0.0, 0
    while min(map(len, journeys.values())) < PACKETS:
        deadline = client.next_deadline()
        assert deadline is not None
        now, polls = max(now, deadline), polls + 1
        if polls % 8 == 0 and client.room(Lane.BULK) > 200:
            # What a tunnel sends: full segments, bundles of ACKs with free SURBs, SURBs alone, long uploads.
            size, surbs = ((1400, 0), (60, 0), (200, 4), (5000, 1))[polls // 8 % 4]
            client.send(
                recipient, rng.bytes(size), surbs=surbs, fill=True, lane=Lane.BULK, max_retransmissions=1, now=now
            )
        before = client.statistics.main_cover_sent + client.statistics.loop_cover_sent
        for packet in client.poll(now, 1):
            cover = client.statistics.main_cover_sent + client.statistics.loop_cover_sent > before
            kind = journeys["cover" if cover else "real"]
            if len(kind) < PACKETS:
                kind.append(follow(nodes, packet, rng.bytes(12)))
    assert client.statistics.retransmitted > 20 and client.statistics.surbs_given > 100
    return Record(nodes, client, journeys)


def follow(nodes: Nodes, packet: MixPacket, nonce: bytes) -> Journey:
    frame = frames.seal_frame(nodes.crypto, KEY, nonce, frames.FORWARD_V2, packet.to_bytes(2))
    journey = Journey(frame, packet)
    journey.final = nodes.walk(packet.first_hop, packet.packet, journey.hops)
    part = split_ack(journey.final.message)
    journey.ack_first_hop, journey.body = part.first_hop, part.body
    journey.ack_final = nodes.walk(part.first_hop, part.packet, journey.ack_hops)
    return journey


def final(journey: Journey) -> FinalHop:
    assert journey.final is not None
    return journey.final


def ack_final(journey: Journey) -> FinalHop:
    assert journey.ack_final is not None
    return journey.ack_final


def both(value: Callable[[Journey], object]) -> set[tuple[str, object]]:
    return {(kind, value(journey)) for kind in KINDS for journey in record().journeys[kind]}


def alike(value: Callable[[Journey], object], expected: object) -> None:
    """One value for all packets of both kinds."""
    assert both(value) == {(kind, expected) for kind in KINDS}


def samples(value: Callable[[Journey], float]) -> list[list[float]]:
    return [[value(journey) for journey in record().journeys[kind]] for kind in KINDS]


def counts(values: Iterable[Iterable[object]]) -> list[list[int]]:
    """Of each kind's values, over the values that either has."""
    counters = [Counter(kind) for kind in values]
    bins = sorted({bin_ for counter in counters for bin_ in counter}, key=repr)
    return [[counter[bin_] for bin_ in bins] for counter in counters]


def octets(part: Callable[[Journey], bytes]) -> list[list[int]]:
    """Histograms of bytes, all 256 bins."""
    found = []
    for kind in KINDS:
        counter = Counter(b"".join(part(journey) for journey in record().journeys[kind]))
        found.append([counter[octet] for octet in range(256)])
    return found


def holds(what: str, verdict: Verdict) -> None:
    print(f"{what}: statistic {verdict.statistic:.4g}, p {verdict.p:.3f}")
    assert verdict.p > ONE_PERCENT / COMPARISONS, what


def test_the_gateway_sees_one_kind_of_frame() -> None:
    alike(lambda j: (len(j.frame), j.packet.packet_type, j.packet.rotation, len(j.packet.first_hop)), (2452, 0, 1, 7))
    holds("first hop", chi_square_two(*counts([[j.packet.first_hop for j in record().journeys[k]] for k in KINDS])))


def test_every_hop_sees_one_size_and_one_version() -> None:
    alike(lambda j: tuple((hop.size, hop.version) for hop in j.hops), ((REGULAR.wire, DEFAULT_VERSION),) * 4)
    alike(lambda j: tuple((hop.size, hop.version) for hop in j.ack_hops), ((ACK.wire, DEFAULT_VERSION),) * 4)
    layers = record().nodes.layers
    alike(lambda j: tuple(layers[hop.node] for hop in j.hops), (1, 2, 3, 0))
    alike(lambda j: tuple(layers[hop.node] for hop in j.ack_hops), (1, 2, 3, 0))


@pytest.mark.parametrize("hop", range(MIXES))
@pytest.mark.parametrize("way", ["packet", "ack"])
def test_delays_and_routes_follow_one_law(way: str, hop: int) -> None:
    def seen(journey: Journey) -> Seen:
        return (journey.hops if way == "packet" else journey.ack_hops)[hop]

    config = record().client.config
    mean = (config.packet_delay if way == "packet" else config.ack_delay) * 1e9
    real, cover = samples(lambda j: seen(j).delay_ns)
    holds(f"{way} {hop} delays", ks_two(real, cover))
    for kind, delays in zip(KINDS, (real, cover), strict=True):
        holds(f"{way} {hop} {kind} exponential", ks_law(delays, lambda x: 1 - math.exp(-x / mean)))
    digits = counts([[int(delay) % 10 for delay in kind] for kind in (real, cover)])
    holds(f"{way} {hop} last digit of the delay", chi_square_two(*digits))
    nodes = counts([[seen(j).node for j in record().journeys[kind]] for kind in KINDS])
    assert len(nodes[0]) == 3
    holds(f"{way} {hop} nodes", chi_square_two(*nodes))
    for kind, row in zip(KINDS, nodes, strict=True):
        holds(f"{way} {hop} {kind} nodes, evenly", chi_square_even(row))


def test_routes_are_drawn_anew_and_whole() -> None:
    """All 27 routes through the layers, equally likely, and the ack's route is independent of the packet's."""
    for way in ("hops", "ack_hops"):
        routes = counts([[tuple(h.node for h in getattr(j, way)[:MIXES]) for j in record().journeys[k]] for k in KINDS])
        assert len(routes[0]) == 27
        holds(f"routes of {way}", chi_square_two(*routes))
    pairs = counts([[(j.hops[0].node, j.ack_hops[0].node) for j in record().journeys[k]] for k in KINDS])
    assert len(pairs[0]) == 9
    holds("first hops of packet and ack", chi_square_two(*pairs))
    for kind, row in zip(KINDS, pairs, strict=True):
        holds(f"first hops of packet and ack, {kind}", chi_square_even(row))


WAYS = ("packet", "ack")
PARTS = ("alpha", "mac", "beta", "payload")


@functools.cache
def verdicts_on_bytes(way: str, hop: int, part: str) -> dict[str, Verdict]:
    def take(journey: Journey) -> bytes:
        data: bytes = getattr((journey.hops if way == "packet" else journey.ack_hops)[hop], part)
        # A u-coordinate is below 2^255: the highest bit is never set, in no packet.
        return data[:-1] if part == "alpha" else data

    rows = octets(take)
    against_random = {kind: chi_square_even(row) for kind, row in zip(KINDS, rows, strict=True)}
    return {"real and cover": chi_square_two(*rows), **against_random}


@pytest.mark.parametrize("hop", range(MIXES + 1))
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("part", PARTS)
def test_the_bytes_of_every_part_look_random(way: str, hop: int, part: str) -> None:
    for what, verdict in verdicts_on_bytes(way, hop, part).items():
        holds(f"{part} of {way} at {hop}, {what}", verdict)


@pytest.mark.parametrize("what", ["real and cover", *KINDS])
def test_all_comparisons_together_find_nothing(what: str) -> None:
    """Were there a small difference everywhere, p would not be spread evenly from 0 to 1."""
    spread = [verdicts_on_bytes(way, hop, part)[what].p for way in WAYS for hop in range(MIXES + 1) for part in PARTS]
    holds(f"p of {len(spread)} comparisons, {what}", ks_law(spread, lambda p: p))


@pytest.mark.parametrize("hop", range(MIXES + 1))
def test_no_key_or_tag_is_used_twice_and_high_bits_are_clear(hop: int) -> None:
    journeys = [journey for kind in KINDS for journey in record().journeys[kind]]
    seen = [j.hops[hop] for j in journeys] + [j.ack_hops[hop] for j in journeys]
    for part in ("alpha", "mac", "beta"):
        assert len({getattr(one, part) for one in seen}) == len(seen) == 4 * PACKETS
    assert all(one.alpha[31] < 0x80 for one in seen)
    for kind in KINDS:
        high = [j.hops[hop].alpha[31] >> 6 for j in record().journeys[kind]]
        holds(f"bit 254 at {hop}, {kind}", chi_square_even([high.count(0), high.count(1)]))


def test_the_last_gateway_sees_one_form() -> None:
    """Ack block and body: present, of one size, with nothing readable in the body."""
    alike(lambda j: final(j).identifier, bytes(16))
    alike(lambda j: (len(final(j).message), len(j.ack_first_hop), len(j.body)), (REGULAR.plaintext, 7, REGULAR.body))
    home = record().client.address
    alike(lambda j: (ack_final(j).destination, len(ack_final(j).message)), (home.identity, ACK.plaintext))
    alike(lambda j: record().nodes.identities[j.ack_hops[-1].node], home.gateway)
    parts: dict[str, Callable[[Journey], bytes]] = {
        "key": lambda j: j.body[: KEY_PART - 1],  # without the byte that holds the clear bit
        "fragment": lambda j: j.body[KEY_PART:],
        "ack": lambda j: ack_final(j).message,
    }
    for part, take in parts.items():
        rows = octets(take)
        holds(f"body {part}", chi_square_two(*rows))
        for kind, row in zip(KINDS, rows, strict=True):
            holds(f"body {part}, {kind} against random", chi_square_even(row))
    ends = {kind: {j.hops[-1].node for j in record().journeys[kind]} for kind in KINDS}
    assert ends == {"real": {"exit1"}, "cover": {"entry1"}}


def test_a_difference_would_be_noticed() -> None:
    """Other delays, a favourite route, a few fixed bytes: each fails the comparison that is made for it."""
    rng = SeededRandom("noticed")
    limit = ONE_PERCENT / COMPARISONS
    slow, real = ([rng.exponential(mean) for _ in range(PACKETS)] for mean in (0.025, 0.015))
    assert ks_two(real, slow).p < limit and ks_law(slow, lambda x: 1 - math.exp(-x / 0.015)).p < limit
    assert chi_square_two([PACKETS // 2, PACKETS // 2], [PACKETS // 3, PACKETS * 2 // 3]).p < limit
    noise = [Counter(rng.bytes(PACKETS * 1600)) for _ in range(2)]
    noise[1] += Counter({0: 2 * PACKETS})  # two fixed bytes in each packet
    assert chi_square_two(*([row[octet] for octet in range(256)] for row in noise)).p < limit
    assert chi_square_even([noise[1][octet] for octet in range(256)]).p < limit
