"""Questions over TCP and TLS connections, in virtual time: many at once, in any order, reused, closed, cut."""

from __future__ import annotations

import asyncio

import dns.message
import pytest
import trustme

from smolmix_web.dns import Resolver
from smolmix_web.dns.stream import IDLE
from smolmix_web.errors import SmolmixError
from tests.dns.name_server import FALLBACK, PRIMARY, NameServer, address, set_up
from tests.tls_server import server_context
from tests.virtual_loop import virtual
from tests.wire import Wire

NAMES = [f"host-{index}.test" for index in range(20)]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def secure(
    authority: trustme.CA, name: str | None = None, certificate: str = PRIMARY
) -> tuple[Wire, NameServer, Resolver]:
    root = authority.cert_pem.bytes().decode()
    wire, server, resolver = set_up(address("tls", name=name), fallback=False, extra_roots=[root])
    server.context = server_context(authority.issue_cert(certificate), alpn=())
    for host in NAMES:
        server.records[f"{host}.", "A"] = ["192.0.2.1"]
    return wire, server, resolver


async def code_of(resolver: Resolver, name: str = "origin.test") -> tuple[str, str | None]:
    with pytest.raises(SmolmixError) as caught:
        await resolver.lookup(name)
    assert caught.value.phase == "dns"
    return caught.value.code, caught.value.reason


@pytest.mark.feature("DNS", "One connection carries many questions, answered in any order (RFC 7766)")
def test_many_questions_on_one_connection(authority: trustme.CA) -> None:
    @virtual
    async def run() -> None:
        wire, server, resolver = secure(authority)
        server.hold = len(NAMES)  # all answers at the end, the last first
        before = wire.client.now()
        answers = await asyncio.gather(*(resolver.lookup(name) for name in NAMES))
        assert [answer.name for answer in answers] == NAMES
        assert wire.client.now() - before == pytest.approx(3, abs=0.2)  # TCP, TLS, and one for all
        assert server.connections == resolver.statistics.connections == 1
        assert len({query.wire[:2] for query in server.seen}) == len(NAMES)
        server.hold = 0
        before = wire.client.now()
        assert (await resolver.lookup("origin.test")).server == f"tls://{PRIMARY}"
        assert wire.client.now() - before == pytest.approx(1)
        assert server.connections == 1

    run()


@pytest.mark.feature("DNS", "Encrypted queries are padded to blocks of 128 bytes (RFC 8467)")
def test_queries_are_padded_over_tls_only(authority: trustme.CA) -> None:
    @virtual
    async def run() -> None:
        _, server, resolver = secure(authority)
        await resolver.lookup("origin.test")
        assert [len(query.wire) for query in server.seen] == [128] and server.seen[0].name == "origin.test."
        _, server, resolver = set_up(address("tcp"), fallback=False)
        await resolver.lookup("origin.test")
        assert [(query.server, len(query.wire)) for query in server.seen] == [("tcp", 40)]

    run()


@pytest.mark.feature("DNS", "A connection to a resolver is closed when it lies idle, and opened again when needed")
def test_idle_connections_are_closed(authority: trustme.CA) -> None:
    @virtual
    async def run() -> None:
        wire, server, resolver = secure(authority)
        await resolver.lookup(NAMES[0])
        await asyncio.sleep(IDLE - 3)
        await resolver.lookup(NAMES[1])
        await asyncio.sleep(IDLE - 3)
        assert wire.client.open_connections() == 1
        await asyncio.sleep(5)
        assert wire.client.open_connections() == 0
        await resolver.lookup(NAMES[2])
        assert server.connections == 2

    run()


@pytest.mark.feature("DNS", "A question on a connection that the server closes is asked again on a new one")
def test_a_server_that_closes_after_some_answers(authority: trustme.CA) -> None:
    @virtual
    async def run() -> None:
        _, server, resolver = secure(authority)
        server.answers_per_connection = 1
        for name in NAMES[:3]:
            assert (await resolver.lookup(name)).records
        answers = await asyncio.gather(*(resolver.lookup(name) for name in NAMES[3:8]))
        assert [answer.name for answer in answers] == NAMES[3:8] and server.connections == 8
        server.answers_per_connection = 0
        assert await code_of(resolver) == ("dns_unreachable", None)

    run()


@pytest.mark.feature("DNS", "A resolver's certificate must be for its address or the name after '#'")
def test_certificates(authority: trustme.CA) -> None:
    @virtual
    async def run() -> None:
        for name, certificate in ((None, PRIMARY), ("dns.example", "dns.example")):
            _, _, resolver = secure(authority, name, certificate)
            assert (await resolver.lookup("origin.test")).records
        for name, certificate in ((None, "dns.example"), ("dns.example", PRIMARY), ("other.example", "dns.example")):
            _, server, resolver = secure(authority, name, certificate)
            assert await code_of(resolver) == ("dns_untrusted", "wrong_host")
            assert not server.seen
        _, server, resolver = secure(trustme.CA())
        server.context = server_context(authority.issue_cert(PRIMARY), alpn=())
        assert await code_of(resolver) == ("dns_untrusted", "unknown_issuer")
        assert not server.seen

    run()


@virtual
async def test_nothing_is_asked_in_the_open_when_tls_fails() -> None:
    """The fallback goes another way only if the caller said so."""
    wire, server, resolver = set_up(address("tls"), fallback=True)
    server.context = server_context(trustme.CA().issue_cert(PRIMARY), alpn=())
    assert (await resolver.lookup("origin.test")).server == f"{FALLBACK}:53"
    resolver = Resolver(wire.client, address("tls"), None, 30, resolver._rng)
    seen = len(server.seen)
    assert (await code_of(resolver))[0] == "dns_untrusted" and len(server.seen) == seen


def test_answers_that_fit_no_question(authority: trustme.CA) -> None:
    @virtual
    async def run() -> None:
        _, server, resolver = secure(authority)

        def noise(out: bytes) -> list[bytes]:
            other = dns.message.make_response(
                dns.message.make_query("other.test", "A", id=int.from_bytes(out[:2], "big"))
            )
            return [b"", b"\0", bytes([out[0] ^ 255]) + out[1:], other.to_wire(), out, out]

        server.mangle_stream = noise
        assert (await resolver.lookup("origin.test")).records
        assert (await resolver.lookup(NAMES[0])).records
        assert resolver.statistics.ignored >= 9

    run()


def test_bad_answers(authority: trustme.CA) -> None:
    @virtual
    async def run() -> None:
        wire, server, resolver = secure(authority)
        server.mangle_stream = lambda out: [out[:-1]]
        assert (await code_of(resolver))[0] == "dns_malformed"
        server.mangle_stream = lambda out: [out[:2] + bytes([out[2] | 2]) + out[3:]]
        assert (await code_of(resolver))[0] == "dns_malformed"  # truncated, where nothing is
        server.mangle_stream = lambda out: [out]
        server.rcode["tls"] = 5
        assert (await code_of(resolver))[0] == "dns_refused"
        server.rcode.clear()
        server.silent.add("tls")
        before = wire.client.now()
        assert (await code_of(resolver))[0] == "dns_timeout"
        assert wire.client.now() - before == pytest.approx(30)
        server.silent.clear()
        assert server.connections == 1, "bad answers are no fault of the connection"
        assert (await resolver.lookup("origin.test")).records
        assert server.connections == 2, "silence may be"

    run()


def test_cancelling_one_asker_leaves_the_others_alone(authority: trustme.CA) -> None:
    @virtual
    async def run() -> None:
        _, server, resolver = secure(authority)
        server.delay = 2
        tasks = [asyncio.create_task(resolver.lookup(name)) for name in NAMES[:3]]
        await asyncio.sleep(1)
        tasks[0].cancel()
        await asyncio.sleep(2.2)
        tasks[1].cancel()
        assert (await tasks[2]).records and server.connections == 1
        assert (await resolver.lookup(NAMES[3])).records and server.connections == 1

    run()


def test_closing_the_resolver(authority: trustme.CA) -> None:
    @virtual
    async def run() -> None:
        wire, server, resolver = secure(authority)
        server.silent.add("tls")
        for moment in (0.5, 1.5, 2.5):
            asked = asyncio.create_task(resolver.lookup(NAMES[0]))
            await asyncio.sleep(moment)
            resolver.close()
            with pytest.raises(SmolmixError):
                await asked
            await asyncio.sleep(5)
            assert wire.client.open_connections() == 0
            wire, server, resolver = secure(authority)

    run()


@virtual
async def test_a_connection_that_cannot_be_opened() -> None:
    wire, _, resolver = set_up(address("tcp"), fallback=False)
    wire.client.deliver = False
    first, second = await asyncio.gather(
        resolver.lookup("origin.test"), resolver.lookup("origin.test", "MX"), return_exceptions=True
    )
    for error in (first, second):
        assert isinstance(error, SmolmixError) and error.code in ("dns_timeout", "dns_unreachable")
    wire.client.deliver = True
    assert (await resolver.lookup("origin.test")).records
