"""What the sending half of a connection knows, and its one timer: retransmission (RFC 6298 5), tail loss probes
(RFC 8985 7), zero-window probes (RFC 9293 3.8.6.1) and the user timeout.

`LossRecovery` (recovery.py) works on it when ACKs arrive, `Sender` (sender.py) when segments may leave. Positions are
unwrapped (tcp/seq.py). The SYN is not in here: data starts at `iss + 1`.
"""

from __future__ import annotations

import enum

from ..limits import Budget
from .config import TcpConfig
from .congestion import CongestionControl, SharedPath, initial_window
from .rack import Rack
from .rate import RateEstimator
from .rtt import RttEstimator
from .scoreboard import Scoreboard
from .send_buffer import SendBuffer

INFINITY = float("inf")
BLACK_HOLE_TIMEOUTS = 3  # of one large segment, and each further two: it may be too large (RFC 2923 2.1)
BLACK_HOLE_SIZES = (1200, 512)
SIZE_PROBE_INTERVAL = 600.0  # seconds until a larger segment is tried again (RFC 4821 7.7), twice as long each time
SIZE_PROBE_INTERVAL_MAX = 9600.0


class Phase(enum.IntEnum):
    OPEN = 0
    RECOVERY = 1  # fast recovery: losses are known from ACKs
    LOSS = 2  # after a timeout: everything not SACKed counts as lost


class Doubt(enum.IntEnum):
    """Whether the latest timeout was needed (F-RTO, RFC 5682)."""

    NONE = 0
    TIMED_OUT = 1  # nothing was sent again yet
    REPEATED = 2  # only the first segment was; its ACK is awaited (step 2)
    PROBING = 3  # and up to two new ones after it (step 3)


class SenderState:
    __slots__ = (
        "_config",
        "_doubt",
        "_doubt_limit",
        "_duplicate_bytes",
        "_first_resent_at",
        "_force",
        "_mss_limit",
        "_option_size",
        "_path_mss",
        "_peer_mss",
        "_progress_at",
        "_recovery_point",
        "_resent",
        "_rto_at",
        "_rtt_mark",
        "_sent_at",
        "_shared",
        "_size_probe_at",
        "_size_probe_end",
        "_size_probe_interval",
        "_tail_armed",
        "_tail_at",
        "_tail_end",
        "_tail_pair",
        "_tail_probes",
        "_timeouts",
        "_wl1",
        "_wl2",
        "board",
        "buffer",
        "congestion",
        "duplicate_acks",
        "echoes",
        "fin_at",
        "fin_queued",
        "max_window",
        "mss",
        "phase",
        "probe_due",
        "rack",
        "rate",
        "recoveries",
        "reorder_at",
        "retransmits",
        "rtt",
        "sack_permitted",
        "snd_max",
        "snd_nxt",
        "snd_una",
        "snd_wnd",
        "spurious",
        "tail_needless",
        "tail_probes",
        "timeouts",
        "timer_at",
        "window_scale",
    )

    def __init__(
        self,
        config: TcpConfig,
        rtt: RttEstimator,
        start: int,
        mss: int,
        budget: Budget | None = None,
        shared: SharedPath | None = None,
    ) -> None:
        self._config = config
        self._shared = shared
        self.rtt = rtt
        self.mss = mss
        self._peer_mss = mss
        self._option_size = 0
        self.congestion: CongestionControl = config.congestion(mss, initial_window(mss, config.initial_window_segments))
        self.board = Scoreboard()
        self.rack = Rack()
        self.rate = RateEstimator()
        self.buffer = SendBuffer(config, start, budget)
        self.snd_una = self.snd_nxt = self.snd_max = start
        self.snd_wnd = 0
        self.max_window = 0
        self.window_scale = 0
        self.sack_permitted = False
        self.fin_queued = False
        self.fin_at: int | None = None  # position of the FIN once it was sent
        self.timer_at = INFINITY
        self.reorder_at = INFINITY  # a missing segment will have been waited for long enough
        self.probe_due = False  # of a tail or of a closed window
        self.duplicate_acks = 0
        self.retransmits = self.timeouts = self.recoveries = 0  # statistics
        self.spurious = 0  # timeouts and recoveries that were taken back
        self.tail_probes = self.tail_needless = 0
        self._wl1 = 0
        self._wl2 = 0
        self.phase = Phase.OPEN
        self._recovery_point = start  # the phase lasts until this is acknowledged
        self._duplicate_bytes = 0  # without SACK: what duplicate ACKs say has left the network
        self._force = False  # the next retransmission passes the congestion window (RFC 6675 5, step 4.3)
        self._timeouts = 0  # in a row
        self._tail_armed = False  # the timer is that of a tail loss probe
        self._tail_probes = 0  # in a row
        self._tail_pair = False  # a second segment goes with this probe
        self._tail_at: int | None = None  # where the latest one that repeated something began
        self._tail_end: int | None = None  # SND.NXT at that time, until it is judged
        self._rto_at = INFINITY  # when the retransmission timer would fire, if the timer is that of a probe
        self.echoes = False  # timestamps are in use, which tell a needless timeout by themselves
        self._doubt = Doubt.NONE
        self._doubt_limit = 0  # nothing beyond may be sent while PROBING
        self._first_resent_at: float | None = None  # of the present recovery or timeout, until it is judged
        self._mss_limit = 0xFFFF  # what black-hole detection leaves
        self._path_mss = mss
        self._size_probe_at = INFINITY  # when one larger segment may try the path again
        self._size_probe_end: int | None = None  # of the one that is out
        self._size_probe_interval = SIZE_PROBE_INTERVAL
        self._resent = 0  # retransmissions of the present recovery that no D-SACK has called needless
        self._rtt_mark = start  # the next sample is taken from data at or behind this position
        self._progress_at = 0.0
        self._sent_at = -INFINITY

    # -- the application's side

    @property
    def space(self) -> int:
        return self.buffer.space

    @property
    def queued(self) -> int:
        """Bytes not yet acknowledged."""
        return len(self.buffer)

    def enqueue(self, data: bytes | bytearray | memoryview) -> int:
        return self.buffer.write(data)

    def discard(self) -> None:
        """Forget everything; the connection is over."""
        self.buffer.discard(self.snd_nxt)
        self.congestion.leave()
        self.board = Scoreboard()
        self.rack = Rack()
        self.timer_at = self.reorder_at = INFINITY
        self.probe_due = False

    @property
    def fin_acknowledged(self) -> bool:
        return self.fin_at is not None and self.snd_una > self.fin_at

    def writable(self) -> bool:
        """True once when a writer that was cut short should try again."""
        buffer = self.buffer
        if buffer.want_space and buffer.space >= min(4 * self.mss, buffer.capacity // 2):
            buffer.want_space = False
            return True
        return False

    # -- set-up and changes of the path

    def set_window(self, window: int, seq: int, ack: int) -> None:
        """The window of a handshake segment, in bytes."""
        self.snd_wnd = window
        self.max_window = max(self.max_window, window)
        self._wl1, self._wl2 = seq, ack

    def limit_mss(self, mss: int, options: int = 0) -> None:
        """The peer's announcement, and the size of the options that every segment will carry (RFC 6691)."""
        self._peer_mss = mss
        self._option_size = options

    def set_mss(self, mss: int) -> None:
        """What the path takes has changed; the peer's own limit stays."""
        self._path_mss = mss
        mss = min(mss, self._peer_mss, self._mss_limit) - self._option_size
        if mss < self.mss:
            self.board.mark_larger(mss)
            self._force = self.board.lost > 0
        self.mss = mss
        self.congestion.set_mss(mss)

    def start_window(self, segments: int) -> None:
        """Begin congestion control anew with this many segments."""
        self.congestion = self._config.congestion(self.mss, initial_window(self.mss, segments))
        if self._shared is not None:
            self.congestion.join(self._shared)

    # -- what may go out

    @property
    def in_flight(self) -> int:
        """`pipe` of RFC 6675."""
        board = self.board
        return max(0, self.snd_nxt - self.snd_una - board.sacked - board.lost - self._duplicate_bytes)

    def _unsent(self) -> int:
        """Sequence space that waits: data, and one for the FIN."""
        if self.fin_at is not None:
            return 0
        return self.buffer.end - self.snd_nxt + self.fin_queued

    def _new_length(self, reserve: int = 0) -> int:
        """Sequence space of the new segment that may go now; 0 for none. `reserve` bytes of it are for options."""
        waiting = self._unsent()
        if not waiting:
            return 0
        usable = self.snd_una + self.snd_wnd - self.snd_nxt
        mss = self.mss - reserve
        length = waiting if waiting < mss else mss
        if length > usable:
            length = usable
        if length <= 0:
            return 0
        if length < mss:
            idle = self.snd_una == self.snd_nxt
            if length == waiting:
                if not (self._config.nodelay or idle or self.fin_queued):
                    return 0
            elif not (idle and length * 2 >= self.max_window):
                return 0
        in_flight = self.in_flight
        if in_flight and in_flight + length > self.congestion.cwnd:
            return 0
        if self._doubt and self.snd_nxt + length > self._doubt_limit:
            return 0
        return length

    # -- the timer

    def _arm(self, now: float) -> None:
        """Something leaves, or progress was made: the timer runs. A probe's waits from the latest transmission, but not
        beyond the time of the retransmission timer (RFC 8985 7.2)."""
        if self.timer_at != INFINITY:
            if self._tail_armed:
                self.timer_at = min(now + self._probe_timeout(), self._rto_at)
            return
        # Clipped so that the user timeout is exact.
        self.timer_at = self._rto_at = min(now + self.rtt.rto, self._progress_at + self._config.user_timeout)
        self._tail_armed = self._may_probe_tail()
        if self._tail_armed:
            self.timer_at = min(now + self._probe_timeout(), self._rto_at)

    def _may_probe_tail(self) -> bool:
        """Only where the round trip is known from several samples: jitter does not show in one."""
        config = self._config
        return (
            self._tail_probes < config.tail_probes
            and self.sack_permitted
            and not self._timeouts
            and self.snd_nxt > self.snd_una
            and self.snd_wnd > 0
            and self.rtt.samples >= config.tail_probe_samples
        )

    def _probe_timeout(self) -> float:
        """PTO (RFC 8985 7.2), longer where packets arrive late one by one."""
        rtt = self.rtt
        srtt = rtt.srtt or rtt.base_rto
        timeout = max(2 * srtt, srtt + 4 * rtt.rttvar) + self.rack.lateness
        if self.snd_nxt - self.snd_una <= self.mss:
            timeout += self._config.peer_ack_delay
        return timeout * (1 << self._tail_probes)

    def update_timer(self, now: float) -> None:
        """After a change: watch for a window that stays closed, or stop."""
        if self.snd_nxt > self.snd_una:
            return
        if self._unsent() and not self._new_length():
            if self.timer_at == INFINITY:
                self._progress_at = now
                self._arm(now)
        elif self.timer_at != INFINITY:
            self.timer_at = INFINITY
            self.probe_due = False
            self.rtt.progress()

    def on_timer(self, now: float) -> bool:
        """The timer fired. False when the connection must be given up."""
        self.timer_at = INFINITY
        if now >= self._progress_at + self._config.user_timeout or self._timeouts >= self._config.retries:
            return False
        if self._tail_armed and self.snd_nxt > self.snd_una and self.snd_wnd:
            self._tail_probes += 1
            self.probe_due = True
            self._arm(now)
            return True
        self._timeouts += 1
        self.rtt.back_off()
        if self.snd_nxt == self.snd_una:
            self.probe_due = True
            self._arm(now)
            return True
        self.timeouts += 1
        self._force = True
        self._duplicate_bytes = self.duplicate_acks = 0
        board = self.board
        if not self.snd_wnd:  # the window was closed over data in flight: no sign of congestion
            board.mark_first()
            return True
        # Told apart only where data was sent once: not within the repair of an earlier timeout (RFC 5682 2.1, step 1).
        first = self._timeouts == 1
        self._doubt = Doubt.TIMED_OUT if first and self.phase is not Phase.LOSS else Doubt.NONE
        self._doubt_limit = 0
        self.congestion.on_timeout(self.snd_nxt - self.snd_una, now, first)
        # The second time SACKs are not believed any more: a receiver may discard data behind a hole (RFC 2018 8).
        board.mark_all(forget_sacks=self._timeouts > 1)
        if not board.lost:
            board.mark_all(forget_sacks=True)
        self._recovery_point = self.snd_nxt
        self.phase = Phase.LOSS
        self._resent = 0
        if first:
            self._first_resent_at = None
        self.reorder_at = INFINITY
        self._suspect_black_hole(now)
        return True

    def _suspect_black_hole(self, now: float) -> None:
        """A large segment that times out again and again may be too large, and nobody says so (RFC 2923 2.1)."""
        beyond = self._timeouts - BLACK_HOLE_TIMEOUTS
        if beyond < 0 or beyond & 1:
            return
        first = self.board.records[0]
        size = next((size for size in BLACK_HOLE_SIZES if size < min(first.end - first.seq, self.mss)), None)
        if size is not None:
            self._mss_limit = size + self._option_size
            self.set_mss(self._path_mss)
            self._size_probe_end = None
            self._size_probe_at = now + self._size_probe_interval
