"""What packets cost: measured in units of about the same work, of our own shape alone."""

from __future__ import annotations

import pytest

from smolmix_web.mixnet.work import (
    ACK_CAME,
    ANSWER_CAME,
    COLD,
    COLD_TIME,
    COLDNESS,
    COVER_CAME,
    GUESS,
    LEAST,
    NEWEST,
    OUT,
    PACKET,
    SENT,
    SURB,
    MeanCost,
    WorkMeter,
)


def test_the_first_measurements_are_judged_by_their_median() -> None:
    cost = MeanCost()
    assert cost.value is None
    for seconds in (0.5, 0.01, 0.01, 0.01):  # what runs for the first time is compiled
        cost.note(seconds, 1.0, 0.0)
    assert cost.value == 0.01
    cost.note(0.01, 1.0, 0.0)
    assert cost.value == pytest.approx(0.01), "and forgotten"


def test_later_the_mean_counts_and_forgets() -> None:
    cost = MeanCost()
    for _ in range(NEWEST):
        cost.note(0.01, 1.0, 0.0)
    cost.note(0.11, 1.0, 0.0)
    assert cost.value == pytest.approx((NEWEST * 0.01 + 0.11) / (NEWEST + 1)), "a pause of the machine is a cost"
    for step in range(1, 200):
        cost.note(0.02, 1.0, 0.1 * step)
    assert cost.value == pytest.approx(0.02, rel=0.01)


def test_a_machine_that_became_slower_is_believed_at_once() -> None:
    cost = MeanCost()
    for step in range(100):
        cost.note(0.01, 1.0, 0.02 * step)
    for _ in range(NEWEST // 2):
        cost.note(0.06, 1.0, 2.0)
    assert cost.value is not None and cost.value < 0.02, "a pause or two are no other machine"
    cost.note(0.06, 1.0, 2.0)
    assert cost.value == pytest.approx(0.06)
    for _ in range(NEWEST):
        cost.note(0.01, 1.0, 2.1)
    assert cost.value > 0.03, "that it became faster shows in time"


def test_a_packet_is_all_that_it_leads_to() -> None:
    meter = WorkMeter()
    assert meter.packet is None and meter.making == 0.0
    for number in range(COLD + 1):
        meter.note(OUT, PACKET, 0.010, 1.0 + number / COLD * COLD_TIME)
    assert meter.making == pytest.approx(0.010)
    assert meter.packet == pytest.approx((1 + GUESS) * 0.010)
    for kind, seconds in ((SENT, 0.003), (COVER_CAME, 0.004), (ACK_CAME, 0.002), (ANSWER_CAME, 0.001)):
        for _ in range(8):
            meter.note(kind, 1, seconds, 1.0)
    assert meter.packet == pytest.approx(0.010 + 0.010)


def test_code_just_loaded_is_taken_for_slower_than_it_will_be() -> None:
    """A fast machine is not held for a slow one because a browser has yet to compile what runs; a slow one shows."""
    meter = WorkMeter()
    for number in range(100):
        meter.note(OUT, PACKET, 0.010 * COLDNESS, number / 100 * COLD_TIME)
        assert not meter.warm
        if number < LEAST - 1:
            assert meter.packet is None, "the first two of all are far too slow"
        else:
            assert meter.packet == pytest.approx((1 + GUESS) * 0.010)
            assert meter.making == pytest.approx(0.010 * COLDNESS), "until then packets do take so long"
    for number in range(100):
        meter.note(OUT, PACKET, 0.010, COLD_TIME + number / 10)
        assert meter.warm
    assert meter.packet == pytest.approx((1 + GUESS) * 0.010, rel=0.01)


def test_surbs_and_packets_are_one_measure() -> None:
    """Whoever downloads makes SURBs, whoever uploads packets, whoever does nothing cover: the same machine."""
    packets, surbs = WorkMeter(), WorkMeter()
    for _ in range(50):
        packets.note(OUT, PACKET, 0.0100, 1.0)
        surbs.note(OUT, SURB, 0.0100 * SURB / PACKET, 1.0)
    assert packets.making == pytest.approx(surbs.making)


def test_calls_that_did_nothing_do_not_count() -> None:
    meter = WorkMeter()
    meter.note(OUT, 0, 1.0, 1.0)
    assert meter.packet is None


def test_what_comes_in_rarely_slows_no_look_at_the_machine() -> None:
    """While real packets take the turns of cover hardly any comes back; the machine becomes slower all the same."""
    figures = []
    for every in (1, 20):
        meter = WorkMeter()
        for step in range(400):
            slow = 5.0 if step >= 300 else 1.0
            meter.note(OUT, PACKET, 0.010 * slow, step / 50)
            if step % every == 0:
                meter.note(COVER_CAME, 1, 0.004 * slow, step / 50)
        figures.append(meter.packet)
    assert figures[0] == pytest.approx(figures[1], rel=0.12)
