"""How long each phase of a request may take."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ..errors import OptionError

MAX_MILLISECONDS = 86_400_000


@dataclass(frozen=True)
class Timeouts:
    """Seconds; None: no limit of its own. Each names the `phase` of its `TimeoutExpired`.

    Generous by default: a round trip through the mixnet takes 1 to 5 seconds.
    """

    queue: float | None = 300.0  # waiting for a free connection to the origin
    dns: float | None = 70.0  # the whole look-up, both resolvers
    connect: float | None = 60.0  # TCP, all addresses together
    tls: float | None = 60.0
    request: float | None = 60.0  # without progress while sending
    response: float | None = 120.0  # from the end of the request to the response's header
    idle: float | None = 60.0  # without a byte of the body
    total: float | None = None  # everything, to the end of the body

    @classmethod
    def from_mapping(cls, given: Any, base: Self | None = None, *, option: str = "timeouts") -> Self:
        """Milliseconds by name, as JavaScript has them, over `base`; Infinity: no limit, None: as in `base`.

        Raises `OptionError`.
        """
        if not isinstance(given, Mapping):
            raise OptionError(option, f"expected an object of milliseconds by phase, got {type(given).__name__}")
        names = [field.name for field in dataclasses.fields(cls)]
        values: dict[str, float | None] = {}
        for name, value in given.items():
            if name not in names:
                raise OptionError(f"{option}.{name}", f"unknown; there are {', '.join(names)}")
            if value is not None:
                values[name] = _seconds(f"{option}.{name}", value)
        return dataclasses.replace(base or cls(), **values)


def _seconds(option: str, value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise OptionError(option, f"expected milliseconds, got {type(value).__name__}")
    if value == math.inf:
        return None
    if not 1 <= value <= MAX_MILLISECONDS:
        raise OptionError(option, f"{value} is not in 1..{MAX_MILLISECONDS}, nor Infinity")
    return value / 1000
