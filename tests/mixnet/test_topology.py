"""Topology: joining lists, filters, routability, uniform routes, choice of the entry gateway (directory.md 5, 6)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import DirectoryError
from smolmix_web.mixnet.addresses import unpack_node_address
from smolmix_web.mixnet.base58 import base58_encode
from smolmix_web.mixnet.directory import EntryDetails, ListMetadata, RewardedSet, SkimmedNode, SupportedRoles
from smolmix_web.mixnet.directory_query import SkimmedList
from smolmix_web.mixnet.node_list import Columns, Listed, NodeList
from smolmix_web.mixnet.topology import Topology
from smolmix_web.rand import SeededRandom

ENTRY = EntryDetails("gateway.example.test", 9000, 9001)
METADATA = ListMetadata("", 1000, 41, "")


def identity(node_id: int) -> bytes:
    return bytes((node_id,)) * 32


def node(node_id: int, *addresses: str, performance: int = 90, entry: EntryDetails | None = None) -> SkimmedNode:
    return SkimmedNode(
        node_id,
        identity(node_id),
        bytes((100 + node_id,)) * 32,
        tuple(ip_address(one) for one in addresses or (f"10.0.0.{node_id}",)),
        1789,
        "",
        SupportedRoles(),
        entry,
        performance,
    )


def listing(nodes: list[SkimmedNode], metadata: ListMetadata = METADATA) -> SkimmedList:
    """A list of nodes that are read already."""
    made: NodeList[SkimmedNode] = NodeList()
    for one in nodes:
        made.add(Listed(Columns(one.node_id, base58_encode(one.identity), one.performance, False), one))
    return SkimmedList(metadata, made)


def rewarded(**change: Any) -> RewardedSet:
    values: dict[str, Any] = {
        "epoch_id": 1000,
        "layers": ((1, 2), (3, 4), (5, 6)),
        "entry_gateways": (10,),
        "exit_gateways": (11,),
        "standby": (),
        **change,
    }
    return RewardedSet(**values)


def build(
    mixes: list[SkimmedNode] | None = None,
    gateways: list[SkimmedNode] | None = None,
    *,
    metadata: ListMetadata = METADATA,
    rewarded_set: RewardedSet | None = None,
    **options: Any,
) -> Topology:
    mixes = [node(number) for number in range(1, 7)] if mixes is None else mixes
    gateways = [node(10, entry=ENTRY), node(11, entry=ENTRY)] if gateways is None else gateways
    return Topology.from_lists(
        rewarded_set or rewarded(),
        listing(mixes),
        listing(gateways, metadata),
        **options,
    )


def test_lists_are_joined() -> None:
    topology = build()
    assert [[one.node_id for one in layer] for layer in topology.layers] == [[1, 2], [3, 4], [5, 6]]
    assert (topology.rotation_id, topology.rotation, topology.epoch_id) == (41, 1, 1000)
    assert topology.knows(identity(10)) and topology.knows(identity(1)) and not topology.knows(identity(99))
    hop = topology.layers[0][0].hop
    assert str(unpack_node_address(hop.address)) == "10.0.0.1:1789" and len(hop.address) == 32
    assert hop.public_key == bytes((101,)) * 32


def test_poor_and_unknown_nodes_are_left_out() -> None:
    mixes = [node(1, performance=49), *(node(number, performance=50) for number in range(2, 7))]
    topology = build(mixes, [node(10, entry=ENTRY, performance=49), node(11, entry=ENTRY)])
    assert [one.node_id for one in topology.layers[0]] == [2]
    assert not topology.knows(identity(10))
    assert build(mixes, min_mixnode_performance=0).layers[0][0].node_id == 1
    again = build(rewarded_set=rewarded(layers=((1, 1, 77), (3,), (5,))))
    assert [one.node_id for one in again.layers[0]] == [1]


def test_the_gateway_list_overrides_the_mix_list() -> None:
    topology = build([*(node(number) for number in range(1, 7))], [node(10, entry=ENTRY), node(1, "10.9.9.9")])
    assert topology.layers[0][0].first_address == "10.9.9.9"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"mixes": [node(number) for number in (1, 2, 3, 4)]}, "unroutable"),
        ({"mixes": []}, "unroutable"),
        ({"rewarded_set": rewarded(entry_gateways=(), exit_gateways=())}, "unroutable"),
        ({"rewarded_set": rewarded(layers=((), (3,), (5,)))}, "unroutable"),
        ({"metadata": ListMetadata("", 1000, 42, "")}, "inconsistent"),
        ({"metadata": ListMetadata("", 1001, 41, "")}, "inconsistent"),
        ({"metadata": ListMetadata("x", 1000, 41, "")}, "inconsistent"),
    ],
)
def test_what_cannot_carry_packets_is_refused(arguments: dict[str, Any], code: str) -> None:
    with pytest.raises(DirectoryError) as caught:
        build(**arguments)
    assert caught.value.code == code


def test_routes_are_uniform_and_end_at_the_gateway() -> None:
    topology = build()
    rng = SeededRandom("routes")
    seen: Counter[tuple[bytes, ...]] = Counter()
    for _ in range(1600):
        route = topology.random_route(rng, identity(11))
        assert len(route) == 4 and route[3] == topology.nodes[identity(11)].hop
        seen[tuple(hop.address for hop in route)] += 1
    assert len(seen) == 8 and all(150 < count < 250 for count in seen.values())
    with pytest.raises(DirectoryError) as caught:
        topology.random_route(rng, identity(99))
    assert caught.value.code == "gateway_unknown"


@pytest.mark.parametrize(
    ("entry", "addresses", "secure", "plain"),
    [
        (ENTRY, (), "wss://gateway.example.test:9001/", "ws://gateway.example.test:9000/"),
        (EntryDetails(None, 9000, 9001), (), None, "ws://10.0.0.10:9000/"),
        (EntryDetails("name.test", 9000, None), (), None, "ws://name.test:9000/"),
        (EntryDetails(None, 9000, None), ("2001:db8::1",), None, "ws://[2001:db8::1]:9000/"),
        (None, (), None, None),
    ],
)
def test_gateway_urls(
    entry: EntryDetails | None, addresses: tuple[str, ...], secure: str | None, plain: str | None
) -> None:
    topology = build(gateways=[node(10, *addresses, entry=entry)])
    for force_tls, url in ((True, secure), (False, plain)):
        if url is None:
            with pytest.raises(DirectoryError) as caught:
                topology.pick_gateway(SeededRandom(1), identity(10), force_tls=force_tls)
            assert caught.value.code == "gateway_unreachable"
            with pytest.raises(DirectoryError) as caught:
                topology.pick_gateway(SeededRandom(1), force_tls=force_tls)
            assert caught.value.code == "no_gateway"
        else:
            for preferred in (identity(10), None):
                chosen = topology.pick_gateway(SeededRandom(1), preferred, force_tls=force_tls)
                assert chosen == (identity(10), url)


def test_gateway_choice_is_uniform_and_can_exclude() -> None:
    topology = build(gateways=[node(number, entry=ENTRY) for number in (10, 11, 12)])
    rng = SeededRandom("gateways")
    drawn = Counter(topology.pick_gateway(rng).identity for _ in range(900))
    assert len(drawn) == 3 and all(250 < count < 350 for count in drawn.values())
    assert topology.pick_gateway(rng, exclude={identity(10), identity(11)}).identity == identity(12)
    with pytest.raises(DirectoryError, match="wss"):
        topology.pick_gateway(rng, exclude={identity(number) for number in (10, 11, 12)})
    for unknown in (identity(99), identity(1)):  # a mix node is no entry gateway
        with pytest.raises(DirectoryError) as caught:
            topology.pick_gateway(rng, unknown)
        assert caught.value.code == "gateway_unknown"


def test_ipv6_mix_address(crypto: Crypto) -> None:
    topology = build([node(1, "2001:db8::5"), *(node(number) for number in range(2, 7))])
    assert str(unpack_node_address(topology.layers[0][0].hop.address)) == "[2001:db8::5]:1789"


def test_what_an_epoch_has_drawn_stays_drawn() -> None:
    known = build()
    assert known.kept_of(build()) == 1.0
    others = rewarded(layers=((1, 2), (31, 32), (51, 52)))
    changed = build([node(number) for number in (1, 2, 31, 32, 51, 52)], rewarded_set=others)
    assert changed.kept_of(known) == pytest.approx(1 / 3)
    assert build([node(number) for number in (1, 3, 5)]).kept_of(known) == 0.5, "a small one of the same nodes"
    later = replace(changed, epoch_id=1001)
    assert later.kept_of(known) is None, "another epoch draws others"
    with pytest.raises(DirectoryError) as caught:
        known.kept_of(later)
    assert caught.value.code == "outdated"
