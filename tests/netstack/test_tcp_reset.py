"""Segments that do not belong: RFC 5961 validation, challenge ACKs, RSTs to strangers, segments in odd states."""

from __future__ import annotations

import pytest

from smolmix_web.errors import ConnectionReset
from smolmix_web.netstack import State, TcpConnection
from tests.netsim.raw import ACK, FIN, PSH, RST, SYN, Raw


def opened(**tcp: object) -> tuple[Raw, TcpConnection]:
    raw = Raw(**tcp)
    return raw, raw.connect()


def test_only_the_exact_next_number_resets() -> None:
    raw, c = opened()
    (challenge,) = raw.inject(RST, 2)
    assert challenge.flags == ACK and challenge.ack == 1
    assert raw.inject(RST, 2) == []  # limited
    assert raw.inject(RST, 70_000) == []  # outside the window
    assert raw.inject(RST, -1) == []
    assert c.state is State.ESTABLISHED
    raw.inject(RST, 1)
    assert c.state is State.CLOSED and isinstance(c.error, ConnectionReset)
    assert c.error.code == "connection_reset"
    assert raw.stack.next_deadline() is None


def test_challenge_acks_come_back_after_their_interval() -> None:
    raw, _ = opened(challenge_ack_interval=0.5)
    assert len(raw.inject(RST, 2)) == 1
    raw.now += 0.4
    assert raw.inject(SYN, 5000) == []
    raw.now += 0.2
    (challenge,) = raw.inject(SYN, 5000)
    assert challenge.flags == ACK
    assert raw.stack.statistics.dropped["tcp_challenge_limited"] == 1


@pytest.mark.parametrize("flags", [SYN, SYN | ACK, SYN | FIN | ACK])
def test_a_syn_never_ends_a_connection(flags: int) -> None:
    for seq in (0, 1, 30_000, 100_000):
        raw, c = opened()
        answers = raw.inject(flags, seq, 1)
        assert [answer.flags for answer in answers] == [ACK]
        assert c.state is State.ESTABLISHED


def test_acks_of_nothing_sent_are_challenged_and_change_nothing() -> None:
    raw, c = opened()
    (challenge,) = raw.inject(ACK, 1, 5, payload=b"injected")
    assert challenge.flags == ACK and challenge.ack == 1
    assert c.receive_available == 0
    raw.now += 1
    raw.inject(ACK, 1, -200_000, payload=b"injected")
    assert c.receive_available == 0


def test_segments_without_ack_are_dropped() -> None:
    raw, c = opened()
    assert raw.inject(0, 1, payload=b"x") == []
    assert raw.inject(FIN, 1) == []
    assert raw.inject(PSH, 1, payload=b"x") == []
    assert raw.stack.statistics.dropped["tcp_no_ack"] == 3
    assert c.state is State.ESTABLISHED


def test_data_outside_the_window_is_refused() -> None:
    raw, c = opened()
    (answer,) = raw.inject(ACK, 1 + 65_536, 1, payload=b"x" * 10)
    assert answer.ack == 1 and not answer.sack
    assert c.receiver.buffered == 0


def test_a_latecomer_ack_is_used_and_not_answered() -> None:
    raw, c = opened()
    c.send(bytes(2000), raw.now)
    raw.take()
    raw.inject(ACK, 1, 1, payload=bytes(100))
    c.receive(1000, raw.now)
    raw.advance(0.1)
    assert raw.inject(ACK, 40, 1381) == []
    assert c.sender.snd_una - c.iss == 1381


def test_the_byte_before_the_window_is_answered() -> None:
    raw, _ = opened()
    (ack,) = raw.inject(ACK, 0, 1)
    assert ack.ack == 1
    (ack,) = raw.inject(ACK, 0, 1, payload=b"\0")  # the keep-alive with a garbage byte
    assert ack.ack == 1


def test_old_data_is_acknowledged_again_with_a_dsack() -> None:
    raw, c = opened()
    raw.inject(ACK, 1, 1, payload=b"0123456789")
    raw.advance(0.1)
    (ack,) = raw.inject(ACK, 1, 1, payload=b"0123456789")
    assert ack.ack == 11 and ack.sack == ((1, 11),)
    assert c.receive(100, raw.now) == b"0123456789"


@pytest.mark.parametrize("flags", [ACK, FIN | ACK, SYN | ACK, PSH | ACK, FIN, PSH, 0])
def test_strangers_get_a_reset(flags: int) -> None:
    raw = Raw()
    raw.local = raw.local._replace(port=4444)
    (reset,) = raw.inject(flags, 10, 77, payload=b"abc")
    assert reset.flags & RST
    if flags & ACK:
        assert reset.flags == RST and reset.seq == 77
    else:
        assert reset.flags == RST | ACK and reset.ack == 10 + 3 + (flags & FIN)


def test_a_reset_is_never_answered() -> None:
    raw = Raw()
    raw.local = raw.local._replace(port=4444)
    assert raw.inject(RST, 10) == [] and raw.inject(RST | ACK, 10, 20) == []
    assert raw.inject(RST | SYN, 10) == []


def test_resets_are_limited_in_rate() -> None:
    raw = Raw()
    raw.local = raw.local._replace(port=4444)
    answers = sum(len(raw.inject(ACK, n, n)) for n in range(1000))
    assert answers == 200
    assert raw.stack.statistics.dropped["reset_rate"] == 800


def test_a_bad_ack_in_syn_received_is_reset_and_the_good_one_still_counts() -> None:
    raw = Raw()
    listener = raw.stack.tcp_listen(80)
    raw.local = raw.local._replace(port=80)
    raw.inject(SYN, 0)
    (reset,) = raw.inject(ACK, 1, 9)
    assert reset.flags == RST and reset.seq == 9
    raw.inject(ACK, 1, 1)
    assert listener.accept() is not None


def test_a_reset_in_syn_received_frees_the_backlog() -> None:
    raw = Raw()
    listener = raw.stack.tcp_listen(80, backlog=1)
    raw.local = raw.local._replace(port=80)
    raw.inject(SYN, 0)
    assert listener.full
    raw.inject(RST, 1)
    assert not listener.full and listener.accept() is None
    assert raw.stack.next_deadline() is None


def test_two_stacks_never_loop_over_a_broken_connection() -> None:
    """Each answers the other's nonsense at a limited rate only."""
    raw, c = opened()
    for step in range(200):
        raw.now += 0.001
        raw.inject(ACK, 900_000 + step, 1)
        raw.inject(ACK, 1, 900_000 + step)
    assert raw.stack.statistics.packets_out < 6
    assert c.state is State.ESTABLISHED


def test_urgent_is_ignored() -> None:
    raw, c = opened()
    raw.inject(ACK | 0x20, 1, 1, payload=b"urgent")
    assert c.receive(100, raw.now) == b"urgent"
