"""Named counters of a node: what it did, and what peers did wrong, by name."""

from __future__ import annotations

from collections import Counter


class Counters(Counter[str]):
    """A `Counter` whose names read `noun` or `noun.reason`; see docs of each node for the names it uses."""

    def add(self, name: str, amount: int = 1) -> None:
        self[name] += amount

    def violations(self) -> int:
        """How often a peer broke the protocol: the sum of all counters under `bad`."""
        return sum(value for name, value in self.items() if name.startswith("bad."))
