"""What the path delivered: rate, round trip and rounds, one sample for each ACK that shows something delivered.

After draft-ietf-ccwg-bbr 4.1 (delivery rate estimation): each segment remembers how much had been delivered when it
was sent; when it is acknowledged, what was delivered since, over the longer of the time that sending and the time that
acknowledging took, is the rate. So neither a burst of ACKs nor a burst of segments looks like a fast path.
"""

from __future__ import annotations

from collections.abc import Sequence

from .scoreboard import Mark, Sent


class RateSample:
    """Filled anew for each ACK."""

    __slots__ = (
        "app_limited",
        "delivered",
        "in_flight",
        "lost",
        "pipe",
        "progress",
        "rate",
        "round_started",
        "rtt",
        "sack",
    )

    def __init__(self) -> None:
        self.delivered = 0  # bytes that this ACK shows delivered
        self.rate: float | None = None  # bytes per second
        self.rtt: float | None = None  # of the latest segment, when it was sent once
        self.round_started = False  # a segment sent after the last round began has been delivered
        self.app_limited = False  # the sender had nothing to send: the path may do better than `rate`
        self.in_flight = 0  # before the ACK
        self.pipe = 0  # after it
        self.lost = 0  # bytes newly found lost
        self.sack = False  # the peer sends SACKs: `pipe` is exact
        self.progress = False  # the cumulative acknowledgement advanced


class RateEstimator:
    __slots__ = ("_app_limited_until", "_mark", "_round_at", "delivered", "sample")

    def __init__(self) -> None:
        self.delivered = 0
        self.sample = RateSample()
        self._mark = Mark(0, 0.0, 0.0, False)  # shared by all segments of a burst
        self._app_limited_until = 0
        self._round_at = 0

    def begin_flight(self, now: float) -> None:
        """Something is about to be sent and nothing is in flight."""
        self._mark = Mark(self.delivered, now, now, self._mark.app_limited)

    def sent(self, record: Sent) -> None:
        record.mark = self._mark

    def limited_by_application(self, in_flight: int) -> None:
        """There is room to send, and nothing to send."""
        self._app_limited_until = self.delivered + in_flight
        if not self._mark.app_limited:
            self._mark = self._mark._replace(app_limited=True)

    def on_delivered(self, records: Sequence[Sent], now: float, min_rtt: float) -> RateSample:
        """`records` is not empty; the fields from `in_flight` on are left to the caller."""
        latest = records[0]
        count = 0
        for record in records:
            count += record.end - record.seq
            if record.sent_at >= latest.sent_at:
                latest = record
        self.delivered += count
        sample = self.sample
        sample.delivered = count
        mark = latest.mark
        if mark is None:
            raise AssertionError("a delivered segment was never sent")
        interval = max(latest.sent_at - mark.first_sent_at, now - mark.delivered_at)
        # Shorter than any round trip: the ACK was for an earlier transmission.
        plausible = interval > 0.0 and interval >= min_rtt
        sample.rate = (self.delivered - mark.delivered) / interval if plausible else None
        sample.app_limited = mark.app_limited
        sample.rtt = now - latest.sent_at if latest.transmissions == 1 else None
        sample.round_started = mark.delivered >= self._round_at
        if sample.round_started:
            self._round_at = self.delivered
        self._mark = Mark(self.delivered, now, latest.sent_at, self.delivered < self._app_limited_until)
        return sample
