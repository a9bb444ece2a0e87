"""The Pyodide end of the bridge: JavaScript messages in, JavaScript messages out. Runs in a browser worker only.

Everything is copied at the border, so no proxy of either language outlives the call it came with. The bytes of a
message (`data`) are copied once, between the memories of the two languages, and given away on the page's side of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import js
import pyodide_js  # type: ignore[import-not-found, unused-ignore]
import smolmix_guard as guard  # type: ignore[import-not-found, unused-ignore]
from pyodide.ffi import JsBuffer, create_proxy, jsnull, to_js

from ..host.browser import BrowserHost
from ..options import TunnelOptions
from ..tunnel import Tunnel
from .bridge import Bridge


def start(post_message: Any, restored: bool) -> Any:
    """Make a bridge that posts by `post_message(message, transfer)` and return the function that takes its messages.

    `restored`: this Python came from the memory that an earlier visit kept.
    """
    # A memory that was kept has the state of its day; nothing that matters draws from it, and nothing shall.
    random.seed()

    def post(message: dict[str, Any]) -> None:
        converted = to_js(_from_python(message), dict_converter=js.Object.fromEntries)
        if isinstance(message.get("data"), bytes):
            post_message(converted, to_js([converted.data.buffer]))
        else:
            post_message(converted)

    def make_tunnel(options: TunnelOptions, on_change: Callable[[dict[str, Any]], None]) -> Tunnel:
        host = BrowserHost(options.directory_urls, verbose=options.debug)
        return Tunnel(options, host, on_change=on_change)

    def worker_statistics() -> dict[str, Any]:
        """`memory_bytes`: all of Python's memory; it never shrinks."""
        memory = int(pyodide_js._module.HEAPU8.length)
        return {"requests_blocked": int(guard.stopped()), "memory_bytes": memory, "from_snapshot": restored}

    bridge = Bridge(post, make_tunnel, worker_statistics)

    def receive(message: Any) -> None:
        try:
            converted = message_to_python(message)
        except MemoryError as error:
            bridge.unreadable(int(message.id), error)
        else:
            bridge.receive(converted)

    return create_proxy(receive)


def message_to_python(message: Any) -> Any:
    """`to_py` would make a memoryview of `data`, from which bytes are one copy more."""
    data = getattr(message, "data", None)
    if not isinstance(data, JsBuffer):
        return to_python(message.to_py())
    message.data = jsnull
    return {**to_python(message.to_py()), "data": data.to_bytes()}


def to_python(value: Any) -> Any:
    """Typed arrays arrive as memoryviews, plain objects as dictionaries, null as a value of its own."""
    if value is jsnull:
        return None
    if isinstance(value, memoryview):
        return value.tobytes()
    if isinstance(value, dict):
        return {name: to_python(item) for name, item in value.items()}
    if isinstance(value, list):
        return [to_python(item) for item in value]
    return value


def _from_python(value: Any) -> Any:
    """None becomes null, not undefined; the types of `worker/messages.js` say null."""
    if value is None:
        return jsnull
    if isinstance(value, dict):
        return {str(name): _from_python(item) for name, item in value.items()}  # JavaScript has no other keys
    if isinstance(value, (list, tuple)):
        return [_from_python(item) for item in value]
    return value
