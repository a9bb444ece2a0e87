"""The gateway's end of a simulated socket: the local network's session, and the faults of its gateway that it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localnet.clients import ClientRecord
from localnet.gateway_session import GatewaySession
from smolmix_web.mixnet.gateway import control

from .events import Event
from .sockets import Frame, SimSocket

if TYPE_CHECKING:
    from .gateway import SimGateway


class GatewayConnection(GatewaySession):
    """Server side of one `SimSocket`."""

    gateway: SimGateway

    def __init__(self, gateway: SimGateway, socket: SimSocket) -> None:
        super().__init__(gateway)
        self.socket = socket
        self._timer: Event | None = None

    def receive(self, frame: Frame) -> None:
        if not self.gateway.faults.deaf:
            self.handle(frame, self.gateway.unix_time())

    def lost(self) -> None:
        super().lost()
        if self in self.gateway.connections:
            self.gateway.connections.remove(self)

    def drop(self) -> None:
        self.socket.server_drop()
        self.lost()

    def say(self, message: control.ControlMessage) -> None:
        faults = self.gateway.faults
        if faults.no_send_answers and isinstance(message, control.Send):
            return
        for text in faults.spoil(message):
            self.socket.server_send(text)

    def push(self, payload: bytes) -> None:
        self.socket.server_send(self._sealed(payload))

    def _finish(self) -> None:
        self.drop()  # a simulated socket still delivers what was said before

    def _ping(self) -> None:
        self.socket.ping(self.pong)

    def _charge(self, record: ClientRecord, size: int, unix_time: float) -> int | None:
        return 0 if self.gateway.faults.exhausted else super()._charge(record, size, unix_time)

    def _wake(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.gateway.queue.after(seconds, self._expired)

    def _expired(self) -> None:
        self.expired(self.gateway.unix_time())
