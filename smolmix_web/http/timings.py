"""When the phases of a request happened: the tunnel's answer to Resource Timing (W3C), in seconds."""

from __future__ import annotations

from dataclasses import InitVar, asdict, dataclass
from typing import Any


@dataclass
class Timings:
    """Seconds since the call for `request_sent`, `ttfb` and `end`; durations otherwise. None: did not happen (yet).

    After redirects all but `end`, `ttfb` and `request_sent` are those of the last hop, which began after `redirect`
    seconds. `end` is set when the end of the body has arrived.
    """

    began: InitVar[float]  # on the clock of whoever measures

    redirect: float = 0.0  # spent on the hops before
    queue: float = 0.0  # waiting for a free connection
    dns: float | None = None  # these three are None on a connection that was open before
    connect: float | None = None
    tls: float | None = None  # also None for plain http
    request_sent: float | None = None
    ttfb: float | None = None  # the response's header is there
    end: float | None = None
    protocol: str = "http/1.1"  # or "h2"
    remote_address: str | None = None
    reused: bool = False
    exit: str | None = None  # Nym address of the exit in use

    def __post_init__(self, began: float) -> None:
        self._began = began

    def since(self, now: float) -> float:
        """Seconds from the call to `now`."""
        return now - self._began

    def next_hop(self, now: float) -> None:
        """A redirect was followed: what belongs to one hop begins anew."""
        self.__init__(self._began, redirect=self.since(now), exit=self.exit)  # type: ignore[misc]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
