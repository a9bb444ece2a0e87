"""`mixResolve` in Chromium: records of every type through the network, over UDP, TLS and HTTPS, and its failures."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.page_session import ApiPage, Session

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

ZONE = """
const summary = (answer) => ({ ...answer, records: answer.records.map(({ ttl, name, ...rest }) => rest) });
const types = ["A", "AAAA", "MX", "TXT", "NS", "SOA", "HTTPS", "CAA"];
const zone = await Promise.all(types.map((type) => api.mixResolve("Zone.test", { type, fresh: true })));
const other = await Promise.all([
  api.mixResolve("_sip._tcp.zone.test", { type: "SRV" }), api.mixResolve("www.test", { type: "CNAME" }),
  api.mixResolve("www.test"), api.mixResolve("203.0.114.10", { type: "PTR" }),
  api.mixResolve("2a0e:6a80:114::a", { type: "ptr" })]);
return [zone.map(summary), other.map(summary), zone.every(({ records, name }) =>
  records.every((record) => record.ttl === 300 && record.name === name))];
"""


@pytest.mark.feature(
    "DNS", "mixResolve: A, AAAA, CNAME, MX, TXT, NS, SOA, SRV, PTR, HTTPS, CAA as typed records with TTLs"
)
async def test_records_of_every_type(shared: ApiPage) -> None:
    zone, other, complete = await shared.run(ZONE)
    found = {answer["type"]: answer for answer in zone}
    assert complete and all(answer["name"] == answer["canonicalName"] == "zone.test" for answer in zone)
    facts = {(a["ttl"], a["server"], a["fromCache"], a["authenticated"]) for a in zone}
    assert facts == {(300, "8.8.8.8:53", False, False)}

    def records(type: str) -> list[dict[str, Any]]:
        for record in found[type]["records"]:
            assert record.pop("type") == type
        kept: list[dict[str, Any]] = found[type]["records"]
        return sorted(kept, key=str)

    assert records("A") == [{"address": "203.0.114.10"}] and records("AAAA") == [{"address": "2a0e:6a80:114::a"}]
    assert found["MX"]["records"][0]["exchange"] == "mail.zone.test"
    assert [record["preference"] for record in found["MX"]["records"]] == [10, 20]
    assert records("TXT") == sorted(
        [
            {"strings": ["v=spf1 -all"], "text": "v=spf1 -all", "base64": ["dj1zcGYxIC1hbGw="]},
            {"strings": ["two ", "parts, ü"], "text": "two parts, ü", "base64": ["dHdvIA==", "cGFydHMsIMO8"]},
        ],
        key=str,
    )
    assert records("NS") == [{"target": "ns1.zone.test"}, {"target": "ns2.zone.test"}]
    assert records("SOA") == [
        {
            "mname": "ns1.zone.test", "rname": "hostmaster.zone.test", "serial": 2026112201, "refresh": 7200,
            "retry": 900, "expire": 1209600, "minimum": 300,
        }
    ]  # fmt: skip
    assert records("HTTPS") == [
        {
            "priority": 1, "target": ".", "alpn": ["h2", "h3"], "noDefaultAlpn": False, "port": 8443,
            "ipv4hint": ["203.0.114.10"], "ipv6hint": ["2a0e:6a80:114::a"], "ech": "AAj+DQAEYWJjZA==", "mandatory": [],
            "other": {},
        }
    ]  # fmt: skip
    assert records("CAA") == [
        {"flags": 0, "tag": "issue", "value": "ca.test", "critical": False},
        {"flags": 128, "tag": "issuewild", "value": ";", "critical": True},
    ]
    service, alias, address, four, six = other
    first = {"type": "SRV", "priority": 10, "weight": 60, "port": 5060, "target": "origin.test"}
    assert service["records"][0] == first and len(service["records"]) == 2
    assert alias["records"][0]["target"] == "origin.test" and address["canonicalName"] == "origin.test"
    assert four["records"][0]["target"] == six["records"][0]["target"] == "origin.test" and six["type"] == "PTR"


@pytest.mark.feature("DNS", "mixDNS: one address as text")
async def test_caches_failures_and_what_never_leaves(session: Session, shared: ApiPage) -> None:
    asked = len(session.net.world.dns.queries)
    got = await shared.run("""
      const tunnel = await api.getMixTunnel();
      const one = await api.mixDNS("ipv4.test");
      const first = await api.mixResolve("ipv4.test", {type: "a"});
      const fresh = await api.mixResolve("ipv4.test", {fresh: true});
      await tunnel.clearDnsCache();
      const cleared = await tunnel.lookup("ipv4.test");
      const codes = {};
      for (const [name, type] of [["nowhere.test", "TXT"], ["zone.test", "SRV"], ["servfail.test", "MX"],
          ["a b", "TXT"], ["printer.local", "SRV"], ["192.168.1.1", "PTR"], ["x.onion", "A"], ["zone.test", "LOC"],
          ["1.2.3.4", "MX"]]) {
        const error = await caught(() => api.mixResolve(name, {type}));
        codes[`${name} ${type}`] = `${error.code} ${error.phase} ${error.name}`;
      }
      const options = [];
      for (const given of [{server: "tls://dns.test"}, {timeout: "soon"}, {timeout: 0}]) {
        options.push((await caught(() => api.mixResolve("zone.test", given))).code);
      }
      const started = performance.now();
      const late = await caught(() => api.mixResolve("silent.test", {timeout: 300}));
      const elapsed = performance.now() - started;
      const signal = AbortSignal.timeout(200);
      const reason = await api.mixResolve("silent.test", {signal}).catch((error) => error.name);
      const before = await caught(() => api.mixResolve("zone.test", {signal: AbortSignal.abort(new Error("mine"))}));
      const statistics = await tunnel.statistics();
      return {one, cached: [first.fromCache, fresh.fromCache, cleared.fromCache], codes, options,
        late: [late.code, late.phase, late.retryable, elapsed < 5000], reason, before: before.message,
        counted: [statistics.dns_queries > 0, statistics.dns_cache_hits > 0], left: await idle(tunnel)};""")
    assert got["one"] == "203.0.114.10" and got["cached"] == [True, False, False]
    assert got["codes"] == {
        "nowhere.test TXT": "dns_not_found dns TypeError",
        "zone.test SRV": "dns_no_data dns TypeError",
        "servfail.test MX": "dns_servfail dns TypeError",
        "a b TXT": "bad_name dns TypeError",
        "printer.local SRV": "special_name dns TypeError",
        "192.168.1.1 PTR": "special_name dns TypeError",
        "x.onion A": "special_name dns TypeError",
        "zone.test LOC": "bad_type dns TypeError",
        "1.2.3.4 MX": "bad_name dns TypeError",
    }
    assert got["options"] == ["bad_option"] * 3
    assert got["late"] == ["dns_timeout", "dns", True, True]
    assert got["reason"] == "TimeoutError" and got["before"] == "mine"
    assert got["counted"] == [True, True] and got["left"] == 0
    leaked = {name for name, _ in session.net.world.dns.queries[asked:]}
    assert leaked <= {"ipv4.test", "nowhere.test", "zone.test", "servfail.test", "silent.test"}


@pytest.mark.feature("DNS", "DNS over TLS (RFC 7858), over HTTPS (RFC 8484) and over TCP, by option and per question")
async def test_ways_to_a_resolver(session: Session, fresh: ApiPage) -> None:
    counters = session.net.world.dns.counters
    before = dict(counters)
    await fresh.set_up(primaryDns="tls://8.8.8.8")
    servers = ["https://1.1.1.1/dns-query#dns.test", "tls://9.9.9.9#dns.test", "tcp://9.9.9.9", "8.8.4.4:53"]
    got = await fresh.run(
        """
      const [mail, many, address] = await Promise.all([api.mixResolve("zone.test", {type: "MX"}),
        api.mixResolve("many.test"), api.mixDNS("http.test")]);
      const ways = [];
      for (const server of args.servers) {
        const answer = await api.mixResolve("folded.test", {server});
        ways.push([answer.server, answer.records.length]);
      }
      const wrong = await api.mixResolve("zone.test", {server: "tls://9.9.9.9#other.test"}).catch((error) => error);
      const { dns_connections, dns_case_folded } = await (await api.getMixTunnel()).statistics();
      return {servers: [mail.server, many.server], many: many.records.length, address, ways,
        wrong: [wrong.code, wrong.reason, wrong.cause.code], dns_connections, dns_case_folded};""",
        servers=servers,
    )
    assert got["servers"] == ["tls://8.8.8.8"] * 2 and got["many"] == 80 and got["address"] == "203.0.114.11"
    assert got["ways"] == [[server, 1] for server in servers]
    assert got["wrong"] == ["dns_untrusted", "wrong_host", "tls_certificate"]
    assert (
        got["dns_connections"] == 4 and got["dns_case_folded"] == 1
    )  # TLS twice and once refused, TCP; HTTPS has its own
    used = {kind: counters[kind] - before.get(kind, 0) for kind in ("tls", "https", "tcp")}
    assert used == {"tls": 5, "https": 1, "tcp": 1}
