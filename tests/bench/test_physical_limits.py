"""What a figure could be at best follows from the scarcest thing, whichever it is."""

from __future__ import annotations

from typing import Any

import pytest

from bench.physical_limits import BODY, PACKET, SURB, Facts, Limit, limits, trip
from smolmix_web.crypto.provider import Crypto
from smolmix_web.mixnet.gateway.frames import seal_push
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx.constants import REGULAR

pytestmark = pytest.mark.cpython

FACTS = Facts(1500.0, 1000.0, 500.0, 450.0, 90.0, 40.0)


def section(**changes: Any) -> dict[str, Any]:
    sizes = {"download": "3 MB", "together": "12", "together_size": "20 kB", "upload": "1 MB"}
    ours = {
        "ready": 2.0,
        "ready cpu": 1.0,
        "first fetch": 0.6,
        "second fetch": 0.2,
        "speed": 100.0,
        "upload": 20.0,
        "together": 4.0,
        "cpu per MB": 3.0,
        "idle cpu": 0.4,
    }
    return {"mode": "defaults", "cpu": None, "line": None, "line_delay_ms": 0.0, "sizes": sizes, "ours": ours} | changes


def of(figure: str, facts: Facts = FACTS, **changes: Any) -> Limit:
    (found,) = (limit for limit in limits(section(**changes), facts) if limit.figure == figure)
    return found


def test_a_download_is_bound_by_the_scarcest_of_five_things() -> None:
    off = {"mode": "switches off"}
    paced = of("speed")
    assert paced.reason.startswith("reply blocks") and paced.value == pytest.approx(150 * BODY / 1000)
    assert of("speed", **off).reason == "packets per second of the network"
    assert of("speed", **off).value == pytest.approx(1500 * 0.75 * BODY / 1000)
    assert of("speed", cpu=0.05, **off).reason == "CPU for curve operations"
    thin = of("speed", line=100.0, line_delay_ms=30.0, **off)
    assert thin.reason == "bytes down the line" and 0.75 * 100 < thin.value < 100
    assert of("speed", line=100.0).value == thin.value


def test_half_the_core_halves_what_the_cpu_bounds() -> None:
    whole, half = (of("speed", cpu=share, mode="switches off", facts=SLOW_CURVE) for share in (1.0, 0.5))
    assert half.value == pytest.approx(whole.value / 2)
    assert of("upload", cpu=0.5, mode="switches off", facts=SLOW_CURVE).value == pytest.approx(
        2 * of("upload", cpu=1.0, mode="switches off", facts=SLOW_CURVE).value
    )
    # Work is work, however long it takes.
    assert of("cpu per MB", cpu=0.5).value == of("cpu per MB").value


SLOW_CURVE = Facts(1e9, 1000.0, 500.0, 450.0, 900.0, 400.0)


def test_readiness_is_bound_by_cpu_or_by_round_trips() -> None:
    assert of("ready", cpu=0.25).value == pytest.approx(4.0)
    assert of("ready", ours=section()["ours"] | {"ready cpu": 0.01}).reason.startswith("the gateway's handshake")
    assert of("ready", line=10.0, line_delay_ms=500.0).value > 5.0


def test_a_round_trip_is_delays_ticks_and_line() -> None:
    assert trip(section(mode="switches off")) == pytest.approx(6 * 0.015)
    assert trip(section()) == pytest.approx(6 * 0.015 + 0.020)
    assert trip(section(line=100.0, line_delay_ms=30.0)) > 0.11 + 0.06
    assert of("first fetch").value == pytest.approx(3 * of("second fetch").value)


def test_idle_traffic_costs_its_curve_operations_and_silence_nothing() -> None:
    assert of("idle cpu").value == pytest.approx(55 * (9 * 90 + 3 * 40) / 1e6)
    assert not [limit for limit in limits(section(mode="switches off"), FACTS) if limit.figure == "idle cpu"]


def test_the_share_of_a_limit_is_one_at_the_limit_whichever_way_is_better() -> None:
    assert Limit("speed", 200.0, "", 50.0, "").reached == 0.25
    assert Limit("upload", 5.0, "", 20.0, "").reached == 0.25
    assert Limit("upload", 5.0, "", None, "").reached is None


def test_figures_that_were_not_measured_have_no_limit_but_those_that_failed_have() -> None:
    found = limits(section(ours={"upload": None}), FACTS)
    assert [(limit.figure, limit.ours, limit.reached) for limit in found] == [("upload", None, None)]


def test_sizes_are_those_of_real_packets(crypto: Crypto, rng: SeededRandom) -> None:
    from bench.physical_limits import FRAME_DOWN

    pushed = seal_push(crypto, rng, rng.bytes(32), rng.bytes(REGULAR.body))
    assert len(pushed) + 4 == FRAME_DOWN  # and the head of a WebSocket message of this size
    assert 1400 < BODY < 1500 and SURB.variable == 4 and PACKET.variable == 9
