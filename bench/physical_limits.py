"""The best that each figure of `bench.peer` could be, by what the machine, the network and the protocol allow.

Each limit is a bound from one scarce thing alone: the network's packets, the CPU's time for the curve operations that a
packet cannot do without, the line's bytes, the clock of the traffic, round trips. The tightest of them is the figure's
limit; what is between it and the figure is ours to explain. Times are seconds, rates per second, sizes bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from buildtools.common import ROOT
from smolmix_web.exit.bundles import PREFIX_SIZE, TARGET_SIZE
from smolmix_web.mixnet.surb_giver import SURBS_PER_PACKET
from smolmix_web.mixnet.traffic import TrafficConfig
from smolmix_web.sphinx.constants import REGULAR

MIX_HOPS = 3
HOPS = MIX_HOPS + 1
FRAME_UP = 2452 + 8  # of a regular packet for the gateway, with the WebSocket's head and mask
FRAME_DOWN = 2 + 12 + REGULAR.body + 16 + 4  # what the gateway pushes of one
ACK_DOWN = 14 + 21 + 16 + 2
HEADERS = 20 + 32  # of an IPv4 packet with TCP and its time stamps
BODY = TARGET_SIZE - PREFIX_SIZE - HEADERS  # bytes of a stream in one packet, at most
MEASURING = 300.0  # s


@dataclass(frozen=True)
class Curve:
    """Curve operations, by kind."""

    variable: int
    base: int

    def seconds(self, facts: Facts) -> float:
        return (self.variable * facts.x25519_us + self.base * facts.x25519_base_us) / 1e6

    def __add__(self, other: Curve) -> Curve:
        return Curve(self.variable + other.variable, self.base + other.base)


# A header blinds one key and agrees with each hop on a secret (sphinx 2.4); the end-to-end layer is one key more.
HEADER = Curve(HOPS, 1)
SURB = HEADER
PACKET = HEADER + HEADER + Curve(1, 1)  # its ack has a header too


@dataclass(frozen=True)
class Facts:
    """Measured on this machine: the network's packets per second; the worker's costs in a page."""

    network_packets: float
    build_packet_us: float
    receive_reply_us: float
    build_surb_us: float
    x25519_us: float
    x25519_base_us: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Limit:
    """`figure` could be `value` at best, for `reason`; `ours` is what it was, and `rest` what lies between."""

    figure: str
    value: float
    reason: str
    ours: float | None
    rest: str

    @property
    def reached(self) -> float | None:
        """Share of the limit, 1 at the limit itself, whichever way is better."""
        if not self.ours or not self.value:
            return None
        return self.ours / self.value if self.figure == "speed" else self.value / self.ours


def limits(section: Mapping[str, Any], facts: Facts) -> list[Limit]:
    """Of one section of the report: what our figures could be under its condition and in its mode."""
    ours: Mapping[str, float | None] = section["ours"]
    bounds: dict[str, Iterator[Bound]] = {
        "ready": _ready(section),
        "first fetch": iter([(3 * trip(section), "three round trips: name, connection, request")]),
        "second fetch": iter([(trip(section), "one round trip")]),
        "speed": _speeds(section, facts),
        "upload": _uploads(section, facts),
        "together": _together(section, facts),
        "cpu per MB": _cpu_per_mb(facts),
        "idle cpu": _idle(section, facts),
    }
    found = []
    for figure, all_of_them in bounds.items():
        known = list(all_of_them) if figure in ours else []
        if known:
            value, reason = min(known) if figure == "speed" else max(known)
            found.append(Limit(figure, value, reason, ours[figure], _rest(figure, section, facts)))
    return found


def _rest(figure: str, section: Mapping[str, Any], facts: Facts) -> str:
    """What keeps us from the limit, as far as it is known without a profile."""
    per_mb = 1e6 / BODY * _cost(facts)
    packets = 1 / (TrafficConfig().main_interval) + 1 / TrafficConfig().cover_interval
    idle = packets * facts.build_packet_us / 1e6
    return {
        "ready": "the interpreter's start and its imports come before the first byte to the gateway",
        "first fetch": "the delays are drawn: a trip takes as long as its slowest packet; the exit adds its own time",
        "second fetch": "the delays are drawn: a trip takes as long as its slowest packet; the exit adds its own time",
        "speed": f"packets as they are made today allow {_share(section) / _cost(facts) * BODY / 1000:.3g} kB/s; "
        "round trips while the window opens",
        "upload": "one acknowledgement comes back for each packet; round trips while the window opens",
        "together": "connections wait behind each other at the exit; round trips while their windows open",
        "cpu per MB": f"packets as they are made today take {per_mb:.3g} s; the rest is TCP, HTTP, timers, the page",
        "idle cpu": f"building the packets takes {idle:.3g} today; the rest is receiving what comes back, timers",
    }[figure]


def _cost(facts: Facts) -> float:
    """Seconds of CPU for one packet down with what goes up for it, as packets are made today."""
    return (facts.receive_reply_us + facts.build_surb_us + facts.build_packet_us / SURBS_PER_PACKET) / 1e6


Bound = tuple[float, str]


def _paced(section: Mapping[str, Any]) -> bool:
    return bool(section["mode"] == "defaults")


def _share(section: Mapping[str, Any]) -> float:
    """Of one core, for a client whose work is in one thread."""
    return min(1.0, section["cpu"] or 1.0)


def trip(section: Mapping[str, Any]) -> float:
    """A round trip's mean: three delays each way, the wait for the traffic's next tick, the line."""
    traffic = TrafficConfig()
    wait = traffic.main_interval if _paced(section) else 0.0
    line = 0.0
    if section["line"]:
        line = 2 * section["line_delay_ms"] / 1000 + (FRAME_UP + FRAME_DOWN) / (section["line"] * 1000)
    return 2 * MIX_HOPS * traffic.packet_delay + wait + line


def _ready(section: Mapping[str, Any]) -> Iterator[Bound]:
    cpu = section["ours"].get("ready cpu")
    if cpu:
        # Page and worker are two threads: without a limit they may use two cores.
        yield cpu / (section["cpu"] or 2.0), "the CPU that the renderer used until then"
    # TCP, the WebSocket's upgrade, registration (two messages) and bandwidth, each a round trip of the line.
    line = 5 * 2 * section["line_delay_ms"] / 1000 if section["line"] else 0.0
    yield line + trip(section), "the gateway's handshake and the exit's answer, one after the other"


def _speeds(section: Mapping[str, Any], facts: Facts) -> Iterator[Bound]:
    """kB/s of a download."""
    up = 1 / SURBS_PER_PACKET  # what comes down needs its reply blocks
    traffic = TrafficConfig()
    yield facts.network_packets / (1 + up) * BODY / 1000, "packets per second of the network"
    curves = SURB.seconds(facts) + up * PACKET.seconds(facts)
    yield _share(section) / curves * BODY / 1000, "CPU for curve operations"
    if _paced(section):
        yield SURBS_PER_PACKET / traffic.main_interval * BODY / 1000, "reply blocks that paced packets can carry"
    if section["line"]:
        rate = section["line"] * 1000
        yield rate / (FRAME_DOWN + up * ACK_DOWN) * BODY / 1000, "bytes down the line"
        yield rate / (FRAME_UP * up) * BODY / 1000, "bytes up the line"


def _uploads(section: Mapping[str, Any], facts: Facts) -> Iterator[Bound]:
    """Seconds of the upload."""
    packets = _bytes(section["sizes"]["upload"]) / BODY
    yield packets / facts.network_packets, "packets per second of the network"
    yield packets * PACKET.seconds(facts) / _share(section), "CPU for curve operations"
    if _paced(section):
        yield packets * TrafficConfig().main_interval, "the clock of the main stream"
    if section["line"]:
        yield packets * FRAME_UP / (section["line"] * 1000), "bytes up the line"


def _together(section: Mapping[str, Any], facts: Facts) -> Iterator[Bound]:
    body = int(section["sizes"]["together"]) * _bytes(section["sizes"]["together_size"])
    speed, reason = min(_speeds(section, facts))
    yield body / 1000 / speed, reason
    yield 2 * trip(section), "two round trips: connection, request"


def _cpu_per_mb(facts: Facts) -> Iterator[Bound]:
    yield 1e6 / BODY * (SURB.seconds(facts) + PACKET.seconds(facts) / SURBS_PER_PACKET), "curve operations alone"


def _idle(section: Mapping[str, Any], facts: Facts) -> Iterator[Bound]:
    if _paced(section):
        traffic = TrafficConfig()
        rate = 1 / traffic.main_interval + 1 / traffic.cover_interval
        yield rate * PACKET.seconds(facts), "curve operations of the cover traffic"


def _bytes(text: str) -> float:
    """What `peer_plan.size_text` has written."""
    number, unit = text.split()
    return float(number) * {"MB": 1e6, "kB": 1e3}[unit]


def measure_facts() -> Facts:
    """On this machine, now; takes a minute or two. Raises `RuntimeError` when a measurement fails."""
    from bench.packets import CLIENT, in_chromium

    load = [sys.executable, "-m", "bench.localnet_load", "--json", "--processes", "2", "--runs", "1"]
    done = subprocess.run(load, cwd=ROOT, capture_output=True, text=True, timeout=MEASURING, check=False)
    if done.returncode:
        raise RuntimeError(f"the network's load failed: {done.stderr[-500:]}")
    costs = in_chromium([*CLIENT, "x25519", "x25519_base"])
    return Facts(
        network_packets=float(json.loads(done.stdout.splitlines()[-1])["delivered_per_second"]),
        **{f"{name}_us": float(costs[f"{name}_us"]) for name in [*CLIENT, "x25519", "x25519_base"]},
    )
