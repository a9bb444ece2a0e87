"""Nodes that the directory lists and that do not exist: a list as long as the main network's, for measurements.

None is ever on a route: the mix nodes are in no layer, and the gateways' performance is 0. Clients take entries from
0.5 on, and the official one draws an exit by its performance, however bad. Their lines are made once, as JSON text, so
that serving them costs the machine next to nothing.
"""

from __future__ import annotations

import json
from typing import Any

from smolmix_web.crypto.pyca import PycaCrypto
from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.mixnet.base58 import base58_encode
from smolmix_web.rand import SeededRandom

MAIN_NETWORK = 700
"""Nodes that the main network describes, in round numbers."""
GATEWAYS, MIXES = 400 / 690, 234 / 690
"""Shares of them: entry gateways (every second an exit), nodes of the active mix set; the others stand by."""
FIRST_ID = 1001
GATEWAY_PERFORMANCE = "0.00"


class AnnouncedNodes:
    """`count` nodes, the same for the same seed. The texts are items of a JSON array, joined by commas."""

    def __init__(self, seed: str, count: int, rotation: int, build: dict[str, str]) -> None:
        gateways, mixes = round(count * GATEWAYS), round(count * MIXES)
        crypto, rng = PycaCrypto(), SeededRandom(f"{seed}/announced")
        kinds = ["gateway"] * gateways + ["mix"] * mixes + ["standby"] * (count - gateways - mixes)
        described: list[str] = []
        skimmed: dict[str, list[str]] = {"gateway": [], "mix": [], "standby": []}
        for number, kind in enumerate(kinds):
            identity = crypto.ed25519_public(rng.bytes(32))
            router = None
            if kind == "gateway" and number % 2:
                client = Recipient(crypto.ed25519_public(rng.bytes(32)), rng.bytes(32), identity)
                router = {"address": str(client)}
            node = _Node(FIRST_ID + number, kind, base58_encode(identity), base58_encode(rng.bytes(32)), router)
            described.append(_text(node.described(rotation, build)))
            skimmed[kind].append(_text(node.skimmed()))
        self.counts = {kind: len(texts) for kind, texts in skimmed.items()}
        self.described = ",".join(described)
        self._skimmed = {kind: ",".join(texts) for kind, texts in skimmed.items()}

    def skimmed(self, kinds: tuple[str, ...]) -> tuple[int, str]:
        """How many of these kinds there are, and their text."""
        texts = [self._skimmed[kind] for kind in kinds if self.counts[kind]]
        return sum(self.counts[kind] for kind in kinds), ",".join(texts)


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


class _Node:
    def __init__(self, node_id: int, kind: str, identity: str, sphinx_key: str, router: dict[str, str] | None) -> None:
        self._node_id, self._kind, self._identity, self._sphinx_key = node_id, kind, identity, sphinx_key
        self._router = router
        self._host = f"198.18.{node_id >> 8}.{node_id & 255}"  # RFC 2544: leads nowhere
        self._name = f"node{node_id}.test" if kind == "gateway" else None
        is_exit = router is not None
        self._roles = {"mixnode": kind == "mix", "entry": kind == "gateway", "exit_nr": is_exit, "exit_ipr": is_exit}

    def skimmed(self) -> dict[str, Any]:
        gateway = self._kind == "gateway"
        return {
            "node_id": self._node_id,
            "ed25519_identity_pubkey": self._identity,
            "ip_addresses": [self._host, f"2001:db8::{self._node_id:x}"],
            "mix_port": 1789,
            "x25519_sphinx_pubkey": self._sphinx_key,
            "role": "EntryGateway" if gateway else "Standby",
            "supported_roles": self._roles,
            "entry": {"hostname": self._name, "ws_port": 9000, "wss_port": 9001} if gateway else None,
            "performance": GATEWAY_PERFORMANCE if gateway else "0.99",
        }

    def described(self, rotation: int, build: dict[str, str]) -> dict[str, Any]:
        wireguard = {"port": 51822, "tunnel_port": 51822, "metadata_port": 51830, "public_key": self._sphinx_key}
        key = {"rotation_id": rotation, "public_key": self._sphinx_key}
        keys = {"ed25519": self._identity, "x25519": self._sphinx_key, "current_x25519_sphinx_key": key}
        return {
            "node_id": self._node_id,
            "contract_node_type": "nym_node",
            "description": {
                "last_polled": "2026-09-23 11:58:40.114 +00:00:00",
                "host_information": {
                    "ip_address": [self._host, f"2001:db8::{self._node_id:x}"],
                    "hostname": self._name,
                    "keys": {**keys, "pre_announced_x25519_sphinx_key": None, "x25519_versioned_noise": None},
                },
                "declared_role": self._roles,
                "auxiliary_details": {
                    "location": "CH",
                    "announce_ports": {"verloc_port": 1790, "mix_port": 1789},
                    "accepted_operator_terms_and_conditions": True,
                },
                "build_information": {**build, "build_version": "1.38.0"},
                "network_requester": None,
                "ip_packet_router": self._router,
                "authenticator": self._router,
                "wireguard": wireguard,
                "mixnet_websockets": {"ws_port": 9000, "wss_port": 9001},
                "lewes_protocol": None,
            },
        }
