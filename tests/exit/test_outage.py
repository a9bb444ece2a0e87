"""What a session concludes after its owner had no gateway for a while, and what a rotation does to an attempt."""

from __future__ import annotations

import pytest

from smolmix_web.exit import ExitConnected, ExitDisconnected, State
from smolmix_web.exit import messages as m
from smolmix_web.exit.bundles import join, split
from smolmix_web.exit.memory import ExitMemory
from tests.exit.test_session import Script, probes


@pytest.fixture
def script() -> Script:
    script = Script()
    script.connect()
    return script


def echo_reply(packet: bytes) -> bytes:
    """The answer of the server that a probe asks."""
    data = packet[28:]
    body = b"\0\0" + packet[24:28] + data
    total = sum(int.from_bytes(body[at : at + 2], "big") for at in range(0, len(body), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    header = packet[:10] + b"\0\0" + packet[16:20] + packet[12:16]
    check = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, 20, 2))
    while check >> 16:
        check = (check & 0xFFFF) + (check >> 16)
    header = header[:10] + (check ^ 0xFFFF).to_bytes(2, "big") + header[12:]
    return header + b"\0\0" + (total ^ 0xFFFF).to_bytes(2, "big") + packet[24:28] + data


def test_an_exit_proves_itself_after_an_outage(script: Script) -> None:
    assert script.session.proven
    script.session.link_down(script.now)
    script.run(20.0)
    script.session.link_up(script.now)
    assert not script.session.proven
    out = script.sent()
    asked = probes(out)
    assert len(asked) == 2, "a server, and the first hop at once"
    assert [message.surbs for message, *_ in out] == [2], "the exit may have spent all it had"
    script.now += 0.3
    script.reply(m.DataResponse(join((echo_reply(asked[0]),))))
    assert script.session.proven and script.events() == []


def test_what_was_under_way_before_proves_nothing(script: Script) -> None:
    script.session.send_packets([b"x" * 40], script.now)
    script.run(9.0)  # a probe is out
    script.session.link_down(script.now)
    script.run(20.0)
    script.session.link_up(script.now)
    script.sent()
    script.reply(m.DataResponse(join((b"\x45" + bytes(40),))))
    assert not script.session.proven
    # Much later it cannot have been under way.
    script.now += 1.5
    script.reply(m.DataResponse(join((b"\x45" + bytes(40),))))
    assert script.session.proven


def test_a_registration_that_is_certainly_forgotten_ends_at_once(script: Script) -> None:
    script.session.send_packets([b"x" * 40], script.now)
    script.run(1.0)
    script.session.link_down(script.now)
    script.run(59.5)
    script.session.link_up(script.now)
    events = script.events()
    assert [type(event) for event in events] == [ExitDisconnected] and events[0].reason == "exit_dead"
    assert script.session.state is State.FAILED and not script.session.proven


def test_where_only_the_last_packets_are_in_doubt_patience_is_short(script: Script) -> None:
    """They left, and no ack says that they arrived."""
    script.session.path_proven(script.now, script.now)
    for _ in range(4):
        script.session.send_packets([b"x" * 40], script.now)
        script.run(5.0)
    script.events()
    script.session.link_down(script.now)
    script.run(45.0)
    script.session.link_up(script.now, 0.8)
    assert len(script.sent()) == 2, "two routes"
    script.run(0.7)
    assert script.session.state is State.CONNECTED
    script.run(0.2)
    assert script.session.state is State.FAILED


def test_where_acks_came_patience_is_long(script: Script) -> None:
    script.session.send_packets([b"x" * 40], script.now)
    script.run(1.0)
    script.session.path_proven(script.now, script.now)
    script.session.link_down(script.now)
    script.run(50.0)
    script.session.link_up(script.now, 0.8)
    script.run(10.0)
    assert script.session.state is State.CONNECTED and not script.session.proven


def test_time_that_the_clock_did_not_count(script: Script) -> None:
    script.session.slept(75.0)
    script.session.link_up(script.now)
    assert script.session.state is State.FAILED


def test_a_silent_exit_is_not_proven_while_it_is_asked_again(script: Script) -> None:
    script.session.send_packets([b"x" * 40], script.now)
    script.run(8.5)
    assert script.session.proven
    script.run(4.5)
    assert script.session.proven, "it may be our own path that is slow"
    script.session.path_proven(script.now, script.now)
    assert not script.session.proven and script.session.state is State.CONNECTED
    script.reply(m.DataResponse(join((b"\x45" + bytes(40),))))
    assert script.session.proven


def test_another_rotation_begins_the_attempt_anew() -> None:
    script = Script()
    first = script.start()[1][2]
    assert isinstance(first, m.ConnectRequest)
    stream, version, attempts = script.stream, script.version, script.session.attempts
    script.now += 3
    script.session.rotated(script.now)
    opened, connect = script.sent()
    assert script.stream != stream and script.version == version and script.session.attempts == attempts + 1
    assert opened[0].surbs == connect[0].surbs == 10, "fresh SURBs"
    second = connect[2]
    assert isinstance(second, m.ConnectRequest)
    fresh, script.stream = script.stream, stream
    script.success(first.request_id)
    assert script.events() == [], "an answer to the old attempt is none"
    script.stream = fresh
    script.success(second.request_id)
    assert [type(event) for event in script.events()] == [ExitConnected]
    script.session.rotated(script.now)
    assert script.session.state is State.CONNECTED and split(b"") == ([], True)


def test_memory_has_two_bounds() -> None:
    memory = ExitMemory(100.0)
    memory.data_sent(110.0)
    memory.data_sent(120.0)
    assert memory.may_be_gone(160.0) and not memory.is_gone(160.0)
    memory.path_proven(115.0)
    assert memory.may_be_gone(170.0) and not memory.may_be_gone(169.0)
    memory.path_proven(121.0)
    assert not memory.may_be_gone(179.0) and not memory.is_gone(179.0)
    assert memory.is_gone(180.0) and memory.silence(180.0) == 60.0
    memory.slept(10.0)
    assert memory.is_gone(170.0)


def test_segments_that_want_no_answer_do_not_hide_that_there_is_none(script: Script) -> None:
    """TCP's keep-alive goes on every ten seconds, and the exit has restarted."""
    keep_alive = bytes.fromhex("4500002800000000400600000a000009cb00720a") + bytes(12) + b"\x50\x10" + bytes(6)
    for _ in range(7):
        script.session.send_packets([keep_alive], script.now)
        script.run(10.0)
    script.session.path_proven(script.now, script.now)
    assert script.session.state is State.CONNECTED and not script.session.proven
