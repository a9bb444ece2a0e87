"""The directory: the node lists, the rewarded set and the rotation clock as nym-api serves them (directory 3, 4).

All documents are made from one `DirectoryState` at the moment of the request, so that epochs, rotations and keys
always agree. `Faults` spoil the answers on purpose: a status code, a delay, a document of one's own.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from smolmix_web.mixnet.base58 import base58_encode
from smolmix_web.mixnet.directory_query import DirectoryQuery
from smolmix_web.mixnet.topology import Topology

from .announced import AnnouncedNodes
from .errors import ConfigError
from .http_server import Request, Response, json_response, text_response
from .keys import KeyRing
from .plan import NodePlan
from .rotation import RotationClock

BASE = "/api/"
CORS = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "GET, POST"),
    ("access-control-max-age", "600"),
]
BUILD = {
    "binary_name": "nym-node",
    "build_timestamp": "2026-08-30T09:11:02Z",
    "commit_sha": "0" * 40,
    "commit_timestamp": "2026-08-29T16:00:00Z",
    "commit_branch": "HEAD",
    "rustc_version": "1.90.0",
    "rustc_channel": "stable",
    "cargo_profile": "release",
    "cargo_triple": "x86_64-unknown-linux-gnu",
}

SHOWN = {
    "v2/unstable/nym-nodes/skimmed/entry-gateways": ("gateway",),
    "v2/unstable/nym-nodes/skimmed/mixnodes/active": ("mix",),
    "v2/unstable/nym-nodes/skimmed": ("gateway", "mix", "standby"),
}
"""Kinds of announced nodes, by list."""


@dataclass
class Entry:
    """One node as the directory knows it. Fields may be changed while the network runs."""

    plan: NodePlan
    keys: KeyRing
    host: str
    mix_port: int
    performance: str
    ws_port: int = 0
    wss_port: int = 0
    hostname: str | None = None
    exit_address: str | None = None  # Nym address of the exit's IP packet router
    version: str = "1.38.0"
    listed: bool = True
    """False: absent from every list, like a node that left."""

    @property
    def is_mix(self) -> bool:
        return self.plan.kind == "mix"

    def roles(self) -> dict[str, bool]:
        is_exit = self.exit_address is not None
        return {"mixnode": self.is_mix, "entry": not self.is_mix, "exit_nr": is_exit, "exit_ipr": is_exit}


@dataclass
class Fault:
    """What a path answers instead: after `delay` seconds `status` with `body`, or the true answer if both are None."""

    delay: float = 0.0
    status: int | None = None
    body: object = None
    times: int | None = None  # how often; None: until removed
    malformed: str | None = None  # the true answer, broken in this way (MALFORMED)

    def __post_init__(self) -> None:
        if self.malformed is not None and self.malformed not in MALFORMED:
            raise ConfigError("malformed", f"{self.malformed!r} is not one of {', '.join(MALFORMED)}")


MALFORMED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda document: b"",
    "truncated": lambda document: document[: len(document) // 2],
    "not_json": lambda document: b"<html>503</html>",
    "not_utf8": lambda document: document[:10] + b"\xff" + document[10:],
    "wrong_type": lambda document: b"[]" if document[:1] == b"{" else b"{}",
    "no_fields": lambda document: b"{}",
    "bad_keys": lambda document: re.sub(rb'(pubkey|public_key|ed25519|x25519)":"[^"]*"', rb'\1":"0OIl"', document),
    "negative": lambda document: re.sub(rb'(_id|_port|secs)":[0-9]+', rb'\1":-1', document),
    "deep": lambda document: b"[" * 100_000 + b"]" * 100_000,
    "huge": lambda document: document + b" " * 64_000_000,
}
"""What a document is turned into, by name."""


@dataclass
class DirectoryState:
    clock: RotationClock
    entries: list[Entry]
    unix_time: Callable[[], float]
    network_name: str = "localnet"
    faults: dict[str, Fault] = field(default_factory=dict)
    """By path below `/api/`, e.g. `v1/nym-nodes/rewarded-set`."""
    announced: AnnouncedNodes | None = None
    """Further nodes in the lists, for show."""


def _timestamp(unix_time: float) -> str:
    text = datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


class Directory:
    """The documents, and the HTTP handler that serves them under `/api/`."""

    def __init__(self, state: DirectoryState, ca_pem: str) -> None:
        self.state = state
        self.requests: list[tuple[str, str]] = []
        self._ca_pem = ca_pem
        self._documents: dict[str, Callable[[], object]] = {
            "v2/unstable/nym-nodes/skimmed/entry-gateways": lambda: self.skimmed(gateways=True),
            "v2/unstable/nym-nodes/skimmed/mixnodes/active": lambda: self.skimmed(mixes=True),
            "v2/unstable/nym-nodes/skimmed": lambda: self.skimmed(gateways=True, mixes=True),
            "v2/unstable/nym-nodes/skimmed/exit-gateways": lambda: self.skimmed(exits=True),
            "v1/epoch/key-rotation-info": self.key_rotation_info,
            "v1/nym-nodes/rewarded-set": self.rewarded_set,
            "v2/nym-nodes/described": self.described,
            "v1/network/details": self.network_details,
        }

    # -- documents ------------------------------------------------------------------------------------
    def _listed(self) -> list[Entry]:
        return [entry for entry in self.state.entries if entry.listed]

    def skimmed(self, *, gateways: bool = False, mixes: bool = False, exits: bool = False) -> dict[str, Any]:
        now = self.state.unix_time()
        epoch = self.state.clock.at(now)
        chosen = [
            entry
            for entry in self._listed()
            if (mixes and entry.is_mix) or (gateways and not entry.is_mix) or (exits and entry.exit_address is not None)
        ]
        clock = self.state.clock
        interval = {
            "id": epoch.rotation,
            "epochs_in_interval": 720,
            "current_epoch_start": _timestamp(epoch.started),
            "current_epoch_id": epoch.number % 720,
            "epoch_length": _duration(clock.epoch_seconds),
            "total_elapsed_epochs": epoch.number,
        }
        return {
            "metadata": {
                "status": {"fresh": interval},
                "absolute_epoch_id": epoch.number,
                "rotation_id": epoch.rotation,
                # The start of the epoch: two lists of one epoch never differ in it.
                "refreshed_at": _timestamp(epoch.started),
            },
            "nodes": {
                "pagination": {"total": len(chosen), "page": 0, "size": len(chosen)},
                "data": [self._skimmed_node(entry, epoch.rotation) for entry in chosen],
            },
        }

    @staticmethod
    def _skimmed_node(entry: Entry, rotation: int) -> dict[str, Any]:
        role: object = {
            "mix": {"Mixnode": {"layer": entry.plan.layer}},
            "entry": "EntryGateway",
            "exit": "ExitGateway",
        }[entry.plan.kind]
        doorway = None
        if not entry.is_mix:
            doorway = {"hostname": entry.hostname, "ws_port": entry.ws_port, "wss_port": entry.wss_port or None}
        return {
            "node_id": entry.plan.node_id,
            "ed25519_identity_pubkey": base58_encode(entry.keys.identity.public_key),
            "ip_addresses": [entry.host],
            "mix_port": entry.mix_port,
            "x25519_sphinx_pubkey": base58_encode(entry.keys.public_key(rotation)),
            "role": role,
            "supported_roles": entry.roles(),
            "entry": doorway,
            "performance": entry.performance,
        }

    def key_rotation_info(self) -> dict[str, Any]:
        clock = self.state.clock
        epoch = clock.at(self.state.unix_time())
        first = clock.INITIAL_EPOCH + epoch.rotation * clock.validity_epochs
        return {
            "key_rotation_state": {"validity_epochs": clock.validity_epochs, "initial_epoch_id": clock.INITIAL_EPOCH},
            "current_absolute_epoch_id": epoch.number,
            "current_epoch_start": _timestamp(epoch.started),
            "epoch_duration": _duration(clock.epoch_seconds),
            "progress": {
                "current_key_rotation_id": epoch.rotation,
                "current_rotation_starting_epoch": first,
                "current_rotation_ending_epoch": first + clock.validity_epochs - 1,
            },
        }

    def rewarded_set(self) -> dict[str, Any]:
        listed = self._listed()

        def ids(kind: str, layer: int = 0) -> list[int]:
            return [e.plan.node_id for e in listed if e.plan.kind == kind and e.plan.layer == layer]

        return {
            "epoch_id": self.state.clock.at(self.state.unix_time()).number,
            "entry_gateways": ids("entry"),
            "exit_gateways": ids("exit"),
            "layer1": ids("mix", 1),
            "layer2": ids("mix", 2),
            "layer3": ids("mix", 3),
            "standby": [],
        }

    def described(self) -> dict[str, Any]:
        now = self.state.unix_time()
        nodes = [self._described_node(entry, now) for entry in self._listed()]
        return {"pagination": {"total": len(nodes), "page": 0, "size": len(nodes)}, "data": nodes}

    def _described_node(self, entry: Entry, now: float) -> dict[str, Any]:
        epoch = self.state.clock.at(now)
        sphinx = base58_encode(entry.keys.public_key(epoch.rotation))
        announced = entry.keys.announced(now)
        following = None
        if announced is not None:
            following = {"rotation_id": announced, "public_key": base58_encode(entry.keys.public_key(announced))}
        return {
            "node_id": entry.plan.node_id,
            "contract_node_type": "nym_node",
            "description": {
                "last_polled": _timestamp(epoch.started),
                "host_information": {
                    "ip_address": [entry.host],
                    "hostname": entry.hostname,
                    "keys": {
                        "ed25519": base58_encode(entry.keys.identity.public_key),
                        "x25519": sphinx,
                        "current_x25519_sphinx_key": {"rotation_id": epoch.rotation, "public_key": sphinx},
                        "pre_announced_x25519_sphinx_key": following,
                        "x25519_versioned_noise": None,
                    },
                },
                "declared_role": entry.roles(),
                "auxiliary_details": {
                    "location": "CH",
                    "announce_ports": {"verloc_port": None, "mix_port": entry.mix_port},
                    "accepted_operator_terms_and_conditions": True,
                },
                "build_information": {**BUILD, "build_version": entry.version},
                "network_requester": None,
                "ip_packet_router": None if entry.exit_address is None else {"address": entry.exit_address},
                "authenticator": None,
                "wireguard": None,
                "mixnet_websockets": {"ws_port": entry.ws_port, "wss_port": entry.wss_port or None},
                "lewes_protocol": None,
            },
        }

    def network_details(self) -> dict[str, Any]:
        def denomination(base: str, display: str) -> dict[str, Any]:
            return {"base": base, "display": display, "display_exponent": 6}

        contracts = ("mixnet", "vesting", "performance", "ecash", "group", "multisig", "coconut_dkg")
        return {
            "connected_nyxd": "http://127.0.0.1/",
            "network": {
                "network_name": self.state.network_name,
                "chain_details": {
                    "bech32_account_prefix": "n",
                    "mix_denom": denomination("unym", "nym"),
                    "stake_denom": denomination("unyx", "nyx"),
                },
                "endpoints": [{"nyxd_url": "http://127.0.0.1/", "websocket_url": None, "api_url": None}],
                "contracts": {f"{name}_contract_address": None for name in contracts},
                "nym_vpn_api_url": None,
                "nym_api_urls": None,
                "nym_vpn_api_urls": None,
            },
        }

    def encoded(self, path: str) -> bytes:
        """The document of a path as JSON, with the nodes that are for show at the end of its list."""
        document = self._documents[path]()
        added = self._announced(path)
        if added is None:
            return _dump(document)
        count, text = added
        listing: Any = document
        pages = listing.get("nodes", listing)
        pages["pagination"]["total"] = pages["pagination"]["size"] = len(pages["data"]) + count
        body = _dump(document)
        end = body.rindex(b"]")
        comma = b"," if pages["data"] and text else b""
        return body[:end] + comma + text.encode() + body[end:]

    def _announced(self, path: str) -> tuple[int, str] | None:
        nodes = self.state.announced
        if nodes is None:
            return None
        if path == "v2/nym-nodes/described":
            return sum(nodes.counts.values()), nodes.described
        kinds = SHOWN.get(path)
        return None if kinds is None else nodes.skimmed(kinds)

    def topology(self) -> Topology:
        """What a client would make of the documents now, without the nodes that are for show."""
        query = DirectoryQuery.for_topology()
        while not query.done:
            for path in query.requests():
                query.answer(path, _dump(self._documents[path.partition("?")[0]]()))
        return Topology.from_query(query)

    # -- HTTP -----------------------------------------------------------------------------------------
    async def handle(self, request: Request) -> Response:
        """Any GET below `/api/`, preflights, and `/ca.pem`."""
        if len(self.requests) < 10_000:
            self.requests.append((request.method, request.target))
        if request.method == "OPTIONS":
            return Response(204, list(CORS))
        if request.path == "/ca.pem":
            return Response(200, [("content-type", "application/x-pem-file"), *CORS], self._ca_pem.encode())
        if not request.path.startswith(BASE):
            return _with_cors(text_response("not found\n", 404))
        path = request.path.removeprefix(BASE).rstrip("/")
        if path not in self._documents:
            return _with_cors(text_response("not found\n", 404))
        if request.method not in ("GET", "HEAD"):
            return _with_cors(text_response("method not allowed\n", 405))
        fault = self.state.faults.get(path)
        if fault is not None:
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    del self.state.faults[path]
            if fault.delay:
                await asyncio.sleep(fault.delay)
            if fault.malformed is not None:
                return _json(MALFORMED[fault.malformed](self.encoded(path)), fault.status or 200)
            if isinstance(fault.body, str):
                return _with_cors(text_response(fault.body, fault.status or 200, "application/json"))
            if fault.status is not None or fault.body is not None:
                return json_response(fault.body, fault.status or 200, list(CORS))
        return _json(self.encoded(path))


def _dump(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _json(body: bytes, status: int = 200) -> Response:
    return Response(status, [("content-type", "application/json"), *CORS], body)


def _with_cors(response: Response) -> Response:
    response.headers += CORS
    return response


def _duration(seconds: float) -> dict[str, int]:
    whole = int(seconds)
    return {"secs": whole, "nanos": round((seconds - whole) * 1e9)}
