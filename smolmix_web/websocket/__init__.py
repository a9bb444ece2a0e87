"""WebSocket client over the tunnel."""

from .connect import MAX_MESSAGE, connect
from .connection import Close, WebSocketConnection
from .timeouts import WebSocketTimeouts

__all__ = ["MAX_MESSAGE", "Close", "WebSocketConnection", "WebSocketTimeouts", "connect"]
