"""What the vantage points recorded of one user, as plain data, and the cuts through it that several facts need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from bench import privacy_wire as wire
from localnet.observed import Seen

MOST = 400_000  # of one recording: who is left alone for too long ends with too little, not without memory
ACTIVITIES = ("nothing", "fetch", "downloads", "uploads", "stream", "chatter", "names")  # for whole phases
GATEWAY_PACKET = 9  # bytes before the Sphinx packet in what the gateway opens: type, rotation, first hop of seven


@dataclass
class Recorder:
    """A watcher (`Network.watch`)."""

    seen: list[Seen] = field(default_factory=list)

    def __call__(self, seen: Seen) -> None:
        if len(self.seen) < MOST:
            self.seen.append(seen)


@dataclass
class Recording:
    """One fresh profile. `seen`: also "line", "binary": frames in front of a gateway, by a process of its own, which a
    busy network does not delay. `phases`: from and to of what it did, by name, in the loop's time; `asked`: the origins
    that the browser asked, by its own log, and how often; `load`: share of the cores that others took before anything
    ran. Not changed any more once something was asked of it."""

    seen: list[Seen] = field(default_factory=list)
    phases: dict[str, tuple[float, float]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    load: float = 0.0

    def of(self, vantage: str, what: str, phase: str | None = None) -> list[Seen]:
        """In the order in which it was seen; with a phase only what happened in it."""
        low, high = (float("-inf"), float("inf")) if phase is None else self.phases.get(phase, (0.0, 0.0))
        return [one for one in self.seen if one.vantage == vantage and one.what == what and low <= one.at < high]

    def by_connection(self, vantage: str, what: str, phase: str | None = None) -> list[bytes]:
        """All bytes of each, in the order in which they began."""
        found: dict[str, list[bytes]] = defaultdict(list)
        for one in self.of(vantage, what, phase):
            found[one.who].append(one.data)
        return [b"".join(parts) for parts in found.values()]

    @cached_property
    def packets(self) -> list[wire.Packet]:
        """All IP packets that left the exit."""
        return [wire.packet(one.data) for one in self.of("exit", "up")]

    @cached_property
    def timed_packets(self) -> list[tuple[float, wire.Packet]]:
        return [(one.at, packet) for one, packet in zip(self.of("exit", "up"), self.packets, strict=True)]

    @cached_property
    def syns(self) -> list[wire.Packet]:
        """The first SYN of each connection."""
        found = {p.flow: p for p in reversed(self.packets) if p.protocol == wire.TCP and p.flags & wire.SYN}
        return list(reversed(found.values()))

    @cached_property
    def connections(self) -> list[tuple[int, bytes]]:
        """Port of the server and what the client said, of each TCP connection."""
        flows: dict[tuple[bytes, int, int], list[wire.Packet]] = defaultdict(list)
        for packet in self.packets:
            if packet.protocol == wire.TCP:
                flows[packet.flow].append(packet)
        return [(flow[1], wire.stream(packets)) for flow, packets in flows.items()]

    @cached_property
    def hellos(self) -> list[wire.ClientHello]:
        return list(_readable(data for port, data in self.connections if port == 443 and data))

    @cached_property
    def fresh_hellos(self) -> list[wire.ClientHello]:
        """Without those that go on where an earlier connection has ended."""
        return [hello for hello in self.hellos if not hello.resumes]

    @cached_property
    def queries(self) -> list[tuple[float, wire.Packet, wire.Query]]:
        """Over UDP, with their times."""
        found = []
        for at, packet in self.timed_packets:
            if packet.protocol == wire.UDP and packet.dport == 53:
                found.append((at, packet, wire.dns_query(packet.payload)))
        return found

    @cached_property
    def sphinx(self) -> list[bytes]:
        """What the gateway forwarded for the client."""
        return [one.data[GATEWAY_PACKET:] for one in self.of("gateway", "packet")]


def _readable(starts: Iterable[bytes]) -> Iterable[wire.ClientHello]:
    for data in starts:
        try:
            yield wire.client_hello(data)
        except (ValueError, IndexError):
            continue
