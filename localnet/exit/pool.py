"""The exit's addresses: 10.0.hi.lo and fc00::hilo from one random number (docs/protocol/ipr.md 5.2)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from smolmix_web.rand import RandomSource

FIRST, LAST = 2, 65534  # 1 is the exit itself
ATTEMPTS = 100


class AddressPool:
    """Addresses in use, by their number. `limit` makes the pool small on purpose: numbers up to it."""

    def __init__(self, rng: RandomSource, limit: int = LAST) -> None:
        self._rng = rng
        self._limit = limit
        self._taken: set[int] = set()

    def take(self) -> tuple[IPv4Address, IPv6Address] | None:
        """A free pair, or None when a hundred draws found none."""
        for _ in range(ATTEMPTS):
            number = FIRST + self._rng.below(self._limit - FIRST + 1)
            if number not in self._taken:
                self._taken.add(number)
                return IPv4Address(0x0A000000 + number), IPv6Address((0xFC00 << 112) + number)
        return None

    def free(self, ipv4: IPv4Address) -> None:
        self._taken.discard(int(ipv4) - 0x0A000000)

    def __len__(self) -> int:
        return len(self._taken)
