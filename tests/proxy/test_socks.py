"""The SOCKS codec: byte by byte, cut, with more behind it, and against the client codec of another library."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
import socksio
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.proxy.socks import (
    Command,
    Handshake,
    Reply,
    Request,
    SocksError,
    decode_datagram,
    encode_datagram,
)

GREETING = b"\x05\x01\x00"
CONNECT_NAME = b"\x05\x01\x00\x03\x0borigin.test\x01\xbb"
CONNECT_4 = b"\x05\x01\x00\x01\xcb\x00\x72\x0a\x00\x50"
CONNECT_6 = b"\x05\x01\x00\x04" + ip_address("2a0e:6a80:114::a").packed + b"\x00\x50"
LOGIN = b"\x05\x02\x00\x02" + b"\x01\x05alice\x06secret"
SOCKS4 = b"\x04\x01\x00\x50\xcb\x00\x72\x0aalice\x00"
SOCKS4A = b"\x04\x01\x01\xbb\x00\x00\x00\x01bob\x00origin.test\x00"

CONVERSATIONS = [
    (GREETING + CONNECT_NAME, b"\x05\x00", Request(5, Command.CONNECT, "origin.test", 443, "")),
    (GREETING + CONNECT_4, b"\x05\x00", Request(5, Command.CONNECT, "203.0.114.10", 80, "")),
    (GREETING + CONNECT_6, b"\x05\x00", Request(5, Command.CONNECT, "2a0e:6a80:114::a", 80, "")),
    (LOGIN + CONNECT_NAME, b"\x05\x02\x01\x00", Request(5, Command.CONNECT, "origin.test", 443, "alice")),
    (SOCKS4, b"", Request(4, Command.CONNECT, "203.0.114.10", 80, "alice")),
    (SOCKS4A, b"", Request(4, Command.CONNECT, "origin.test", 443, "bob")),
    (
        GREETING + b"\x05\x03\x00\x01\x00\x00\x00\x00\x12\x34",
        b"\x05\x00",
        Request(5, Command.UDP_ASSOCIATE, "0.0.0.0", 0x1234, ""),
    ),
]


def play(handshake: Handshake, pieces: list[bytes]) -> tuple[Request | None, bytes]:
    """The request once it is complete, and everything that was sent."""
    out, request = b"", None
    for piece in pieces:
        assert request is None, "complete before its last byte"
        request = handshake.receive(piece)
        out += handshake.take()
    return request, out


@pytest.mark.parametrize(("said", "heard", "request_"), CONVERSATIONS)
def test_in_one_piece_byte_by_byte_and_cut(said: bytes, heard: bytes, request_: Request) -> None:
    assert play(Handshake(), [said]) == (request_, heard)
    assert play(Handshake(), [said[i : i + 1] for i in range(len(said))]) == (request_, heard)
    for length in range(len(said)):
        assert play(Handshake(), [said[:length]])[0] is None


@pytest.mark.parametrize(("said", "heard", "request_"), CONVERSATIONS)
def test_what_follows_is_kept(said: bytes, heard: bytes, request_: Request) -> None:
    handshake = Handshake()
    assert play(handshake, [said + b"GET / HTTP/1.1\r\n"]) == (request_, heard)
    assert handshake.rest == b"GET / HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("said", "heard", "code"),
    [
        (b"GET / HTTP/1.1\r\n", b"", "socks_version"),
        (b"\x05\x01\x01", b"\x05\xff", "socks_authentication"),
        (b"\x05\x00", b"\x05\xff", "socks_authentication"),
        (GREETING + b"\x04\x01\x00\x01", b"\x05\x00", "socks_version"),
        (b"\x05\x01\x02\x05\x01a\x01b", b"\x05\x02", "socks_version"),
        (GREETING + b"\x05\x02" + CONNECT_4[2:], b"\x05\x00\x05\x07\x00\x01" + bytes(6), "socks_unsupported"),
        (GREETING + b"\x05\x01\x00\x09", b"\x05\x00\x05\x08\x00\x01" + bytes(6), "socks_unsupported"),
        (GREETING + b"\x05\x01\x00\x03\x00\x00\x50", b"\x05\x00\x05\x04\x00\x01" + bytes(6), "socks_unsupported"),
        (GREETING + b"\x05\x01\x00\x03\x01\xff\x00\x50", b"\x05\x00\x05\x04\x00\x01" + bytes(6), "socks_unsupported"),
        (b"\x04\x02" + SOCKS4[2:], b"\x00\x5b" + bytes(6), "socks_unsupported"),
        (b"\x04\x01\x00\x50\x01\x02\x03\x04" + b"u" * 256, b"", "socks_malformed"),
        (SOCKS4A[:12] + b"n" * 256, b"", "socks_malformed"),
    ],
)
def test_what_is_refused(said: bytes, heard: bytes, code: str) -> None:
    handshake = Handshake()
    with pytest.raises(SocksError) as raised:
        handshake.receive(said)
    assert (handshake.take(), raised.value.code) == (heard, code)


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (GREETING, b"\x05\xff"),
        (b"\x05\x01\x02\x01\x05alice\x05wrong", b"\x05\x02\x01\x01"),
        (b"\x05\x01\x02\x01\x00\x00", b"\x05\x02\x01\x01"),
        (SOCKS4A, b"\x00\x5d" + bytes(6)),
    ],
)
def test_credentials(said: bytes, heard: bytes) -> None:
    def allowed(user: str, password: str) -> bool:
        return (user, password) == ("alice", "secret")

    handshake = Handshake(allowed)
    with pytest.raises(SocksError) as raised:
        handshake.receive(said)
    assert (handshake.take(), raised.value.code) == (heard, "socks_authentication")
    assert play(Handshake(allowed), [LOGIN + CONNECT_4]) == (
        Request(5, Command.CONNECT, "203.0.114.10", 80, "alice"),
        b"\x05\x02\x01\x00",
    )


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_bytes_that_mean_nothing(pieces: list[bytes]) -> None:
    handshake = Handshake()
    size = 0
    for piece in pieces:
        size += len(piece)
        try:
            request = handshake.receive(piece)
        except SocksError:
            return
        if request is not None:
            assert len(handshake.rest) < size
            return
        assert len(handshake._received) <= 2 * 256 + 16


@pytest.mark.parametrize("host", ["origin.test", "203.0.114.10", "2a0e:6a80:114::a"])
@pytest.mark.parametrize("user", [None, "alice"])
def test_against_the_client_of_socksio(host: str, user: str | None) -> None:
    client, server = socksio.socks5.SOCKS5Connection(), Handshake()
    methods = [socksio.socks5.SOCKS5AuthMethod.NO_AUTH_REQUIRED, socksio.socks5.SOCKS5AuthMethod.USERNAME_PASSWORD]
    client.send(socksio.socks5.SOCKS5AuthMethodsRequest(methods[: 2 if user else 1]))
    assert server.receive(client.data_to_send()) is None
    client.receive_data(server.take())
    if user is not None:
        client.send(socksio.socks5.SOCKS5UsernamePasswordRequest(user.encode(), b"anything"))
        assert server.receive(client.data_to_send()) is None
        assert client.receive_data(server.take()).success
    command = socksio.socks5.SOCKS5Command.CONNECT
    client.send(socksio.socks5.SOCKS5CommandRequest.from_address(command, (host, 443)))
    request = server.receive(client.data_to_send())
    assert request == Request(5, Command.CONNECT, host, 443, user or "")
    heard = client.receive_data(request.reply(Reply.SUCCEEDED, ip_address("2001:db8::1"), 4711))
    assert heard.reply_code is socksio.socks5.SOCKS5ReplyCode.SUCCEEDED and heard.port == 4711


def test_against_the_4a_client_of_socksio() -> None:
    client = socksio.socks4.SOCKS4Connection(user_id=b"alice")
    client.send(socksio.socks4.SOCKS4ARequest.from_address(socksio.socks4.SOCKS4Command.CONNECT, ("origin.test", 443)))
    request = Handshake().receive(client.data_to_send())
    assert request == Request(4, Command.CONNECT, "origin.test", 443, "alice")
    heard = client.receive_data(request.reply(Reply.SUCCEEDED, ip_address("10.0.0.1"), 4711))
    assert heard.reply_code is socksio.socks4.SOCKS4ReplyCode.REQUEST_GRANTED
    refused = Handshake().receive(SOCKS4)
    assert refused is not None and refused.reply(Reply.REFUSED)[:2] == b"\x00\x5b"


def test_datagrams() -> None:
    header = b"\x00\x00\x00\x01\xcb\x00\x72\x0a\x00\x35"
    found = decode_datagram(header + b"payload")
    assert (found.host, found.port, found.data) == ("203.0.114.10", 53, b"payload")
    assert decode_datagram(b"\x00\x00\x00\x03\x03a.b\x00\x35").host == "a.b"
    assert encode_datagram(ip_address("203.0.114.10"), 53, b"payload") == header + b"payload"
    six = ip_address("2a0e:6a80:114::a")
    assert decode_datagram(encode_datagram(six, 53, b"")).host == str(six)
    for length in range(len(header)):
        with pytest.raises(SocksError):
            decode_datagram(header[:length])
    for wrong in (b"\x00\x00\x01" + header[3:], b"\x00\x00\x00\x09" + header[4:], header[:-2] + bytes(2)):
        with pytest.raises(SocksError):
            decode_datagram(wrong)
