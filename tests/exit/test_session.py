"""The client's session against an exit played by the test: every wait, every answer, every bad message."""

from __future__ import annotations

import dataclasses
import itertools
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import StateError, UsageError
from smolmix_web.exit import (
    ExitConnected,
    ExitDenied,
    ExitDisconnected,
    ExitNotice,
    ExitSession,
    Health,
    OutgoingMessage,
    PolicyDenied,
    Pong,
    RequestFailed,
    State,
)
from smolmix_web.exit import messages as m
from smolmix_web.exit.bincode import EPOCH, Timestamp
from smolmix_web.exit.bundles import join, split
from smolmix_web.exit.session import MAX_PONGS
from smolmix_web.mixnet.fragments import packets_needed
from smolmix_web.mixnet.lp_frame import DATA, OPEN, OPEN_ACK, PING, PONG, LpFrame
from smolmix_web.mixnet.messages import REPLIABLE_OVERHEAD, surb_length
from smolmix_web.netstack import Echo, Endpoint, icmp, ip
from smolmix_web.netstack.tcp.segment import ACK, SegmentBuilder
from smolmix_web.rand import SeededRandom

IPV4, IPV6 = IPv4Address("10.0.171.205"), IPv6Address("fc00::abcd")
BUILD = m.BuildInfo(*"abcdefghij")


class Script:
    """A session and the exit's side of it, message by message."""

    def __init__(self, **arguments: Any) -> None:
        self.session = ExitSession(SeededRandom("script"), **arguments)
        self.now = 1000.0
        self.stream = 0
        self.version = 0
        self.sequence = 0

    def start(self, unix_time: float | None = None) -> list[tuple[OutgoingMessage, LpFrame, m.Request | None]]:
        self.session.start(self.now, unix_time)
        return self.sent()

    def sent(self) -> list[tuple[OutgoingMessage, LpFrame, m.Request | None]]:
        """What the session sends now, decoded."""
        out = []
        for message in self.session.poll(self.now):
            frame = LpFrame.from_bytes(message.data)
            request = None
            if frame.payload:
                version, request = m.decode_request(frame.payload)
                if isinstance(request, m.ConnectRequest):
                    self.version, self.stream, self.sequence = version, frame.stream_id, 0
            out.append((message, frame, request))
        return out

    def reply(self, response: m.Response, *, version: int | None = None, sequence: int | None = None) -> None:
        if sequence is None:
            sequence = 0
            if isinstance(response, m.DataResponse):
                self.sequence += 1
                sequence = self.sequence
        payload = m.encode_response(version or self.version, response)
        self.session.receive(LpFrame(self.stream, DATA, sequence, payload).to_bytes(), self.now)

    def success(self, request_id: int, mtu: int = 1420) -> None:
        self.reply(m.ConnectSuccess(request_id, IPV4, IPV6, mtu if self.version == 10 else None))

    def connect(self) -> None:
        request = self.start()[1][2]
        assert isinstance(request, m.ConnectRequest)
        self.now += 1
        self.success(request.request_id)
        assert [type(event) for event in self.events()] == [ExitConnected]
        self.sent()

    def events(self) -> list[Any]:
        return self.session.take_events()

    def run(self, seconds: float) -> list[tuple[OutgoingMessage, LpFrame, m.Request | None]]:
        """Let time pass, from deadline to deadline."""
        out, end = [], self.now + seconds
        for _ in range(10_000):
            due = self.session.next_deadline()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            out += self.sent()
        else:
            raise AssertionError("the session never rests")
        self.now = end
        return out


@pytest.fixture
def script() -> Script:
    script = Script()
    script.connect()
    return script


# -- connecting -------------------------------------------------------------------------------------------------------


def test_open_and_connect_leave_together() -> None:
    script = Script()
    assert script.session.next_deadline() is None
    (opened, open_frame, nothing), (connect, frame, request) = script.start()
    assert (open_frame.message_type, open_frame.sequence, open_frame.payload, nothing) == (OPEN, 0, b"", None)
    assert (frame.message_type, frame.sequence, frame.stream_id) == (DATA, 0, open_frame.stream_id)
    assert isinstance(request, m.ConnectRequest)
    assert (request.buffer_timeout, request.timestamp) == (None, EPOCH)
    assert script.version == 10
    for message in (opened, connect):
        assert (message.lane, message.max_retransmissions, message.surbs) == ("control", None, 10)
        assert message.deadline == script.now + 15
    script.success(request.request_id, 1380)
    assert script.events() == [ExitConnected(IPV4, IPV6, 1380, 10)]
    assert script.session.connection == ExitConnected(IPV4, IPV6, 1380, 10)
    assert script.session.state is State.CONNECTED


def test_requests_carry_the_second_and_drawn_milliseconds_or_nothing() -> None:
    request = Script(buffer_timeout=50).start(1778934896.789)[1][2]
    assert isinstance(request, m.ConnectRequest)
    drawn = request.timestamp.nanosecond
    assert request.timestamp == Timestamp(2026, 136, 12, 34, 56, drawn)
    assert drawn != 789_000_000 and drawn % 1_000_000 == 0
    assert request.buffer_timeout == 50


def test_version_10_falls_back_to_9_after_its_share() -> None:
    script = Script()
    first = script.start()
    assert script.run(14.9) == []
    second = script.run(0.2)
    assert [frame.message_type for _, frame, _ in second] == [OPEN, DATA]
    assert script.version == 9
    assert second[1][1].stream_id == second[0][1].stream_id != first[1][1].stream_id
    request = second[1][2]
    assert isinstance(request, m.ConnectRequest)
    script.success(request.request_id)
    assert script.events() == [ExitConnected(IPV4, IPV6, 1420, 9)]


def test_a_late_answer_to_version_10_is_not_taken_for_version_9() -> None:
    script = Script()
    first = script.start()[1]
    assert isinstance(first[2], m.ConnectRequest)
    script.run(16)
    late = m.encode_response(10, m.ConnectSuccess(first[2].request_id, IPV4, IPV6, 1420))
    script.session.receive(LpFrame(first[1].stream_id, DATA, 0, late).to_bytes(), script.now)
    assert script.session.state is State.CONNECTING
    assert script.session.statistics.foreign == 1


def test_no_answer_ends_at_the_overall_deadline() -> None:
    script = Script(connect_timeout=20.0)
    script.start()
    script.run(19.9)
    assert script.events() == []
    script.run(0.2)
    (event,) = script.events()
    assert isinstance(event, ExitDenied)
    assert (event.reason, event.error.code, event.error.phase) == ("exit_timeout", "exit_timeout", "exit")
    assert "10, 9" in event.error.message
    assert script.session.state is State.FAILED
    assert script.session.next_deadline() is None


def test_one_version_has_all_the_time() -> None:
    script = Script(versions=(9,), connect_timeout=20.0)
    script.start()
    assert script.run(19.9) == []
    assert script.version == 9


@pytest.mark.parametrize(
    ("reason", "text", "words"),
    [
        (m.ConnectReason.NO_AVAILABLE_IP, "", "no_available_ip"),
        (m.ConnectReason.CLIENT_ALREADY_CONNECTED, "", "client_already_connected"),
        (m.ConnectReason.OTHER, "busy", "other: busy"),
    ],
)
def test_refusal(reason: m.ConnectReason, text: str, words: str) -> None:
    script = Script()
    request = script.start()[1][2]
    assert isinstance(request, m.ConnectRequest)
    script.reply(m.ConnectFailure(request.request_id, reason, text))
    (event,) = script.events()
    assert isinstance(event, ExitDenied)
    assert event.reason == "exit_refused"
    assert words in event.error.message
    assert script.session.state is State.FAILED
    assert script.session.error is event.error


def test_version_mismatch_moves_on_at_once_and_then_fails() -> None:
    script = Script()
    script.start()
    script.reply(m.InfoResponse(0, m.VersionMismatch(10, 9), m.InfoLevel.ERROR), version=9)
    assert [frame.message_type for _, frame, _ in script.sent()] == [OPEN, DATA]
    assert script.version == 9
    script.reply(m.InfoResponse(0, m.VersionMismatch(9, 8), m.InfoLevel.ERROR), version=8)
    (event,) = script.events()
    assert isinstance(event, ExitDenied)
    assert event.reason == "exit_version"


def test_foreign_answers_do_not_connect() -> None:
    script = Script()
    request = script.start()[1][2]
    assert isinstance(request, m.ConnectRequest)
    script.success(request.request_id ^ 1)
    script.reply(m.ConnectSuccess(request.request_id, IPV4, IPV6), version=9)
    script.stream ^= 1
    script.success(request.request_id)
    script.stream ^= 1
    assert script.session.state is State.CONNECTING
    assert (script.session.statistics.unexpected, script.session.statistics.foreign) == (1, 2)


@pytest.mark.parametrize(("announced", "used"), [(9000, 1500), (576, 576), (575, 1420), (0, 1420)])
def test_the_mtu_is_kept_sane(announced: int, used: int) -> None:
    script = Script()
    request = script.start()[1][2]
    assert isinstance(request, m.ConnectRequest)
    script.success(request.request_id, announced)
    assert script.events() == [ExitConnected(IPV4, IPV6, used, 10)]


def test_bad_arguments_are_refused() -> None:
    for arguments in ({"versions": ()}, {"versions": (8,)}, {"buffer_timeout": 0}, {"reorder_window": 33}):
        with pytest.raises(UsageError):
            ExitSession(SeededRandom(1), **arguments)


def test_a_session_starts_once(script: Script) -> None:
    with pytest.raises(StateError):
        script.session.start(script.now)


# -- data -------------------------------------------------------------------------------------------------------------


def test_packets_leave_bundled_with_free_surbs(script: Script) -> None:
    assert script.session.send_packets([b"a" * 40, b"b" * 60], script.now) == 2
    assert script.sent() == []
    ((message, frame, request),) = script.run(0.01)
    assert isinstance(request, m.DataRequest)
    assert split(request.bundle) == ([b"a" * 40, b"b" * 60], True)
    assert (message.lane, message.max_retransmissions, message.surbs) == ("data", 1, 2)
    assert (frame.message_type, frame.stream_id, frame.sequence) == (DATA, script.stream, 1)


@pytest.mark.parametrize(("size", "surbs"), [(1420, 0), (640, 0), (630, 2), (40, 2)])
def test_small_messages_bring_surbs_that_cost_no_packet(script: Script, size: int, surbs: int) -> None:
    script.session.send_packets([b"x" * size], script.now)
    ((message, *_),) = script.run(0.01)
    assert (message.surbs, message.is_small) == (surbs, surbs > 0)
    assert packets_needed(REPLIABLE_OVERHEAD + message.surbs * surb_length() + len(message.data)) == 1


def test_the_owner_may_ask_for_more_surbs_on_small_messages() -> None:
    script = Script(data_surbs=10)
    script.connect()
    script.session.send_packets([b"x" * 40], script.now)
    assert script.run(0.01)[0][0].surbs == 10
    script.session.send_packets([b"y" * 1420], script.now)
    assert script.run(0.01)[0][0].surbs == 0


def test_downlink_packets_and_their_order(script: Script) -> None:
    script.reply(m.DataResponse(join((b"one", b"two"))))
    script.reply(m.DataResponse(join((b"four",))), sequence=3)
    script.reply(m.DataResponse(join((b"three",))), sequence=2)
    script.reply(m.DataResponse(join((b"three",))), sequence=2)
    assert script.session.take_packets() == [b"one", b"two", b"four", b"three"], "at once, whatever the order"
    assert script.session.statistics.duplicates == 1


def test_reorder_window() -> None:
    script = Script(reorder_window=32)
    script.connect()
    script.reply(m.DataResponse(join((b"two",))), sequence=2)
    assert script.session.take_packets() == []
    script.reply(m.DataResponse(join((b"one",))), sequence=1)
    assert script.session.take_packets() == [b"one", b"two"]
    script.reply(m.DataResponse(join((b"four",))), sequence=4)
    script.run(0.11)
    assert script.session.take_packets() == [b"four"], "three is lost; nothing waits for it"


def test_a_bad_bundle_costs_only_its_tail(script: Script) -> None:
    script.reply(m.DataResponse(join((b"good",)) + b"\x00\x09cut"))
    script.reply(m.DataResponse(b"\x00\x00" + join((b"more",))))
    assert script.session.take_packets() == [b"good", b"more"]
    assert script.session.statistics.malformed == 2


def test_replies_that_do_not_come_are_counted(script: Script) -> None:
    for sequence, missing in ((1, 0), (10, 8), (7, 7), (7, 7)):
        script.reply(m.DataResponse(join((b"p",))), sequence=sequence)
        assert script.session.replies_missing == missing
    script.reply(m.PongResponse(1))
    assert script.session.replies_missing == 7


def test_not_connected_takes_no_packets() -> None:
    script = Script()
    assert (script.session.send_space, script.session.send_packets([b"x"], script.now)) == (0, 0)
    script.start()
    assert (script.session.send_space, script.session.send_packets([b"x"], script.now)) == (0, 0)


def test_the_send_queue_has_a_bound() -> None:
    script = Script(max_queued=8)
    script.connect()
    assert script.session.send_packets([b"x" * 1400] * 20, script.now) == 8
    assert script.session.send_space == 0
    script.run(0.01)
    assert script.session.send_space == 8


# -- control ----------------------------------------------------------------------------------------------------------


def test_policy_denial(script: Script) -> None:
    for destination in ("1.2.3.4:25", "[2001:db8::1]:443", "2001:db8::2:0"):
        script.reply(m.InfoResponse(0, m.PolicyRefusal(destination), m.InfoLevel.WARN))
    assert script.events() == [
        PolicyDenied(IPv4Address("1.2.3.4"), 25),
        PolicyDenied(IPv6Address("2001:db8::1"), 443),
        PolicyDenied(IPv6Address("2001:db8::2"), 0),
    ]
    for destination in ("", "1.2.3.4", "1.2.3.4:", "1.2.3.4:99999", "host:1", "1.2.3.4:-1", "[1.2.3:4"):
        script.reply(m.InfoResponse(0, m.PolicyRefusal(destination), m.InfoLevel.WARN))
    assert script.events() == []
    assert script.session.statistics.malformed == 7


def test_notice(script: Script) -> None:
    script.reply(m.InfoResponse(0, m.GenericInfo("maintenance at noon"), m.InfoLevel.WARN))
    assert script.events() == [ExitNotice(m.InfoLevel.WARN, "maintenance at noon")]


def test_ping_and_health(script: Script) -> None:
    ping, health = script.session.ping(script.now), script.session.health(script.now)
    out = script.sent()
    assert [type(request) for *_, request in out] == [m.PingRequest, m.HealthRequest]
    assert all(message.surbs >= 2 for message, *_ in out)
    script.now += 2
    script.reply(m.HealthResponse(ping, BUILD, None))  # the wrong kind of answer
    script.reply(m.PongResponse(ping))
    script.reply(m.PongResponse(ping))  # nobody waits any more
    script.reply(m.HealthResponse(health, BUILD, True))
    assert script.events() == [Pong(ping, 2.0), Health(health, 2.0, BUILD, True)]
    assert script.session.statistics.unexpected == 2


def test_unanswered_requests_fail_in_time(script: Script) -> None:
    ping = script.session.ping(script.now, timeout=3.0)
    script.run(2.9)
    assert script.events() == []
    script.run(0.2)
    (event,) = script.events()
    assert isinstance(event, RequestFailed)
    assert (event.request_id, event.error.code) == (ping, "exit_timeout")


def test_requests_have_a_bound_and_a_state(script: Script) -> None:
    for _ in range(64):
        script.session.ping(script.now)
    with pytest.raises(StateError, match="64 requests wait"):
        script.session.ping(script.now)
    with pytest.raises(StateError, match="idle"):
        ExitSession(SeededRandom(1)).ping(0.0)


# -- liveness ---------------------------------------------------------------------------------------------------------


def probes(out: list[tuple[OutgoingMessage, LpFrame, m.Request | None]]) -> list[bytes]:
    """The packets of all data requests among what was sent: with an application that is silent, the probes."""
    return [
        packet for _, _, request in out if isinstance(request, m.DataRequest) for packet in split(request.bundle)[0]
    ]


def denied_probe(address: str) -> m.InfoResponse:
    return m.InfoResponse(0, m.PolicyRefusal(f"{address}:0"), m.InfoLevel.WARN)


def echo_reply(packet: bytes) -> m.DataResponse:
    """By the server that was asked."""
    echo = icmp.parse(packet[12:16], packet[16:20], packet[20:])
    assert isinstance(echo, Echo)
    body = icmp.build_echo(packet[16:20], packet[12:16], dataclasses.replace(echo, reply=True))
    return m.DataResponse(join((ip.build(packet[16:20], packet[12:16], ip.ICMP, body, 7),)))


def test_an_idle_session_keeps_itself_alive(script: Script) -> None:
    asked = 0
    for _ in range(500):
        out = script.run(1.0)
        assert len(probes(out)) <= 1
        for packet in probes(out):
            asked += 1
            assert packet[16:20] == bytes((8, 8, 8, 8)) and packet[8] == 64
            script.reply(echo_reply(packet))
        assert [message.surbs for message, *_ in out] in ([], [0]), "the pile does not grow by it"
    assert 500 / 30 <= asked <= 500 / 20
    assert script.events() == [] and script.session.take_packets() == [], "it is nobody else's business"
    assert script.session.state is State.CONNECTED


def test_traffic_that_is_answered_is_enough(script: Script) -> None:
    for _ in range(60):
        script.session.send_packets([b"x" * 40], script.now)
        assert len(probes(script.run(1.0))) == 1
        script.reply(m.DataResponse(join((b"p",))))
        assert probes(script.run(18.0)) == []
    assert script.session.statistics.probes == 0


def test_an_acknowledgement_that_ends_a_download_calls_for_no_probe(script: Script) -> None:
    builder = SegmentBuilder(Endpoint(IPV4, 40_000), Endpoint(IPv4Address("203.0.114.10"), 80), itertools.repeat(7))
    ack = builder.build(1, 1, ACK, 1000)
    script.session.send_packets([ack], script.now)
    assert probes(script.run(18.0)) == [ack]
    script.session.send_packets([builder.build(1, 1, ACK, 1000, payload=b"x")], script.now)
    assert len(probes(script.run(9.0))) == 2, "data does, when nobody answers it"


def test_refusals_of_probes_are_answers_and_are_learnt(script: Script) -> None:
    refused = []
    for _ in range(500):
        for packet in probes(script.run(1.0)):
            if packet[9] == ip.ICMP:
                refused.append(str(IPv4Address(packet[16:20])))
                script.reply(denied_probe(refused[-1]))
            else:
                script.reply(m.DataResponse(join((b"p",))))
    assert refused == ["8.8.8.8", "1.1.1.1"]
    assert script.events() == [] and script.session.state is State.CONNECTED
    script.reply(denied_probe("8.8.8.8"))
    assert script.events() == [PolicyDenied(IPv4Address("8.8.8.8"), 0)], "without a probe it is the application's"


def test_an_exit_that_ran_out_of_surbs_is_revived(script: Script) -> None:
    out = script.run(30.0 + 4.0)
    assert len(probes(out)) >= 3
    assert [message.surbs for message, *_ in out][:2] == [0, 2]


def test_a_silent_exit_is_dead_in_time(script: Script) -> None:
    script.session.send_packets([b"x" * 40], script.now)
    started = script.now
    pinged = script.session.ping(script.now, timeout=600)
    out = script.run(18.1)
    assert len(probes(out)) == 1 + 1 + 2 + 2, "the application's, and three attempts"
    assert script.session.take_check() and not script.session.take_check()
    script.session.path_proven(script.now, script.now)
    script.run(1.95)
    events = script.events()
    assert isinstance(events[0], RequestFailed)
    assert events[0].request_id == pinged
    assert isinstance(events[1], ExitDisconnected)
    assert (events[1].reason, script.session.state) == ("exit_dead", State.FAILED)
    assert script.now - started < 20.1
    assert script.session.next_deadline() is None


def test_an_exit_is_not_dead_while_our_own_packets_are_late(script: Script) -> None:
    script.session.send_packets([b"x" * 40], script.now)
    script.run(60.0)
    assert script.session.state is State.CONNECTED and script.session.take_check()
    script.reply(m.DataResponse(join((b"p",))))
    script.session.path_proven(script.now, script.now)
    script.run(1.0)
    assert script.session.state is State.CONNECTED


def test_any_data_of_the_exit_proves_life(script: Script) -> None:
    for _ in range(30):
        script.session.send_packets([b"x" * 40], script.now)
        assert len(probes(script.run(5.0))) == 1
        script.reply(m.DataResponse(join((b"p",))))
    assert script.session.statistics.probes == 0


def test_no_judgement_while_the_link_is_down(script: Script) -> None:
    script.session.link_down(script.now)
    assert probes(script.run(300.0)) == []
    assert script.session.state is State.CONNECTED


# -- the end ----------------------------------------------------------------------------------------------------------


def test_graceful_disconnect(script: Script) -> None:
    script.session.send_packets([b"last" * 10], script.now)
    script.session.disconnect(script.now)
    out = script.sent()
    requests = [request for *_, request in out]
    assert [type(request) for request in requests] == [m.DisconnectRequest, m.DataRequest]
    assert isinstance(requests[0], m.DisconnectRequest)
    script.reply(m.DisconnectSuccess(requests[0].request_id))
    assert script.events() == [ExitDisconnected("requested")]
    assert script.session.state is State.CLOSED
    assert script.session.next_deadline() is None
    script.session.disconnect(script.now)
    assert script.events() == []


def test_disconnect_does_not_wait_for_ever(script: Script) -> None:
    script.session.disconnect(script.now)
    script.run(4.9)
    assert script.events() == []
    script.run(0.2)
    assert script.events() == [ExitDisconnected("requested")]


def test_disconnect_before_and_while_connecting() -> None:
    script = Script()
    script.session.disconnect(script.now)
    assert script.events() == [ExitDisconnected("requested")]
    script = Script()
    script.start()
    script.session.disconnect(script.now)
    assert [type(request) for *_, request in script.sent()] == [m.DisconnectRequest]
    script.run(5.1)
    assert script.session.state is State.CLOSED


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (m.UnrequestedDisconnect(m.UnrequestedReason.MIXNET_TRAFFIC_TIMEOUT), "mixnet_traffic_timeout"),
        (m.UnrequestedDisconnect(m.UnrequestedReason.OTHER, "bye"), "other: bye"),
        (m.DisconnectSuccess(77), "disconnected"),
    ],
)
def test_the_exit_ends_it(script: Script, response: m.Response, words: str) -> None:
    script.reply(response)
    (event,) = script.events()
    assert isinstance(event, ExitDisconnected)
    assert event.reason == "exit_disconnected"
    assert event.error is not None
    assert words in event.error.message
    assert script.session.state is State.FAILED
    assert script.session.send_packets([b"x"], script.now) == 0


# -- bad input --------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=60), max_size=8), st.booleans())
def test_garbage_never_raises(items: list[bytes], connected: bool) -> None:
    script = Script()
    if connected:
        script.connect()
    else:
        script.start()
    state = script.session.state
    header = LpFrame(script.stream, DATA, 0).to_bytes()
    for item in items:
        for message in (item, header + item, header + bytes((script.version,)) + item):
            script.session.receive(message, script.now)
            script.sent()
    statistics = script.session.statistics
    assert script.session.state in (state, State.FAILED)
    if script.session.state is state:
        used = statistics.packets_received + len(script.events())
        assert statistics.malformed + statistics.foreign + statistics.unexpected + used >= len(items)


@given(st.data())
def test_damaged_answers_never_raise(data: st.DataObject) -> None:
    script = Script()
    script.connect()
    response = data.draw(
        st.sampled_from(
            [
                m.DataResponse(join((b"p" * 40, b"q" * 30))),
                m.ConnectSuccess(5, IPV4, IPV6, 1420),
                m.InfoResponse(0, m.PolicyRefusal("1.2.3.4:25"), m.InfoLevel.WARN),
                m.HealthResponse(5, BUILD, True),
            ]
        )
    )
    frame = bytearray(LpFrame(script.stream, DATA, 1, m.encode_response(10, response)).to_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    script.session.receive(bytes(frame[: data.draw(st.integers(0, len(frame)))]), script.now)
    script.sent()
    script.session.take_packets()
    script.events()


def test_messages_outside_a_session_are_counted() -> None:
    session = ExitSession(SeededRandom(1))
    session.receive(b"anything", 0.0)
    assert session.statistics.unexpected == 1


def test_signs_of_life_of_an_exit_of_the_coming_release(script: Script) -> None:
    """OpenAck, Ping and Pong take no number of the data; a Ping is answered at once with its nonce."""
    session = script.session

    def sign(kind: int, sequence: int = 0) -> None:
        session.receive(LpFrame(script.stream, kind, sequence).to_bytes(), script.now)

    sign(PING, 0xDEADBEEF)
    ((_, frame, _),) = script.sent()
    assert (frame.stream_id, frame.message_type, frame.sequence) == (script.stream, PONG, 0xDEADBEEF)
    for _ in range(500):
        sign(PING, 1)
    assert len(script.sent()) == MAX_PONGS
    # Any of them is a sign of life: an exit that answers no question otherwise is not given up.
    for number in range(100):
        script.now += 5.0
        sign((OPEN_ACK, PONG)[number % 2])
        script.sent()
        assert session.state is State.CONNECTED
    session.receive(LpFrame(script.stream ^ 1, PING, 7).to_bytes(), script.now)
    assert not any(frame.message_type == PONG for _, frame, _ in script.sent()) and session.statistics.malformed == 0
    script.reply(m.DataResponse(join((b"p",))))
    assert session.take_packets() == [b"p"]


def test_a_flood_of_events_is_bounded(script: Script) -> None:
    for _ in range(2000):
        script.reply(m.InfoResponse(0, m.GenericInfo("flood"), m.InfoLevel.INFO))
    script.reply(m.UnrequestedDisconnect(m.UnrequestedReason.OTHER, "bye"))
    events = script.events()
    assert len(events) == 1025
    assert isinstance(events[-1], ExitDisconnected)
    assert script.session.statistics.overflowed == 976


def test_a_flood_of_packets_is_bounded(script: Script) -> None:
    for _ in range(50):
        script.reply(m.DataResponse(join((b"p",) * 100)))
    assert len(script.session.take_packets()) == 4096
