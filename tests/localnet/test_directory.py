"""The six documents against their schemas (directory 3), their agreement with each other, and the HTTP around them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from localnet import Network, NetworkConfig
from localnet.announced import MAIN_NETWORK
from localnet.directory import Fault
from smolmix_web.crypto.provider import Crypto
from smolmix_web.mixnet.addresses import Recipient, is_ed25519_point
from smolmix_web.mixnet.base58 import base58_decode
from smolmix_web.mixnet.directory import Resource
from smolmix_web.mixnet.directory_query import DirectoryQuery
from smolmix_web.mixnet.topology import Topology

SKIMMED = {
    "entry-gateways": "v2/unstable/nym-nodes/skimmed/entry-gateways",
    "mixnodes": "v2/unstable/nym-nodes/skimmed/mixnodes/active",
    "all": "v2/unstable/nym-nodes/skimmed",
}
WITH_EXITS = {"exits": 2, "exit_versions": ("1.38.0", "1.36.2")}


def check_key(text: str) -> bytes:
    key = base58_decode(text, 32)
    assert len(key) == 32
    return key


def check_skimmed(document: dict[str, Any]) -> None:
    metadata, nodes = document["metadata"], document["nodes"]
    assert isinstance(metadata["absolute_epoch_id"], int) and isinstance(metadata["rotation_id"], int)
    assert isinstance(metadata["refreshed_at"], str)
    assert set(metadata["status"]) == {"fresh"}
    assert nodes["pagination"] == {"total": len(nodes["data"]), "page": 0, "size": len(nodes["data"])}
    for node in nodes["data"]:
        assert is_ed25519_point(check_key(node["ed25519_identity_pubkey"]))
        check_key(node["x25519_sphinx_pubkey"])
        assert node["ip_addresses"] == ["127.0.0.1"] and 0 < node["mix_port"] < 65536
        assert set(node["supported_roles"]) == {"mixnode", "entry", "exit_nr", "exit_ipr"}
        assert 0 <= float(node["performance"]) <= 1 and isinstance(node["performance"], str)
        if node["supported_roles"]["entry"]:
            assert set(node["entry"]) == {"hostname", "ws_port", "wss_port"} and 0 < node["entry"]["ws_port"] < 65536
        else:
            assert node["entry"] is None and node["role"]["Mixnode"]["layer"] in (1, 2, 3)


@pytest.mark.parametrize("net", [WITH_EXITS], indirect=True)
async def test_every_document_has_its_schema_and_all_agree(net: Network, http: Callable[..., Any]) -> None:
    base = net.directory_url
    lists = {name: (await http(f"{base}{path}?page=0&output=bincode")).json() for name, path in SKIMMED.items()}
    for document in lists.values():
        check_skimmed(document)
        assert document["metadata"] == lists["all"]["metadata"]
    ids = {name: {node["node_id"] for node in document["nodes"]["data"]} for name, document in lists.items()}
    assert len(ids["mixnodes"]) == 6 and len(ids["entry-gateways"]) == 4
    assert ids["all"] == ids["mixnodes"] | ids["entry-gateways"]

    rewarded = (await http(base + "v1/nym-nodes/rewarded-set")).json()
    assert rewarded["epoch_id"] == lists["all"]["metadata"]["absolute_epoch_id"]
    layers = [set(rewarded[f"layer{number}"]) for number in (1, 2, 3)]
    assert [len(layer) for layer in layers] == [2, 2, 2] and set.union(*layers) == ids["mixnodes"]
    assert set(rewarded["entry_gateways"]) | set(rewarded["exit_gateways"]) == ids["entry-gateways"]
    assert rewarded["standby"] == [] and len(rewarded["exit_gateways"]) == 2

    rotation = (await http(base + "v1/epoch/key-rotation-info")).json()
    epoch, state = rotation["current_absolute_epoch_id"], rotation["key_rotation_state"]
    assert epoch == rewarded["epoch_id"]
    current = (epoch - state["initial_epoch_id"]) // state["validity_epochs"]
    assert current == lists["all"]["metadata"]["rotation_id"] == rotation["progress"]["current_key_rotation_id"] == 41
    first = state["initial_epoch_id"] + current * state["validity_epochs"]
    assert rotation["progress"]["current_rotation_starting_epoch"] == first <= epoch
    assert rotation["progress"]["current_rotation_ending_epoch"] == first + state["validity_epochs"] - 1 >= epoch
    assert rotation["epoch_duration"] == {"secs": 3600, "nanos": 0} and rotation["current_epoch_start"].endswith("Z")

    described = (await http(base + "v2/nym-nodes/described?page=0")).json()
    assert described["pagination"]["total"] == len(described["data"]) == 10
    by_id = {node["node_id"]: node for node in lists["all"]["nodes"]["data"]}
    exits = {}
    for node in described["data"]:
        text, skimmed = node["description"], by_id[node["node_id"]]
        keys = text["host_information"]["keys"]
        assert keys["ed25519"] == skimmed["ed25519_identity_pubkey"]
        assert keys["current_x25519_sphinx_key"]["public_key"] == skimmed["x25519_sphinx_pubkey"]
        assert len(text["build_information"]) == 10 and text["declared_role"] == skimmed["supported_roles"]
        assert all(isinstance(value, str) for value in text["build_information"].values())
        if text["ip_packet_router"]:
            address = Recipient.parse(text["ip_packet_router"]["address"])
            assert address.gateway == check_key(keys["ed25519"])
            assert skimmed["supported_roles"]["exit_ipr"] and skimmed["role"] == "ExitGateway"
            exits[str(address)] = text["build_information"]["build_version"]
    assert exits == {str(net.exits[0].address): "1.38.0", str(net.exits[1].address): "1.36.2"}

    details = (await http(base + "v1/network/details")).json()
    assert details["network"]["chain_details"]["mix_denom"]["base"] == "unym"


async def test_the_client_accepts_it_without_a_complaint(net: Network, http: Callable[..., Any]) -> None:
    for query in (DirectoryQuery.for_topology(), DirectoryQuery.for_exits()):
        while not query.done:
            for path in query.requests():
                query.answer(path, (await http(net.directory_url + path)).body)
        if query.key_rotation:
            assert all(query.skimmed(Resource.ENTRY_GATEWAYS).nodes)
            assert query.skimmed(Resource.ENTRY_GATEWAYS).nodes.skipped == 0
        else:
            assert all(query.described) and query.described.skipped == 0
    topology = net.directory.topology()
    assert [len(layer) for layer in topology.layers] == [2, 2, 2] and topology.rotation == 1
    assert {gateway.url + "/" for gateway in net.gateways} == {
        endpoint.url for endpoint in topology.gateway_endpoints(force_tls=False)
    }


@pytest.mark.parametrize("path", [*SKIMMED.values(), "v1/nym-nodes/rewarded-set", "v2/nym-nodes/described", "nothing"])
async def test_preflights_and_cors(net: Network, http: Callable[..., Any], path: str) -> None:
    preflight = await http(
        net.directory_url + path,
        "OPTIONS",
        headers={
            "Origin": "http://page.test",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "content-type",
        },
    )
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-headers"] == "*"
    assert "GET" in preflight.headers["access-control-allow-methods"]
    answer = await http(net.directory_url + path)
    assert answer.headers["access-control-allow-origin"] == "*" == preflight.headers["access-control-allow-origin"]
    assert answer.status == (404 if path == "nothing" else 200)
    if answer.status == 200:
        assert answer.headers["content-type"] == "application/json"


async def test_the_certificate_is_served(net: Network, http: Callable[..., Any]) -> None:
    answer = await http(net.directory_url.removesuffix("api/") + "ca.pem")
    assert answer.body.decode() == net.ca_pem and net.ca_path is not None and net.ca_path.read_text() == net.ca_pem
    assert (await http(net.directory_url + "v1/nym-nodes/rewarded-set", "POST", b"")).status == 405


async def test_rotation_changes_keys_and_clock_together(net: Network) -> None:
    before = net.directory.skimmed(mixes=True)
    epoch = await net.rotate_keys()
    after = net.directory.skimmed(mixes=True)
    assert epoch.rotation == after["metadata"]["rotation_id"] == 42
    assert net.directory.key_rotation_info()["progress"]["current_rotation_starting_epoch"] == epoch.number
    for old, new in zip(before["nodes"]["data"], after["nodes"]["data"], strict=True):
        assert old["x25519_sphinx_pubkey"] != new["x25519_sphinx_pubkey"]
        assert old["ed25519_identity_pubkey"] == new["ed25519_identity_pubkey"]


async def test_the_next_key_is_announced_in_the_last_epoch(net: Network) -> None:
    def announced() -> Any:
        keys = net.directory.described()["data"][0]["description"]["host_information"]["keys"]
        return keys["pre_announced_x25519_sphinx_key"]

    assert announced() is None
    await net.advance_epochs(net.clock.epochs_to_next_rotation(time.time()) - 1)
    following = announced()
    await net.advance_epochs(1)
    assert following["rotation_id"] == 42
    assert following["public_key"] == net.directory.skimmed(mixes=True)["nodes"]["data"][0]["x25519_sphinx_pubkey"]


@pytest.mark.parametrize("net", [{"epoch_seconds": 0.1, "validity_epochs": 2}], indirect=True)
async def test_rotation_by_time(net: Network) -> None:
    epoch = net.clock.at(time.time())
    later = net.clock.at(time.time() + 0.2)
    assert later.rotation == epoch.rotation + 1 and later.number == epoch.number + 2


async def test_faults_spoil_answers_as_often_as_asked(net: Network, http: Callable[..., Any]) -> None:
    path = "v1/nym-nodes/rewarded-set"
    net.directory.state.faults[path] = Fault(status=503, body={"down": True}, times=1)
    assert (await http(net.directory_url + path)).status == 503
    assert (await http(net.directory_url + path)).json()["layer1"]
    net.directory.state.faults[path] = Fault(body="{ not json")
    assert (await http(net.directory_url + path)).body == b"{ not json"


async def test_unlisted_nodes_are_in_no_list(net: Network) -> None:
    net.entry("mix1a").listed = False
    assert [len(layer) for layer in net.directory.topology().layers] == [1, 2, 2]
    assert len(net.directory.described()["data"]) == 7


@pytest.mark.parametrize("net", [{"seed": "fixed"}], indirect=True)
async def test_the_same_seed_gives_the_same_identities(net: Network, crypto: Crypto) -> None:
    async with Network(net.config) as again:
        ours, theirs = (
            [node["x25519_sphinx_pubkey"] for node in one.directory.skimmed(mixes=True, gateways=True)["nodes"]["data"]]
            for one in (net, again)
        )
        assert ours == theirs


@pytest.mark.parametrize("net", [{"wss": True}], indirect=True)
async def test_secure_websockets_are_announced_with_a_name(net: Network) -> None:
    endpoints = net.directory.topology().gateway_endpoints(force_tls=True)
    assert [endpoint.url for endpoint in endpoints] == [f"wss://localhost:{g.wss_port}/" for g in net.gateways]


async def test_announced_nodes_are_listed_and_never_used() -> None:
    async with Network(NetworkConfig(seed=5, exits=1, announce=MAIN_NETWORK)) as network:
        listed = {}
        for name in ("entry-gateways", "mixnodes", "all", "described"):
            document = json.loads(network.directory.encoded({**SKIMMED, "described": "v2/nym-nodes/described"}[name]))
            page = document.get("nodes", document)
            assert page["pagination"]["total"] == page["pagination"]["size"] == len(page["data"])
            listed[name] = len(page["data"])
        # 9 real nodes: 3 x 2 mixes, 2 gateways, 1 exit.
        assert listed == {"entry-gateways": 3 + 401, "mixnodes": 6 + 234, "all": 700, "described": 700}
        query = DirectoryQuery.for_topology()
        while not query.done:
            for path in query.requests():
                query.answer(path, network.directory.encoded(path.partition("?")[0]))
        topology, real = Topology.from_query(query), network.directory.topology()
        assert len(query.skimmed(Resource.ENTRY_GATEWAYS).nodes) == 404
        assert [list(layer) for layer in topology.layers] == [list(layer) for layer in real.layers]
        urls = [{one.url for one in found.gateway_endpoints(force_tls=False)} for found in (topology, real)]
        assert urls[0] == urls[1] and len(urls[0]) == 3
    async with Network(NetworkConfig(seed=5, exits=1, announce=4)) as network:
        assert len(json.loads(network.directory.encoded("v2/nym-nodes/described"))["data"]) == 9
