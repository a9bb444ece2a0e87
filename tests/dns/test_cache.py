"""The cache: time to live, negative answers, bound."""

from __future__ import annotations

from ipaddress import IPv4Address

from smolmix_web.dns.cache import MAX_NEGATIVE_TTL, MAX_TTL, DnsCache

ADDRESSES = (IPv4Address("192.0.2.1"),)


def test_expiry() -> None:
    cache = DnsCache()
    cache.put("a", 1, ADDRESSES, None, 60, now=100)
    entry = cache.get("a", 1, 159.9)
    assert entry is not None and entry.addresses == ADDRESSES and entry.expires == 160
    assert cache.get("a", 28, 100) is None
    assert cache.get("a", 1, 160) is None
    assert len(cache) == 0


def test_bounds_of_time() -> None:
    cache = DnsCache()
    cache.put("a", 1, ADDRESSES, None, 1e9, now=0)
    cache.put("b", 1, (), "dns_not_found", 1e9, now=0)
    cache.put("c", 1, ADDRESSES, None, 0, now=0)
    cache.put("d", 1, ADDRESSES, None, -5, now=0)
    a, b = cache.get("a", 1, 0), cache.get("b", 1, 0)
    assert a is not None and a.expires == MAX_TTL
    assert b is not None and b.expires == MAX_NEGATIVE_TTL and b.code == "dns_not_found"
    assert len(cache) == 2


def test_bound_of_size_drops_the_least_recently_used() -> None:
    cache = DnsCache(3)
    for name in "abc":
        cache.put(name, 1, ADDRESSES, None, 60, now=0)
    cache.get("a", 1, 1)
    cache.put("d", 1, ADDRESSES, None, 60, now=0)
    assert [name for name in "abcd" if cache.get(name, 1, 1)] == ["a", "c", "d"]
    cache.clear()
    assert len(cache) == 0
