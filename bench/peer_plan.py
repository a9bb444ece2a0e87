"""What `bench.peer` measures: figures, modes, and the conditions under which both clients run.

A condition is a share of a core for the renderer, a thin line to the gateways, less memory, or all of it. What takes
minutes on a slow machine is asked for in smaller sizes; the report says which.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import product
from typing import Any

CLIENTS = ("official", "ours")
MODES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "switches off": {"disablePoissonTraffic": True, "disableCoverTraffic": True},
}
SHORT_MODES = {"defaults": "defaults", "off": "switches off"}


@dataclass(frozen=True)
class Figure:
    """`better`: "less", "more", or "" where neither is."""

    group: str
    text: str
    unit: str
    better: str = "less"


# In the order of the tables. `{...}` are the condition's sizes.
FIGURES: dict[str, Figure] = {
    "ready": Figure("ready", "page open to ready, first visit", "s"),
    "ready again": Figure("ready", "page open to ready, second visit", "s"),
    "ready cpu": Figure("ready", "CPU of the renderer until ready, first visit", "s"),
    "first fetch": Figure("small", "first small http fetch", "s"),
    "second fetch": Figure("small", "second small http fetch", "s"),
    "together": Figure("parallel", "{together} fetches of {together_size} at once", "s"),
    "upload": Figure("upload", "upload of {upload}", "s"),
    "download": Figure("download", "download of {download}", "s"),
    "speed": Figure("download", "download of {download}", "kB/s", "more"),
    "cpu per MB": Figure("download", "CPU of the renderer per MB", "s"),
    "up per down": Figure("download", "Sphinx packets up per packet down", "", ""),
    "body per packet": Figure("download", "bytes of body per packet down", "", "more"),
    "timers late": Figure("download", "the page's timers of 50 ms late meanwhile, 95th percentile", "ms"),
    "memory": Figure("memory", "memory of the renderer at the end", "MB"),
    "peak memory": Figure("memory", "memory of the renderer at most", "MB"),
    "idle cpu": Figure("idle", "CPU of the idle tunnel", "of a core"),
    "idle up": Figure("idle", "packets up of the idle tunnel", "per s", ""),
}
GROUPS = (*dict.fromkeys(figure.group for figure in FIGURES.values()), "bytes")


@dataclass(frozen=True)
class Sizes:
    """Bytes, and seconds of idling."""

    download: int = 3_000_000
    together: int = 12
    together_size: int = 20_000
    upload: int = 1_000_000
    idle: float = 30.0

    def words(self) -> dict[str, str]:
        """For the texts of figures."""
        return {
            "download": size_text(self.download),
            "together": str(self.together),
            "together_size": size_text(self.together_size),
            "upload": size_text(self.upload),
        }


SLOW = Sizes(500_000, 6, 20_000, 200_000)
THIN = Sizes(100_000, 6, 20_000, 100_000)


def size_text(size: int) -> str:
    return f"{size / 1e6:g} MB" if size >= 400_000 else f"{size / 1e3:g} kB"


@dataclass(frozen=True)
class Condition:
    """`cpu`: share of a core; `line`: kB/s each way; `line_delay`: of it, seconds each way; `memory`: MB (None: no
    limit); `loss`: share of packets on each link between two nodes."""

    cpu: float | None = None
    line: float | None = None
    memory: int | None = None
    line_delay: float = 0.0
    loss: float = 0.0

    @property
    def name(self) -> str:
        parts = []
        if self.cpu is not None:
            parts.append(f"{self.cpu:g} of a core")
        if self.line is not None:
            parts.append(f"a line of {self.line:g} kB/s and {self.line_delay * 1000:g} ms")
        if self.memory is not None:
            parts.append(f"{self.memory} MB of memory")
        if self.loss:
            parts.append(f"{self.loss * 100:g} % of packets lost on each link")
        return ", ".join(parts) or "no limit"

    @property
    def sizes(self) -> Sizes:
        if self.line is not None:
            return THIN
        return SLOW if self.cpu is not None and self.cpu < 1 else Sizes()


@dataclass(frozen=True)
class Plan:
    """A whole command."""

    rounds: int
    modes: tuple[str, ...]
    groups: frozenset[str]
    conditions: tuple[Condition, ...]
    loss: float  # the same in all conditions
    patience: float  # s for one step
    minutes: float | None  # of the long run; None: the figures

    @property
    def figures(self) -> list[str]:
        """The names that a whole run has."""
        return [name for name, figure in FIGURES.items() if figure.group in self.groups]

    @property
    def whole(self) -> bool:
        """Nothing is left out: fit for the page of the docs."""
        return self.minutes is None and self.groups == set(GROUPS) and set(self.modes) == set(MODES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say what is measured; `plan_from` reads them. `build.py bench` has the same."""
    add = parser.add_argument
    add("--rounds", type=int, default=3, help="how often each client runs in each mode (default: 3)")
    add("--modes", type=modes_of, default=tuple(MODES), metavar="defaults,off", help="as it is; both switches off")
    add(
        "--figures", type=_groups, default=frozenset(GROUPS), metavar=",".join(GROUPS), help="only these (default: all)"
    )
    add("--cpu", type=_numbers(0.01, 64), default=(None,), metavar="SHARE[,...]", help="of a core, for the renderer")
    add("--line", type=_numbers(1, 1e6), default=(None,), metavar="KBPS[,...]", help="kB/s each way to the gateways")
    add(
        "--line-delay-ms",
        type=_number(0, 10_000),
        default=30.0,
        metavar="MS",
        help="of that line, each way (default: 30)",
    )
    add(
        "--loss",
        type=_number(0, 0.5),
        default=0.0,
        metavar="P",
        help="share of packets lost on each link of the network",
    )
    add("--memory", type=_numbers(32, 1 << 20), default=(None,), metavar="MB[,...]", help="for the renderer")
    add("--patience", type=_number(1, 3600), default=300.0, metavar="S", help="for one step (default: 300)")
    add("--minutes", type=_number(0.1, 1440), help="of idling and fetching in turns, instead of the figures")


def plan_from(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Plan:
    if not 1 <= options.rounds <= 50:
        parser.error("--rounds is a number from 1 to 50")
    return Plan(
        rounds=options.rounds,
        modes=options.modes,
        groups=options.figures,
        conditions=tuple(
            Condition(
                cpu,
                line,
                None if memory is None else round(memory),
                options.line_delay_ms / 1000 if line is not None else 0.0,
                options.loss,
            )
            for memory, line, cpu in product(options.memory, options.line, options.cpu)
        ),
        loss=options.loss,
        patience=options.patience,
        minutes=options.minutes,
    )


def _number(low: float, high: float) -> Any:
    def parse(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not from {low:g} to {high:g}")
        return value

    return parse


def _numbers(low: float, high: float) -> Any:
    def parse(text: str) -> tuple[float, ...]:
        return tuple(dict.fromkeys(_number(low, high)(part) for part in text.split(",")))

    return parse


def modes_of(text: str) -> tuple[str, ...]:
    return tuple(SHORT_MODES[name] for name in names_of(text, tuple(SHORT_MODES)))


def _groups(text: str) -> frozenset[str]:
    return frozenset(names_of(text, GROUPS))


def names_of(text: str, known: tuple[str, ...]) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
    return list(dict.fromkeys(names))
