"""The rate that fits machine and line: 1, 1/2, 1/4, 1/8 or 1/16 of the configured traffic, both streams alike.

The ladder is public and coarse, so that a rung tells little of the machine. It looks at what a packet of our own shape
costs, at ticks that came too late, and at what waits on the line; never at what packets carry or whether any waits.
Down it goes at once, as far as it must; up one rung at a time, after a look that doubles each time it was in vain.
"""

from __future__ import annotations

from dataclasses import dataclass

RATES = {"1": 1, "1/2": 2, "1/4": 4, "1/8": 8, "1/16": 16}  # by name: how many times slower
NAMES, SLOWER = tuple(RATES), tuple(RATES.values())
LOWEST = len(NAMES) - 1

SHARE = 0.5  # of the machine that our own traffic takes at most on the rung that is chosen,
SHARE_MAX = 0.6  # beyond which another is chosen,
SHARE_UP = 0.48  # and that it would take at most on the rung above before that one is tried
LATE_SHARE = 0.25  # of the ticks, more than a mean gap late: the machine is behind whatever packets seem to cost
LATE_TICKS = 4  # at least
WINDOW = 16  # ticks that are judged together

LINE_SHARE = 0.75  # of what the line takes: the rest is for its ups and downs

MACHINE_LOOK, LINE_LOOK = 5.0, 20.0  # s before the rung above is tried
LOOK_MAX = 600.0
TRIAL = 10.0  # s after a step up, or one look: to have to go down again so soon means that it was in vain
DRAIN = 3.0  # s after a step in which what waited on the line before is not held against the new rung


@dataclass
class _Steps:
    """Where one of the two limits stands. `look`: seconds that the rung must have held before the next one is tried."""

    first_look: float
    rung: int = 0
    look: float = 0.0
    since: float = 0.0
    rose: float = float("-inf")

    def down(self, rung: int, now: float) -> None:
        in_vain = now - self.rose < max(TRIAL, self.look)
        self.look = min(LOOK_MAX, 2 * self.look) if in_vain else self.first_look
        self.rung, self.since = min(rung, LOWEST), now

    def up(self, now: float) -> None:
        self.rung, self.since, self.rose = self.rung - 1, now, now


class Ladder:
    """See the module. `full_rate`: packets per second of the first rung; `fixed`: the name of a rung to stay on."""

    def __init__(self, full_rate: float, fixed: str | None = None) -> None:
        self._full_rate = full_rate
        self._fixed = None if fixed is None else NAMES.index(fixed)
        self._machine = _Steps(MACHINE_LOOK, look=MACHINE_LOOK)
        self._line = _Steps(LINE_LOOK, look=LINE_LOOK)
        self._seen = (0, 0)
        self.changes = 0
        self.load: float | None = None  # share of the machine that the first rung would take

    @property
    def rung(self) -> int:
        """0 is the full rate."""
        return self._fixed if self._fixed is not None else max(self._machine.rung, self._line.rung)

    @property
    def rate(self) -> str:
        return NAMES[self.rung]

    @property
    def slower(self) -> int:
        """How many times."""
        return SLOWER[self.rung]

    @property
    def packets(self) -> float:
        """Packets per second on this rung; 0 where nothing is paced."""
        return self._full_rate / self.slower

    @property
    def fits(self) -> bool:
        """Our own traffic is known to leave the machine time for all else."""
        return self.load is not None and 0 < self.load <= SHARE_MAX * self.slower

    @property
    def reason(self) -> str | None:
        """`option`, `machine` or `line`; None on the first rung, where nothing limits."""
        if self._fixed is not None:
            return "option"
        if not self.rung:
            return None
        return "machine" if self._machine.rung >= self._line.rung else "line"

    def statistics(self) -> dict[str, int | float | None]:
        """`load`: share of the machine that the full rate would take, None while unknown."""
        return {"changes": self.changes, "load": None if self.load is None else round(self.load, 3)}

    def step(
        self,
        now: float,
        *,
        packet_cost: float | None,
        warm: bool = True,
        ticks: int,
        late_ticks: int,
        capacity: float | None,
    ) -> bool:
        """Look at what is measured; True when the rung is another one. `packet_cost`: seconds, None while unknown;
        `warm`: not of code just loaded, whose ticks say nothing yet; `ticks`, of them `late_ticks`: since the start;
        `capacity`: packets per second that the line takes, None while it keeps up."""
        before = self.rung
        if self._full_rate:
            self._follow_machine(now, packet_cost, warm, ticks, late_ticks)
            self._follow_line(now, capacity)
        self.changes += self.rung != before
        return self.rung != before

    def _follow_machine(self, now: float, cost: float | None, warm: bool, ticks: int, late_ticks: int) -> None:
        steps = self._machine
        behind = False
        seen_ticks, seen_late = ticks - self._seen[0], late_ticks - self._seen[1]
        if not warm:
            self._seen = (ticks, late_ticks)
        elif seen_ticks >= WINDOW:
            behind = seen_late >= max(LATE_TICKS, LATE_SHARE * seen_ticks)
            self._seen = (ticks, late_ticks)
        self.load = load = None if cost is None else cost * self._full_rate
        if load is not None and load > SHARE_MAX * SLOWER[steps.rung] and steps.rung < LOWEST:
            fits = (rung for rung in range(steps.rung + 1, LOWEST) if load <= SHARE * SLOWER[rung])
            steps.down(next(fits, LOWEST), now)
        elif behind:
            # Only on the rung that holds in all: on a lower one there would be no such ticks.
            steps.down(max(steps.rung, self._line.rung) + 1, now)
        elif steps.rung and (load is None or load > SHARE_UP * SLOWER[steps.rung - 1]):
            steps.since = now
        elif steps.rung and now - steps.since >= steps.look:
            steps.up(now)

    def _follow_line(self, now: float, capacity: float | None) -> None:
        steps = self._line
        if capacity is not None and now - steps.since >= (DRAIN if steps.rung else 0.0):
            rung = self.rung if self._fixed is None else steps.rung
            fits = (one for one in range(rung + 1, LOWEST) if self._full_rate / SLOWER[one] <= LINE_SHARE * capacity)
            steps.down(next(fits, LOWEST), now)
        elif steps.rung and now - steps.since >= steps.look:
            steps.up(now)
