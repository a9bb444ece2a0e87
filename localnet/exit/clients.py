"""The table of connected clients: sender tag, addresses, bundle and clock of each (docs/protocol/ipr.md 5.2-5.8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from smolmix_web.exit.bundles import BundleEncoder

from .pool import AddressPool


@dataclass(eq=False)
class ConnectedClient:
    """`stream_id` is None for version 8, whose messages have no frame."""

    tag: bytes
    version: int
    stream_id: int | None
    ipv4: IPv4Address
    ipv6: IPv6Address
    buffer_timeout: float  # s
    last_activity: float
    encoder: BundleEncoder = field(default_factory=BundleEncoder)
    flush_at: float | None = None
    sequence: int = 1  # of the next data reply; control replies have 0

    def next_sequence(self) -> int:
        """Counts from 1 and skips 0 when it wraps."""
        sequence = self.sequence
        self.sequence = (sequence + 1) % (1 << 32) or 1
        return sequence


class ClientTable:
    """Clients by tag and by address; keeps the address pool in step."""

    def __init__(self, pool: AddressPool) -> None:
        self._pool = pool
        self._by_tag: dict[bytes, ConnectedClient] = {}
        self._by_address: dict[IPv4Address | IPv6Address, ConnectedClient] = {}

    def __len__(self) -> int:
        return len(self._by_tag)

    def __iter__(self) -> Iterator[ConnectedClient]:
        return iter(list(self._by_tag.values()))

    def by_tag(self, tag: bytes) -> ConnectedClient | None:
        return self._by_tag.get(tag)

    def by_address(self, address: IPv4Address | IPv6Address) -> ConnectedClient | None:
        return self._by_address.get(address)

    def add(
        self, tag: bytes, version: int, stream_id: int | None, buffer_timeout: float, now: float
    ) -> ConnectedClient | None:
        """None when the pool has no address. The tag must be unknown."""
        pair = self._pool.take()
        if pair is None:
            return None
        client = ConnectedClient(tag, version, stream_id, *pair, buffer_timeout, now)
        self._by_tag[tag] = client
        self._by_address[client.ipv4] = self._by_address[client.ipv6] = client
        return client

    def remove(self, client: ConnectedClient) -> None:
        del self._by_tag[client.tag]
        del self._by_address[client.ipv4], self._by_address[client.ipv6]
        self._pool.free(client.ipv4)
