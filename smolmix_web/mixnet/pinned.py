"""A topology that the user brings, in the file format of the reference (directory.md 9.1): no directory is asked.

    {"metadata": {"key_rotation_id", "absolute_epoch_id"}, "rewarded_set": {"layer1", "layer2", "layer3", ...},
     "node_details": {"<node_id>": {"node_id", "mix_host": "ip:port", "entry": {...} | null,
                                    "identity_key": [32 numbers], "sphinx_key": [32 numbers]}}}

Keys may also be base58 text. Without `metadata` the key rotation is unknown, and nodes try every key they have.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from ..errors import MessageError, UsageError
from ..sphinx.packet import Hop
from .addresses import pack_node_address, pad_node_address
from .base58 import base58_encode
from .directory import MAX_NODES, JsonValue, read_entry, read_rewarded_set
from .topology import Topology, TopologyNode


def parse_topology(document: Mapping[str, Any]) -> Topology:
    """Raises `DirectoryError`, which names the place: `bad_response`, or `unroutable` without three layers."""
    root = JsonValue("topology", "", dict(document))
    details = root.get("node_details")
    if not isinstance(details.value, dict) or len(details.value) > MAX_NODES:
        raise details.bad(f"is not an object of at most {MAX_NODES} nodes")
    nodes = {node.node_id: node for node in (_node(details.get(name)) for name in details.value)}
    chosen = read_rewarded_set(root.get("rewarded_set"))
    metadata = root.find("metadata")
    return Topology(
        rotation_id=0 if metadata is None else metadata.get("key_rotation_id").integer(),
        epoch_id=chosen.epoch_id if metadata is None else metadata.get("absolute_epoch_id").integer(),
        layers=tuple(
            tuple(nodes[number] for number in dict.fromkeys(layer) if number in nodes) for layer in chosen.layers
        ),
        gateways=tuple(node for node in nodes.values() if node.entry is not None),
        nodes={node.identity: node for node in nodes.values()},
    )


def _node(json_: JsonValue) -> TopologyNode:
    host, _, port = json_.get("mix_host").text(64).rpartition(":")
    try:
        address = ip_address(host.strip("[]"))
        packed = pad_node_address(pack_node_address(address, int(port)))
    except (ValueError, MessageError, UsageError):
        raise json_.get("mix_host").bad("is not address:port") from None
    entry = json_.find("entry")
    return TopologyNode(
        json_.get("node_id").integer(),
        _key(json_.get("identity_key"), signing=True),
        Hop(packed, _key(json_.get("sphinx_key"), signing=False)),
        None if entry is None else read_entry(entry, "clients_"),
        f"[{address}]" if address.version == 6 else str(address),
    )


def _key(json_: JsonValue, *, signing: bool) -> bytes:
    if isinstance(json_.value, list):
        octets = [item.integer(0, 255) for item in json_.items(32)]
        json_.value = base58_encode(bytes(octets))
    return json_.key(signing=signing)
