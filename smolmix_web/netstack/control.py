"""The ICMP layer of a stack: answers and sends echoes, and leads errors to the TCP or UDP socket they are about."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import ConnectionRefused, NetworkError, SmolmixError
from . import icmp, ip
from .addresses import Endpoint, IpAddress, is_group, is_martian_source, unpack_address
from .core import Core
from .datagrams import UdpLayer
from .icmp import Echo
from .limits import TokenBucket
from .ping import Ping
from .tcp.layer import TcpLayer

EchoHook = Callable[[IpAddress, IpAddress, Echo, float], bool]  # (source, destination, request, now) -> answer it?


class IcmpLayer:
    def __init__(self, core: Core, tcp: TcpLayer, udp: UdpLayer) -> None:
        self._core = core
        self._tcp = tcp
        self._udp = udp
        self._echoes = TokenBucket(core.config.echo_rate)
        self._pings: dict[tuple[bytes, int, int], Ping] = {}
        self.on_echo: EchoHook | None = None

    def receive(self, packet: bytes, source: bytes, destination: bytes, start: int, end: int, now: float) -> None:
        """Raises PacketError."""
        message = icmp.parse(source, destination, packet[start:end])
        statistics = self._core.statistics
        if message is None:
            statistics.dropped["icmp_ignored"] += 1
        elif isinstance(message, icmp.Error):
            statistics.icmp_errors_in += 1
            if not self._error(message):
                statistics.dropped["icmp_unrelated"] += 1
        elif is_martian_source(source):
            statistics.dropped["martian"] += 1
        elif message.reply:
            ping = self._pings.get((source, message.identifier, message.sequence))
            if ping is None or message.payload != ping.payload:
                statistics.dropped["icmp_unrelated"] += 1
            else:
                ping.finish(now - ping.sent_at, None)
        else:
            self._request(source, destination, message, now)

    def _request(self, source: bytes, destination: bytes, echo: Echo, now: float) -> None:
        if self.on_echo is not None:
            if self.on_echo(unpack_address(source), unpack_address(destination), echo, now):
                self.reply(destination, source, echo, now)
        elif self._core.config.echo_reply and not is_group(destination):
            self.reply(destination, source, echo, now)

    def reply(self, source: bytes, destination: bytes, echo: Echo, now: float) -> bool:
        """Answer a request, limited in rate."""
        if not self._echoes.take(now):
            self._core.statistics.dropped["echo_rate"] += 1
            return False
        self._core.statistics.echo_replies_out += 1
        answer = Echo(True, echo.identifier, echo.sequence, echo.payload)
        return self._send(source, destination, answer)

    def _send(self, source: bytes, destination: bytes, echo: Echo) -> bool:
        body = icmp.build_echo(source, destination, echo)
        if ip.header_size(source) + len(body) > self._core.path_mtu(destination):
            self._core.statistics.dropped["echo_too_long"] += 1  # it came in fragments; none are sent
            return False
        return self._core.emit(ip.build(source, destination, icmp.protocol_of(source), body, next(self._core.ids)))

    def _error(self, error: icmp.Error) -> bool:
        if error.source not in self._core.packed and not self._core.accept_any:
            return False
        if error.protocol == ip.TCP:
            return self._tcp.icmp_error(error)
        if error.protocol == ip.UDP:
            return self._udp.icmp_error(error)
        if error.protocol == icmp.protocol_of(error.source):
            identifier = int.from_bytes(error.transport[4:6], "big")
            sequence = int.from_bytes(error.transport[6:8], "big")
            ping = self._pings.get((error.destination, identifier, sequence))
            if ping is not None:
                ping.finish(None, error.kind.to_error(str(ping.address), "ping"))
                return True
        return False

    # -- pings

    def ping(self, address: IpAddress, now: float, payload: bytes, timeout: float) -> Ping:
        if len(self._pings) >= self._core.config.max_pings:
            raise NetworkError("too many pings are waiting", code="too_many_pings", phase="ping")
        source = self._core.local_address_for(Endpoint(address, 0)).address.packed
        drawn = self._core.rng.bytes(4)
        identifier, sequence = int.from_bytes(drawn[:2], "big"), int.from_bytes(drawn[2:], "big")
        ping = Ping(address, identifier, sequence, payload, now, timeout, self._over)
        if not self._send(source, address.packed, Echo(False, identifier, sequence, payload)):
            raise NetworkError("the echo request does not fit or the queue is full", code="not_sent", phase="ping")
        self._pings[(address.packed, identifier, sequence)] = ping
        self._core.scheduler.changed(ping)
        return ping

    def _over(self, ping: Ping) -> None:
        self._pings.pop((ping.address.packed, ping.identifier, ping.sequence), None)
        self._core.notify(ping)

    def refuse(self, address: IpAddress, reason: str) -> int:
        found = [ping for ping in self._pings.values() if ping.address == address]
        for ping in found:
            message = f"{address}: denied by the exit policy" + (f" ({reason})" if reason else "")
            ping.finish(None, ConnectionRefused(message, code="policy_denied", phase="ping"))
        return len(found)

    def fail_all(self, error: SmolmixError) -> None:
        for ping in list(self._pings.values()):
            ping.finish(None, error)
