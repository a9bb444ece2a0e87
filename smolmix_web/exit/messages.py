"""Requests and responses of the IP packet router, versions 8 to 10, both directions (docs/protocol/ipr.md 2.3-2.5).

The three versions share one layout; only the connect success of version 10 carries an MTU. Version 8 travels bare,
9 and 10 travel inside an LP frame. Versions 6 and 7 are refused: their layout and identity differ.

Readers select the layout by the version byte, never by trial, and refuse trailing bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from ..errors import ExitError
from .bincode import Reader, Timestamp, Writer, malformed

V8, V9, V10 = 8, 9, 10
VERSIONS = (V8, V9, V10)
FRAMED_FROM = V9  # versions from here on need the LP frame
SERVICE_PROVIDER_IPR = 1  # second byte of every request

# Enum tags on the wire
_DATA, _CONTROL = 0, 1
_CONNECT, _DISCONNECT = 0, 1
_REQUEST_PING, _REQUEST_HEALTH = 2, 3
_UNREQUESTED_DISCONNECT, _PONG, _HEALTH, _INFO = 2, 3, 4, 5
_SUCCESS, _FAILURE = 0, 1
_INFO_GENERIC, _INFO_VERSION_MISMATCH, _INFO_POLICY = 0, 1, 2


class ConnectReason(IntEnum):
    """Why a connect failed."""

    CLIENT_ALREADY_CONNECTED = 0
    NO_AVAILABLE_IP = 1
    OTHER = 2


class DisconnectReason(IntEnum):
    """Why a disconnect failed."""

    CLIENT_NOT_CONNECTED = 0
    OTHER = 1


class UnrequestedReason(IntEnum):
    """Why the exit ended the connection by itself."""

    MIXNET_TRAFFIC_TIMEOUT = 0
    TUN_TRAFFIC_TIMEOUT = 1
    OTHER = 2


class InfoLevel(IntEnum):
    INFO = 0
    WARN = 1
    ERROR = 2


# -- requests ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DataRequest:
    bundle: bytes  # see bundles.py


@dataclass(frozen=True)
class ConnectRequest:
    request_id: int
    buffer_timeout: int | None  # milliseconds the exit may wait to fill a bundle; never 0
    timestamp: Timestamp


@dataclass(frozen=True)
class DisconnectRequest:
    request_id: int
    timestamp: Timestamp


@dataclass(frozen=True)
class PingRequest:
    request_id: int
    timestamp: Timestamp


@dataclass(frozen=True)
class HealthRequest:
    request_id: int
    timestamp: Timestamp


Request: TypeAlias = DataRequest | ConnectRequest | DisconnectRequest | PingRequest | HealthRequest


# -- responses --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DataResponse:
    bundle: bytes


@dataclass(frozen=True)
class ConnectSuccess:
    request_id: int
    ipv4: IPv4Address
    ipv6: IPv6Address
    mtu: int | None = None  # version 10 always, others never


@dataclass(frozen=True)
class ConnectFailure:
    request_id: int
    reason: ConnectReason
    text: str = ""  # with OTHER only


@dataclass(frozen=True)
class DisconnectSuccess:
    request_id: int


@dataclass(frozen=True)
class DisconnectFailure:
    request_id: int
    reason: DisconnectReason
    text: str = ""


@dataclass(frozen=True)
class UnrequestedDisconnect:
    reason: UnrequestedReason
    text: str = ""


@dataclass(frozen=True)
class PongResponse:
    request_id: int


@dataclass(frozen=True)
class BuildInfo:
    """The ten strings of the exit's build information, in wire order."""

    binary_name: str
    build_timestamp: str
    build_version: str
    commit_sha: str
    commit_timestamp: str
    commit_branch: str
    rustc_version: str
    rustc_channel: str
    cargo_profile: str
    cargo_triple: str


@dataclass(frozen=True)
class HealthResponse:
    request_id: int
    build: BuildInfo
    routable: bool | None


@dataclass(frozen=True)
class GenericInfo:
    text: str


@dataclass(frozen=True)
class VersionMismatch:
    request_version: int
    response_version: int


@dataclass(frozen=True)
class PolicyRefusal:
    """The exit policy refused a destination: `1.2.3.4:25` or `[2001:db8::1]:25`; port 0 where there are no ports."""

    destination: str


@dataclass(frozen=True)
class InfoResponse:
    request_id: int
    reply: GenericInfo | VersionMismatch | PolicyRefusal
    level: InfoLevel


Response: TypeAlias = (
    DataResponse
    | ConnectSuccess
    | ConnectFailure
    | DisconnectSuccess
    | DisconnectFailure
    | UnrequestedDisconnect
    | PongResponse
    | HealthResponse
    | InfoResponse
)


# -- shared -----------------------------------------------------------------------------------------------------------


def _check_version(version: int) -> None:
    if version not in VERSIONS:
        raise ExitError(
            f"version at offset 0: {version} is not one of 8, 9, 10", code="exit_unsupported_version", phase="exit"
        )


def _unknown(what: str, offset: int, tag: int) -> ExitError:
    return malformed(what, offset, f"unknown variant {tag}")


# -- encoding ---------------------------------------------------------------------------------------------------------


def encode_request(version: int, request: Request) -> bytes:
    """Header and body of a request; versions 9 and 10 still need their LP frame."""
    _check_version(version)
    out = Writer()
    out.u8(version)
    out.u8(SERVICE_PROVIDER_IPR)
    match request:
        case DataRequest(bundle):
            out.u8(_DATA)
            out.blob(bundle)
            return bytes(out.data)
        case ConnectRequest():
            out.raw(bytes((_CONTROL, _CONNECT)))
            out.varint(request.request_id)
            out.option(request.buffer_timeout is not None)
            if request.buffer_timeout is not None:
                out.varint(request.buffer_timeout)
        case DisconnectRequest():
            out.raw(bytes((_CONTROL, _DISCONNECT)))
            out.varint(request.request_id)
        case PingRequest():
            out.raw(bytes((_CONTROL, _REQUEST_PING)))
            out.varint(request.request_id)
        case HealthRequest():
            out.raw(bytes((_CONTROL, _REQUEST_HEALTH)))
            out.varint(request.request_id)
    request.timestamp.write(out)
    return bytes(out.data)


def encode_response(version: int, response: Response) -> bytes:
    """Header and body of a response; versions 9 and 10 still need their LP frame."""
    _check_version(version)
    out = Writer()
    out.u8(version)
    match response:
        case DataResponse(bundle):
            out.u8(_DATA)
            out.blob(bundle)
        case ConnectSuccess():
            if (response.mtu is not None) != (version >= V10):
                raise ValueError("a connect success carries an MTU in version 10 and only there")
            out.raw(bytes((_CONTROL, _CONNECT)))
            out.varint(response.request_id)
            out.u8(_SUCCESS)
            out.raw(response.ipv4.packed + response.ipv6.packed)
            if response.mtu is not None:
                out.varint(response.mtu)
        case ConnectFailure():
            out.raw(bytes((_CONTROL, _CONNECT)))
            out.varint(response.request_id)
            out.u8(_FAILURE)
            _write_reason(out, response.reason, ConnectReason.OTHER, response.text)
        case DisconnectSuccess():
            out.raw(bytes((_CONTROL, _DISCONNECT)))
            out.varint(response.request_id)
            out.u8(_SUCCESS)
        case DisconnectFailure():
            out.raw(bytes((_CONTROL, _DISCONNECT)))
            out.varint(response.request_id)
            out.u8(_FAILURE)
            _write_reason(out, response.reason, DisconnectReason.OTHER, response.text)
        case UnrequestedDisconnect():
            out.raw(bytes((_CONTROL, _UNREQUESTED_DISCONNECT)))
            _write_reason(out, response.reason, UnrequestedReason.OTHER, response.text)
        case PongResponse():
            out.raw(bytes((_CONTROL, _PONG)))
            out.varint(response.request_id)
        case HealthResponse():
            out.raw(bytes((_CONTROL, _HEALTH)))
            out.varint(response.request_id)
            for field in fields(BuildInfo):
                out.text(getattr(response.build, field.name))
            out.option(response.routable is not None)
            if response.routable is not None:
                out.flag(response.routable)
        case InfoResponse():
            out.raw(bytes((_CONTROL, _INFO)))
            out.varint(response.request_id)
            _write_info(out, response)
    return bytes(out.data)


def _write_reason(out: Writer, reason: IntEnum, other: IntEnum, text: str) -> None:
    out.u8(reason)
    if reason == other:
        out.text(text)
    elif text:
        raise ValueError(f"{reason!r} carries no text")


def _write_info(out: Writer, info: InfoResponse) -> None:
    match info.reply:
        case GenericInfo(text):
            out.u8(_INFO_GENERIC)
            out.text(text)
        case VersionMismatch(request_version, response_version):
            out.raw(bytes((_INFO_VERSION_MISMATCH, request_version, response_version)))
        case PolicyRefusal(destination):
            out.u8(_INFO_POLICY)
            out.text(destination)
    out.u8(info.level)


# -- decoding ---------------------------------------------------------------------------------------------------------


def decode_request(data: bytes) -> tuple[int, Request]:
    """Version and request. `ExitError` codes: exit_unsupported_version, exit_malformed."""
    source = Reader(data)
    version = source.u8("version")
    _check_version(version)
    provider = source.u8("service provider type")
    if provider != SERVICE_PROVIDER_IPR:
        source.fail("service provider type", f"{provider} is not the IP packet router", 1)
    at = source.offset
    kind = source.tag("request")
    request: Request
    if kind == _DATA:
        request = DataRequest(source.blob("data request packets"))
    elif kind == _CONTROL:
        at = source.offset
        tag = source.tag("control request")
        if tag > _REQUEST_HEALTH:
            raise _unknown("control request", at, tag)
        request_id = source.varint(64, "request id")
        if tag == _CONNECT:
            timeout = source.varint(64, "buffer timeout") if source.option("buffer timeout marker") else None
            request = ConnectRequest(request_id, timeout, Timestamp.read(source))
        elif tag == _DISCONNECT:
            request = DisconnectRequest(request_id, Timestamp.read(source))
        elif tag == _REQUEST_PING:
            request = PingRequest(request_id, Timestamp.read(source))
        else:
            request = HealthRequest(request_id, Timestamp.read(source))
    else:
        raise _unknown("request", at, kind)
    source.finish()
    return version, request


def decode_response(data: bytes) -> tuple[int, Response]:
    """Version and response. `ExitError` codes: exit_unsupported_version, exit_malformed."""
    source = Reader(data)
    version = source.u8("version")
    _check_version(version)
    at = source.offset
    kind = source.tag("response")
    if kind == _DATA:
        response: Response = DataResponse(source.blob("data response packets"))
    elif kind == _CONTROL:
        response = _read_control(source, version)
    else:
        raise _unknown("response", at, kind)
    source.finish()
    return version, response


def _read_control(source: Reader, version: int) -> Response:
    at = source.offset
    tag = source.tag("control response")
    if tag == _UNREQUESTED_DISCONNECT:
        reason, text = _read_reason(source, "disconnect reason", UnrequestedReason.OTHER)
        return UnrequestedDisconnect(UnrequestedReason(reason), text)
    if tag > _INFO:
        raise _unknown("control response", at, tag)
    request_id = source.varint(64, "request id")
    if tag == _CONNECT:
        if _read_success(source, "connect reply"):
            ipv4 = IPv4Address(source.raw(4, "IPv4 address"))
            ipv6 = IPv6Address(source.raw(16, "IPv6 address"))
            return ConnectSuccess(request_id, ipv4, ipv6, source.varint(16, "mtu") if version >= V10 else None)
        reason, text = _read_reason(source, "connect failure reason", ConnectReason.OTHER)
        return ConnectFailure(request_id, ConnectReason(reason), text)
    if tag == _DISCONNECT:
        if _read_success(source, "disconnect reply"):
            return DisconnectSuccess(request_id)
        reason, text = _read_reason(source, "disconnect failure reason", DisconnectReason.OTHER)
        return DisconnectFailure(request_id, DisconnectReason(reason), text)
    if tag == _PONG:
        return PongResponse(request_id)
    if tag == _HEALTH:
        build = BuildInfo(*(source.text(f"build information {field.name}") for field in fields(BuildInfo)))
        routable = source.flag("routable") if source.option("routable marker") else None
        return HealthResponse(request_id, build, routable)
    return _read_info(source, request_id)


def _read_success(source: Reader, what: str) -> bool:
    at = source.offset
    tag = source.tag(what)
    if tag not in (_SUCCESS, _FAILURE):
        raise _unknown(what, at, tag)
    return tag == _SUCCESS


def _read_reason(source: Reader, what: str, other: IntEnum) -> tuple[int, str]:
    """A reason enum whose last variant, `other`, carries a text."""
    at = source.offset
    tag = source.tag(what)
    if tag > other:
        raise _unknown(what, at, tag)
    return tag, source.text(f"{what} text") if tag == other else ""


def _read_info(source: Reader, request_id: int) -> InfoResponse:
    at = source.offset
    tag = source.tag("info reply")
    reply: GenericInfo | VersionMismatch | PolicyRefusal
    if tag == _INFO_GENERIC:
        reply = GenericInfo(source.text("info text"))
    elif tag == _INFO_VERSION_MISMATCH:
        reply = VersionMismatch(source.u8("request version"), source.u8("response version"))
    elif tag == _INFO_POLICY:
        reply = PolicyRefusal(source.text("refused destination"))
    else:
        raise _unknown("info reply", at, tag)
    at = source.offset
    level = source.tag("info level")
    if level > InfoLevel.ERROR:
        raise _unknown("info level", at, level)
    return InfoResponse(request_id, reply, InfoLevel(level))
