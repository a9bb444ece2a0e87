"""Hours of use in minutes: both clients at work on a network that loses packets, cuts them off and forgets them.

    python -m bench.soak [--minutes 10] [--json] [--no-chromium] [--paced] [--loss 0.02] [--loss-links PATTERN]

Two clients, CPython and a page in headless Chromium, each with a gateway of its own pinned, fetch, ask for names and
keep WebSockets, everything checked against what the servers know. The page has the standard traffic, the other sends
without pacing unless `--paced` is given. Meanwhile packets come with jitter and some are lost (on the links between the
second and the third layer, which every packet and every ack crosses once), every 60 s each client is cut off from its
gateway for some seconds, every five minutes (first in the third) the exits restart and know nobody, and once the keys
rotate. The last line of `--json` is one object with a row per client and minute.

Exit code 0 when no operation hung past its deadline, none brought wrong bytes, and none failed except, with a typed
error, around the restart of an exit. The run ends by itself a little after its time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from bench.soak_clients import PageClient, PythonClient, SoakClient, resident  # noqa: E402
from bench.soak_ledger import Ledger  # noqa: E402
from buildtools.common import DIST  # noqa: E402
from localnet import Network, NetworkConfig  # noqa: E402

DEADLINE = 120.0  # s for one operation: longer than any wait inside a client that is not healed by then
START_LIMIT = 120.0  # s until a client must be ready
GRACE = 60.0  # s beyond the end and the deadline of the last operation
CUT_EVERY = 60.0
CUT_FIRST = 30.0
CUT_FOR = 8.0
RESTART_EVERY = 300.0
RESTART_FIRST = 140.0
LAG_EVERY = 0.5
ROTATE_AT = 0.75  # of the whole time


@dataclass(frozen=True)
class Plan:
    """What is asked for."""

    minutes: float
    chromium: bool
    paced: bool
    loss: float
    loss_links: str
    latency: float
    jitter: float

    @property
    def seconds(self) -> float:
        return self.minutes * 60


class Soak:
    """One run."""

    def __init__(self, plan: Plan, net: Network) -> None:
        self._plan = plan
        self._net = net
        self._ledger = Ledger()
        self._clients: list[SoakClient] = [PythonClient()] + ([PageClient()] if plan.chromium else [])
        self._began = 0.0
        self._ready: dict[str, asyncio.Event] = {client.name: asyncio.Event() for client in self._clients}
        self._last_heard: dict[str, dict[str, Any]] = {}
        self._done: dict[str, dict[str, Any]] = {}
        self._broken: dict[str, str] = {}

    def _now(self) -> float:
        return time.monotonic() - self._began

    async def run(self) -> dict[str, Any]:
        plan, net = self._plan, self._net
        self._began = time.monotonic()
        await net.set_links("*", latency=plan.latency, jitter=plan.jitter)
        tasks = [asyncio.create_task(self._run_client(client, number)) for number, client in enumerate(self._clients)]
        conductor = asyncio.create_task(self._conduct())
        lag = asyncio.create_task(self._watch_lag())
        try:
            await asyncio.gather(*tasks)
        finally:
            conductor.cancel()
            lag.cancel()
        await net.collect()
        return self._report()

    async def _run_client(self, client: SoakClient, number: int) -> None:
        plan, net = self._plan, self._net
        options = {
            "directoryUrls": [net.directory_url],
            "forceTls": False,
            "caCertificates": net.ca_pem,
            "preferredGateway": net.gateways[number].identity_text,
            # One of them with the standard traffic, one that sends as fast as it goes.
            "disablePoissonTraffic": client.name == "cpython" and not plan.paced,
            "disableCoverTraffic": client.name == "cpython" and not plan.paced,
        }
        limit = START_LIMIT + plan.seconds + DEADLINE + GRACE
        try:
            async with asyncio.timeout(limit):
                await client.run(options, plan.seconds, DEADLINE, lambda message: self._hear(client.name, message))
            if client.name not in self._done:
                self._broken[client.name] = "it ended without a word"
        except TimeoutError:
            self._broken[client.name] = f"it did not end in {limit:.0f} s"
        except Exception as error:
            self._broken[client.name] = repr(error)

    def _hear(self, client: str, message: dict[str, Any]) -> None:
        now = self._now()
        match message.get("event"):
            case None:
                self._ledger.record(client, message, now)
                if message["outcome"] != "ok":
                    say(f"{now:7.1f} {client:9} {json.dumps(message)}")
            case "memory":
                self._ledger.memory(client, message["megabytes"], now)
            case "ready":
                self._ready[client].set()
                self._ledger.incident("ready", now, client=client)
                say(f"{now:7.1f} {client:9} ready")
            case "done":
                self._done[client] = message["statistics"]
            case event:
                self._ledger.incident(event, now, client=client, **{k: v for k, v in message.items() if k != "event"})
                say(f"{now:7.1f} {client:9} {json.dumps(message)}")

    # -- the bad days ---------------------------------------------------------------------------------------

    async def _conduct(self) -> None:
        """Everything on its time, counted from when all clients are ready."""
        await asyncio.gather(*(ready.wait() for ready in self._ready.values()))
        started, seconds = time.monotonic(), self._plan.seconds
        await self._net.set_links(self._plan.loss_links, loss=self._plan.loss)
        events = [(at, self._cut) for at in _series(CUT_FIRST, CUT_EVERY, seconds)]
        events += [(at, self._restart) for at in _series(RESTART_FIRST, RESTART_EVERY, seconds)]
        events.append((seconds * ROTATE_AT, self._rotate))
        events += [(at, self._weigh) for at in _series(5.0, 60.0, seconds)]
        for at, action in sorted(events, key=lambda event: event[0]):
            await asyncio.sleep(max(0.0, started + at - time.monotonic()))
            await action()

    async def _cut(self) -> None:
        used = self._net.gateways[: len(self._clients)]
        cut = 0
        for gateway in used:
            gateway.faults.refuse_connections = True
            cut += gateway.drop_clients()
        self._incident("gateway_cut", seconds=CUT_FOR, connections=cut)
        try:
            await asyncio.sleep(CUT_FOR)
        finally:
            for gateway in used:
                gateway.faults.refuse_connections = False

    async def _restart(self) -> None:
        for host in self._net.exits:
            host.restart()
        self._incident("exit_restart")

    async def _rotate(self) -> None:
        epoch = await self._net.rotate_keys()
        self._incident("key_rotation", rotation=epoch.rotation)

    async def _weigh(self) -> None:
        self._ledger.memory("network", resident("self"), self._now())

    async def _watch_lag(self) -> None:
        """How late the network's own process is: on a machine that is too slow, nothing else means much."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(LAG_EVERY)
            self._ledger.lag(time.monotonic() - before - LAG_EVERY, self._now())

    def _incident(self, what: str, **details: Any) -> None:
        self._ledger.incident(what, self._now(), **details)
        say(f"{self._now():7.1f} {what}")

    # -- the end --------------------------------------------------------------------------------------------

    def _report(self) -> dict[str, Any]:
        violations = self._net.violations()
        ok = self._ledger.clean and not self._broken and not violations
        return {
            "ok": ok,
            "minutes_asked": self._plan.minutes,
            "paced": self._plan.paced,
            "links": {
                "loss": self._plan.loss,
                "loss_on": self._plan.loss_links,
                "latency": self._plan.latency,
                "jitter": self._plan.jitter,
            },
            **self._ledger.report(),
            "broken": self._broken,
            "violations": violations,
            "statistics": self._done,
        }


def _series(first: float, every: float, end: float) -> list[float]:
    times = []
    while first < end:
        times.append(first)
        first += every
    return times


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--minutes", type=float, default=10.0, help="how long the clients work (default: 10)")
    top.add_argument("--json", action="store_true", help="one JSON object as the last line")
    top.add_argument("--no-chromium", action="store_true", help="the CPython client only")
    top.add_argument("--paced", action="store_true", help="standard traffic for the CPython client too")
    top.add_argument("--loss", type=float, default=0.02, help="share of packets lost on each of --loss-links")
    top.add_argument("--loss-links", default="mix2*->mix3*", metavar="PATTERN", help="links that lose")
    top.add_argument("--latency-ms", type=float, default=5.0, help="of every link")
    top.add_argument("--jitter-ms", type=float, default=20.0, help="of every link")
    return top


async def run(options: argparse.Namespace) -> dict[str, Any]:
    plan = Plan(
        minutes=options.minutes,
        chromium=not options.no_chromium,
        paced=options.paced,
        loss=options.loss,
        loss_links=options.loss_links,
        latency=options.latency_ms / 1000,
        jitter=options.jitter_ms / 1000,
    )
    async with Network(NetworkConfig(seed="soak", gateways=2, exits=2, processes=2)) as net:
        return await Soak(plan, net).run()


def table(report: dict[str, Any]) -> list[str]:
    """The minutes in lines."""
    lines = [
        f"{'min':>4} {'client':9} {'ok':>5} {'failed':>6} {'hung':>5} {'wrong':>5} {'kB':>7} {'median':>7} {'MB':>7}"
    ]
    for row in report["minutes"]:
        if row["client"] != "network":
            lines.append(
                f"{row['minute']:>4} {row['client']:9} {row['ok']:>5} {row['failed']:>6} {row['hung']:>5} "
                f"{row['wrong']:>5} {row['bytes'] // 1000:>7} {row['median_ms'] or 0:>7} {row['memory_mb'] or 0:>7}"
            )
    lags = [row["lag_ms"] for row in report["minutes"] if row["client"] == "network"]
    lines.append(f"the network's process was late by up to {max(lags, default=0)} ms")
    for client, memory in report["memory"].items():
        lines.append(f"memory of {client}: " + ", ".join(f"{name} {value}" for name, value in memory.items()))
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if not 0 < options.minutes <= 24 * 60:
        parser().error("--minutes: more than 0, at most a day")
    if not options.no_chromium and not (DIST / "worker.js").exists():
        print("dist/ is missing: run `python3 build.py build` first", file=sys.stderr)
        return 1
    report = asyncio.run(run(options))
    for line in table(report):
        say(line)
    say("the soak is clean" if report["ok"] else "the soak is NOT clean: see unexpected, broken, violations")
    if options.json:
        print(json.dumps(report))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
