"""How many regular packets a second the local network carries: one client, loop packets with acks, four hops each.

    python bench/localnet_load.py [--processes 2] [--seconds 10] [--window 300] [--json]

The packets are built and sealed beforehand; then they are pushed through one WebSocket with at most `--window` of them
unconfirmed, so that the network sets the pace. Each packet crosses four nodes, and its ack four more. The network runs
in processes of its own. `--delay-ms` is the mean delay per hop that the packets carry.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from localnet.raw_client import RawClient
from smolmix_web.crypto.pyca import PycaCrypto
from smolmix_web.mixnet.acks import AckPath
from smolmix_web.mixnet.base58 import base58_decode
from smolmix_web.mixnet.cover import build_cover_packet
from smolmix_web.mixnet.directory_query import DirectoryQuery
from smolmix_web.mixnet.preparer import exponential_delays
from smolmix_web.mixnet.topology import Topology
from smolmix_web.rand import SystemRandom

ACK_FRAME = 14 + 21 + 16
ROOT = Path(__file__).resolve().parent.parent


def fetch_topology(directory: str) -> Topology:
    query = DirectoryQuery.for_topology()
    while not query.done:
        for path in query.requests():
            with urllib.request.urlopen(directory + path, timeout=10) as response:
                query.answer(path, response.read())
    return Topology.from_query(query)


def build_frames(client: RawClient, topology: Topology, count: int, mean_delay: float) -> list[bytes]:
    """Sealed frames, each with a loop packet of the regular size and its ack inside."""
    frames = []
    own, rng = client.address, client.rng
    for _ in range(count):
        ack_route = topology.random_route(rng, own.gateway)
        ack_delays = exponential_delays(rng, 4, mean_delay)
        packet = build_cover_packet(
            client.crypto,
            rng,
            own,
            route=topology.random_route(rng, own.gateway),
            delays_ns=exponential_delays(rng, 4, mean_delay),
            rotation=topology.rotation,
            ack=AckPath(ack_route, ack_delays, own.identity, client.keys.ack_key),
        )
        frames.append(client.sealed(packet.mix_packet()))
    return frames


class Load(RawClient):
    """A raw client that only counts what comes back."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.counting = False
        self.data = self.acks = 0
        self.last = 0.0
        self.returned = asyncio.Event()
        self.round_trips: list[float] = []
        self.sent_at: list[float] = []

    def _take(self, message: str | bytes) -> None:
        if not self.counting:
            super()._take(message)
        elif isinstance(message, bytes):
            self.last = time.perf_counter()
            if len(message) == ACK_FRAME:
                self.acks += 1
                self.returned.set()
            else:
                self.data += 1

    async def push(self, frames: list[bytes], window: int, seconds: float) -> dict[str, Any]:
        """Send with a window until the frames or the time are used up; then wait for the stragglers."""
        self.counting = True
        begin = time.perf_counter()
        sent = 0
        for frame in frames:
            while sent - self.acks >= window:
                self.returned.clear()
                try:
                    async with asyncio.timeout(10):
                        await self.returned.wait()
                except TimeoutError:
                    break
            if sent - self.acks >= window or time.perf_counter() - begin > seconds:
                break
            await self.socket.send(frame)
            sent += 1
        pushed = time.perf_counter()
        for _ in range(200):
            if self.acks >= sent:
                break
            await asyncio.sleep(0.05)
        elapsed = self.last - begin
        return {
            "sent": sent,
            "data": self.data,
            "acks": self.acks,
            "seconds": round(elapsed, 2),
            "pushed_per_second": round(sent / (pushed - begin), 1),
            "delivered_per_second": round(self.data / elapsed, 1),
            "acks_per_second": round(self.acks / elapsed, 1),
        }


async def measure(arguments: argparse.Namespace, endpoints: dict[str, Any]) -> dict[str, Any]:
    topology = fetch_topology(endpoints["directory"])
    gateway = endpoints["gateways"][0]
    identity = base58_decode(gateway["identity"], 32)
    load = Load(PycaCrypto(), SystemRandom(), gateway["url"], identity)
    async with load:
        frames = build_frames(load, topology, arguments.packets, arguments.delay_ms / 1000)
        result = await load.push(frames, arguments.window, arguments.seconds)
    with urllib.request.urlopen(endpoints["control"] + "/counters", timeout=10) as response:
        counters = json.load(response)["nodes"]
    result["violations"] = sum(v for c in counters.values() for n, v in c.items() if n.startswith("bad."))
    result["overflows"] = sum(v for c in counters.values() for n, v in c.items() if n.startswith("overflow."))
    return result


def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "localnet", "--json", "--exits", "0", "--processes", str(arguments.processes)]
    network = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert network.stdout is not None
        endpoints = json.loads(network.stdout.readline())
        return [asyncio.run(measure(arguments, endpoints)) for _ in range(arguments.runs)]
    finally:
        network.terminate()
        network.wait(20)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--processes", type=int, default=1, help="processes of the network (default 1)")
    parser.add_argument("--packets", type=int, default=4000, help="packets built beforehand per run (default 4000)")
    parser.add_argument("--seconds", type=float, default=10.0, help="longest time of one run (default 10)")
    parser.add_argument("--window", type=int, default=300, help="unconfirmed packets at a time (default 300)")
    parser.add_argument("--delay-ms", type=float, default=15.0, help="mean delay per hop (default 15)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    arguments = parser.parse_args()
    results = run(arguments)
    for result in results:
        print(
            f"{result['delivered_per_second']:7.1f} packets/s  {result['acks_per_second']:7.1f} acks/s"
            f"  ({result['data']} of {result['sent']} in {result['seconds']} s,"
            f" {result['violations']} violations, {result['overflows']} overflows)"
        )
    median = statistics.median(result["delivered_per_second"] for result in results)
    print(f"median {median:.1f} packets/s with {arguments.processes} process(es)")
    if arguments.json:
        summary = {"processes": arguments.processes, "delivered_per_second": median, "runs": results}
        print(json.dumps(summary, separators=(",", ":")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
