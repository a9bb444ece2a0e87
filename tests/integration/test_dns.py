"""DNS of the CPython client through a whole local network: every type of record, every way to a resolver."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from localnet import Network
from smolmix_web.dns.records import CAARecord, HTTPSRecord, MXRecord, PTRRecord, SOARecord, SRVRecord, TXTRecord
from smolmix_web.errors import DnsError, OptionError, SmolmixError
from tests.integration.tunnels import open_tunnel

pytestmark = pytest.mark.timeout(90)

V4, V6 = IPv4Address("203.0.114.10"), IPv6Address("2a0e:6a80:114::a")


@pytest.mark.feature("DNS", "lookup: A, AAAA, CNAME, MX, TXT, NS, SOA, SRV, PTR, HTTPS, CAA as typed records with TTLs")
async def test_records_of_every_type(localnet: Network) -> None:
    async with open_tunnel(localnet) as tunnel:
        types = ("A", "AAAA", "MX", "TXT", "NS", "SOA", "HTTPS", "CAA")
        answers = await asyncio.gather(*(tunnel.lookup("Zone.test", type) for type in types))
        found = dict(zip(types, answers, strict=True))
        assert all(a.type == t and a.name == a.canonical_name == "zone.test" and a.ttl == 300 for t, a in found.items())
        assert all(record.name == "zone.test" and record.ttl == 300 for a in answers for record in a.records)
        assert {a.server for a in answers} == {"8.8.8.8:53"} and not any(a.from_cache for a in answers)
        assert [record.address for record in found["A"].records] == [V4]  # type: ignore[attr-defined]
        assert [record.address for record in found["AAAA"].records] == [V6]  # type: ignore[attr-defined]
        assert {record.target for record in found["NS"].records} == {"ns1.zone.test", "ns2.zone.test"}  # type: ignore[attr-defined]
        assert found["MX"].records == (
            MXRecord("zone.test", 300, 10, "mail.zone.test"),
            MXRecord("zone.test", 300, 20, "backup.zone.test"),
        )
        texts = {record.text for record in found["TXT"].records if isinstance(record, TXTRecord)}
        assert texts == {"v=spf1 -all", "two parts, ü"}
        times = (2026112201, 7200, 900, 1209600, 300)
        assert found["SOA"].records == (SOARecord("zone.test", 300, "ns1.zone.test", "hostmaster.zone.test", *times),)
        assert found["HTTPS"].records == (
            HTTPSRecord(
                "zone.test", 300, 1, ".", alpn=("h2", "h3"), port=8443, ipv4hint=(V4,), ipv6hint=(V6,),
                ech=b"\0\x08\xfe\x0d\0\4abcd",
            ),
        )  # fmt: skip
        assert set(found["CAA"].records) == {
            CAARecord("zone.test", 300, 0, "issue", "ca.test"),
            CAARecord("zone.test", 300, 128, "issuewild", ";"),
        }

        service, alias, mail, four, six = await asyncio.gather(
            tunnel.lookup("_sip._tcp.zone.test", "SRV"),
            tunnel.lookup("www.test", "cname"),
            tunnel.lookup("www.test", "A"),
            tunnel.lookup(str(V4), "PTR"),
            tunnel.lookup(str(V6), "PTR"),
        )
        assert service.records[0] == SRVRecord("_sip._tcp.zone.test", 60, 10, 60, 5060, "origin.test")
        assert len(service.records) == 2
        assert alias.records[0].target == "origin.test" and alias.canonical_name == "www.test"  # type: ignore[attr-defined]
        assert (mail.canonical_name, mail.records[0].name) == ("origin.test", "origin.test")
        assert four.records == (PTRRecord(four.name, 60, "origin.test"),) and six.records[0].target == "origin.test"  # type: ignore[attr-defined]
        assert four.name == "10.114.0.203.in-addr.arpa" and six.name.endswith(".ip6.arpa")

        again = await tunnel.lookup("zone.test", "MX")
        assert again.from_cache and len(again.records) == 2
        tunnel.clear_dns_cache()
        assert not (await tunnel.lookup("zone.test", "MX")).from_cache
        assert not (await tunnel.lookup("zone.test", "MX", fresh=True)).from_cache
        for name, type, code in [
            ("zone.test", "SRV", "dns_no_data"), ("nowhere.test", "TXT", "dns_not_found"),
            ("servfail.test", "MX", "dns_servfail"), ("printer.local", "SRV", "special_name"),
            ("192.168.1.1", "PTR", "special_name"), ("zone.test", "LOC", "bad_type"),
        ]:  # fmt: skip
            with pytest.raises(DnsError) as caught:
                await tunnel.lookup(name, type)
            assert (caught.value.code, caught.value.phase) == (code, "dns")


WAYS = [
    ("tls://8.8.8.8", "tls"),
    ("tls://1.1.1.1#dns.test", "tls"),
    ("https://8.8.8.8/dns-query", "https"),
    ("https://1.1.1.1#dns.test", "https"),
    ("tcp://9.9.9.9", "tcp"),
]


@pytest.mark.feature("DNS", "DNS over TLS (RFC 7858), over HTTPS (RFC 8484) and over TCP, by option and per question")
@pytest.mark.parametrize(("server", "counter"), WAYS)
async def test_every_way_to_a_resolver(localnet: Network, server: str, counter: str) -> None:
    counters = localnet.world.dns.counters
    async with open_tunnel(localnet, primaryDns=server) as tunnel:
        mail, pages = await asyncio.gather(tunnel.lookup("zone.test", "MX"), tunnel.lookup("many.test", "A"))
        assert mail.server == pages.server and mail.server.startswith(counter)
        assert len(mail.records) == 2 and len(pages.records) == 80
        assert await tunnel.resolve("http.test")
        assert counters["queries"] == counters[counter] == 4, dict(counters)
        if counter != "https":
            assert tunnel.statistics()["dns_connections"] == 1


async def test_a_server_for_one_question_and_what_is_wrong_with_servers(localnet: Network) -> None:
    counters = localnet.world.dns.counters
    async with open_tunnel(localnet) as tunnel:
        answer = await tunnel.lookup("zone.test", "TXT", server="tls://9.9.9.9#dns.test")
        assert answer.server == "tls://9.9.9.9#dns.test" and counters["tls"] == counters["queries"] == 1
        wrong: list[tuple[str, str, str | None]] = [
            ("tls://9.9.9.9#other.test", "dns_untrusted", "wrong_host"),
            ("https://9.9.9.9/dns-query#other.test", "dns_untrusted", "wrong_host"),
            ("https://9.9.9.9/elsewhere", "dns_refused", None),
            ("tls://9.9.9.9:443", "dns_unreachable", None),
            ("tcp://192.0.2.77", "dns_unreachable", None),
        ]
        for server, code, reason in wrong:
            with pytest.raises(SmolmixError) as caught:
                await tunnel.lookup("zone.test", "TXT", server=server)
            error: Any = caught.value
            assert (error.code, error.phase, error.reason) == (code, "dns", reason), f"{server}: {error!r}"
        with pytest.raises(OptionError):
            await tunnel.lookup("zone.test", "TXT", server="tls://dns.test")
        with pytest.raises(SmolmixError) as late:
            await tunnel.lookup("silent.test", timeout=0.3)
        assert late.value.code == "dns_timeout"


@pytest.mark.feature("DNS", "A server that does not keep the case of names is asked again in lower case, and counted")
async def test_truncation_and_folded_case(localnet: Network) -> None:
    counters = localnet.world.dns.counters
    async with open_tunnel(localnet) as tunnel:
        many = await tunnel.lookup("many.test", "AAAA")
        assert len(many.records) == 80 and counters["tcp"] == 1 and counters["truncated"] == 1
        assert len((await tunnel.lookup("folded.test")).records) == 1
        statistics = tunnel.statistics()
        assert counters["folded"] == 2 and statistics["dns_case_folded"] == 1 and statistics["dns_tcp"] == 1
