"""Frames that have arrived and wait for their turn, with a bound.

A browser's WebSocket cannot be told to wait, so beyond the bound something is dropped. Payloads go first, the oldest
before the others: each costs the most to read, nobody can tell what is in it without that, and what was in it is
repeated by its sender, while the newest are those that somebody still waits for. An ack that is lost costs a packet
again. Texts are the gateway's own words (answers, refusals): they cost next to nothing, and are the last to go. Where
the host can stop reading, it is asked to at half of the bound, and nothing is dropped.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

MAX_FRAMES = 4096
MAX_BYTES = 4 << 20
LARGE = 1000  # bytes: above are payloads, below acks


@dataclass
class InboxStatistics:
    """What was dropped, and the most frames that ever waited."""

    payloads_dropped: int = 0
    acks_dropped: int = 0
    texts_dropped: int = 0
    longest: int = 0


class Inbox:
    """In order of arrival. `since` of a frame: the earliest time at which it may have arrived."""

    def __init__(self, max_frames: int = MAX_FRAMES, max_bytes: int = MAX_BYTES) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._frames: deque[tuple[float, bytes | str]] = deque()
        self._bytes = 0
        self.statistics = InboxStatistics()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def oldest(self) -> float:
        """Since when the first one waits; infinite while nothing does."""
        return self._frames[0][0] if self._frames else float("inf")

    @property
    def half_full(self) -> bool:
        return len(self._frames) > self._max_frames // 2 or self._bytes > self._max_bytes // 2

    def put(self, frame: bytes | str, since: float) -> None:
        self._frames.append((since, frame))
        self._bytes += len(frame)
        statistics = self.statistics
        statistics.longest = max(statistics.longest, len(self._frames))
        if len(self._frames) > self._max_frames or self._bytes > self._max_bytes:
            self._drop()

    def take(self) -> bytes | str:
        """The oldest; there must be one."""
        _, frame = self._frames.popleft()
        self._bytes -= len(frame)
        return frame

    def clear(self) -> None:
        """Their socket is gone."""
        self._frames.clear()
        self._bytes = 0

    def _drop(self) -> None:
        """Make room: an eighth of the bound, so that looking for it costs little for each frame."""
        frames, size = self._max_frames * 7 // 8, self._max_bytes * 7 // 8
        for kind in ("payloads", "acks", "texts"):
            kept: deque[tuple[float, bytes | str]] = deque()
            left = len(self._frames)
            dropped = 0
            for entry in self._frames:
                frame = entry[1]
                if (left > frames or self._bytes > size) and _kind(frame) == kind:
                    left -= 1
                    dropped += 1
                    self._bytes -= len(frame)
                else:
                    kept.append(entry)
            self._frames = kept
            setattr(self.statistics, f"{kind}_dropped", getattr(self.statistics, f"{kind}_dropped") + dropped)


def _kind(frame: bytes | str) -> str:
    if isinstance(frame, str):
        return "texts"
    return "payloads" if len(frame) > LARGE else "acks"
