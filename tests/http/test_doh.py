"""DNS over HTTPS across a wire, in virtual time: what is sent, what is made of every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import dns.message
import dns.rrset
import pytest
import trustme

from smolmix_web.dns import Resolver, parse_server
from smolmix_web.edge.sockets import TcpStream
from smolmix_web.errors import DnsError
from smolmix_web.http.doh import MAX_SERVERS, DnsOverHttps
from smolmix_web.rand import SeededRandom
from tests.http2_server import Http2Server
from tests.http_server import Answer, HttpServer, Request
from tests.tls_server import TlsServer, server_context
from tests.virtual_loop import virtual
from tests.wire import Wire

SERVER = parse_server("primaryDns", "https://192.0.2.53/dns-query#dns.test")
TYPE = ("content-type", "application/dns-message")


def answer_to(query: bytes) -> bytes:
    response = dns.message.make_response(dns.message.from_wire(query))
    response.answer.append(dns.rrset.from_text(response.question[0].name, 300, "IN", "A", "192.0.2.80"))
    return response.to_wire()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


Handler = Callable[[Request], Answer]


def listen(wire: Wire, authority: trustme.CA, http: HttpServer | Http2Server, alpn: str) -> None:
    context = server_context(authority.issue_cert("dns.test"), alpn=(alpn,))

    async def serve(stream: TcpStream) -> None:
        tls = TlsServer(stream, context)
        await tls.handshake()
        await http.serve(tls)  # type: ignore[arg-type]

    wire.listen(443, serve)


def set_up(authority: trustme.CA, handler: Handler) -> tuple[Wire, HttpServer, Resolver]:
    wire = Wire()
    http = HttpServer(handler)
    listen(wire, authority, http, "http/1.1")
    return wire, http, client(wire, authority)


def client(wire: Wire, authority: trustme.CA) -> Resolver:
    doh = DnsOverHttps(wire.client, extra_roots=[authority.cert_pem.bytes().decode()])
    return Resolver(wire.client, SERVER, None, 30, SeededRandom("doh"), https=doh)


@pytest.mark.feature("DNS", "DNS over HTTPS: POST, id 0, padded, without cookies; the address of the server is given")
def test_what_is_posted(authority: trustme.CA) -> None:
    @virtual
    async def run() -> None:
        _wire, http, resolver = set_up(authority, lambda request: Answer(headers=[TYPE], body=answer_to(request.body)))
        for name in ("a.test", "a-longer-name.with.labels.test"):
            answer = await resolver.lookup(name)
            assert answer.server == str(SERVER) and answer.ttl == 300
        first, second = http.requests
        assert (first.method, first.target, first.headers["host"]) == ("POST", "/dns-query", "dns.test")
        assert first.headers["accept"] == first.headers["content-type"] == "application/dns-message"
        assert "cookie" not in first.headers and "referer" not in first.headers
        assert first.body[:2] == second.body[:2] == b"\0\0" and len(first.body) == len(second.body) == 128
        assert http.connections == 1  # kept for the next question

    run()


@pytest.mark.feature("DNS", "DNS over HTTPS: many questions at once on one HTTP/2 connection")
def test_http2(authority: trustme.CA) -> None:
    @virtual
    async def run() -> None:
        wire = Wire()
        http = Http2Server(lambda request: Answer(headers=[TYPE], body=answer_to(request.body)))
        listen(wire, authority, http, "h2")
        resolver = client(wire, authority)
        answers = await asyncio.gather(*(resolver.lookup(f"n{index}.test") for index in range(20)))
        assert all(answer.records for answer in answers)
        assert len(http.sessions) == 1 and len(http.requests) == 20
        assert {len(request.body) for request in http.requests} == {128}

    run()


def test_the_age_of_an_answer_counts(authority: trustme.CA) -> None:
    @virtual
    async def run() -> None:
        for age, ttl in (("100", 200), ("1000", 0), ("x", 300), ("-5", 300)):
            headers = [TYPE, ("age", age)]
            _, _, resolver = set_up(
                authority, lambda request, headers=headers: Answer(headers=headers, body=answer_to(request.body))
            )
            answer = await resolver.lookup("a.test")
            assert (answer.ttl, answer.records[0].ttl) == (ttl, ttl), age

    run()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(500), "dns_servfail"),
        (Answer(429), "dns_servfail"),
        (Answer(404), "dns_refused"),
        (Answer(302, [("location", "https://elsewhere.test/")]), "dns_malformed"),
        (Answer(200, [("content-type", "text/html")], b"<html>"), "dns_malformed"),
        (Answer(200, [TYPE], b""), "dns_malformed"),
        (Answer(200, [TYPE], b"\0\0\x81"), "dns_malformed"),
        (Answer(200, [TYPE], b"\0\0\x81\x80" + b"\0" * 100), "dns_malformed"),
        (Answer(200, [TYPE], bytes(70_000)), "dns_malformed"),
        (Answer(200, [TYPE, ("content-encoding", "gzip")], b"not gzip"), "dns_malformed"),
    ],
)
def test_answers_that_are_none(authority: trustme.CA, answer: Answer, code: str) -> None:
    @virtual
    async def run() -> None:
        _wire, http, resolver = set_up(authority, lambda request: answer)
        with pytest.raises(DnsError) as caught:
            await resolver.lookup("a.test")
        assert (caught.value.code, caught.value.phase) == (code, "dns")
        assert len(http.requests) == 1

    run()


def test_a_stale_connection_is_replaced(authority: trustme.CA) -> None:
    @virtual
    async def run() -> None:
        _, http, resolver = set_up(
            authority, lambda request: Answer(headers=[TYPE], body=answer_to(request.body), close=True)
        )
        for index in range(3):
            assert (await resolver.lookup(f"n{index}.test")).records
        assert http.connections == 3

    run()


def test_the_certificate_and_the_number_of_servers(authority: trustme.CA) -> None:
    @virtual
    async def run() -> None:
        wire, http, resolver = set_up(authority, lambda request: Answer(headers=[TYPE], body=answer_to(request.body)))
        with pytest.raises(DnsError) as caught:
            await resolver.lookup("a.test", server="https://192.0.2.53/dns-query")
        assert (caught.value.code, caught.value.reason) == ("dns_untrusted", "wrong_host")
        assert not http.requests
        for last in range(60, 60 + 2 * MAX_SERVERS):
            assert (await resolver.lookup("a.test", server=f"https://192.0.2.{last}#dns.test")).records
        assert wire.client.open_connections() <= MAX_SERVERS + 1
        resolver = Resolver(wire.client, SERVER, None, 30, SeededRandom("none"))
        with pytest.raises(DnsError) as caught:
            await resolver.lookup("a.test")
        assert caught.value.code == "dns_unreachable"

    run()
