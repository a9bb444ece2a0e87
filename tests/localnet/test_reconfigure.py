"""An exit whose MTU and policy change while a client is connected, and an exit that damages its replies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import pytest

from localnet import Network
from smolmix_web.errors import NetworkError, SmolmixError
from smolmix_web.host.cpython import CPythonHost
from smolmix_web.tunnel import Tunnel
from smolmix_web.tunnel.options import TunnelOptions

Http = Callable[..., Any]

pytestmark = pytest.mark.timeout(60)
ECHO = IPv4Address("203.0.114.13")


@pytest.mark.parametrize("net", [{"exits": 1, "gateways": 1, "mixes_per_layer": 1}], indirect=True)
async def test_mtu_and_policy_at_run_time(net: Network, http: Http) -> None:
    options = {"directoryUrls": [net.directory_url], "forceTls": False, "disablePoissonTraffic": True}
    tunnel = Tunnel(TunnelOptions.from_mapping(options), CPythonHost())
    await tunnel.start()
    counters = net.exits[0].service.counters
    url = f"{net.control_url}/exits/exit1"
    try:
        tcp = await tunnel.connect_tcp(str(ECHO), 50_007)
        assert (await http(url, "POST", {"settings": {"mtu": 1000}})).status == 200
        # Segments of the size that was announced at first are too large now: the exit says so, and TCP adapts.
        sent = bytes(range(256)) * 40
        await tcp.stream.write(sent)
        got = b""
        while len(got) < len(sent):
            got += await tcp.stream.read()
        assert got == sent and counters["refused.mtu"] > 0
        await tcp.stream.close()

        policy = "ExitPolicy reject *:50007\nExitPolicy accept *:*"
        assert (await http(url, "POST", {"settings": {"policy": policy}})).status == 200
        with pytest.raises(SmolmixError) as raised:
            await tunnel.connect_tcp(str(ECHO), 50_007)
        assert raised.value.code == "policy_denied" and isinstance(raised.value, NetworkError)
        assert (await http(url, "POST", {"settings": {"open_proxy": True}})).status == 200
        await asyncio.sleep(1)  # a refusal that is under way names a port, not a connection
        await (await tunnel.connect_tcp(str(ECHO), 50_007)).stream.close()
    finally:
        await tunnel.close()
    assert net.violations() == {}
