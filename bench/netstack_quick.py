"""How much processor time a TCP segment costs: two stacks joined by a perfect wire in one process.

    python bench/netstack_quick.py [megabytes]

Prints one JSON object: microseconds per data segment for the sending end (write, cut, build, take the ACKs in) and for
the receiving end (parse, reassemble, read, build the ACKs), and the megabytes per second that each could carry alone.
"""

from __future__ import annotations

import json
import sys
from ipaddress import IPv4Address
from pathlib import Path
from time import process_time

sys.path.insert(0, str(Path(__file__).parents[1]))

from smolmix_web.netstack import Endpoint, Stack, TcpConnection
from smolmix_web.rand import SystemRandom

CLIENT, SERVER = IPv4Address("10.0.0.2"), IPv4Address("203.0.113.80")
MTU = 1420
BURST = 32  # packets per poll, as a tunnel takes them


def measure(size: int) -> dict[str, float]:
    rng = SystemRandom()
    sender, receiver = Stack([CLIENT], MTU, rng), Stack([SERVER], MTU, rng)
    accepted: list[TcpConnection] = []
    receiver.tcp_listen(80, on_connection=accepted.append)
    connection = sender.tcp_connect(Endpoint(SERVER, 80), 0.0)
    now, spent_sending, spent_receiving = 0.0, 0.0, 0.0
    block = bytes(65_536)
    left, got, segments, acks = size, 0, 0, 0
    while got < size:
        now += 0.005
        begin = process_time()
        if connection.send_space and left:
            left -= connection.send(block[:left], now)
        packets = sender.poll(now, BURST)
        spent_sending += process_time() - begin
        begin = process_time()
        for packet in packets:
            receiver.receive(packet, now)
        if accepted:
            got += len(accepted[0].receive(1 << 20, now))
        answers = receiver.poll(now, BURST)
        spent_receiving += process_time() - begin
        begin = process_time()
        for packet in answers:
            sender.receive(packet, now)
        spent_sending += process_time() - begin
        segments += len(packets)
        acks += len(answers)
    return {
        "segments": segments,
        "acks": acks,
        "send_us": round(spent_sending / segments * 1e6, 1),
        "receive_us": round(spent_receiving / segments * 1e6, 1),
        "send_mb_per_s": round(size / spent_sending / 1e6, 1),
        "receive_mb_per_s": round(size / spent_receiving / 1e6, 1),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 20_000_000)))
