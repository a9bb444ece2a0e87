"""HTTP/2 over TLS over TCP from one IP stack to another, in virtual time: what it costs in round trips."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address

import pytest
import trustme

from smolmix_web.dial import ATTEMPT_DELAY
from smolmix_web.dns import Answer as Address
from smolmix_web.dns import Resolver
from smolmix_web.edge.sockets import TcpStream
from smolmix_web.http import HttpClient, HttpRequest, HttpResponse
from smolmix_web.netstack import SynRequest
from smolmix_web.rand import SeededRandom
from tests.http2_server import Http2Server
from tests.http_server import Answer, HttpServer, Request
from tests.tls_server import TlsServer, server_context
from tests.virtual_loop import virtual
from tests.wire import Wire

ROUND_TRIP = 1.0
SIZE = 20_000


class World:
    """A client and an HTTP/2 server one second of round trip apart."""

    def __init__(self) -> None:
        authority = trustme.CA()
        self.context = server_context(authority.issue_cert("192.0.2.80"), alpn=("h2", "http/1.1"))
        self.wire = Wire(ROUND_TRIP / 2)
        self.server = Http2Server(self.handle)
        self.wire.listen(443, self.serve)
        roots = [authority.cert_pem.bytes().decode()]
        self.client = HttpClient(self.wire.client, None, extra_roots=roots)

    @staticmethod
    def handle(request: Request) -> Answer:
        return Answer(body=bytes(int(request.target[1:])))

    async def serve(self, stream: TcpStream) -> None:
        tls = TlsServer(stream, self.context)
        await tls.handshake()
        await self.server.serve(tls)  # type: ignore[arg-type]

    async def get(self, size: int = SIZE) -> HttpResponse:
        response = await self.client.fetch(HttpRequest(f"https://192.0.2.80/{size}"))
        assert len(await response.read()) == size
        return response

    async def timed(self, count: int) -> float:
        before = self.wire.client.now()
        await asyncio.gather(*(self.get() for _ in range(count)))
        return self.wire.client.now() - before


@pytest.mark.feature("HTTP", "HTTP/2: 24 parallel requests take at most four round trips more than one")
@virtual
async def test_24_parallel_requests_on_one_connection() -> None:
    cold = await World().timed(1)
    assert cold <= 4.2 * ROUND_TRIP  # TCP, TLS, the request, and perhaps one for slow start
    assert await World().timed(24) <= cold + 4 * ROUND_TRIP
    world = World()
    for _ in range(4):
        await world.timed(1)
    warm = await world.timed(1)
    assert await world.timed(24) <= warm + 4 * ROUND_TRIP
    assert len(world.server.sessions) == 1 and world.wire.client.open_connections() == 1


@pytest.mark.feature("HTTP", "Timings of each phase")
@virtual
async def test_timings() -> None:
    world = World()
    first = (await world.get(100)).timings
    second = (await world.get(100)).timings
    assert (first.connect, first.tls, first.request_sent, first.ttfb) == pytest.approx((1, 1, 2, 3), abs=0.01)
    assert first.dns is None and first.remote_address == "192.0.2.80" and first.protocol == "h2"
    assert second.reused and second.connect is None and second.tls is None
    assert (second.request_sent, second.ttfb) == pytest.approx((0, 1), abs=0.01)


@pytest.mark.feature("HTTP", "HTTP/2: an abort frees its flow within one round trip")
@virtual
async def test_the_server_hears_of_an_abort_half_a_round_trip_later() -> None:
    world = World()
    await world.get(100)
    response = await world.client.fetch(HttpRequest("https://192.0.2.80/3000000"))
    await response.read_chunk()
    response.abort()
    await asyncio.sleep(ROUND_TRIP / 2 + 0.1)
    session = world.server.sessions[0]
    assert session.resets == [3]
    sent = session.sent[3]
    await asyncio.sleep(20)
    assert session.sent[3] == sent
    world.client.close()
    await asyncio.sleep(100)
    assert not world.wire.client.stack.connections


@pytest.mark.feature("HTTP", "Several addresses: the next is tried beside one that does not answer")
@pytest.mark.parametrize("silent", [4, 6])
def test_when_one_family_does_not_answer(silent: int) -> None:
    @virtual
    async def run() -> None:
        wire = Wire(ROUND_TRIP / 2, ipv6=True)
        server = HttpServer(lambda _: Answer(body=b"here"))

        def on_syn(request: SynRequest, now: float) -> None:
            if request.local.address.version != silent:
                wire.serve(request.accept(now), server.serve)

        wire.server.stack.on_syn = on_syn

        class Fixed(Resolver):
            async def resolve(self, name: str, *, family: int | None = None) -> list[Address]:
                addresses = [IPv6Address("2001:db8::80"), IPv6Address("2001:db8::81"), IPv4Address("192.0.2.80")]
                return [Address(address, 60) for address in addresses]

        net = wire.client
        client = HttpClient(net, Fixed(net, ("192.0.2.1", 53), None, 30, SeededRandom("fixed")))
        response = await client.fetch(HttpRequest("http://both.test/"))
        assert await response.read() == b"here"
        assert response.timings.connect == pytest.approx(1 + (ATTEMPT_DELAY if silent == 6 else 0))
        assert response.timings.remote_address == ("192.0.2.80" if silent == 6 else "2001:db8::80")
        assert wire.client.open_connections() == 1  # what was tried beside it is gone

    run()
