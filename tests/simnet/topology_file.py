"""The network as a topology file of the reference (directory.md 9.1)."""

from __future__ import annotations

from typing import Any

from .network import MIX_PORT, WS_PORT, WSS_PORT, SimNetwork


def topology_file(network: SimNetwork) -> dict[str, Any]:
    topology, epoch = network.topology(), network.clock.at(network.unix_time())
    layers = {f"layer{number}": [node.node_id for node in layer] for number, layer in enumerate(topology.layers, 1)}
    details = {
        str(node.node_id): {
            "node_id": node.node_id,
            "mix_host": f"{node.first_address}:{MIX_PORT}",
            "entry": node.entry
            and {
                "ip_addresses": [node.first_address],
                "clients_ws_port": WS_PORT,
                "clients_wss_port": WSS_PORT,
                "hostname": node.entry.hostname,
            },
            "identity_key": list(node.identity),
            "sphinx_key": list(node.hop.public_key),
        }
        for node in topology.nodes.values()
    }
    rewarded = {"epoch_id": epoch.number, **layers, "entry_gateways": [], "exit_gateways": [], "standby": []}
    return {
        "metadata": {"key_rotation_id": epoch.rotation, "absolute_epoch_id": epoch.number, "refreshed_at": ""},
        "rewarded_set": rewarded,
        "node_details": details,
    }
