"""The exit's side of the protocol, message by message, as a client of any sort may send them (ipr.md 5.1-5.9)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localnet.exit.clients import ConnectedClient
from localnet.exit.config import ExitConfig, ExitFaults
from localnet.exit.packets import EXIT_IPV4, inspect
from localnet.exit.pool import AddressPool
from localnet.exit.router import ExitRouter
from smolmix_web.errors import PacketError
from smolmix_web.exit import messages as m
from smolmix_web.exit.bincode import EPOCH
from smolmix_web.exit.bundles import join, split
from smolmix_web.mixnet.lp_frame import DATA, OPEN, LpFrame
from smolmix_web.netstack import Echo, icmp, ip
from smolmix_web.rand import SeededRandom

A, B = b"A" * 16, b"B" * 16
STREAM = 0x1122334455667788
HOST, HOST6 = IPv4Address("203.0.114.10"), IPv6Address("2a0e:6a80:114::a")


def udp(source: IPv4Address | IPv6Address, destination: IPv4Address | IPv6Address, port: int, size: int = 8) -> bytes:
    payload = (4000).to_bytes(2, "big") + port.to_bytes(2, "big") + (8 + size).to_bytes(2, "big") + bytes(2 + size)
    return ip.build(source.packed, destination.packed, ip.UDP, payload, 1)


def echo_request(source: IPv4Address, destination: IPv4Address) -> bytes:
    body = icmp.build_echo(source.packed, destination.packed, Echo(False, 1, 1, b""))
    return ip.build(source.packed, destination.packed, ip.ICMP, body, 1)


class Exit:
    """A router, with what it let out and what it answered."""

    def __init__(self, **config: object) -> None:
        self.faults = ExitFaults()
        self.out: list[bytes] = []
        self.gone: list[ConnectedClient] = []
        self.router = ExitRouter(
            ExitConfig.from_mapping(config),
            SeededRandom("exit"),
            on_packet=lambda client, packet, now: self.out.append(packet),
            on_gone=self.gone.append,
            faults=self.faults,
        )
        self.now = 100.0

    def send(self, data: bytes, tag: bytes | None = A) -> list[m.Response]:
        self.router.receive(data, tag, self.now)
        return [response for _, _, response in self.replies()]

    def request(
        self, request: m.Request, *, version: int = 9, tag: bytes | None = A, stream: int = STREAM
    ) -> list[m.Response]:
        data = m.encode_request(version, request)
        return self.send(LpFrame(stream, DATA, 0, data).to_bytes() if version >= 9 else data, tag)

    def replies(self) -> list[tuple[int, int | None, m.Response]]:
        """Version, sequence (None for plain messages) and response of each."""
        out = []
        for reply in self.router.take_replies():
            data, sequence = reply.data, None
            if data[0] == 3:
                frame = LpFrame.from_bytes(data)
                data, sequence = frame.payload, frame.sequence
            version, response = m.decode_response(data)
            out.append((version, sequence, response))
        return out

    def connect(self, tag: bytes = A, version: int = 9, stream: int = STREAM) -> m.ConnectSuccess:
        (response,) = self.request(m.ConnectRequest(5, None, EPOCH), version=version, tag=tag, stream=stream)
        assert isinstance(response, m.ConnectSuccess)
        return response

    def data(self, *packets: bytes, tag: bytes = A, version: int = 9) -> list[m.Response]:
        return self.request(m.DataRequest(join(packets)), tag=tag, version=version)

    def count(self, name: str) -> int:
        return self.router.counters[name]


@pytest.mark.parametrize(("version", "mtu"), [(8, None), (9, None), (10, 1420)])
def test_connect_in_each_version(version: int, mtu: int | None) -> None:
    exit_ = Exit()
    success = exit_.connect(version=version)
    assert (success.request_id, success.mtu) == (5, mtu)
    number = int(success.ipv4) - int(IPv4Address("10.0.0.0"))
    assert 2 <= number <= 65534
    assert int(success.ipv6) == int(IPv6Address("fc00::")) + number
    exit_.data(udp(success.ipv4, HOST, 53), version=version)
    exit_.data(udp(success.ipv6, HOST6, 53), version=version)
    assert len(exit_.out) == 2
    client = exit_.router.clients.by_tag(A)
    assert client is not None
    exit_.router.deliver(client, b"down", exit_.now)
    assert exit_.router.take_replies() == []
    exit_.now += 0.02
    exit_.router.poll(exit_.now)
    ((answered, sequence, response),) = exit_.replies()
    assert (answered, response) == (version, m.DataResponse(join((b"down",))))
    assert sequence == (None if version == 8 else 1)


def test_an_open_frame_is_no_request() -> None:
    exit_ = Exit()
    assert exit_.send(LpFrame(STREAM, OPEN, 0).to_bytes()) == []
    assert exit_.router.counters.violations() == 0


def test_control_replies_have_sequence_0_and_data_counts_from_1() -> None:
    exit_ = Exit()
    success = exit_.connect()
    client = exit_.router.clients.by_tag(A)
    assert client is not None
    client.sequence = (1 << 32) - 1
    for _ in range(2):
        exit_.router.deliver(client, bytes(1400), exit_.now)
        exit_.router.poll(exit_.now + 1)
    exit_.router.receive(
        LpFrame(STREAM, DATA, 7, m.encode_request(9, m.PingRequest(1, EPOCH))).to_bytes(), A, exit_.now
    )
    exit_.router.receive(
        LpFrame(STREAM, DATA, 7, m.encode_request(9, m.DataRequest(join((udp(success.ipv4, HOST, 25),))))).to_bytes(),
        A,
        exit_.now,
    )
    assert [sequence for _, sequence, _ in exit_.replies()] == [(1 << 32) - 1, 1, 0, 0]


def test_ping_health_disconnect() -> None:
    exit_ = Exit()
    assert exit_.request(m.PingRequest(7, EPOCH)) == [m.PongResponse(7)]
    (health,) = exit_.request(m.HealthRequest(8, EPOCH))
    assert isinstance(health, m.HealthResponse)
    assert (health.request_id, health.build.build_version, health.routable) == (8, "1.38.0", None)
    assert exit_.request(m.DisconnectRequest(9, EPOCH)) == [
        m.DisconnectFailure(9, m.DisconnectReason.CLIENT_NOT_CONNECTED)
    ]
    exit_.connect()
    assert exit_.request(m.DisconnectRequest(10, EPOCH)) == [m.DisconnectSuccess(10)]
    assert (len(exit_.router.clients), len(exit_.gone)) == (0, 1)


def test_connecting_again() -> None:
    exit_ = Exit()
    first = exit_.connect()
    second = exit_.connect(stream=STREAM + 1)
    assert first.ipv4 != second.ipv4, "framed: new addresses"
    assert (len(exit_.router.clients), len(exit_.gone)) == (1, 1)
    exit_ = Exit()
    assert exit_.connect(version=8).ipv4 == exit_.connect(version=8).ipv4, "plain: the same again"
    assert exit_.gone == []


def test_versions_and_transport() -> None:
    exit_ = Exit()
    for version in (6, 7, 11):
        assert exit_.send(bytes((version, 1, 1, 2, 3))) == [
            m.InfoResponse(0, m.VersionMismatch(version, 8), m.InfoLevel.ERROR)
        ]
    framed = LpFrame(STREAM, DATA, 0, b"\x0b\x01\x01\x00").to_bytes()
    assert exit_.send(framed) == [m.InfoResponse(0, m.VersionMismatch(11, 10), m.InfoLevel.ERROR)]
    assert exit_.send(b"\xc8\x01\x01\x00") == [], "noise gets no answer"
    assert exit_.count("bad.version") == 5
    ping = m.PingRequest(1, EPOCH)
    assert exit_.send(m.encode_request(9, ping)) == [], "9 needs the frame"
    assert exit_.send(LpFrame(STREAM, DATA, 0, m.encode_request(8, ping)).to_bytes()) == [], "8 must not have it"
    assert exit_.count("bad.transport") == 2


def test_an_older_exit_drops_version_10_silently() -> None:
    exit_ = Exit(versions=[8, 9], announce_mismatch=False)
    assert exit_.request(m.ConnectRequest(5, None, EPOCH), version=10) == []
    assert exit_.connect(version=9).mtu is None


@pytest.mark.parametrize(
    ("data", "counter"),
    [
        (b"", "bad.empty"),
        (b"\x09", "bad.empty"),
        (LpFrame(STREAM, DATA, 0, b"\x09").to_bytes(), "bad.empty"),
        (LpFrame(STREAM, 5, 0, b"\x09\x01").to_bytes(), "bad.frame"),
        (LpFrame(STREAM, DATA, 0, b"\x09\x00\x00\x00").to_bytes(), "bad.request"),
        (LpFrame(STREAM, DATA, 0, b"\x09\x01\x01\x02\x05").to_bytes(), "bad.request"),
    ],
)
def test_bad_messages_are_counted(data: bytes, counter: str) -> None:
    exit_ = Exit()
    assert exit_.send(data) == []
    assert exit_.count(counter) == 1


def test_no_sender_tag_no_answer() -> None:
    exit_ = Exit()
    assert exit_.request(m.PingRequest(1, EPOCH), tag=None) == []
    assert exit_.count("bad.no_sender_tag") == 1


def test_source_addresses_belong_to_their_sender() -> None:
    exit_ = Exit()
    ours, theirs = exit_.connect(A), exit_.connect(B)
    exit_.data(udp(theirs.ipv4, HOST, 53), udp(IPv4Address("10.0.0.1"), HOST, 53), udp(ours.ipv4, HOST, 53))
    assert len(exit_.out) == 1
    assert exit_.count("bad.source_address") == 2


def test_policy() -> None:
    exit_ = Exit()
    ours = exit_.connect()
    answers = exit_.data(
        udp(ours.ipv4, HOST, 25),
        udp(ours.ipv6, HOST6, 25),
        udp(ours.ipv4, IPv4Address("192.168.1.1"), 53),
        echo_request(ours.ipv4, EXIT_IPV4),
    )
    assert [answer.reply for answer in answers if isinstance(answer, m.InfoResponse)] == [
        m.PolicyRefusal("203.0.114.10:25"),
        m.PolicyRefusal("[2a0e:6a80:114::a]:25"),
        m.PolicyRefusal("192.168.1.1:53"),
        m.PolicyRefusal("10.0.0.1:0"),
    ]
    assert exit_.out == []
    assert exit_.count("refused.policy") == 4
    assert exit_.count("refused.not_global") == 2, "those that a real exit warns its operator of"


def test_open_proxy_and_local_addresses() -> None:
    exit_ = Exit(open_proxy=True)
    ours = exit_.connect()
    assert exit_.data(udp(ours.ipv4, HOST, 25)) == []
    assert len(exit_.data(udp(ours.ipv4, IPv4Address("192.168.1.1"), 25))) == 1, "not global: still refused"
    exit_ = Exit(allow_local_ips=True, open_proxy=True)
    ours = exit_.connect()
    assert exit_.data(udp(ours.ipv4, IPv4Address("192.168.1.1"), 25)) == []


def drain(exit_: Exit) -> list[bytes]:
    exit_.now += 1
    exit_.router.poll(exit_.now)
    return [
        packet
        for _, _, response in exit_.replies()
        if isinstance(response, m.DataResponse)
        for packet in split(response.bundle)[0]
    ]


def test_the_firewall_and_the_hop_limit_answer_with_icmp() -> None:
    exit_ = Exit(open_proxy=True, firewall="ExitPolicy reject *:25\nExitPolicy accept *:*")
    ours = exit_.connect()
    rejected = udp(ours.ipv4, HOST, 25)
    exit_.data(rejected, udp(ours.ipv6, HOST6, 25))
    four, six = drain(exit_)
    assert (four[9], four[20:22], four[28:]) == (ip.ICMP, b"\x03\x03", rejected)
    assert four[12:20] == EXIT_IPV4.packed + ours.ipv4.packed
    assert (six[6], six[40:42]) == (ip.ICMPV6, b"\x01\x04")
    for start, packet in ((20, four), (40, six)):
        assert inspect(packet).protocol in (ip.ICMP, ip.ICMPV6)
        assert packet[start + 2 : start + 4] != b"\x00\x00"
    dying = bytearray(udp(ours.ipv4, HOST, 53))
    dying[8] = 1
    exit_.data(bytes(dying))
    assert [packet[20:22] for packet in drain(exit_)] == [b"\x0b\x00"]
    assert exit_.out == []


def test_fragments_and_malformed_packets_are_dropped() -> None:
    exit_ = Exit()
    ours = exit_.connect()
    good = udp(ours.ipv4, HOST, 53)
    more, offset = bytearray(good), bytearray(good)
    more[6] |= 0x20
    offset[7] = 1
    six = ours.ipv6.packed + HOST6.packed
    fragment6 = b"\x60\x00\x00\x00" + (16).to_bytes(2, "big") + b"\x2c\x40" + six + b"\x11" + bytes(15)
    assert exit_.data(bytes(more), bytes(offset), fragment6) == []
    assert exit_.count("bad.fragment") == 3
    exit_.data(good[:19], good[:27], b"\x50" + good[1:], b"\x4f" + good[1:], fragment6[:39])
    assert exit_.count("bad.packet") == 5
    exit_.request(m.DataRequest(join((good,)) + b"\x00\x40tail"))
    assert (exit_.count("bad.bundle"), exit_.out) == (1, [good])


def test_ipv6_extension_headers_are_skipped() -> None:
    exit_ = Exit()
    ours = exit_.connect()
    plain = udp(ours.ipv6, HOST6, 53)
    extended = plain[:4] + (len(plain) - 40 + 8).to_bytes(2, "big") + b"\x3c" + plain[7:40] + b"\x11" + bytes(7)
    extended += plain[40:]
    assert inspect(extended).port == 53
    exit_.data(extended)
    assert exit_.out == [extended]


@given(st.binary(max_size=90), st.sampled_from((4, 6)))
def test_any_bytes_are_a_packet_or_a_typed_error(data: bytes, version: int) -> None:
    packet = bytes((version << 4 | (data[0] & 15 if data else 5),)) + data[1:]
    try:
        inspect(packet)
    except PacketError as error:
        assert " at offset " in error.message


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_garbage_never_raises(items: list[bytes]) -> None:
    exit_ = Exit()
    exit_.connect()
    header = LpFrame(STREAM, DATA, 0).to_bytes()
    for item in items:
        for data in (item, header + item, header + b"\x09\x01" + item, header + b"\x09\x01\x00" + item):
            exit_.send(data)
    assert len(exit_.router.clients) <= 1


def test_bundling_at_the_exit() -> None:
    exit_ = Exit()
    exit_.request(m.ConnectRequest(5, 50, EPOCH))
    client = exit_.router.clients.by_tag(A)
    assert client is not None
    for size in (700, 700, 700):
        exit_.router.deliver(client, bytes(size), exit_.now)
    assert len(exit_.replies()) == 1, "full: at once"
    assert exit_.router.next_deadline() == pytest.approx(exit_.now + 0.05)
    exit_.router.poll(exit_.now + 0.049)
    assert exit_.replies() == []
    exit_.router.poll(exit_.now + 0.05)
    assert len(exit_.replies()) == 1


@pytest.mark.parametrize(("asked", "seconds"), [(None, 0.02), (0, 0.001), (1, 0.001), (1000, 1.0), (1 << 60, 1.0)])
def test_the_buffer_timeout_is_clamped(asked: int | None, seconds: float) -> None:
    exit_ = Exit()
    exit_.request(m.ConnectRequest(5, asked, EPOCH))
    client = exit_.router.clients.by_tag(A)
    assert client is not None
    assert client.buffer_timeout == seconds


def test_silence_is_swept_out() -> None:
    exit_ = Exit()
    ours = exit_.connect()
    exit_.connect(B)
    exit_.now += 55
    exit_.data(udp(ours.ipv4, HOST, 25))  # refused, but it counts
    exit_.request(m.PingRequest(1, EPOCH), tag=B)  # this does not
    exit_.now += 10
    exit_.router.poll(exit_.now)
    assert [response for _, _, response in exit_.replies()] == [
        m.UnrequestedDisconnect(m.UnrequestedReason.MIXNET_TRAFFIC_TIMEOUT)
    ]
    assert [client.tag for client in exit_.router.clients] == [A]
    silent = Exit(announce_timeout=False)
    silent.connect()
    silent.now += 70
    silent.router.poll(silent.now)
    assert (silent.replies(), len(silent.router.clients), silent.router.next_deadline()) == ([], 0, None)


@pytest.mark.parametrize("reason", list(m.ConnectReason))
def test_refusals_on_purpose(reason: m.ConnectReason) -> None:
    exit_ = Exit()
    exit_.faults.refuse_connect, exit_.faults.refuse_text = reason, "full"
    text = "full" if reason is m.ConnectReason.OTHER else ""
    assert exit_.request(m.ConnectRequest(5, None, EPOCH)) == [m.ConnectFailure(5, reason, text)]


def test_no_address_left() -> None:
    exit_ = Exit(last_address=3)
    assert exit_.connect(A).ipv4 != exit_.connect(B).ipv4
    assert exit_.request(m.ConnectRequest(5, None, EPOCH), tag=b"C" * 16) == [
        m.ConnectFailure(5, m.ConnectReason.NO_AVAILABLE_IP)
    ]
    exit_.request(m.DisconnectRequest(1, EPOCH), tag=A)
    exit_.connect(b"C" * 16)


def test_too_many_clients() -> None:
    exit_ = Exit(max_clients=1)
    exit_.connect(A)
    assert exit_.request(m.ConnectRequest(5, None, EPOCH), tag=B) == [
        m.ConnectFailure(5, m.ConnectReason.OTHER, "too many clients")
    ]


def test_pool_draws_pairs() -> None:
    pool = AddressPool(SeededRandom(1))
    pairs = {pool.take() for _ in range(500)}
    assert len(pairs) == len(pool) == 500
    assert None not in pairs
