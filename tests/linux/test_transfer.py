"""Bytes both ways between our stack and the kernel: every one arrives, once and in order, on good and on bad wires."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.linux.network import Network
from tests.netsim.simulator import Wire

MAKE = Callable[..., Network]
MEGABYTE = 1_000_000


def noise(size: int, seed: object) -> bytes:
    return random.Random(str(seed)).randbytes(size)


def exchange(net: Network, opener: str, up: int, down: int, *, version: int = 4, timeout: float = 60.0) -> float:
    """`up` bytes from us to the kernel and `down` bytes back on one connection, and an orderly end of both halves."""
    ours, theirs = noise(up, "up"), noise(down, "down")
    began = net.now
    if opener == "ours":
        kernel, remote = net.kernel_accepts(theirs, version=version, patience=timeout)
        client = net.connect(remote, ours)
        accepted = [client]
    else:
        accepted = net.listen(ours)
        kernel = net.kernel_connects(80, theirs, version=version, patience=timeout)
    net.run(lambda: kernel.done and bool(accepted) and accepted[0].done, timeout)
    seconds = net.now - began
    kernel.finish()
    (peer,) = accepted
    assert peer.failed is None
    assert len(peer.received) == down and peer.received == theirs
    assert len(kernel.received) == up and kernel.received == ours
    return seconds


@pytest.mark.parametrize("opener", ["ours", "kernel"])
def test_twenty_megabytes_up(network: MAKE, opener: str) -> None:
    exchange(network(), opener, 20 * MEGABYTE, 0)


@pytest.mark.parametrize("opener", ["ours", "kernel"])
def test_twenty_megabytes_down(network: MAKE, opener: str) -> None:
    exchange(network(), opener, 0, 20 * MEGABYTE)


@pytest.mark.parametrize("opener", ["ours", "kernel"])
def test_both_ways_at_once_over_ipv6(network: MAKE, opener: str) -> None:
    exchange(network(), opener, 2 * MEGABYTE, 2 * MEGABYTE, version=6)


BAD = Wire(delay=0.02, jitter=0.005, loss=0.02, reorder=0.1, duplicate=0.02)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("opener", ["ours", "kernel"])
def test_a_bad_wire(network: MAKE, opener: str, version: int) -> None:
    exchange(network(BAD), opener, 300_000, 300_000, version=version)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(Wire(delay=0.05), id="delay"),
        pytest.param(Wire(delay=0.02, loss=0.01), id="loss"),
        pytest.param(Wire(delay=0.02, jitter=0.01, reorder=0.2), id="reorder"),
        pytest.param(Wire(delay=0.02, duplicate=0.1), id="duplicate"),
        pytest.param(BAD, id="all"),
    ],
)
@pytest.mark.parametrize("direction", ["up", "down"])
def test_twenty_megabytes_over_a_bad_wire(network: MAKE, wire: Wire, direction: str) -> None:
    sizes = (20 * MEGABYTE, 0) if direction == "up" else (0, 20 * MEGABYTE)
    exchange(network(wire), "ours", *sizes, timeout=500)
