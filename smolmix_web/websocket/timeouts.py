"""How long each phase of a WebSocket may take."""

from __future__ import annotations

from dataclasses import dataclass

from ..http.timeouts import Timeouts


@dataclass(frozen=True)
class WebSocketTimeouts(Timeouts):
    """As those of a request, and `close`; for `request` a WebSocket has no use, `queue` is the wait for others that are
    being opened to the same host."""

    response: float | None = 120.0  # from the request of the opening handshake to the server's answer
    idle: float | None = None  # without a byte of the server; when half of it has passed it is sent a ping
    close: float | None = 30.0  # the closing handshake, from the first close frame to the end of the connection
    total: float | None = 120.0  # everything up to the open connection

    @classmethod
    def over(cls, requests: Timeouts) -> WebSocketTimeouts:
        """With the way to the server as for requests, whose `idle` and `total` mean something else."""
        return cls(
            queue=requests.queue,
            dns=requests.dns,
            connect=requests.connect,
            tls=requests.tls,
            response=requests.response,
        )
