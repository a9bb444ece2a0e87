"""Paths that take less than both ends believe: a router that says so, a router that does not, and fragments."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from smolmix_web.netstack import Endpoint
from tests.linux.network import KERNEL, OURS, Network
from tests.linux.test_transfer import exchange
from tests.netsim.simulator import Wire

MAKE = Callable[..., Network]
NARROW = Wire(delay=0.01, mtu=1300)
IP_MTU_DISCOVER = 10
IP_PMTUDISC_DONT = 0


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("opener", ["ours", "kernel"])
def test_a_router_tells_us_the_mtu(network: MAKE, opener: str, version: int) -> None:
    net = network(NARROW, Wire(delay=0.01))
    exchange(net, opener, 1_000_000, 0, version=version, timeout=20)
    # The first window at most was too large; after the first report nothing is.
    assert 1 <= net.pump.there.too_large <= 22


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("opener", ["ours", "kernel"])
def test_a_router_tells_the_kernel_the_mtu(network: MAKE, opener: str, version: int) -> None:
    net = network(Wire(delay=0.01), NARROW)
    exchange(net, opener, 0, 1_000_000, version=version, timeout=20)
    assert net.pump.back.too_large >= 1


def test_the_mtu_falls_in_the_middle_of_a_transfer(network: MAKE) -> None:
    net = network(Wire(delay=0.02, rate=500_000))
    kernel, remote = net.kernel_accepts()
    data = bytes(1_000_000)
    client = net.connect(remote, data)
    net.run(lambda: len(kernel.received) > 200_000)
    net.pump.there.wire.mtu = 800
    net.run(lambda: kernel.done)
    kernel.finish()
    assert kernel.received == data and client.failed is None
    assert net.pump.there.too_large


@pytest.mark.long
@pytest.mark.parametrize("opener", ["ours", "kernel"])
def test_the_kernel_finds_its_way_through_a_black_hole(network: MAKE, opener: str) -> None:
    """No router says anything: the kernel tries smaller segments (RFC 4821), and we acknowledge them."""
    net = network(Wire(delay=0.01), Wire(delay=0.01, mtu=1300), black_hole=True)
    net.namespace.sysctl("ipv4/tcp_mtu_probing", 1)
    exchange(net, opener, 0, 300_000, timeout=60)


@pytest.mark.long
@pytest.mark.parametrize("version", [4, 6])
def test_we_find_our_way_through_a_black_hole(network: MAKE, version: int) -> None:
    net = network(Wire(delay=0.01, mtu=1300), Wire(delay=0.01), black_hole=True)
    exchange(net, "ours", 300_000, 0, version=version, timeout=40)


def test_fragments_of_the_kernel_are_put_together(network: MAKE) -> None:
    net = network(Wire(delay=0.01), Wire(delay=0.01, reorder=0.5, duplicate=0.2))
    ours = net.stack.udp_socket(5000)
    sock = net.kernel_socket(4, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
    for size in (3000, 8000, 20_000):
        data = bytes(at * 7 & 0xFF for at in range(size))
        sock.sendto(data, (str(OURS[4]), 5000))
        got: list[tuple[bytes, Endpoint]] = []

        def received(got: list[tuple[bytes, Endpoint]] = got) -> bool:
            item = ours.receive()
            if item is not None:
                got.append(item)
            return bool(got)

        net.run(received, 5)
        assert got[0][0] == data and got[0][1].address == KERNEL[4].ip
        net.run(timeout=0.1)


def test_ipv6_fragments_of_the_kernel_are_put_together(network: MAKE) -> None:
    net = network(Wire(delay=0.01))
    ours = net.stack.udp_socket(5000)
    sock = net.kernel_socket(6, socket.SOCK_DGRAM)
    data = bytes(at * 7 & 0xFF for at in range(8000))
    sock.sendto(data, (str(OURS[6]), 5000))
    got: list[tuple[bytes, Endpoint]] = []
    net.run(lambda: (item := ours.receive()) is not None and not got.append(item), 5)  # type: ignore[func-returns-value]
    assert got[0][0] == data
