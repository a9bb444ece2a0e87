"""The DNS front: answers of the tunnel's resolver as messages, over UDP and TCP; what is no question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from smolmix_web.dns import DnsAnswer
from smolmix_web.dns.records import records_of
from smolmix_web.errors import DnsError, TimeoutExpired
from smolmix_web.proxy.dns_front import DnsFront
from smolmix_web.proxy.dns_text import to_text
from smolmix_web.proxy.server import ProxyStatistics
from tests.proxy.stand_in import ANYWHERE, Tunnel, proxy_to

pytestmark = pytest.mark.cpython

RECORDS = [
    ("A", ["203.0.114.10", "203.0.114.11"]),
    ("AAAA", ["2a0e:6a80:114::a"]),
    ("CNAME", ["other.test."]),
    ("NS", ["ns.test."]),
    ("PTR", ["origin.test."]),
    ("MX", ["10 mail.test.", "20 backup.test.", "0 ."]),
    ("TXT", ['"v=spf1 -all"', '"two " "parts \\"quoted\\" \\\\ \\195\\188 \\000"']),
    ("SOA", ["ns.test. admin.test. 1 7200 900 1209600 300"]),
    ("SRV", ["10 60 5060 sip.test."]),
    ("CAA", ['0 issue "ca.test"', '128 issuewild ";"']),
    ("HTTPS", ['1 . alpn="h2,h3" port="8443" ipv4hint="203.0.114.10" ech="AAj+DQAEYWJjZA=="', "0 alias.test."]),
    ("HTTPS", ['2 svc.test. mandatory="alpn" alpn="h2" no-default-alpn ipv6hint="2001:db8::1" key65333="x\\001y"']),
]


def answer(name: str, kind: str, texts: list[str], *, owner: str | None = None, ad: bool = False) -> DnsAnswer:
    records = records_of(dns.rrset.from_text_list(f"{owner or name}.", 300, "IN", kind, texts))
    return DnsAnswer(name, kind, records, owner or name, 300, "8.8.8.8:53", False, ad)


@asynccontextmanager
async def front(answers: dict[tuple[str, str], Any]) -> AsyncIterator[tuple[str, int]]:
    tunnel = Tunnel()
    tunnel.answers = answers
    async with proxy_to(tunnel, dns=ANYWHERE) as proxy:
        yield proxy.places["dns"]


async def ask(place: tuple[str, int], name: str, kind: str, *, tcp: bool = False, **options: Any) -> Any:
    query = dns.message.make_query(name, kind, **options)
    way = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await way(query, place[0], port=place[1], timeout=5)


@pytest.mark.parametrize(("kind", "texts"), RECORDS)
def test_every_type_keeps_its_data(kind: str, texts: list[str]) -> None:
    given = dns.rrset.from_text_list("a.test.", 300, "IN", kind, texts)
    made = dns.rrset.from_text_list("a.test.", 300, "IN", kind, [to_text(record) for record in records_of(given)])
    assert made == given


@pytest.mark.parametrize("tcp", [False, True])
async def test_answers(tcp: bool) -> None:
    answers = {
        ("a.test", "A"): answer("a.test", "A", ["203.0.114.10"], ad=True),
        ("alias.test", "A"): answer("alias.test", "A", ["203.0.114.10"], owner="a.test"),
        ("a.test", "MX"): answer("a.test", "MX", ["10 mail.test."]),
    }
    async with front(answers) as place:
        plain = await ask(place, "A.test", "A", tcp=tcp, use_edns=False)
        assert [str(rrset) for rrset in plain.answer] == ["A.test. 300 IN A 203.0.114.10"]
        assert plain.flags & dns.flags.RA and not plain.flags & dns.flags.AA
        signed = await ask(place, "a.test", "A", tcp=tcp, flags=dns.flags.RD | dns.flags.AD)
        assert signed.flags & dns.flags.AD
        alias = await ask(place, "alias.test", "A", tcp=tcp)
        assert [str(rrset) for rrset in alias.answer] == [
            "alias.test. 300 IN CNAME a.test.",
            "a.test. 300 IN A 203.0.114.10",
        ]
        assert str((await ask(place, "a.test", "MX", tcp=tcp)).answer[0]) == "a.test. 300 IN MX 10 mail.test."


@pytest.mark.parametrize(
    ("error", "rcode"),
    [
        (DnsError("none", code="dns_not_found"), dns.rcode.NXDOMAIN),
        (DnsError("no data", code="dns_no_data"), dns.rcode.NOERROR),
        (DnsError("onion", code="special_name"), dns.rcode.NXDOMAIN),
        (DnsError("refused", code="dns_refused"), dns.rcode.REFUSED),
        (DnsError("failed", code="dns_servfail"), dns.rcode.SERVFAIL),
        (TimeoutExpired("late", phase="tunnel"), dns.rcode.SERVFAIL),
    ],
)
async def test_failures_as_codes(error: Exception, rcode: dns.rcode.Rcode) -> None:
    async with front({("bad.test", "A"): error}) as place:
        reply = await ask(place, "bad.test", "A")
        assert reply.rcode() == rcode and not reply.answer


async def test_what_does_not_fit_a_datagram_is_asked_for_again_over_tcp() -> None:
    texts = [f'"{"x" * 200} {number}"' for number in range(20)]
    async with front({("big.test", "TXT"): answer("big.test", "TXT", texts)}) as place:
        short = await ask(place, "big.test", "TXT")
        assert short.flags & dns.flags.TC and not short.answer
        whole = await ask(place, "big.test", "TXT", tcp=True)
        assert len(whole.answer[0]) == 20


async def test_what_is_not_answered_as_asked() -> None:
    tunnel: Any = Tunnel()
    wire = DnsFront(tunnel, ProxyStatistics())

    async def code(message: dns.message.Message) -> dns.rcode.Rcode:
        data = await wire.answer(message.to_wire(), stream=False)
        assert data is not None
        return dns.message.from_wire(data).rcode()

    assert await code(dns.message.make_query("a.test", "NAPTR")) == dns.rcode.NOTIMP
    assert await code(dns.message.make_query("a.test", "ANY")) == dns.rcode.NOTIMP
    assert await code(dns.message.make_query("a.test", "A", "CH")) == dns.rcode.NOTIMP
    question = dns.message.make_query("a.test", "A")
    response = dns.message.make_response(question)
    assert await wire.answer(response.to_wire(), stream=False) is None, "no answers to answers"
    data = question.to_wire()
    for length in range(len(data)):
        reply = await wire.answer(data[:length], stream=False)
        if length < 12:
            assert reply is None
        else:
            assert reply is not None and reply[:2] == data[:2] and reply[3] & 15 == dns.rcode.FORMERR


async def test_several_questions_on_one_connection_and_one_cut() -> None:
    async with front({("a.test", "A"): answer("a.test", "A", ["203.0.114.10"])}) as place:
        reader, writer = await asyncio.open_connection(*place)
        query = dns.message.make_query("a.test", "A").to_wire()
        framed = len(query).to_bytes(2, "big") + query
        for piece in (framed[:1], framed[1:] + framed + framed[:5]):
            writer.write(piece)
            await asyncio.sleep(0.02)
        for _ in range(2):
            size = int.from_bytes(await reader.readexactly(2), "big")
            assert dns.message.from_wire(await reader.readexactly(size)).answer
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
