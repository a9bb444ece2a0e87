"""A bounded cache of DNS answers, positive and negative, by TTL (RFC 1035 3.2.1, RFC 2308 5)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

MAX_TTL = 86_400.0
MAX_NEGATIVE_TTL = 900.0


@dataclass(frozen=True)
class Entry:
    """Addresses, or the `code` (`dns_not_found`, `dns_no_data`) of an answer without any.

    `expires` in monotonic seconds.
    """

    addresses: tuple[IPv4Address | IPv6Address, ...]
    code: str | None
    expires: float


class DnsCache:
    """Least recently used entries leave first."""

    def __init__(self, capacity: int = 1024) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[tuple[str, int], Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: str, rdtype: int, now: float) -> Entry | None:
        key = (name, rdtype)
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= now:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry

    def put(
        self,
        name: str,
        rdtype: int,
        addresses: tuple[IPv4Address | IPv6Address, ...],
        code: str | None,
        ttl: float,
        now: float,
    ) -> None:
        """Remember an answer for `ttl` seconds; 0 or less: not at all."""
        ttl = min(ttl, MAX_NEGATIVE_TTL if code else MAX_TTL)
        if ttl <= 0:
            return
        self._entries[name, rdtype] = Entry(addresses, code, now + ttl)
        self._entries.move_to_end((name, rdtype))
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        self._entries.clear()
