"""When packets leave: two independent exponential processes, their switches and presets (client-behaviour 2).

The main stream sends one packet per tick, real if one waits and cover if not; the cover stream sends loop cover
packets besides. A stream's next deadline is counted from the last deadline, not from the moment the host woke up, so
the law of the gaps is exact; when it is late by more than ten gaps it starts anew, so that neither a sleeping machine
nor one that stalled makes up for what it missed by a burst.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import UsageError
from ..rand import RandomSource

LATEST = 1.0  # seconds behind its deadline at which a stream starts anew,
LATEST_MEANS = 10  # or this many mean intervals, whichever is less

MULTIPLIER_MAX = 6
BACKLOG_USED, BACKLOG_FULL = 10, 32  # packets waiting at the gateway's socket
MULTIPLIER_RISE, MULTIPLIER_FALL = 1.0, 2.0  # seconds


@dataclass(frozen=True)
class TrafficConfig:
    """All knobs of a mixnet client. Times in seconds, delays and intervals are means of exponential laws."""

    packet_delay: float = 0.015  # per mix node
    ack_delay: float = 0.015
    main_interval: float = 0.020
    cover_interval: float = 0.200
    main_stream: bool = True  # False: real packets leave at once, and no dummies
    cover_stream: bool = True

    ack_multiplier: float = 1.5  # of the delays there and back
    ack_addition: float = 1.5  # at least; more where acks are measured to take longer
    ack_backoff: float = 1.5  # per retransmission
    ack_wait_max: float = 30.0
    message_lifetime: float = 300.0  # after which a fragment is given up even without a limit of retransmissions
    reply_retransmissions: int = 10  # default limit for replies, and for SURB requests

    max_pending: int = 2048  # fragments sent and not acknowledged; more wait in their lanes
    lane_limit: int = 256  # packets queued per lane
    max_messages: int = 4096  # received and not taken
    max_message_bytes: int = 32 * 1024 * 1024

    # Reply SURBs, giving side
    reply_key_lifetime: float = 24 * 3600.0
    max_reply_keys: int = 50_000
    surb_batch: int = 10  # per message of additional SURBs, at most 100; 10 fill 3 packets
    surb_answer_max: int = 500  # per request
    surb_answer_rate: float = 50.0  # SURBs per second that requests may cost beyond those replies earned
    surb_fill_ceiling: int = 200  # a peer that holds as many gets none for free
    # Reply SURBs, replying side (`surb_buffer` is 50 for an exit)
    surb_reserve: int = 10
    surb_buffer: int = 0
    surb_ceiling: int = 200  # no requests above
    surb_store_max: int = 1000  # per peer
    surb_request_min: int = 10
    surb_request_max: int = 50
    surb_rerequest_wait: float = 10.0
    surb_drop_wait: float = 300.0
    surb_max_rerequests: int = 5
    max_peers: int = 4096
    reply_queue_limit: int = 1024  # fragments waiting for SURBs, per peer

    def __post_init__(self) -> None:
        for name in ("main_interval", "cover_interval"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be positive", code="bad_traffic")
        for name in ("packet_delay", "ack_delay"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} must not be negative", code="bad_traffic")
        if not 1 <= self.surb_batch <= 100:
            raise UsageError("surb_batch must be in 1..100", code="bad_traffic")

    @classmethod
    def preset(cls, name: str) -> TrafficConfig:
        """A named set of switches (client-behaviour 2.7): `default`, `fast`, `no_cover`, `no_cover_keepalive`,
        `no_poisson`, `no_delays`. The reference's `medium` needs a second packet size and is refused: `UsageError`."""
        changes = PRESETS.get(name)
        if changes is None:
            raise UsageError(f"no traffic preset {name!r}", code="bad_traffic")
        return replace(cls(), **changes)  # type: ignore[arg-type]

    @classmethod
    def switched(cls, preset: str = "default", *, disable_poisson: bool, disable_cover: bool) -> TrafficConfig:
        """A preset, and the two switches of the tunnel's options on top, independent of each other."""
        base = cls.preset(preset)
        return replace(
            base,
            main_stream=base.main_stream and not disable_poisson,
            cover_stream=base.cover_stream and not disable_cover,
        )

    @classmethod
    def for_exit(cls) -> TrafficConfig:
        """A service that replies at once and keeps a buffer of SURBs."""
        return cls(main_stream=False, cover_stream=False, surb_buffer=50)


PRESETS: dict[str, dict[str, float | bool]] = {
    "default": {},
    "fast": {"packet_delay": 0.010, "ack_delay": 0.010, "main_interval": 0.004, "cover_interval": 2000.0},
    "no_cover": {"main_stream": False, "cover_stream": False},
    "no_cover_keepalive": {"main_stream": False, "cover_interval": 5.0},
    "no_poisson": {"main_stream": False},
    "no_delays": {"packet_delay": 0.0, "ack_delay": 0.0},
}


class ExponentialStream:
    """Deadlines with exponential gaps of mean `mean` seconds."""

    def __init__(self, rng: RandomSource, mean: float, now: float) -> None:
        self._rng = rng
        self.mean = mean
        self._latest = min(LATEST, LATEST_MEANS * mean)
        self.deadline = now
        self.restart(now)

    def due(self, now: float) -> bool:
        return now >= self.deadline

    def advance(self, now: float, multiplier: int = 1) -> bool:
        """Set the deadline after the present one, which is due. True when that was so late that the row begins anew."""
        late = now - self.deadline > self._latest
        if late:
            self.deadline = now
        self.deadline += self._rng.exponential(self.mean * multiplier)
        return late

    def restart(self, now: float) -> None:
        """As at the start: the first packet leaves after a full gap."""
        self.deadline = now + self._rng.exponential(self.mean)


class DelayMultiplier:
    """Slows the main stream down, 1 to 6 times, while the gateway's socket does not keep up (client-behaviour 2.3)."""

    def __init__(self, now: float) -> None:
        self.value = 1
        self._changed = now
        self._last_backlog = float("-inf")

    def note(self, waiting: int, now: float) -> None:
        """`waiting`: packets handed over that have not left the machine yet."""
        if waiting > BACKLOG_USED:
            self._last_backlog = now
        if waiting >= BACKLOG_FULL:
            if self.value < MULTIPLIER_MAX and now - self._changed > MULTIPLIER_RISE:
                self.value += 1
                self._changed = now
        elif self.value > 1 and now - self._last_backlog > MULTIPLIER_FALL and now - self._changed > MULTIPLIER_FALL:
            self.value -= 1
            self._changed = now
