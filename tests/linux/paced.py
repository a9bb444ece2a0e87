"""How long a download by the default traffic takes when the server is a kernel: the simulated mix network in real time,
with a TUN device behind its exit in place of the simulated servers.

`python3 -m tests.linux.paced --runs 50` prints a line for each run and the distribution. `lag` is how late the machine
was with the simulation at worst: where it is large, the figures are the machine's.
"""

from __future__ import annotations

import argparse
import os
import socket
import struct
import time
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import Any
from unittest.mock import patch

from localnet.exit.packets import EXIT_IPV4
from smolmix_web.netstack import Endpoint
from tests.linux.kernel import KernelPeer
from tests.linux.namespace import Namespace
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import SimTunnel
from tests.simnet.world import ORIGIN

PORT = 50_001
MTU = 1420
LOOK = 0.002  # s between looks at the TUN device
_TOTAL_RETRANS = 100  # offset in struct tcp_info


@dataclass(frozen=True)
class Run:
    seconds: float
    repeated: int  # segments, by the kernel
    lag: float  # s


class KernelFlows:
    """Stands where an exit of the simulation has the far ends of a client's connections."""

    descriptor = -1

    def __init__(self, exit_: Any, rng: object) -> None:
        self._queue = exit_.queue
        self.stack: Any = self
        self.connections: tuple[object, ...] = ()

    def close(self) -> None: ...

    def receive(self, packet: bytes, now: float) -> None:
        os.write(self.descriptor, packet)

    def poll(self, now: float, room: int) -> list[bytes]:
        packets: list[bytes] = []
        try:
            while len(packets) < room:
                packets.append(os.read(self.descriptor, 65_536))
        except BlockingIOError:
            pass
        return packets

    def next_deadline(self) -> float:
        return float(self._queue.now) + LOOK


def download(seed: int, size: int, congestion: str | None = None, **options: Any) -> Run:
    """One download by a tunnel that has been ready for 5 s."""
    space = Namespace()
    try:
        KernelFlows.descriptor = space.tun([IPv4Interface(f"{EXIT_IPV4}/16"), IPv4Interface(f"{ORIGIN}/32")], MTU)
        space.sysctl("ipv4/tcp_no_metrics_save", 1)
        listener = space.socket(socket.AF_INET, socket.SOCK_STREAM)
        if congestion is not None:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
        listener.bind((str(ORIGIN), PORT))
        listener.listen(1)
        listener.settimeout(30)
        with patch("tests.simnet.exit.ClientFlows", KernelFlows):
            return _run(seed, size, listener, options)
    finally:
        space.close()


def _run(seed: int, size: int, listener: socket.socket, options: dict[str, Any]) -> Run:
    tunnel = SimTunnel(SimNetwork(f"kernel {seed}", latency=0.001), seed, **options)
    tunnel.start()
    tunnel.run(5)
    server = KernelPeer(lambda: listener.accept()[0], bytes(size))
    queue = tunnel.queue
    began, behind, lag = queue.now, time.monotonic() - queue.now, 0.0
    transfer = tunnel.connect(Endpoint(ORIGIN, PORT), b"GET")
    while not transfer.done:
        now, due = time.monotonic() - behind, queue.next_time()
        assert now < began + 60 and due is not None, "in time"
        if due > now:
            time.sleep(min(LOOK, due - now))
            continue
        lag = max(lag, now - due)
        queue.step()
    seconds = queue.now - began
    assert bytes(transfer.received) == bytes(size) and server.socket is not None
    told = server.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    server.stopped.set()
    server.join(5)
    listener.close()
    tunnel.stop()
    return Run(seconds, struct.unpack_from("I", told, _TOTAL_RETRANS)[0], lag)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--size", type=int, default=300_000)
    parser.add_argument("--congestion", help="of the server's kernel, for example bbr")
    arguments = parser.parse_args()
    runs = []
    for seed in range(arguments.runs):
        runs.append(download(seed, arguments.size, arguments.congestion))
        print(f"{runs[-1].seconds:.2f} s, {runs[-1].repeated} repeated, lag {runs[-1].lag:.2f} s", flush=True)
    times = sorted(run.seconds for run in runs)
    shares = (("min", 0.0), ("p10", 0.1), ("median", 0.5), ("p90", 0.9), ("max", 1.0))
    print(", ".join(f"{name} {times[int(share * (len(times) - 1))]:.2f}" for name, share in shares), "s")


if __name__ == "__main__":
    main()
