"""Questions that make an exit show that it knows us (docs/protocol/ipr.md 5.3 to 5.6), and their answers.

They look like what any machine sends, to whom the tunnel speaks anyway: an echo request to one of its resolvers, or,
where those are silent or refused, a question for the root's name servers. Each is drawn afresh, so that nothing in it
says who asks, or that the same client asked before. A resolver's silence says nothing of the exit: after one, the next
question travels together with its like at hop limit 1, which dies at the exit, and the kernel there says so (the first
line of every traceroute). That answer needs nobody behind the exit, and no policy stands in its way, for a refusal is
an answer too. An exit that has forgotten us drops all of it without a word.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from ..errors import PacketError
from ..netstack import icmp, ip, ipv4, ipv6, udp
from ..rand import RandomSource

Address = IPv4Address | IPv6Address
Server = tuple[Address, int | None]  # a resolver, and its UDP port where it is asked in the clear

# For who names no resolvers. Those of `primaryDns` and `fallbackDns` are the same by default.
PUBLIC_RESOLVERS: tuple[Server, ...] = ((IPv4Address("8.8.8.8"), 53), (IPv4Address("1.1.1.1"), 53))
FIRST_HOP = 1
ECHO_SIZE = 56  # bytes of payload, as `ping` has it nearly everywhere
MEMORY = 60.0  # s that a packet is remembered, for answers and refusals that are late
MAX_OUT = 16
_PORTS = 49_152, 65_535
_ROOT_NS = b"\0" + struct.pack("!HH", 2, 1)  # name, type, class


@dataclass(eq=False)
class _Way:
    """One kind of question to one server; `port` None: an echo request."""

    address: Address
    port: int | None
    silent: bool = False  # though the exit was there
    refused: bool = False  # by the exit's policy, as far as anybody knows for good


@dataclass(eq=False)
class _Out:
    """A packet under way, by what its answer or an error about it is known."""

    way: _Way
    first_hop: bool
    identifier: int  # of the echo, or the local port
    query: bytes  # identifier of a question
    sent: float
    answered: bool = False


class Prober:
    """`servers`: the tunnel's resolvers, in order; `addresses`: ours, of both families."""

    def __init__(self, rng: RandomSource, servers: Sequence[Server], addresses: Sequence[Address]) -> None:
        # What is not global would be refused, and written down, by an exit as it should be.
        servers = [server for server in servers if server[0].is_global] or servers or PUBLIC_RESOLVERS
        self._rng = rng
        self._own = {address.version: address.packed for address in addresses}
        self._ways = [_Way(address, None) for address, _ in servers]
        self._ways += [_Way(address, port) for address, port in servers if port is not None]
        self._out: list[_Out] = []

    def packets(self, attempt: int, now: float) -> list[bytes]:
        """What to ask in this attempt (1, 2, ...) of one doubt; each takes another way, the best one first."""
        self._out = [out for out in self._out if now < out.sent + MEMORY][-MAX_OUT:]
        ways = [way for way in self._ways if not way.refused] or self._ways
        way = ways[(attempt - 1) % len(ways)]
        packets = [self._packet(way, False, now)]
        if attempt > 1 or way.silent:
            packets.append(self._packet(way, True, now))
        return packets

    def refused(self, address: Address, port: int) -> bool:
        """Is this refusal by the exit's policy for a question of ours? Each packet is refused once."""
        for out in self._out:
            if out.way.address == address and (out.way.port or 0) == port and not out.answered:
                self._out.remove(out)
                out.way.refused = True
                self._move(out.way, last=True)
                return True
        return False

    def answered(self, packet: bytes) -> bool:
        """Is this packet for us: an answer to a question of ours, or an error about one?"""
        if not self._out:
            return False
        try:
            key = _key(packet)
        except (PacketError, IndexError):
            return False
        for out in self._out:
            if key == (out.way.address.packed, out.way.port, out.identifier, None):
                self._proven(out, answer=False)
            elif key == (out.way.address.packed, out.way.port, out.identifier, out.query):
                self._proven(out, answer=True)
            else:
                continue
            return True
        return False

    # -- inside -------------------------------------------------------------------------------------------------------

    def _proven(self, out: _Out, *, answer: bool) -> None:
        """The exit is there. Who did not answer before, or let us know that he will not, is asked last from now on."""
        out.answered = True
        for other in self._out:
            if other.sent < out.sent and not (other.answered or other.first_hop):
                other.way.silent = other.answered = True
                self._move(other.way, last=True)
        if answer:
            out.way.silent = out.way.refused = False
            self._move(out.way, last=False)
        elif out.way.silent or not out.first_hop:
            out.way.silent = True
            self._move(out.way, last=True)

    def _move(self, way: _Way, *, last: bool) -> None:
        self._ways.remove(way)
        self._ways.insert(len(self._ways) if last else 0, way)

    def _packet(self, way: _Way, first_hop: bool, now: float) -> bytes:
        source, destination = self._own[way.address.version], way.address.packed
        query = b""
        if way.port is None:
            identifier = self._rng.below(1 << 16)
            echo = icmp.Echo(False, identifier, 1, self._rng.bytes(ECHO_SIZE))
            protocol, payload = icmp.protocol_of(source), icmp.build_echo(source, destination, echo)
        else:
            identifier, query = _PORTS[0] + self._rng.below(_PORTS[1] - _PORTS[0] + 1), self._rng.bytes(2)
            question = query + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0) + _ROOT_NS  # recursion desired
            protocol, payload = ip.UDP, udp.build(source, destination, identifier, way.port, question)
        self._out.append(_Out(way, first_hop, identifier, query, now))
        number = int.from_bytes(self._rng.bytes(2), "big")
        return ip.build(source, destination, protocol, payload, number, FIRST_HOP if first_hop else ipv4.TTL)


def _key(packet: bytes) -> tuple[bytes, int | None, int, bytes | None] | None:
    """Server, its port (None: an echo), our identifier or port, and the question's identifier (None: an error about
    it). Raises `PacketError` or `IndexError` for what is no packet."""
    if packet[9 if packet[0] >> 4 == 4 else 6] == ip.TCP:
        return None  # most packets by far
    head = ipv4.parse(packet) if packet[0] >> 4 == 4 else ipv6.parse(packet)
    source, destination = head.source, head.destination
    if head.protocol == ip.UDP:
        server_port, port, data = udp.parse(source, destination, packet, head.start, head.end)
        return source, server_port, port, data[:2]
    if head.protocol != icmp.protocol_of(source):
        return None
    match icmp.parse(source, destination, packet[head.start : head.end]):
        case icmp.Echo(reply=True, identifier=identifier):
            return source, None, identifier, b""
        case icmp.Error(destination=server, protocol=ip.UDP, transport=quote):
            return server, int.from_bytes(quote[2:4], "big"), int.from_bytes(quote[:2], "big"), None
        case icmp.Error(destination=server, protocol=ip.ICMP | ip.ICMPV6, transport=quote):
            return server, None, int.from_bytes(quote[4:6], "big"), None
    return None
