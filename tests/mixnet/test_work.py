"""What packets cost: measured in units of about the same work, of our own shape alone."""

from __future__ import annotations

import pytest

from smolmix_web.mixnet.work import (
    ACK_CAME,
    ANSWER_CAME,
    COVER_CAME,
    FIRST,
    GUESS,
    OUT,
    PACKET,
    SENDING,
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
    for _ in range(FIRST):
        cost.note(0.01, 1.0, 0.0)
    cost.note(0.11, 1.0, 0.0)
    assert cost.value == pytest.approx((FIRST * 0.01 + 0.11) / (FIRST + 1)), "a pause of the machine is a cost"
    for step in range(1, 200):
        cost.note(0.02, 1.0, 0.1 * step)
    assert cost.value == pytest.approx(0.02, rel=0.01)


def test_a_machine_that_became_slower_is_believed_at_once() -> None:
    cost = MeanCost()
    for step in range(100):
        cost.note(0.01, 1.0, 0.02 * step)
    for _ in range(FIRST // 2):
        cost.note(0.06, 1.0, 2.0)
    assert cost.value is not None and cost.value < 0.02, "a pause or two are no other machine"
    cost.note(0.06, 1.0, 2.0)
    assert cost.value == pytest.approx(0.06)
    for _ in range(FIRST):
        cost.note(0.01, 1.0, 2.1)
    assert cost.value > 0.03, "that it became faster shows in time"


def test_a_packet_is_all_that_it_leads_to() -> None:
    meter = WorkMeter()
    assert meter.packet is None and meter.making == 0.0
    for _ in range(8):
        meter.note(OUT, PACKET, 0.010, 1.0)
    assert meter.making == pytest.approx(0.010)
    assert meter.packet == pytest.approx((1 + GUESS) * 0.010 * (PACKET + SENDING) / PACKET)
    for kind, seconds in ((COVER_CAME, 0.004), (ACK_CAME, 0.002), (ANSWER_CAME, 0.001)):
        for _ in range(8):
            meter.note(kind, 1, seconds, 1.0)
    assert meter.packet == pytest.approx(0.010 * (PACKET + SENDING) / PACKET + 0.007)


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
