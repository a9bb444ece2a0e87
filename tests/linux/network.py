"""One stack of ours and one kernel, on two ends of a wire, with the addresses that both know."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

from smolmix_web.netstack import Endpoint, Stack, StackConfig, TcpConnection
from smolmix_web.rand import SystemRandom
from tests.linux.kernel import KernelPeer
from tests.linux.namespace import Namespace
from tests.linux.pump import Pump, StackEnd, TunEnd
from tests.netsim.simulator import Peer, Wire

OURS = {4: IPv4Address("10.77.0.2"), 6: IPv6Address("fd77::2")}
KERNEL = {4: IPv4Interface("10.77.0.1/24"), 6: IPv6Interface("fd77::1/64")}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
MTU = 1500


class Network:
    """`there` is the wire from us to the kernel, `back` the other way (the same when left out)."""

    def __init__(
        self,
        there: Wire | None = None,
        back: Wire | None = None,
        *,
        mtu: int = MTU,
        config: StackConfig | None = None,
        accept_any: bool = False,
        black_hole: bool = False,
        seed: object = 0,
    ) -> None:
        self.namespace = Namespace()
        try:
            descriptor = self.namespace.tun(list(KERNEL.values()), mtu)
            self.stack = Stack(list(OURS.values()), mtu, SystemRandom(), config=config, accept_any=accept_any)
            self.pump = Pump(StackEnd(self.stack), TunEnd(descriptor), there, back, seed=seed, black_hole=black_hole)
        except BaseException:
            self.namespace.close()
            raise
        self._peers: list[KernelPeer] = []

    @property
    def now(self) -> float:
        return self.pump.now

    def run(self, until: Callable[[], bool] | None = None, timeout: float = 60.0) -> None:
        self.pump.run(until, timeout)

    def close(self) -> None:
        for peer in self._peers:
            peer.stopped.set()
        for peer in self._peers:
            peer.join(timeout=10)
        self.namespace.close()

    # -- the kernel's side

    def kernel_socket(self, version: int = 4, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> socket.socket:
        return self.namespace.socket(FAMILY[version], kind, protocol)

    def kernel_listener(self, version: int = 4, *, receive_buffer: int | None = None) -> tuple[socket.socket, Endpoint]:
        listener = self.kernel_socket(version)
        if receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        address = KERNEL[version].ip
        listener.bind((str(address), 0))
        listener.listen(128)
        listener.settimeout(30)
        return listener, Endpoint(address, listener.getsockname()[1])

    def kernel_accepts(
        self, data: bytes = b"", *, version: int = 4, receive_buffer: int | None = None, **more: Any
    ) -> tuple[KernelPeer, Endpoint]:
        """A kernel server for one connection, and where it listens."""
        listener, endpoint = self.kernel_listener(version, receive_buffer=receive_buffer)
        peer = KernelPeer(lambda: listener.accept()[0], data, **more)
        self._peers.append(peer)
        return peer, endpoint

    def kernel_connects(
        self,
        port: int,
        data: bytes = b"",
        *,
        version: int = 4,
        address: object = None,
        timeout: float = 30.0,
        **more: Any,
    ) -> KernelPeer:
        """A kernel client of ours."""
        sock = self.kernel_socket(version)
        sock.settimeout(timeout)
        target = (str(address or OURS[version]), port)

        def connect() -> socket.socket:
            sock.connect(target)
            return sock

        peer = KernelPeer(connect, data, **more)
        self._peers.append(peer)
        return peer

    # -- our side

    def connect(self, remote: Endpoint, data: bytes = b"", *, close: bool = True, **options: Any) -> Peer:
        """Our client with an application on it."""
        return Peer(self, self.stack.tcp_connect(remote, self.now, **options), data, close=close)  # type: ignore[arg-type]

    def listen(self, data: bytes = b"", *, port: int = 80, close: bool = True) -> list[Peer]:
        """Our server; the list fills with an application for each connection."""
        accepted: list[Peer] = []

        def accept(connection: TcpConnection) -> None:
            accepted.append(Peer(self, connection, data, close=close))  # type: ignore[arg-type]

        self.stack.tcp_listen(port, on_connection=accept)
        return accepted
