"""ping over two stacks in virtual time: round trips, ICMP errors, deadlines, and what stays behind."""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address
from typing import Any

import pytest

from smolmix_web.edge.sockets import Address, ping
from smolmix_web.errors import (
    AddressError,
    ConnectionRefused,
    HostUnreachable,
    MessageTooLong,
    NetworkError,
    SmolmixError,
    TimeoutExpired,
    TunnelError,
)
from smolmix_web.netstack import Endpoint, ErrorKind, StackConfig, icmp, ip
from tests.virtual_loop import virtual
from tests.wire import MTU, SERVER, SERVER6, Wire


@pytest.mark.feature("Sockets", "ping")
@virtual
async def test_round_trip_of_both_families() -> None:
    wire = Wire(delay=0.75, ipv6=True)
    for address, overhead in ((SERVER, 28), (SERVER6, 48)):
        assert await ping(wire.client, address, b"payload") == pytest.approx(1.5)
        assert await ping(wire.client, address, b"") == pytest.approx(1.5)
        assert await ping(wire.client, address, bytes(MTU - overhead)) == pytest.approx(1.5)
        with pytest.raises(MessageTooLong) as caught:
            await ping(wire.client, address, bytes(MTU - overhead + 1))
        assert (caught.value.code, caught.value.phase) == ("message_too_long", "ping")


@pytest.mark.feature("Sockets", "ping: ICMP errors are typed")
@pytest.mark.parametrize("address", [SERVER, SERVER6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (ErrorKind.HOST_UNREACHABLE, HostUnreachable),
        (ErrorKind.NETWORK_UNREACHABLE, HostUnreachable),
        (ErrorKind.PROHIBITED, HostUnreachable),
        (ErrorKind.TTL_EXCEEDED, HostUnreachable),
    ],
)
@virtual
async def test_icmp_errors(address: Address, kind: ErrorKind, error: type[SmolmixError]) -> None:
    wire = Wire(ipv6=True)

    def refuse(source: Address, destination: Address, echo: icmp.Echo, now: float) -> bool:
        body = icmp.build_echo(source.packed, destination.packed, echo)
        packet = ip.build(source.packed, destination.packed, icmp.protocol_of(source.packed), body, 1)
        return not wire.server.stack.send_error(kind, packet, destination, now)

    wire.server.stack.on_echo = refuse
    with pytest.raises(error) as caught:
        await ping(wire.client, address, b"payload")
    assert (caught.value.code, caught.value.phase) == (kind.value, "ping")


@virtual
async def test_no_answer() -> None:
    wire = Wire()
    wire.server.deliver = False
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutExpired) as caught:
        await ping(wire.client, SERVER, b"x", 3.0)
    assert (caught.value.code, caught.value.phase) == ("ping_timeout", "ping")
    assert loop.time() - began == pytest.approx(3.0)


@virtual
async def test_cancelling_leaves_nothing_behind() -> None:
    wire = Wire(config=StackConfig(max_pings=1))
    wire.server.deliver = False
    for _ in range(3):
        task = asyncio.create_task(ping(wire.client, SERVER, b"x"))
        await asyncio.sleep(0.1)
        with pytest.raises(NetworkError) as caught:
            await ping(wire.client, SERVER, b"x")
        assert (caught.value.code, caught.value.phase) == ("too_many_pings", "ping")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    wire.server.deliver = True
    assert await ping(wire.client, SERVER, b"x") == pytest.approx(1.0)


@virtual
async def test_what_the_tunnel_says() -> None:
    wire = Wire()
    wire.server.deliver = False
    outcomes: list[Any] = []
    for end in (
        lambda: wire.client.stack.refuse(Endpoint(SERVER, 0)),
        lambda: wire.client.stack.abort_all(TunnelError("the exit is gone", code="exit_dead"), wire.client.now()),
    ):
        task = asyncio.create_task(ping(wire.client, SERVER, b"x"))
        await asyncio.sleep(0.1)
        end()
        outcomes += await asyncio.gather(task, return_exceptions=True)
    assert isinstance(outcomes[0], ConnectionRefused) and outcomes[0].code == "policy_denied"
    assert outcomes[1].code == "exit_dead"
    with pytest.raises(AddressError):
        await ping(wire.client, IPv6Address("2001:db8::1"), b"x")
