"""Nodes read when they are first drawn: what is drawn and refused is what reading all of them first would give."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from smolmix_web.errors import DirectoryError
from smolmix_web.mixnet import directory
from smolmix_web.mixnet.base58 import base58_encode
from smolmix_web.mixnet.directory import Resource, parse_page
from smolmix_web.mixnet.directory_query import DirectoryQuery
from smolmix_web.mixnet.node_table import NodePool
from smolmix_web.mixnet.topology import Topology
from smolmix_web.rand import SeededRandom
from tests.mixnet.test_directory import (
    ACTIVE,
    ENTRY,
    IDENTITIES,
    REWARDED,
    ROTATION,
    dump,
    page,
    skimmed_node,
)


def topology(mixes: list[dict[str, Any]], gateways: list[dict[str, Any]], **rewarded: Any) -> Topology:
    query = DirectoryQuery.for_topology()
    for path, document in {
        "v1/epoch/key-rotation-info": ROTATION,
        "v1/nym-nodes/rewarded-set": {**REWARDED, **rewarded},
        f"{ACTIVE}?page=0": page(*mixes),
        f"{ENTRY}?page=0": page(*gateways),
    }.items():
        query.answer(path, dump(document))
    return Topology.from_query(query)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the nodes that were read in full."""
    seen: list[int] = []
    read = directory._skimmed_node

    def counted(json_: Any) -> Any:
        seen.append(json_.value["node_id"])
        return read(json_)

    monkeypatch.setattr(directory, "_skimmed_node", counted)
    return seen


MIXES = [skimmed_node(1), skimmed_node(2), skimmed_node(3)]


def test_a_start_reads_few(readings: list[int]) -> None:
    gateways = [skimmed_node(10), skimmed_node(11, mix_port=0)]
    good, bad = skimmed(10), skimmed(11)
    readings.clear()
    found = topology(MIXES, gateways)
    assert sorted(readings) == [1, 2, 3, 10]  # one good one of each list and layer
    found.gateway_endpoint(good, force_tls=True)
    assert len(readings) == 4
    assert not found.knows(bad) and found.skipped == 1
    assert not found.knows(bad) and found.skipped == 1 and readings[4:] == [11]


def skimmed(node_id: int) -> bytes:
    (node,) = parse_page(Resource.ENTRY_GATEWAYS, dump(page(skimmed_node(node_id)))).nodes
    return bytes(node.identity)


def test_bad_nodes_leave_the_others_equal_chances() -> None:
    layer = [1, 2, 3, 10, 11]
    mixes = [
        skimmed_node(one, ip_addresses=[f"198.51.100.{one}"], mix_port=0 if one in (2, 10) else 1789) for one in layer
    ]
    seen: Counter[bytes] = Counter()
    for round_ in range(300):
        found = topology(mixes, [skimmed_node(11)], layer1=layer, layer2=[1], layer3=[3])
        seen[found.random_route(SeededRandom(round_), skimmed(11))[0].address] += 1
    assert len(seen) == 3 and all(60 < count < 140 for count in seen.values())
    assert len(found.layers[0]) == 3 and found.skipped == 2


def test_draws_are_uniform_over_the_good_ones() -> None:
    nodes = list(topology(MIXES, [skimmed_node(10), skimmed_node(11)]).nodes.values())
    rng, drawn, first = SeededRandom("pool"), Counter[int](), Counter[int]()
    for _ in range(2000):
        table = {0: nodes[0], 1: None, 2: nodes[1], 3: None, 4: nodes[2], 5: None}
        drawn[NodePool(table, table.get).draw(rng).node_id] += 1
        picked = NodePool(table, table.get).first(rng, lambda node: node.node_id if node is not nodes[1] else None)
        assert picked is not None
        first[picked] += 1
    assert len(drawn) == 3 and all(abs(count - 2000 / 3) < 5 * 21.1 for count in drawn.values())
    assert len(first) == 2 and all(abs(count - 1000) < 5 * 22.4 for count in first.values())


def test_a_pool_without_a_good_node() -> None:
    pool = NodePool([1, 2], lambda unread: None)
    assert not pool and len(pool) == 0 and pool.first(SeededRandom(1), lambda node: node) is None
    with pytest.raises(DirectoryError) as caught:
        NodePool([1, 2], lambda unread: None).draw(SeededRandom(1))
    assert caught.value.code == "unroutable"
    with pytest.raises(DirectoryError, match="layer 2"):
        topology([skimmed_node(1), skimmed_node(2, mix_port=0), skimmed_node(3)], [skimmed_node(10)])


def test_what_is_said_last_and_well_counts() -> None:
    elsewhere = {"ip_addresses": ["198.51.100.77"]}
    for again, expected in (
        ([skimmed_node(1, **elsewhere)], "198.51.100.77"),  # the gateways' list goes over the mix nodes'
        ([skimmed_node(1, mix_port=0, **elsewhere)], "198.51.100.10"),  # unless it is bad
        ([skimmed_node(1, performance="0.4", **elsewhere)], "198.51.100.10"),  # or performs badly
    ):
        found = topology(MIXES, [skimmed_node(10), *again])
        assert found.layers[0][0].first_address == expected
        assert found.nodes[skimmed(1)].first_address == expected
    twice = topology(MIXES, [skimmed_node(10), skimmed_node(10, **elsewhere), skimmed_node(10, mix_port=0)])
    assert [one.first_address for one in twice.gateways] == ["198.51.100.77"] and twice.skipped == 1
    # Another identity for the same number: the node is what was said last, and nobody knows the other.
    other = topology(MIXES, [skimmed_node(10), {**skimmed_node(11), "node_id": 1}])
    assert other.layers[0][0].identity == skimmed(11)
    assert not other.knows(skimmed(1)) and other.knows(skimmed(11))
    assert len(other.nodes) == 4 and {base58_encode(one) for one in other.nodes} == {
        IDENTITIES[one] for one in (2, 3, 10, 11)
    }
