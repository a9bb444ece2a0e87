"""One life of a tunnel under a fault: set-up, a use, another use, close; each step ends in success or a typed error.

`live` runs it inside `simulate` and returns a `Life`. What it checks by itself, for every case: no step outlives its
deadline (`Hung`), no error without a type leaves the tunnel, and after `close` no task, timer or socket is left.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from smolmix_web.errors import SmolmixError
from smolmix_web.tunnel import Tunnel

from .host import SimHost
from .network import SimNetwork
from .tunnels import get, left_over, tunnel_to
from .world import pattern

SETUP_DEADLINE = 155.0  # s; the tunnel promises 90 and the exit's time on top
USE_DEADLINE = 240.0
CLOSE_DEADLINE = 10.0
HEALING = 180.0  # s that a tunnel gets to become ready again

Step = Callable[[Tunnel], Awaitable[Any]]


class Hung(AssertionError):
    """A step did not end by its deadline."""


@dataclass
class Outcome:
    """How one step ended: `error` None is success. `seconds` in simulated time."""

    seconds: float
    value: Any = None
    error: SmolmixError | None = None

    @property
    def ok(self) -> bool:
        return self.error is None

    def __str__(self) -> str:
        if self.error is None:
            return f"ok in {self.seconds:.1f} s"
        return f"{type(self.error).__name__} {self.error.code}/{self.error.phase} in {self.seconds:.1f} s"


@dataclass
class Life:
    """What happened to a tunnel. `uses` are in order; `states` with the time of each change."""

    setup: Outcome
    uses: list[Outcome] = field(default_factory=list)
    states: list[tuple[float, str, str | None]] = field(default_factory=list)
    statistics: dict[str, Any] = field(default_factory=dict)
    healed: float | None = None  # seconds until `ready` again, None if not in `HEALING`
    after: Outcome | None = None  # the use once healed

    def __str__(self) -> str:
        parts = ["set-up " + str(self.setup), *(f"use {use}" for use in self.uses)]
        if self.after is not None:
            parts.append(f"healed in {self.healed} s, then {self.after}")
        return "; ".join(parts)


async def attempt(network: SimNetwork, step: Awaitable[Any], deadline: float, what: str) -> Outcome:
    """Wait for a step. Anything but success or a `SmolmixError` before the deadline fails the test."""
    begun = network.queue.now
    task = asyncio.ensure_future(step)
    done, _ = await asyncio.wait({task}, timeout=deadline)
    seconds = network.queue.now - begun
    if not done:
        stack = task.get_stack()
        task.cancel()
        await asyncio.wait({task}, timeout=5.0)
        place = f"{stack[-1].f_code.co_qualname}:{stack[-1].f_lineno}" if stack else "?"
        raise Hung(f"{what} still waits after {deadline:g} s, in {place}")
    error = task.exception()
    if error is None:
        return Outcome(seconds, value=task.result())
    if not isinstance(error, SmolmixError):
        raise error
    assert error.code and error.message, f"{what}: {error!r} has no code or text"
    return Outcome(seconds, error=error)


def download(size: int = 20_000, url: str = "http://origin.test/bytes/") -> Step:
    """Fetch `size` bytes and check every one of them."""

    async def step(tunnel: Tunnel) -> int:
        status, body = await get(tunnel, f"{url}{size}")
        assert (status, len(body)) == (200, size) and body == pattern(size), "wrong bytes"
        return len(body)

    return step


def upload(size: int = 20_000) -> Step:
    """Post `size` bytes; the server's digest must be theirs."""

    async def step(tunnel: Tunnel) -> int:
        body = pattern(size)
        status, digest = await get(tunnel, "http://origin.test/digest", method="POST", body=body)
        assert (status, digest.decode()) == (200, hashlib.sha256(body).hexdigest()), "wrong bytes"
        return size

    return step


async def _healed(network: SimNetwork, tunnel: Tunnel) -> float | None:
    begun = network.queue.now
    while tunnel.state not in ("ready", "failed") and network.queue.now - begun < HEALING:
        await asyncio.sleep(0.1)
    return round(network.queue.now - begun, 1) if tunnel.state == "ready" else None


async def live(
    network: SimNetwork,
    *uses: Step,
    host: SimHost | None = None,
    ready: Callable[[Tunnel, SimHost], object] | None = None,
    after: Step | None = None,
    setup_deadline: float = SETUP_DEADLINE,
    use_deadline: float = USE_DEADLINE,
    **options: Any,
) -> Life:
    """Start a tunnel, do `uses` one after another, close it. `ready` is called between set-up and the first use;
    `after` is done when the tunnel is ready again."""
    host = host or SimHost(network)
    states: list[tuple[float, str, str | None]] = []
    tunnel = tunnel_to(
        network, host, on_change=lambda s: states.append((network.queue.now, s["state"], s["step"])), **options
    )
    life = Life(await attempt(network, tunnel.start(), setup_deadline, "set-up"), states=states)
    if life.setup.ok:
        assert tunnel.state in ("ready", "reconnecting")
        if ready is not None:
            ready(tunnel, host)
        for number, use in enumerate(uses, 1):
            life.uses.append(await attempt(network, use(tunnel), use_deadline, f"use {number}"))
        if after is not None:
            life.healed = await _healed(network, tunnel)
            life.after = await attempt(network, after(tunnel), use_deadline, "use afterwards")
    else:
        assert tunnel.state == "failed" and tunnel.error is life.setup.error
    life.statistics = tunnel.statistics()
    closed = await attempt(network, tunnel.close(), CLOSE_DEADLINE, "close")
    assert closed.ok, f"close failed: {closed}"
    await asyncio.sleep(0.5)  # the end of the socket reaches both sides
    left = left_over(network, host)
    assert not left, f"left behind: {left}"
    return life
