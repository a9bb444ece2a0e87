"""aiohttp over a tunnel: `aiohttp.ClientSession(connector=MixConnector(tunnel))`, on the tunnel's own loop.

TLS is the tunnel's, with its roots, unless a request or the connector brings an `ssl.SSLContext`.
"""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from typing import Any

from .. import extras
from ..asyncio_streams import as_os_error, attach
from ..edge.tls import TlsOptions
from ..errors import SmolmixError, TlsError
from ..tunnel.pool import AnyTunnel

aiohttp: Any = extras.load("aiohttp", "aiohttp")


class MixConnector(aiohttp.BaseConnector):  # type: ignore[misc]
    """`options` are those of `aiohttp.BaseConnector`: `limit`, `limit_per_host`, ... Its connections have the key
    `isolation`, as of `Tunnel.connect_tcp`."""

    def __init__(
        self,
        tunnel: AnyTunnel,
        *,
        ssl: ssl_module.SSLContext | bool = True,
        isolation: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._isolation = isolation
        self._tunnel = tunnel
        self._tls = ssl

    async def _create_connection(self, request: Any, traces: Any, timeout: Any) -> Any:
        if request.proxy is not None:
            raise aiohttp.ClientError("behind the tunnel there is no proxy")
        host, port, secure = request.url.raw_host, request.port, request.is_ssl()
        tls = request.ssl if request.ssl is not True else self._tls
        if secure and not (tls is True or isinstance(tls, ssl_module.SSLContext)):
            raise aiohttp.ClientError("certificates are always checked here: fingerprints and ssl=False are not")
        try:
            ours = (
                TlsOptions(alpn=("http/1.1",), server_name=request.server_hostname) if secure and tls is True else False
            )
            async with asyncio.timeout(timeout.sock_connect):
                connected = await self._tunnel.connect_tcp(host, port, tls=ours, isolation=self._isolation)
        except SmolmixError as error:
            kind = aiohttp.ClientConnectorSSLError if isinstance(error, TlsError) else aiohttp.ClientConnectorError
            raise kind(request.connection_key, as_os_error(error)) from error
        transport, protocol = attach(connected, self._factory)
        if secure and ours is False:
            name = request.server_hostname or host
            try:
                upgraded = await self._loop.start_tls(transport, protocol, tls, server_hostname=name.rstrip("."))
            except OSError as error:
                transport.abort()
                raise aiohttp.ClientConnectorSSLError(request.connection_key, error) from error
            protocol.connection_made(upgraded)
        return protocol
