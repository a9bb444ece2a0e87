"""Answers of the directory (nym-api), from JSON to typed objects (directory.md 3).

Lists are checked as such when they come, their nodes when they are first asked for (`node_list`). Lenient where a list
can stand it: unknown fields are ignored, and a node with a bad field is left out, counted and reported, not the reason
to lose the list. Strict where it cannot: a list without metadata, or without one good node among its nodes, is a
`DirectoryError`. Every complaint names the resource and the JSON path.

Pure functions of bytes; which answers to ask for is the matter of `directory_query`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from ..errors import DirectoryError, MessageError
from .addresses import KEY_LENGTH, Recipient, is_ed25519_point
from .base58 import base58_decode
from .json_text import load_json
from .node_list import Columns, Listed, NodeList
from .rotation import rotation_id

MAX_RESPONSE = 32 * 1024 * 1024  # bytes of one answer
MAX_NODES = 20_000  # in one list

_PERFORMANCE = re.compile(r"^([0-9]{1,3})(?:\.([0-9]{1,18}))?$")
_U32 = 0xFFFFFFFF


class Resource(Enum):
    """The endpoints, by their path below the base URL (directory.md 2).

    The list of all nodes is not among them: an exit has to be at a gateway of the topology, and what it says of that
    one stands in the gateways' list as well.
    """

    ENTRY_GATEWAYS = "v2/unstable/nym-nodes/skimmed/entry-gateways"
    ACTIVE_MIXNODES = "v2/unstable/nym-nodes/skimmed/mixnodes/active"
    REWARDED_SET = "v1/nym-nodes/rewarded-set"
    KEY_ROTATION = "v1/epoch/key-rotation-info"
    DESCRIBED = "v2/nym-nodes/described"

    @property
    def paged(self) -> bool:
        return self not in (Resource.REWARDED_SET, Resource.KEY_ROTATION)


SKIMMED = (Resource.ENTRY_GATEWAYS, Resource.ACTIVE_MIXNODES)

_EXIT_FIELDS = {
    "host_information": {"keys": {"ed25519": True}},
    "build_information": {"build_version": True},
    "ip_packet_router": {"address": True},
}
_DESCRIBED_FIELDS = {
    "pagination": {"total": True},
    "data": [{"node_id": True, "description": _EXIT_FIELDS}],
}
_NODE_FIELDS = (
    "node_id", "ed25519_identity_pubkey", "x25519_sphinx_pubkey", "ip_addresses", "mix_port", "role", "epoch_role",
    "supported_roles", "entry", "performance",
)  # fmt: skip
_SKIMMED_FIELDS = {
    "metadata": True,
    "nodes": {"pagination": {"total": True}, "data": [dict.fromkeys(_NODE_FIELDS, True)]},
}


def fields_of(path: str) -> Any:
    """What is read of the answer to a request: by name what is read of a field, True for all of it; a list says it of
    every item. The rest may be left out of an answer."""
    resource = Resource(path.partition("?")[0])
    if not resource.paged:
        return True
    return _DESCRIBED_FIELDS if resource is Resource.DESCRIBED else _SKIMMED_FIELDS


# -- what the answers become ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ListMetadata:
    """What lists of one moment share. `status` is compared only."""

    status: str
    epoch_id: int
    rotation_id: int
    refreshed_at: str

    def agrees_with(self, other: ListMetadata) -> bool:
        """Same epoch, rotation and status (directory.md 2.1); the time of refreshing may differ."""
        return (self.status, self.epoch_id, self.rotation_id) == (other.status, other.epoch_id, other.rotation_id)


@dataclass(frozen=True, slots=True)
class EntryDetails:
    """Where clients reach a gateway by WebSocket."""

    hostname: str | None
    ws_port: int
    wss_port: int | None


@dataclass(frozen=True, slots=True)
class SupportedRoles:
    mixnode: bool = False
    entry: bool = False
    exit_nr: bool = False
    exit_ipr: bool = False


@dataclass(frozen=True, slots=True)
class SkimmedNode:
    """One node of a skimmed list; keys are 32 raw bytes, `performance` is percent, truncated."""

    node_id: int
    identity: bytes
    sphinx_key: bytes
    addresses: tuple[IPv4Address | IPv6Address, ...]
    mix_port: int
    role: str
    supported_roles: SupportedRoles
    entry: EntryDetails | None
    performance: int


@dataclass(frozen=True, slots=True)
class DescribedNode:
    """One node of the described list: the parts a client reads."""

    node_id: int
    identity: bytes
    build_version: str
    ip_packet_router: Recipient | None


@dataclass(frozen=True, slots=True)
class RewardedSet:
    """Node ids by role in this epoch; `layers` are the three mix layers."""

    epoch_id: int
    layers: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    entry_gateways: tuple[int, ...]
    exit_gateways: tuple[int, ...]
    standby: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KeyRotationInfo:
    """The clock of epochs and key rotations; times in Unix seconds (directory.md 3.2)."""

    validity_epochs: int
    initial_epoch_id: int
    epoch_id: int
    epoch_start: float
    epoch_duration: float

    def rotation_at(self, unix_time: float) -> int:
        """The rotation id expected at that time, extrapolated from the current epoch."""
        passed = int((unix_time - self.epoch_start) // self.epoch_duration)
        return rotation_id(self.epoch_id + passed, self.initial_epoch_id, self.validity_epochs)

    def rotation_start(self, rotation: int) -> float:
        """Unix time at which that rotation starts, by the same extrapolation."""
        first_epoch = self.initial_epoch_id + self.validity_epochs * rotation
        return self.epoch_start + (first_epoch - self.epoch_id) * self.epoch_duration


@dataclass(frozen=True, slots=True)
class NodePage:
    """One page: its nodes, and how many it held, which paging counts. `metadata` is None for described lists."""

    metadata: ListMetadata | None
    total: int
    count: int
    nodes: NodeList[Any]


# -- reading JSON -------------------------------------------------------------------------------------


class JsonValue:
    """A value with the place it stands at, so that every complaint can name it."""

    __slots__ = ("_path", "_source", "value")

    def __init__(self, source: str, path: str, value: Any) -> None:
        self._source = source
        self._path = path
        self.value = value

    def bad(self, problem: str) -> DirectoryError:
        where = f" at {self._path}" if self._path else ""
        return DirectoryError(f"directory {self._source}{where}: {problem}", code="bad_response", phase="directory")

    def get(self, name: str) -> JsonValue:
        found = self.find(name)
        if found is None:
            raise self._child(name, None).bad("is missing")
        return found

    def find(self, name: str) -> JsonValue | None:
        """The field, or None when it is absent or null."""
        if not isinstance(self.value, dict):
            raise self.bad("is not an object")
        value = self.value.get(name)
        return None if value is None else self._child(name, value)

    def _child(self, name: str, value: Any) -> JsonValue:
        return JsonValue(self._source, f"{self._path}.{name}" if self._path else name, value)

    def array(self, limit: int) -> list[Any]:
        if not isinstance(self.value, list):
            raise self.bad("is not an array")
        if len(self.value) > limit:
            raise self.bad(f"{len(self.value)} items, at most {limit}")
        return self.value

    def bare(self) -> JsonValue:
        """The place without the value."""
        return JsonValue(self._source, self._path, None)

    def item(self, index: int, value: Any) -> JsonValue:
        """One of an array's."""
        return JsonValue(self._source, f"{self._path}[{index}]", value)

    def items(self, limit: int) -> list[JsonValue]:
        return [self.item(index, value) for index, value in enumerate(self.array(limit))]

    def integer(self, low: int = 0, high: int = _U32) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self.bad("is not an integer")
        if not low <= self.value <= high:
            raise self.bad(f"{self.value} is not in {low}..{high}")
        return self.value

    def port(self) -> int:
        return self.integer(1, 65535)

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.bad("is not true or false")
        return self.value

    def text(self, limit: int = 1000) -> str:
        if not isinstance(self.value, str):
            raise self.bad("is not a string")
        if len(self.value) > limit:
            raise self.bad(f"{len(self.value)} characters, at most {limit}")
        return self.value

    def key(self, *, signing: bool) -> bytes:
        try:
            return _key(self.text(), signing)
        except MessageError as error:
            raise self.bad(error.message) from None

    def address(self) -> IPv4Address | IPv6Address:
        try:
            return ip_address(self.text(64))
        except ValueError:
            raise self.bad("is not an IP address") from None

    def performance(self) -> int:
        """Percent, truncated, of a decimal string between 0 and 1."""
        try:
            return _percent(self.text(32))
        except ValueError as error:
            raise self.bad(str(error)) from None

    def time(self) -> float:
        try:
            moment = datetime.fromisoformat(self.text(64))
        except ValueError:
            raise self.bad("is not an RFC 3339 time") from None
        if moment.tzinfo is None:
            raise self.bad("has no time zone")
        return moment.timestamp()


@lru_cache(maxsize=1024)
def _percent(text: str) -> int:
    match = _PERFORMANCE.match(text)
    if match is None:
        raise ValueError("is not a decimal fraction")
    percent = int(match[1]) * 100 + int(((match[2] or "") + "00")[:2])
    if percent > 100 or (percent == 100 and (match[2] or "").strip("0")):
        raise ValueError("is above 1")
    return percent


@lru_cache(maxsize=8192)
def _key(text: str, signing: bool) -> bytes:
    # Lists repeat each other and are read again every few minutes; the point check is the costly part.
    key = base58_decode(text, KEY_LENGTH, "key")
    if signing and not is_ed25519_point(key):
        raise MessageError("key: not a point of the curve", code="bad_key")
    return key


def _load(resource: Resource, body: bytes) -> JsonValue:
    if len(body) > MAX_RESPONSE:
        raise DirectoryError(
            f"directory {resource.value}: {len(body)} bytes, at most {MAX_RESPONSE}",
            code="response_too_large",
            phase="directory",
        )
    root = JsonValue(resource.value, "", None)
    try:
        root.value = load_json(body)
    except (ValueError, RecursionError):
        raise root.bad("is not JSON") from None
    if not isinstance(root.value, dict):
        raise root.bad("is not a JSON object")
    return root


def _nodes(items: JsonValue, read: Callable[[JsonValue], Any], columns: Callable[[Any], Columns]) -> NodeList[Any]:
    """Of the rows of a page. What a list is searched by is wrong in some: those are read at once, to say how."""
    found: NodeList[Any] = NodeList()
    rows: list[Any] = items.array(MAX_NODES)
    place = items.bare()  # the rows that are read shall not keep the others
    for index, row in enumerate(rows):
        reader = partial(_read, place, index, row, read)
        try:
            found_by = columns(row)
            if (
                type(found_by.node_id) is not int
                or not 0 <= found_by.node_id <= _U32
                or type(found_by.identity) is not str
            ):
                raise TypeError
        except (AttributeError, KeyError, TypeError, ValueError):
            try:
                reader()
            except DirectoryError as error:
                found.skip(error)
                continue
            raise AssertionError("a row that can be read has what it is searched by") from None
        found.add(Listed(found_by, None, reader))
    if rows and not found.any_good():
        raise DirectoryError(
            f"no usable node among {len(rows)}: {found.complaints[0].message}", code="bad_response", phase="directory"
        )
    return found


def _read(place: JsonValue, index: int, row: Any, read: Callable[[JsonValue], Any]) -> Any:
    return read(place.item(index, row))


def _skimmed_columns(row: Any) -> Columns:
    roles = row.get("supported_roles")
    exit_ = type(roles) is dict and roles.get("exit_ipr") is True
    return Columns(row["node_id"], row["ed25519_identity_pubkey"], _percent(row["performance"]), exit_)


def _described_columns(row: Any) -> Columns:
    description = row["description"]
    exit_ = description.get("ip_packet_router") is not None
    return Columns(row["node_id"], description["host_information"]["keys"]["ed25519"], 0, exit_)


# -- the resources ------------------------------------------------------------------------------------


def parse_page(resource: Resource, body: bytes) -> NodePage:
    """One page of a skimmed or described list. Raises `DirectoryError` when the list as such is unusable."""
    root = _load(resource, body)
    if resource is Resource.DESCRIBED:
        pagination, data = root.get("pagination"), root.get("data")
        count, total = len(data.array(MAX_NODES)), pagination.get("total").integer()
        return NodePage(None, total, count, _nodes(data, _described_node, _described_columns))
    metadata, nodes = _metadata(root.get("metadata")), root.get("nodes")
    data = nodes.get("data")
    count, total = len(data.array(MAX_NODES)), nodes.get("pagination").get("total").integer()
    return NodePage(metadata, total, count, _nodes(data, _skimmed_node, _skimmed_columns))


def _metadata(json_: JsonValue) -> ListMetadata:
    status = json_.find("status")
    refreshed = json_.find("refreshed_at")
    return ListMetadata(
        status="" if status is None else json.dumps(status.value, sort_keys=True),
        epoch_id=json_.get("absolute_epoch_id").integer(),
        rotation_id=json_.get("rotation_id").integer(),
        refreshed_at=refreshed.value if refreshed is not None and isinstance(refreshed.value, str) else "",
    )


_ROLE_ALIASES: Mapping[str, str] = {"entry": "EntryGateway", "gateway": "EntryGateway", "exit": "ExitGateway"}


def _role(json_: JsonValue) -> str:
    """`Mixnode1` to `Mixnode3`, or the name of another role. Routing does not depend on it."""
    if isinstance(json_.value, dict):
        return f"Mixnode{json_.get('Mixnode').get('layer').integer(1, 255)}"
    name = json_.text(40)
    return _ROLE_ALIASES.get(name, name)


def _skimmed_node(json_: JsonValue) -> SkimmedNode:
    role = json_.find("role") or json_.get("epoch_role")
    roles = json_.find("supported_roles")
    entry = json_.find("entry")
    addresses = tuple(item.address() for item in json_.get("ip_addresses").items(64))
    if not addresses:
        raise json_.get("ip_addresses").bad("is empty")
    return SkimmedNode(
        node_id=json_.get("node_id").integer(),
        identity=json_.get("ed25519_identity_pubkey").key(signing=True),
        sphinx_key=json_.get("x25519_sphinx_pubkey").key(signing=False),
        addresses=addresses,
        mix_port=json_.get("mix_port").port(),
        role=_role(role),
        supported_roles=SupportedRoles() if roles is None else _supported_roles(roles),
        entry=None if entry is None else read_entry(entry),
        performance=json_.get("performance").performance(),
    )


def _supported_roles(json_: JsonValue) -> SupportedRoles:
    return SupportedRoles(*(json_.get(name).flag() for name in ("mixnode", "entry", "exit_nr", "exit_ipr")))


_HOSTNAME = re.compile(r"^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?$")


def read_entry(json_: JsonValue, prefix: str = "") -> EntryDetails:
    """`prefix`: of the names of the ports."""
    hostname, wss_port = json_.find("hostname"), json_.find(f"{prefix}wss_port")
    name = hostname.text(253) if hostname is not None else ""
    if hostname is not None and name and not _HOSTNAME.match(name):
        # It goes into a URL as it is.
        raise hostname.bad("is not a host name")
    return EntryDetails(
        name or None, json_.get(f"{prefix}ws_port").port(), None if wss_port is None else wss_port.port()
    )


def _described_node(json_: JsonValue) -> DescribedNode:
    description = json_.get("description")
    router = description.find("ip_packet_router")
    recipient: Recipient | None = None
    if router is not None:
        address = router.get("address")
        try:
            recipient = Recipient.parse(address.text())
        except MessageError as error:
            raise address.bad(error.message) from None
    return DescribedNode(
        node_id=json_.get("node_id").integer(),
        identity=description.get("host_information").get("keys").get("ed25519").key(signing=True),
        build_version=description.get("build_information").get("build_version").text(100),
        ip_packet_router=recipient,
    )


def parse_rewarded_set(body: bytes) -> RewardedSet:
    """Raises `DirectoryError`."""
    return read_rewarded_set(_load(Resource.REWARDED_SET, body))


def read_rewarded_set(root: JsonValue) -> RewardedSet:
    def ids(name: str) -> tuple[int, ...]:
        return tuple(item.integer() for item in root.get(name).items(MAX_NODES))

    epoch = root.find("epoch_id")
    return RewardedSet(
        epoch_id=0 if epoch is None else epoch.integer(),
        layers=(ids("layer1"), ids("layer2"), ids("layer3")),
        entry_gateways=ids("entry_gateways"),
        exit_gateways=ids("exit_gateways"),
        standby=ids("standby"),
    )


def parse_key_rotation(body: bytes) -> KeyRotationInfo:
    """Raises `DirectoryError`."""
    root = _load(Resource.KEY_ROTATION, body)
    state, duration = root.get("key_rotation_state"), root.get("epoch_duration")
    seconds = duration.get("secs").integer(0, 1 << 40) + duration.get("nanos").integer(0, 999_999_999) / 1e9
    if seconds <= 0:
        raise duration.bad("is zero")
    return KeyRotationInfo(
        validity_epochs=state.get("validity_epochs").integer(1),
        initial_epoch_id=state.get("initial_epoch_id").integer(),
        epoch_id=root.get("current_absolute_epoch_id").integer(),
        epoch_start=root.get("current_epoch_start").time(),
        epoch_duration=seconds,
    )
