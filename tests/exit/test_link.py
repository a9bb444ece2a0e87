"""The link to the exits in virtual time: candidates in turn, lost registrations, pinned exits, and when it gives up."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

import pytest

from smolmix_web.errors import NetworkError, SmolmixError
from smolmix_web.exit import ExitConnected, ExitDisconnected, ExitSession, RequestFailed
from smolmix_web.exit import messages as m
from smolmix_web.exit.link import ExitFailed, ExitLink, ExitLost
from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.mixnet.exits import ExitCandidate
from smolmix_web.mixnet.lp_frame import DATA, LpFrame
from smolmix_web.rand import SeededRandom

UNIX = 1_790_000_000.0


class Exits:
    """A link and exits that answer at once, refuse, or say nothing. Time moves only when told."""

    def __init__(self, count: int = 3, *, pinned: bool = False, connect_timeout: float = 60.0) -> None:
        self.now = 100.0
        self.rng = SeededRandom("exits")
        self.candidates = [
            ExitCandidate(Recipient(bytes([n]) * 32, bytes([n]) * 32, bytes([n]) * 32), "1.38.0", (10, 9), 90)
            for n in range(count)
        ]
        self.silent: set[Recipient] = set()
        self.refusing: set[Recipient] = set()
        self.only_v9: set[Recipient] = set()
        self.strange: set[Recipient] = set()  # speak a version of their own
        self.asked: list[tuple[float, int, int]] = []  # time, exit, version
        self.connected_at: list[int] = []
        self.events: list[object] = []
        self.taken: set[Recipient] = set()  # by other tunnels of ours
        self.link = ExitLink(
            self.candidates,
            self.make,
            self.rng,
            pinned=pinned,
            connect_timeout=connect_timeout,
            taken=lambda: self.taken,
        )

    def make(self, versions: Sequence[int], limit: float, attempt: float) -> ExitSession:
        return ExitSession(self.rng, versions=versions, connect_timeout=limit, attempt_timeout=attempt)

    def settle(self) -> None:
        for _ in range(50):
            sent = self.link.poll(self.now, UNIX + self.now)
            for message in sent:
                self.answer(message.data)
            self.link.follow(self.now)
            news = self.link.take_events()
            self.events += news
            if not sent and not news:
                return
        pytest.fail("the link is never done")

    def answer(self, data: bytes) -> None:
        frame = LpFrame.from_bytes(data)
        if not frame.payload:
            return
        version, request = m.decode_request(frame.payload)
        recipient = self.link.recipient
        if not isinstance(request, m.ConnectRequest):
            return
        number = self.candidates.index(self.link.candidate)
        self.asked.append((self.now, number, version))
        if recipient in self.silent or (version == 10 and recipient in self.only_v9):
            return
        response: m.Response
        if recipient in self.strange:
            response = m.InfoResponse(0, m.VersionMismatch(version, 8), m.InfoLevel.ERROR)
        elif recipient in self.refusing:
            response = m.ConnectFailure(request.request_id, m.ConnectReason.NO_AVAILABLE_IP)
        else:
            self.connected_at.append(number)
            mtu = 1420 if version == 10 else None
            response = m.ConnectSuccess(request.request_id, IPv4Address("10.0.0.9"), IPv6Address("fc00::9"), mtu)
        payload = m.encode_response(version, response)
        self.link.receive(LpFrame(frame.stream_id, DATA, 0, payload).to_bytes(), self.now)

    def start(self) -> Exits:
        self.link.start(self.now, UNIX)
        self.settle()
        return self

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(5000):
            due = self.link.next_deadline()
            if due is None or due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            self.settle()
        pytest.fail("the link asks to be polled without end")

    def kinds(self) -> list[type]:
        return [type(event) for event in self.events]

    def last_error(self) -> SmolmixError:
        event = self.events[-1]
        assert isinstance(event, (ExitLost, ExitFailed))
        return event.error


def test_the_first_candidate_that_answers() -> None:
    exits = Exits().start()
    assert exits.kinds() == [ExitConnected] and exits.connected_at == [0]
    assert exits.link.connected and exits.link.registrations == 1


def test_a_silent_exit_costs_six_seconds_a_version_and_the_next_is_asked() -> None:
    exits = Exits()
    exits.silent.add(exits.candidates[0].recipient)
    exits.start().advance(12.5)
    assert exits.asked == [(100.0, 0, 10), (106.0, 0, 9), (112.0, 1, 10)]
    assert exits.kinds() == [ExitConnected]


def test_an_exit_of_version_9_is_found_out_in_time() -> None:
    exits = Exits(1)
    exits.only_v9.add(exits.candidates[0].recipient)
    exits.start().advance(15.5)
    assert [version for _, _, version in exits.asked] == [10, 9] and exits.kinds() == [ExitConnected]


def test_all_refuse() -> None:
    exits = Exits()
    exits.refusing.update(one.recipient for one in exits.candidates)
    exits.start()
    assert exits.kinds() == [ExitFailed] and exits.last_error().code == "exit_refused"
    assert [number for _, number, _ in exits.asked] == [0, 1, 2]
    assert exits.link.next_deadline() is None


def test_all_are_silent_and_the_whole_time_is_bounded() -> None:
    exits = Exits(5, connect_timeout=20.0)
    exits.silent.update(one.recipient for one in exits.candidates)
    exits.start().advance(60.0)
    assert exits.kinds() == [ExitFailed] and exits.last_error().code == "exit_timeout"
    assert max(when for when, *_ in exits.asked) < 120.0


def test_a_lost_registration_is_told_at_once_and_made_anew_at_the_same_exit() -> None:
    exits = Exits().start()
    payload = m.encode_response(10, m.UnrequestedDisconnect(m.UnrequestedReason.OTHER, "restart"))
    session = exits.link.session
    assert session is not None
    exits.link.receive(LpFrame(exits_stream(exits), DATA, 0, payload).to_bytes(), exits.now)
    exits.settle()
    # The ping that showed us the stream id has failed with its session.
    assert exits.kinds() == [ExitConnected, RequestFailed, ExitLost, ExitConnected]
    assert exits.connected_at == [0, 0] and exits.link.registrations == 2


def test_an_exit_that_is_gone_is_replaced() -> None:
    exits = Exits().start()
    exits.silent.add(exits.candidates[0].recipient)
    exits.link.renew(NetworkError("test"), exits.now)
    exits.advance(13.0)
    assert exits.kinds() == [ExitConnected, ExitLost, ExitConnected] and exits.connected_at == [0, 1]


@pytest.mark.parametrize("outage", [120.0, 3600.0])
def test_a_pinned_exit_is_never_replaced_and_never_given_up(outage: float) -> None:
    exits = Exits(1, pinned=True).start()
    exits.silent.add(exits.candidates[0].recipient)
    exits.link.renew(NetworkError("test"), exits.now)
    lost = exits.now
    exits.advance(outage)
    assert exits.kinds() == [ExitConnected, ExitLost] and exits.link.error is None
    starts = [when for when, _, version in exits.asked if version == 10 and when >= lost]
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert max(gaps) <= 24.0 + 30.0 and len(starts) < 4 + outage / 35
    exits.silent.clear()
    exits.advance(55.0)
    assert exits.kinds()[-1] is ExitConnected
    assert {number for _, number, _ in exits.asked} == {0}


def test_others_are_tried_first_and_the_lost_one_again() -> None:
    exits = Exits(3).start()
    exits.silent.update(one.recipient for one in exits.candidates)
    exits.link.renew(NetworkError("test"), exits.now)
    exits.advance(600.0)
    assert exits.kinds() == [ExitConnected, ExitLost] and exits.link.rounds > 3 and exits.link.tried_in_vain
    order = [number for _, number, version in exits.asked if version == 10]
    assert order[1:7] == [0, 1, 2, 0, 1, 2]
    fresh = ExitCandidate(Recipient(b"f" * 32, b"f" * 32, b"f" * 32), "1.38.0", (10, 9), 90)
    exits.candidates.append(fresh)
    exits.link.set_candidates([fresh])
    exits.advance(100.0)
    assert exits.connected_at == [0, 3]


def test_who_waits_makes_the_next_attempt_due_soon() -> None:
    exits = Exits(1, pinned=True).start()
    exits.silent.add(exits.candidates[0].recipient)
    exits.link.renew(NetworkError("test"), exits.now)
    exits.advance(1000.0)
    exits.silent.clear()
    exits.link.want(exits.now)
    exits.settle()
    exits.advance(6.5)
    assert exits.link.connected
    assert exits.connected_at == [0, 0]


def test_the_version_that_worked_is_asked_first() -> None:
    exits = Exits(1)
    exits.only_v9.add(exits.candidates[0].recipient)
    exits.start().advance(15.5)
    exits.link.renew(NetworkError("test"), exits.now)
    exits.settle()
    assert [version for _, _, version in exits.asked] == [10, 9, 9] and exits.link.registrations == 2


def test_refusals_after_a_registration_may_pass() -> None:
    exits = Exits(3).start()
    exits.refusing.update(one.recipient for one in exits.candidates)
    exits.link.renew(NetworkError("test"), exits.now)
    exits.advance(300.0)
    assert exits.kinds() == [ExitConnected, ExitLost]
    assert len(exits.asked) < 60
    exits.refusing.clear()
    exits.advance(30.0)
    assert exits.link.connected


def test_where_nobody_speaks_our_version_it_is_over() -> None:
    exits = Exits(3).start()
    exits.strange.update(one.recipient for one in exits.candidates)
    exits.link.renew(NetworkError("test"), exits.now)
    exits.advance(10.0)
    assert exits.kinds() == [ExitConnected, ExitLost, ExitFailed] and exits.last_error().code == "exit_version"


def test_an_attempt_that_cannot_leave_is_no_reason_to_hurry() -> None:
    """No route leads to the exit's gateway, which is told at the first message of each attempt."""
    exits = Exits(1, pinned=True).start()
    exits.link.renew(NetworkError("test"), exits.now)
    begun, tries = exits.now, 0
    while exits.now < begun + 300:
        if exits.link.poll(exits.now, UNIX + exits.now):
            tries += 1
            exits.link.renew(NetworkError("no route"), exits.now)
            exits.link.renew(NetworkError("no route"), exits.now)
        due = exits.link.next_deadline()
        assert due is not None
        exits.now = max(due, exits.now)
    assert 10 < tries < 40 and exits.link.error is None


def test_nothing_is_concluded_while_the_gateway_is_away() -> None:
    exits = Exits().start()
    exits.link.link_down(exits.now)
    exits.now += 50.0
    exits.settle()
    assert exits.kinds() == [ExitConnected] and exits.link.connected
    exits.link.link_up(exits.now)
    assert exits.link.session is not None
    exits.link.session.path_proven(exits.now + 30.0, exits.now)  # our own packets do come back
    exits.advance(30.0)
    assert exits.kinds()[1] is ExitLost, "nobody answered the probes after the gateway was back"


def test_goodbye() -> None:
    exits = Exits().start()
    exits.link.disconnect(exits.now)
    assert not exits.link.disconnected
    exits.advance(6.0)
    assert exits.link.disconnected and exits.events[1:] == [ExitDisconnected("requested")]
    exits.advance(600.0)
    assert exits.connected_at == [0]


def exits_stream(exits: Exits) -> int:
    """The stream id of the present attempt, as an exit knows it from the requests."""
    session = exits.link.session
    assert session is not None
    session.ping(exits.now)
    for message in exits.link.poll(exits.now, UNIX):
        return LpFrame.from_bytes(message.data).stream_id
    raise AssertionError("the session said nothing")


@pytest.mark.feature("Isolation", "Exits that other tunnels of a pool use are passed over, until all others were tried")
def test_taken_exits() -> None:
    exits = Exits()
    exits.taken = {exits.candidates[0].recipient}
    assert exits.start().connected_at == [1]
    # What is lost is asked for again first, whoever uses it meanwhile; then those that are free.
    exits.taken = {one.recipient for one in exits.candidates[:2]}
    exits.silent = {exits.candidates[1].recipient}
    exits.link.renew(NetworkError("lost"), exits.now)
    exits.advance(60)
    assert exits.connected_at == [1, 2]
    # Where no other answers, one that is taken is better than none.
    alone = Exits()
    alone.taken = {alone.candidates[0].recipient}
    alone.refusing = {one.recipient for one in alone.candidates[1:]}
    alone.start()
    alone.advance(30)
    assert alone.connected_at == [0] and [number for _, number, _ in alone.asked][:2] == [1, 2]
    # Where all are taken the order is as ever.
    full = Exits()
    full.taken = {one.recipient for one in full.candidates}
    assert full.start().connected_at == [0]
