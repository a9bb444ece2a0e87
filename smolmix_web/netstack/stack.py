"""The IP stack of one end of a tunnel: packets in by `receive`, packets out by `poll`, timers by `next_deadline`.

With `accept_any` every destination is local: a user-space exit ends its clients' flows here and decides about them
by the hooks `on_syn`, `on_udp` and `on_echo`. Without, only packets to `addresses` are looked at.

No call raises for what a peer sent: it is counted in `statistics.dropped` by reason. Callbacks run at the end of a
call, never in the middle, and must not raise.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import OptionError, PacketError, SmolmixError
from ..rand import RandomSource, SystemRandom
from . import ip, ipv4, ipv6
from .addresses import Endpoint, IpAddress
from .config import StackConfig
from .control import EchoHook, IcmpLayer
from .core import Core
from .datagrams import UdpHook, UdpLayer
from .icmp import Echo, ErrorKind, protocol_of
from .observer import Observer
from .ping import Ping
from .reassembly import Reassembler
from .scheduler import INFINITY
from .statistics import StackStatistics
from .tcp.config import TcpConfig
from .tcp.connection import TcpConnection
from .tcp.layer import TcpLayer
from .tcp.listener import SynRequest, TcpListener
from .udp import UdpSocket

MIN_MTU = 576
DEFAULT_MTU = 1280  # what every path takes (RFC 8200 5)
MAX_MTU = 65_535


class Stack:
    """`mtu` is what the tunnel takes, 576 to 65535 bytes; `set_mtu` tells when more is known. `config` bounds
    everything that a peer could make grow."""

    def __init__(
        self,
        addresses: Sequence[IpAddress],
        mtu: int = DEFAULT_MTU,
        rng: RandomSource | None = None,
        *,
        accept_any: bool = False,
        config: StackConfig | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._core = Core(addresses, _checked_mtu(mtu), rng or SystemRandom(), accept_any, config or StackConfig())
        self._core.observer = observer
        config = self._core.config
        self._scheduler = self._core.scheduler
        self._tcp = TcpLayer(self._core)
        self._udp = UdpLayer(self._core)
        self._icmp = IcmpLayer(self._core, self._tcp, self._udp)
        self._reassembler = Reassembler(
            max_datagrams=config.reassembly_datagrams,
            max_bytes=config.reassembly_bytes,
            timeout=config.reassembly_timeout,
        )

    @property
    def addresses(self) -> tuple[IpAddress, ...]:
        return self._core.addresses

    @property
    def mtu(self) -> int:
        return self._core.mtu

    @property
    def statistics(self) -> StackStatistics:
        return self._core.statistics

    @property
    def observer(self) -> Observer | None:
        """Sees packets, states and retransmissions; see observer.py and, for a capture file, pcap.py."""
        return self._core.observer

    @observer.setter
    def observer(self, observer: Observer | None) -> None:
        self._core.observer = observer

    @property
    def connections(self) -> tuple[TcpConnection, ...]:
        """All that are not CLOSED, TIME-WAIT included."""
        return tuple(self._tcp.connections.values())

    # -- packets

    def receive(self, packet: bytes, now: float) -> None:
        """One IP packet from the tunnel."""
        observer = self._core.observer
        if observer is not None:
            observer.packet_in(packet, now)
        statistics = self._core.statistics
        statistics.packets_in += 1
        statistics.bytes_in += len(packet)
        try:
            version = packet[0] >> 4 if packet else 0
            if version == 4:
                self._deliver(packet, ipv4.parse(packet), now)
            elif version == 6:
                self._deliver(packet, ipv6.parse(packet), now)
            else:
                statistics.dropped["ip_version"] += 1
        except PacketError as error:
            statistics.dropped[error.code] += 1
        self._core.settle()

    def _deliver(self, packet: bytes, header: ipv4.Ipv4Header | ipv6.Ipv6Header, now: float) -> None:
        source, destination, protocol, start, end = header[:5]
        dropped = self._core.statistics.dropped
        if not self._core.is_local(destination):
            dropped["not_for_us"] += 1
        elif source == destination:
            dropped["martian"] += 1
        elif header.fragment & ipv4.FRAGMENT_MASK:
            self._reassembler.expire(now)
            whole = self._reassembler.insert(packet, header, now)
            if whole is not None:
                self._deliver(whole, ipv4.parse(whole) if len(source) == 4 else ipv6.parse(whole), now)
        elif protocol == ip.TCP:
            self._tcp.receive(packet, source, destination, start, end, now)
        elif protocol == ip.UDP:
            self._udp.receive(packet, source, destination, start, end, now)
        elif protocol == protocol_of(source):
            self._icmp.receive(packet, source, destination, start, end, now)
        else:
            dropped["ip_protocol"] += 1

    @property
    def lag(self) -> float:
        """As it was told to the last `poll`."""
        return self._core.lag

    def poll(self, now: float, limit: int | None = None, lag: float = 0.0) -> list[bytes]:
        """Run due timers and take at most `limit` packets for the tunnel; the rest stays inside until there is room.

        `lag`: what arrived in the last so many seconds may not have been given to `receive` yet; whatever waits for a
        sign of a peer waits so much longer."""
        core = self._core
        core.lag = lag
        self._scheduler.run_timers(now)
        self._reassembler.expire(now)
        # Notices first: what the application writes in answer can leave with this very call.
        core.settle()
        out = self._scheduler.collect(now, sys.maxsize if limit is None else limit)
        if core.observer is not None:
            for packet in out:
                core.observer.packet_out(packet, now)
        core.settle()
        statistics = core.statistics
        statistics.packets_out += len(out)
        for packet in out:
            statistics.bytes_out += len(packet)
        return out

    def next_deadline(self, *, full: bool = False) -> float | None:
        """When `poll` must be called although nothing arrives; 0.0 when output is waiting, None for never.

        With `full` waiting output does not count: the tunnel has no room for it, and only timers matter.
        """
        if self._scheduler.waiting and not full:
            return 0.0
        deadline = min(self._scheduler.next_deadline(), self._reassembler.deadline)
        return None if deadline == INFINITY else deadline

    def set_mtu(self, mtu: int) -> None:
        """The tunnel's MTU became known or changed; open connections follow."""
        self._core.mtu = _checked_mtu(mtu)
        self._tcp.mtu_changed()

    # -- TCP

    def tcp_connect(
        self,
        remote: Endpoint,
        now: float,
        *,
        connect_timeout: float = 60.0,
        keepalive: float | None = None,
        local: Endpoint | None = None,
        config: TcpConfig | None = None,
        **changes: Any,
    ) -> TcpConnection:
        """Begin to connect: `on_event` is called when `state` becomes ESTABLISHED or `error` is set.

        `keepalive` in seconds and further keywords replace fields of `config` (default: that of the stack), e.g.
        `send_buffer`, `receive_buffer_max`, `nodelay`. Raises AddressError, NetworkError (`too_many_connections`,
        `no_ports`, `address_in_use`, `bad_port`) or OptionError at once.
        """
        if keepalive is not None:
            changes["keepalive"] = keepalive
        tcp = _changed_config(config or self._core.config.tcp, changes)
        return self._tcp.connect(remote, now, connect_timeout, tcp, local)

    def tcp_listen(
        self,
        port: int,
        *,
        backlog: int = 16,
        on_connection: Callable[[TcpConnection], None] | None = None,
        config: TcpConfig | None = None,
    ) -> TcpListener:
        """Accept connections to `port` (0: any free one). `on_connection` gets each open one; without it they wait
        for `TcpListener.accept`. More than `backlog` half-open or waiting ones: further SYNs are dropped."""
        return self._tcp.listen(port, backlog, on_connection, config or self._core.config.tcp)

    @property
    def on_syn(self) -> Callable[[SynRequest, float], None] | None:
        """Hook for SYNs that no listener takes: it accepts or refuses the request, now or later."""
        return self._tcp.on_syn

    @on_syn.setter
    def on_syn(self, hook: Callable[[SynRequest, float], None] | None) -> None:
        self._tcp.on_syn = hook

    # -- UDP

    def udp_socket(self, port: int = 0, *, receive_bytes: int | None = None) -> UdpSocket:
        """Bind a port, 0 for a random one; `receive_bytes` bounds its queue instead of the stack's configuration.

        Raises NetworkError (`address_in_use`, `no_ports`).
        """
        return self._udp.bind(port, receive_bytes)

    @property
    def on_udp(self) -> UdpHook | None:
        """Hook for datagrams that no socket takes: `(source, destination, data, now)`."""
        return self._udp.on_udp

    @on_udp.setter
    def on_udp(self, hook: UdpHook | None) -> None:
        self._udp.on_udp = hook

    def send_udp(self, source: Endpoint, destination: Endpoint, data: bytes, now: float) -> bool:
        """A datagram from any source address; False when the output queue is full. Raises MessageTooLong."""
        return self._udp.send(source, destination, data)

    def send_udp_error(self, kind: ErrorKind, source: Endpoint, destination: Endpoint, now: float) -> bool:
        """An ICMP error to `source` about a datagram it sent to `destination`; False when limited in rate."""
        return self._udp.send_error(kind, source, destination, now)

    # -- ICMP

    def ping(self, address: IpAddress, now: float, payload: bytes = b"", timeout: float = 10.0) -> Ping:
        """Send an echo request. Raises AddressError or NetworkError (`too_many_pings`, `not_sent`)."""
        return self._icmp.ping(address, now, payload, timeout)

    @property
    def on_echo(self) -> EchoHook | None:
        """Hook for echo requests: `(source, destination, echo, now) -> bool`, True to answer at once."""
        return self._icmp.on_echo

    @on_echo.setter
    def on_echo(self, hook: EchoHook | None) -> None:
        self._icmp.on_echo = hook

    def send_echo_reply(self, source: IpAddress, destination: IpAddress, request: Echo, now: float) -> bool:
        """Answer later: `source` is the address that was asked. False when limited in rate."""
        return self._icmp.reply(source.packed, destination.packed, request, now)

    def send_error(self, kind: ErrorKind, packet: bytes, source: IpAddress, now: float, *, mtu: int = 0) -> bool:
        """An ICMP error from `source` about `packet` (of the same family), to its sender; False when limited in rate
        or when `packet` must not be answered. `mtu` goes with FRAGMENTATION_NEEDED."""
        return self._core.emit_error(kind, packet, source.packed, now, mtu=mtu)

    # -- failures from outside

    def refuse(self, remote: Endpoint, reason: str = "") -> int:
        """The exit's policy denies `remote`: connections, UDP sockets and, for port 0, pings fail at once with
        ConnectionRefused (code `policy_denied`). Returns how many were found."""
        found = self._tcp.refuse(remote, reason) + self._udp.refuse(remote, reason)
        if remote.port == 0:
            found += self._icmp.refuse(remote.address, reason)
        self._core.settle()
        return found

    def abort_all(self, error: SmolmixError, now: float, *, reset: bool = False) -> None:
        """End everything with this error; with `reset`, peers of open connections get a RST (poll once more)."""
        self._tcp.fail_all(error, reset)
        self._udp.fail_all(error)
        self._icmp.fail_all(error)
        self._core.settle()


def _checked_mtu(mtu: int) -> int:
    if not MIN_MTU <= mtu <= MAX_MTU:
        raise OptionError("mtu", f"{mtu} is not in {MIN_MTU}..{MAX_MTU}")
    return mtu


def _changed_config(config: TcpConfig, changes: dict[str, Any]) -> TcpConfig:
    if not changes:
        return config
    for name in changes:
        if name not in TcpConfig.__dataclass_fields__:
            raise OptionError(name, "unknown TCP setting")
    return dataclasses.replace(config, **changes)
