"""Counters of a stack: what passed, and everything that was dropped, by reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class StackStatistics:
    packets_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    bytes_out: int = 0
    connections_opened: int = 0
    connections_accepted: int = 0
    resets_sent: int = 0
    icmp_errors_in: int = 0
    icmp_errors_out: int = 0
    echo_replies_out: int = 0
    datagrams_in: int = 0
    datagrams_out: int = 0
    retransmits: int = 0  # of connections that are over; live ones keep their own
    timeouts: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # reason code -> packets

    def to_dict(self) -> dict[str, Any]:
        # asdict copies a Counter wrongly: it counts the pairs.
        return {**asdict(self), "dropped": dict(self.dropped)}
