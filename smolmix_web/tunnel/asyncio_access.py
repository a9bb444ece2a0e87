"""TCP connections in asyncio's shapes, for what opens them: a tunnel, a pool of them, a tunnel that a page lends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ..dial import Connected

P = TypeVar("P", bound=asyncio.BaseProtocol)


class AsyncioAccess:
    """A base of those that have `connect_tcp`."""

    # What it takes is said by each.
    connect_tcp: Callable[..., Coroutine[Any, Any, Connected]]

    async def open_connection(
        self, host: str, port: int, *, limit: int = 65_536, **options: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As `asyncio.open_connection`; `options` are those of `connect_tcp`. Errors are `OSError`."""
        from ..asyncio_streams import for_asyncio, streams

        connecting = self.connect_tcp(host, port, **options)
        return await for_asyncio(connecting, lambda connected: streams(connected, limit))

    async def create_connection(
        self, factory: Callable[[], P], host: str, port: int, **options: Any
    ) -> tuple[asyncio.Transport, P]:
        """As `loop.create_connection`: the transport, and the protocol that `factory` made."""
        from ..asyncio_streams import attach, for_asyncio

        connecting = self.connect_tcp(host, port, **options)
        return await for_asyncio(connecting, lambda connected: attach(connected, factory))
