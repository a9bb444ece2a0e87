"""Are our addresses still ours? When to ask the exit, and when it counts as dead (docs/protocol/ipr.md 5.6, K1 to K3).

The exit forgets, without a word, who has sent no data for 60 s. So while connected some data leaves at least every
`keepalive` seconds, by chance a fifth more or less; and when data leaves that asks for an answer, but nothing comes
back for `suspicion` seconds, a probe asks (probes.py).

Silence alone does not make an exit dead: on a machine that is too busy its answers wait in the socket. All that comes
to us comes in one order through the gateway. So the last probe must stay unanswered until something of our own that
left well after it has come back (`path_proven`: an ack): then the answer would be here too. To be sure that there is
something, a packet to ourselves is asked for (`Verdict.CHECK`). Where even those do not return, the path is not the
exit's fault, and it gets `PATIENCE` more.
"""

from __future__ import annotations

import enum

from ..rand import RandomSource

KEEPALIVE = 25.0  # s
SPREAD = 0.2  # of it: a fixed period would be a mark of ours
SUSPICION = 8.0  # s
PROBE_TIMEOUT = 4.0  # s per attempt
PROBE_ATTEMPTS = 3
PATIENCE = 60.0  # s after the last attempt; by then an exit that has heard nothing has forgotten us anyway
LATE = 5.0  # s; a timer this late means that the machine slept, not that the exit is gone


class Verdict(enum.Enum):
    NOTHING = enum.auto()
    PROBE = enum.auto()
    CHECK = enum.auto()  # send a packet to ourselves
    DEAD = enum.auto()


class Liveness:
    """Times of our data and of the exit's signs of life; `poll` says what to do."""

    def __init__(
        self,
        rng: RandomSource,
        now: float,
        *,
        keepalive: float = KEEPALIVE,
        suspicion: float = SUSPICION,
        timeout: float = PROBE_TIMEOUT,
        attempts: int = PROBE_ATTEMPTS,
    ) -> None:
        self._rng = rng
        self._keepalive = keepalive
        self._suspicion = suspicion
        self._timeout = timeout
        self._attempts = attempts
        self._next_data = now + self._period()
        self._unanswered_since: float | None = None
        self._asked = self._first = 0.0  # when the newest probe left, and the first of this doubt
        self._due = 0.0  # what follows it
        self._checks = 0  # asked for since
        self._proven = float("-inf")
        self._paused = False
        self._heard = False  # since data put the next probe off
        self.attempt = 0  # of the present doubt: the number of the newest probe

    def data_sent(self, now: float, *, asks: bool = True) -> None:
        """`asks`: it wants an answer. What wants none keeps us known, but says nothing of who knows us."""
        if asks or self._heard:
            self._next_data = now + self._period()
            self._heard = False
        if asks and self._unanswered_since is None:
            self._unanswered_since = now

    def alive(self) -> None:
        """The exit treated us as connected: data, or a policy refusal."""
        self._unanswered_since = None
        self._heard = True
        self.attempt = 0

    def path_proven(self, left: float, now: float) -> None:
        """Something of our own that left at `left` has come back to us."""
        self._proven = max(self._proven, left)
        if self._checks > 1 and self._proven >= self._enough:
            self._due = min(self._due, now)

    def doubt(self, now: float) -> None:
        """Ask at the next poll: something suggests that the exit lost us."""
        self._paused = False
        self.attempt = 0
        self._unanswered_since = now - self._suspicion

    def pause(self) -> None:
        """Nothing can be sent or received; no conclusions until `doubt`."""
        self._paused = True

    def poll(self, now: float, lag: float = 0.0) -> Verdict:
        """`lag`: see `ExitSession.poll`."""
        due = self.next_deadline(lag)
        if due is None or now < due:
            return Verdict.NOTHING
        late = now >= due + LATE
        if not self.attempt or late or (self.attempt < self._attempts):
            return self._probe(now, 1 if late else self.attempt + 1)
        # The last attempt: half of its time on, a check; then the verdict, if only the check is back.
        if self._checks and (self._proven >= self._enough or now - lag >= self._asked + self._timeout + PATIENCE):
            return Verdict.DEAD
        self._checks += 1
        self._due = now + self._timeout / 2
        return Verdict.CHECK

    def _probe(self, now: float, attempt: int) -> Verdict:
        self.attempt, self._asked, self._checks = attempt, now, 0
        if attempt == 1:
            self._first = now
        self._due = now + (self._timeout if attempt < self._attempts else self._timeout / 2)
        return Verdict.PROBE

    @property
    def in_doubt(self) -> bool:
        """A probe was not answered, although what left well after it has come back."""
        return self.attempt > 1 and self._proven >= self._first + self._timeout / 2

    @property
    def _enough(self) -> float:
        """What left so late and is back overtook no answer: ways through the mixes differ by less."""
        return self._asked + self._timeout / 2

    def _period(self) -> float:
        return self._keepalive * (1 + SPREAD * (2 * self._rng.uniform() - 1))

    @property
    def answer_by(self) -> float:
        """When the newest probe will have had its time."""
        return self._asked + self._timeout

    def next_deadline(self, lag: float = 0.0) -> float | None:
        if self._paused:
            return None
        if self.attempt:
            return self._due + lag
        if self._unanswered_since is None:
            return self._next_data
        return min(self._next_data, self._unanswered_since + self._suspicion + lag)
