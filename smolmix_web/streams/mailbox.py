"""Messages of other clients that are no frames of streams, until somebody takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ..mixnet.client import ReceivedMessage

MAX_MESSAGES, MAX_BYTES = 1024, 8 * 1024 * 1024


@dataclass(slots=True)
class MailboxStatistics:
    """`refused`: came before anybody asked for messages; `lost`: there was no room."""

    received: int = 0
    refused: int = 0
    lost: int = 0


class Mailbox:
    """Closed until `open` is set: strangers take no memory of who wants no messages."""

    def __init__(self) -> None:
        self.statistics = MailboxStatistics()
        self.open = False
        self.on_event: Callable[[], None] | None = None
        self._messages: deque[ReceivedMessage] = deque()
        self._bytes = 0

    def deliver(self, message: ReceivedMessage) -> None:
        if not self.open:
            self.statistics.refused += 1
        elif len(self._messages) >= MAX_MESSAGES or self._bytes + len(message.data) > MAX_BYTES:
            self.statistics.lost += 1
        else:
            self.statistics.received += 1
            self._messages.append(message)
            self._bytes += len(message.data)
            if self.on_event is not None:
                self.on_event()

    def take(self) -> ReceivedMessage | None:
        """The next one, in the order of their arrival."""
        if not self._messages:
            return None
        message = self._messages.popleft()
        self._bytes -= len(message.data)
        return message
