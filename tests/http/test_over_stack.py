"""The whole edge at once: names, TCP, TLS, HTTP and WebSocket from one IP stack to another, in virtual time."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import hashlib
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from typing import Any

import dns.message
import dns.rcode
import dns.rrset
import pytest
import trustme
from websockets.server import ServerProtocol

from smolmix_web.dial import ATTEMPT_DELAY
from smolmix_web.dns import Answer as Address
from smolmix_web.dns import Resolver
from smolmix_web.edge.sockets import TcpStream
from smolmix_web.errors import ConnectionRefused, DnsError, SmolmixError, TimeoutExpired, TlsError
from smolmix_web.http import HttpClient, HttpRequest, Timeouts
from smolmix_web.netstack import Endpoint, SynRequest
from smolmix_web.rand import SeededRandom
from smolmix_web.websocket import Close, connect
from tests.http_server import Answer, HttpServer, Request
from tests.tls_server import TlsServer, server_context
from tests.virtual_loop import virtual
from tests.wire import Wire

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
PAGE = hashlib.sha256(b"page").digest() * 4000  # 128 000 bytes
HOSTS = {
    "origin.test.": "192.0.2.80",
    "wrong.test.": "192.0.2.80",
    "old.test.": "192.0.2.81",
    "self.test.": "192.0.2.82",
}


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


class World:
    """Name server, HTTP and HTTPS servers behind the wire, and a client with all it needs."""

    def __init__(self, authority: trustme.CA, handler: Callable[[Request], Any], **options: Any) -> None:
        self.wire = Wire()
        self.http = HttpServer(handler)
        self.wire.udp(53, self._names)
        self.wire.listen(80, self.http.serve)
        self.wire.listen(443, self._https)
        before = LONG_AGO - datetime.timedelta(days=30)
        self.contexts = {
            "192.0.2.80": server_context(authority.issue_cert("origin.test", "192.0.2.80")),
            "192.0.2.81": server_context(authority.issue_cert("old.test", not_before=before, not_after=LONG_AGO)),
            "192.0.2.82": server_context(trustme.CA().issue_cert("self.test")),
        }
        self.after_tls: Callable[[TlsServer], Awaitable[None]] = self.http.serve  # type: ignore[assignment]
        net = self.wire.client
        self.root = authority.cert_pem.bytes().decode()
        self.resolver = Resolver(net, ("192.0.2.1", 53), None, 30, SeededRandom("resolver"))
        self.client = HttpClient(net, self.resolver, extra_roots=[self.root], **options)

    def _names(self, data: bytes, source: Endpoint) -> list[bytes]:
        message = dns.message.from_wire(data)
        response = dns.message.make_response(message, recursion_available=True)
        name = str(message.question[0].name).lower()
        if name in HOSTS:
            if HOSTS[name]:
                response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", *HOSTS[name].split()))
        else:
            response.set_rcode(dns.rcode.NXDOMAIN)
        return [response.to_wire()]

    async def _https(self, stream: TcpStream) -> None:
        tls = TlsServer(stream, self.contexts[str(stream.local.address)])
        try:
            await tls.handshake()
        except OSError:  # ssl.SSLError: the client refused us
            await stream.close()
            return
        await self.after_tls(tls)

    async def get(self, url: str, **kwargs: Any) -> tuple[int, bytes]:
        response = await self.client.fetch(HttpRequest(url, **kwargs))
        return response.status, await response.read()

    def connections(self) -> int:
        return self.wire.client.open_connections()


def pages(request: Request) -> Answer:
    if request.target == "/gzip":
        return Answer(headers=[("Content-Encoding", "gzip")], body=gzip.compress(PAGE))
    if request.target == "/moved":
        return Answer(302, [("Location", "https://origin.test/page")])
    return Answer(body=PAGE)


@virtual
async def test_https_page(authority: trustme.CA) -> None:
    world = World(authority, pages)
    response = await world.client.fetch(HttpRequest("https://origin.test/page"))
    assert response.tls is not None
    assert (response.status, response.tls.version, response.tls.alpn) == (200, "TLSv1.3", "http/1.1")
    assert await response.read() == PAGE
    assert await world.get("https://origin.test/gzip") == (200, PAGE)
    assert await world.get("https://192.0.2.80/") == (200, PAGE)
    assert world.http.connections == 2
    world.client.close()
    await asyncio.sleep(100)
    assert not world.wire.client.stack.connections


@virtual
async def test_a_round_trip_each_for_name_tcp_tls_and_page(authority: trustme.CA) -> None:
    """One second of round trip: a first small page takes four, the next on the same connection one."""
    world = World(authority, lambda _: Answer(body=b"small"))
    clock = world.wire.client
    for url, seconds in (("https://origin.test/1", 4), ("https://origin.test/2", 1), ("http://origin.test/", 2)):
        before = clock.now()
        assert await world.get(url) == (200, b"small")
        assert clock.now() - before == pytest.approx(seconds, abs=0.01)


@virtual
async def test_from_http_to_https(authority: trustme.CA) -> None:
    world = World(authority, pages)
    response = await world.client.fetch(HttpRequest("http://origin.test/moved"))
    assert (response.url, response.redirected) == ("https://origin.test/page", True)
    assert await response.read() == PAGE


@virtual
async def test_a_final_dot_is_the_hosts_and_of_no_concern_to_dns_and_certificates(authority: trustme.CA) -> None:
    world = World(authority, pages)
    response = await world.client.fetch(HttpRequest("https://ORIGIN.test./page"))
    assert (response.url, await response.read()) == ("https://origin.test./page", PAGE)
    assert world.http.requests[-1].headers["host"] == "origin.test."
    assert await world.get("https://origin.test/page") == (200, PAGE)
    assert world.http.connections == 2  # another origin


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("wrong.test", "wrong_host"),
        ("old.test", "expired"),
        ("self.test", "unknown_issuer"),
    ],
)
def test_certificates_that_are_refused(authority: trustme.CA, host: str, reason: str) -> None:
    @virtual
    async def run() -> None:
        world = World(authority, pages)
        with pytest.raises(TlsError) as caught:
            await world.get(f"https://{host}/")
        assert (caught.value.code, caught.value.phase, caught.value.reason) == ("tls_certificate", "tls", reason)
        await asyncio.sleep(70)
        assert world.connections() == 0 and world.client.connection_count == 0
        assert not world.http.requests

    run()


@virtual
async def test_errors_by_phase(authority: trustme.CA) -> None:
    world = World(authority, pages)
    with pytest.raises(DnsError) as unknown:
        await world.get("https://unknown.test/")
    assert (unknown.value.code, unknown.value.phase) == ("dns_not_found", "dns")
    with pytest.raises(ConnectionRefused) as refused:
        await world.get("https://origin.test:444/")
    assert refused.value.phase == "connect"
    with pytest.raises(SmolmixError):
        await world.get("https://localhost/")
    with pytest.raises(TlsError) as plain:
        await world.get("https://origin.test:80/")
    assert plain.value.code == "tls_protocol"
    await asyncio.sleep(70)
    assert world.connections() == 0 and world.client.connection_count == 0


@pytest.mark.feature("HTTP", "Deadlines of each phase")
@pytest.mark.parametrize(("phase", "seconds"), [("dns", 3), ("connect", 5), ("tls", 7)])
def test_deadlines_by_phase(authority: trustme.CA, phase: str, seconds: float) -> None:
    @virtual
    async def run() -> None:
        world = World(authority, pages, timeouts=Timeouts(dns=3, connect=5, tls=7))
        if phase == "dns":
            world.wire.client.deliver = False
        else:
            await world.resolver.resolve("origin.test")
            if phase == "connect":
                world.wire.client.deliver = False
            else:
                world.wire.listen(444, lambda stream: asyncio.sleep(1000))
        before = world.wire.client.now()
        with pytest.raises(TimeoutExpired) as caught:
            await world.get("https://origin.test:444/" if phase == "tls" else "https://origin.test/")
        assert (caught.value.phase, caught.value.code) == (phase, f"{phase}_timeout")
        passed = world.wire.client.now() - before
        assert passed == pytest.approx(seconds + (1 if phase == "tls" else 0))
        assert world.connections() == 0 and world.client.connection_count == 0

    run()


@pytest.mark.feature("HTTP", "Several addresses: the next is tried beside one that does not answer")
@virtual
async def test_the_next_address_when_one_does_not_answer(authority: trustme.CA) -> None:
    """Three addresses: one refuses, one is silent, one serves."""
    world = World(authority, lambda _: Answer(body=b"third"))
    stack = world.wire.server.stack
    seen: list[str] = []

    def on_syn(request: SynRequest, now: float) -> None:
        seen.append(str(request.local.address))
        if seen[-1] == "192.0.2.91":
            request.refuse(now)
        elif seen[-1] == "192.0.2.93":
            connection = request.accept(now)
            world.wire.serve(connection, world.http.serve)

    stack.on_syn = on_syn

    class Fixed(Resolver):
        async def resolve(self, name: str, *, family: int | None = None) -> list[Address]:
            assert family == 4
            return [Address(IPv4Address(f"192.0.2.{number}"), 60) for number in hosts]

    net = world.wire.client
    resolver = Fixed(net, ("192.0.2.1", 53), None, 30, SeededRandom("fixed"))
    client = HttpClient(net, resolver)
    hosts = [91, 92, 93]
    before = net.now()
    response = await client.fetch(HttpRequest("http://many.test:8080/"))
    assert await response.read() == b"third"
    assert list(dict.fromkeys(seen)) == ["192.0.2.91", "192.0.2.92", "192.0.2.93"]
    # a round trip for the refusal, the patience with the silent one, two round trips for the third
    assert net.now() - before == pytest.approx(1 + ATTEMPT_DELAY + 2)
    assert world.connections() == 1
    hosts = [91, 91]
    with pytest.raises(ConnectionRefused):
        await client.fetch(HttpRequest("http://other.test:8080/"))
    hosts = [92, 92]
    with pytest.raises(TimeoutExpired) as caught:
        await client.fetch(HttpRequest("http://other.test:8080/", timeouts=Timeouts(connect=10)))
    assert caught.value.phase == "connect"
    client.close()


@virtual
async def test_only_the_family_of_the_tunnel_is_asked_for(authority: trustme.CA) -> None:
    world = World(authority, pages)
    HOSTS["none.test."] = ""
    with pytest.raises(DnsError) as caught:
        await world.get("http://none.test/")
    assert caught.value.code == "dns_no_data"
    assert world.resolver.statistics.queries == 1


RECORD = b"\x17\x03\x03\x01\x00"  # of 256 bytes
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
# After "all that there is": how the server ends, and whether it was cut off; or the code of the error.
ENDS: dict[str, tuple[bytes, str, bool | str]] = {
    "close_notify": (UNTIL_CLOSE, "close", False),
    "close_notify and RST": (UNTIL_CLOSE, "close, reset", False),
    "FIN alone": (UNTIL_CLOSE, "cut", True),
    "FIN inside a record": (UNTIL_CLOSE, "half a record", True),
    "RST": (UNTIL_CLOSE, "reset", "connection_reset"),
    "a damaged record": (UNTIL_CLOSE, "damage", "tls_protocol"),
    "FIN alone, all of the length": (b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n", "cut", False),
    "FIN alone, too short": (b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n", "cut", "truncated_body"),
    "close_notify, too short": (b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n", "close", "truncated_body"),
    "FIN alone, in a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n", "cut", "truncated_body"),
    "FIN alone in a header": (b"HTTP/1.1 200 OK\r\nA: ", "cut", "truncated_body"),
}


@pytest.mark.feature("HTTP", "TLS that ends without close_notify: a body to the end is whole, and `truncated` told")
@pytest.mark.parametrize("what", ENDS)
def test_the_end_of_tls_and_the_end_of_a_body(authority: trustme.CA, what: str) -> None:
    head, ending, expected = ENDS[what]

    async def serve(tls: TlsServer) -> None:
        await tls.read()
        await tls.write(head + b"all that there is")
        if ending == "half a record":
            await tls.stream.write(RECORD + bytes(100))
        elif ending == "damage":
            await tls.stream.write(RECORD + bytes(256))
        if "close" in ending:
            await tls.close()
        if "reset" in ending:
            await asyncio.sleep(1)
            tls.stream.abort()
        elif "close" not in ending:
            await tls.cut()

    @virtual
    async def run() -> None:
        world = World(authority, pages)
        world.after_tls = serve
        got = b""
        if isinstance(expected, bool):
            response = await world.client.fetch(HttpRequest("https://origin.test/"))
            assert not response.truncated
            assert await response.read() == b"all that there is"
            assert response.truncated is expected
        else:
            with pytest.raises(SmolmixError) as caught:
                response = await world.client.fetch(HttpRequest("https://origin.test/"))
                async for chunk in response:
                    got += chunk
            assert caught.value.code == expected
            assert got == b"" if "header" in what else b"all that there is"
        if expected is False and "Length" in what:
            await asyncio.sleep(5)  # for the FIN
        assert world.client.connection_count == 0

    run()


@pytest.mark.parametrize("url", ["http://origin.test/", "https://origin.test/"])
@pytest.mark.parametrize("moment", [0.3, 1.3, 2.3, 3.3, 6.0])
def test_aborting_at_any_moment_frees_everything(authority: trustme.CA, url: str, moment: float) -> None:
    @virtual
    async def run() -> None:
        world = World(authority, lambda _: Answer(body=bytes(20_000_000)))
        task = asyncio.create_task(world.get(url))
        await asyncio.sleep(moment)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert world.connections() == 0 and world.client.connection_count == 0
        await asyncio.sleep(5)
        assert world.wire.server.open_connections() == 0

    run()


@virtual
async def test_a_stale_connection_is_replaced(authority: trustme.CA) -> None:
    """The server's FIN is still under way when the second request leaves."""
    world = World(authority, lambda _: Answer(body=b"x"))

    async def once(tls: TlsServer) -> None:
        await tls.read()
        world.http.requests.append(Request("GET", "", {}))
        await tls.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        await asyncio.sleep(1.2)  # the client sends its next request 1 s after this answer, we close before it comes
        await tls.close()

    world.after_tls = once
    assert await world.get("https://origin.test/") == (200, b"x")
    await asyncio.sleep(0.5)
    assert await world.get("https://origin.test/") == (200, b"x")
    assert world.client.statistics.retried == 1 and len(world.http.requests) == 2


@virtual
async def test_many_at_once(authority: trustme.CA) -> None:
    world = World(authority, lambda request: Answer(body=request.target.encode() * 2000))
    answers = await asyncio.gather(*(world.get(f"https://origin.test/{index}") for index in range(30)))
    assert answers == [(200, f"/{index}".encode() * 2000) for index in range(30)]
    assert world.http.connections == 6
    world.client.close()
    await asyncio.sleep(100)
    assert not world.wire.client.stack.connections


@virtual
async def test_upload(authority: trustme.CA) -> None:
    world = World(authority, lambda request: Answer(body=hashlib.sha256(request.body).hexdigest().encode()))
    body = bytes(range(256)) * 8000
    status, text = await world.get("https://origin.test/", method="POST", body=body)
    assert (status, text.decode()) == (200, hashlib.sha256(body).hexdigest())


@virtual
async def test_secure_websocket(authority: trustme.CA) -> None:
    world = World(authority, pages)

    async def echo(tls: TlsServer) -> None:
        protocol = ServerProtocol(subprotocols=["chat"])  # type: ignore[list-item]
        while data := await tls.read():
            protocol.receive_data(data)
            for event in protocol.events_received():
                if hasattr(event, "path"):
                    protocol.send_response(protocol.accept(event))
                elif event.opcode in (0, 1):
                    (protocol.send_text if event.opcode else protocol.send_continuation)(event.data, event.fin)
            for out in protocol.data_to_send():
                await (tls.write(out) if out else tls.close())

    world.after_tls = echo
    socket = await connect(
        world.wire.client, world.resolver, "wss://origin.test/ws", ["chat"], extra_roots=[world.root]
    )
    assert socket.subprotocol == "chat" and socket.tls is not None
    for message in ("hello", "y" * 200_000):
        await socket.send(message)
        assert await socket.receive() == message
    assert await socket.close(1000, "bye") == Close(1000, "bye", True)
    await asyncio.sleep(70)
    assert world.connections() == 0
    with pytest.raises(TlsError):
        await connect(world.wire.client, world.resolver, "wss://old.test/", extra_roots=[world.root])
