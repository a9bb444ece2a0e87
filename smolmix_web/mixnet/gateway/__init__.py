"""The protocol between a client and its entry gateway: one codec for both roles, and the client's session."""

from .session import GatewayConfig, GatewayCounters, GatewaySession, GatewayState

__all__ = ["GatewayConfig", "GatewayCounters", "GatewaySession", "GatewayState"]
