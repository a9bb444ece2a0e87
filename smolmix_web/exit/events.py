"""What an exit session tells its owner, and what it asks the mixnet client to send."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, TypeAlias

from ..errors import ExitError, TimeoutExpired
from .messages import BuildInfo, InfoLevel

SMALL_MESSAGE = 661  # bytes: a bundle of 639, beside which two SURBs still fit into the packet

Lane: TypeAlias = Literal["control", "data"]


@dataclass(frozen=True)
class OutgoingMessage:
    """One mixnet message to the exit.

    `surbs` is the least number to attach; the free room of the last packet carries more.
    `max_retransmissions` None means until acknowledged; after `deadline` it is not worth sending at all.
    """

    data: bytes
    surbs: int
    lane: Lane
    max_retransmissions: int | None
    deadline: float | None = None

    @property
    def is_small(self) -> bool:
        """Acknowledgements, look-ups and the like: what somebody waits for. Bulk is everything else."""
        return self.lane == "control" or len(self.data) <= SMALL_MESSAGE


@dataclass(frozen=True)
class ExitConnected:
    """The exit gave us addresses. `mtu` is what the stack uses, never more than the exit announced."""

    ipv4: IPv4Address
    ipv6: IPv6Address
    mtu: int
    version: int


@dataclass(frozen=True)
class ExitDenied:
    """Connecting failed: refused (`exit_refused`), no version in common (`exit_version`) or no answer (`exit_timeout`).

    `reason` is the error's code.
    """

    reason: str
    error: ExitError | TimeoutExpired


@dataclass(frozen=True)
class ExitDisconnected:
    """The session ended. `reason`: `requested` (by us; no error), else the error's code: `exit_disconnected`,
    `exit_dead`."""

    reason: str
    error: ExitError | None = None


@dataclass(frozen=True)
class PolicyDenied:
    """The exit policy refused packets to this destination; port 0 where the protocol has none."""

    address: IPv4Address | IPv6Address
    port: int


@dataclass(frozen=True)
class Pong:
    """The exit process answered `ping`. It does not prove that our addresses are still ours (ipr.md K4)."""

    request_id: int
    rtt: float


@dataclass(frozen=True)
class Health:
    request_id: int
    rtt: float
    build: BuildInfo
    routable: bool | None


@dataclass(frozen=True)
class RequestFailed:
    """A `ping` or `health` got no answer in time."""

    request_id: int
    error: TimeoutExpired


@dataclass(frozen=True)
class ExitNotice:
    """A text from the exit for people."""

    level: InfoLevel
    text: str


ExitEvent: TypeAlias = (
    ExitConnected | ExitDenied | ExitDisconnected | PolicyDenied | Pong | Health | RequestFailed | ExitNotice
)
