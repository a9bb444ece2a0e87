"""A local exit: the IP packet router with a user-space NAT towards loopback (docs/protocol/ipr.md 5)."""

from .config import ExitConfig, ExitFaults
from .service import ExitService

__all__ = ["ExitConfig", "ExitFaults", "ExitService"]
