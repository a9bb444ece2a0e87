"""What can be watched of a stack: set `Stack.observer` to a subclass that overrides what it wants to know.

An unused hook costs one comparison with None. Observers must not raise and must not call the stack. `now` is that of
the call in which it happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .tcp.connection import TcpConnection
    from .tcp.states import State


class Observer:
    """Does nothing."""

    def packet_in(self, packet: bytes, now: float) -> None:
        """An IP packet from the tunnel, before anything is checked."""

    def packet_out(self, packet: bytes, now: float) -> None:
        """An IP packet leaves for the tunnel."""

    def state_changed(self, connection: TcpConnection, old: State) -> None:
        """`connection.state` is another than `old`; `connection.error` is set when it is CLOSED by an error."""

    def retransmitted(self, connection: TcpConnection, seq: int, size: int, now: float) -> None:
        """`size` bytes from the 32-bit sequence number `seq` leave again; 0 bytes is a SYN or a lone FIN."""


class Observers(Observer):
    """Several observers in the place of one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def packet_in(self, packet: bytes, now: float) -> None:
        for observer in self._observers:
            observer.packet_in(packet, now)

    def packet_out(self, packet: bytes, now: float) -> None:
        for observer in self._observers:
            observer.packet_out(packet, now)

    def state_changed(self, connection: TcpConnection, old: State) -> None:
        for observer in self._observers:
            observer.state_changed(connection, old)

    def retransmitted(self, connection: TcpConnection, seq: int, size: int, now: float) -> None:
        for observer in self._observers:
            observer.retransmitted(connection, seq, size, now)
