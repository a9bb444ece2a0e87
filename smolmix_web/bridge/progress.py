"""How far a body is, and how long a fetch took, in the page's words."""

from __future__ import annotations

import asyncio
from typing import Any

from ..http.timings import Timings
from .channel import Channel

INTERVAL = 0.05  # s between two `progress` messages of one body


class Progress:
    """Called with the bytes so far and the total; posts at most one message each `INTERVAL`, and always the last."""

    def __init__(self, channel: Channel, phase: str) -> None:
        self._channel = channel
        self._phase = phase
        self._held: tuple[int, int | None] | None = None
        self._again_at = 0.0
        self._loop = asyncio.get_running_loop()

    def __call__(self, loaded: int, total: int | None) -> None:
        self._held = loaded, total
        if loaded == total or self._loop.time() >= self._again_at:
            self.flush()

    def flush(self) -> None:
        """There is nothing more to come for now."""
        if self._held is not None:
            loaded, total = self._held
            self._held = None
            self._again_at = self._loop.time() + INTERVAL
            self._channel.send("progress", phase=self._phase, loaded=loaded, total=total)


def milliseconds(timings: Timings) -> dict[str, Any]:
    """`FetchTimings` of javascript/shared/messages.js."""

    def ms(seconds: float | None) -> float | None:
        return None if seconds is None else round(seconds * 1000, 3)

    return {
        "redirect": ms(timings.redirect),
        "queue": ms(timings.queue),
        "dns": ms(timings.dns),
        "connect": ms(timings.connect),
        "tls": ms(timings.tls),
        "requestSent": ms(timings.request_sent),
        "ttfb": ms(timings.ttfb),
        "end": ms(timings.end),
        "protocol": None if timings.ttfb is None else timings.protocol,
        "remoteAddress": timings.remote_address,
        "reused": timings.reused,
        "exit": timings.exit,
    }
