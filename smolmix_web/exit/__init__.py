"""The exit: the IP packet router's protocol and the client's session with one (docs/protocol/ipr.md)."""

from .events import (
    ExitConnected,
    ExitDenied,
    ExitDisconnected,
    ExitEvent,
    ExitNotice,
    Health,
    OutgoingMessage,
    PolicyDenied,
    Pong,
    RequestFailed,
)
from .session import ExitSession, State
from .statistics import ExitStatistics

__all__ = [
    "ExitConnected",
    "ExitDenied",
    "ExitDisconnected",
    "ExitEvent",
    "ExitNotice",
    "ExitSession",
    "ExitStatistics",
    "Health",
    "OutgoingMessage",
    "PolicyDenied",
    "Pong",
    "RequestFailed",
    "State",
]
