"""When an exit is asked, and when it counts as dead: in virtual time, poll by poll."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import pytest

from smolmix_web.exit.liveness import PATIENCE, Liveness, Verdict
from smolmix_web.exit.uplink import asks
from smolmix_web.netstack import Endpoint, Stack, StackConfig
from smolmix_web.rand import SeededRandom

P, C, D = Verdict.PROBE, Verdict.CHECK, Verdict.DEAD


def fresh(now: float = 100.0) -> Liveness:
    return Liveness(SeededRandom("liveness"), now)


def play(liveness: Liveness, until: float, back: Callable[[float], float | None]) -> list[tuple[float, Verdict]]:
    """Poll from deadline to deadline. `back(now)`: what is known by then to have come back."""
    told, now = [], 0.0
    while (due := liveness.next_deadline()) is not None and due <= until:
        now = max(now, due)
        left = back(now)
        if left is not None:
            liveness.path_proven(left, now)
        verdict = liveness.poll(now)
        if verdict is not Verdict.NOTHING:
            told.append((now, verdict))
        if verdict is P:
            liveness.data_sent(now)
        if verdict is D:
            break
    return told


def test_keep_alive_after_silence_by_no_fixed_period() -> None:
    gaps = []
    for seed in range(40):
        liveness = Liveness(SeededRandom(seed), 100.0)
        liveness.data_sent(110.0)
        liveness.alive()
        due = liveness.next_deadline()
        assert due is not None and liveness.poll(due - 0.01) is Verdict.NOTHING and liveness.poll(due) is P
        gaps.append(due - 110.0)
        assert liveness.answer_by == liveness.next_deadline() == due + 4.0
        liveness.data_sent(due)
        liveness.alive()
        after = liveness.next_deadline()
        assert after is not None and 20.0 <= after - due <= 30.0
    assert min(gaps) < 22.0 and max(gaps) > 28.0 and all(20.0 <= gap <= 30.0 for gap in gaps)


def test_data_without_any_answer_raises_suspicion_then_death() -> None:
    liveness = fresh()
    liveness.data_sent(101.0)
    liveness.data_sent(108.0)
    assert liveness.next_deadline() == 109.0, "counted from the first unanswered data"
    told = play(liveness, 500.0, lambda now: now - 0.5)
    assert told == [(109.0, P), (113.0, P), (117.0, P), (119.0, C), (121.0, D)], "20 s, as long as nothing is late"


def test_what_wants_no_answer_raises_no_suspicion() -> None:
    liveness = fresh()
    liveness.data_sent(101.0, asks=False)
    due = liveness.next_deadline()
    assert due is not None and due >= 121.0


@pytest.mark.parametrize("late", [3.0, 10.0, 25.0, 50.0])
def test_the_verdict_waits_for_what_left_after_the_last_probe(late: float) -> None:
    """What came back says that everything which reached the gateway before it has been handled: and no answer was in
    it."""
    liveness = fresh()
    liveness.data_sent(101.0)
    told = play(liveness, 500.0, lambda now: now - late)
    assert [one for one in told if one[1] is P] == [(109.0, P), (113.0, P), (117.0, P)]
    when, verdict = told[-1]
    assert verdict is D and 119.0 + late <= when <= 119.0 + late + 2.0


def test_an_answer_that_is_late_but_comes_before_the_proof_saves_the_exit() -> None:
    liveness = fresh()
    liveness.data_sent(101.0)
    play(liveness, 140.0, lambda now: now - 30.0)
    liveness.alive()
    assert liveness.attempt == 0
    due = liveness.next_deadline()
    assert due is not None and due > 137.0


def test_without_any_proof_patience_ends() -> None:
    liveness = fresh()
    liveness.data_sent(101.0)
    told = play(liveness, 500.0, lambda now: None)
    assert told[-1] == (121.0 + PATIENCE, D)
    assert sum(verdict is C for _, verdict in told) < 40


def test_old_proof_is_none() -> None:
    """An ack of what left before the last probe says nothing of the time after."""
    liveness = fresh()
    liveness.data_sent(101.0)
    assert play(liveness, 170.0, lambda now: 118.9)[-1][1] is C


def test_a_proof_that_comes_late_is_acted_on_at_once() -> None:
    liveness = fresh()
    liveness.data_sent(101.0)
    play(liveness, 140.0, lambda now: None)
    liveness.path_proven(130.0, 140.3)
    assert liveness.next_deadline() == 140.3 and liveness.poll(140.3) is D


def test_sleep_is_not_death() -> None:
    liveness = fresh()
    liveness.data_sent(101.0)
    play(liveness, 118.0, lambda now: now)
    liveness.path_proven(10_000.0, 118.0)
    assert liveness.poll(1000.0) is P, "the timer was late by minutes: ask again first"
    assert liveness.attempt == 1
    assert [verdict for _, verdict in play(liveness, 2000.0, lambda now: now)] == [P, P, C, D]


def test_no_verdict_while_paused() -> None:
    liveness = fresh()
    liveness.poll(125.0)
    liveness.pause()
    assert liveness.next_deadline() is None
    assert liveness.poll(500.0) is Verdict.NOTHING
    liveness.doubt(500.0)
    assert liveness.poll(500.0) is P


# -- which packets ask ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remote", ["203.0.114.10", "2a0e:6a80:114::a"])
def test_which_packets_of_the_stack_want_an_answer(remote: str) -> None:
    rng = SeededRandom("asks")
    client = Stack([ip_address("10.0.0.9"), ip_address("fc00::9")], 1420, rng, config=StackConfig())
    server = Stack([ip_address(remote)], 1420, rng, config=StackConfig())
    server.on_syn = lambda request, now: request.accept(now)
    flow = client.tcp_connect(Endpoint(ip_address(remote), 80), 1.0)

    def hand_over(now: float) -> list[bool]:
        sent = client.poll(now, 100)
        for packet in sent:
            server.receive(packet, now)
        for packet in server.poll(now, 100):
            client.receive(packet, now)
        return [asks(packet) for packet in sent]

    assert hand_over(1.0) == [True], "SYN"
    assert hand_over(1.1) == [False], "the ACK of a handshake"
    flow.send(b"GET", 1.2)
    assert hand_over(1.2) == [True]
    flow.close(1.3)
    assert True in hand_over(1.3), "FIN"
    client.ping(ip_address(remote), 1.4)
    assert hand_over(1.4)[-1] is True
    aborted = client.tcp_connect(Endpoint(ip_address(remote), 81), 2.0)
    hand_over(2.0)
    aborted.abort(2.1)
    assert True not in hand_over(2.1), "RST"


def test_no_packet_is_too_short_to_judge() -> None:
    for packet in (b"", b"\x45", b"\x60" + bytes(39), b"x" * 40):
        assert isinstance(asks(packet), bool)
