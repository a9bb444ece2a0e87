"""The browser's reader of directory answers beside Python's: what it leaves out changes no result and no error."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from buildtools.common import ROOT
from localnet.directory import MALFORMED
from smolmix_web.errors import DirectoryError
from smolmix_web.mixnet.directory import Resource, fields_of, parse_key_rotation, parse_page, parse_rewarded_set
from tests.mixnet.test_directory import (
    REWARDED,
    ROTATION,
    described_node,
    described_page,
    dump,
    page,
    put,
    skimmed_node,
)

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node.js")

CONDENSE = """
import { condense } from "./javascript/worker/answer.js";
let text = "";
for await (const part of process.stdin.setEncoding("utf8")) text += part;
const done = JSON.parse(text).map(([body, fields]) =>
  Buffer.from(condense(new Uint8Array(Buffer.from(body, "base64")), fields)).toString("base64"));
process.stdout.write(JSON.stringify(done));
"""

SKIMMED, DESCRIBED = Resource.ENTRY_GATEWAYS, Resource.DESCRIBED
READERS: dict[Resource, Callable[[bytes], Any]] = {
    Resource.REWARDED_SET: parse_rewarded_set,
    Resource.KEY_ROTATION: parse_key_rotation,
}


def documents() -> list[tuple[Resource, bytes]]:
    """Good ones, every malformation that the local directory knows, and single fields of every kind of wrongness."""
    status = {"fresh": {"id": 41, "current_epoch_start": "2026-09-23T12:00:04.5Z"}}
    good = {
        SKIMMED: page(skimmed_node(10), skimmed_node(11, unheard_of=[1, {"a": "\\"}]), status=status),
        DESCRIBED: described_page(described_node(lewes_protocol={"content": "x"}), described_node()),
        Resource.REWARDED_SET: REWARDED,
        Resource.KEY_ROTATION: ROTATION,
    }
    found = [(resource, dump(document)) for resource, document in good.items()]
    found += [(r, spoil(dump(d))) for r, d in good.items() for name, spoil in MALFORMED.items() if name != "huge"]
    places = {
        SKIMMED: [
            "metadata", "metadata.rotation_id", "metadata.status", "nodes", "nodes.data", "nodes.pagination.total",
            "nodes.data.0", "nodes.data.0.node_id", "nodes.data.0.entry", "nodes.data.0.entry.ws_port",
            "nodes.data.0.role", "nodes.data.0.ip_addresses", "nodes.data.0.supported_roles",
            "nodes.data.0.performance", "nodes.data.0.ed25519_identity_pubkey",
        ],
        DESCRIBED: [
            "pagination", "data", "data.0", "data.0.node_id", "data.0.description",
            "data.0.description.host_information.keys.ed25519", "data.0.description.ip_packet_router",
            "data.0.description.ip_packet_router.address", "data.0.description.build_information.build_version",
        ],
        Resource.REWARDED_SET: ["layer1", "layer1.0", "epoch_id"],
        Resource.KEY_ROTATION: ["epoch_duration.secs", "current_epoch_start"],
    }  # fmt: skip
    wrong = [
        ..., None, True, 0, -1, 1.0, 1e3, 0.5, 2**31, 2**32, 2**53 + 1, 10**400, float("nan"), float("inf"),
        "", "text", "é\U0001f600\ud800", "\ufeff", "\\\"[[{", [], [[]], {}, {"": 1, "__proto__": {"node_id": 3}},
    ]  # fmt: skip
    for resource, names in places.items():
        for name in names:
            found += [(resource, dump(put(good[resource], name, value))) for value in wrong]
    body = dump(good[SKIMMED])
    deep = b'{"unread":' + b"[" * 80 + b"]" * 80 + b"," + body[1:]
    twice = body.replace(b'"mix_port": 1789', b'"mix_port": 0, "mix_port": 1790', 1)
    numbers = [
        body.replace(b"1789", text) for text in (b"-0", b"1789.0", b"1789e0", b"0x7", b"01789", b"1789E1", b"+1")
    ]
    numbers.append(body[:-1] + b', "unread": 1.5}')
    odd = [b"\xef\xbb\xbf" + body, body.decode().encode("utf-16"), body + b"\0", body[:-1] + b",}", b" " + body + b"\n"]
    return found + [(SKIMMED, one) for one in (deep, twice, *numbers, *odd, body.replace(b" ", b"\t"), b'"', b'"\\')]


def outcome(resource: Resource, body: bytes) -> Any:
    """What Python makes of it: a result whole and read, or the error."""
    try:
        reader = READERS.get(resource)
        if reader is not None:
            return reader(body)
        parsed = parse_page(resource, body)
        nodes = list(parsed.nodes)
        complaints = [error.message for error in parsed.nodes.complaints]
        return parsed.metadata, parsed.total, parsed.count, nodes, parsed.nodes.skipped, complaints
    except DirectoryError as error:
        return error.code, error.message


def test_both_readers_say_the_same() -> None:
    given = documents()
    asked = [(base64.b64encode(body).decode(), fields_of(resource.value)) for resource, body in given]
    assert NODE is not None
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", CONDENSE], input=json.dumps(asked).encode(),
        cwd=ROOT, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    condensed = [base64.b64decode(text) for text in json.loads(done.stdout)]
    smaller = good = 0
    for (resource, body), small in zip(given, condensed, strict=True):
        whole = outcome(resource, body)
        assert outcome(resource, small) == whole, body
        smaller += len(small) < len(body)
        good += len(whole) != 2 if isinstance(whole, tuple) else 1
    # The comparison is one only where something was left out, of good documents and of bad ones.
    assert smaller > len(given) / 2 and good > 50 and len(given) - good > 50
    first = json.loads(condensed[1])
    assert set(first["data"][0]["description"]) == {"host_information", "build_information", "ip_packet_router"}
