"""Keeps the tunnel registered at an exit: tries candidates, notices a dead registration, registers anew.

Without I/O, on top of `ExitSession`, which is one registration. A lost registration means new addresses: the owner ends
its sockets at `ExitLost` and builds a new stack at the next `ExitConnected`. A pinned exit is never replaced.

The first registration has `connect_timeout`. From then on the link goes on trying: the exit that was lost first, then
the other candidates, round after round with back-off. Silence may end, and so may most refusals; only where no
candidate speaks a version of ours the link fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ..errors import SmolmixError
from ..mixnet.addresses import Recipient
from ..mixnet.exits import ExitCandidate
from ..mixnet.pace import Pace
from ..rand import RandomSource
from .events import ExitConnected, ExitDenied, ExitDisconnected, ExitEvent, OutgoingMessage
from .session import ExitSession, State

MAX_CANDIDATES = 5
ATTEMPT_TIMEOUT = 6.0  # s per protocol version of a candidate that has a successor
RETRY_DELAY = 2.0  # s before an exit that failed is asked again; the first back-off after a lost registration
LONGEST_DELAY = 30.0  # s
PATIENCE = 2.0  # s, see pace.py

# (protocol versions, connect timeout, attempt timeout) -> a session that has not started
MakeSession = Callable[[Sequence[int], float, float], ExitSession]


@dataclass(frozen=True)
class ExitLost:
    """The registration is gone: sockets end with `error`. A new one is being asked for."""

    error: SmolmixError


@dataclass(frozen=True)
class ExitFailed:
    """No exit would have us within the time there was, or ever; nothing more is tried."""

    error: SmolmixError


LinkEvent = ExitEvent | ExitLost | ExitFailed


class ExitLink:
    """`candidates`: in the order to try, at least one. `connect_timeout`: s for the first registration. `taken`: exits
    that other tunnels of ours use now; they are tried when all others were."""

    def __init__(
        self,
        candidates: Sequence[ExitCandidate],
        make_session: MakeSession,
        rng: RandomSource,
        *,
        pinned: bool,
        connect_timeout: float,
        taken: Callable[[], Collection[Recipient]] = tuple,
    ) -> None:
        self._candidates = list(candidates[:MAX_CANDIDATES])
        self._make_session = make_session
        self._pinned = pinned
        self._taken = taken
        self._connect_timeout = connect_timeout
        self._index = 0
        self._session: ExitSession | None = None
        self._retry_at: float | None = None
        self._give_up_at = float("inf")  # for the first registration
        self._begun = 0.0  # the present attempt
        self._tries = 0
        self._pace = Pace(rng, first=RETRY_DELAY, longest=LONGEST_DELAY, patience=PATIENCE)
        self._worked: dict[Recipient, int] = {}  # the version spoken last
        self._events: deque[LinkEvent] = deque()
        self._lag = 0.0
        self._paused = False
        self._paused_at = 0.0
        self._refusals = self._strangers = 0  # candidates in a row that refused, or speak no version of ours
        self._closing = False
        self.sessions = 0
        self.registrations = 0
        self.losses = 0  # of registrations
        self.rounds = 0  # of candidates asked in vain, in all
        self.error: SmolmixError | None = None

    @property
    def candidate(self) -> ExitCandidate:
        return self._candidates[self._index]

    @property
    def recipient(self) -> Recipient:
        return self.candidate.recipient

    @property
    def session(self) -> ExitSession | None:
        """The present registration or attempt."""
        return self._session

    @property
    def started(self) -> bool:
        return self.sessions > 0

    @property
    def connected(self) -> bool:
        return self._session is not None and self._session.state is State.CONNECTED

    @property
    def proven(self) -> bool:
        """Connected, and the exit is known to know us."""
        return self._session is not None and self._session.proven

    @property
    def attempt(self) -> tuple[int, int]:
        """Another value for each attempt to connect: to the exit we are somebody new, or a request of the one before
        that comes late would end what the present one began."""
        return self.sessions, self._session.attempts if self._session is not None else 0

    @property
    def tried_in_vain(self) -> bool:
        """There is no registration, and every candidate was asked for one."""
        return not self.connected and self._tries >= len(self._candidates)

    def set_candidates(self, candidates: Sequence[ExitCandidate]) -> None:
        """Others to try, while there is no registration."""
        if not self._pinned and not self.connected:
            self._candidates = [self.candidate, *(one for one in candidates if one.recipient != self.recipient)]
            del self._candidates[MAX_CANDIDATES:]
            self._index = 0

    def start(self, now: float, unix_time: float) -> None:
        """The mixnet can carry messages now."""
        self._give_up_at = now + self._connect_timeout
        self._pass_over_taken()
        self._connect(now, unix_time)

    def renew(self, error: SmolmixError, now: float) -> None:
        """The registration, or the attempt, is of no use any more, for example because our address changed."""
        if self._session is None or self._closing:
            return
        if self.connected:
            self._lose(error, now)
        else:
            self._denied(error, now)

    def want(self, now: float) -> None:
        """Somebody waits for the tunnel: the next attempt is made soon, and one that lasts is begun anew."""
        soon = self._pace.want(now)
        if self._retry_at is not None and self.registrations:
            self._retry_at = min(self._retry_at, soon)

    def rotated(self, now: float) -> None:
        """See `ExitSession.rotated`."""
        if self._session is not None:
            self._session.rotated(now)

    def slept(self, seconds: float) -> None:
        """See `ExitSession.slept`."""
        if self._session is not None:
            self._session.slept(seconds)

    def link_down(self, now: float) -> None:
        """No message can be sent; nothing is concluded from silence until `link_up`."""
        if not self._paused:
            self._paused_at = now
        self._paused = True
        if self._session is not None:
            self._session.link_down(now)

    def link_up(self, now: float, patience: float = 2.0) -> None:
        """`patience`: see `ExitSession.link_up`."""
        if self._paused:
            # The time without a gateway was no exit's fault.
            self._give_up_at += now - self._paused_at
        self._paused = False
        if self._session is not None and self._session.state is not State.CONNECTING:
            self._session.link_up(now, patience)
            self._follow(now)
        elif self.started and not self._closing:
            # What was asked may be lost, and its time is burnt: ask the same exit afresh.
            self._session = None
            self._pace.reset()
            self._retry_at = now

    def disconnect(self, now: float) -> None:
        self._closing = True
        self._retry_at = None
        if self._session is not None:
            self._session.disconnect(now)

    @property
    def disconnected(self) -> bool:
        return self._session is None or self._session.state in (State.CLOSED, State.FAILED)

    # -- messages and packets -----------------------------------------------------------------------

    def receive(self, message: bytes, now: float) -> None:
        if self._session is not None:
            self._session.receive(message, now)

    @property
    def send_space(self) -> int:
        return self._session.send_space if self._session is not None else 0

    @property
    def waiting(self) -> int:
        """IP packets that wait for company in a bundle, or for `poll`."""
        return self._session.waiting if self._session is not None else 0

    def send_packets(self, packets: Sequence[bytes], now: float) -> int:
        return self._session.send_packets(packets, now) if self._session is not None else 0

    def take_packets(self) -> list[bytes]:
        return self._session.take_packets() if self._session is not None else []

    def poll(self, now: float, unix_time: float, lag: float = 0.0) -> list[OutgoingMessage]:
        """`lag`: see `ExitSession.poll`."""
        if self._paused:
            return []
        self._lag = lag
        if self._retry_at is not None and now >= self._retry_at:
            self._connect(now, unix_time)
        if self._session is None:
            return []
        if (until := self._impatient_at()) is not None and now >= until:
            self._pace.impatient()
            self._next_candidate()
            self._connect(now, unix_time)
        messages = self._session.poll(now, lag)
        self._follow(now)
        return messages

    def next_deadline(self) -> float | None:
        if self._paused:
            return None
        times = [self._retry_at]
        if self._session is not None:
            times += [self._session.next_deadline(), self._impatient_at()]
        return min((time for time in times if time is not None), default=None)

    def take_events(self) -> list[LinkEvent]:
        """Events since the last call; the ends of sessions stand in them as `ExitLost` and `ExitFailed`."""
        events = list(self._events)
        self._events.clear()
        return events

    def follow(self, now: float) -> None:
        """Draw the consequences of what arrived."""
        if self._session is not None:
            self._follow(now)

    # -- inside -----------------------------------------------------------------------------------------

    def _impatient_at(self) -> float | None:
        """When to begin the present attempt anew."""
        if self.connected or self._closing or not self.registrations:
            return None
        until = self._pace.until(self._begun)
        return None if until is None else until + self._lag

    def _connect(self, now: float, unix_time: float) -> None:
        self._retry_at = None
        self._tries += 1
        self._begun = now
        worked = self._worked.get(self.recipient)
        versions = sorted(self.candidate.protocols, key=lambda version: version != worked)
        left = max(0.1, self._give_up_at - now)
        if not self.registrations and (self._pinned or len(self._candidates) == 1):
            attempt, limit = 15.0, left
        else:
            attempt = ATTEMPT_TIMEOUT * 2 ** min(self._pace.failures, 1)
            limit = min(left, attempt * len(versions))
        self._session = self._make_session(versions, limit, attempt)
        self.sessions += 1
        self._session.start(now, unix_time)

    def _follow(self, now: float) -> None:
        session = self._session
        assert session is not None
        for event in session.take_events():
            match event:
                case ExitConnected(version=version):
                    self.registrations += 1
                    self._give_up_at = float("inf")
                    self._worked[self.recipient] = version
                    self._tries = self._refusals = self._strangers = 0
                    self._pace.reset()
                    self._events.append(event)
                case ExitDenied(_, error):
                    self._denied(error, now)
                case ExitDisconnected(_, error) if error is not None:
                    self._lose(error, now)
                case _:
                    self._events.append(event)

    def _lose(self, error: SmolmixError, now: float) -> None:
        """The exit may only have forgotten us: ask the same one first."""
        self._session = None
        self._tries = 0
        self.losses += 1
        self._retry_at = now
        self._events.append(ExitLost(error))

    def _denied(self, error: SmolmixError, now: float) -> None:
        """Ask the next. Silence may end: go round again."""
        self._session = None
        self._strangers = self._strangers + 1 if error.code == "exit_version" else 0
        self._refusals = self._refusals + 1 if error.code in ("exit_refused", "exit_version") else 0
        count = len(self._candidates)
        in_time = self.registrations > 0 or (now < self._give_up_at and self._refusals < count)
        if not in_time or self._strangers >= count:
            self.error = error
            self._events.append(ExitFailed(error))
            return
        self._next_candidate()
        self._retry_at = now
        if self._tries % count == 0:
            self.rounds += 1
            self._pace.failures += 1
            self._retry_at = self._pace.again(now) if self.registrations else now + RETRY_DELAY

    def _next_candidate(self) -> None:
        if not self._pinned:
            self._index = (self._index + 1) % len(self._candidates)
            self._pass_over_taken()

    def _pass_over_taken(self) -> None:
        """From the present candidate on to the next that is free, as long as some of those were not tried."""
        taken, count = self._taken(), len(self._candidates)
        free = [index for index in range(count) if self._candidates[index].recipient not in taken]
        if self._tries < len(free):
            self._index = min(free, key=lambda index: (index - self._index) % count)
