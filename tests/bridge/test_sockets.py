"""What one id does with a raw socket: halves that end on their own, resets, datagrams, pings, and what is passed on."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from typing import Any

import pytest

from smolmix_web.edge.sockets import TcpOptions
from smolmix_web.edge.tls import TlsOptions
from smolmix_web.errors import ConnectionRefused, ConnectionReset, DnsError, HostUnreachable, MessageTooLong
from smolmix_web.netstack import Endpoint
from tests.bridge.stand_in import REMOTE, Datagrams, Page, Stream, settle, tcp_request

DETAIL = {"remoteAddress": "192.0.2.1", "remotePort": 7, "localAddress": "10.0.0.9", "localPort": 40_000}
TLS = {"serverName": "name.test", "alpn": ["h2", "x"], "caCertificates": ["PEM"], "defaultRoots": False}


def udp_request(**fields: Any) -> dict[str, Any]:
    plain = {"localAddress": None, "port": 0, "host": None, "remotePort": None, "family": None}
    return {**plain, "receiveBufferSize": None, **fields}


# -- TCP ------------------------------------------------------------------------------------------------


async def opened(page: Page, **fields: Any) -> None:
    page.say("tcp", request=tcp_request(**fields))
    await settle()


@pytest.mark.feature("Sockets", "TCP: halves end on their own")
@pytest.mark.parametrize("first", ["peer", "page"])
async def test_tcp_ends_when_both_sides_have(first: str) -> None:
    stream = Stream()
    page = Page(tcp=stream)
    await page.set_up()
    await opened(page, tls=TLS)
    facts = {"version": "TLSv1.3", "cipher": "C", "alpn": "h2"}
    assert page.take() == [{"type": "opened", "id": 1, "detail": {**DETAIL, "tls": facts}}]
    for side in (first, "page" if first == "peer" else "peer"):
        assert "close" not in stream.calls and "end" not in page.kinds()
        if side == "peer":
            stream.incoming.put_nowait(b"from the peer")
            stream.incoming.put_nowait(b"")
            page.say("pull")
        else:
            page.say("write", data=b"from the page")
            page.say("finish")
        await settle()
    assert stream.sent == [b"from the page"] and stream.calls == ["send_eof", "close"]
    kinds = page.kinds()
    assert kinds[-1] == "end" and sorted(kinds) == ["chunk", "end", "eof", "written"]
    assert page.open == 0


@pytest.mark.feature("Sockets", "TCP: options of connection and TLS")
async def test_what_a_page_asks_for_is_passed_on() -> None:
    page = Page()
    tunnel = await page.set_up()
    await opened(
        page,
        host="name.test",
        port=443.0,
        family=6,
        tls=TLS,
        noDelay=False,
        keepAliveDelay=2500,
        sendBufferSize=5000,
        receiveBufferSize=6000.0,
        timeouts={"connect": 1500, "tls": float("inf")},
        isolation="alice",
    )
    (asked,) = tunnel.asked
    timeouts = asked.pop("timeouts")
    assert (timeouts.connect, timeouts.tls, timeouts.dns) == (1.5, None, tunnel.timeouts.dns)
    assert asked == {
        "host": "name.test",
        "port": 443,
        "tls": TlsOptions("name.test", ("h2", "x"), ("PEM",), False),
        "options": TcpOptions(nodelay=False, keepalive=2.5, send_buffer=5000, receive_buffer=6000),
        "family": 6,
        "isolation": "alice",
    }


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"family": 5}, "bad_message"),
        ({"tls": {**TLS, "alpn": "h2"}}, "bad_message"),
        ({"tls": {**TLS, "alpn": [5]}}, "bad_option"),
        ({"tls": {**TLS, "alpn": [""]}}, "bad_option"),
        ({"timeouts": {"nap": 5}}, "bad_option"),
        ({"port": "80"}, "bad_message"),
    ],
)
async def test_a_page_that_asks_for_nonsense(fields: dict[str, Any], code: str) -> None:
    page = Page()
    await page.set_up()
    await opened(page, **fields)
    assert page.kinds() == ["error"] and page.error()[0] == code


@pytest.mark.feature("Sockets", "TCP: cancelling the readable leaves the writable open")
@pytest.mark.parametrize("waiting", ["for a pull", "for data"])
async def test_a_page_that_reads_no_more_may_go_on_writing(waiting: str) -> None:
    stream = Stream()
    page = Page(tcp=stream)
    await page.set_up()
    await opened(page)
    if waiting == "for a pull":
        stream.incoming.put_nowait(b"unread")
        await settle()
    page.say("discard")
    stream.incoming.put_nowait(b"dropped")
    stream.incoming.put_nowait(b"dropped too")
    page.say("write", data=b"still here")
    await settle()
    assert stream.sent == [b"still here"] and stream.incoming.empty() and page.kinds() == ["opened", "written"]
    page.say("finish")
    await settle()
    assert stream.calls == ["send_eof", "close"] and page.kinds()[-1] == "end" and page.open == 0


@pytest.mark.feature("Sockets", "TCP over TLS: an end that was cut off is told")
@pytest.mark.parametrize("truncated", [False, True])
async def test_an_end_that_was_cut_off(truncated: bool) -> None:
    stream = Stream(truncated=truncated)
    page = Page(tcp=stream)
    await page.set_up()
    await opened(page)
    stream.incoming.put_nowait(b"")
    await settle()
    assert page.posted[-1] == {"type": "eof", "id": 1, "truncated": truncated}


async def test_a_page_that_reads_no_more_hears_of_a_reset() -> None:
    stream = Stream()
    page = Page(tcp=stream)
    await page.set_up()
    await opened(page)
    page.say("discard")
    stream.incoming.put_nowait(ConnectionReset("reset by the peer", phase="transfer"))
    await settle()
    assert page.error() == ("connection_reset", "transfer") and page.open == 0


@pytest.mark.feature("Sockets", "TCP: close sends what was written, then ends")
@pytest.mark.parametrize("order", [("finish", "discard"), ("discard", "finish")])
async def test_both_halves_ended_by_the_page(order: tuple[str, str]) -> None:
    stream = Stream()
    stream.room.clear()
    page = Page(tcp=stream)
    await page.set_up()
    await opened(page)
    page.say("write", data=b"last words")
    for kind in order:
        page.say(kind)
    await settle()
    assert page.kinds() == ["opened"] and stream.calls == [], "what was written goes first"
    stream.room.set()
    await settle()
    assert stream.sent == [b"last words"] and stream.calls == ["send_eof", "close"]
    assert page.kinds() == ["opened", "written", "end"] and page.open == 0


@pytest.mark.feature("Sockets", "TCP: a reset reaches both streams")
@pytest.mark.parametrize("side", ["reading", "writing"])
async def test_tcp_resets(side: str) -> None:
    stream = Stream()
    page = Page(tcp=stream)
    await page.set_up()
    await opened(page)
    error = ConnectionReset("reset by the peer", phase="transfer")
    if side == "reading":
        stream.incoming.put_nowait(error)
    else:

        async def refuse(data: bytes) -> None:
            raise error

        stream.write = refuse  # type: ignore[method-assign]
        page.say("write", data=b"x")
    await settle()
    assert page.error() == ("connection_reset", "transfer")
    assert stream.calls == ["abort"] and page.open == 0


@pytest.mark.parametrize("writing", ["", "finished"])
async def test_abort_of_tcp_resets_it(writing: str) -> None:
    stream = Stream()
    page = Page(tcp=stream)
    await page.set_up()
    await opened(page)
    if writing:
        page.say("finish")
        await settle()
    page.say("abort")
    await settle()
    assert stream.calls[-1] == "abort" and page.kinds() == ["opened"] and page.open == 0


async def test_a_refused_connection() -> None:
    page = Page(tcp=ConnectionRefused("refused", phase="connect"))
    await page.set_up()
    await opened(page)
    assert page.kinds() == ["error"] and page.error() == ("connect_refused", "connect")


@pytest.mark.feature("Sockets", "TCP: backpressure down to the peer")
async def test_nothing_is_read_that_was_not_asked_for() -> None:
    stream = Stream()
    page = Page(tcp=stream)
    await page.set_up()
    await opened(page)
    for number in range(5):
        stream.incoming.put_nowait(bytes([number]))
    await settle()
    assert stream.incoming.qsize() == 4, "one piece is read ahead, no more"
    page.say("pull")
    await settle()
    assert stream.incoming.qsize() == 3 and page.kinds() == ["opened", "chunk"]


# -- UDP ------------------------------------------------------------------------------------------------


@pytest.mark.feature("Sockets", "UDP: bound sockets")
async def test_datagrams() -> None:
    socket = Datagrams()
    page = Page(udp=socket)
    tunnel = await page.set_up()
    page.say(
        "udp", request=udp_request(port=5000, localAddress="::", family=6, receiveBufferSize=9000, isolation="alice")
    )
    page.say("write", data=b"ping", host="name.test", port=7)
    await settle()
    assert page.take() == [
        {"type": "opened", "id": 1, "detail": {"localAddress": "::", "localPort": 50_000}},
        {"type": "written", "id": 1, "bytes": 4},
    ]
    assert tunnel.asked == [{"port": 5000, "address": "::", "family": 6, "receive_buffer": 9000, "isolation": "alice"}]
    assert tunnel.isolations == ["alice"], "names that a datagram is sent to are looked up under the socket's key"
    assert socket.sent == [(b"ping", "192.0.2.1", 7)]
    socket.incoming.put_nowait((b"pong", Endpoint(IPv4Address("192.0.2.1"), 7)))
    await settle()
    assert page.take() == []
    page.say("pull")
    await settle()
    assert page.take() == [{"type": "chunk", "id": 1, "data": b"pong", "host": "192.0.2.1", "port": 7}]
    page.say("abort")
    await settle()
    assert socket.closed and page.open == 0


@pytest.mark.feature("Sockets", "UDP: connected sockets")
async def test_a_connected_socket() -> None:
    socket = Datagrams(REMOTE)
    page = Page(udp=socket)
    tunnel = await page.set_up()
    page.say("udp", request=udp_request(host="name.test", remotePort=7, family=4, isolation="alice"))
    page.say("write", data=b"ping")
    await settle()
    assert page.take()[0]["detail"] == {**DETAIL, "localPort": 50_000}
    asked = {"host": "name.test", "port": 7, "local_port": 0, "family": 4, "receive_buffer": None}
    expected = {**asked, "isolation": "alice"}
    assert tunnel.asked == [expected] and socket.sent == [(b"ping", None, None)]
    page.say("abort")
    await settle()
    assert socket.closed


async def test_one_datagram_fails_alone() -> None:
    socket = Datagrams()
    page = Page(udp=socket, resolve=DnsError("no such name", code="dns_not_found", phase="dns"))
    await page.set_up()
    page.say("udp", request=udp_request())
    page.say("write", data=b"x", host="name.test", port=7)
    await settle()
    page.meets.pop("resolve")
    socket.fail = MessageTooLong("too long")
    page.say("write", data=b"x", host="name.test", port=7)
    await settle()
    socket.fail = None
    socket.incoming.put_nowait(ConnectionRefused("port unreachable"))
    page.say("pull")
    page.say("write", data=b"good", host="name.test", port=7)
    await settle()
    failed = [(m["request"], m["error"]["code"]) for m in page.posted if m["type"] == "failed"]
    assert failed == [("write", "dns_not_found"), ("write", "message_too_long"), ("pull", "connect_refused")]
    assert socket.sent == [(b"good", "192.0.2.1", 7)] and page.kinds()[-1] in ("written", "failed")
    assert not socket.closed


async def test_addresses_that_are_lost_end_the_socket() -> None:
    socket = Datagrams()
    page = Page(udp=socket)
    await page.set_up()
    page.say("udp", request=udp_request())
    page.say("pull")
    await settle()
    socket.closed = True  # the stack it lived in is gone
    socket.incoming.put_nowait(ConnectionReset("the exit was lost", code="exit_dead"))
    await settle()
    assert page.error() == ("exit_dead", None) and page.open == 0


@pytest.mark.parametrize("fields", [{}, {"host": "name.test"}, {"port": 7}])
async def test_a_datagram_without_destination(fields: dict[str, Any]) -> None:
    socket = Datagrams()
    socket.fail = ConnectionRefused("not connected", code="not_connected")
    page = Page(udp=socket)
    await page.set_up()
    page.say("udp", request=udp_request())
    page.say("write", data=b"x", **fields)
    await settle()
    assert page.posted[-1]["error"]["code"] == ("bad_message" if fields else "not_connected")


async def test_a_bound_socket_waits_for_an_address() -> None:
    address = asyncio.Event()
    page = Page(usable=address)
    tunnel = await page.set_up()
    page.say("udp", request=udp_request())
    await settle()
    assert page.take() == [] and tunnel.asked == []
    address.set()
    await settle()
    assert page.kinds() == ["opened"]


@pytest.mark.parametrize("port", [-1, 70_000])
async def test_a_port_that_is_none(port: int) -> None:
    page = Page()
    await page.set_up()
    page.say("udp", request=udp_request(port=port))
    await settle()
    assert page.error() == ("bad_port", "udp")


# -- ping -----------------------------------------------------------------------------------------------


@pytest.mark.feature("Sockets", "ping")
async def test_a_ping() -> None:
    page = Page()
    tunnel = await page.set_up()
    page.say("ping", host="name.test", family=4, timeout=1500, size=10)
    await settle()
    assert page.take() == [{"type": "result", "id": 1, "value": {"address": "192.0.2.1", "rtt": 1250}}]
    assert (
        tunnel.asked == [{"host": "name.test", "timeout": 1.5, "size": 10, "family": 4, "isolation": None}]
        and page.open == 0
    )


async def test_pings_that_fail_or_are_given_up() -> None:
    page = Page(ping=HostUnreachable("host unreachable", phase="ping"))
    tunnel = await page.set_up()
    page.say("ping", 1, host="h", family=None, timeout=1500, size=10)
    await settle()
    assert page.error(1) == ("host_unreachable", "ping")
    page.meets["ping"] = asyncio.Event()
    page.say("ping", 2, host="h", family=None, timeout=1500, size=10)
    await settle()
    page.say("abort", 2)
    await settle()
    assert tunnel.cancelled == ["ping"] and page.kinds(2) == [] and page.open == 0
