"""Topologies that a user brings: the reference's file format, what is refused and where."""

from __future__ import annotations

from typing import Any

import pytest

from smolmix_web.errors import DirectoryError
from smolmix_web.mixnet.base58 import base58_encode
from smolmix_web.mixnet.pinned import parse_topology
from tests.simnet.network import SimNetwork
from tests.simnet.topology_file import topology_file


@pytest.fixture(scope="module")
def network() -> SimNetwork:
    return SimNetwork("pinned")


def test_it_says_what_the_directory_says(network: SimNetwork) -> None:
    expected, found = network.topology(), parse_topology(topology_file(network))
    assert found.layers == expected.layers and dict(found.nodes) == dict(expected.nodes)
    assert (found.rotation_id, found.epoch_id, found.rotation) == (
        expected.rotation_id, expected.epoch_id, expected.rotation,
    )  # fmt: skip
    assert set(found.gateways) == set(expected.gateways)


def test_base58_keys_and_an_unknown_rotation(network: SimNetwork) -> None:
    document = topology_file(network)
    for node in document["node_details"].values():
        node["identity_key"] = base58_encode(bytes(node["identity_key"]))
    del document["metadata"]
    found = parse_topology(document)
    assert (found.rotation_id, found.rotation) == (0, 0) and dict(found.nodes) == dict(network.topology().nodes)


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("node_details",), [], "node_details"),
        (("node_details", "1", "mix_host"), "198.18.0.1", "node_details.1.mix_host"),
        (("node_details", "1", "mix_host"), "name:1789", "node_details.1.mix_host"),
        (("node_details", "1", "mix_host"), "198.18.0.1:99999", "node_details.1.mix_host"),
        (("node_details", "1", "sphinx_key"), [1] * 31, "node_details.1.sphinx_key"),
        (("node_details", "1", "sphinx_key"), [256] * 32, "node_details.1.sphinx_key"),
        (("node_details", "1", "identity_key"), [2] * 32, "node_details.1.identity_key"),
        (("node_details", "101", "entry", "hostname"), "a/b", "node_details.101.entry.hostname"),
        (("rewarded_set", "layer2"), None, "rewarded_set.layer2"),
        (("rewarded_set", "layer2"), [], "layer 2"),
        (("metadata", "key_rotation_id"), -1, "metadata.key_rotation_id"),
    ],
)
def test_what_is_refused_is_named(network: SimNetwork, path: tuple[str, ...], value: Any, where: str) -> None:
    document = topology_file(network)
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(DirectoryError, match=where):
        parse_topology(document)
