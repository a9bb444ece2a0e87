"""Can a gateway tell by the gaps between packets what a user does? Two-sample tests of each pair of activities."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any

from bench.privacy_records import ACTIVITIES, Recording
from tests.statistics_tests import ks_two

FEWEST = 60  # gaps of an activity: fewer prove nothing
ONE_PERCENT = 0.01
STEADY = ("nothing", "fetch", "downloads", "chatter", "names")  # in which the official client sends by its clock alone
PAIRS = list(combinations(ACTIVITIES, 2))


def gaps(recording: Recording, activity: str) -> list[float]:
    times = [one.at for one in recording.of("line", "binary", activity)]
    return [after - before for before, after in pairwise(times)]


def pairs(recording: Recording) -> dict[str, float]:
    """The p of each pair that has enough gaps: of a difference as large if the gaps were of one law."""
    seen = {activity: gaps(recording, activity) for activity in ACTIVITIES}
    enough = {activity for activity, found in seen.items() if len(found) >= FEWEST}
    return {f"{a}, {b}": ks_two(seen[a], seen[b]).p for a, b in PAIRS if a in enough and b in enough}


def told_apart(recordings: Sequence[Recording]) -> list[str]:
    """Pairs with p below one percent, more than once over all users. Once happens by chance."""
    low = [name for one in recordings for name, p in pairs(one).items() if p <= ONE_PERCENT]
    return sorted(set(low)) if len(low) > 1 else []


def blurred(ours: Sequence[Recording], official: Sequence[Recording]) -> bool:
    """The machine, which runs the network as well, is late under load: activities in which the official client sends
    by its clock alone are told apart as often as ours."""

    def share(recordings: Sequence[Recording]) -> float:
        steady = [p for one in recordings for name, p in pairs(one).items() if set(name.split(", ")) <= set(STEADY)]
        return sum(p <= ONE_PERCENT for p in steady) / len(steady) if steady else 0.0

    return share(official) >= share(ours) > 0


def summary(recordings: Sequence[Recording]) -> dict[str, Any]:
    """For JSON and the page."""
    found = [pairs(one) for one in recordings]
    packets = {activity: [len(one.of("line", "binary", activity)) for one in recordings] for activity in ACTIVITIES}
    values = [p for one in found for p in one.values()]
    return {
        "packets": packets,
        "pairs": len(values),
        "below": sum(p <= ONE_PERCENT for p in values),
        "smallest": min(values, default=None),
        "told_apart": told_apart(recordings),
    }
