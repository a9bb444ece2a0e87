"""What a TCP connection asks of the stack it lives in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .states import State

if TYPE_CHECKING:
    from .connection import TcpConnection


class Host(Protocol):
    """Implemented by the layer (layer.py)."""

    @property
    def lag(self) -> float:
        """See `Stack.poll`."""
        ...

    def changed(self, connection: TcpConnection) -> None:
        """Output or a deadline may have changed."""
        ...

    def notify(self, connection: TcpConnection) -> None:
        """The application should be told."""
        ...

    def emit(self, packet: bytes) -> None:
        """Send this packet ahead of all data."""
        ...

    def round_trip(self, rtt: float, now: float) -> None:
        """A handshake was answered after `rtt` seconds."""
        ...

    def accepted(self, connection: TcpConnection, now: float) -> None:
        """A passive open is complete."""
        ...

    def moved(self, connection: TcpConnection, old: State) -> None:
        """The state is another than `old`."""
        ...

    def repeated(self, connection: TcpConnection, seq: int, size: int, now: float) -> None:
        """`size` bytes from position `seq` are sent again."""
        ...

    def forget(self, connection: TcpConnection) -> None:
        """The connection is CLOSED."""
        ...

    def settle(self) -> None:
        """A call of the application ends: deliver what is due to it."""
        ...
