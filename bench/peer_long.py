"""The long run of `bench.peer --minutes`: one client idles and fetches in turns, and what it says of itself is counted.

Nothing is cut off and nobody is restarted, so every `reconnecting` is false.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

from playwright.async_api import Error as PlaywrightError

from bench.peer_runs import SMALL, Bench, Visit
from bench.renderer import cpu_seconds

IDLE = 15.0  # s between two fetches
LAST_TRIPS = 3  # small fetches whose median is the round trip at the end

# What a long run counts -> what it is, and its unit.
COUNTED: dict[str, tuple[str, str]] = {
    "fetches": ("fetches that were begun", ""),
    "failed": ("of them failed", ""),
    "changes": ("changes of the state", ""),
    "reconnects": ("false reconnects", ""),
    "warnings": ("warnings", ""),
    "small median": ("small fetch, median", "s"),
    "small worst": ("small fetch, the slowest", "s"),
    "small at the end": (f"small fetch, median of the last {LAST_TRIPS}", "s"),
    "download median": ("download, median", "s"),
    "timers late": ("timers of 50 ms late during downloads, 95th percentile, the worst", "ms"),
    "cpu": ("CPU of the renderer", "of a core"),
    "peak memory": ("memory of the renderer at most", "MB"),
}


async def run_long(bench: Bench, client: str, mode: str) -> dict[str, Any]:
    """What one client counted. `COUNTED` names the numbers; None where it never got so far. `states`: what it told,
    with the time in ms since its page was opened; `errors`: what failed, with the time in s."""
    address = bench.address_in(client, mode)
    found: dict[str, Any] = dict.fromkeys(COUNTED) | {"fetches": 0, "failed": 0, "states": [], "errors": []}
    try:
        async with bench.fresh() as context, bench.visit(context) as visit:
            used, began = cpu_seconds(visit.pids), time.monotonic()
            try:
                async with asyncio.timeout(bench.plan.patience):
                    await visit.ready(address)
            except TimeoutError:
                raise PlaywrightError(f"not ready within {bench.plan.patience:g} s") from None
            try:
                await _use(bench, visit, found)
                async with asyncio.timeout(bench.plan.patience):
                    told = await visit.page.evaluate("() => peer.told()")
            finally:
                found["cpu"] = (cpu_seconds(visit.pids) - used) / (time.monotonic() - began)
                found["peak memory"] = visit.peak / 1e6 or None
            if client == "ours":  # the official client tells nothing
                found |= {name: told[name] for name in ("changes", "reconnects", "states")}
                found["warnings"] = len(told["warnings"])
                found["warning codes"] = told["warnings"]
    except (PlaywrightError, TimeoutError) as error:
        text = f"{bench.condition.name}; {mode}; {client}: {(str(error).splitlines() or ['no answer'])[0]}"
        bench.failures.append(text)
        bench.log(text)
    return found


async def _use(bench: Bench, visit: Visit, found: dict[str, Any]) -> None:
    """Until the time is over: a small fetch, idling, a download, idling."""
    assert bench.plan.minutes is not None
    size = bench.condition.sizes.download
    began = time.monotonic()
    small: list[float] = []
    downloads: list[float] = []
    late: list[float] = []
    while (elapsed := time.monotonic() - began) < bench.plan.minutes * 60:
        for is_small in (True, False):
            _fill(found, small, downloads, late)
            found["fetches"] += 1
            url = SMALL if is_small else f"http://origin.test/bytes/{size}"
            try:
                async with asyncio.timeout(bench.plan.patience):
                    got = await visit.get(url, None if is_small else size, watched=not is_small)
            except (PlaywrightError, TimeoutError) as error:
                found["failed"] += 1
                found["errors"].append([round(elapsed, 1), (str(error).splitlines() or ["late"])[0]])
                if isinstance(error, TimeoutError):
                    return  # what it began goes on
            else:
                (small if is_small else downloads).append(got["seconds"])
                if not is_small:
                    late.append(got["late"])
            await asyncio.sleep(IDLE)
        bench.log(f"  {elapsed / 60:.1f} minutes: {found['fetches']} fetches, {found['failed']} failed")
    _fill(found, small, downloads, late)


def _fill(found: dict[str, Any], small: list[float], downloads: list[float], late: list[float]) -> None:
    if small:
        found["small median"], found["small worst"] = statistics.median(small), max(small)
        found["small at the end"] = statistics.median(small[-LAST_TRIPS:])
    if downloads:
        found["download median"], found["timers late"] = statistics.median(downloads), max(late)
