"""What a resolver counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class DnsStatistics:
    """Counters since the start."""

    queries: int = 0  # sent, over whatever carries them
    cache_hits: int = 0
    ignored: int = 0  # messages that answered nothing we asked
    case_folded: int = 0  # servers that did not repeat a name in the case it was asked in
    without_edns: int = 0  # questions asked again without EDNS
    tcp: int = 0  # questions asked over TCP because the answer over UDP was truncated
    connections: int = 0  # TCP and TLS connections opened to servers
