"""WebSocket client over the tunnel."""

from .connect import MAX_MESSAGE, connect
from .connection import Close, WebSocketConnection
from .timeouts import WebSocketTimeouts
from .turns import Turns

__all__ = ["MAX_MESSAGE", "Close", "Turns", "WebSocketConnection", "WebSocketTimeouts", "connect"]
