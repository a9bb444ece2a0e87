"""Directory answers: the examples of directory.md, leniency per node, strictness per list, paging, consistency."""

from __future__ import annotations

import copy
import itertools
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import DirectoryError
from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.mixnet.base58 import base58_encode
from smolmix_web.mixnet.directory import (
    DescribedNode,
    EntryDetails,
    Resource,
    SupportedRoles,
    parse_key_rotation,
    parse_page,
    parse_rewarded_set,
)
from smolmix_web.mixnet.directory_query import MAX_PAGES, DirectoryQuery
from smolmix_web.mixnet.exits import NodeVersion, draw_exits, pinned_exit, protocols_of
from smolmix_web.mixnet.node_list import NodeList
from smolmix_web.mixnet.topology import Topology
from smolmix_web.rand import SeededRandom

IDENTITIES = {
    1: "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9",
    2: "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu",
    3: "GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse",
    10: "5Z6Ay5NEcbg3xhopc522sBCRXQujkTiuDRnHGfQdcnSf",
    11: "7v54NWdBtkjuAFJrLGsS2SXnuk8nKam81mZJeeYxVFi9",
}
SPHINX_KEY = "EhxqDWYKQDPio67wQdyeYggkPCvE7nXD8CFWx2T3j6gT"
EXIT = (
    "3BuW9SR5tG6VFK4MmkQQ3Ak8ny1K1Vv5Uz7is8Aa5pwG.BTCNky1ofsiJckga7oLMdJtapmNtpQc4JaQbXnMVRfem"
    "@5Z6Ay5NEcbg3xhopc522sBCRXQujkTiuDRnHGfQdcnSf"
)


def skimmed_node(node_id: int = 10, **change: Any) -> dict[str, Any]:
    return {
        "node_id": node_id,
        "ed25519_identity_pubkey": IDENTITIES[node_id],
        "ip_addresses": ["198.51.100.10", "2001:db8::10"],
        "mix_port": 1789,
        "x25519_sphinx_pubkey": SPHINX_KEY,
        "role": "EntryGateway",
        "supported_roles": {"mixnode": False, "entry": True, "exit_nr": True, "exit_ipr": True},
        "entry": {"hostname": "entry1.example.test", "ws_port": 9000, "wss_port": 9001},
        "performance": "0.99",
        **change,
    }


def page(
    *nodes: dict[str, Any], total: int | None = None, number: int = 0, status: Any = None, **metadata: Any
) -> dict[str, Any]:
    return {
        "metadata": {
            "status": status,
            "absolute_epoch_id": 30032,
            "rotation_id": 41,
            "refreshed_at": "2026-09-23 12:03:11.25 +00:00:00",
            **metadata,
        },
        "nodes": {
            "pagination": {"total": len(nodes) if total is None else total, "page": number, "size": len(nodes)},
            "data": list(nodes),
        },
    }


def described_node(**change: Any) -> dict[str, Any]:
    description = {
        "host_information": {"ip_address": ["198.51.100.10"], "keys": {"ed25519": IDENTITIES[10]}},
        "build_information": {"build_version": "1.38.0"},
        "ip_packet_router": {"address": EXIT},
        "mixnet_websockets": {"ws_port": 9000, "wss_port": 9001},
        **change,
    }
    return {"node_id": 10, "contract_node_type": "nym_node", "description": description}


def described_page(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"pagination": {"total": len(nodes), "page": 0, "size": len(nodes)}, "data": list(nodes)}


REWARDED = {
    "epoch_id": 30032,
    "entry_gateways": [10],
    "exit_gateways": [11],
    "layer1": [1],
    "layer2": [2],
    "layer3": [3],
    "standby": [],
}
ROTATION = {
    "key_rotation_state": {"validity_epochs": 24, "initial_epoch_id": 29048},
    "current_absolute_epoch_id": 30032,
    "current_epoch_start": "2026-09-23T12:00:04Z",
    "epoch_duration": {"secs": 3600, "nanos": 0},
    "progress": {
        "current_key_rotation_id": 41,
        "current_rotation_starting_epoch": 30032,
        "current_rotation_ending_epoch": 30055,
    },
}


def dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def put(value: Any, path: str, new: Any) -> Any:
    """A copy of `value` with the dotted `path` replaced, or removed for `...`."""
    value = copy.deepcopy(value)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place = value
    for step in steps:
        place = place[step]
    if new is ...:
        del place[last]
    else:
        place[last] = new
    return value


# -- skimmed lists --------------------------------------------------------------------------------------


def test_skimmed_example() -> None:
    fresh = {"fresh": {"id": 41, "epochs_in_interval": 720}}
    parsed = parse_page(Resource.ENTRY_GATEWAYS, dump(page(skimmed_node(), status=fresh)))
    assert parsed.metadata is not None
    assert (parsed.metadata.epoch_id, parsed.metadata.rotation_id) == (30032, 41)
    (node,) = parsed.nodes
    assert node.node_id == 10
    assert base58_encode(node.identity) == IDENTITIES[10]
    assert [str(one) for one in node.addresses] == ["198.51.100.10", "2001:db8::10"]
    assert (node.mix_port, node.role, node.performance) == (1789, "EntryGateway", 99)
    assert node.entry == EntryDetails("entry1.example.test", 9000, 9001)
    assert node.supported_roles == SupportedRoles(False, True, True, True)
    assert base58_encode(node.sphinx_key) == SPHINX_KEY


def test_optional_fields_and_aliases() -> None:
    node = skimmed_node(entry=None, supported_roles=None, unheard_of={"of": 1}, role={"Mixnode": {"layer": 2}})
    (parsed,) = parse_page(Resource.ACTIVE_MIXNODES, dump(page(node))).nodes
    assert (parsed.entry, parsed.supported_roles, parsed.role) == (None, SupportedRoles(), "Mixnode2")
    for alias, name in (("entry", "EntryGateway"), ("exit", "ExitGateway"), ("Standby", "Standby")):
        node = skimmed_node()
        del node["role"]
        (parsed,) = parse_page(Resource.ENTRY_GATEWAYS, dump(page({**node, "epoch_role": alias}))).nodes
        assert parsed.role == name


@pytest.mark.parametrize(
    ("text", "percent"),
    [("0", 0), ("1", 100), ("1.000", 100), ("0.5", 50), ("0.499999", 49), ("0.97", 97), ("0.010000000000000001", 1)],
)
def test_performance_is_truncated_to_percent(text: str, percent: int) -> None:
    (parsed,) = parse_page(Resource.ENTRY_GATEWAYS, dump(page(skimmed_node(performance=text)))).nodes
    assert parsed.performance == percent


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"node_id": -1}, "node_id"),
        ({"node_id": 1 << 32}, "node_id"),
        ({"node_id": "7"}, "node_id"),
        ({"node_id": None}, "node_id: is missing"),
        ({"ed25519_identity_pubkey": "0OIl"}, "ed25519_identity_pubkey"),
        ({"ed25519_identity_pubkey": base58_encode(b"\x02" + bytes(31))}, "not a point"),
        ({"x25519_sphinx_pubkey": SPHINX_KEY[:-2]}, "x25519_sphinx_pubkey"),
        ({"ip_addresses": []}, "ip_addresses: is empty"),
        ({"ip_addresses": ["localhost"]}, r"ip_addresses\[0\]"),
        ({"mix_port": 0}, "mix_port"),
        ({"mix_port": 65536}, "mix_port"),
        ({"role": 3}, "role"),
        ({"supported_roles": {"mixnode": True}}, "supported_roles.entry"),
        ({"entry": {"ws_port": "9000"}}, "entry.ws_port"),
        ({"entry": {"hostname": "a/b?c", "ws_port": 1}}, "entry.hostname"),
        ({"performance": 0.9}, "performance"),
        ({"performance": "1.01"}, "above 1"),
        ({"performance": "-0.5"}, "performance"),
        ({"performance": "1e-1"}, "performance"),
    ],
)
def test_a_bad_node_is_left_out_and_named(change: dict[str, Any], where: str) -> None:
    body = dump(page(skimmed_node(11), {**skimmed_node(), **change}))
    parsed = parse_page(Resource.ENTRY_GATEWAYS, body)
    assert [node.node_id for node in parsed.nodes] == [11]
    assert parsed.count == 2 and parsed.nodes.skipped == 1
    (error,) = parsed.nodes.complaints
    assert error.code == "bad_response"
    assert "entry-gateways at nodes.data[1]" in error.message
    with pytest.raises(DirectoryError, match=where):
        raise error


def test_a_list_without_any_good_node_is_refused() -> None:
    with pytest.raises(DirectoryError, match="no usable node among 2"):
        parse_page(Resource.ENTRY_GATEWAYS, dump(page(skimmed_node(mix_port=0), skimmed_node(11, mix_port=0))))
    assert list(parse_page(Resource.ENTRY_GATEWAYS, dump(page())).nodes) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata", ...),
        ("metadata.rotation_id", ...),
        ("metadata.absolute_epoch_id", "1"),
        ("metadata.rotation_id", -1),
        ("nodes", []),
        ("nodes.data", {}),
        ("nodes.pagination", ...),
        ("nodes.pagination.total", -3),
    ],
)
def test_an_unusable_list_names_the_path(path: str, value: Any) -> None:
    with pytest.raises(DirectoryError) as caught:
        parse_page(Resource.ENTRY_GATEWAYS, dump(put(page(skimmed_node()), path, value)))
    assert caught.value.code == "bad_response" and caught.value.phase == "directory"
    assert path.split(".")[0] in caught.value.message


def test_every_truncation_is_refused() -> None:
    for resource, value in (
        (Resource.ENTRY_GATEWAYS, page(skimmed_node())),
        (Resource.DESCRIBED, described_page(described_node())),
    ):
        body = dump(value)
        parse_page(resource, body)
        for length in range(len(body)):
            with pytest.raises(DirectoryError):
                parse_page(resource, body[:length])
    for parse, value in ((parse_rewarded_set, REWARDED), (parse_key_rotation, ROTATION)):
        body = dump(value)
        for length in range(len(body)):
            with pytest.raises(DirectoryError):
                parse(body[:length])


def test_oversized_and_deep_answers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smolmix_web.mixnet.directory.MAX_RESPONSE", 100)
    with pytest.raises(DirectoryError) as caught:
        parse_rewarded_set(dump(REWARDED))
    assert caught.value.code == "response_too_large"
    monkeypatch.setattr("smolmix_web.mixnet.directory.MAX_RESPONSE", 1 << 20)
    for body in (b"[" * 200_000, b"\xff\xfe", b"null", b"[]", b'"text"', b"NaN"):
        with pytest.raises(DirectoryError):
            parse_rewarded_set(body)


# -- the other resources ------------------------------------------------------------------------------------


def test_rewarded_set() -> None:
    parsed = parse_rewarded_set(dump(REWARDED))
    assert parsed.layers == ((1,), (2,), (3,))
    assert (parsed.epoch_id, parsed.entry_gateways, parsed.exit_gateways) == (30032, (10,), (11,))
    assert parse_rewarded_set(dump(put(REWARDED, "epoch_id", ...))).epoch_id == 0
    for path, value in (("layer2", ...), ("layer1", [1, "2"]), ("standby", 3), ("layer3", [-1])):
        with pytest.raises(DirectoryError, match=path):
            parse_rewarded_set(dump(put(REWARDED, path, value)))


def test_key_rotation_clock() -> None:
    info = parse_key_rotation(dump(ROTATION))
    start = 1790164804.0  # 2026-09-23T12:00:04Z
    assert info.epoch_start == start
    assert (info.epoch_duration, info.validity_epochs) == (3600.0, 24)
    assert info.rotation_at(start) == 41
    assert info.rotation_at(start - 1) == 40
    assert info.rotation_at(start + 24 * 3600 - 1) == 41
    assert info.rotation_at(start + 24 * 3600) == 42
    assert info.rotation_start(41) == start
    assert info.rotation_start(42) == start + 24 * 3600
    for path, value in (
        ("key_rotation_state.validity_epochs", 0),
        ("current_absolute_epoch_id", -1),
        ("current_epoch_start", "yesterday"),
        ("current_epoch_start", "2026-09-23T12:00:04"),
        ("epoch_duration", {"secs": 0, "nanos": 0}),
        ("epoch_duration.nanos", ...),
    ):
        with pytest.raises(DirectoryError, match=path.split(".")[0]):
            parse_key_rotation(dump(put(ROTATION, path, value)))


def test_described_list() -> None:
    no_exit = put(described_node(ip_packet_router=None), "description.build_information.build_version", "x")
    no_exit["description"]["host_information"]["keys"]["ed25519"] = IDENTITIES[11]
    parsed = parse_page(Resource.DESCRIBED, dump(described_page(described_node(), no_exit)))
    first, second = parsed.nodes
    assert first.ip_packet_router == Recipient.parse(EXIT)
    assert (first.build_version, second.ip_packet_router) == ("1.38.0", None)
    bad = described_node(ip_packet_router={"address": EXIT.replace("@", "#")})
    parsed = parse_page(Resource.DESCRIBED, dump(described_page(described_node(), bad)))
    assert len(parsed.nodes) == 1  # listed twice, and bad the second time
    assert "data[1].description.ip_packet_router.address" in parsed.nodes.complaints[0].message


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 70000)
    | st.sampled_from(["", "0.5", "127.0.0.1", *IDENTITIES.values()]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["nodes", "data", "metadata", "description", "total", "entry"]), inner)
    ),
    max_leaves=12,
)


@given(json_values, st.sampled_from(["nodes.data.0", "metadata", "nodes", "nodes.data.0.entry", "nodes.data.0.role"]))
def test_arbitrary_json_is_parsed_or_refused(value: Any, path: str) -> None:
    for body in (dump(value), dump(put(page(skimmed_node()), path, value))):
        for resource in (Resource.ENTRY_GATEWAYS, Resource.DESCRIBED):
            try:
                list(parse_page(resource, body).nodes)
            except DirectoryError as error:
                assert error.phase == "directory"


# -- paging and consistency -----------------------------------------------------------------------------------

MIXES = page(skimmed_node(1), skimmed_node(2), skimmed_node(3))
GATEWAYS = page(skimmed_node(10), skimmed_node(11))
ENTRY, ACTIVE = Resource.ENTRY_GATEWAYS.value, Resource.ACTIVE_MIXNODES.value


def test_topology_query_asks_for_four_answers_at_once() -> None:
    query = DirectoryQuery.for_topology()
    assert sorted(query.requests()) == [
        "v1/epoch/key-rotation-info",
        "v1/nym-nodes/rewarded-set",
        "v2/unstable/nym-nodes/skimmed/entry-gateways?page=0",
        "v2/unstable/nym-nodes/skimmed/mixnodes/active?page=0",
    ]
    query.answer("v1/epoch/key-rotation-info", dump(ROTATION))
    query.answer("v1/nym-nodes/rewarded-set", dump(REWARDED))
    query.answer(f"{ENTRY}?page=0", dump(GATEWAYS))
    assert not query.done and query.requests() == [f"{ACTIVE}?page=0"]
    with pytest.raises(DirectoryError, match="not fetched"):
        query.skimmed(Resource.ACTIVE_MIXNODES)
    query.answer(f"{ACTIVE}?page=0", dump(MIXES))
    assert query.done and query.requests() == []
    assert len(query.skimmed(Resource.ACTIVE_MIXNODES).nodes) == 3
    assert query.key_rotation is not None and query.rewarded_set.layers[0] == (1,)


def test_pages_are_followed_until_the_total_is_there() -> None:
    query = DirectoryQuery([Resource.ENTRY_GATEWAYS])
    query.answer(f"{ENTRY}?page=0", dump(page(skimmed_node(1), total=3)))
    assert query.requests() == [f"{ENTRY}?page=1"]
    query.answer(f"{ENTRY}?page=0", dump(page(skimmed_node(11), total=1)))  # not asked for any more
    query.answer(f"{ENTRY}?page=1", dump(page(skimmed_node(2), skimmed_node(3, mix_port=0), total=3, number=1)))
    assert query.done
    found = query.skimmed(Resource.ENTRY_GATEWAYS)
    assert [node.node_id for node in found.nodes] == [1, 2]
    assert found.nodes.skipped == 1 and "nodes.data[1].mix_port" in found.nodes.complaints[0].message


def test_a_server_that_promises_too_much_does_not_keep_us(crypto: Crypto) -> None:
    query = DirectoryQuery([Resource.ENTRY_GATEWAYS])
    query.answer(f"{ENTRY}?page=0", dump(page(skimmed_node(1), total=1000)))
    query.answer(f"{ENTRY}?page=1", dump(page(skimmed_node(1), total=1000)))
    assert query.done
    query = DirectoryQuery([Resource.ENTRY_GATEWAYS])
    for number in range(MAX_PAGES):
        key = base58_encode(crypto.ed25519_public(bytes((number,)) * 32))
        assert query.requests() == [f"{ENTRY}?page={number}"]
        node = skimmed_node(ed25519_identity_pubkey=key)
        query.answer(f"{ENTRY}?page={number}", dump(page(node, total=1000, number=number)))
    assert query.done and len(query.skimmed(Resource.ENTRY_GATEWAYS).nodes) == MAX_PAGES


def test_contradicting_answers_start_anew() -> None:
    query = DirectoryQuery([Resource.ENTRY_GATEWAYS, Resource.ACTIVE_MIXNODES])
    query.answer(f"{ENTRY}?page=0", dump(GATEWAYS))
    with pytest.raises(DirectoryError) as caught:
        query.answer(f"{ACTIVE}?page=0", dump(put(MIXES, "metadata.rotation_id", 42)))
    assert caught.value.code == "inconsistent"
    assert len(query.requests()) == 2 and not query.done
    query.answer(f"{ENTRY}?page=0", dump(page(skimmed_node(1), total=2)))
    with pytest.raises(DirectoryError, match="another epoch"):
        query.answer(f"{ENTRY}?page=1", dump(page(skimmed_node(2), total=2, absolute_epoch_id=30033)))
    assert f"{ENTRY}?page=0" in query.requests()


def test_a_refused_answer_leaves_the_query_as_it_was() -> None:
    query = DirectoryQuery.for_exits()
    before = query.requests()
    with pytest.raises(DirectoryError):
        query.answer(before[0], b"<html>")
    assert query.requests() == before
    query.answer("v9/what", b"")
    assert query.requests() == before


# -- exits --------------------------------------------------------------------------------------------------


def topology_of(*gateways: dict[str, Any]) -> Topology:
    query = DirectoryQuery.for_topology()
    answers = {"v1/epoch/key-rotation-info": ROTATION, "v1/nym-nodes/rewarded-set": REWARDED}
    lists = {f"{ENTRY}?page=0": page(*gateways), f"{ACTIVE}?page=0": MIXES}
    for path, document in {**answers, **lists}.items():
        query.answer(path, dump(document))
    return Topology.from_query(query)


def exits(version: str = "1.38.0", gateway: str = EXIT, **change: Any) -> list[Any]:
    """What is drawn where one node is described and listed so."""
    described = put(described_node(), "description.build_information.build_version", version)
    described["description"]["ip_packet_router"] = {"address": gateway}
    try:
        listed: NodeList[DescribedNode] = parse_page(Resource.DESCRIBED, dump(described_page(described))).nodes
        return draw_exits(SeededRandom("exits"), listed, topology_of(skimmed_node(10, **change), skimmed_node(11)), 3)
    except DirectoryError as error:
        assert error.code in ("no_exit", "bad_response")
        return []


def test_exit_candidates() -> None:
    (candidate,) = exits()
    assert candidate == (Recipient.parse(EXIT), "1.38.0", (10, 9), 99)
    assert exits("1.36.9")[0].protocols == (9,)
    assert exits("1.37.0-rc1")[0].protocols == (9,)
    (elsewhere,) = exits(gateway=EXIT.replace(IDENTITIES[10], IDENTITIES[11]))
    assert base58_encode(elsewhere.recipient.gateway) == IDENTITIES[11]
    unknown = base58_encode(Recipient.parse(EXIT).identity)
    for unusable in (
        exits("1.29.9"),
        exits("1.30.0-rc1"),
        exits("1.38"),
        exits(performance="0.49"),
        exits(mix_port=0),
        exits(supported_roles={"mixnode": False, "entry": True, "exit_nr": True, "exit_ipr": False}),
        exits(supported_roles=None),
        exits(gateway=EXIT.replace(IDENTITIES[10], unknown)),
        exits(gateway=EXIT.replace("@", "#")),
    ):
        assert unusable == []


def test_versions() -> None:
    assert NodeVersion.parse("1.30.0-rc1+x") == (1, 30, 0, False)
    assert NodeVersion.parse("1.30.0-rc1") < NodeVersion.parse("1.30.0") < NodeVersion.parse("1.30.1-a")  # type: ignore[operator]
    for text in ("", "1.2", "1.2.3.4", "01.2.3", "v1.2.3", "1.2.x", "1.2.3-", "1" * 12 + ".0.0"):
        assert NodeVersion.parse(text) is None
    assert protocols_of(None) == (9,) and protocols_of("2.0.0") == (10, 9)


def test_exit_draw_follows_the_weights(crypto: Crypto) -> None:
    """All orders of two of three exits, with the chances that drawing with weights one after the other gives."""
    weights = {1: 90, 2: 60, 3: 50}
    names = {number: base58_encode(crypto.ed25519_public(bytes((number,)) * 32)) for number in range(1, 7)}

    def gateway(number: int) -> dict[str, Any]:
        share = f"0.{weights.get(number, 99)}"
        changed = skimmed_node(10, ed25519_identity_pubkey=names[number], performance=share)
        return {**changed, "node_id": 100 + number}

    def described(number: int, **change: Any) -> dict[str, Any]:
        address = EXIT.replace(IDENTITIES[10], names[number])
        node = described_node(**{"ip_packet_router": {"address": address}, **change})
        return put(node, "description.host_information.keys.ed25519", names[number])

    topology = topology_of(*map(gateway, (1, 2, 3, 4, 5)))
    bad = described(5, ip_packet_router={"address": "?"})
    nodes = [*map(described, weights), described(4, ip_packet_router=None), bad, described(6)]
    body, rng, rounds = dump(described_page(*nodes)), SeededRandom("weights"), 6000
    kept: NodeList[DescribedNode] = parse_page(Resource.DESCRIBED, body).nodes
    seen: Counter[tuple[str, ...]] = Counter()
    for number in range(rounds):
        listed = kept if number % 2 else parse_page(Resource.DESCRIBED, body).nodes
        drawn = draw_exits(rng, listed, topology, 2)
        seen[tuple(base58_encode(one.recipient.gateway) for one in drawn)] += 1
    total = sum(weights.values())
    for first, second in itertools.permutations(weights, 2):
        chance = weights[first] / total * weights[second] / (total - weights[first])
        spread = 5 * (rounds * chance) ** 0.5
        assert abs(seen[names[first], names[second]] - rounds * chance) < spread
    assert sum(seen.values()) == rounds and kept.skipped == 1
    everyone = draw_exits(rng, kept, topology, 5)
    assert {one.weight for one in everyone} == set(weights.values())
    for nothing in ([], [described(4), described(6)]):
        page_ = parse_page(Resource.DESCRIBED, dump(described_page(*nothing)))
        with pytest.raises(DirectoryError) as caught:
            draw_exits(rng, page_.nodes, topology_of(skimmed_node(11, supported_roles=None)))
        assert caught.value.code == "no_exit"


def test_pinned_exit_looks_up_its_version() -> None:
    described = parse_page(Resource.DESCRIBED, dump(described_page(described_node()))).nodes
    recipient = Recipient.parse(EXIT)
    assert pinned_exit(recipient, described).protocols == (10, 9)
    assert pinned_exit(recipient._replace(gateway=bytes(32)), described).protocols == (9,)
    assert pinned_exit(recipient).protocols == (9,)
