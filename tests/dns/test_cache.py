"""The cache: time to live, negative answers, bounds."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from smolmix_web.dns.cache import MAX_NEGATIVE_TTL, MAX_TTL, DnsCache, Entry
from smolmix_web.dns.records import ARecord

RECORDS = (ARecord("a", 60, IPv4Address("192.0.2.1")),)


def entry(ttl: float, *, now: float = 0, code: str | None = None, canonical: str = "", size: int = 0) -> Entry:
    return Entry(() if code else RECORDS, code, now, now + ttl, canonical, size=size)


def test_expiry() -> None:
    cache = DnsCache()
    cache.put("a", 1, entry(60, now=100))
    found = cache.get("a", 1, 159.9)
    assert found is not None and found.records == RECORDS and found.expires == 160
    assert cache.get("a", 28, 100) is None
    assert cache.get("a", 1, 160) is None
    assert len(cache) == 0


def test_bounds_of_time() -> None:
    cache = DnsCache()
    cache.put("a", 1, entry(1e9))
    cache.put("b", 1, entry(1e9, code="dns_no_data"))
    cache.put("c", 1, entry(0))
    cache.put("d", 1, entry(-5))
    a, b = cache.get("a", 1, 0), cache.get("b", 1, 0)
    assert a is not None and a.expires == MAX_TTL
    assert b is not None and b.expires == MAX_NEGATIVE_TTL and b.code == "dns_no_data"
    assert len(cache) == 2


@pytest.mark.feature("DNS", "Negative answers are cached, each for its own type (RFC 2308, RFC 4074 4.2)")
@pytest.mark.parametrize("code", ["dns_not_found", "dns_no_data"])
def test_what_one_type_lacks_says_nothing_about_another(code: str) -> None:
    cache = DnsCache()
    cache.put("gone", 1, entry(60, code=code, canonical="gone"))
    assert cache.get("gone", 1, 1) is not None and cache.get("gone", 28, 1) is None
    cache.put("gone", 28, entry(60))
    found = cache.get("gone", 28, 1)
    assert found is not None and found.records == RECORDS


def test_each_server_has_its_own_answers() -> None:
    cache = DnsCache()
    cache.put("a", 1, entry(60), "tls://192.0.2.1")
    assert cache.get("a", 1, 1) is None and cache.get("a", 1, 1, "tls://192.0.2.1") is not None


@pytest.mark.feature("DNS", "The cache is bounded in answers and bytes, and can be cleared")
def test_bound_of_size_drops_the_least_recently_used() -> None:
    cache = DnsCache(3, max_bytes=1000)
    for name in "abc":
        cache.put(name, 1, entry(60, size=100))
    cache.get("a", 1, 1)
    cache.put("d", 1, entry(60, size=100))
    assert [name for name in "abcd" if cache.get(name, 1, 1)] == ["a", "c", "d"]
    cache.put("d", 1, entry(60, size=100))  # replaced, not counted twice
    cache.put("e", 1, entry(60, size=850))
    assert [name for name in "acde" if cache.get(name, 1, 1)] == ["d", "e"]
    cache.put("f", 1, entry(60, size=2000))
    assert len(cache) == 0
    cache.put("g", 1, entry(60, size=1000))
    cache.clear()
    assert len(cache) == 0
    cache.put("h", 1, entry(60, size=1000))
    assert len(cache) == 1
