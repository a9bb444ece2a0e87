"""The worked examples of ipr.md 2.8, every request and response whole, cut short and with trailing bytes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import ExitError
from smolmix_web.exit import messages as m
from smolmix_web.exit.bincode import Timestamp
from smolmix_web.exit.bundles import join
from smolmix_web.mixnet.lp_frame import DATA, OPEN, LpFrame

STREAM = 0x1122334455667788
CONNECT_ID = 0x0123456789ABCDEF
IPV4, IPV6 = IPv4Address("10.0.171.205"), IPv6Address("fc00::abcd")
TS = Timestamp(2026, 136, 12, 34, 56, 789_000_000)
TS_HEX = "FB0FD4880C2238FC2F072F40000000"
PACKET_A = bytes.fromhex("4500001D0001400040118300 0A00ABCD 01010101 C0000035 0009DCD6 AB")
PACKET_B = bytes.fromhex("4500001C0002400040018310 0A00ABCD 01010101 0800F7F7 00010007")
BUNDLE = join((PACKET_A, PACKET_B))

REQUESTS = [
    (9, m.ConnectRequest(CONNECT_ID, None, TS), "0901 0100 FD0123456789ABCDEF 00" + TS_HEX),
    (9, m.ConnectRequest(CONNECT_ID, 50, TS), "0901 0100 FD0123456789ABCDEF 0132" + TS_HEX),
    (8, m.ConnectRequest(CONNECT_ID, None, TS), "0801 0100 FD0123456789ABCDEF 00" + TS_HEX),
    (10, m.ConnectRequest(CONNECT_ID, None, TS), "0A01 0100 FD0123456789ABCDEF 00" + TS_HEX),
    (9, m.DataRequest(BUNDLE), "0901 00 3D 001D" + PACKET_A.hex() + "001C" + PACKET_B.hex()),
    (9, m.PingRequest(42, TS), "0901 0102 2A" + TS_HEX),
    (9, m.DisconnectRequest(300, TS), "0901 0101 FB012C" + TS_HEX),
    (9, m.HealthRequest(7, TS), "0901 0103 07" + TS_HEX),
]

BUILD = m.BuildInfo("nym-node", "t", "1.37.0", "abc", "t", "develop", "1.88", "stable", "release", "x86_64")
BUILD_HEX = "".join(
    bytes((len(text),)).hex() + text.encode().hex()
    for text in ("nym-node", "t", "1.37.0", "abc", "t", "develop", "1.88", "stable", "release", "x86_64")
)
SUCCESS_HEX = "0100 FD0123456789ABCDEF 00 0A00ABCD FC00" + "00" * 12 + "ABCD"

RESPONSES = [
    (9, m.ConnectSuccess(CONNECT_ID, IPV4, IPV6), "09" + SUCCESS_HEX),
    (10, m.ConnectSuccess(CONNECT_ID, IPV4, IPV6, 1420), "0A" + SUCCESS_HEX + "FB058C"),
    (9, m.ConnectFailure(CONNECT_ID, m.ConnectReason.NO_AVAILABLE_IP), "090100 FD0123456789ABCDEF 0101"),
    (9, m.ConnectFailure(CONNECT_ID, m.ConnectReason.OTHER, "busy"), "090100 FD0123456789ABCDEF 0102 0462757379"),
    (9, m.ConnectFailure(CONNECT_ID, m.ConnectReason.CLIENT_ALREADY_CONNECTED), "090100 FD0123456789ABCDEF 0100"),
    (9, m.DataResponse(BUNDLE), "09003D" + BUNDLE.hex()),
    (9, m.DataResponse(bytes(1500)), "0900FB05DC" + "00" * 1500),
    (9, m.PongResponse(42), "0901032A"),
    (9, m.DisconnectSuccess(300), "090101FB012C00"),
    (9, m.DisconnectFailure(300, m.DisconnectReason.CLIENT_NOT_CONNECTED), "090101FB012C0100"),
    (9, m.DisconnectFailure(300, m.DisconnectReason.OTHER, "no"), "090101FB012C0101026E6F"),
    (
        9,
        m.InfoResponse(0, m.PolicyRefusal("10.0.0.1:22"), m.InfoLevel.WARN),
        "09010500020B31302E302E302E313A323201",
    ),
    (9, m.InfoResponse(5, m.GenericInfo("hi"), m.InfoLevel.INFO), "09010505000268 6900"),
    (9, m.InfoResponse(5, m.VersionMismatch(11, 10), m.InfoLevel.ERROR), "0901 05 05 01 0B0A 02"),
    (9, m.UnrequestedDisconnect(m.UnrequestedReason.MIXNET_TRAFFIC_TIMEOUT), "09010200"),
    (9, m.UnrequestedDisconnect(m.UnrequestedReason.TUN_TRAFFIC_TIMEOUT), "09010201"),
    (9, m.UnrequestedDisconnect(m.UnrequestedReason.OTHER, "bye"), "0901020203627965"),
    (9, m.HealthResponse(7, BUILD, None), "090104 07" + BUILD_HEX + "00"),
    (9, m.HealthResponse(7, BUILD, True), "090104 07" + BUILD_HEX + "0101"),
]


@pytest.mark.parametrize(("version", "request_", "encoded"), REQUESTS)
def test_requests(version: int, request_: m.Request, encoded: str) -> None:
    data = bytes.fromhex(encoded)
    assert m.encode_request(version, request_) == data
    assert m.decode_request(data) == (version, request_)
    for end in range(len(data)):
        with pytest.raises(ExitError) as caught:
            m.decode_request(data[:end])
        assert caught.value.phase == "exit"
    for tail in (b"\x00", b"tail"):
        with pytest.raises(ExitError, match="trailing"):
            m.decode_request(data + tail)


@pytest.mark.parametrize(("version", "response", "encoded"), RESPONSES)
def test_responses(version: int, response: m.Response, encoded: str) -> None:
    data = bytes.fromhex(encoded)
    assert m.encode_response(version, response) == data
    assert m.decode_response(data) == (version, response)
    for end in range(len(data)):
        with pytest.raises(ExitError):
            m.decode_response(data[:end])
    for tail in (b"\x00", b"tail"):
        with pytest.raises(ExitError, match="trailing"):
            m.decode_response(data + tail)


def test_worked_sizes_and_frames() -> None:
    connect = m.encode_request(9, m.ConnectRequest(CONNECT_ID, None, TS))
    assert len(connect) == 29
    assert LpFrame(STREAM, DATA, 0, connect).to_bytes() == bytes.fromhex(
        "03001122334455667788010000000000 09010100FD0123456789ABCDEF00" + TS_HEX
    )
    assert LpFrame(STREAM, OPEN, 0).to_bytes() == bytes.fromhex("03001122334455667788000000000000")
    data = m.encode_request(9, m.DataRequest(BUNDLE))
    assert (len(data), len(LpFrame(STREAM, DATA, 1, data).to_bytes())) == (65, 81)
    assert LpFrame(STREAM, DATA, 1, data).to_bytes()[:16] == bytes.fromhex("03001122334455667788010000000100")
    pong = m.encode_response(9, m.PongResponse(42))
    assert LpFrame(STREAM, DATA, 0, pong).to_bytes() == bytes.fromhex("030011223344556677880100000000000901032A")
    assert len(m.encode_response(10, m.ConnectSuccess(CONNECT_ID, IPV4, IPV6, 1420))) == 36


def test_sizes_of_the_reference_tests() -> None:
    moment = Timestamp(2024, 1, 12, 59, 59, 500_000_000)
    assert len(m.encode_request(8, m.ConnectRequest(123, None, moment))) == 21
    assert len(m.encode_request(8, m.DataRequest(bytes(32)))) == 36


def test_the_layout_follows_the_version_byte() -> None:
    ten = m.encode_response(10, m.ConnectSuccess(1, IPV4, IPV6, 1420))
    with pytest.raises(ExitError, match="trailing"):
        m.decode_response(b"\x09" + ten[1:])
    nine = m.encode_response(9, m.ConnectSuccess(1, IPV4, IPV6))
    with pytest.raises(ExitError, match="mtu at offset 25: 1 byte needed"):
        m.decode_response(b"\x0a" + nine[1:])
    for version, mtu in ((9, 1420), (10, None)):
        with pytest.raises(ValueError, match="MTU"):
            m.encode_response(version, m.ConnectSuccess(1, IPV4, IPV6, mtu))


@pytest.mark.parametrize("version", [0, 3, 6, 7, 11, 255])
def test_other_versions_are_refused_by_name(version: int) -> None:
    for decode in (m.decode_request, m.decode_response):
        with pytest.raises(ExitError, match=f"version at offset 0: {version} ") as caught:
            decode(bytes((version, 1, 0, 0)))
        assert caught.value.code == "exit_unsupported_version"
    with pytest.raises(ExitError):
        m.encode_request(version, m.DataRequest(b""))
    with pytest.raises(ExitError):
        m.encode_response(version, m.DataResponse(b""))


@pytest.mark.parametrize(
    ("encoded", "where"),
    [
        ("0900 00 00", "service provider type at offset 1"),
        ("0901 02 00", "request at offset 2: unknown variant 2"),
        ("0901 01 04 00", "control request at offset 3: unknown variant 4"),
        ("0901 0100 01 02", "buffer timeout marker at offset 5"),
        ("0901 00 05 00", "data request packets at offset 3: length 5"),
    ],
)
def test_bad_requests_name_field_and_offset(encoded: str, where: str) -> None:
    with pytest.raises(ExitError, match=where) as caught:
        m.decode_request(bytes.fromhex(encoded))
    assert caught.value.code == "exit_malformed"


@pytest.mark.parametrize(
    ("encoded", "where"),
    [
        ("09 02", "response at offset 1: unknown variant 2"),
        ("09 01 06", "control response at offset 2: unknown variant 6"),
        ("09 0100 01 02", "connect reply at offset 4: unknown variant 2"),
        ("09 0100 01 01 03", "connect failure reason at offset 5: unknown variant 3"),
        ("09 0101 01 01 02", "disconnect failure reason at offset 5"),
        ("09 0102 03", "disconnect reason at offset 3"),
        ("09 0105 00 03", "info reply at offset 4"),
        ("09 0105 00 00 00 03", "info level at offset 6"),
        ("09 0105 00 02 02 FFFF 01", "refused destination at offset 5: not UTF-8"),
    ],
)
def test_bad_responses_name_field_and_offset(encoded: str, where: str) -> None:
    with pytest.raises(ExitError, match=where):
        m.decode_response(bytes.fromhex(encoded))


def test_a_text_without_its_reason_is_not_written() -> None:
    with pytest.raises(ValueError, match="carries no text"):
        m.encode_response(9, m.ConnectFailure(1, m.ConnectReason.NO_AVAILABLE_IP, "text"))


ids = st.integers(0, (1 << 64) - 1)
moments = st.builds(Timestamp, st.integers(1970, 2100), st.integers(1, 366), st.integers(0, 23))
requests = st.one_of(
    st.builds(m.DataRequest, st.binary(max_size=600)),
    st.builds(m.ConnectRequest, ids, st.none() | ids, moments),
    st.builds(m.DisconnectRequest, ids, moments),
    st.builds(m.PingRequest, ids, moments),
    st.builds(m.HealthRequest, ids, moments),
)
texts = st.text(max_size=40)
responses = st.one_of(
    st.builds(m.DataResponse, st.binary(max_size=600)),
    st.builds(m.ConnectSuccess, ids, st.ip_addresses(v=4), st.ip_addresses(v=6), st.integers(0, 65535)),
    st.builds(m.ConnectFailure, ids, st.just(m.ConnectReason.OTHER), texts),
    st.builds(m.DisconnectFailure, ids, st.just(m.DisconnectReason.OTHER), texts),
    st.builds(m.UnrequestedDisconnect, st.just(m.UnrequestedReason.OTHER), texts),
    st.builds(m.PongResponse, ids),
    st.builds(m.HealthResponse, ids, st.builds(m.BuildInfo, *[texts] * 10), st.none() | st.booleans()),
    st.builds(
        m.InfoResponse,
        ids,
        st.one_of(
            st.builds(m.GenericInfo, texts),
            st.builds(m.VersionMismatch, st.integers(0, 255), st.integers(0, 255)),
            st.builds(m.PolicyRefusal, texts),
        ),
        st.sampled_from(m.InfoLevel),
    ),
)


@given(st.sampled_from(m.VERSIONS), requests)
def test_requests_round_trip(version: int, request_: m.Request) -> None:
    assert m.decode_request(m.encode_request(version, request_)) == (version, request_)


@given(responses)
def test_responses_round_trip(response: m.Response) -> None:
    assert m.decode_response(m.encode_response(10, response)) == (10, response)


@given(st.sampled_from([0, 8, 9, 10]), st.binary(max_size=80))
def test_garbage_raises_nothing_but_exit_errors(version: int, rest: bytes) -> None:
    for decode in (m.decode_request, m.decode_response):
        for data in (bytes((version,)) + rest, bytes((version, 1, 1)) + rest, bytes((version, 1, 5)) + rest, rest):
            try:
                decode(data)
            except ExitError as error:
                assert " at offset " in error.message
