"""The Pyodide end of the bridge: JavaScript messages in, JavaScript messages out. Runs in a browser worker only."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pyodide_js  # type: ignore[import-not-found, unused-ignore]
import smolmix_answer as answer  # type: ignore[import-not-found, unused-ignore]
import smolmix_guard as guard  # type: ignore[import-not-found, unused-ignore]
import smolmix_host as events  # type: ignore[import-not-found, unused-ignore]
import smolmix_storage as storage  # type: ignore[import-not-found, unused-ignore]
from pyodide.ffi import create_proxy

from ..host.browser import BrowserHost, Parts
from ..tunnel import Tunnel
from ..tunnel.options import TunnelOptions
from .bridge import Bridge
from .conversion import message_to_python, post

if TYPE_CHECKING:
    from ..tunnel.pool import AnyTunnel
    from ..tunnel.pool_options import PoolOptions


def start(post_message: Any, restored: bool) -> Any:
    """Make a bridge that posts by `post_message(message, transfer)` and return the function that takes its messages.

    `restored`: this Python came from the memory that an earlier visit kept.
    """
    # A memory that was kept has the state of its day; nothing that matters draws from it, and nothing shall.
    random.seed()

    def say(text: str) -> None:
        post(post_message, {"type": "log", "level": "debug", "code": None, "text": text})

    def make_tunnel(
        options: TunnelOptions, on_change: Callable[[dict[str, Any]], None], pool: PoolOptions | None = None
    ) -> AnyTunnel:
        parts = Parts(guard, storage.own if options.storage else storage, answer.ask, events)
        host = BrowserHost(parts, options.directory_urls, verbose=options.debug, say=say)
        if pool is not None:
            from ..tunnel.pool import TunnelPool

            return TunnelPool(options, pool, host, on_change=on_change)
        return Tunnel(options, host, on_change=on_change)

    def worker_statistics() -> dict[str, Any]:
        """`memory_bytes`: all of Python's memory; it never shrinks."""
        memory = int(pyodide_js._module.HEAPU8.length)
        return {"requests_blocked": int(guard.stopped()), "memory_bytes": memory, "from_snapshot": restored}

    bridge = Bridge(partial(post, post_message), make_tunnel, worker_statistics)

    def receive(message: Any) -> None:
        try:
            converted = message_to_python(message)
        except MemoryError as error:
            bridge.unreadable(int(message.id), error)
        else:
            bridge.receive(converted)

    return create_proxy(receive)
