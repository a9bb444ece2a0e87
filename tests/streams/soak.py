"""One transfer between two clients on the worst of networks, for as many seeds as one likes:

    python -m tests.streams.soak --seeds 1000 [--first 1] [--processes 2]

Every packet is lost with a chance of a tenth or more, on its way or with its ack, and a tenth are doubled or held back;
gateways restart, some never come back. A seed ends well with every byte in order at both sides, or with a typed error
at both before the deadline; and when both have closed, nothing may be left of it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing import Pool

from smolmix_web.edge.peers import PeerStream
from smolmix_web.errors import SmolmixError
from smolmix_web.rand import SeededRandom
from smolmix_web.tunnel import Tunnel
from tests.simnet.cases import attempt
from tests.simnet.gateway import SimGateway
from tests.simnet.host import SimHost
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import left_over, open_tunnel, simulate
from tests.simnet.world import pattern

QUIET = {"disablePoissonTraffic": True, "disableCoverTraffic": True, "exit": "none"}
DEADLINE = 2500.0  # s of the simulation
GONE = 400.0  # s after which nothing of a stream may be left, whatever its peer does
PER_LINK = 0.027  # of four links: a tenth of the packets, and of their acks


@dataclass
class Report:
    """`ends`: how each side ended, `ok` or the error's code. Seconds are simulated."""

    seed: int
    seconds: float = 0.0
    ends: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    repeated: int = 0

    @property
    def ok(self) -> bool:
        return self.ends == ["ok", "ok"]


def gateway_of(network: SimNetwork, tunnel: Tunnel) -> SimGateway:
    engine = tunnel._engine
    assert engine is not None
    return next(one for one in network.gateways if one.identity.public == engine.gateway.endpoint.identity)


async def exchange(stream: PeerStream, sends: bytes, expects: bytes) -> str:
    """Both directions at once; what arrives must be the beginning of what was sent, whatever else happens."""
    got = bytearray()

    async def read() -> None:
        while piece := await stream.read():
            got.extend(piece)
            assert expects.startswith(got), f"wrong bytes before {len(got)}"
        assert len(got) == len(expects), f"the end after {len(got)} of {len(expects)} bytes"

    async def write() -> None:
        await stream.write(sends)
        await stream.send_eof()
        await stream.drain()

    results = await asyncio.gather(read(), write(), return_exceptions=True)
    ends = []
    for result in results:
        if isinstance(result, SmolmixError):
            assert result.code and result.message
            ends.append(result.code)
        elif isinstance(result, BaseException):
            raise result
    await stream.close()
    return ends[0] if ends else "ok"


async def trouble(network: SimNetwork, tunnels: list[Tunnel], rng: SeededRandom, report: Report) -> None:
    """Gateways that restart, and keys that rotate, at random moments of the first seconds."""
    for _ in range(rng.below(3) + 1):
        await asyncio.sleep(rng.uniform() * 4)
        kind = ("restart", "restart", "rotation", "gone")[rng.below(4)]
        if kind == "rotation":
            if kind in report.faults:
                continue  # a second one makes the byte that tells rotations apart mean nothing
            network.rotate_keys()
            report.faults.append(kind)
            continue
        side = rng.below(2)
        gateway = gateway_of(network, tunnels[side])
        seconds = 60.0 if kind == "gone" else 0.2 + rng.uniform() * 4
        report.faults.append(f"{kind} {'ab'[side]} {seconds:.1f}")
        gateway.crash()
        network.queue.after(seconds, gateway.restart)


async def _run(network: SimNetwork, report: Report) -> None:
    rng = SeededRandom(f"soak {report.seed}")
    hosts = [SimHost(network, name) for name in "ab"]
    sizes = 10_000 + rng.below(40_000), rng.below(30_000)
    async with open_tunnel(network, hosts[0], **QUIET) as a, open_tunnel(network, hosts[1], **QUIET) as b:
        tunnels = [a, b]
        network.impair(loss=PER_LINK, duplicate=0.1, reorder=0.1, jitter=0.02)
        begun = network.queue.now
        listener = b.listen()
        there, back = pattern(sizes[0], report.seed), pattern(sizes[1], -report.seed)

        async def accept() -> str:
            try:
                incoming = await listener.accept(DEADLINE / 2)
            except SmolmixError as error:
                return error.code
            return await exchange(incoming, back, there)

        async def dial() -> str:
            return await exchange(await a.open_stream(b.address, timeout=DEADLINE / 2), there, back)

        worries = asyncio.create_task(trouble(network, tunnels, rng, report))

        async def both() -> list[str]:
            return await asyncio.gather(dial(), accept())

        outcome = await attempt(network, both(), DEADLINE, f"seed {report.seed}")
        report.ends = list(outcome.value) if outcome.error is None else [outcome.error.code] * 2
        report.seconds = network.queue.now - begun
        await worries
        hubs = [tunnel._engine.peers for tunnel in tunnels if tunnel._engine is not None]
        begun = network.queue.now
        while any(hub.streams or hub.next_deadline() is not None for hub in hubs):
            assert network.queue.now - begun < GONE, f"streams of seed {report.seed} are still there"
            await asyncio.sleep(1.0)
        report.repeated = sum(hub.statistics.repeated for hub in hubs)
    await asyncio.sleep(0.5)
    for host in hosts:
        assert left_over(network, host) == {}, f"left behind by seed {report.seed}"


def run(seed: int) -> Report:
    """One seed. Anything but a good end or typed errors is an AssertionError."""
    network = SimNetwork(f"soak {seed}", gateways=4, exits=0)
    report = Report(seed)
    simulate(network, _run(network, report))
    return report


def _guarded(seed: int) -> Report | str:
    try:
        return run(seed)
    except Exception as error:
        return f"seed {seed}: {type(error).__name__}: {error}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.streams.soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    begun, ends, failures, slowest, repeated = time.monotonic(), Counter[str](), [], 0.0, 0
    with Pool(args.processes) as pool:
        for result in pool.imap_unordered(_guarded, range(args.first, args.first + args.seeds)):
            if isinstance(result, str):
                failures.append(result)
                print(result, flush=True)
                continue
            ends["ok" if result.ok else "/".join(result.ends)] += 1
            slowest, repeated = max(slowest, result.seconds), repeated + result.repeated
            if args.verbose or not result.ok:
                print(f"{result.seed}: {result.ends} {result.seconds:.1f} s, {result.faults}", flush=True)
    print(f"{args.seeds} seeds in {time.monotonic() - begun:.0f} s: {dict(ends)}, {len(failures)} failed,")
    print(f"slowest {slowest:.0f} s of the simulation, {repeated} frames repeated end to end")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
