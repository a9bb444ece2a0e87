"""WebSocket client over the tunnel."""

from .connect import connect
from .connection import Close, WebSocketConnection

__all__ = ["Close", "WebSocketConnection", "connect"]
