"""How long each phase of a request may take."""

from __future__ import annotations

from dataclasses import dataclass


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
