"""Which packets a node has already seen: replay tags per key rotation, bounded (sphinx 4.4).

Exact within the newest half of its capacity at least: two generations, of which the older is forgotten when the
younger is full. Tags are cut to 8 bytes, which are as good as random.
"""

from __future__ import annotations


class ReplayFilter:
    """Holds tags of at most `capacity` packets per rotation, for as many rotations as `keep_only` leaves."""

    def __init__(self, capacity: int) -> None:
        self._half = max(1, capacity // 2)
        self._young: dict[int, set[bytes]] = {}
        self._old: dict[int, set[bytes]] = {}
        self.forgotten = 0

    def first_time(self, rotation: int, tag: bytes) -> bool:
        """True, and remembered from now on, if this tag is new under this rotation."""
        key = tag[:8]
        young = self._young.get(rotation)
        if young is None:
            young = self._young[rotation] = set()
        old = self._old.get(rotation)
        if key in young or (old is not None and key in old):
            return False
        if len(young) >= self._half:
            if old is not None:
                self.forgotten += len(old)
            self._old[rotation] = young
            young = self._young[rotation] = set()
        young.add(key)
        return True

    def keep_only(self, rotations: set[int]) -> None:
        """Forget the tags of all other rotations: their keys are gone."""
        for generation in (self._young, self._old):
            for rotation in [r for r in generation if r not in rotations]:
                del generation[rotation]

    def __len__(self) -> int:
        return sum(len(tags) for generation in (self._young, self._old) for tags in generation.values())
