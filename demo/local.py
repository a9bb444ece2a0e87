"""What the parties of the local network see of the demo's client, and a switch that cuts its gateway.

Only the demo on this machine has these: `demo/run.py` serves them below `/local/`, beside the page. The records are
`Network.watch`'s; nothing is told that the gateway or the exit does not see itself.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, TypeVar

from browserkit.server import Answer, Asked
from localnet import Network
from localnet.gateway import Gateway
from localnet.observed import Seen
from smolmix_web.errors import MessageError, PacketError
from smolmix_web.mixnet.addresses import unpack_node_address
from smolmix_web.mixnet.mix_packet import MixPacket
from smolmix_web.netstack import ip, ipv4, ipv6
from smolmix_web.netstack.pcap import PcapWriter

PREFIX = "/local/"
NEWEST = 12
MAX_CAPTURE = 32 << 20  # bytes
WAIT = 5.0  # s for the network's loop to answer
PROTOCOLS = {ip.TCP: "TCP", ip.UDP: "UDP"}
JSON = "application/json"

T = TypeVar("T")


class LocalRecords:
    """`answers` goes to a `StaticServer`; made on the network's loop."""

    def __init__(self, net: Network) -> None:
        self._net = net
        self._loop = asyncio.get_running_loop()
        self._names = tuple((name, name.encode(), _as_question(name)) for name in sorted(net.names))
        self._gateway: deque[dict[str, Any]] = deque(maxlen=NEWEST)
        self._exit: deque[dict[str, Any]] = deque(maxlen=NEWEST)
        self._counts: Counter[str] = Counter()
        self._sizes: Counter[int] = Counter()
        self._said: dict[str, None] = {}
        self._cut: list[Gateway] = []
        self._file = io.BytesIO()
        self._capture = PcapWriter(self._file, unix_offset=time.time() - self._loop.time(), limit=MAX_CAPTURE)
        net.watch(self._note)
        self.answers: Mapping[str, Callable[[Asked], Answer]] = {
            f"{PREFIX}observed.json": lambda asked: self._here(self._observed),
            f"{PREFIX}exit.pcap": lambda asked: self._here(self._pcap),
            f"{PREFIX}cut": self._switch,
        }

    def _here(self, work: Callable[[], T]) -> T:
        """The server asks from a thread of its own; everything else happens on the loop."""

        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(WAIT)

    # -- notes ----------------------------------------------------------------------------------------------

    def _note(self, seen: Seen) -> None:
        match seen.vantage, seen.what:
            case "gateway", "packet":
                self._counts["gateway.up"] += 1
                self._sizes[len(seen.data)] += 1
                self._gateway.append({"at": seen.at, "way": "up", "bytes": len(seen.data), "hop": _hop(seen.data)})
            case "gateway", "down.binary":
                self._counts["gateway.down"] += 1
                self._gateway.append({"at": seen.at, "way": "down", "bytes": len(seen.data), "hop": None})
            case "exit", "up" | "down":
                self._counts[f"exit.{seen.what}"] += 1
                self._capture.write(seen.data, seen.at)
                names = [name for name, *forms in self._names if any(form in seen.data for form in forms)]
                self._said.update(dict.fromkeys(names))
                flow = _flow(seen.data)
                self._exit.append({"at": seen.at, "flow": flow, "bytes": len(seen.data), "names": names})

    # -- answers --------------------------------------------------------------------------------------------

    def _observed(self) -> Answer:
        count = self._counts
        sizes = [size for size, _ in self._sizes.most_common(4)]
        told = {
            "now": self._loop.time(),
            "cut": bool(self._cut),
            "gateway": {
                "up": count["gateway.up"],
                "down": count["gateway.down"],
                "sizes": sorted(sizes),
                "newest": list(self._gateway)[::-1],
            },
            "exit": {
                "up": count["exit.up"],
                "down": count["exit.down"],
                "names": list(self._said)[:NEWEST],
                "newest": list(self._exit)[::-1],
            },
        }
        return Answer(200, JSON, json.dumps(told).encode())

    def _pcap(self) -> Answer:
        return Answer(200, "application/vnd.tcpdump.pcap", self._file.getvalue())

    def _switch(self, asked: Asked) -> Answer:
        if asked.method != "POST" or asked.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            return Answer(405, JSON, b"{}")
        try:
            on = json.loads(asked.body)["on"]
        except (ValueError, KeyError, TypeError):
            on = None
        if not isinstance(on, bool):
            return Answer(400, JSON, json.dumps({"error": "on: true or false"}).encode())
        return self._here(lambda: self._cut_now(on))

    def _cut_now(self, on: bool) -> Answer:
        """The gateways that have a client now lose it, and take none until the switch is off."""
        for gateway in self._cut:
            gateway.faults.refuse_connections = False
        entries = [*self._net.gateways, *(host.gateway for host in self._net.exits)]
        self._cut = [gateway for gateway in entries if on and gateway.sessions]
        for gateway in self._cut:
            gateway.faults.refuse_connections = True
            gateway.drop_clients()
        return Answer(200, JSON, json.dumps({"cut": [gateway.name for gateway in self._cut]}).encode())


def _as_question(name: str) -> bytes:
    """A name as a DNS message has it."""
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))


def _hop(plaintext: bytes) -> str | None:
    """Where the gateway sends a packet."""
    try:
        return str(unpack_node_address(MixPacket.from_bytes(plaintext).first_hop))
    except MessageError:
        return None


def _flow(packet: bytes) -> str:
    """Protocol and both ends, as anybody on the line reads them."""
    try:
        v4 = packet[:1] < b"\x50"
        header = ipv4.parse(packet) if v4 else ipv6.parse(packet)
    except PacketError as error:
        return error.code
    source, destination, protocol, start, _ = header[:5]
    ends = [str(ip_address(source)), str(ip_address(destination))]
    if protocol in PROTOCOLS and len(packet) >= start + 4:
        ports = [int.from_bytes(packet[start + at : start + at + 2], "big") for at in (0, 2)]
        ends = [f"{end} port {port}" for end, port in zip(ends, ports, strict=True)]
    return f"{PROTOCOLS.get(protocol, 'ICMP')} {ends[0]} → {ends[1]}"
