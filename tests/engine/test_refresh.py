"""When the directory is asked: regularly, by its own clock, and after losses; never often, and never in step."""

from __future__ import annotations

import itertools
from dataclasses import replace

from smolmix_web.mixnet.directory import KeyRotationInfo
from smolmix_web.mixnet.pace import Pace
from smolmix_web.mixnet.refresh import APART, REGULAR, RETRY, SPREAD, RefreshPlan
from smolmix_web.mixnet.topology import Topology
from smolmix_web.rand import SeededRandom
from tests.simnet.network import SimNetwork

UNIX = 1_790_000_000.0


def topology(rotation: int = 41, *, epochs_left: float = 20.0, epoch: float = 3600.0) -> Topology:
    """Of a network that rotates its keys that many epochs after `UNIX`."""
    start = UNIX - (24 - epochs_left) * epoch
    clock = KeyRotationInfo(24, 16, 16 + 24 * rotation, start, epoch)
    return replace(SimNetwork("refresh").topology(), rotation_id=rotation, key_rotation=clock)


def plan(seed: object = 0, **arguments: float) -> RefreshPlan:
    return RefreshPlan(SeededRandom(f"plan {seed}"), topology(**arguments), 0.0, UNIX)


def test_regularly_and_not_in_step() -> None:
    times = [plan(seed).due for seed in range(200)]
    assert min(times) >= 0.75 * REGULAR and max(times) <= 1.25 * REGULAR
    assert max(times) - min(times) > 0.4 * REGULAR


def test_a_loss_is_a_reason_at_once_and_many_losses_are_no_more_than_one() -> None:
    one = plan()
    one.trouble(100.0)
    assert 100.0 <= one.due <= 100.5
    asked = []
    now = 100.0
    while now < 1900.0:
        one.trouble(now)
        if now >= one.due:
            asked.append(now)
            one.succeeded(topology(), now, UNIX + now)
        now += 0.5
    gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert min(gaps) >= 0.75 * APART and len(asked) < 15
    assert sum(gaps[-3:]) / 3 > 0.6 * REGULAR, "they come further apart while nothing else is heard"
    # Peace makes the next one quick again.
    one.succeeded(topology(), now, UNIX + now)
    now = one.due
    one.succeeded(topology(), now, UNIX + now)
    one.trouble(now + 100)
    assert one.due <= now + 100.5


def test_the_rotation_is_learnt_of_when_it_is_due() -> None:
    times = [plan(seed, epochs_left=0.05).due for seed in range(200)]
    due = 0.05 * 3600
    assert min(times) >= due and max(times) <= due + SPREAD + 0.2 and max(times) - min(times) > SPREAD / 2
    short = [plan(seed, epochs_left=0.5, epoch=60.0).due for seed in range(50)]
    assert max(short) <= 30.0 + 6.2, "well before the old keys are gone"


def test_a_directory_that_is_behind_its_clock_is_asked_again() -> None:
    one = plan(epochs_left=0.01)
    gaps = []
    for _ in range(6):
        now = one.due
        one.succeeded(topology(epochs_left=0.01), now, UNIX + now)
        gaps.append(one.due - now)
    assert gaps[0] <= 1.25 * RETRY and gaps[-1] > 0.7 * REGULAR and all(gap >= 0.75 * RETRY for gap in gaps)
    now = one.due
    one.succeeded(topology(42), now, UNIX + now)
    assert one.due - now >= 0.75 * REGULAR


def test_a_failure_is_tried_again_and_sooner_when_the_network_is_back() -> None:
    one = plan()
    one.trouble(100.0)
    one.failed(100.3)
    assert one.stale and 0.75 * RETRY <= one.due - 100.3 <= 1.25 * RETRY
    one.trouble(101.0)
    assert 100.3 + 2 < one.due < 105
    one.succeeded(topology(), 104.0, UNIX + 104)
    assert not one.stale


def test_back_off_grows_is_jittered_and_short_while_somebody_waits() -> None:
    pace = Pace(SeededRandom("pace"), first=0.5, longest=30.0, patience=4.0)
    gaps = []
    now = 0.0
    for _ in range(20):
        pace.failures += 1
        later = pace.again(now)
        gaps.append(later - now)
        now = later
    assert 0.5 <= gaps[0] <= 1.0 and all(15.0 <= gap <= 30.0 for gap in gaps[6:]) and len(set(gaps)) == 20
    assert pace.want(now) <= now + 2.0
    assert pace.again(now) - now <= 4.0
    assert pace.until(now) == now + 4.0
    pace.impatient()
    assert pace.until(now) == now + 8.0
    assert pace.until(now + 85.0) is None, "nobody waits any more by then"
    pace.reset()
    assert pace.failures == 0 and pace.until(now) is None
