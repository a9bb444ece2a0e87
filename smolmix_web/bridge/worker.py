"""The Pyodide end of the bridge: JavaScript messages in, JavaScript messages out. Runs in a browser worker only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import js
from pyodide.ffi import create_proxy, to_js

from ..host.browser import BrowserHost
from ..options import TunnelOptions
from ..tunnel import Tunnel
from .bridge import Bridge


def start(scope: Any) -> Any:
    """Make a bridge that posts to `scope` (the worker's global) and return the function that takes its messages."""

    def post(message: dict[str, Any]) -> None:
        converted = to_js(message, dict_converter=js.Object.fromEntries)
        data = message.get("data")
        if isinstance(data, bytes):
            scope.postMessage(converted, to_js([converted.data.buffer]))
        else:
            scope.postMessage(converted)

    def make_tunnel(options: TunnelOptions, on_change: Callable[[dict[str, Any]], None]) -> Tunnel:
        return Tunnel(options, BrowserHost(verbose=options.debug), on_change=on_change)

    bridge = Bridge(post, make_tunnel)

    def receive(message: Any) -> None:
        bridge.receive(_to_python(message.to_py()))

    return create_proxy(receive)


def _to_python(value: Any) -> Any:
    """Typed arrays arrive as memoryviews, plain objects as dictionaries."""
    if isinstance(value, memoryview):
        return value.tobytes()
    if isinstance(value, dict):
        return {name: _to_python(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_to_python(item) for item in value]
    return value
