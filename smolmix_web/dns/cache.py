"""A bounded cache of DNS answers, positive and negative, by TTL (RFC 1035 3.2.1, RFC 2308 5).

Also "no such name" is kept for the type that was asked for alone: servers say it too when only this type is missing
(RFC 4074 4.2), and a name has few types that anybody asks for.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from .records import Record

MAX_TTL = 86_400.0
MAX_NEGATIVE_TTL = 900.0
MAX_BYTES = 1 << 20  # of the answers that entries were made from


@dataclass(frozen=True)
class Entry:
    """Records, or the `code` (`dns_not_found`, `dns_no_data`) of an answer without any.

    Times in monotonic seconds. `canonical` is the name at the end of the CNAMEs, `source` the server that answered,
    `size` the bytes of the answer.
    """

    records: tuple[Record, ...]
    code: str | None
    stored: float
    expires: float
    canonical: str = ""
    source: str = ""
    authenticated: bool = False
    size: int = 0


class DnsCache:
    """By name, type and, where one was asked for, server. Least recently used entries leave first."""

    def __init__(self, capacity: int = 1024, max_bytes: int = MAX_BYTES) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[tuple[str, int, str], Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: str, rdtype: int, now: float, server: str = "") -> Entry | None:
        key = (name, rdtype, server)
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= now:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def put(self, name: str, rdtype: int, entry: Entry, server: str = "") -> None:
        """Remember an entry until it expires, or for the longest time we believe; one that has expired: not at all."""
        longest = MAX_NEGATIVE_TTL if entry.code else MAX_TTL
        expires = min(entry.expires, entry.stored + longest)
        if expires <= entry.stored:
            return
        if expires != entry.expires:
            entry = replace(entry, expires=expires)
        key = (name, rdtype, server)
        self._drop(key)
        self._entries[key] = entry
        self._bytes += entry.size
        while len(self._entries) > self._capacity or self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: tuple[str, int, str]) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size

    def clear(self) -> None:
        self._entries.clear()
        self._bytes = 0
