"""The client's gateway session against a scripted gateway made of the server pieces, in virtual time."""

from __future__ import annotations

import json

import pytest

from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import StateError
from smolmix_web.mixnet.gateway import control, frames
from smolmix_web.mixnet.gateway.session import GatewayConfig, GatewaySession, GatewayState
from smolmix_web.mixnet.keys import IdentityKeys
from smolmix_web.mixnet.mix_packet import MixPacket
from smolmix_web.rand import SeededRandom
from tests.mixnet.scripted_gateway import GRANT, TICKETS_ONLY, UNIX, ScriptedGateway

PACKET = MixPacket(0, 1, bytes.fromhex("0406fd7f000001"), bytes(2413))


class Line:
    """A session and a gateway with nothing in between; `now` moves only when told."""

    def __init__(self, crypto: Crypto, gateway: ScriptedGateway, key: bytes | None = None, **options: object) -> None:
        self.now = 100.0
        self.gateway = gateway
        self.identity = IdentityKeys.from_seed(crypto, bytes([9]) * 32)
        self.session = GatewaySession(
            crypto,
            SeededRandom("client"),
            self.identity,
            gateway.identity.public,
            key,
            **options,  # type: ignore[arg-type]
        )

    @property
    def unix(self) -> float:
        return UNIX + self.now - 100.0

    def exchange(self) -> None:
        """Carry frames until both are quiet."""
        while sent := self.session.poll(self.now, self.unix):
            for frame in sent:
                for answer in self.gateway.receive(frame, self.unix):
                    self.session.receive(answer, self.now, self.unix)

    def open(self) -> Line:
        self.session.opened(self.now)
        self.exchange()
        return self

    def advance(self, seconds: float) -> None:
        """Let time pass, polling exactly at the deadlines of the session."""
        end = self.now + seconds
        for _ in range(1000):
            deadline = self.session.next_deadline()
            if deadline is None or deadline > end:
                break
            self.now = max(self.now, deadline)
            self.exchange()
        else:
            pytest.fail("the session asks to be polled without end")
        self.now = end
        self.exchange()

    def forward(self) -> None:
        for answer in self.gateway.receive(self.session.forward(PACKET), self.unix):
            self.session.receive(answer, self.now, self.unix)


@pytest.fixture
def gateway(crypto: Crypto) -> ScriptedGateway:
    return ScriptedGateway(crypto)


def registered(crypto: Crypto, gateway: ScriptedGateway) -> bytes:
    line = Line(crypto, gateway).open()
    assert line.session.ready
    gateway.connected()
    gateway.seen.clear()
    assert line.session.shared_key is not None
    return line.session.shared_key


# -- the good ways --------------------------------------------------------------------------------------


def test_registration_continues_on_the_same_socket(crypto: Crypto, gateway: ScriptedGateway) -> None:
    line = Line(crypto, gateway)
    assert line.session.state is GatewayState.CONNECTING and line.session.next_deadline() is None
    line.open()
    session = line.session
    assert session.state is GatewayState.READY and session.registered and session.can_forward
    assert gateway.seen == [
        "supportedProtocol",
        "handshakePayload",
        "handshakePayload",
        "claimFreeTestnetBandwidth",
    ]
    assert session.shared_key == gateway.keys[line.identity.public]
    line.forward()
    assert gateway.packets == [PACKET]
    assert session.bandwidth == GRANT - 2413 and session.unanswered == 0


def test_authentication_with_a_stored_key(crypto: Crypto, gateway: ScriptedGateway) -> None:
    key = registered(crypto, gateway)
    gateway.stored = [b"first stored", bytes(21)]
    line = Line(crypto, gateway, key).open()
    assert gateway.seen == ["supportedProtocol", "authenticateV2"]  # the old allowance is still large
    assert line.session.ready and not line.session.registered
    assert line.session.timestamp == int(UNIX)
    assert line.session.take_bodies() == [b"first stored", bytes(21)]
    assert line.session.take_bodies() == []
    line.session.receive(gateway.push(b"live"), line.now, line.unix)
    assert line.session.take_bodies() == [b"live"]


@pytest.mark.parametrize(("protocol", "kind"), [(4, 1), (5, 2), (6, 2), (7, 2)])
def test_forward_form_follows_the_protocol(crypto: Crypto, protocol: int, kind: int) -> None:
    gateway = ScriptedGateway(crypto, protocol)
    for key in (None, registered(crypto, ScriptedGateway(crypto, protocol))):
        if key is not None:
            gateway.keys[IdentityKeys.from_seed(crypto, bytes([9]) * 32).public] = key
        line = Line(crypto, gateway, key).open()
        assert line.session.ready and line.session.protocol_version == min(protocol, 6)
        frame = line.session.forward(PACKET)
        assert frame[0] == kind and len(frame) == {1: 2451, 2: 2452}[kind]
        opened = frames.open_frame(crypto, gateway.key, frame)
        expected = PACKET if kind == 2 else PACKET._replace(rotation=0)
        assert MixPacket.from_bytes(opened.plaintext, version=kind) == expected


def test_a_second_authentication_waits_for_the_next_second(crypto: Crypto, gateway: ScriptedGateway) -> None:
    key = registered(crypto, gateway)
    first = Line(crypto, gateway, key).open().session
    line = Line(crypto, gateway, key, after_timestamp=first.timestamp).open()
    assert line.session.state is GatewayState.AUTHENTICATING
    assert line.session.next_deadline() == pytest.approx(line.now + 0.75)
    line.advance(1.0)
    assert line.session.ready and line.session.timestamp == first.timestamp + 1
    # A clock that was set back by minutes is used as it is.
    again = Line(crypto, gateway, key, after_timestamp=int(UNIX) + 500)
    gateway.last_timestamps.clear()
    assert again.open().session.ready


def test_upgrade_mode_needs_no_claims(crypto: Crypto, gateway: ScriptedGateway) -> None:
    key = registered(crypto, gateway)
    session = Line(crypto, gateway, key).session
    session.opened(0.0)
    session.receive(control.SupportedProtocol(6).encode(), 0.0, UNIX)
    session.receive(control.Authenticate(6, True, 0, True).encode(), 0.0, UNIX)
    assert session.ready and session.upgrade_mode and session.next_deadline() is not None
    session.poll(0.0, UNIX)
    assert session.poll(20.0, UNIX) == []


def test_forget_client(crypto: Crypto, gateway: ScriptedGateway) -> None:
    line = Line(crypto, gateway)
    with pytest.raises(StateError):
        line.session.forget_client()
    line.open()
    line.session.forget_client()
    line.exchange()
    assert gateway.seen[-1] == "encryptedRequest" and line.session.ready


# -- refusals -----------------------------------------------------------------------------------------------


def failed(line: Line, code: str) -> None:
    assert line.session.state is GatewayState.FAILED
    assert line.session.error is not None
    assert (line.session.error.code, line.session.error.phase) == (code, "gateway")
    line.session.poll(line.now, line.unix)
    assert line.session.next_deadline() is None
    with pytest.raises(StateError):
        line.session.forward(PACKET)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3])
def test_old_gateways(crypto: Crypto, protocol: int) -> None:
    failed(Line(crypto, ScriptedGateway(crypto, protocol)).open(), "gateway_too_old")


def test_not_registered_and_wrong_key(crypto: Crypto, gateway: ScriptedGateway) -> None:
    failed(Line(crypto, gateway, bytes(32)).open(), "not_registered")
    registered(crypto, gateway)
    failed(Line(crypto, gateway, bytes(32)).open(), "authentication_refused")


def test_clock_far_off(crypto: Crypto, gateway: ScriptedGateway) -> None:
    key = registered(crypto, gateway)
    line = Line(crypto, gateway, key)
    line.session.opened(line.now)
    for frame in line.session.poll(line.now, UNIX):
        for answer in gateway.receive(frame, UNIX):
            line.session.receive(answer, line.now, UNIX - 500)
    line.exchange()
    failed(line, "authentication_refused")
    assert "off" in line.session.error.message  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("prefix", "answer", "code"),
    [
        (0, control.Error("full"), "gateway_refused"),
        (1, control.Error("duplicate"), "registration_refused"),
        (1, control.HandshakeError("no"), "registration_refused"),
        (1, control.HandshakePayload(7, bytes(124)), "gateway_malformed"),
        (1, control.HandshakePayload(6, bytes(123)), "gateway_malformed"),
        (1, control.HandshakePayload(6, bytes(124)), "gateway_malformed"),
        (2, control.HandshakePayload(6, b"\x00"), "gateway_malformed"),
        (2, control.HandshakePayload(6, b""), "gateway_malformed"),
        (2, control.HandshakeError("no"), "registration_refused"),
        (3, control.Register(6, False), "registration_refused"),
        (3, control.Error("no"), "registration_refused"),
        (4, control.Error("tickets only"), "bandwidth_refused"),
        (4, control.Bandwidth(0), "bandwidth_refused"),
        (4, control.OutOfBandwidth(1, 0), "bandwidth_refused"),
    ],
)
def test_refusals_while_registering(
    crypto: Crypto, gateway: ScriptedGateway, prefix: int, answer: control.ControlMessage, code: str
) -> None:
    """`prefix` good answers, then the bad one."""
    line = Line(crypto, gateway)
    line.session.opened(line.now)
    queue: list[bytes | str] = []
    given = 0
    while given < prefix:
        for frame in line.session.poll(line.now, line.unix):
            queue += gateway.receive(frame, line.unix)
        line.session.receive(queue.pop(0), line.now, line.unix)
        given += 1
    line.session.receive(answer.encode(), line.now, line.unix)
    aborted = [frame for frame in line.session.poll(line.now, line.unix) if "handshakeError" in str(frame)]
    assert bool(aborted) == isinstance(answer, control.HandshakePayload)
    failed(line, code)


def test_status_false_is_a_refusal(crypto: Crypto, gateway: ScriptedGateway) -> None:
    key = registered(crypto, gateway)
    line = Line(crypto, gateway, key)
    gateway.garble = lambda text: text.replace('"status":true', '"status":false')
    failed(line.open(), "authentication_refused")


# -- deadlines ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("silent", "state"),
    [
        ("supportedProtocol", GatewayState.PROBING),
        ("handshakePayload", GatewayState.REGISTERING),
        ("claimFreeTestnetBandwidth", GatewayState.CLAIMING),
    ],
)
def test_every_wait_ends(crypto: Crypto, gateway: ScriptedGateway, silent: str, state: GatewayState) -> None:
    gateway.silent.add(silent)
    line = Line(crypto, gateway).open()
    assert line.session.state is state
    deadline = line.session.next_deadline()
    assert deadline is not None and 5 <= deadline - line.now <= 15
    line.advance(deadline - line.now - 0.01)
    # Strange frames meanwhile do not prolong the wait.
    line.session.receive(control.Send(5).encode(), line.now, line.unix)
    line.session.receive('{"type":"ofTheFuture"}', line.now, line.unix)
    assert line.session.state is state
    line.advance(0.02)
    failed(line, "gateway_timeout")
    assert state.value in line.session.error.message  # type: ignore[union-attr]


def test_authentication_deadline(crypto: Crypto, gateway: ScriptedGateway) -> None:
    key = registered(crypto, gateway)
    gateway.silent.add("authenticateV2")
    line = Line(crypto, gateway, key).open()
    assert line.session.state is GatewayState.AUTHENTICATING
    line.advance(15.1)
    failed(line, "gateway_timeout")


def test_opening_has_a_deadline_when_announced(crypto: Crypto, gateway: ScriptedGateway) -> None:
    line = Line(crypto, gateway)
    line.session.connecting(line.now)
    line.advance(15.1)
    failed(line, "gateway_timeout")
    line.session.opened(line.now)
    assert line.session.poll(line.now, line.unix) == []


def test_every_cut_answer_ends_in_a_typed_error(crypto: Crypto) -> None:
    """Each answer of a registration truncated at many lengths: the session fails at once, typed."""
    lengths = {"supportedProtocol": 40, "handshakePayload": 460, "register": 80, "bandwidth": 70}
    for kind, size in lengths.items():
        for length in range(0, size, 7):
            gateway = ScriptedGateway(crypto)

            def garble(text: str, kind: str = kind, length: int = length) -> str:
                return text[:length] if json.loads(text)["type"] == kind and length < len(text) else text

            gateway.garble = garble
            line = Line(crypto, gateway).open()
            if line.session.state is GatewayState.READY:
                continue  # longer than this answer
            failed(line, "gateway_malformed")
            assert line.session.counters.bad_texts >= 1


# -- while ready ------------------------------------------------------------------------------------------------


def test_nothing_strange_ends_a_ready_session(crypto: Crypto, gateway: ScriptedGateway) -> None:
    line = Line(crypto, gateway).open()
    session = line.session
    good = gateway.push(b"body")
    for frame in (
        b"",
        b"\x01",
        good[:20],
        good[:-1],
        b"\x01\x07" + good[2:],
        bytes((9,)) + good[1:],
        "",
        "[]",
        '{"type":"later"}',
        control.Error("strange").encode(),
        control.OtherTypedError("ticket_replay").encode(),
        control.Register(6, True).encode(),
        control.Authenticate(6, False, 0).encode(),
        control.HandshakeError("late").encode(),
        control.SupportedProtocol(1).encode(),
        control.EncryptedResponse(b"junk", bytes(12)).encode(),
        good,
    ):
        session.receive(frame, line.now, line.unix)
        assert session.ready
    counters = session.counters
    assert session.take_bodies() == [b"body"]
    assert (counters.bad_frames, counters.undecryptable, counters.bad_texts) == (4, 1, 3)
    assert (counters.errors, counters.stray) == (2, 4)
    assert session.last_complaint == "ticket_replay"


def test_bodies_are_bounded(crypto: Crypto, gateway: ScriptedGateway) -> None:
    line = Line(crypto, gateway, config=GatewayConfig(max_bodies=3)).open()
    for number in range(5):
        line.session.receive(gateway.push(bytes((number,))), line.now, line.unix)
    assert line.session.take_bodies() == [b"\0", b"\1", b"\2"]
    assert line.session.counters.bodies_dropped == 2


def test_allowance_is_renewed_when_low_and_when_gone(crypto: Crypto, gateway: ScriptedGateway) -> None:
    gateway.grant = 50_000_000
    line = Line(crypto, gateway).open()
    line.advance(6.0)
    gateway.bandwidth = 30_000_000
    line.forward()
    line.exchange()
    assert line.session.counters.claims == 2 and line.session.bandwidth > 50_000_000
    gateway.bandwidth = 10  # midnight
    line.advance(6.0)
    line.forward()
    assert line.session.exhausted and not line.session.can_forward and line.session.ready
    line.exchange()
    assert line.session.can_forward and line.session.counters.out_of_bandwidth == 1


def test_claims_are_spaced(crypto: Crypto, gateway: ScriptedGateway) -> None:
    gateway.grant = 1000
    line = Line(crypto, gateway).open()
    assert line.session.ready
    line.advance(60.0)
    assert 10 <= line.session.counters.claims <= 14


@pytest.mark.parametrize(
    ("refusal", "reason", "claims"), [(TICKETS_ONLY, "credentials_only", (2, 2)), ("not today", "refused", (4, 8))]
)
def test_refused_claims_end_the_session_only_without_allowance(
    crypto: Crypto, gateway: ScriptedGateway, refusal: str, reason: str, claims: tuple[int, int]
) -> None:
    gateway.grant = 50_000_000
    line = Line(crypto, gateway).open()
    gateway.grant, gateway.refusal = None, refusal
    gateway.bandwidth = 30_000_000
    line.forward()
    line.advance(300.0)
    low, high = claims
    assert line.session.ready and low <= line.session.counters.claims <= high, "what time does not heal is asked once"
    gateway.bandwidth = 0
    line.forward()
    line.advance(70.0)
    failed(line, "bandwidth_refused")
    assert line.session.error is not None and line.session.error.reason == reason
    assert refusal in line.session.error.message


@pytest.mark.parametrize("left", [0, 100, 39_000_000, 40_000_000])
def test_what_is_left_of_an_allowance_is_used_up(crypto: Crypto, gateway: ScriptedGateway, left: int) -> None:
    first = Line(crypto, gateway).open()
    gateway.grant, gateway.bandwidth = None, left
    line = Line(crypto, gateway, first.session.shared_key)
    line.now += 10
    if not left:
        line.open()
        failed(line, "bandwidth_refused")
        return
    line.open()
    line.advance(120.0)
    assert line.session.can_forward and line.session.counters.claims == (left < 40_000_000)
    gateway.bandwidth = 0
    line.forward()
    line.advance(10.0)
    failed(line, "bandwidth_refused")


@pytest.mark.parametrize(
    "words",
    [
        TICKETS_ONLY,
        "only bandwidth credentials are accepted",
        "this gateway requires zk-nym tickets",
        "free bandwidth is disabled: spend a ticketbook",
        "ECASH credentials required",
    ],
)
def test_a_gateway_that_takes_only_tickets_says_what_is_needed(
    crypto: Crypto, gateway: ScriptedGateway, words: str
) -> None:
    gateway.grant, gateway.refusal = None, words
    line = Line(crypto, gateway)
    line.open()
    failed(line, "bandwidth_refused")
    error = line.session.error
    assert error is not None and (error.reason, error.phase, error.retryable) == ("credentials_only", "gateway", False)
    assert "zk-nyms" in error.message and words in error.message
    assert line.session.counters.claims == 1


def test_unanswered_claims_count_as_refused(crypto: Crypto, gateway: ScriptedGateway) -> None:
    line = Line(crypto, gateway).open()
    gateway.silent.add("claimFreeTestnetBandwidth")
    line.advance(6.0)
    gateway.bandwidth = 0
    line.forward()
    line.advance(60.0)
    failed(line, "bandwidth_refused")


def test_silence_is_probed_and_ends_the_session(crypto: Crypto, gateway: ScriptedGateway) -> None:
    line = Line(crypto, gateway).open()
    line.advance(100.0)
    assert line.session.ready and line.session.counters.probes == 4
    gateway.silent.add("supportedProtocol")
    line.advance(36.0)
    failed(line, "gateway_timeout")
    assert "sign of life" in line.session.error.message  # type: ignore[union-attr]


def test_missing_packet_answers_are_noticed_sooner(crypto: Crypto, gateway: ScriptedGateway) -> None:
    line = Line(crypto, gateway).open()
    line.forward()
    gateway.answers_packets = False
    line.forward()
    assert line.session.unanswered == 1
    gateway.silent.add("supportedProtocol")
    line.advance(18.1)
    failed(line, "gateway_timeout")


def test_probing_can_be_turned_off(crypto: Crypto, gateway: ScriptedGateway) -> None:
    line = Line(crypto, gateway, config=GatewayConfig(idle_probe=None)).open()
    assert line.session.next_deadline() is None
    line.advance(3600.0)
    assert line.session.ready and line.session.counters.probes == 0


@pytest.mark.parametrize("opened", [False, True])
def test_close_is_an_error_with_its_state(crypto: Crypto, gateway: ScriptedGateway, opened: bool) -> None:
    line = Line(crypto, gateway)
    if opened:
        line.open()
    line.session.closed(line.now, "code 1006")
    assert line.session.state is GatewayState.CLOSED and line.session.error is not None
    assert line.session.error.code == "gateway_closed"
    assert ("ready" if opened else "connecting") in line.session.error.message
    assert "code 1006" in line.session.error.message
    assert line.session.next_deadline() is None
    line.session.receive(b"late", line.now, line.unix)
    assert line.session.poll(line.now, line.unix) == []


def test_a_failure_keeps_its_reason_over_the_close(crypto: Crypto) -> None:
    line = Line(crypto, ScriptedGateway(crypto, 3)).open()
    line.session.closed(line.now, "1006")
    failed(line, "gateway_too_old")
