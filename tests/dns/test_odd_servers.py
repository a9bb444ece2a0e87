"""Servers as they are: without EDNS, wrong about names of one family, lame, cut off. In virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import trustme

from smolmix_web.dns import Resolver, resolver
from smolmix_web.dns.servers import parse_server
from smolmix_web.edge.sockets import TcpStream
from smolmix_web.errors import DnsError, SmolmixError
from tests.dns.name_server import FALLBACK, PRIMARY, TIMEOUT, NameServer, address, set_up
from tests.tls_server import server_context
from tests.virtual_loop import virtual

Message = dns.message.Message


async def found(resolver: Resolver, name: str, family: int | None = None) -> list[str] | str:
    """Addresses, or the code of the error."""
    try:
        return [str(answer.address) for answer in await resolver.resolve(name, family=family)]
    except DnsError as error:
        return error.code


# -- EDNS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def edns(server: NameServer) -> list[bool]:
    """Of the questions so far: whether they had it."""
    return [dns.message.from_wire(query.wire).edns >= 0 for query in server.seen]


@pytest.mark.feature("DNS", "A server that fails at EDNS is asked again without it, and so for an hour")
@pytest.mark.parametrize("scheme", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("bare", [False, True], ids=["", "without the question"])
@pytest.mark.parametrize("rcode", ["FORMERR", "NOTIMP", "SERVFAIL"])
def test_servers_without_edns(authority: trustme.CA, scheme: str, bare: bool, rcode: str) -> None:
    if bare and rcode == "SERVFAIL":
        return

    @virtual
    async def run() -> None:
        roots = (authority.cert_pem.bytes().decode(),)
        _, server, names = set_up(address(scheme), fallback=False, extra_roots=roots)
        server.context = server_context(authority.issue_cert(PRIMARY), alpn=())
        server.edns_error, server.edns_error_bare = int(dns.rcode.from_text(rcode)), bare
        server.records["second.test.", "A"] = ["192.0.2.81"]
        assert await found(names, "origin.test", 4) == ["192.0.2.80"]
        assert edns(server) == [True, False]
        assert await found(names, "second.test", 4) == ["192.0.2.81"]
        assert edns(server) == [True, False, False], "it is remembered"
        assert names.statistics.without_edns == 1
        await asyncio.sleep(resolver.WITHOUT_EDNS + 1)
        assert await found(names, "second.test", 4) == ["192.0.2.81"]
        assert edns(server)[3:] == [True, False], "not for ever"
        server.edns_error = None
        await asyncio.sleep(resolver.WITHOUT_EDNS + 1)
        assert await found(names, "second.test", 4) == ["192.0.2.81"]
        assert edns(server)[5:] == [True]

    run()


@virtual
async def test_bad_version() -> None:
    _, server, names = set_up(fallback=False)

    def refuse(response: Message) -> bytes:
        if response.edns >= 0:
            response.set_rcode(dns.rcode.BADVERS)
        return response.to_wire()

    server.mangle = refuse
    assert await found(names, "origin.test", 4) == ["192.0.2.80"]


@virtual
async def test_what_fails_without_edns_too_is_not_remembered() -> None:
    _, server, names = set_up()
    server.rcode[PRIMARY] = dns.rcode.FORMERR
    for _ in range(3):
        names.clear_cache()
        assert await found(names, "origin.test", 4) == ["192.0.2.80"]
    primary = [flag for flag, query in zip(edns(server), server.seen, strict=True) if query.server == PRIMARY]
    assert primary == [True, False] * 3
    server.rcode[FALLBACK] = dns.rcode.NOTIMP
    names.clear_cache()
    assert await found(names, "origin.test", 4) == "dns_servfail"


@virtual
async def test_a_servers_failure_that_has_nothing_to_do_with_edns() -> None:
    """With EDNS in the answer SERVFAIL and REFUSED are what they say: the fallback is asked at once."""
    for rcode in (dns.rcode.SERVFAIL, dns.rcode.REFUSED):
        _, server, names = set_up()
        server.rcode[PRIMARY] = rcode
        assert await found(names, "origin.test", 4) == ["192.0.2.80"]
        assert [query.server for query in server.seen] == [PRIMARY, FALLBACK] and all(edns(server))


@virtual
async def test_only_so_many_servers_are_remembered() -> None:
    _, server, names = set_up(fallback=False)
    server.edns_error = dns.rcode.FORMERR
    for number in range(40):
        await names.lookup("origin.test", "A", server=f"192.0.2.{100 + number}:53")
    assert len(names._without_edns) == resolver.MAX_WAYS


# -- one family and the other


def no_such_name(server: NameServer, *kinds: str) -> None:
    """For questions of these types, whatever there is of other types."""
    plain = server.answer

    def answer(message: Message, asked: str) -> Message:
        response = plain(message, asked)
        if dns.rdatatype.to_text(message.question[0].rdtype) in kinds:
            response.answer = []
            response.authority = [dns.rrset.from_text("test.", 300, "IN", "SOA", "ns.test. a.test. 1 2 3 4 300")]
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    server.answer = answer  # type: ignore[method-assign]


@pytest.mark.feature("DNS", "No such name for one family does not hide addresses of the other (RFC 4074 4.2)")
@pytest.mark.parametrize("ipv6", [False, True], ids=["IPv4 tunnel", "both"])
@pytest.mark.parametrize(("lacks", "has"), [("A", "2001:db8::80"), ("AAAA", "192.0.2.80")])
def test_a_name_that_exists_for_one_family(lacks: str, has: str, ipv6: bool) -> None:
    @virtual
    async def run() -> None:
        _, server, names = set_up(ipv6=ipv6)
        server.records = {("half.test.", "A"): ["192.0.2.80"], ("half.test.", "AAAA"): ["2001:db8::80"]}
        no_such_name(server, lacks)
        server.ttl = 20
        family = ip_address(has).version
        assert await found(names, "half.test") == [has]
        assert await found(names, "half.test", family) == [has]
        assert await found(names, "half.test", 10 - family) == "dns_not_found"
        await asyncio.sleep(25)  # the addresses have expired, "no such name" has not
        assert await found(names, "half.test", 10 - family) == "dns_not_found"
        assert await found(names, "half.test", family) == [has]
        assert await found(names, "half.test") == [has]
        kinds = [query.type for query in server.seen]
        assert kinds.count(lacks) <= 1, "which is cached by its own time"

    run()


@pytest.mark.parametrize("ipv6", [False, True], ids=["IPv4 tunnel", "both"])
@pytest.mark.parametrize("first", ["A", "AAAA"])
@pytest.mark.parametrize(
    ("others", "code"),
    [
        ("no data", "dns_not_found"),
        ("no name", "dns_not_found"),
        ("failure", "dns_servfail"),
        ("silence", "dns_timeout"),
    ],
)
def test_both_families_without_addresses(first: str, others: str, code: str, ipv6: bool) -> None:
    """What may pass is told before what will not: asking again can help."""

    @virtual
    async def run() -> None:
        _, server, names = set_up(fallback=False, ipv6=ipv6)
        server.records = {("half.test.", "TXT"): ["x"]}
        other = {"A": "AAAA", "AAAA": "A"}[first]
        no_such_name(server, *([first, other] if others == "no name" else [first]))

        def mangle(response: Message) -> bytes:
            if dns.rdatatype.to_text(response.question[0].rdtype) == other:
                if others == "failure":
                    response.set_rcode(dns.rcode.SERVFAIL)
                elif others == "silence":
                    return b""
            return response.to_wire()

        server.mangle = mangle
        assert await found(names, "half.test") == code

    run()


# -- other habits: what the server does with a good answer, and what comes of it


def stripped(response: Message) -> bytes:
    """A referral."""
    response.answer, response.authority = [], [dns.rrset.from_text("test.", 60, "IN", "NS", "ns.test.")]
    response.flags &= ~(dns.flags.RA | dns.flags.AA)
    return response.to_wire()


def with_rcode(rcode: int) -> Callable[[Message], bytes]:
    def mangle(response: Message) -> bytes:
        response.set_rcode(dns.rcode.Rcode(rcode))
        return response.to_wire()

    return mangle


def with_strangers(response: Message) -> bytes:
    more = [("evil.test.", "A", "192.0.2.66"), ("origin.test.", "TXT", "x"), ("origin.test.", "AAAA", "2001:db8::66")]
    for owner, kind, data in more:
        response.answer.insert(0, dns.rrset.from_text(owner, 60, "IN", kind, data))
        response.additional.append(dns.rrset.from_text(owner, 60, "IN", kind, data))
    return response.to_wire()


def alone(*records: tuple[str, str, str]) -> Callable[[Message], bytes]:
    def mangle(response: Message) -> bytes:
        response.answer = [dns.rrset.from_text(owner, 60, "IN", kind, data) for owner, kind, data in records]
        response.authority = []
        response.flags |= dns.flags.RA
        return response.to_wire()

    return mangle


def renamed(response: Message) -> bytes:
    response.question = [dns.rrset.RRset(dns.name.from_text("other.test."), 1, 1)]
    return response.to_wire()


CHAIN = [(f"n{number}.test.", "CNAME", f"n{number + 1}.test.") for number in range(14)]
FROM_FALLBACK = ["192.0.2.99"]
GOOD = ["192.0.2.80"]

HABITS: dict[str, tuple[Callable[[Message], bytes], list[str] | str]] = {
    "bytes behind the message": (lambda response: response.to_wire() + b"\0more", GOOD),
    "records of other names and types": (with_strangers, GOOD),
    "no such name, and the records": (with_rcode(3), GOOD),
    "a chain from the question": (
        alone(("origin.test.", "CNAME", "n0.test."), *CHAIN, ("n14.test.", "A", "192.0.2.80")),
        GOOD,
    ),
    "the chain upside down": (
        alone(
            *[("n1.test.", "A", "192.0.2.80"), ("n0.test.", "CNAME", "n1.test.")], ("origin.test.", "CNAME", "n0.test.")
        ),
        GOOD,
    ),
    "a chain in a circle": (
        alone(("origin.test.", "CNAME", "n0.test."), ("n0.test.", "CNAME", "origin.test.")),
        FROM_FALLBACK,
    ),
    "a name that is its own alias": (alone(("origin.test.", "CNAME", "origin.test.")), FROM_FALLBACK),
    "a chain for another name": (
        alone(("other.test.", "CNAME", "n0.test."), ("n0.test.", "A", "192.0.2.66")),
        "dns_no_data",
    ),
    "a referral": (stripped, FROM_FALLBACK),
    "refused": (with_rcode(5), FROM_FALLBACK),
    "server failure": (with_rcode(2), FROM_FALLBACK),
    "an unknown error": (with_rcode(11), FROM_FALLBACK),
    "half a message": (lambda response: response.to_wire()[:30], FROM_FALLBACK),
    "another question": (renamed, FROM_FALLBACK),
    "another id": (lambda response: b"\0\0" + response.to_wire()[2:], FROM_FALLBACK),
    "the question itself": (lambda response: response.to_wire()[:2] + b"\1" + response.to_wire()[3:], FROM_FALLBACK),
    "silence": (lambda response: b"", FROM_FALLBACK),
}


@pytest.mark.feature("DNS", "What a bad answer comes to: read, or the fallback is asked")
@pytest.mark.parametrize("what", HABITS)
def test_habits(what: str) -> None:
    habit, expected = HABITS[what]

    @virtual
    async def run() -> None:
        wire, server, names = set_up()
        plain = server.answer
        begun = wire.client.now()

        def answer(message: Message, asked: str) -> Message:
            response = plain(message, asked)
            if asked == FALLBACK:
                response.answer = [dns.rrset.from_text(response.question[0].name, 60, "IN", "A", "192.0.2.99")]
                response.asked = True  # type: ignore[attr-defined]
            return response

        server.answer = answer  # type: ignore[method-assign]
        server.mangle = lambda response: response.to_wire() if hasattr(response, "asked") else habit(response)
        assert await found(names, "origin.test", 4) == expected
        assert wire.client.now() - begun < TIMEOUT / 2
        assert not wire.client.stack.connections

    run()


@virtual
async def test_truncated_and_no_tcp() -> None:
    """The fallback is asked. Nobody listens at the port of the primary."""
    _, server, names = set_up(parse_server("primaryDns", f"{PRIMARY}:5353"))

    def cut(response: Message) -> bytes:
        response.flags |= dns.flags.TC
        response.answer = []
        server.mangle = None  # the fallback's
        return response.to_wire()

    server.mangle = cut
    assert await found(names, "origin.test", 4) == GOOD
    assert [query.server for query in server.seen] == [PRIMARY, FALLBACK]
    assert names.statistics.tcp == 1


@virtual
async def test_negative_answers_of_each_family_expire_by_their_own_soa() -> None:
    _, server, names = set_up(ipv6=True)
    server.records = {("none.test.", "TXT"): ["x"]}

    def mangle(response: Message) -> bytes:
        minimum = 10 if response.question[0].rdtype == 1 else 50
        response.authority = [dns.rrset.from_text("test.", 300, "IN", "SOA", f"ns.test. a.test. 1 2 3 4 {minimum}")]
        return response.to_wire()

    server.mangle = mangle
    for wait, asked in ((0, ["A", "AAAA"]), (5, []), (10, ["A"]), (40, ["A", "AAAA"])):
        await asyncio.sleep(wait)
        server.seen.clear()
        assert await found(names, "none.test") == "dns_no_data"
        assert sorted(query.type for query in server.seen) == asked


@pytest.mark.parametrize("habit", ["silence", "a byte now and then", "answers to nobody"])
def test_a_connection_without_answers_is_given_up(habit: str) -> None:
    """A server that is alive holds no question beyond its time, and the next question tries another connection."""

    @virtual
    async def run() -> None:
        wire, server, names = set_up(parse_server("primaryDns", f"tcp://{PRIMARY}:5354"), fallback=False)
        bad = True

        async def serve(stream: TcpStream) -> None:
            if not bad:
                await server._serve(stream, "tcp")
                return
            with contextlib.suppress(SmolmixError):
                await stream.read()
                for _ in range(1000):
                    await stream.write({"silence": b"", "a byte now and then": b"\1"}.get(habit, b"\0\x0c" + bytes(12)))
                    await asyncio.sleep(5)

        wire.listen(5354, serve)
        begun = wire.client.now()
        assert await found(names, "origin.test", 4) == "dns_timeout"
        assert wire.client.now() - begun == pytest.approx(TIMEOUT)
        bad = False
        assert await found(names, "origin.test", 4) == GOOD
        await asyncio.sleep(60)
        assert not wire.client.stack.connections

    run()
