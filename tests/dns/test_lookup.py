"""Records of all types through the resolver, in virtual time: cases, families, CNAMEs, caches, what never leaves."""

from __future__ import annotations

import asyncio
import gc
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import pytest

from smolmix_web.dns import DnsAnswer, Resolver
from smolmix_web.dns.names import to_owner
from smolmix_web.dns.records import ARecord, CNAMERecord, MXRecord, TXTRecord
from smolmix_web.dns.resolver import MAX_CHAIN, MAX_WAYS, OTHER_FAMILY
from smolmix_web.errors import ConnectionAborted, DnsError, OptionError, SmolmixError, TimeoutExpired
from smolmix_web.netstack import Endpoint
from tests.dns.name_server import FALLBACK, PRIMARY, TIMEOUT, NameServer, set_up
from tests.virtual_loop import virtual


async def failure(resolver: Resolver, name: str, type: str = "A", **options: Any) -> SmolmixError:
    with pytest.raises(SmolmixError) as caught:
        await resolver.lookup(name, type, **options)
    assert caught.value.phase == "dns"
    return caught.value


@virtual
@pytest.mark.feature("DNS", "Answers carry the canonical name, their TTL, the server and whether they were cached")
async def test_an_answer_and_its_age() -> None:
    _, server, resolver = set_up()
    server.records["zone.test.", "MX"] = ["20 b.test.", "10 a.test."]
    records = (MXRecord("zone.test", 60, 10, "a.test"), MXRecord("zone.test", 60, 20, "b.test"))
    expected = DnsAnswer("zone.test", "MX", records, "zone.test", 60, f"{PRIMARY}:53", False, False)
    assert await resolver.lookup("Zone.TEST.", "mx") == expected
    await asyncio.sleep(20)
    older = tuple(record.aged(20) for record in records)
    cached = DnsAnswer("zone.test", "MX", older, "zone.test", 40, f"{PRIMARY}:53", True, False)
    assert await resolver.lookup("zone.test", "MX") == cached and older[0].ttl == 40
    assert not (await resolver.lookup("zone.test", "MX", fresh=True)).from_cache
    assert (await resolver.lookup("zone.test", "MX")).ttl == 60  # what is fresh is kept, too
    assert len(server.seen) == 2


@virtual
async def test_clearing_forgets_what_is_under_way_too() -> None:
    _, server, resolver = set_up()
    asked = asyncio.create_task(resolver.lookup("origin.test"))
    await asyncio.sleep(0.1)
    resolver.clear_cache()
    assert (await asked).records
    assert not (await resolver.lookup("origin.test")).from_cache and len(server.seen) == 2


@virtual
async def test_labels_as_dns_allows() -> None:
    _, server, resolver = set_up()
    server.records["_sip._tcp.zone.test.", "SRV"] = ["1 2 5060 sip.test."]
    server.records["1.0/25.2.0.203.in-addr.arpa.", "PTR"] = ["host.test."]
    server.records["a\\.b\\@c.test.", "TXT"] = ["yes"]
    server.records[".", "NS"] = ["a.root-servers.net."]
    for name, type in (("_SIP._tcp.zone.test", "SRV"), ("1.0/25.2.0.203.in-addr.arpa", "PTR"), (".", "NS")):
        assert (await resolver.lookup(name, type)).name == name.lower()
    for spelled in ("A\\.b\\@c.test", "a\\.b@c.test.", "a\\046b\\@c.test"):
        assert (await resolver.lookup(spelled, "TXT")).name == "a\\.b\\@c.test"
    assert len(server.seen) == 4
    for bad in ("", "a b.test", "a..test", f"{'a' * 64}.test", "a\\999.test", "a\\", "é\u200d.test", "1.2.3.4"):
        assert (await failure(resolver, bad, "TXT")).code == "bad_name", bad
    for bad in ("a/b.test", "a@b.test", "a\\.b.test"):
        assert (await failure(resolver, bad, "A")).code == "bad_name", bad
    assert (await failure(resolver, "a.test", "ANY")).code == "bad_type"
    assert len(server.seen) == 4


@virtual
@pytest.mark.feature("DNS", "Host names with whatever labels a URL may have are asked for")
@pytest.mark.parametrize(
    "name", ["-a-.test", "_a.test", "a--b.test", "xn--a.test", "*.test", "a!\"$&'()+,;=`{}~b.test"]
)
async def test_odd_host_names_are_asked(name: str) -> None:
    _, server, resolver = set_up()
    server.records[to_owner(name) + ".", "A"] = ["192.0.2.7"]
    assert [str(answer.address) for answer in await resolver.resolve(name.upper() + ".")] == ["192.0.2.7"]
    assert (await resolver.lookup(name, "A")).name == to_owner(name)
    assert len(server.seen) == 1


@virtual
async def test_addresses_in_any_form_are_not_asked() -> None:
    _, server, resolver = set_up()
    for name in ("127.1", "0x7f.1", "017700000001", "2130706433", "\uff11\uff12\uff17.1", "127.0.0.1."):
        assert [str(answer.address) for answer in await resolver.resolve(name)] == ["127.0.0.1"]
        assert (await resolver.lookup(name, "A")).name == "127.0.0.1"
    assert not server.seen


@virtual
@pytest.mark.feature("DNS", "Names without public meaning never leave: localhost, .local, .onion, .internal, addresses")
async def test_what_never_leaves() -> None:
    wire, _, resolver = set_up()
    names = ["localhost", "a.localhost", "printer.local", "_http._tcp.local", "x.onion", "x.internal", "nas.home.arpa"]
    for name in (*names, "x.alt", "x.loc\\097l"):
        assert (await failure(resolver, name, "TXT")).code == "special_name", name
    private = ["127.0.0.1", "10.1.2.3", "192.168.7.7", "169.254.1.1", "fd00::1", "fe80::1", "::1"]
    for name in (*private, "168.192.in-addr.arpa", "10.in-addr.arpa", "d.f.ip6.arpa"):
        assert (await failure(resolver, name, "PTR")).code == "special_name", name
    assert (await failure(resolver, "x.invalid", "MX")).code == "dns_not_found"
    for type, literal in (("A", "203.0.114.9"), ("AAAA", "2a0e:6a80::9")):
        answer = await resolver.lookup(literal, type)
        assert str(answer.records[0].address) == literal and answer.server == ""  # type: ignore[attr-defined]
    assert (await failure(resolver, "203.0.114.9", "AAAA")).code == "dns_no_data"
    for server in ("dns.example:53", "tls://dns.example", "ftp://1.1.1.1", "192.0.2.1", "udp://192.0.2.1#x"):
        assert isinstance(await failure_of_option(resolver, server), OptionError)
    assert wire.client.sent == 0


async def failure_of_option(resolver: Resolver, server: str) -> SmolmixError:
    with pytest.raises(SmolmixError) as caught:
        await resolver.lookup("origin.test", server=server)
    return caught.value


@virtual
@pytest.mark.feature("DNS", "PTR of an address: the reverse name is made for the caller")
async def test_reverse_names() -> None:
    _, server, resolver = set_up()
    server.records["10.114.0.203.in-addr.arpa.", "PTR"] = ["host.test."]
    reverse = IPv6Address("2a0e:6a80::9").reverse_pointer
    server.records[f"{reverse}.", "PTR"] = ["six.test."]
    for literal, target in (
        ("203.0.114.10", "host.test"),
        ("2a0e:6a80::9", "six.test"),
        ("[2a0e:6a80::9]", "six.test"),
    ):
        assert (await resolver.lookup(literal, "PTR")).records[0].target == target  # type: ignore[attr-defined]


@virtual
@pytest.mark.feature("DNS", "Negative answers are cached, each for its own type (RFC 2308, RFC 4074 4.2)")
async def test_negative_answers_of_all_types() -> None:
    _, server, resolver = set_up()
    for _ in range(2):
        assert (await failure(resolver, "gone.test", "A")).code == "dns_not_found"
    assert len(server.seen) == 1
    for type in ("MX", "TXT", "MX", "TXT"):
        assert (await failure(resolver, "origin.test", type)).code == "dns_no_data"
    assert len(server.seen) == 3
    await asyncio.sleep(31)  # the SOA's minimum is 30
    assert (await failure(resolver, "gone.test", "A")).code == "dns_not_found"
    assert len(server.seen) == 4


@virtual
@pytest.mark.feature("DNS", "One query in flight per question")
async def test_one_query_for_many_askers_of_each_type() -> None:
    _, server, resolver = set_up()
    server.records["origin.test.", "TXT"] = ["x"]
    server.delay = 2
    types = ["A", "TXT", "A", "TXT", "A"]
    answers = await asyncio.gather(*(resolver.lookup("origin.test", type) for type in types))
    assert len(server.seen) == 2 and answers[0].records == (ARecord("origin.test", 60, IPv4Address("192.0.2.80")),)


@virtual
@pytest.mark.feature("DNS", "CNAME chains, within an answer and over several, and their loops")
async def test_cname_chains() -> None:
    _, server, resolver = set_up()
    server.records["www.test.", "CNAME"] = ["web.test."]
    server.records["web.test.", "CNAME"] = ["zone.test."]
    server.records["zone.test.", "TXT"] = ["text"]
    answer = await resolver.lookup("www.test", "TXT")
    assert (answer.canonical_name, answer.records) == ("zone.test", (TXTRecord("zone.test", 60, (b"text",)),))
    assert (await resolver.lookup("www.test", "CNAME")).records == (CNAMERecord("www.test", 60, "web.test"),)

    def only_first(response: dns.message.Message) -> bytes:
        del response.answer[1:]
        return response.to_wire()

    server.mangle = only_first
    answer = await resolver.lookup("www.test", "TXT", fresh=True)
    assert (answer.name, answer.canonical_name) == ("www.test", "zone.test")
    for index in range(MAX_CHAIN + 2):
        server.records[f"n{index}.test.", "CNAME"] = [f"n{index + 1}.test."]
    asked = len(server.seen)
    error = await failure(resolver, "n0.test", "TXT")
    assert error.code == "dns_malformed" and len(server.seen) - asked == MAX_CHAIN

    def one_step(response: dns.message.Message) -> bytes:
        name = str(response.question[0].name).lower()
        target = {"n0.test.": "n1.test.", "n1.test.": "n0.test."}[name]
        circle = dns.message.make_response(dns.message.from_wire(server.seen[-1].wire))
        circle.answer.append(dns.rrset.from_text(response.question[0].name, 60, "IN", "CNAME", target))
        return circle.to_wire()

    server.mangle, asked = one_step, len(server.seen)
    error = await failure(resolver, "n0.test", "MX")
    assert error.code == "dns_malformed" and "circle" in error.message and len(server.seen) - asked == 2


@virtual
@pytest.mark.feature("DNS", "Queries have random ids, random source ports and names in random case")
async def test_every_query_is_hard_to_guess() -> None:
    _, server, resolver = set_up()
    server.deaf_for = 2
    for index in range(30):
        server.records[f"host-number-{index}.test.", "A"] = ["192.0.2.1"]
        await resolver.lookup(f"host-number-{index}.test")
    assert len({query.wire[:2] for query in server.seen}) > 28
    assert len({query.port for query in server.seen}) > 26
    patterns = {"".join("x" if c.isupper() else "-" for c in query.name[:11]) for query in server.seen}
    assert len(patterns) > 25


@virtual
@pytest.mark.feature("DNS", "A server that does not keep the case of names is asked again in lower case, and counted")
async def test_servers_that_fold_case() -> None:
    wire, server, resolver = set_up()
    server.folds_case = True
    server.records["second.test.", "A"] = ["192.0.2.2"]
    before = wire.client.now()
    assert (await resolver.lookup("origin.test")).records
    assert wire.client.now() - before == pytest.approx(2)  # at once, not at the next repeat
    first, again = server.seen
    assert first.name != "origin.test." and again.name == "origin.test." and first.port == again.port
    await resolver.lookup("second.test")
    assert server.seen[-1].name == "second.test." and len(server.seen) == 3
    assert resolver.statistics.case_folded == 1


@virtual
async def test_a_forged_error_in_the_wrong_case_is_no_error() -> None:
    wire, server, resolver = set_up()

    def forge(response: dns.message.Message) -> bytes:
        right = response.to_wire()
        if resolver.statistics.case_folded == 0:
            refused = dns.message.make_response(dns.message.from_wire(server.seen[-1].wire))
            refused.set_rcode(dns.rcode.REFUSED)
            question = refused.question[0]
            refused.question = [dns.rrset.RRset(question.name.canonicalize(), question.rdclass, question.rdtype)]
            client = Endpoint(IPv4Address("10.0.0.1"), server.seen[-1].port)
            wire.server.stack.send_udp(Endpoint(IPv4Address(PRIMARY), 53), client, refused.to_wire(), wire.server.now())
        return right

    server.mangle = forge
    assert (await resolver.lookup("origin.test")).records and resolver.statistics.case_folded == 1


@virtual
@pytest.mark.feature("DNS", "A and AAAA are asked in one bundle when the tunnel has both families")
async def test_both_families_leave_in_one_turn() -> None:
    wire, server, resolver = set_up(ipv6=True)
    server.records["origin.test.", "AAAA"] = ["2001:db8::80"]
    polled: list[int] = []
    poll = wire.client.stack.poll

    def counting(now: float) -> list[bytes]:
        packets = list(poll(now))
        polled.extend([len(packets)] if packets else [])
        return packets

    wire.client.stack.poll = counting  # type: ignore[method-assign,assignment]
    before = wire.client.now()
    answers = await resolver.resolve("origin.test")
    assert [answer.address for answer in answers] == [IPv4Address("192.0.2.80"), IPv6Address("2001:db8::80")]
    assert polled == [2] and wire.client.now() - before == pytest.approx(1)
    assert [query.type for query in server.seen] == ["A", "AAAA"]


@virtual
async def test_one_family_does_not_wait_long_for_the_other() -> None:
    wire, server, resolver = set_up(ipv6=True)
    server.records["origin.test.", "AAAA"] = ["2001:db8::80"]
    server.records["six.test.", "AAAA"] = ["2001:db8::81"]
    for lost, expected in (("AAAA", IPv4Address("192.0.2.80")), ("A", IPv6Address("2001:db8::80"))):
        resolver.clear_cache()
        original = server.answer

        def deaf(message: dns.message.Message, name: str, lost: str = lost, original: Any = original) -> Any:
            if dns.rdatatype.to_text(message.question[0].rdtype) == lost:
                server.mangle = lambda _: b"lost"
            else:
                server.mangle = None
            return original(message, name)

        server.answer = deaf  # type: ignore[method-assign]
        before = wire.client.now()
        assert [answer.address for answer in await resolver.resolve("origin.test")] == [expected]
        assert wire.client.now() - before == pytest.approx(1 + OTHER_FAMILY)
        server.answer, server.mangle = original, None  # type: ignore[method-assign]
    assert [answer.address for answer in await resolver.resolve("six.test")] == [IPv6Address("2001:db8::81")]
    for name, code in (("gone.test", "dns_not_found"), ("test", "dns_not_found")):
        with pytest.raises(DnsError) as caught:
            await resolver.resolve(name)
        assert caught.value.code == code
    server.rcode = {PRIMARY: 2, FALLBACK: 2}
    with pytest.raises(DnsError) as caught:
        await resolver.resolve("other.test")
    assert caught.value.code == "dns_servfail"
    await asyncio.sleep(60)
    assert not resolver._lookups


@virtual
@pytest.mark.feature("DNS", "A malformed answer gives a typed error at once")
async def test_answers_cut_at_every_length() -> None:
    wire, server, resolver = set_up(fallback=False)
    server.records["origin.test.", "TXT"] = ["some text", "more text"]
    whole = len(await asked_wire(resolver, server, "TXT"))
    for size in range(12, whole):
        server.mangle = lambda response, size=size: response.to_wire()[:size]  # type: ignore[misc]
        before = wire.client.now()
        error = await failure(resolver, "origin.test", "TXT", fresh=True)
        assert error.code == "dns_malformed" and wire.client.now() - before == pytest.approx(1)
    ignored = resolver.statistics.ignored
    server.mangle = lambda response: response.to_wire()[:11]
    assert (await failure(resolver, "origin.test", "TXT", fresh=True, timeout=2)).code == "dns_timeout"
    assert resolver.statistics.ignored == ignored + 1


async def asked_wire(resolver: Resolver, server: NameServer, type: str) -> bytes:
    """The answer that a question for origin.test gets."""
    answers: list[bytes] = []

    def keep(response: dns.message.Message) -> bytes:
        answers.append(response.to_wire())
        return answers[-1]

    server.mangle = keep
    await resolver.lookup("origin.test", type)
    return answers[0]


@virtual
async def test_a_server_for_one_question() -> None:
    _, server, resolver = set_up()
    answer = await resolver.lookup("origin.test", server="192.0.2.99:53")
    assert answer.server == "192.0.2.99:53" and server.seen[-1].server == "192.0.2.99"
    assert not (await resolver.lookup("origin.test")).from_cache  # each believes its own
    assert (await resolver.lookup("origin.test", server="udp://192.0.2.99")).from_cache
    server.silent.add("192.0.2.98")
    error = await failure(resolver, "origin.test", server="192.0.2.98:53")
    assert error.code == "dns_timeout" and server.seen[-1].server == "192.0.2.98"  # nobody else is asked
    for last in range(1, 40):
        await resolver.lookup("origin.test", server=f"192.0.2.{last}:53")
    assert len(resolver._datagrams) == MAX_WAYS


@virtual
async def test_the_callers_time_is_up() -> None:
    wire, server, resolver = set_up()
    server.silent |= {PRIMARY, FALLBACK}
    before = wire.client.now()
    error = await failure(resolver, "origin.test", timeout=7)
    assert isinstance(error, TimeoutExpired) and error.code == "dns_timeout"
    assert wire.client.now() - before == pytest.approx(7)
    await asyncio.sleep(TIMEOUT)
    assert len(server.seen) == 2  # the first repeat, and nothing after the end


@pytest.mark.feature("DNS", "When the exit dies every question ends with a typed error, and nothing is left behind")
def test_the_exit_dies_while_both_servers_are_asked() -> None:
    """Both attempts fail in one turn of the loop; each failure has to be looked at."""

    class Dead(SmolmixError):
        """Of no class that a resolver treats apart."""

    for error in (ConnectionAborted("gone", code="exit_dead"), Dead("gone", code="exit_dead")):

        @virtual
        async def run(error: SmolmixError = error) -> None:
            wire, server, resolver = set_up()
            server.silent |= {PRIMARY, FALLBACK}
            asked = asyncio.create_task(resolver.lookup("origin.test", "TXT"))
            await asyncio.sleep(TIMEOUT / 3 + 2)
            assert {query.server for query in server.seen} == {PRIMARY, FALLBACK}
            wire.client.stack.abort_all(error, wire.client.now())
            with pytest.raises(SmolmixError) as caught:
                await asked
            assert caught.value.code in ("dns_unreachable", "exit_dead")
            del asked, caught
            error.__traceback__ = None  # its frames hold the tasks
            gc.collect()  # a task whose failure nobody has seen complains when it goes
            await asyncio.sleep(1)

        run()


@virtual
async def test_closing_ends_everything() -> None:
    _, server, resolver = set_up()
    server.silent |= {PRIMARY, FALLBACK}
    asked = [asyncio.create_task(resolver.lookup("origin.test", type)) for type in ("A", "MX", "A")]
    await asyncio.sleep(1)
    resolver.close(ConnectionAborted("gone", code="tunnel_down"))
    for task in asked:
        with pytest.raises(ConnectionAborted):
            await task
    with pytest.raises(ConnectionAborted):
        await resolver.lookup("origin.test")
