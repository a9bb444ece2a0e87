"""Randomness as an argument: the operating system's, or a seeded stream that replays a run.

Every room of the core takes a `RandomSource`; none calls `os.urandom` or `random` by itself.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class RandomSource(Protocol):
    """What the core asks of a source of randomness."""

    def bytes(self, count: int) -> bytes:
        """`count` uniformly random bytes."""
        ...

    def below(self, limit: int) -> int:
        """A uniform integer in `0 <= n < limit`; `limit` is at least 1."""
        ...

    def uniform(self) -> float:
        """A uniform float in `0.0 <= x < 1.0` (53 bits)."""
        ...

    def exponential(self, mean: float) -> float:
        """An exponentially distributed float with this mean, in the unit of `mean`; 0 for mean 0."""
        ...

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`, each with equal chance; `items` is not empty."""
        ...


class _Derived:
    """The distributions, made from `bytes` alone."""

    def bytes(self, count: int) -> bytes:
        raise NotImplementedError

    def below(self, limit: int) -> int:
        if limit < 1:
            raise ValueError("limit must be at least 1")
        size = (limit.bit_length() + 7) // 8
        span = 1 << (8 * size)
        # Rejection keeps every value equally likely.
        usable = span - span % limit
        while True:
            value = int.from_bytes(self.bytes(size), "big")
            if value < usable:
                return value % limit

    def uniform(self) -> float:
        return (int.from_bytes(self.bytes(7), "big") >> 3) / (1 << 53)

    def exponential(self, mean: float) -> float:
        return -mean * math.log(1.0 - self.uniform()) if mean > 0 else 0.0

    def choice(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]


class SystemRandom(_Derived):
    """The operating system's generator, read in blocks to spare calls."""

    _BLOCK = 4096

    def __init__(self) -> None:
        self._pool = b""
        self._used = 0

    def bytes(self, count: int) -> bytes:
        end = self._used + count
        if end > len(self._pool):
            if count > self._BLOCK:
                return os.urandom(count)
            self._pool, self._used, end = os.urandom(self._BLOCK), 0, count
        piece = self._pool[self._used : end]
        self._used = end
        return piece


class SeededRandom(_Derived):
    """A SHA-256 counter stream: the same seed gives the same run. For tests and simulations only."""

    def __init__(self, seed: int | str | bytes) -> None:
        if not isinstance(seed, bytes):
            seed = str(seed).encode()
        self._key = hashlib.sha256(seed).digest()
        self._counter = 0
        self._pool = b""

    def bytes(self, count: int) -> bytes:
        parts = [self._pool]
        have = len(self._pool)
        while have < count:
            parts.append(hashlib.sha256(self._key + self._counter.to_bytes(8, "big")).digest())
            self._counter += 1
            have += 32
        pool = b"".join(parts)
        self._pool = pool[count:]
        return pool[:count]
