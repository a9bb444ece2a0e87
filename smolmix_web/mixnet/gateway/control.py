"""Text frames between client and gateway: one JSON object each (gateway.md 3.2, 4.1, 5.1, 5.4).

One frozen class per message, for both directions, so that client and test gateway share one codec:
`parse_request` reads what a client sends, `parse_response` what a gateway sends, `encode()` writes either.
Unknown fields are ignored, an unknown `type` or an ill-typed field is a `GatewayError` that names it.

Integers: versions are u8; balances are signed 64-bit bytes. Byte strings travel as arrays of integers unless noted.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...errors import GatewayError
from ..json_text import load_json

# Real control messages stay below 33 KiB (gateway.md 1).
MAX_TEXT = 256 * 1024
IDENTITY_LENGTH, SIGNATURE_LENGTH, NONCE_LENGTH = 32, 64, 12
ADDRESS_CIPHERTEXT_LENGTH = 48


def _bad(where: str, problem: str) -> GatewayError:
    return GatewayError(f"{where}: {problem}", code="bad_message", phase="gateway")


# -- fields ---------------------------------------------------------------------------------------

_MISSING = object()


class _Fields:
    """Typed access to the fields of one JSON object; every complaint carries the message type and the field."""

    def __init__(self, kind: str, values: Mapping[str, Any]) -> None:
        self.kind = kind
        self._values = values

    def _get(self, name: str, default: Any) -> Any:
        value = self._values.get(name, _MISSING)
        if value is _MISSING or (value is None and default is not _MISSING):
            if default is _MISSING:
                raise _bad(f"{self.kind}.{name}", "is missing")
            return default
        return value

    def integer(self, name: str, low: int, high: int, default: Any = _MISSING) -> int:
        value = self._get(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise _bad(f"{self.kind}.{name}", "is not an integer")
        if not low <= value <= high:
            raise _bad(f"{self.kind}.{name}", f"{value} is not in {low}..{high}")
        return value

    def version(self, name: str, default: Any = _MISSING) -> int:
        return self.integer(name, 0, 255, default)

    def balance(self, name: str) -> int:
        return self.integer(name, -(1 << 63), (1 << 63) - 1)

    def flag(self, name: str, default: Any = _MISSING) -> bool:
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise _bad(f"{self.kind}.{name}", "is not true or false")
        return value

    def text(self, name: str) -> str:
        value = self._get(name, _MISSING)
        if not isinstance(value, str):
            raise _bad(f"{self.kind}.{name}", "is not a string")
        return value

    def octets(self, name: str, length: int | None = None) -> bytes:
        value = self._get(name, _MISSING)
        if not isinstance(value, list):
            raise _bad(f"{self.kind}.{name}", "is not an array of bytes")
        for index, item in enumerate(value):
            if isinstance(item, bool) or not isinstance(item, int) or not 0 <= item <= 255:
                raise _bad(f"{self.kind}.{name}[{index}]", "is not a byte")
        return self._sized(name, bytes(value), length)

    def base64(self, name: str, length: int) -> bytes:
        try:
            value = base64.b64decode(self.text(name), validate=True)
        except (binascii.Error, ValueError):
            raise _bad(f"{self.kind}.{name}", "is not base64") from None
        return self._sized(name, value, length)

    def _sized(self, name: str, value: bytes, length: int | None) -> bytes:
        if length is not None and len(value) != length:
            raise _bad(f"{self.kind}.{name}", f"has {len(value)} bytes, expected {length}")
        return value

    def raw(self, name: str) -> Any:
        return self._get(name, _MISSING)


def _dump(kind: str, **values: Any) -> str:
    return json.dumps({"type": kind, **values}, separators=(",", ":"), ensure_ascii=False)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


class ControlMessage:
    """Base of all text messages; `type` is the JSON discriminator."""

    type: ClassVar[str]

    def encode(self) -> str:
        raise NotImplementedError


# -- both directions --------------------------------------------------------------------------------


@dataclass(frozen=True)
class HandshakePayload(ControlMessage):
    """One of the four registration messages (gateway.md 3.2)."""

    protocol_version: int
    data: bytes
    type: ClassVar[str] = "handshakePayload"

    def encode(self) -> str:
        return _dump(self.type, protocol_version=self.protocol_version, data=list(self.data))

    @classmethod
    def parse(cls, fields: _Fields) -> HandshakePayload:
        return cls(fields.version("protocol_version", 0), fields.octets("data"))


@dataclass(frozen=True)
class HandshakeError(ControlMessage):
    """Abort of a registration by either side."""

    message: str
    type: ClassVar[str] = "handshakeError"

    def encode(self) -> str:
        return _dump(self.type, message=self.message)

    @classmethod
    def parse(cls, fields: _Fields) -> HandshakeError:
        return cls(fields.text("message"))


# -- client to gateway --------------------------------------------------------------------------------


@dataclass(frozen=True)
class SupportedProtocolRequest(ControlMessage):
    type: ClassVar[str] = "supportedProtocol"

    def encode(self) -> str:
        return _dump(self.type)

    @classmethod
    def parse(cls, fields: _Fields) -> SupportedProtocolRequest:
        return cls()


@dataclass(frozen=True)
class AuthenticateV2(ControlMessage):
    """Signed authentication of a registered client; camelCase on the wire (gateway.md 4.1)."""

    protocol_version: int
    client_identity: bytes  # 32
    address_ciphertext: bytes  # 48
    nonce: bytes  # 12
    timestamp: int  # Unix seconds
    signature: bytes  # 64
    type: ClassVar[str] = "authenticateV2"

    def encode(self) -> str:
        return _dump(
            self.type,
            protocolVersion=self.protocol_version,
            clientIdentity=list(self.client_identity),
            addressCiphertext=_b64(self.address_ciphertext),
            nonce=_b64(self.nonce),
            requestUnixTimestamp=self.timestamp,
            requestSignature=list(self.signature),
        )

    @classmethod
    def parse(cls, fields: _Fields) -> AuthenticateV2:
        return cls(
            fields.version("protocolVersion"),
            fields.octets("clientIdentity", IDENTITY_LENGTH),
            fields.base64("addressCiphertext", ADDRESS_CIPHERTEXT_LENGTH),
            fields.base64("nonce", NONCE_LENGTH),
            fields.integer("requestUnixTimestamp", 0, (1 << 64) - 1),
            fields.octets("requestSignature", SIGNATURE_LENGTH),
        )


@dataclass(frozen=True)
class ClaimFreeBandwidth(ControlMessage):
    type: ClassVar[str] = "claimFreeTestnetBandwidth"

    def encode(self) -> str:
        return _dump(self.type)

    @classmethod
    def parse(cls, fields: _Fields) -> ClaimFreeBandwidth:
        return cls()


@dataclass(frozen=True)
class EncryptedRequest(ControlMessage):
    """A request under the shared key, see `auth.seal_request` (gateway.md 5.4)."""

    ciphertext: bytes
    nonce: bytes  # 12
    type: ClassVar[str] = "encryptedRequest"

    def encode(self) -> str:
        return _dump(self.type, ciphertext=list(self.ciphertext), nonce=list(self.nonce))

    @classmethod
    def parse(cls, fields: _Fields) -> EncryptedRequest:
        return cls(fields.octets("ciphertext"), fields.octets("nonce", NONCE_LENGTH))


@dataclass(frozen=True)
class RetiredRequest(ControlMessage):
    """A request that gateways of 2026 know by name only, to refuse it (tickets and JWTs are not offered here)."""

    name: str
    type: ClassVar[str] = ""

    def encode(self) -> str:
        return _dump(self.name)


# -- gateway to client --------------------------------------------------------------------------------


@dataclass(frozen=True)
class SupportedProtocol(ControlMessage):
    version: int
    type: ClassVar[str] = "supportedProtocol"

    def encode(self) -> str:
        return _dump(self.type, version=self.version)

    @classmethod
    def parse(cls, fields: _Fields) -> SupportedProtocol:
        return cls(fields.version("version"))


@dataclass(frozen=True)
class Register(ControlMessage):
    """End of a registration."""

    protocol_version: int
    status: bool
    upgrade_mode: bool = False
    type: ClassVar[str] = "register"

    def encode(self) -> str:
        return _dump(
            self.type, protocol_version=self.protocol_version, status=self.status, upgrade_mode=self.upgrade_mode
        )

    @classmethod
    def parse(cls, fields: _Fields) -> Register:
        return cls(fields.version("protocol_version", 0), fields.flag("status"), fields.flag("upgrade_mode", False))


@dataclass(frozen=True)
class Authenticate(ControlMessage):
    """Answer to `AuthenticateV2`; its version becomes the negotiated one."""

    protocol_version: int
    status: bool
    bandwidth_remaining: int
    upgrade_mode: bool = False
    type: ClassVar[str] = "authenticate"

    def encode(self) -> str:
        return _dump(
            self.type,
            protocol_version=self.protocol_version,
            status=self.status,
            bandwidth_remaining=self.bandwidth_remaining,
            upgrade_mode=self.upgrade_mode,
        )

    @classmethod
    def parse(cls, fields: _Fields) -> Authenticate:
        return cls(
            fields.version("protocol_version", 0),
            fields.flag("status"),
            fields.balance("bandwidth_remaining"),
            fields.flag("upgrade_mode", False),
        )


@dataclass(frozen=True)
class Bandwidth(ControlMessage):
    """Answer to a claim."""

    available_total: int
    upgrade_mode: bool = False
    type: ClassVar[str] = "bandwidth"

    def encode(self) -> str:
        return _dump(self.type, available_total=self.available_total, upgrade_mode=self.upgrade_mode)

    @classmethod
    def parse(cls, fields: _Fields) -> Bandwidth:
        return cls(fields.balance("available_total"), fields.flag("upgrade_mode", False))


@dataclass(frozen=True)
class Send(ControlMessage):
    """One accepted packet, in order."""

    remaining_bandwidth: int
    upgrade_mode: bool = False
    type: ClassVar[str] = "send"

    def encode(self) -> str:
        return _dump(self.type, remaining_bandwidth=self.remaining_bandwidth, upgrade_mode=self.upgrade_mode)

    @classmethod
    def parse(cls, fields: _Fields) -> Send:
        return cls(fields.balance("remaining_bandwidth"), fields.flag("upgrade_mode", False))


@dataclass(frozen=True)
class EncryptedResponse(ControlMessage):
    ciphertext: bytes
    nonce: bytes  # 12
    type: ClassVar[str] = "encryptedResponse"

    def encode(self) -> str:
        return _dump(self.type, ciphertext=list(self.ciphertext), nonce=list(self.nonce))

    @classmethod
    def parse(cls, fields: _Fields) -> EncryptedResponse:
        return cls(fields.octets("ciphertext"), fields.octets("nonce", NONCE_LENGTH))


@dataclass(frozen=True)
class Error(ControlMessage):
    """A refusal in free English text."""

    message: str
    type: ClassVar[str] = "error"

    def encode(self) -> str:
        return _dump(self.type, message=self.message)

    @classmethod
    def parse(cls, fields: _Fields) -> Error:
        return cls(fields.text("message"))


@dataclass(frozen=True)
class OutOfBandwidth(ControlMessage):
    """A packet was dropped for lack of allowance (`typedError` / `out_of_bandwidth`), in bytes."""

    required: int
    available: int
    type: ClassVar[str] = "typedError"

    def encode(self) -> str:
        return _dump(self.type, error={"out_of_bandwidth": {"required": self.required, "available": self.available}})


@dataclass(frozen=True)
class OtherTypedError(ControlMessage):
    """Any other `typedError`, by the name of its variant."""

    name: str
    type: ClassVar[str] = "typedError"

    def encode(self) -> str:
        return _dump(self.type, error=self.name)


def _typed_error(fields: _Fields) -> ControlMessage:
    error = fields.raw("error")
    if isinstance(error, str):
        return OtherTypedError(error)
    if not isinstance(error, dict) or len(error) != 1:
        raise _bad("typedError.error", "is neither a name nor an object with one")
    (name, detail), *_ = error.items()
    if name != "out_of_bandwidth":
        return OtherTypedError(name)
    if not isinstance(detail, dict):
        raise _bad("typedError.error.out_of_bandwidth", "is not an object")
    inner = _Fields("typedError.error.out_of_bandwidth", detail)
    return OutOfBandwidth(inner.balance("required"), inner.balance("available"))


# -- parsing ------------------------------------------------------------------------------------------

_Parser = Callable[[_Fields], ControlMessage]

_RETIRED = (
    "authenticate",
    "bandwidthCredential",
    "bandwidthCredentialV2",
    "ecashCredential",
    "upgradeModeJWT",
)

_REQUESTS: dict[str, _Parser] = {
    "supportedProtocol": SupportedProtocolRequest.parse,
    "handshakePayload": HandshakePayload.parse,
    "registerHandshakeInitRequest": HandshakePayload.parse,  # older name of the first handshake message
    "handshakeError": HandshakeError.parse,
    "authenticateV2": AuthenticateV2.parse,
    "claimFreeTestnetBandwidth": ClaimFreeBandwidth.parse,
    "encryptedRequest": EncryptedRequest.parse,
}
_RESPONSES: dict[str, _Parser] = {
    "supportedProtocol": SupportedProtocol.parse,
    "handshakePayload": HandshakePayload.parse,
    "handshakeError": HandshakeError.parse,
    "register": Register.parse,
    "authenticate": Authenticate.parse,
    "bandwidth": Bandwidth.parse,
    "send": Send.parse,
    "encryptedResponse": EncryptedResponse.parse,
    "error": Error.parse,
    "typedError": _typed_error,
}


def _load(text: str) -> tuple[str, dict[str, Any]]:
    if len(text) > MAX_TEXT:
        raise _bad("text frame", f"{len(text)} characters, at most {MAX_TEXT}")
    try:
        values = load_json(text)
    except (ValueError, RecursionError):
        raise _bad("text frame", "is not JSON") from None
    if not isinstance(values, dict):
        raise _bad("text frame", "is not a JSON object")
    kind = values.get("type")
    if not isinstance(kind, str):
        raise _bad("text frame", "has no type")
    return kind, values


def parse_request(text: str) -> ControlMessage:
    """A text frame from a client. Raises `GatewayError` code `bad_message`."""
    kind, values = _load(text)
    if kind in _RETIRED:
        return RetiredRequest(kind)
    if kind not in _REQUESTS:
        raise _bad("text frame", f"unknown type {kind[:60]!r}")
    return _REQUESTS[kind](_Fields(kind, values))


def parse_response(text: str) -> ControlMessage:
    """A text frame from a gateway. Raises `GatewayError`: `unknown_message` for a type we do not know, which a newer
    gateway may send; `bad_message`."""
    kind, values = _load(text)
    if kind not in _RESPONSES:
        raise GatewayError(f"text frame: unknown type {kind[:60]!r}", code="unknown_message", phase="gateway")
    return _RESPONSES[kind](_Fields(kind, values))
