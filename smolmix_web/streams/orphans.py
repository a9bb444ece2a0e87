"""Frames of streams that nobody has opened yet: every message takes its own route, so data overtakes its Open.

Bounded in streams, frames, bytes and time. The reference keeps 32 frames of a stream for 5 s (docs/protocol/stream.md
3); with an Open of three packets, one of which may be lost, that is little, and nobody repeats what is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..mixnet.lp_frame import LpFrame

MAX_STREAMS, MAX_FRAMES, MAX_BYTES, PATIENCE = 64, 256, 4 * 1024 * 1024, 20.0


@dataclass(slots=True)
class _Waiting:
    since: float
    tag: bytes
    frames: list[LpFrame] = field(default_factory=list)


class Orphans:
    """By stream id. `dropped`: frames that there was no room for, or whose Open did not come."""

    def __init__(self) -> None:
        self._waiting: dict[int, _Waiting] = {}
        self._bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, frame: LpFrame, tag: bytes, now: float) -> None:
        waiting = self._waiting.get(frame.stream_id)
        full = len(self._waiting) >= MAX_STREAMS if waiting is None else len(waiting.frames) >= MAX_FRAMES
        if full or self._bytes + len(frame.payload) > MAX_BYTES:
            self.dropped += 1
            return
        if waiting is None:
            waiting = self._waiting[frame.stream_id] = _Waiting(now, tag)
        waiting.frames.append(frame)
        self._bytes += len(frame.payload)

    def take(self, stream_id: int) -> list[LpFrame]:
        """The Open came."""
        waiting = self._waiting.pop(stream_id, None)
        frames = [] if waiting is None else waiting.frames
        self._bytes -= sum(len(frame.payload) for frame in frames)
        return frames

    def expire(self, now: float) -> list[tuple[bytes, list[LpFrame]]]:
        """Sender tag and frames of those whose Open did not come in time."""
        overdue = [stream_id for stream_id, one in self._waiting.items() if now >= one.since + PATIENCE]
        expired = [(self._waiting[stream_id].tag, self.take(stream_id)) for stream_id in overdue]
        self.dropped += sum(len(frames) for _, frames in expired)
        return expired

    def next_deadline(self) -> float | None:
        return next((one.since + PATIENCE for one in self._waiting.values()), None)
