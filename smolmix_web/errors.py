"""The one error tree. Every error has a stable `code`, most have the `phase` in which they struck.

    SmolmixError
    ├── UsageError            the caller is wrong: nothing was sent
    │   ├── OptionError       an unknown or ill-typed option (`option` names it)
    │   └── StateError        not possible in the present state
    ├── ProtocolError         a peer sent something malformed (`what` and `where` are in the message)
    │   ├── CryptoError       a tag, signature or point that does not check
    │   ├── SphinxError       packet, header, payload, SURB
    │   ├── MessageError      fragment, mixnet message, Nym address
    │   ├── GatewayError      gateway frame, control message, refusal
    │   ├── DirectoryError    directory answer
    │   ├── ExitError         IP packet router message or refusal
    │   └── PacketError       IP, ICMP, UDP or TCP header
    ├── NetworkError          what a socket of the tunnel reports
    │   ├── ConnectionRefused, ConnectionReset, ConnectionAborted, HostUnreachable, MessageTooLong
    │   └── AddressError
    ├── DnsError, TlsError, HttpError, WebSocketError
    ├── StorageError          the stored identity: damaged, foreign, or its place is not usable (a warning, mostly)
    ├── TimeoutExpired        a deadline passed (`phase` says which)
    ├── Cancelled             the caller aborted
    └── TunnelError           the tunnel as a whole failed or is not up

Codes are lower_snake_case and part of the public interface: they cross to JavaScript unchanged.
"""

from __future__ import annotations

from typing import Any


class SmolmixError(Exception):
    """Root of all errors raised on purpose."""

    default_code = "internal"

    def __init__(self, message: str, *, code: str | None = None, phase: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.phase = phase

    def to_dict(self) -> dict[str, Any]:
        """The form in which an error leaves Python: `{name, code, phase, message}`."""
        return {"name": type(self).__name__, "code": self.code, "phase": self.phase, "message": self.message}


class UsageError(SmolmixError):
    default_code = "usage"


class OptionError(UsageError):
    default_code = "bad_option"

    def __init__(self, option: str, message: str) -> None:
        super().__init__(f"option {option}: {message}", phase="setup")
        self.option = option

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "option": self.option}


class StateError(UsageError):
    default_code = "bad_state"


class ProtocolError(SmolmixError):
    default_code = "malformed"


class CryptoError(ProtocolError):
    default_code = "crypto"


class SphinxError(ProtocolError):
    default_code = "sphinx"


class MessageError(ProtocolError):
    default_code = "message"


class GatewayError(ProtocolError):
    default_code = "gateway"


class DirectoryError(ProtocolError):
    default_code = "directory"


class ExitError(ProtocolError):
    default_code = "exit"


class PacketError(ProtocolError):
    default_code = "packet"


class NetworkError(SmolmixError):
    default_code = "network"


class ConnectionRefused(NetworkError):
    default_code = "connection_refused"


class ConnectionReset(NetworkError):
    default_code = "connection_reset"


class ConnectionAborted(NetworkError):
    default_code = "connection_aborted"


class HostUnreachable(NetworkError):
    default_code = "host_unreachable"


class MessageTooLong(NetworkError):
    default_code = "message_too_long"


class AddressError(NetworkError):
    default_code = "bad_address"


class DnsError(SmolmixError):
    default_code = "dns"


class TlsError(SmolmixError):
    default_code = "tls"


class HttpError(SmolmixError):
    default_code = "http"


class WebSocketError(SmolmixError):
    default_code = "websocket"


class StorageError(SmolmixError):
    default_code = "store_unavailable"


class TimeoutExpired(SmolmixError):
    default_code = "timeout"


class Cancelled(SmolmixError):
    default_code = "cancelled"


class TunnelError(SmolmixError):
    default_code = "tunnel"
