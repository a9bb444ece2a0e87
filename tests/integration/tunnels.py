"""A tunnel of the CPython client to a local network, and the plain options for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from localnet import Network
from smolmix_web.host.cpython import CPythonHost
from smolmix_web.http import HttpRequest
from smolmix_web.tunnel import Tunnel
from smolmix_web.tunnel.options import TunnelOptions


def tunnel_to(network: Network, *, on_change: Any = None, **options: Any) -> Tunnel:
    """A tunnel that has not started; `options` override those that a local network needs."""
    given = {
        "directoryUrls": [network.directory_url],
        "forceTls": False,
        "caCertificates": network.ca_pem,
        "disablePoissonTraffic": True,
        **options,
    }
    return Tunnel(TunnelOptions.from_mapping(given), CPythonHost(), on_change=on_change)


@asynccontextmanager
async def open_tunnel(network: Network, **options: Any) -> AsyncIterator[Tunnel]:
    tunnel = tunnel_to(network, **options)
    await tunnel.start()
    try:
        yield tunnel
    finally:
        await tunnel.close()


async def get(tunnel: Tunnel, url: str, **request: Any) -> tuple[int, bytes]:
    """Status and body."""
    response = await tunnel.fetch(HttpRequest(url=url, **request))
    return response.status, await response.read()
