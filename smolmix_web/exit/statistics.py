"""Counters of an exit session. They stay here, like those of the mixnet client."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ExitStatistics:
    """Counters since the start. Whatever an exit sends that we cannot use shows up here and nowhere else."""

    messages_sent: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    probes: int = 0
    malformed: int = 0  # frames, responses, bundle tails
    foreign: int = 0  # of another stream or version
    unexpected: int = 0  # well-formed, but nobody asked
    duplicates: int = 0
    overflowed: int = 0  # packets and events dropped because nobody took them
    last_malformed: str = ""
