"""What a TUN device and a NAT do at a real exit, in user space for one client (docs/protocol/ipr.md 5.5, 5.9 E7).

TCP ends in our own stack and goes on from an ordinary socket; UDP flows get a socket each; echoes are answered.
Destinations are looked up in a map that leads to loopback; what the map does not know is refused. Nothing else is
ever dialled.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from smolmix_web.errors import ConnectionAborted, MessageTooLong
from smolmix_web.netstack import ip, udp
from smolmix_web.netstack.addresses import Endpoint
from smolmix_web.netstack.config import StackConfig
from smolmix_web.netstack.icmp import Echo, ErrorKind
from smolmix_web.netstack.stack import Stack
from smolmix_web.netstack.tcp.config import MIX_LATENESS, TcpConfig
from smolmix_web.netstack.tcp.listener import SynRequest
from smolmix_web.rand import RandomSource

from ..counters import Counters
from .config import ExitConfig
from .packets import EXIT_IPV4, EXIT_IPV6, fragments
from .relay import TcpRelay

Address = IPv4Address | IPv6Address

_MAX_ECHOES = 64
_DATAGRAMS_PER_WAKE = 64
_MAX_DATAGRAM = 65_507

_ICMP_BY_ERRNO = {
    errno.EHOSTUNREACH: ErrorKind.HOST_UNREACHABLE,
    errno.ENETUNREACH: ErrorKind.NETWORK_UNREACHABLE,
    errno.ETIMEDOUT: ErrorKind.HOST_UNREACHABLE,
}


class Dialer(Protocol):
    """Where public addresses lead; `localnet.names.DialMap` is one."""

    def lookup(self, protocol: str, address: Address, port: int) -> tuple[str, int] | None: ...

    def hosts(self) -> set[Address]: ...


class ClientNat:
    """All flows of one client. Packets of the client go into `receive`, those for it come out of `poll`.

    `clock` is the event loop's; `wake` is called when a socket has brought something, so that the owner polls.
    """

    def __init__(
        self,
        config: ExitConfig,
        dialer: Dialer,
        rng: RandomSource,
        counters: Counters,
        loop: asyncio.AbstractEventLoop,
        wake: Callable[[], None],
    ) -> None:
        self._config = config
        self._dialer = dialer
        self._counters = counters
        self._loop = loop
        self._wake = wake
        self._rng = rng
        self._tcp = TcpConfig(
            send_buffer=config.relay_buffer, receive_buffer_max=config.relay_buffer, lateness=MIX_LATENESS
        )
        self.stack = Stack(
            [EXIT_IPV4, EXIT_IPV6],
            config.mtu,
            rng,
            accept_any=True,
            config=StackConfig(tcp=self._tcp, max_connections=config.max_flows, udp_unreachable=False),
        )
        self.stack.on_syn = self._on_syn
        self.stack.on_udp = self._on_udp
        self.stack.on_echo = self._on_echo
        self._dials: set[asyncio.Task[None]] = set()
        self._relays: set[TcpRelay] = set()
        self._flows: OrderedDict[tuple[Endpoint, Endpoint], _UdpFlow] = OrderedDict()  # least recently used first
        self._echoes: deque[tuple[float, Address, Address, Echo]] = deque()
        self._fragments: deque[bytes] = deque()

    def receive(self, packet: bytes, now: float) -> None:
        self.stack.receive(packet, now)

    def poll(self, now: float, limit: int) -> list[bytes]:
        """At most `limit` packets for the client."""
        while self._echoes and self._echoes[0][0] <= now:
            _, asked, asker, request = self._echoes.popleft()
            self.stack.send_echo_reply(asked, asker, request, now)
        while self._flows:
            key, flow = next(iter(self._flows.items()))
            if flow.last_used + self._config.udp_idle > now:
                break
            self._close_flow(key)
        out: list[bytes] = []
        while self._fragments and len(out) < limit:
            out.append(self._fragments.popleft())
        return out + self.stack.poll(now, limit - len(out))

    def next_deadline(self) -> float | None:
        """As the stack's: 0.0 when output waits."""
        if self._fragments:
            return 0.0
        times = [self._echoes[0][0]] if self._echoes else []
        if self._flows:
            times.append(next(iter(self._flows.values())).last_used + self._config.udp_idle)
        if (due := self.stack.next_deadline()) is not None:
            times.append(due)
        return min(times, default=None)

    def close(self) -> None:
        """The client is gone: every socket goes too."""
        for task in self._dials:
            task.cancel()
        for relay in list(self._relays):
            relay.abort()
        for key in list(self._flows):
            self._close_flow(key)
        self.stack.abort_all(ConnectionAborted("the client of the exit is gone"), self._loop.time())

    # -- TCP ----------------------------------------------------------------------------------------------------------

    def _on_syn(self, request: SynRequest, now: float) -> None:
        target = self._lookup("tcp", request.local)
        if target is None:
            self._counters.add("tcp.refused")
            request.refuse(now)
            return
        task = self._loop.create_task(self._dial(request, target))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

        def cancelled() -> None:
            task.cancel()

        request.on_cancel = cancelled

    async def _dial(self, request: SynRequest, target: tuple[str, int]) -> None:
        """The SYN is answered when the dialled side has answered: the client sees what the server would show it."""
        relay = TcpRelay(request, self._tcp, self._loop.time, self._wake, self._relays.discard)
        self._relays.add(relay)
        try:
            async with asyncio.timeout(self._config.dial_timeout):
                source = self._config.source if ":" not in target[0] else None
                local = None if source is None else (source, 0)
                await self._loop.create_connection(lambda: relay, *target, local_addr=local)
        except (OSError, TimeoutError) as error:
            number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno
            self._relays.discard(relay)
            self._counters.add("tcp.refused" if number == errno.ECONNREFUSED else "tcp.unreachable")
            request.refuse(self._loop.time(), _ICMP_BY_ERRNO.get(number or 0))
            self._wake()
        except asyncio.CancelledError:
            self._relays.discard(relay)
            raise
        else:
            self._counters.add("tcp.connected")

    def _lookup(self, protocol: str, destination: Endpoint) -> tuple[str, int] | None:
        target = self._dialer.lookup(protocol, destination.address, destination.port)
        if target is not None and not ip_address(target[0]).is_loopback:
            self._counters.add("not_loopback")
            return None
        return target

    # -- UDP ----------------------------------------------------------------------------------------------------------

    def _on_udp(self, source: Endpoint, destination: Endpoint, data: bytes, now: float) -> None:
        key = (source, destination)
        flow = self._flows.get(key)
        if flow is None:
            target = self._lookup("udp", destination)
            if target is None:
                self._counters.add("udp.refused")
                self.stack.send_udp_error(ErrorKind.PORT_UNREACHABLE, source, destination, now)
                return
            if len(self._flows) >= self._config.max_flows:
                self._close_flow(next(iter(self._flows)))
            try:
                flow = self._flows[key] = _UdpFlow(target)
            except OSError:  # no socket to be had
                self._counters.add("udp.dropped")
                return
            self._loop.add_reader(flow.socket.fileno(), self._from_server, key)
            self._counters.add("udp.flows")
        flow.last_used = now
        self._flows.move_to_end(key)
        try:
            flow.socket.send(data)
        except BlockingIOError:
            self._counters.add("udp.dropped")
        except ConnectionRefusedError:
            self._refused(key)
        except OSError:
            self._counters.add("udp.dropped")

    def _from_server(self, key: tuple[Endpoint, Endpoint]) -> None:
        flow = self._flows.get(key)
        if flow is None:
            return
        now = self._loop.time()
        for _ in range(_DATAGRAMS_PER_WAKE):
            try:
                data = flow.socket.recv(_MAX_DATAGRAM)
            except ConnectionRefusedError:
                self._refused(key)
                break
            except OSError:  # nothing more, or nothing to be done about it
                break
            flow.last_used = now
            self._flows.move_to_end(key)
            self._to_client(key[1], key[0], data, now)
        self._wake()

    def _to_client(self, server: Endpoint, client: Endpoint, data: bytes, now: float) -> None:
        try:
            if not self.stack.send_udp(server, client, data, now):
                self._counters.add("udp.dropped")
        except MessageTooLong:
            if client.address.version == 6 or len(self._fragments) > _DATAGRAMS_PER_WAKE:
                self._counters.add("udp.dropped")  # IPv6 routers do not fragment
                return
            from_, to = server.address.packed, client.address.packed
            body = udp.build(from_, to, server.port, client.port, data)
            packet = ip.build(from_, to, ip.UDP, body, self._rng.below(1 << 16))
            self._fragments += fragments(packet, self._config.mtu)

    def _refused(self, key: tuple[Endpoint, Endpoint]) -> None:
        self._counters.add("udp.refused")
        self.stack.send_udp_error(ErrorKind.PORT_UNREACHABLE, *key, self._loop.time())

    def _close_flow(self, key: tuple[Endpoint, Endpoint]) -> None:
        flow = self._flows.pop(key)
        self._loop.remove_reader(flow.socket.fileno())
        flow.socket.close()

    # -- ICMP ---------------------------------------------------------------------------------------------------------

    def _on_echo(self, source: Address, destination: Address, request: Echo, now: float) -> bool:
        """The exit's own address answers at once, an address of the map after a while, others never."""
        if destination in (EXIT_IPV4, EXIT_IPV6):
            return True
        if destination in self._dialer.hosts() and len(self._echoes) < _MAX_ECHOES:
            self._echoes.append((now + self._config.echo_delay, destination, source, request))
        return False


class _UdpFlow:
    """A connected socket, so that the kernel reports an unreachable port and filters foreign senders."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.last_used = 0.0
        self.socket = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        with contextlib.suppress(OSError):
            self.socket.connect(target)
