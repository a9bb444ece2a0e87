"""Congestion control by a model of the path, after the idea of BBR (draft-ietf-ccwg-bbr), made simple for a tunnel.

A mix network loses and reorders packets at random, and its round trips are long: a controller that halves its window
at each loss never fills it. This one asks what the path delivered (rate.py) and how long it takes when nothing queues,
and keeps their product in flight, times a gain, plus a few segments:

    cwnd = gain * bandwidth * (min_rtt + jitter) + EXTRA segments

The gain is what finds more bandwidth and what carries over random loss. It falls as a queue stands: as the shortest
round trip of a round exceeds the shortest of all by more than the jitter explains. So a link is kept busy with little
that waits before it. The constant makes flows fair: of flows with one bottleneck the smaller gets relatively more. A
loss says nothing by itself. Losses that come with a queue, in rounds that lose more than LOSS_LIMIT, pull the window
down to what is delivered: there is a short queue that overflows.

A path that becomes longer looks like a queue, too, and a gain that is low for nothing starves the flow. So a queue
that stays where a low gain should have drained it is put to the test (`SharedPath.doubt`).

There is no pacing here. Packets are cut when the tunnel asks for them (`Stack.poll` with a limit) and leave at the
tunnel's own pace, so no burst reaches the network, the local queue is no part of the round trip, and the tunnel's rate
shows in the delivery rate. For the same reason twice the initial window of RFC 6928 is sent.
"""

from __future__ import annotations

from collections import deque

from ..rate import RateSample
from .base import INFINITY, SharedPath

STARTUP_GAIN = 2.9  # of the measured rate, which is that of a round trip ago: lets the window double
QUICK_BYTES = 64 * 1024  # up to here the window triples in a round trip
GAIN = 1.25  # while nothing queues; less by the queue, as a part of the round trip
MIN_GAIN = 0.8
JITTER = 1.5  # times the mean step between round trips: how much longer than the shortest they are in the mean
EXTRA = 5  # segments
STEP = 1.5  # that a flow with less than its share may grow by at once
STARTUP_EXTRA = 12
INITIAL = 2  # times the initial window of others
QUEUE = 0.25  # of the shortest round trip: there is one
FULL_ROUNDS = 3  # without FULL_GROWTH more bandwidth the pipe is full
FULL_GROWTH = 1.25
BANDWIDTH_ROUNDS = 6  # the maximum of so many rounds counts
DRAIN = 0.65  # of the product, for a while now and then, to see the path without our queue
DOUBT_DRAIN = 0.5  # a clear step down from MIN_GAIN
MIN_SEGMENTS = 4
LOSS_LIMIT = 0.1
DOUBT = 0.25  # of the shortest round trip, beyond what gain and EXTRA explain, for DOUBT_ROUNDS: is it a queue?
DOUBT_ROUNDS = 2
DRAINING = 0.9  # of the queue a round ago: it does drain
START_ROUNDS = 4  # until what a startup left is gone


class PathModel:
    __slots__ = (
        "_before",
        "_best",
        "_full_bandwidth",
        "_full_count",
        "_in_flight",
        "_initial",
        "_jitter",
        "_latest",
        "_long",
        "_mean",
        "_path",
        "_queue",
        "_round",
        "_round_delivered",
        "_round_lost",
        "_rounds",
        "_share",
        "bandwidth",
        "cwnd",
        "mss",
        "ssthresh",
        "startup",
    )

    def __init__(self, mss: int, initial_window: int) -> None:
        self.mss = mss
        self.cwnd = self._initial = initial_window * (INITIAL if initial_window > mss else 1)
        self.ssthresh = 1 << 62  # this controller has none
        self.bandwidth = 0.0  # bytes per second
        self.startup = True
        self._mean = 0.0  # of round trips
        self._latest = 0.0
        self._jitter = 0.0  # mean step from one to the next: of the path, for a queue changes slowly
        self._best = INFINITY  # of this round
        self._queue = 0.0  # that stood in the round before, as a part of the round trip
        self._long = 0  # rounds with such a queue
        self._path = SharedPath()
        self._share = 0.0  # what we have told it of our bandwidth,
        self._in_flight = 0  # and of what is in flight
        self._round = 0
        self._rounds: deque[tuple[int, float]] = deque()  # (round, its best rate), falling
        self._full_bandwidth = 0.0
        self._full_count = 0
        self._round_delivered = self._round_lost = 0
        self._before: int | None = None  # the window before a timeout

    def join(self, path: SharedPath) -> None:
        self._path = path

    @property
    def min_rtt(self) -> float:
        return self._path.min_rtt

    def leave(self) -> None:
        self._path.in_flight -= self._in_flight
        self._in_flight = 0
        self._tell(0.0)

    # -- the model

    def _tell(self, bandwidth: float) -> None:
        self._path.count(bandwidth - self._share, (bandwidth > 0.0) - (self._share > 0.0))
        self._share = bandwidth

    def _on_rtt(self, rtt: float, now: float) -> None:
        if self._mean:
            self._jitter += (abs(rtt - self._latest) - self._jitter) / 16
            self._mean += (rtt - self._mean) / 8
        else:
            self._mean = rtt
        self._latest = rtt
        if rtt < self._best:
            self._best = rtt
        self._path.sample(rtt, now)

    def _on_rate(self, rate: float) -> None:
        rounds = self._rounds
        while rounds and rounds[-1][1] <= rate:
            rounds.pop()
        if not rounds or rounds[-1][0] != self._round:
            rounds.append((self._round, rate))
        self.bandwidth = rounds[0][1]

    def _on_round(self, app_limited: bool, now: float) -> None:
        self._round += not self._path.in_doubt  # a drain is no reason to forget what the path took
        rounds = self._rounds
        while len(rounds) > 1 and rounds[0][0] <= self._round - BANDWIDTH_ROUNDS:
            rounds.popleft()
        if rounds:
            self.bandwidth = rounds[0][1]
        self._tell(0.0 if app_limited or self.startup else self.bandwidth)
        if self._best != INFINITY:
            usual = self.min_rtt + self._jitter
            before = self._queue
            self._queue = self._best / usual - 1.0 if self._best > usual > 0.0 else 0.0
            stands = self._queue > DRAINING * before and not self.startup
            self._long = self._long + 1 if stands and self._queue > self._explained + DOUBT else 0
            if self._long >= DOUBT_ROUNDS:
                self._long = 0
                self._path.doubt(self._best, now)
            self._best = INFINITY
        if self.startup and not app_limited:  # else it says nothing of how much the path takes
            self._path.starting(now + START_ROUNDS * self._mean)
            if self.bandwidth >= self._full_bandwidth * FULL_GROWTH:
                self._full_bandwidth = self.bandwidth
                self._full_count = 0
            else:
                self._full_count += 1
                self.startup = self._full_count < FULL_ROUNDS and self._queue <= QUEUE
        total = self._round_delivered + self._round_lost
        if self._round_lost > LOSS_LIMIT * total and self._queue > QUEUE:
            self.startup = False
            self.cwnd = max(min(self.cwnd, self._product(1.0)), self.mss * MIN_SEGMENTS)
        self._round_delivered = self._round_lost = 0

    @property
    def _explained(self) -> float:
        """The queue, as a part of the round trip, at which the window is what such a queue holds: all flows that share
        a link get the same gain, and EXTRA beside."""
        extra_bytes = EXTRA * self.mss
        # After a while with a wrong minimum the product is too small.
        extra = extra_bytes / max(self._product(1.0), extra_bytes)
        return max((GAIN - 1 + extra) / 2, MIN_GAIN - 1 + extra)

    def _product(self, gain: float) -> int:
        """What fills the path, in bytes; 0 while nothing is known."""
        if self.min_rtt == INFINITY:
            return 0
        return int(gain * self.bandwidth * (self.min_rtt + min(JITTER * self._jitter, self.min_rtt)))

    # -- the window

    def on_delivered(self, sample: RateSample, now: float) -> None:
        if sample.pipe != self._in_flight:
            self._path.in_flight += sample.pipe - self._in_flight
            self._in_flight = sample.pipe
        if sample.rtt is not None:
            self._on_rtt(sample.rtt, now)
        self._round_delivered += sample.delivered
        self._round_lost += sample.lost
        if sample.round_started:
            self._on_round(sample.app_limited, now)
        if sample.rate is not None and (not sample.app_limited or sample.rate > self.bandwidth):
            self._on_rate(sample.rate)
        floor = self.mss * MIN_SEGMENTS
        if self._path.draining(now, self._mean) and not self.startup:
            self.cwnd = min(self.cwnd, max(self._product(DOUBT_DRAIN if self._path.in_doubt else DRAIN), floor))
            return
        if self.startup:
            target = self._product(STARTUP_GAIN) + STARTUP_EXTRA * self.mss
            target = max(target, self._initial) if self.bandwidth else self.cwnd + sample.delivered
        else:
            gain = max(GAIN - self._queue, MIN_GAIN)
            if self._share:
                gain *= min(max(self._path.fair_share / self._share, 1.0), STEP)
            target = self._product(gain) + EXTRA * self.mss
        if self.cwnd >= target and not self.startup:
            self.cwnd = max(target, floor)
        elif self.cwnd < 2 * sample.in_flight + self.mss:
            more = sample.delivered
            if self.startup and self.cwnd < QUICK_BYTES and self._before is None:
                more *= 2
            self.cwnd = max(self.cwnd, min(self.cwnd + more, target))

    def on_sent(self, size: int) -> None:
        pass

    def on_ack(self, acked: int, in_flight: int, now: float, srtt: float | None) -> None:
        pass

    def on_loss(self, in_flight: int, flight_size: int, now: float) -> None:
        pass

    def on_recovery_exit(self, in_flight: int, now: float) -> None:
        pass

    def on_timeout(self, in_flight: int, now: float, first: bool) -> None:
        """Nothing was heard for long: begin with one segment. What is delivered lets the window double up to what
        the model says, which is still believed."""
        if first:
            self._before = self.cwnd
        self.cwnd = self.mss

    def undo(self) -> None:
        if self._before is not None:
            self.cwnd = max(self.cwnd, self._before)
            self._before = None

    def on_idle(self, now: float) -> None:
        self._tell(0.0)
        self.cwnd = min(self.cwnd, self._initial)

    def set_mss(self, mss: int) -> None:
        self.mss = mss
        self.cwnd = max(self.cwnd, mss)
