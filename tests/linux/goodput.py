"""How fast bytes of a kernel sender arrive on a long and lossy path: in a kernel receiver and in ours, side by side.

Both ways are made of the same parts: the sender's namespace, a wire in user space, and at its other end either our
stack or a second namespace. Both receivers run at the same time on wires of their own with the same seed, so that
what else the machine does falls on both alike.

`python3 -m tests.linux.goodput --size 20000000` prints one line of JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import socket
import threading
from dataclasses import asdict, dataclass
from ipaddress import IPv4Interface
from typing import Any

from smolmix_web.netstack import Endpoint, Stack
from smolmix_web.rand import SystemRandom
from tests.linux.kernel import KernelPeer
from tests.linux.namespace import Namespace
from tests.linux.network import FAMILY, KERNEL, MTU, OURS
from tests.linux.pump import End, Pump, StackEnd, TunEnd
from tests.netsim.simulator import Peer, Wire

PORT = 5001
_OTHER = IPv4Interface(f"{OURS[4]}/24")


@dataclass(frozen=True)
class Setting:
    size: int = 20_000_000
    rtt: float = 0.5
    loss: float = 0.01  # of the data; ACKs are lost alike
    rate: float = 1_000_000  # bytes per second
    queue: int = 1_000_000  # bytes in front of the bottleneck
    congestion: str = "bbr"  # of the sending kernel
    seed: int = 1


@dataclass(frozen=True)
class Result:
    receiver: str
    bytes: int
    seconds: float  # from the request to the last byte
    goodput: float  # bytes per second
    data_packets: int
    ack_packets: int
    lost: int


def wires(setting: Setting) -> tuple[Wire, Wire]:
    """There (ACKs) and back (data)."""
    delay = setting.rtt / 2
    return (
        Wire(delay=delay, loss=setting.loss),
        Wire(delay=delay, loss=setting.loss, rate=setting.rate, queue=setting.queue),
    )


def sender(setting: Setting, data: bytes) -> tuple[Namespace, TunEnd, KernelPeer]:
    space = Namespace()
    end = TunEnd(space.tun([KERNEL[4]], MTU))
    space.sysctl("ipv4/tcp_no_metrics_save", 1)
    listener = space.socket(FAMILY[4], socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, setting.congestion.encode())
    listener.bind((str(KERNEL[4].ip), PORT))
    listener.listen(1)
    listener.settimeout(30)
    return space, end, KernelPeer(lambda: listener.accept()[0], data, patience=1200.0)


def measure(setting: Setting, receiver: str, data: bytes, timeout: float = 900.0) -> Result:
    """`receiver` is "ours" or "kernel". The bytes that arrive are compared with those that were sent."""
    space, back_end, server = sender(setting, data)
    other: Namespace | None = None
    there, back = wires(setting)
    if receiver == "ours":
        stack = Stack([OURS[4]], MTU, SystemRandom())
        pump = Pump(StackEnd(stack), back_end, there, back, seed=setting.seed)
        began = pump.now
        client: Any = Peer(pump, stack.tcp_connect(Endpoint(KERNEL[4].ip, PORT), began))  # type: ignore[arg-type]
    else:
        other = Namespace()
        left: End = TunEnd(other.tun([_OTHER], MTU))
        pump = Pump(left, back_end, there, back, seed=setting.seed)
        sock = other.socket(FAMILY[4], socket.SOCK_STREAM)
        sock.settimeout(60)

        def connect() -> socket.socket:
            sock.connect((str(KERNEL[4].ip), PORT))
            return sock

        began = pump.now
        client = KernelPeer(connect, patience=1200.0)
    try:
        pump.run(lambda: client.eof, timeout)
        seconds = pump.now - began
        assert hashlib.sha256(client.received).digest() == hashlib.sha256(data).digest()
    finally:
        server.stopped.set()
        server.join(timeout=10)
        if other is not None:
            client.stopped.set()
            client.join(timeout=10)
            other.close()
        space.close()
    line = pump.back
    return Result(receiver, len(data), seconds, len(data) / seconds, line.packets, pump.there.packets, line.lost)


def compare(setting: Setting) -> dict[str, Result]:
    data = random.Random(setting.seed).randbytes(setting.size)
    results: dict[str, Result] = {}
    failures: list[BaseException] = []

    def work(receiver: str) -> None:
        try:
            results[receiver] = measure(setting, receiver, data)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(receiver,)) for receiver in ("kernel", "ours")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    defaults = Setting()
    for name, value in asdict(defaults).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    setting = Setting(**vars(parser.parse_args()))
    results = compare(setting)
    ratio = results["ours"].goodput / results["kernel"].goodput
    print(json.dumps({"setting": asdict(setting), "ratio": ratio, **{k: asdict(v) for k, v in results.items()}}))


if __name__ == "__main__":
    main()
