"""Links that can be made bad at run time: latency, jitter, loss, damage, reordering, duplication and a rate.

A link is one direction between two named ends, such as `mix1a->mix2b` or `client->entry1`. Rules name links by
pattern (`*`, `client->*`, `mix1?->*`); later rules win setting by setting. A link without impairments hands its items
on in the same call.

What travels is a whole item (a node-to-node frame, a WebSocket message). A client's text messages are control: they are
delayed and shaped, but never lost, damaged, doubled or reordered, as a TCP stream would not lose them either.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import Any

from .errors import ConfigError
from .scheduler import Scheduler

REORDER_HOLD = 0.02
MAX_QUEUED_SECONDS = 5.0
"""A rate-limited link drops what would wait longer than this for its turn."""


@dataclass(frozen=True, kw_only=True)
class LinkSettings:
    """Impairments of one link. Times in seconds, shares from 0 to 1, `rate` in bytes per second (0: unlimited)."""

    latency: float = 0.0
    jitter: float = 0.0
    """Each item waits a further uniform share of this; order is kept."""
    loss: float = 0.0
    corrupt: float = 0.0
    """Share of items that arrive with one bit changed, somewhere behind the framing."""
    duplicate: float = 0.0
    reorder: float = 0.0
    """Share of items held back another 20 ms, so that later ones overtake them."""
    rate: float = 0.0

    def __post_init__(self) -> None:
        for spec in fields(self):
            value = getattr(self, spec.name)
            share = spec.name in ("loss", "corrupt", "duplicate", "reorder")
            top = 1.0 if share else (1e12 if spec.name == "rate" else 60.0)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= top:
                raise ConfigError(spec.name, f"{value!r} is not a number from 0 to {top:g}")

    @property
    def clear(self) -> bool:
        return self == _CLEAR


_CLEAR = LinkSettings()
SETTING_NAMES = tuple(spec.name for spec in fields(LinkSettings))


@dataclass(frozen=True)
class LinkRule:
    """Settings, by name, for every link whose name matches `pattern`."""

    pattern: str
    settings: Mapping[str, float]

    def __post_init__(self) -> None:
        for name in self.settings:
            if name not in SETTING_NAMES:
                raise ConfigError("links", f"unknown setting {name!r}; known are {', '.join(SETTING_NAMES)}")
        LinkSettings(**dict(self.settings))


class Link:
    """One direction between two ends. Items come out through the `deliver` given with each."""

    def __init__(self, name: str, settings: LinkSettings, scheduler: Scheduler, seed: str) -> None:
        self.name = name
        self.settings = settings
        self.passed = self.lost = self.damaged = self.doubled = self.reordered = self.overflowed = 0
        self._scheduler = scheduler
        self._random = random.Random(f"{seed}/{name}")
        self._last = 0.0
        self._free_at = 0.0
        self._waiting = 0

    def send(
        self, size: int, deliver: Callable[..., None], *args: Any, control: bool = False, framing: int = 0
    ) -> None:
        """Call `deliver(*args)` when the item of `size` bytes arrives: now, later, twice or never.

        What may be damaged is the first argument, if it is bytes, after its first `framing` bytes.
        """
        settings = self.settings
        if settings is _CLEAR and not self._waiting:
            self.passed += 1
            deliver(*args)
            return
        draw = self._random.random
        if not control and settings.loss and draw() < settings.loss:
            self.lost += 1
            return
        if not control and settings.corrupt and draw() < settings.corrupt:
            args = self._damage(args, framing)
        copies = 1
        if not control and settings.duplicate and draw() < settings.duplicate:
            self.doubled += 1
            copies = 2
        for _ in range(copies):
            self._send_one(size, settings, deliver, args, control)

    def _damage(self, args: tuple[Any, ...], framing: int) -> tuple[Any, ...]:
        if not args or not isinstance(args[0], bytes) or len(args[0]) <= framing:
            return args
        self.damaged += 1
        data = bytearray(args[0])
        data[self._random.randrange(framing, len(data))] ^= 1 << self._random.randrange(8)
        return (bytes(data), *args[1:])

    def _send_one(
        self, size: int, settings: LinkSettings, deliver: Callable[..., None], args: tuple[Any, ...], control: bool
    ) -> None:
        now = self._scheduler.now()
        when = now
        if settings.rate:
            begin = max(now, self._free_at)
            if begin - now > MAX_QUEUED_SECONDS and not control:
                self.overflowed += 1
                return
            self._free_at = when = begin + size / settings.rate
        when += settings.latency
        if settings.jitter:
            when += settings.jitter * self._random.random()
        if not control and settings.reorder and self._random.random() < settings.reorder:
            self.reordered += 1
            when += REORDER_HOLD
        else:
            self._last = when = max(when, self._last)
        if self._scheduler.at(when, self._arrive, deliver, args):
            self._waiting += 1
        else:
            self.overflowed += 1

    def _arrive(self, deliver: Callable[..., None], args: tuple[Any, ...]) -> None:
        self._waiting -= 1
        self.passed += 1
        deliver(*args)

    def counters(self) -> dict[str, int]:
        return {
            "passed": self.passed,
            "lost": self.lost,
            "damaged": self.damaged,
            "doubled": self.doubled,
            "reordered": self.reordered,
            "overflowed": self.overflowed,
            "waiting": self._waiting,
        }


class LinkTable:
    """All links of a process, and the rules that give them their settings."""

    def __init__(self, scheduler: Scheduler, seed: str, rules: Iterable[LinkRule] = ()) -> None:
        self._scheduler = scheduler
        self._seed = seed
        self.rules: list[LinkRule] = list(rules)
        self._links: dict[str, Link] = {}

    def link(self, source: str, target: str) -> Link:
        """The link of this name, made on first use."""
        name = f"{source}->{target}"
        link = self._links.get(name)
        if link is None:
            link = self._links[name] = Link(name, self.resolve(name), self._scheduler, self._seed)
        return link

    def resolve(self, name: str) -> LinkSettings:
        """What the rules say about a link of this name."""
        settings = _CLEAR
        for rule in self.rules:
            if fnmatchcase(name, rule.pattern):
                settings = replace(settings, **dict(rule.settings))
        return _CLEAR if settings.clear else settings

    def set(self, pattern: str, **settings: float) -> LinkRule:
        """Add a rule; links that exist follow it from their next item on."""
        rule = LinkRule(pattern, settings)
        # A rule of the same pattern that sets nothing else is replaced: rules do not pile up.
        self.rules = [old for old in self.rules if old.pattern != pattern or not set(old.settings) <= set(settings)]
        self.rules.append(rule)
        self._apply()
        return rule

    def reset(self, pattern: str | None = None) -> None:
        """Drop the rules of this pattern, or all."""
        self.rules = [] if pattern is None else [rule for rule in self.rules if rule.pattern != pattern]
        self._apply()

    def _apply(self) -> None:
        for link in self._links.values():
            link.settings = self.resolve(link.name)

    def describe(self) -> dict[str, Any]:
        return {
            "rules": [{"pattern": rule.pattern, **rule.settings} for rule in self.rules],
            "links": {
                name: {**asdict(link.settings), "counters": link.counters()}
                for name, link in sorted(self._links.items())
            },
        }
