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
    │   ├── AddressError
    │   └── StreamError       a message or stream to another client
    ├── DnsError, TlsError, HttpError, WebSocketError
    ├── MissingLibrary        an optional library is not installed (`extras.py`)
    ├── StorageError          the stored identity: damaged, foreign, or its place is not usable (a warning, mostly)
    ├── TimeoutExpired        a deadline passed (`phase` says which)
    ├── Cancelled             the caller aborted
    ├── OutOfMemory           there was no memory for it; what is kept in memory elsewhere must go first
    └── TunnelError           the tunnel as a whole failed or is not up

Codes are lower_snake_case and part of the public interface: they cross to JavaScript unchanged. The ones users act on
are listed in docs/errors.md; a `reason` says more where one code has several (`tls_certificate`: `expired`, ...).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class SmolmixError(Exception):
    """Root of all errors raised on purpose.

    `retryable`: the same operation may succeed when it is tried again, without a change by the caller.
    """

    default_code = "internal"

    def __init__(
        self, message: str, *, code: str | None = None, phase: str | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.phase = phase
        self.reason = reason

    @property
    def retryable(self) -> bool:
        return self.code in RETRYABLE

    def to_dict(self) -> dict[str, Any]:
        """The form in which an error leaves Python: `{name, code, phase, message, reason, retryable, cause}`.

        `cause` is the same of the error that led to this one, None without.
        """
        cause = self.__cause__
        return {
            "name": type(self).__name__,
            "code": self.code,
            "phase": self.phase,
            "message": self.message,
            "reason": self.reason,
            "retryable": self.retryable,
            "cause": cause.to_dict() if isinstance(cause, SmolmixError) else None,
        }


def from_dict(detail: Mapping[str, Any]) -> SmolmixError:
    """An error that came across as `to_dict` gives it. A class that is not known here is the root's."""
    kind = globals().get(str(detail.get("name")))
    error = SmolmixError.__new__(kind if isinstance(kind, type) and issubclass(kind, SmolmixError) else SmolmixError)
    code, phase, reason = detail.get("code"), detail.get("phase"), detail.get("reason")
    SmolmixError.__init__(error, str(detail.get("message")), code=code, phase=phase, reason=reason)
    if isinstance(error, OptionError):
        error.option = str(detail.get("option"))
    if isinstance(cause := detail.get("cause"), Mapping):
        error.__cause__ = from_dict(cause)
    return error


# Codes of what may pass by itself; time-outs always may.
RETRYABLE = frozenset(
    {
        "connect_refused",
        "connection_aborted",
        "connection_reset",
        "dns_servfail",
        "dns_timeout",
        "dns_unreachable",
        "empty_response",
        "exit_dead",
        "exit_timeout",
        "gateway_closed",
        "gateway_malformed",
        "gateway_timeout",
        "host_unreachable",
        "network_unreachable",
        "no_public_suffixes",
        "no_surbs",
        "not_delivered",
        "peer_unreachable",
        "queue_full",
        "stream_refused",
        "tls_truncated",
        "too_many_isolations",
        "truncated_body",
        "tunnel_moved",
        "tunnel_reconnecting",
        "worker_crashed",
    }
)


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
    default_code = "connect_refused"


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


class StreamError(NetworkError):
    """A stream to another client. `reset_code`: the number, from 256 on, that the peer's application gave."""

    default_code = "stream"
    reset_code: int | None = None

    def to_dict(self) -> dict[str, Any]:
        given = super().to_dict()
        return given if self.reset_code is None else {**given, "resetCode": self.reset_code}


class DnsError(SmolmixError):
    default_code = "dns"


class TlsError(SmolmixError):
    default_code = "tls"


class HttpError(SmolmixError):
    default_code = "http"


class WebSocketError(SmolmixError):
    default_code = "websocket"


class MissingLibrary(SmolmixError, ImportError):
    default_code = "missing_library"


class StorageError(SmolmixError):
    default_code = "store_unavailable"


class TimeoutExpired(SmolmixError):
    """The code is made of the phase unless one is given: `connect_timeout`, `response_timeout`, ..."""

    default_code = "timeout"

    def __init__(
        self, message: str, *, code: str | None = None, phase: str | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message, code=code or (f"{phase}_timeout" if phase else None), phase=phase, reason=reason)

    @property
    def retryable(self) -> bool:
        return True


class Cancelled(SmolmixError):
    default_code = "aborted"


class OutOfMemory(SmolmixError):
    default_code = "out_of_memory"


class TunnelError(SmolmixError):
    default_code = "tunnel"


def down(cause: SmolmixError, what: str) -> TunnelError:
    """What operations are told once `what` has failed: `reason` is the code it failed with."""
    error = TunnelError(f"{what} failed: {cause.message}", code="tunnel_down", reason=cause.code)
    error.__cause__ = cause
    return error


# How JavaScript says it, where no MemoryError does: buffers of the browser, the memories of WebAssembly.
_NO_MEMORY = ("allocation failed", "out of memory", "Unable to grow instance memory")


def unforeseen(error: Exception, phase: str | None = None) -> SmolmixError:
    """What users are told of an exception that is none of ours: want of memory, or a defect (code `internal`)."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY):
        return OutOfMemory("there is not enough memory", phase=phase)
    return TunnelError(f"internal error: {text}", code="internal", phase=phase)
