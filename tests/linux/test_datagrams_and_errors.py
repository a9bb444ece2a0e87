"""UDP, echo and ICMP errors between our stack and the kernel, over IPv4 and IPv6."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from smolmix_web.errors import ConnectionRefused, HostUnreachable, NetworkError, TimeoutExpired
from smolmix_web.netstack import Endpoint, ErrorKind, StackConfig, SynRequest
from tests.linux.network import KERNEL, OURS, Network
from tests.netsim.simulator import Wire

MAKE = Callable[..., Network]
WIRE = Wire(delay=0.05)


@pytest.mark.parametrize("version", [4, 6])
def test_datagrams_both_ways(network: MAKE, version: int) -> None:
    net = network(WIRE)
    ours = net.stack.udp_socket(5353)
    sock = net.kernel_socket(version, socket.SOCK_DGRAM)
    sock.bind((str(KERNEL[version].ip), 0))
    sock.setblocking(False)
    remote = Endpoint(KERNEL[version].ip, sock.getsockname()[1])
    sizes = (0, 1, 1000, 1400)
    for size in sizes:
        assert ours.send_to(b"x" * size, remote, net.now)
    net.run(timeout=0.2)
    for size in sizes:
        data, source = sock.recvfrom(2000)
        assert data == b"x" * size and source[:2] == (str(OURS[version]), 5353)
        sock.sendto(data + b"back", source)
    net.run(timeout=0.2)
    for size in sizes:
        assert ours.receive() == (b"x" * size + b"back", remote)


@pytest.mark.parametrize("version", [4, 6])
def test_a_datagram_to_a_closed_port_of_the_kernel_is_an_error_of_our_socket(network: MAKE, version: int) -> None:
    net = network(WIRE)
    ours = net.stack.udp_socket()
    remote = Endpoint(KERNEL[version].ip, 4)
    ours.connect(remote)
    ours.send_to(b"anyone?", None, net.now)
    began = net.now
    net.run(lambda: ours.error is not None)
    assert net.now - began < 1.0
    error, where = ours.take_error() or (None, None)
    assert isinstance(error, ConnectionRefused) and error.code == "port_unreachable" and where == remote


@pytest.mark.parametrize("version", [4, 6])
def test_a_datagram_to_a_closed_port_of_ours_is_an_error_of_the_kernels_socket(network: MAKE, version: int) -> None:
    net = network(WIRE, config=StackConfig(udp_unreachable=True))
    sock = net.kernel_socket(version, socket.SOCK_DGRAM)
    sock.connect((str(OURS[version]), 4))
    sock.send(b"anyone?")
    net.run(timeout=0.3)
    with pytest.raises(ConnectionRefusedError):
        sock.send(b"again")


@pytest.mark.parametrize("version", [4, 6])
def test_we_ping_the_kernel(network: MAKE, version: int) -> None:
    net = network(WIRE)
    pings = [net.stack.ping(KERNEL[version].ip, net.now, bytes(size)) for size in (0, 56, 1400)]
    net.run(lambda: all(ping.done for ping in pings), 5)
    for ping in pings:
        assert ping.error is None and ping.rtt is not None and 0.1 <= ping.rtt < 1.0


@pytest.mark.parametrize("version", [4, 6])
def test_the_kernel_pings_us(network: MAKE, version: int) -> None:
    net = network(WIRE)
    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    net.namespace.sysctl("ipv4/ping_group_range", "0 0")
    sock = net.kernel_socket(version, socket.SOCK_DGRAM, protocol)
    sock.connect((str(OURS[version]), 0))
    payload = bytes(range(200))
    for sequence in range(3):
        sock.send(struct.pack("!BBHHH", 8 if version == 4 else 128, 0, 0, 0, sequence) + payload)
    net.run(timeout=0.3)
    sock.setblocking(False)
    for sequence in range(3):
        reply = sock.recv(2000)
        assert (reply[0], reply[1]) == ((0, 0) if version == 4 else (129, 0))
        assert reply[6:8] == struct.pack("!H", sequence) and reply[8:] == payload


ROUTES = {
    "unreachable": ("host_unreachable", "network_unreachable"),
    "prohibit": ("admin_prohibited", "admin_prohibited"),
}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", list(ROUTES))
def test_a_connection_that_a_router_turns_down_fails_at_once(network: MAKE, kind: str, version: int) -> None:
    """The kernel forwards, finds no way, and says so by ICMP."""
    net = network(WIRE)
    there = "10.99.0.0/16" if version == 4 else "fd99::/32"
    net.namespace.sysctl("ipv4/ip_forward", 1)
    net.namespace.sysctl("ipv6/conf/all/forwarding", 1)
    net.namespace.ip(f"-{version} route add {kind} {there}")
    net.namespace.sysctl(f"ipv{version}/{'icmp_ratelimit' if version == 4 else 'icmp/ratelimit'}", 0)
    target = ip_address("10.99.0.1" if version == 4 else "fd99::1")
    client = net.connect(Endpoint(target, 80))
    ping = net.stack.ping(target, net.now)
    udp = net.stack.udp_socket()
    udp.send_to(b"?", Endpoint(target, 53), net.now)
    began = net.now
    net.run(lambda: client.connection.error is not None and ping.done and udp.error is not None)
    assert net.now - began < 1.0
    for error in (client.connection.error, ping.error, udp.error):
        assert isinstance(error, HostUnreachable) and error.code in ROUTES[kind]


def test_a_silent_host_fails_at_the_deadline(network: MAKE) -> None:
    net = network(WIRE)
    net.namespace.sysctl("ipv4/ip_forward", 1)
    net.namespace.ip("route add blackhole 10.98.0.0/16")
    began = net.now
    connection = net.stack.tcp_connect(Endpoint(ip_address("10.98.0.1"), 80), net.now, connect_timeout=1.0)
    net.run(lambda: connection.error is not None)
    assert 0.9 < net.now - began < 2.0
    assert isinstance(connection.error, TimeoutExpired) and connection.error.code == "connect_timeout"


REFUSALS = {
    None: ConnectionRefusedError,
    ErrorKind.PORT_UNREACHABLE: ConnectionRefusedError,
    ErrorKind.HOST_UNREACHABLE: OSError,
    ErrorKind.PROHIBITED: OSError,
}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("reason", list(REFUSALS), ids=str)
def test_a_connection_that_our_hook_refuses_fails_in_the_kernel(
    network: MAKE, reason: ErrorKind | None, version: int
) -> None:
    net = network(WIRE, accept_any=True)

    def refuse(request: SynRequest, now: float) -> None:
        request.refuse(now, reason)

    net.stack.on_syn = refuse
    target = ip_address("198.51.100.7" if version == 4 else "2001:db8::7")
    kernel = net.kernel_connects(80, version=version, address=target)
    net.run(lambda: kernel.done, 10)
    assert isinstance(kernel.error, REFUSALS[reason])


def test_our_hook_dials_first_and_accepts_then(network: MAKE) -> None:
    """The kernel sees one handshake, however long the decision takes."""
    net = network(WIRE, accept_any=True)
    waiting: list[SynRequest] = []
    net.stack.on_syn = lambda request, now: waiting.append(request)
    kernel = net.kernel_connects(443, b"hello", address="198.51.100.7", shutdown=False)
    net.run(lambda: bool(waiting))
    net.run(timeout=1.3)  # the SYN comes again meanwhile
    assert len(waiting) == 1 and not kernel.opened
    connection = waiting[0].accept(net.now)
    net.run(lambda: connection.receive_available == 5)
    assert connection.receive(100, net.now) == b"hello"
    connection.abort(net.now)
    net.run(lambda: kernel.done)
    assert isinstance(kernel.error, ConnectionResetError)


def test_the_kernel_drops_nothing_of_ours_as_malformed(network: MAKE) -> None:
    """Its own counters of bad headers and checksums stay at zero."""
    net = network(Wire(delay=0.005, loss=0.02))
    for version in (4, 6):
        kernel, remote = net.kernel_accepts(bytes(100_000), version=version)
        client = net.connect(remote, bytes(100_000))
        net.run(lambda client=client, kernel=kernel: client.done and kernel.done)  # type: ignore[misc]
    with pytest.raises(NetworkError):
        net.stack.ping(KERNEL[4].ip, net.now, bytes(5000))
    text = net.namespace.call(Path("/proc/thread-self/net/snmp").read_text)
    rows = [line.split() for line in text.splitlines()]
    counters: dict[str, int] = {}
    for names, values in zip(rows[::2], rows[1::2], strict=True):
        counters |= {f"{names[0]}{name}": int(value) for name, value in zip(names[1:], values[1:], strict=True)}
    for name in ("Ip:InHdrErrors", "Tcp:InErrs", "Tcp:InCsumErrors", "Udp:InErrors", "Icmp:InErrors"):
        assert counters[name] == 0, name
