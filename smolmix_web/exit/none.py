"""In the place of an `ExitLink` where a tunnel is to have no exit: the mixnet alone, for messages and streams."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import SmolmixError
from ..mixnet.addresses import Recipient
from .events import OutgoingMessage
from .link import LinkEvent
from .session import ExitSession


class NoExit:
    """What the engine asks of an exit, answered by somebody who has none, and lacks none."""

    recipient: Recipient | None = None
    session: ExitSession | None = None
    connected = False
    proven = True
    disconnected = True
    attempt = (0, 0)
    losses = rounds = send_space = waiting = 0

    def __init__(self) -> None:
        self.registrations = 0  # 1 once the mixnet can be used: from then on a loss is a reconnection

    @property
    def started(self) -> bool:
        return self.registrations > 0

    def start(self, now: float, unix_time: float) -> None:
        self.registrations = 1

    def want(self, now: float) -> None: ...

    def receive(self, message: bytes, now: float) -> None: ...

    def renew(self, error: SmolmixError, now: float) -> None: ...

    def rotated(self, now: float) -> None: ...

    def slept(self, seconds: float) -> None: ...

    def link_down(self, now: float) -> None: ...

    def link_up(self, now: float, patience: float = 0.0) -> None: ...

    def disconnect(self, now: float) -> None: ...

    def send_packets(self, packets: Sequence[bytes], now: float) -> int:
        return 0

    def take_packets(self) -> list[bytes]:
        return []

    def poll(self, now: float, unix_time: float, lag: float) -> list[OutgoingMessage]:
        return []

    def follow(self, now: float) -> None: ...

    def take_events(self) -> list[LinkEvent]:
        return []

    def next_deadline(self) -> float | None:
        return None
