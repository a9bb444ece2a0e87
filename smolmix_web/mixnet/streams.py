"""When packets leave: the main and the cover stream, two independent exponential processes of one rate (ladder.py).

A stream's next deadline is counted from the last deadline, not from the moment the host woke up: so the law of the gaps
is exact although timers fire late. Once a packet is late by more than one mean gap its row begins anew from now: a
machine that is behind sends less, as one that counted from the sending would, and nothing is made up for by a burst
that would show what kept it (docs/traffic.md).
"""

from __future__ import annotations

from ..rand import RandomSource
from .statistics import MixnetStatistics
from .traffic import TrafficConfig

LATEST_MEANS = 1  # mean gaps behind its deadline at which a stream begins anew


class ExponentialStream:
    """Deadlines with exponential gaps of mean `mean` seconds."""

    def __init__(self, rng: RandomSource, mean: float, now: float) -> None:
        self._rng = rng
        self.mean = mean
        self.deadline = now
        self.restart(now)

    def due(self, now: float) -> bool:
        return now >= self.deadline

    def advance(self, now: float) -> bool:
        """Set the deadline after the present one, which is due. True when that was so late that the row begins anew."""
        late = now - self.deadline > LATEST_MEANS * self.mean
        if late:
            self.deadline = now
        self.deadline += self._rng.exponential(self.mean)
        return late

    def restart(self, now: float) -> None:
        """As at the start: the first packet leaves after a full gap. Of a law without memory this changes nothing."""
        self.deadline = now + self._rng.exponential(self.mean)


class Streams:
    """Both streams of a client, as far as its configuration has them."""

    def __init__(self, rng: RandomSource, config: TrafficConfig, statistics: MixnetStatistics, now: float) -> None:
        self._config = config
        self.main = ExponentialStream(rng, config.main_interval, now) if config.main_stream else None
        self.cover = ExponentialStream(rng, config.cover_interval, now) if config.cover_stream else None
        self.ticks = 0
        self.late_ticks = 0  # after which a row began anew
        self._statistics = statistics
        self._all = [stream for stream in (self.main, self.cover) if stream is not None]
        self.full_rate = config.main_stream / config.main_interval + config.cover_stream / config.cover_interval
        """Packets per second as configured; 0 without streams."""
        self._follow()

    def _follow(self) -> None:
        self.deadline = min((stream.deadline for stream in self._all), default=float("inf"))
        """The next tick; infinite without streams."""

    def due(self, now: float) -> bool:
        return now >= self.deadline

    def take(self, now: float) -> ExponentialStream | None:
        """The stream whose tick has come, and its next deadline is set; of two the earlier. None when none has."""
        if now < self.deadline:
            return None
        stream = min(self._all, key=lambda one: one.deadline)
        self.ticks += 1
        late = stream.advance(now)
        self._follow()
        self.late_ticks += late
        self._statistics.late_ticks += late
        return stream

    def set_slower(self, slower: int, now: float) -> None:
        """Another rung: both rates by so many times lower than configured, from now on."""
        for stream, mean in ((self.main, self._config.main_interval), (self.cover, self._config.cover_interval)):
            if stream is not None:
                stream.mean = mean * slower
        self.restart(now)

    def hold(self, until: float) -> None:
        """Nothing leaves before, unless `restart` comes first."""
        for stream in self._all:
            stream.deadline = until
        self._follow()

    def restart(self, now: float) -> None:
        """After a time in which nothing could leave."""
        for stream in self._all:
            stream.restart(now)
        self._follow()
