"""What leaves besides what must: switches, presets and knobs of a mixnet client (client-behaviour 2).

The main stream sends one packet per tick, real if one waits and cover if not; the cover stream sends loop cover
packets besides. When they tick is streams.py, at which of the public rates ladder.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import UsageError


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
