"""The resolver against name servers at the far end of a wire, in virtual time."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address

import dns.flags
import dns.message
import pytest

from smolmix_web.dns import Answer, Resolver
from smolmix_web.errors import DnsError, OptionError
from smolmix_web.netstack import Endpoint, ErrorKind
from smolmix_web.rand import SeededRandom
from tests.dns.name_server import FALLBACK, PRIMARY, TIMEOUT, set_up
from tests.virtual_loop import virtual


async def code_of(resolver: Resolver, name: str, family: int | None = None) -> str:
    with pytest.raises(DnsError) as caught:
        await resolver.resolve(name, family=family)
    assert caught.value.phase == "dns"
    return caught.value.code


@virtual
@pytest.mark.feature("DNS", "Answers are cached for their TTL")
async def test_an_address_then_from_the_cache_until_it_expires() -> None:
    wire, server, resolver = set_up()
    assert await resolver.resolve("Origin.TEST.") == [Answer(IPv4Address("192.0.2.80"), 60)]
    await asyncio.sleep(20)
    assert await resolver.resolve("origin.test") == [Answer(IPv4Address("192.0.2.80"), 40)]
    assert len(server.queries) == 1 and resolver.statistics.cache_hits == 1
    await asyncio.sleep(41)
    await resolver.resolve("origin.test")
    assert len(server.queries) == 2
    resolver.clear_cache()
    await resolver.resolve("origin.test")
    assert len(server.queries) == 3
    assert not wire.client.stack.connections


@virtual
async def test_families() -> None:
    _, server, resolver = set_up()
    server.records["six.test.", "AAAA"] = ["2001:db8::80"]
    server.records["both.test.", "A"] = ["192.0.2.81", "192.0.2.82"]
    server.records["both.test.", "AAAA"] = ["2001:db8::81"]
    assert [a.address for a in await resolver.resolve("six.test")] == [IPv6Address("2001:db8::80")]
    assert await code_of(resolver, "six.test", 4) == "dns_no_data"
    assert {a.address for a in await resolver.resolve("both.test")} == {
        IPv4Address("192.0.2.81"),
        IPv4Address("192.0.2.82"),
    }
    assert [a.address for a in await resolver.resolve("both.test", family=6)] == [IPv6Address("2001:db8::81")]
    assert await code_of(resolver, "origin.test", 6) == "dns_no_data"


@virtual
async def test_literals_and_refused_names_send_nothing() -> None:
    wire, _, resolver = set_up()
    assert await resolver.resolve("192.0.2.9") == [Answer(IPv4Address("192.0.2.9"), 0)]
    assert await resolver.resolve("[2001:db8::9]", family=6) == [Answer(IPv6Address("2001:db8::9"), 0)]
    assert await code_of(resolver, "192.0.2.9", 6) == "dns_no_data"
    for name in ("localhost", "printer.local", "a.onion"):
        assert await code_of(resolver, name) == "special_name"
    for name in ("", "a b", "a..b", "1.2.3.4.5", "fe80::1%eth0"):
        assert await code_of(resolver, name) == "bad_name"
    assert await code_of(resolver, "x.invalid") == "dns_not_found"
    assert wire.client.sent == 0


@virtual
async def test_negative_answers_are_cached() -> None:
    _, server, resolver = set_up()
    assert [await code_of(resolver, "gone.test") for _ in range(3)] == ["dns_not_found"] * 3
    assert [query[2] for query in server.queries] == ["A", "AAAA"]
    await asyncio.sleep(31)
    assert await code_of(resolver, "gone.test") == "dns_not_found"
    assert len(server.queries) == 4


@virtual
async def test_cname_chains_within_and_across_answers() -> None:
    _, server, resolver = set_up()
    server.records["www.test.", "CNAME"] = ["origin.test."]
    assert (await resolver.resolve("www.test"))[0].address == IPv4Address("192.0.2.80")
    assert len(server.queries) == 1

    def only_first(response: dns.message.Message) -> bytes:
        del response.answer[1:]
        return response.to_wire()

    server.mangle = only_first
    resolver.clear_cache()
    assert (await resolver.resolve("www.test"))[0].address == IPv4Address("192.0.2.80")
    assert [query[1] for query in server.queries[1:]] == ["www.test.", "origin.test."]
    server.records["away.test.", "CNAME"] = ["hidden.onion."]
    assert await code_of(resolver, "away.test") == "special_name"
    for index in range(12):
        server.records[f"n{index}.test.", "CNAME"] = [f"n{index + 1}.test."]
    assert await code_of(resolver, "n0.test") == "dns_malformed"


@virtual
@pytest.mark.feature("DNS", "One query in flight per question")
async def test_one_query_for_many_askers() -> None:
    _, server, resolver = set_up()
    server.delay = 3
    answers = await asyncio.gather(*(resolver.resolve("origin.test") for _ in range(20)))
    assert all(answer == answers[0] for answer in answers)
    assert len(server.queries) == 1


@virtual
async def test_the_last_asker_to_leave_ends_the_query() -> None:
    _wire, server, resolver = set_up()
    server.silent |= {PRIMARY, FALLBACK}
    tasks = [asyncio.create_task(resolver.resolve("origin.test")) for _ in range(2)]
    await asyncio.sleep(1)
    tasks[0].cancel()
    await asyncio.sleep(4)
    assert len(server.queries) == 2  # the other one still asks: the first repetition
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(60)
    assert len(server.queries) == 2
    server.silent.clear()
    assert await resolver.resolve("origin.test")


@virtual
@pytest.mark.feature("DNS", "Lost queries are repeated")
async def test_a_lost_datagram_is_repeated_soon() -> None:
    wire, server, resolver = set_up()
    server.deaf_for = 1
    before = wire.client.now()
    await resolver.resolve("origin.test")
    assert wire.client.now() - before == pytest.approx(5.0)
    assert [query[0] for query in server.queries] == [PRIMARY, PRIMARY]


@virtual
@pytest.mark.feature("DNS", "The fallback resolver is asked when the primary fails or is silent")
async def test_the_fallback_is_asked_when_the_primary_is_silent() -> None:
    wire, server, resolver = set_up()
    server.silent.add(PRIMARY)
    before = wire.client.now()
    assert (await resolver.resolve("origin.test"))[0].address == IPv4Address("192.0.2.80")
    assert wire.client.now() - before == pytest.approx(TIMEOUT / 3 + 1)
    assert server.queries[-1][0] == FALLBACK
    await asyncio.sleep(60)
    assert server.queries[-1][0] == FALLBACK  # and the primary was given up


@virtual
async def test_a_slow_primary_still_wins_over_a_silent_fallback() -> None:
    wire, server, resolver = set_up()
    server.delay = 15
    server.silent.add(FALLBACK)
    before = wire.client.now()
    await resolver.resolve("origin.test")
    assert wire.client.now() - before == pytest.approx(16)


@pytest.mark.parametrize(("rcode", "code"), [(2, "dns_servfail"), (5, "dns_refused")])
def test_the_fallback_is_asked_at_once_when_the_primary_fails(rcode: int, code: str) -> None:
    @virtual
    async def run() -> None:
        wire, server, resolver = set_up()
        server.rcode[PRIMARY] = rcode
        before = wire.client.now()
        assert await resolver.resolve("origin.test")
        assert wire.client.now() - before == pytest.approx(2)
        server.rcode[FALLBACK] = rcode
        assert await code_of(resolver, "other.test") == code

    run()


@virtual
async def test_nobody_answers() -> None:
    wire, server, resolver = set_up()
    server.silent |= {PRIMARY, FALLBACK}
    before = wire.client.now()
    assert await code_of(resolver, "origin.test") == "dns_timeout"
    assert wire.client.now() - before == pytest.approx(TIMEOUT / 3 + TIMEOUT)
    assert {query[0] for query in server.queries} == {PRIMARY, FALLBACK}


@virtual
async def test_unreachable_server() -> None:
    wire, _server, resolver = set_up(fallback=False)

    def refuse(source: Endpoint, destination: Endpoint, data: bytes, now: float) -> None:
        wire.server.stack.send_udp_error(ErrorKind.PORT_UNREACHABLE, source, destination, now)

    wire.server.stack.on_udp = refuse
    assert await code_of(resolver, "origin.test") == "dns_unreachable"
    assert wire.client.now() == pytest.approx(1001)


@virtual
@pytest.mark.feature("DNS", "A truncated answer is asked for again over TCP")
async def test_truncated_answers_come_over_tcp() -> None:
    wire, server, resolver = set_up()
    server.records["big.test.", "A"] = [f"192.0.2.{n}" for n in range(1, 100)]

    def truncate(response: dns.message.Message) -> bytes:
        response.flags |= dns.flags.TC
        response.answer.clear()
        return response.to_wire()

    server.mangle = truncate
    assert len(await resolver.resolve("big.test")) == 99
    assert server.queries[-1][0] == "tcp" and resolver.statistics.tcp == 1
    assert wire.client.open_connections() == 1  # kept for the next one
    await asyncio.sleep(40)
    assert wire.client.open_connections() == 0


@virtual
@pytest.mark.feature("DNS", "Answers that fit no question are ignored and counted")
async def test_answers_that_do_not_fit_are_ignored_and_the_right_one_counts() -> None:
    wire, server, resolver = set_up()

    def forge(response: dns.message.Message) -> bytes:
        right = response.to_wire()
        stack, now = wire.server.stack, wire.server.now()
        client = Endpoint(IPv4Address("10.0.0.1"), server.queries[-1][3])
        wrong_id = bytes([right[0] ^ 1]) + right[1:]
        other_name = right[:12] + b"\x06forged" + right[19:]
        for source, data in (
            (Endpoint(IPv4Address(PRIMARY), 53), wrong_id),
            (Endpoint(IPv4Address(PRIMARY), 53), other_name),
            (Endpoint(IPv4Address("192.0.2.66"), 53), right.replace(bytes([192, 0, 2, 80]), bytes([6, 6, 6, 6]))),
            (Endpoint(IPv4Address(PRIMARY), 54), right.replace(bytes([192, 0, 2, 80]), bytes([6, 6, 6, 6]))),
        ):
            stack.send_udp(source, client, data, now)
        return right

    server.mangle = forge
    assert (await resolver.resolve("origin.test"))[0].address == IPv4Address("192.0.2.80")
    assert resolver.statistics.ignored == 2  # the other two never reached the socket


@virtual
async def test_nonsense_of_one_server_leads_to_the_other() -> None:
    _, server, resolver = set_up()
    server.mangle = lambda response: response.to_wire()[:-3]
    assert await code_of(resolver, "origin.test") == "dns_malformed"
    assert {query[0] for query in server.queries} == {PRIMARY, FALLBACK}


@virtual
@pytest.mark.feature("DNS", "Queries have random ids, random source ports and names in random case")
async def test_ids_and_ports_are_random() -> None:
    _, server, resolver = set_up()
    for index in range(40):
        server.records[f"h{index}.test.", "A"] = ["192.0.2.1"]
        await resolver.resolve(f"h{index}.test")
    assert len({query[3] for query in server.queries}) > 35
    assert len({query.wire[:2] for query in server.seen}) > 35


def test_the_servers_must_be_addresses() -> None:
    with pytest.raises(OptionError) as caught:
        Resolver(None, ("dns.example", 53), None, 1, SeededRandom(1))  # type: ignore[arg-type]
    assert caught.value.option == "primaryDns"
