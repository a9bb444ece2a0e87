"""What the application has written and the peer has not acknowledged, and how much of it may pile up.

The limit begins at `send_buffer_initial` and follows what is outstanding, to `send_buffer` at most: twice the data
between SND.UNA and SND.NXT keeps the path busy while holes are repaired, and more would only be a queue before it.
"""

from __future__ import annotations

from ..limits import Budget
from .config import TcpConfig


class SendBuffer:
    """Positions are unwrapped (tcp/seq.py). `start` is that of the first byte held."""

    __slots__ = ("_budget", "_data", "_granted", "_limit", "capacity", "start", "want_space")

    def __init__(self, config: TcpConfig, start: int, budget: Budget | None) -> None:
        self._limit = config.send_buffer
        self.capacity = min(config.send_buffer, config.send_buffer_initial)
        self.start = start
        self.want_space = False  # a write was cut short, or filled it
        self._data = bytearray()
        self._budget = budget
        self._granted = 0

    def __len__(self) -> int:
        return len(self._data)

    @property
    def end(self) -> int:
        return self.start + len(self._data)

    @property
    def space(self) -> int:
        return max(0, self.capacity - len(self._data))

    def write(self, data: bytes | bytearray | memoryview) -> int:
        space = self.space
        taken = min(len(data), space)
        if taken == space:
            self.want_space = True
        if taken < len(data):
            with memoryview(data) as view:
                self._data += view[:taken]
        else:
            self._data += data
        return taken

    def slice(self, seq: int, end: int) -> bytearray:
        return self._data[seq - self.start : end - self.start]

    def free(self, position: int) -> None:
        """Everything before it is acknowledged."""
        del self._data[: position - self.start]
        self.start = position

    def grow(self, outstanding: int) -> None:
        """So much is between SND.UNA and SND.NXT."""
        wanted = min(2 * outstanding, self._limit)
        if not self.want_space or wanted <= self.capacity:
            return
        more = wanted - self.capacity
        if self._budget is not None:
            more = self._budget.take(more)
            self._granted += more
        self.capacity += more

    def discard(self, position: int) -> None:
        self._data = bytearray()
        self.start = position
        if self._budget is not None:
            self._budget.give(self._granted)
        self._granted = 0
