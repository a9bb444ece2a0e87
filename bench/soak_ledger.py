"""The book of a soak: every operation of every client, by minute, and the verdict.

A record is what a client says of one finished operation: `kind`, `outcome` (`ok`, `failed`, `hung`, `wrong`), `code`,
`bytes`, `ms`. A failure is expected only while the clients recover from the restart of their exit, which ends every
connection; any other failure counts against the run, as does every operation that hangs or brings wrong bytes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

OUTCOMES = ("ok", "failed", "hung", "wrong")
RECOVERY = 60.0  # s after the restart of an exit in which operations may fail


@dataclass
class Row:
    """One client in one minute, by the time its operations ended."""

    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    times: list[int] = field(default_factory=list)
    memory: float | None = None
    lag: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        times = sorted(self.times)
        return {
            **{name: self.outcomes[name] for name in OUTCOMES},
            "by_kind": dict(sorted(self.kinds.items())),
            "failures": dict(sorted(self.failures.items())),
            "bytes": self.bytes,
            "median_ms": times[len(times) // 2] if times else None,
            "longest_ms": times[-1] if times else None,
            "memory_mb": self.memory,
            "lag_ms": round(self.lag * 1000),
        }


class Ledger:
    """Times are seconds since the start of the soak."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, str], Row] = {}
        self._incidents: list[dict[str, Any]] = []
        self._memory: dict[str, list[tuple[float, float]]] = {}
        self._failures: list[tuple[float, float, str, str]] = []

    def _row(self, client: str, at: float) -> Row:
        return self._rows.setdefault((int(at // 60), client), Row())

    def record(self, client: str, record: dict[str, Any], at: float) -> None:
        """One operation that ended now."""
        outcome, kind, took = record["outcome"], str(record["kind"]), int(record["ms"])
        if outcome not in OUTCOMES:
            raise ValueError(f"outcome {outcome!r}")
        row = self._row(client, at)
        row.outcomes[outcome] += 1
        row.kinds[kind] += 1
        row.times.append(took)
        row.bytes += int(record.get("bytes") or 0)
        if outcome != "ok":
            code = f"{kind}: {record.get('code') or outcome}"
            row.failures[code] += 1
            if outcome == "failed":
                self._failures.append((at - took / 1000, at, client, code))

    def memory(self, client: str, megabytes: float, at: float) -> None:
        self._row(client, at).memory = round(megabytes, 1)
        self._memory.setdefault(client, []).append((at, megabytes))

    def lag(self, seconds: float, at: float) -> None:
        """The network's event loop was that late; a minute keeps the most."""
        row = self._row("network", at)
        row.lag = max(row.lag, seconds)

    def incident(self, what: str, at: float, **details: Any) -> None:
        self._incidents.append({"at": round(at, 1), "what": what, **details})

    def unexpected(self) -> list[dict[str, Any]]:
        """Failures that no exit's restart explains."""
        restarts = [one["at"] for one in self._incidents if one["what"] == "exit_restart"]
        return [
            {"at": round(ended, 1), "client": client, "failure": code, "took": round(ended - began, 1)}
            for began, ended, client, code in self._failures
            if not any(began <= restart + RECOVERY and ended >= restart for restart in restarts)
        ]

    def total(self, outcome: str) -> int:
        return sum(row.outcomes[outcome] for row in self._rows.values())

    def memory_summary(self) -> dict[str, dict[str, float]]:
        """MB of each client: when it was ready, at the end of its first minute, at the end, the most."""
        summary = {}
        for client, samples in self._memory.items():
            values = [value for _, value in samples]
            warm = next((value for at, value in samples if at >= samples[0][0] + 60), values[-1])
            summary[client] = {
                "start_mb": round(values[0], 1),
                "warm_mb": round(warm, 1),
                "end_mb": round(values[-1], 1),
                "most_mb": round(max(values), 1),
            }
        return summary

    def report(self) -> dict[str, Any]:
        unexpected = self.unexpected()
        return {
            "operations": {name: self.total(name) for name in OUTCOMES},
            "unexpected_failures": len(unexpected),
            "unexpected": unexpected[:50],
            "memory": self.memory_summary(),
            "incidents": self._incidents,
            "minutes": [
                {"minute": minute, "client": client, **row.to_dict()}
                for (minute, client), row in sorted(self._rows.items())
            ],
        }

    @property
    def clean(self) -> bool:
        """Whether the run has shown what a soak is to show; nothing done is not it."""
        return self.total("ok") > 0 and not self.total("hung") and not self.total("wrong") and not self.unexpected()
