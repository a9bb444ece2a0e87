"""Keeps the tunnel registered at an exit: tries candidates, notices a dead registration, registers anew.

Without I/O, on top of `ExitSession`, which is one registration. A lost registration means new addresses: the owner ends
its sockets at `ExitLost` and builds a new stack at the next `ExitConnected`. A pinned exit is never replaced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import SmolmixError
from ..mixnet.addresses import Recipient
from ..mixnet.exits import ExitCandidate
from .events import ExitConnected, ExitDenied, ExitDisconnected, ExitEvent, OutgoingMessage
from .session import ExitSession, State

MAX_CANDIDATES = 5
ATTEMPT_TIMEOUT = 6.0  # s per protocol version of a candidate that has a successor
RETRY_DELAY = 2.0  # s before an exit that failed is asked again
OUTAGE_LIMIT = 120.0  # s after the loss of a registration until the tunnel gives up

# (protocol versions, connect timeout, attempt timeout) -> a session that has not started
MakeSession = Callable[[Sequence[int], float, float], ExitSession]


@dataclass(frozen=True)
class ExitLost:
    """The registration is gone: sockets end with `error`. A new one is being asked for."""

    error: SmolmixError


@dataclass(frozen=True)
class ExitFailed:
    """No exit would have us within the time there was; nothing more is tried."""

    error: SmolmixError


LinkEvent = ExitEvent | ExitLost | ExitFailed


class ExitLink:
    """`candidates`: in the order to try, at least one. `connect_timeout`: s for the first registration."""

    def __init__(
        self,
        candidates: Sequence[ExitCandidate],
        make_session: MakeSession,
        *,
        pinned: bool,
        connect_timeout: float,
    ) -> None:
        self._candidates = list(candidates[:MAX_CANDIDATES])
        self._make_session = make_session
        self._pinned = pinned
        self._connect_timeout = connect_timeout
        self._index = 0
        self._session: ExitSession | None = None
        self._retry_at: float | None = None
        self._give_up_at = float("inf")
        self._tries = 0
        self._events: deque[LinkEvent] = deque()
        self._paused = False
        self._paused_at = 0.0
        self._refusals = 0  # in a row, of different candidates
        self._closing = False
        self.registrations = 0
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
        return self._give_up_at != float("inf")

    @property
    def connected(self) -> bool:
        return self._session is not None and self._session.state is State.CONNECTED

    def start(self, now: float, unix_time: float) -> None:
        """The mixnet can carry messages now."""
        self._give_up_at = now + self._connect_timeout
        self._connect(now, unix_time)

    def renew(self, error: SmolmixError, now: float) -> None:
        """The registration is of no use any more, for example because our address changed."""
        if self._session is not None and not self._closing:
            self._lose(error, now)
            self._retry_at = now

    def link_down(self, now: float) -> None:
        """No message can be sent; nothing is concluded from silence until `link_up`."""
        if not self._paused:
            self._paused_at = now
        self._paused = True
        if self._session is not None:
            self._session.link_down(now)

    def link_up(self, now: float) -> None:
        if self._paused:
            # The time without a gateway was no exit's fault.
            self._give_up_at += now - self._paused_at
        self._paused = False
        if self._session is not None:
            if self._session.state is State.CONNECTING:
                # What was asked may be lost, and its time is burnt: ask the same exit afresh.
                self._session = None
                self._retry_at = now
            else:
                self._session.link_up(now)

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

    def poll(self, now: float, unix_time: float) -> list[OutgoingMessage]:
        if self._paused:
            return []
        if self._retry_at is not None and now >= self._retry_at:
            self._connect(now, unix_time)
        if self._session is None:
            return []
        messages = self._session.poll(now)
        self._follow(now)
        return messages

    def next_deadline(self) -> float | None:
        if self._paused:
            return None
        times = [self._retry_at]
        if self._session is not None:
            times.append(self._session.next_deadline())
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

    def _connect(self, now: float, unix_time: float) -> None:
        self._retry_at = None
        self._tries += 1
        left = max(0.1, self._give_up_at - now)
        versions = self.candidate.protocols
        if self._pinned or len(self._candidates) == 1:
            attempt, limit = 15.0, left
        else:
            attempt, limit = ATTEMPT_TIMEOUT, min(left, ATTEMPT_TIMEOUT * len(versions))
        self._session = self._make_session(versions, limit, attempt)
        self._session.start(now, unix_time)

    def _follow(self, now: float) -> None:
        session = self._session
        assert session is not None
        for event in session.take_events():
            match event:
                case ExitConnected():
                    self.registrations += 1
                    self._tries = self._refusals = 0
                    self._events.append(event)
                case ExitDenied(_, error):
                    self._denied(error, now)
                case ExitDisconnected(_, error) if error is not None:
                    self._lose(error, now)
                    # The exit may only have forgotten us: ask the same one first.
                    self._retry_at = now
                case _:
                    self._events.append(event)

    def _lose(self, error: SmolmixError, now: float) -> None:
        self._session = None
        self._give_up_at = now + OUTAGE_LIMIT
        self._tries = 0
        self._events.append(ExitLost(error))

    def _denied(self, error: SmolmixError, now: float) -> None:
        """Ask the next; give up when all refused in a row, or the time is over. Silence may end: go round again."""
        self._session = None
        self._refusals = self._refusals + 1 if error.code in ("exit_refused", "exit_version") else 0
        if now >= self._give_up_at or (self.registrations == 0 and self._refusals >= len(self._candidates)):
            self.error = error
            self._events.append(ExitFailed(error))
            return
        if not self._pinned:
            self._index = (self._index + 1) % len(self._candidates)
        self._retry_at = now + RETRY_DELAY if self._tries % len(self._candidates) == 0 else now
