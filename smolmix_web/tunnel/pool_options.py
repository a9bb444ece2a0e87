"""Options of a pool besides those of its tunnels, and their only validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import OptionError
from .options import TunnelOptions, integer

MAX_SIZE = 8  # each tunnel has traffic of its own

_SIZE = integer(1, MAX_SIZE)
_EVERY = integer(1_000, 604_800_000)
_REQUESTS = integer(1, 1_000_000_000)
_STATUS = integer(400, 599)


def _statuses(name: str, value: Any) -> frozenset[int]:
    if isinstance(value, (str, bytes)) or not isinstance(value, (list, tuple, set, frozenset)):
        raise OptionError(name, "expected a list of HTTP statuses")
    return frozenset(_STATUS(name, status) for status in value)


@dataclass(frozen=True)
class PoolOptions:
    """`size` tunnels. Each is replaced by one with another exit after about `every_ms` ms, after `requests` requests,
    and when a server answers with one of `statuses`; None, or nothing in it: not for that reason."""

    size: int = 2
    every_ms: int | None = None
    requests: int | None = None
    statuses: frozenset[int] = frozenset()

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> PoolOptions:
        """Of `size` and `rotate`, which has `everyMs` (in Python also `every_ms`), `requests` and `statuses`. None
        means "not given". Raises `OptionError`."""
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name not in ("size", "rotate"):
                raise OptionError(str(name), "unknown option of a pool")
            if name == "size" and value is not None:
                values["size"] = _SIZE("size", value)
        rotate = given.get("rotate")
        if rotate is None:
            return cls(**values)
        if not isinstance(rotate, Mapping):
            raise OptionError("rotate", f"expected an object, got {type(rotate).__name__}")
        checks = {"everyMs": _EVERY, "every_ms": _EVERY, "requests": _REQUESTS, "statuses": _statuses}
        for name, value in rotate.items():
            if name not in checks:
                raise OptionError(f"rotate.{name}", "unknown reason to rotate")
            if value is not None:
                values["every_ms" if name == "everyMs" else name] = checks[name](f"rotate.{name}", value)
        return cls(**values)


def check_members(options: TunnelOptions) -> None:
    """What the tunnels of a pool cannot have, since they are several: one identity, one exit. Raises `OptionError`."""
    for name, wrong, why in (
        ("clientId", options.persistent, "the tunnels of a pool have no stored identity"),
        ("storage", options.storage, "the tunnels of a pool have no stored identity"),
        ("topology", options.topology is not None, "a pool draws its exits from the directory"),
        ("preferredIpr", options.preferred_ipr is not None, "the tunnels of a pool have different exits"),
        ("exit", options.exit == "none", "the tunnels of a pool have exits"),
        ("shared", options.shared, "a pool is that of one page"),
    ):
        if wrong:
            raise OptionError(name, why)
